//! Several items in one message: a directory, then the items.

use super::bytes::{align8, wire_len};
use super::fault::{BuildError, Fault, Malformed};

/// The length of a directory's entry in bytes: offset, then length, a `u32` each.
pub(crate) const ENTRY_LEN: usize = 8;

const WHAT: &str = "batch directory";

/// Where an item is, as its directory entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Entry {
    #[inline]
    pub(crate) fn of(bytes: &[u8; ENTRY_LEN]) -> Entry {
        // One load: halves put together from bytes would be several, for every item.
        let both = u64::from_ne_bytes(*bytes);
        let (low, high) = ((both as u32) as usize, (both >> 32) as usize);
        let (offset, length) =
            if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        Entry { offset, length }
    }

    /// The entry's bytes. Offset and length have 32 bits each, and so have those of any buffer that
    /// a [`Packer`] writes into.
    #[inline]
    pub(crate) fn encode(offset: usize, length: usize) -> [u8; ENTRY_LEN] {
        let (low, high) =
            if cfg!(target_endian = "little") { (offset, length) } else { (length, offset) };
        (low as u64 | (high as u64) << 32).to_ne_bytes()
    }

    /// Aligned, inside what is packed after the directory, and at least so long.
    #[inline]
    pub(crate) fn check(
        self,
        packed_len: usize,
        min_len: usize,
        what: &'static str,
    ) -> Result<(), Malformed> {
        if !self.offset.is_multiple_of(8) {
            return Err(Malformed::new(Fault::BadAlignment, what));
        }
        // Both are below 2^32, so the sum cannot wrap.
        if self.offset as u64 + self.length as u64 > packed_len as u64 {
            return Err(Malformed::new(Fault::OutOfBounds, what));
        }
        if self.length < min_len {
            return Err(Malformed::new(Fault::Truncated, what));
        }
        Ok(())
    }
}

/// Checks that all items are aligned, inside what is packed after the directory, and at least so
/// long.
pub(crate) fn check_directory(
    directory: &[[u8; ENTRY_LEN]],
    packed_len: usize,
    min_len: usize,
    what: &'static str,
) -> Result<(), Malformed> {
    // Without a branch, for many at once: what is too far away or too short leaves the top bit.
    let (packed, min) = (packed_len as u64, min_len as u64);
    let bad = directory.iter().fold(0, |bad, entry| {
        let Entry { offset, length } = Entry::of(entry);
        let (offset, length) = (offset as u64, length as u64);
        let outside = packed.wrapping_sub(offset + length) >> 63;
        bad | (offset & 7) | outside | (length.wrapping_sub(min) >> 63)
    });
    if bad == 0 {
        return Ok(());
    }
    let entries = &mut directory.iter().map(Entry::of);
    entries.try_for_each(|entry| entry.check(packed_len, min_len, what))
}

/// A batch, seen in a payload.
///
/// The directory has an entry of 8 bytes (`u32` offset, `u32` length) for each item. Offsets
/// count from the directory's end and are multiples of 8. Nothing is said about order or overlap.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    directory: &'a [[u8; ENTRY_LEN]],
    packed: &'a [u8],
}

impl<'a> Batch<'a> {
    /// A batch of so many items. Every entry of its directory is checked here, once.
    ///
    /// # Errors
    /// [`Fault::Truncated`] when the directory is not all there, [`Fault::BadAlignment`] and
    /// [`Fault::OutOfBounds`] for an entry.
    #[inline]
    pub fn new(payload: &'a [u8], item_count: u32) -> Result<Batch<'a>, Malformed> {
        let batch = Batch::again(payload, item_count)?;
        check_directory(batch.directory, batch.packed.len(), 0, WHAT)?;
        Ok(batch)
    }

    /// A view of a batch whose directory was checked before.
    #[inline]
    pub(crate) fn again(payload: &'a [u8], item_count: u32) -> Result<Batch<'a>, Malformed> {
        let (directory, packed) = split_directory(payload, item_count, WHAT)?;
        Ok(Batch { directory, packed })
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// The bytes of an item, or nothing when there are not so many.
    #[inline]
    pub fn item(&self, index: usize) -> Option<&'a [u8]> {
        let entry = Entry::of(self.directory.get(index)?);
        self.packed.get(entry.offset..entry.offset + entry.length)
    }

    /// The items in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let Batch { directory, packed } = *self;
        directory.iter().map(move |entry| {
            let entry = Entry::of(entry);
            // Checked when the view was made.
            packed.get(entry.offset..entry.offset + entry.length).unwrap_or_default()
        })
    }
}

/// The directory at the start of some bytes, and what follows it.
#[inline]
pub(crate) fn split_directory<'a>(
    bytes: &'a [u8],
    item_count: u32,
    what: &'static str,
) -> Result<(&'a [[u8; ENTRY_LEN]], &'a [u8]), Malformed> {
    (item_count as usize)
        .checked_mul(ENTRY_LEN)
        .and_then(|length| bytes.split_at_checked(length))
        .map(|(directory, packed)| (directory.as_chunks().0, packed))
        .ok_or(Malformed::new(Fault::Truncated, what))
}

