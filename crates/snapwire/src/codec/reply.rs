//! The rules by which a lookup's response is filled: one item for every key, in order, and what
//! becomes of those that do not fit.

use super::batch::Packer;
use super::bytes::align8;
use super::fault::BuildError;
use super::lookup;

/// What became of an item that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in the response.
    Whole,
    /// It does not fit into any response of this size, and is marked so. The mark is final.
    Oversized,
    /// The response is full. The client will ask again, from this key on.
    Exceeded,
}

/// Keeps room for a placeholder of every key that is still to come.
#[derive(Debug)]
pub(crate) struct Filler<'a> {
    packer: Packer<'a>,
    generation: u64,
    keys: usize,
    /// What placeholders of the keys from here on need, each but the last rounded up to 8.
    reserved: usize,
    /// The longest item that an otherwise empty response could hold.
    alone: usize,
    exceeded: bool,
    failed: Option<BuildError>,
}

/// What is to be done with an item.
pub(crate) enum Verdict {
    Write,
    Oversized,
    Exceeded,
}

impl<'a> Filler<'a> {
    /// `placeholders` are the lengths of the keys' placeholders, in order.
    pub(crate) fn new(
        payload: &'a mut [u8],
        placeholders: impl ExactSizeIterator<Item = usize>,
        what: &'static str,
    ) -> Result<Filler<'a>, BuildError> {
        let keys = placeholders.len();
        let mut reserved = 0;
        for length in placeholders {
            reserved = align8(reserved) + length;
        }
        let room = payload.len();
        let alone = room.saturating_sub(lookup::HEADER_LEN + super::batch::ENTRY_LEN);
        let packer = Packer::new(payload, lookup::HEADER_LEN, keys, what)?;
        if reserved > packer.room() {
            return Err(BuildError::overflow(what, room - packer.room() + reserved, room));
        }
        Ok(Filler { packer, generation: 0, keys, reserved, alone, exceeded: false, failed: None })
    }

    pub(crate) fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The index of the key whose item comes next.
    pub(crate) fn next(&self) -> usize {
        self.packer.count()
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// Whether every following item is replaced by a placeholder.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// Passes an error on, and keeps the first.
    pub(crate) fn keep<T>(&mut self, result: Result<T, BuildError>) -> Result<T, BuildError> {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
        result
    }

    /// Decides about an item of this length, whose placeholder would have that one.
    pub(crate) fn judge(
        &mut self,
        length: usize,
        placeholder: usize,
        what: &'static str,
    ) -> Result<Verdict, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.next() == self.keys {
            return Err(BuildError::ItemCount { expected: self.keys, found: self.keys + 1 });
        }
        if self.exceeded {
            return Ok(Verdict::Exceeded);
        }
        let rest = self.rest(placeholder);
        let needed = if rest == 0 { length } else { align8(length) + rest };
        if needed <= self.packer.room() {
            return Ok(Verdict::Write);
        }
        if self.next() > 0 {
            self.exceeded = true;
            return Ok(Verdict::Exceeded);
        }
        if length > self.alone {
            return Ok(Verdict::Oversized);
        }
        // It would fit alone, so to call it too large for good would be wrong.
        Err(BuildError::overflow(what, needed, self.packer.room()))
    }

    /// What the keys after the next one need.
    fn rest(&self, placeholder: usize) -> usize {
        self.reserved.saturating_sub(align8(placeholder))
    }

    /// Writes an item that [`Filler::judge`] allowed.
    pub(crate) fn write(
        &mut self,
        length: usize,
        placeholder: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), BuildError> {
        let slot = self.packer.slot()?;
        let room = slot.len();
        let item =
            slot.get_mut(..length).ok_or(BuildError::overflow("lookup item", length, room))?;
        write(item);
        self.packer.commit(length);
        self.reserved = self.rest(placeholder);
        Ok(())
    }

    /// The payload's length.
    pub(crate) fn finish(self) -> Result<usize, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let found = self.next();
        if found != self.keys {
            return Err(BuildError::ItemCount { expected: self.keys, found });
        }
        Ok(self.packer.finish_with(&lookup::header(found, self.generation)))
    }
}
