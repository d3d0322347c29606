//! The rules by which a lookup's response is filled: one item for every key, in order, and what
//! becomes of those that do not fit.

use super::batch::{ENTRY_LEN, Packer};
use super::bytes::align8;
use super::fault::BuildError;
use super::lookup::{self, HEADER_LEN, Lookup, LookupRequest};

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

/// The answer to a request, filled by a handler: one item for each key, in order.
///
/// It keeps room for a placeholder of every key that is still to come.
#[derive(Debug)]
pub struct LookupReply<'r, 'b, K> {
    request: LookupRequest<'r, K>,
    packer: Packer<'b>,
    generation: u64,
    /// What placeholders of the keys from here on need, each but the last rounded up to 8.
    reserved: usize,
    /// The longest item that an otherwise empty response could hold.
    alone: usize,
    exceeded: bool,
    failed: Option<BuildError>,
}

impl<'r, 'b, K: Lookup> LookupReply<'r, 'b, K> {
    /// An answer to this request.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when not even a placeholder for every key fits.
    pub fn new(
        request: LookupRequest<'r, K>,
        payload: &'b mut [u8],
    ) -> Result<LookupReply<'r, 'b, K>, BuildError> {
        let mut reserved = 0;
        for key in request.iter() {
            reserved = align8(reserved) + K::placeholder_len(key);
        }
        let room = payload.len();
        let alone = room.saturating_sub(HEADER_LEN + ENTRY_LEN);
        let packer = Packer::new(payload, HEADER_LEN, request.len(), K::RESPONSE)?;
        if reserved > packer.room() {
            let needed = room - packer.room() + reserved;
            return Err(BuildError::overflow(K::RESPONSE, needed, room));
        }
        let (generation, exceeded, failed) = (0, false, None);
        Ok(LookupReply { request, packer, generation, reserved, alone, exceeded, failed })
    }

    /// Sets the generation, which must be the same in all answers to one logical request.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The key that is answered next, or nothing when all are.
    pub(super) fn next_key(&self) -> Option<K::Key<'r>> {
        self.request.key(self.packer.count())
    }

    /// Whether the response is full, so that what is known of further keys does not matter.
    pub fn is_full(&self) -> bool {
        self.exceeded
    }

    /// Passes an error on, and keeps the first.
    pub(super) fn keep<T>(&mut self, result: Result<T, BuildError>) -> Result<T, BuildError> {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
        result
    }

    /// Answers the next key with an item of this length, or with a placeholder.
    pub(super) fn place(
        &mut self,
        length: usize,
        write: impl FnOnce(K::Key<'r>, &mut [u8]),
    ) -> Result<Placed, BuildError> {
        let placed = self.try_place(length, write);
        self.keep(placed)
    }

    fn try_place(
        &mut self,
        length: usize,
        write: impl FnOnce(K::Key<'r>, &mut [u8]),
    ) -> Result<Placed, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(key) = self.next_key() else {
            let expected = self.request.len();
            return Err(BuildError::ItemCount { expected, found: expected + 1 });
        };
        let placeholder = K::placeholder_len(key);
        // What the keys after this one need.
        let rest = self.reserved.saturating_sub(align8(placeholder));
        let placed = self.judge(length, rest)?;
        match placed {
            Placed::Whole => self.packer.push_with(length, |item| write(key, item)),
            why => self.packer.push_with(placeholder, |item| K::write_placeholder(key, why, item)),
        }?;
        self.reserved = rest;
        Ok(placed)
    }

    /// Decides about an item of this length, where the keys after it need that much.
    fn judge(&mut self, length: usize, rest: usize) -> Result<Placed, BuildError> {
        if self.exceeded {
            return Ok(Placed::Exceeded);
        }
        let needed = if rest == 0 { length } else { align8(length) + rest };
        if needed <= self.packer.room() {
            return Ok(Placed::Whole);
        }
        if self.packer.count() > 0 {
            self.exceeded = true;
            return Ok(Placed::Exceeded);
        }
        if length > self.alone {
            return Ok(Placed::Oversized);
        }
        // It would fit alone, so to call it too large for good would be wrong.
        Err(BuildError::overflow(K::ITEM, needed, self.packer.room()))
    }

    /// The payload's length.
    ///
    /// # Errors
    /// The first error of any answer; [`BuildError::ItemCount`] when a key has none.
    pub fn finish(self) -> Result<usize, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (expected, found) = (self.request.len(), self.packer.count());
        if found != expected {
            return Err(BuildError::ItemCount { expected, found });
        }
        Ok(self.packer.finish_with(&lookup::header(found, self.generation)))
    }
}