/// Writes items behind a directory that has room for a number of them known before.
///
/// The packed area follows the room for all announced entries; when fewer items come, it is moved
/// to its place at the end.
#[derive(Debug)]
pub(crate) struct Packer<'a> {
    bytes: &'a mut [u8],
    directory_at: usize,
    packed_at: usize,
    /// Where the next entry of the directory goes.
    entry_at: usize,
    /// The end of the last item, and where the next one goes.
    end: usize,
    next_at: usize,
    what: &'static str,
}

impl<'a> Packer<'a> {
    /// Directory at `directory_at`, room for `max_items`.
    pub(crate) fn new(
        bytes: &'a mut [u8],
        directory_at: usize,
        max_items: usize,
        what: &'static str,
    ) -> Result<Packer<'a>, BuildError> {
        // No entry tells of more.
        let len = bytes.len().min(u32::MAX as usize);
        let bytes = &mut bytes[..len];
        let packed_at = max_items.saturating_mul(ENTRY_LEN).saturating_add(directory_at);
        if packed_at > len {
            return Err(BuildError::overflow(what, packed_at, len));
        }
        let (entry_at, end, next_at) = (directory_at, packed_at, packed_at);
        Ok(Packer { bytes, directory_at, packed_at, entry_at, end, next_at, what })
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        (self.entry_at - self.directory_at) / ENTRY_LEN
    }

    /// How many items the directory has room for.
    #[inline]
    pub(crate) fn max_items(&self) -> usize {
        (self.packed_at - self.directory_at) / ENTRY_LEN
    }

    /// How long an item could be that comes next.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.next_at)
    }

    /// Where the next item may be written: everything that is left. Follow it with
    /// [`Packer::commit`].
    #[inline]
    pub(crate) fn slot(&mut self) -> Result<&mut [u8], BuildError> {
        if self.entry_at == self.packed_at {
            let (expected, found) = (self.count(), self.count() + 1);
            return Err(BuildError::ItemCount { expected, found });
        }
        let (start, room) = (self.next_at, self.bytes.len());
        // Where the pad before it does not fit, an item does not either, however short.
        self.bytes.get_mut(start..).ok_or(BuildError::overflow(self.what, start, room))
    }

    /// Makes an item of the first bytes of what [`Packer::slot`] gave.
    #[inline]
    pub(crate) fn commit(&mut self, length: usize) {
        let (start, entry) = (self.next_at, self.entry_at);
        let encoded = Entry::encode(start - self.packed_at, length);
        self.bytes[entry..entry + ENTRY_LEN].copy_from_slice(&encoded);
        self.entry_at = entry + ENTRY_LEN;
        self.end = start + length;
        self.next_at = start + align8(length);
        // Where the pad does not fit, nothing comes after it.
        if self.end < self.next_at
            && let Some(pad) = self.bytes.get_mut(self.end..self.next_at)
        {
            pad.fill(0);
        }
    }

    /// Appends an item.
    pub(crate) fn push(&mut self, item: &[u8]) -> Result<(), BuildError> {
        self.push_with(item.len(), |target| target.copy_from_slice(item))
    }

    /// Appends an item of this length, which `write` writes.
    #[inline]
    pub(crate) fn push_with(
        &mut self,
        length: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), BuildError> {
        let what = self.what;
        let slot = self.slot()?;
        let room = slot.len();
        write(slot.get_mut(..length).ok_or(BuildError::overflow(what, length, room))?);
        self.commit(length);
        Ok(())
    }

    /// Writes what stands before the directory, and finishes without a pad.
    pub(crate) fn finish_with(self, header: &[u8]) -> usize {
        self.bytes[..header.len()].copy_from_slice(header);
        self.finish(false)
    }

    /// The length of all, once the packed area is in its place. With `pad`, the end is rounded up
    /// to 8 where that fits.
    pub(crate) fn finish(self, pad: bool) -> usize {
        let Packer { bytes, packed_at, entry_at, end, .. } = self;
        if entry_at != packed_at {
            bytes.copy_within(packed_at..end, entry_at);
        }
        let length = end - packed_at;
        let (target, padded) = (entry_at + length, entry_at + align8(length));
        if pad && padded <= bytes.len() {
            bytes[target..padded].fill(0);
            padded
        } else {
            target
        }
    }
}

/// Writes a batch into a payload.
#[derive(Debug)]
pub struct BatchBuilder<'a>(Packer<'a>);

