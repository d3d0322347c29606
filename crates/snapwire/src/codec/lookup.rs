//! What the two lookup methods have in common: header, directory, strings, labels.
//!
//! | offset | size | field of a request | of a response |
//! | --- | --- | --- | --- |
//! | 0, 2 | 2, 2 | layout version, 1; flags, 0 | the same |
//! | 4 | 4 | number of keys | number of items |
//! | 8 | 8 | 0 | generation |
//! | 16 | 8 each | directory; offsets count from its end | the same |

use super::batch::{ENTRY_LEN, Entry, Packer, split_directory};
use super::bytes::{Fixed, Writer, align8, wire_len};
use super::fault::{BuildError, Fault, Malformed};
use super::reply::Placed;
use std::marker::PhantomData;

pub(crate) const HEADER_LEN: usize = 16;
pub(crate) const LAYOUT_VERSION: u16 = 1;
const LABEL_LEN: usize = 16;

/// Who runs what is in a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orchestrator(pub u16);

impl Orchestrator {
    /// Not known.
    pub const UNKNOWN: Orchestrator = Orchestrator(0);
    /// systemd.
    pub const SYSTEMD: Orchestrator = Orchestrator(1);
    /// Docker.
    pub const DOCKER: Orchestrator = Orchestrator(2);
    /// Kubernetes.
    pub const K8S: Orchestrator = Orchestrator(3);
    /// KVM.
    pub const KVM: Orchestrator = Orchestrator(4);
    /// LXC.
    pub const LXC: Orchestrator = Orchestrator(5);
    /// Podman.
    pub const PODMAN: Orchestrator = Orchestrator(6);
    /// systemd-nspawn.
    pub const NSPAWN: Orchestrator = Orchestrator(7);
}

/// Directory and packed area of a request or a response, checked entry by entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    pub(crate) generation: u64,
    directory: &'a [[u8; ENTRY_LEN]],
    packed: &'a [u8],
}

impl<'a> Table<'a> {
    /// Entries must be aligned, in bounds, in order without overlap, and as long as `fits` says.
    pub(crate) fn decode(
        payload: &'a [u8],
        what: &'static str,
        fits: impl Fn(usize) -> bool,
    ) -> Result<Table<'a>, Malformed> {
        let refuse = |fault| Malformed::new(fault, what);
        let fixed = Fixed::<HEADER_LEN>::of(payload).ok_or(refuse(Fault::Truncated))?;
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u16(2) != 0 {
            return Err(refuse(Fault::BadLayout));
        }
        let (directory, packed) = split_directory(&payload[HEADER_LEN..], fixed.u32(4), what)?;
        let mut free_from = 0;
        for entry in directory {
            let entry = Entry::of(entry);
            entry.check(packed.len(), 0, what)?;
            if entry.offset < free_from || !fits(entry.length) {
                return Err(refuse(Fault::BadLayout));
            }
            free_from = entry.offset + entry.length;
        }
        Ok(Table { generation: fixed.u64(8), directory, packed })
    }

    pub(crate) fn len(&self) -> usize {
        self.directory.len()
    }

    pub(crate) fn item(&self, index: usize) -> Option<&'a [u8]> {
        let entry = Entry::of(self.directory.get(index)?);
        self.packed.get(entry.offset..entry.offset + entry.length)
    }
}

/// What the two lookups do differently: their keys and their items.
pub trait Lookup: Copy {
    /// What is looked up.
    type Key<'a>: Copy;
    /// The answer to a key.
    type Item<'a>;

    /// What errors call a request.
    const REQUEST: &'static str;
    /// What errors call a response.
    const RESPONSE: &'static str;
    /// What errors call an item.
    const ITEM: &'static str;
    /// The length of an item's fixed part.
    const ITEM_LEN: usize;
    /// Whether a key may be longer than any request has room for.
    const HAS_LONG_KEYS: bool;

