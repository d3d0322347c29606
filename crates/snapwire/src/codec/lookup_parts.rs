//! A lookup's response, put together from the items of several.

use super::batch::{ENTRY_LEN, Entry};
use super::bytes::align8;
use super::lookup;

pub(crate) use super::lookup::HEADER_LEN;

/// What a key or an item of this length adds to a message, with its entry.
pub(crate) const fn entry_and(length: usize) -> usize {
    ENTRY_LEN + align8(length)
}

/// Room for header and directory.
pub(crate) fn begin(output: &mut Vec<u8>, keys: usize) {
    output.clear();
    output.resize(HEADER_LEN + keys * ENTRY_LEN, 0);
}

/// Appends the item of a key. Items come in order.
pub(crate) fn append(output: &mut Vec<u8>, keys_before: usize, item: &[u8]) {
    // The directory's length is a multiple of 8, so this is one from its end as well.
    output.resize(align8(output.len()), 0);
    let start = output.len();
    output.extend_from_slice(item);
    // Where the packed area begins is known when the number of keys is: at the end.
    let entry_at = HEADER_LEN + keys_before * ENTRY_LEN;
    output[entry_at..entry_at + ENTRY_LEN].copy_from_slice(&Entry::encode(start, item.len()));
}

/// Writes the header, and makes the offsets count from the directory's end.
pub(crate) fn end(output: &mut [u8], keys: usize, generation: u64) {
    let packed_at = HEADER_LEN + keys * ENTRY_LEN;
    output[..HEADER_LEN].copy_from_slice(&lookup::header(keys, generation));
    for entry in output[HEADER_LEN..packed_at].as_chunks_mut::<ENTRY_LEN>().0 {
        let Entry { offset, length } = Entry::of(entry);
        *entry = Entry::encode(offset - packed_at, length);
    }
}