impl<'a> BatchBuilder<'a> {
    /// A batch of at most so many items.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when not even the directory fits.
    pub fn new(payload: &'a mut [u8], max_items: u32) -> Result<BatchBuilder<'a>, BuildError> {
        Packer::new(payload, 0, max_items as usize, "batch").map(BatchBuilder)
    }

    /// Appends an item.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit, [`BuildError::ItemCount`] when it is one too
    /// many.
    pub fn push(&mut self, item: &[u8]) -> Result<(), BuildError> {
        self.0.push(item)
    }

    /// Appends an item that `write` puts at the start of the bytes it is given; it returns the
    /// length.
    ///
    /// # Errors
    /// Those of `write`, and [`BuildError::ItemCount`].
    #[inline]
    pub fn push_with<E: From<BuildError>>(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let slot = self.0.slot()?;
        let room = slot.len();
        let length = write(slot)?;
        if length > room {
            return Err(BuildError::overflow("batch", length, room).into());
        }
        self.0.commit(length);
        Ok(())
    }

    /// The number of items so far.
    pub fn len(&self) -> usize {
        self.0.count()
    }

    /// Whether there are none so far.
    pub fn is_empty(&self) -> bool {
        self.0.count() == 0
    }

    /// The payload's length in bytes, and the number of items.
    pub fn finish(self) -> (usize, u32) {
        let count = wire_len(self.0.count());
        (self.0.finish(true), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_item_needs_its_pad_as_well() {
        let mut room = [7; 8 * 2 + 6];
        let mut builder = BatchBuilder::new(&mut room[..], 2).unwrap();
        builder.push(&[1; 6]).unwrap();
        assert!(matches!(builder.push(b""), Err(BuildError::Overflow { .. })));
    }

    #[test]
    fn bad_directories_are_named() {
        let fault = |payload: &[u8], count| Batch::new(payload, count).unwrap_err().fault;
        let entry = |offset, length| Entry::encode(offset, length);
        assert_eq!(fault(&[0; 15], 2), Fault::Truncated);
        assert_eq!(fault(&[0; 15], u32::MAX), Fault::Truncated);
        assert_eq!(fault(&[entry(4, 0), [0; 8]].concat(), 1), Fault::BadAlignment);
        assert_eq!(fault(&[entry(0, 9), [0; 8]].concat(), 1), Fault::OutOfBounds);
        assert_eq!(fault(&entry(0xffff_fff8, 0xffff_ffff), 1), Fault::OutOfBounds);
    }

    #[test]
    fn fewer_items_than_announced_are_moved_together() {
        let mut many = [0xaa; 256];
        let mut few = [0xaa; 256];
        let mut builder = BatchBuilder::new(&mut many, 9).unwrap();
        builder.push(b"one").unwrap();
        builder.push(b"eleven chars").unwrap();
        let (many_len, count) = builder.finish();
        let mut builder = BatchBuilder::new(&mut few, 2).unwrap();
        builder.push(b"one").unwrap();
        builder.push(b"eleven chars").unwrap();
        let full = builder.push(b"").unwrap_err();
        assert_eq!(full, BuildError::ItemCount { expected: 2, found: 3 });
        let (few_len, _) = builder.finish();
        assert_eq!(many[..many_len], few[..few_len]);
        assert_eq!((count, few_len), (2, 16 + 8 + 16));
    }

    #[test]
    fn the_last_pad_is_left_out_where_it_does_not_fit() {
        let mut tight = [0; 8 + 3];
        let mut builder = BatchBuilder::new(&mut tight, 1).unwrap();
        builder.push(b"abc").unwrap();
        assert_eq!(builder.finish().0, 11);
        assert_eq!(Batch::new(&tight, 1).unwrap().item(0), Some(&b"abc"[..]));
        let mut builder = BatchBuilder::new(&mut tight, 1).unwrap();
        assert_eq!(builder.push(b"abcd"), Err(BuildError::overflow("batch", 4, 3)));
        assert!(BatchBuilder::new(&mut tight, 2).is_err());
    }

    proptest! {
        #[test]
        fn items_come_back(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut payload = vec![0xee; 2048];
            let mut builder = BatchBuilder::new(&mut payload, 20).unwrap();
            for item in &items {
                builder.push(item).unwrap();
            }
            let (length, count) = builder.finish();
            prop_assert_eq!(length % 8, 0);
            let batch = Batch::new(&payload[..length], count).unwrap();
            prop_assert!(batch.iter().eq(items.iter().map(Vec::as_slice)));
            prop_assert_eq!(batch.item(items.len()), None);
        }

        #[test]
        fn any_bytes_are_refused_or_read(payload in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..30) {
            if let Ok(batch) = Batch::new(&payload, count) {
                for index in 0..batch.len() {
                    prop_assert!(batch.item(index).is_some());
                }
            }
        }
    }
}