    /// Whether a key may be asked.
    ///
    /// # Errors
    /// [`BuildError::Unfit`].
    fn check_key(key: Self::Key<'_>) -> Result<(), BuildError>;
    /// The length of a key in a request.
    fn key_len(key: Self::Key<'_>) -> usize;
    /// Writes a key of the right length.
    fn write_key(key: Self::Key<'_>, bytes: &mut [u8]);
    /// Reads a key of a request that was checked.
    fn key(bytes: &[u8]) -> Self::Key<'_>;

    /// The length of an item that has nothing but its key.
    fn placeholder_len(key: Self::Key<'_>) -> usize;
    /// Writes such an item, which says why there is no more.
    fn write_placeholder(key: Self::Key<'_>, why: Placed, item: &mut [u8]);
    /// Reads and checks an item.
    ///
    /// # Errors
    /// Why it is malformed.
    fn item(bytes: &[u8]) -> Result<Self::Item<'_>, Malformed>;
    /// What became of the item of this key; nothing when it is that of another.
    fn placed(item: &Self::Item<'_>, key: Self::Key<'_>) -> Option<Placed>;
}

/// The keys of a request, seen in a payload. All of them were checked.
#[derive(Clone, Copy, Debug)]
pub struct LookupRequest<'a, K> {
    table: Table<'a>,
    kind: PhantomData<K>,
}

impl<'a, K: Lookup> LookupRequest<'a, K> {
    /// The request whose keys were checked.
    pub(super) fn of(table: Table<'a>) -> LookupRequest<'a, K> {
        LookupRequest { table, kind: PhantomData }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A key.
    pub(super) fn key(&self, index: usize) -> Option<K::Key<'a>> {
        self.table.item(index).map(K::key)
    }

    /// The keys in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = K::Key<'a>> + use<'a, K> {
        let table = self.table;
        (0..table.len()).map(move |index| K::key(table.item(index).unwrap_or_default()))
    }

    /// Writes a request for these keys; returns the payload's length.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit, [`BuildError::Unfit`] for a path that is
    /// empty or has a NUL inside.
    pub fn encode(keys: &[K::Key<'_>], payload: &mut [u8]) -> Result<usize, BuildError> {
        let mut packer = Packer::new(payload, HEADER_LEN, keys.len(), K::REQUEST)?;
        for key in keys {
            K::check_key(*key)?;
            packer.push_with(K::key_len(*key), |bytes| K::write_key(*key, bytes))?;
        }
        Ok(packer.finish_with(&header(keys.len(), 0)))
    }
}

/// A response, seen in a payload. Its header and directory are checked when it is made, an item
/// when it is handed out.
#[derive(Clone, Copy, Debug)]
pub struct LookupResponse<'a, K> {
    table: Table<'a>,
    kind: PhantomData<K>,
}

impl<'a, K: Lookup> LookupResponse<'a, K> {
    /// A view of a response.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::BadLayout`], [`Fault::BadAlignment`],
    /// [`Fault::OutOfBounds`].
    pub fn decode(payload: &'a [u8]) -> Result<LookupResponse<'a, K>, Malformed> {
        let table = Table::decode(payload, K::RESPONSE, |length| length >= K::ITEM_LEN)?;
        Ok(LookupResponse { table, kind: PhantomData })
    }

    /// The number of answers.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The provider's generation. When it goes down, what was learnt for good is no longer true.
    pub fn generation(&self) -> u64 {
        self.table.generation
    }

    /// One answer.
    ///
    /// # Errors
    /// Why the item is malformed; [`Fault::BadItemCount`] when there are not so many.
    pub fn item(&self, index: usize) -> Result<K::Item<'a>, Malformed> {
        K::item(self.raw(index)?)
    }

    /// The bytes of one answer.
    pub(crate) fn raw(&self, index: usize) -> Result<&'a [u8], Malformed> {
        self.table.item(index).ok_or(Malformed::new(Fault::BadItemCount, K::ITEM))
    }

    /// The answers in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<K::Item<'a>, Malformed>> + use<'a, K> {
        let response = *self;
        (0..response.len()).map(move |index| response.item(index))
    }
}

/// Writes the header of a request or a response.
pub(crate) fn header(count: usize, generation: u64) -> [u8; HEADER_LEN] {
    Writer::new().u16(LAYOUT_VERSION).u16(0).u32(wire_len(count)).u64(generation).done()
}

/// A string of an item and where it ends, its NUL included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    start: usize,
    end: usize,
}

/// Reads strings of an item: in bounds, with a NUL at the end and none inside.
pub(crate) struct Texts<'a> {
    pub(crate) item: &'a [u8],
    pub(crate) fixed_len: usize,
    pub(crate) what: &'static str,
}

impl<'a> Texts<'a> {
    pub(crate) fn at(&self, offset: usize, length: usize) -> Result<Text<'a>, Malformed> {
        let refuse = |fault| Malformed::new(fault, self.what);
        let end = offset.checked_add(length).ok_or(refuse(Fault::OutOfBounds))?;
        if offset < self.fixed_len || end >= self.item.len() {
            return Err(refuse(Fault::OutOfBounds));
        }
        let bytes = &self.item[offset..end];
        if self.item[end] != 0 {
            return Err(refuse(Fault::MissingNul));
        }
        if bytes.contains(&0) {
            return Err(refuse(Fault::BadLayout));
        }
        Ok(Text { bytes, start: offset, end: end + 1 })
    }

    /// No two of the strings may overlap, their NULs included; returns the end of the last.
    pub(crate) fn end(&self, texts: &[Text<'a>]) -> Result<usize, Malformed> {
        for (index, one) in texts.iter().enumerate() {
            for other in &texts[index + 1..] {
                if one.start < other.end && other.start < one.end {
                    return Err(Malformed::new(Fault::BadLayout, self.what));
                }
            }
        }
        Ok(texts.iter().map(|text| text.end).max().unwrap_or(self.fixed_len))
    }

    /// The labels after the strings. The item ends exactly with the last.
    pub(crate) fn labels(&self, texts_end: usize, count: u16) -> Result<Labels<'a>, Malformed> {
        let refuse = |fault| Malformed::new(fault, self.what);
        if count == 0 {
            return if self.item.len() == texts_end {
                Ok(Labels { item: self.item, table: &[] })
            } else {
                Err(refuse(Fault::BadLayout))
            };
        }
        let table_at = align8(texts_end);
        let table_end = table_at + usize::from(count) * LABEL_LEN;
        let table = self.item.get(table_at..table_end).ok_or(refuse(Fault::OutOfBounds))?;
        if self.item[texts_end..table_at].iter().any(|byte| *byte != 0) {
            return Err(refuse(Fault::BadLayout));
        }
        let table = table.as_chunks().0;
        let mut next = table_end;
        for label in table {
            let (key, value) = label_of(label);
            for (offset, length) in [key, value] {
                if offset != next {
                    return Err(refuse(Fault::BadLayout));
                }
                next = self.at(offset, length)?.end;
            }
            if key.1 == 0 {
                return Err(refuse(Fault::BadLayout));
            }
        }
        if next != self.item.len() {
            return Err(refuse(Fault::BadLayout));
        }
        Ok(Labels { item: self.item, table })
    }
}

/// Where a label's key and value are, and how long.
fn label_of(label: &[u8; LABEL_LEN]) -> ((usize, usize), (usize, usize)) {
    let fixed = Fixed(label);
    ((fixed.len(0), fixed.len(4)), (fixed.len(8), fixed.len(12)))
}

/// The labels of an item, as keys and values. They were checked with the item.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    item: &'a [u8],
    table: &'a [[u8; LABEL_LEN]],
}

impl<'a> Labels<'a> {
    /// The number of labels.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The labels in order, each a key and a value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let Labels { item, table } = *self;
        table.iter().map(move |label| {
            let text = |(at, length)| item.get(at..at + length).unwrap_or_default();
            let (key, value) = label_of(label);
            (text(key), text(value))
        })
    }
}

/// A label of an item that is being made: key and value.
pub type Label<'a> = (&'a [u8], &'a [u8]);

/// Writes the strings and labels of an item behind its fixed part.
pub(crate) struct ItemWriter<'a> {
    item: &'a mut [u8],
    at: usize,
}

/// How long strings and labels make an item.
pub(crate) fn item_len(fixed_len: usize, texts: &[&[u8]], labels: &[Label<'_>]) -> usize {
    let texts_end = fixed_len + texts.iter().map(|text| text.len() + 1).sum::<usize>();
    if labels.is_empty() {
        return texts_end;
    }
    let strings = labels.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    align8(texts_end) + labels.len() * LABEL_LEN + strings
}

/// Strings that the contract allows: no NUL inside, keys of labels not empty, few enough labels.
pub(crate) fn check_texts(
    what: &'static str,
    texts: &[&[u8]],
    labels: &[Label<'_>],
) -> Result<(), BuildError> {
    let has_nul = |text: &[u8]| text.contains(&0);
    if texts.iter().any(|text| has_nul(text))
        || labels.iter().any(|(key, value)| has_nul(key) || has_nul(value))
    {
        return Err(BuildError::unfit(what, "a string has a NUL inside"));
    }
    if labels.iter().any(|(key, _)| key.is_empty()) {
        return Err(BuildError::unfit(what, "the key of a label is empty"));
    }
    if labels.len() > usize::from(u16::MAX) {
        return Err(BuildError::unfit(what, "there are more than 65535 labels"));
    }
    Ok(())
}

impl<'a> ItemWriter<'a> {
    /// An item as long as [`item_len`] said.
    pub(crate) fn new(item: &'a mut [u8], fixed_len: usize) -> ItemWriter<'a> {
        ItemWriter { item, at: fixed_len }
    }

    fn text(&mut self, text: &[u8]) {
        let end = self.at + text.len();
        self.item[self.at..end].copy_from_slice(text);
        self.item[end] = 0;
        self.at = end + 1;
    }

    /// Writes all strings, then the labels.
    pub(crate) fn write(mut self, texts: &[&[u8]], labels: &[Label<'_>]) {
        for text in texts {
            self.text(text);
        }
        if labels.is_empty() {
            return;
        }
        let table_at = align8(self.at);
        self.item[self.at..table_at].fill(0);
        self.at = table_at + labels.len() * LABEL_LEN;
        for (index, (key, value)) in labels.iter().enumerate() {
            let row: [u8; LABEL_LEN] = Writer::new()
                .u32(wire_len(self.at))
                .u32(wire_len(key.len()))
                .u32(wire_len(self.at + key.len() + 1))
                .u32(wire_len(value.len()))
                .done();
            let row_at = table_at + index * LABEL_LEN;
            self.item[row_at..row_at + LABEL_LEN].copy_from_slice(&row);
            self.text(key);
            self.text(value);
        }
    }
}
