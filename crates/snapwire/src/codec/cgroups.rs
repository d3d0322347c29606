//! CGROUPS_LOOKUP: cgroups by their paths. A path is an opaque key: nobody opens it.

use super::batch::Packer;
use super::bytes::{Fixed, Writer, wire_len};
use super::fault::{BuildError, Fault, Malformed};
use super::lookup::{
    HEADER_LEN, ItemWriter, LAYOUT_VERSION, Label, Labels, Orchestrator, Table, Texts, check_texts,
    header, item_len,
};
use super::reply::{Filler, Placed, Verdict};

const ITEM_LEN: usize = 28;
const REQUEST: &str = "cgroups lookup request";
const RESPONSE: &str = "cgroups lookup response";
const ITEM: &str = "cgroups lookup item";

/// The keys of a request, seen in a payload. All of them were checked.
#[derive(Clone, Copy, Debug)]
pub struct CgroupsRequest<'a>(Table<'a>);

impl<'a> CgroupsRequest<'a> {
    /// A view of a request.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::BadLayout`], [`Fault::BadAlignment`],
    /// [`Fault::OutOfBounds`], and [`Fault::MissingNul`] for a key.
    pub fn decode(payload: &'a [u8]) -> Result<CgroupsRequest<'a>, Malformed> {
        let table = Table::decode(payload, REQUEST, |length| length >= 2)?;
        if table.generation != 0 {
            return Err(Malformed::new(Fault::BadLayout, REQUEST));
        }
        for index in 0..table.len() {
            match table.item(index).and_then(|key| key.split_last()) {
                Some((0, path)) if !path.contains(&0) => {}
                Some((0, _)) => return Err(Malformed::new(Fault::BadLayout, REQUEST)),
                _ => return Err(Malformed::new(Fault::MissingNul, REQUEST)),
            }
        }
        Ok(CgroupsRequest(table))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A path, without its NUL.
    pub fn path(&self, index: usize) -> Option<&'a [u8]> {
        self.0.item(index)?.split_last().map(|(_, path)| path)
    }

    /// The paths in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let request = *self;
        (0..request.len()).map(move |index| request.path(index).unwrap_or_default())
    }

    /// Writes a request for these paths; returns the payload's length.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit, [`BuildError::Unfit`] for a path that is
    /// empty or has a NUL inside.
    pub fn encode(paths: &[&[u8]], payload: &mut [u8]) -> Result<usize, BuildError> {
        let mut packer = Packer::new(payload, HEADER_LEN, paths.len(), REQUEST)?;
        for path in paths {
            if path.is_empty() {
                return Err(BuildError::unfit(REQUEST, "a path is empty"));
            }
            check_texts(REQUEST, &[path], &[])?;
            let slot = packer.slot()?;
            let room = slot.len();
            let length = path.len() + 1;
            let key = slot.get_mut(..length).ok_or(BuildError::overflow(REQUEST, length, room))?;
            key[..path.len()].copy_from_slice(path);
            key[path.len()] = 0;
            packer.commit(length);
        }
        Ok(packer.finish_with(&header(paths.len(), 0)))
    }
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CgroupStatus {
    /// It is a cgroup that the provider knows.
    Known = 0,
    /// Not known yet.
    UnknownRetryLater = 1,
    /// Not known, and it will not be.
    UnknownPermanent = 2,
    /// The response was full before this key. A client asks again.
    PayloadExceeded = 3,
    /// The item fits no response.
    OversizedItem = 4,
}

/// One answer. Everything but status and path is empty unless the status is
/// [`CgroupStatus::Known`].
#[derive(Clone, Copy, Debug)]
pub struct CgroupItem<'a> {
    /// What is known.
    pub status: CgroupStatus,
    /// Who runs it.
    pub orchestrator: Orchestrator,
    /// The key, as it was asked.
    pub path: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// Its labels.
    pub labels: Labels<'a>,
}

impl<'a> CgroupItem<'a> {
    /// Reads an item.
    ///
    /// | offset | size | field |
    /// | --- | --- | --- |
    /// | 0, 2 | 2, 2 | layout version, 1; status |
    /// | 4, 6 | 2, 2 | orchestrator; 0 |
    /// | 8, 12 | 4, 4 | path: offset from the item's start, length without its NUL |
    /// | 16, 20 | 4, 4 | name: likewise |
    /// | 24, 26 | 2, 2 | number of labels; 0 |
    /// | 28 | | strings, then labels |
    fn decode(item: &'a [u8]) -> Result<CgroupItem<'a>, Malformed> {
        let bad_layout = Malformed::new(Fault::BadLayout, ITEM);
        let fixed = Fixed::<ITEM_LEN>::of(item).ok_or(Malformed::new(Fault::Truncated, ITEM))?;
        let status = match fixed.u16(2) {
            0 => CgroupStatus::Known,
            1 => CgroupStatus::UnknownRetryLater,
            2 => CgroupStatus::UnknownPermanent,
            3 => CgroupStatus::PayloadExceeded,
            4 => CgroupStatus::OversizedItem,
            _ => return Err(bad_layout),
        };
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u16(6) != 0 || fixed.u16(26) != 0 {
            return Err(bad_layout);
        }
        let texts = Texts { item, fixed_len: ITEM_LEN, what: ITEM };
        let path = texts.at(fixed.len(8), fixed.len(12))?;
        let name = texts.at(fixed.len(16), fixed.len(20))?;
        let labels = texts.labels(texts.end(&[path, name])?, fixed.u16(24))?;
        let orchestrator = Orchestrator(fixed.u16(4));
        let bare =
            orchestrator == Orchestrator::UNKNOWN && name.bytes.is_empty() && labels.is_empty();
        if path.bytes.is_empty() || (status != CgroupStatus::Known && !bare) {
            return Err(bad_layout);
        }
        Ok(CgroupItem { status, orchestrator, path: path.bytes, name: name.bytes, labels })
    }

    /// Writes the item, of the length that [`CgroupItem::encoded_len`] gave.
    fn write(
        status: CgroupStatus,
        orchestrator: Orchestrator,
        path: &[u8],
        name: &[u8],
        labels: &[Label<'_>],
        item: &mut [u8],
    ) {
        let name_at = ITEM_LEN + path.len() + 1;
        let fixed: [u8; ITEM_LEN] = Writer::new()
            .u16(LAYOUT_VERSION)
            .u16(status as u16)
            .u16(orchestrator.0)
            .u16(0)
            .u32(ITEM_LEN as u32)
            .u32(wire_len(path.len()))
            .u32(wire_len(name_at))
            .u32(wire_len(name.len()))
            .u16(labels.len() as u16)
            .u16(0)
            .done();
        item[..ITEM_LEN].copy_from_slice(&fixed);
        ItemWriter::new(item, ITEM_LEN).write(&[path, name], labels);
    }
}

/// A response, seen in a payload. Its header and directory are checked when it is made, an item
/// when it is handed out.
#[derive(Clone, Copy, Debug)]
pub struct CgroupsResponse<'a>(Table<'a>);

impl<'a> CgroupsResponse<'a> {
    /// A view of a response.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::BadLayout`], [`Fault::BadAlignment`],
    /// [`Fault::OutOfBounds`].
    pub fn decode(payload: &'a [u8]) -> Result<CgroupsResponse<'a>, Malformed> {
        Table::decode(payload, RESPONSE, |length| length >= ITEM_LEN).map(CgroupsResponse)
    }

    /// The number of answers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The provider's generation. When it goes down, what was learnt for good is no longer true.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// One answer.
    ///
    /// # Errors
    /// Why the item is malformed; [`Fault::BadItemCount`] when there are not so many.
    pub fn item(&self, index: usize) -> Result<CgroupItem<'a>, Malformed> {
        CgroupItem::decode(self.raw(index)?)
    }

    /// The bytes of one answer.
    pub(crate) fn raw(&self, index: usize) -> Result<&'a [u8], Malformed> {
        self.0.item(index).ok_or(Malformed::new(Fault::BadItemCount, ITEM))
    }

    /// The answers in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<CgroupItem<'a>, Malformed>> + use<'a> {
        let response = *self;
        (0..response.len()).map(move |index| response.item(index))
    }
}

/// The answer to a request, filled by a handler: one item for each key, in order.
#[derive(Debug)]
pub struct CgroupsReply<'r, 'b> {
    request: CgroupsRequest<'r>,
    filler: Filler<'b>,
}

/// The length of an item that has nothing but its path.
pub(crate) fn placeholder_len(path: &[u8]) -> usize {
    ITEM_LEN + path.len() + 2
}

impl<'r, 'b> CgroupsReply<'r, 'b> {
    /// An answer to this request.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when not even a placeholder for every key fits.
    pub fn new(
        request: CgroupsRequest<'r>,
        payload: &'b mut [u8],
    ) -> Result<CgroupsReply<'r, 'b>, BuildError> {
        let filler = Filler::new(payload, request.iter().map(placeholder_len), RESPONSE)?;
        Ok(CgroupsReply { request, filler })
    }

    /// Sets the generation, which must be the same in all answers to one logical request.
    pub fn set_generation(&mut self, generation: u64) {
        self.filler.set_generation(generation);
    }

    /// The path that is answered next, or nothing when all are.
    pub fn next_path(&self) -> Option<&'r [u8]> {
        self.request.path(self.filler.next())
    }

    /// Whether the response is full, so that what is known of further keys does not matter.
    pub fn is_full(&self) -> bool {
        self.filler.is_exceeded()
    }

    /// Answers the next path: it is known.
    ///
    /// # Errors
    /// [`BuildError::Unfit`] for strings that the contract does not allow,
    /// [`BuildError::ItemCount`] when all paths are answered, [`BuildError::Overflow`] when the
    /// item would fit a response of its own but not this one. An error stays.
    pub fn known(
        &mut self,
        orchestrator: Orchestrator,
        name: &[u8],
        labels: &[Label<'_>],
    ) -> Result<Placed, BuildError> {
        let checked = check_texts(ITEM, &[name], labels);
        self.filler.keep(checked)?;
        self.place(CgroupStatus::Known, orchestrator, name, labels)
    }

    /// Answers the next path: it is not known yet.
    ///
    /// # Errors
    /// As for [`CgroupsReply::known`].
    pub fn unknown_retry_later(&mut self) -> Result<Placed, BuildError> {
        self.place(CgroupStatus::UnknownRetryLater, Orchestrator::UNKNOWN, b"", &[])
    }

    /// Answers the next path: it is not known and will not be.
    ///
    /// # Errors
    /// As for [`CgroupsReply::known`].
    pub fn unknown_permanent(&mut self) -> Result<Placed, BuildError> {
        self.place(CgroupStatus::UnknownPermanent, Orchestrator::UNKNOWN, b"", &[])
    }

    fn place(
        &mut self,
        status: CgroupStatus,
        orchestrator: Orchestrator,
        name: &[u8],
        labels: &[Label<'_>],
    ) -> Result<Placed, BuildError> {
        let path = self.next_path().unwrap_or_default();
        let length = item_len(ITEM_LEN, &[path, name], labels);
        let placeholder = placeholder_len(path);
        let verdict = self.filler.judge(length, placeholder, ITEM);
        let verdict = self.filler.keep(verdict)?;
        let (placed, status, length) = match verdict {
            Verdict::Write => (Placed::Whole, status, length),
            Verdict::Oversized => (Placed::Oversized, CgroupStatus::OversizedItem, placeholder),
            Verdict::Exceeded => (Placed::Exceeded, CgroupStatus::PayloadExceeded, placeholder),
        };
        let written = self.filler.write(length, placeholder, |item| {
            if placed == Placed::Whole {
                CgroupItem::write(status, orchestrator, path, name, labels, item);
            } else {
                CgroupItem::write(status, Orchestrator::UNKNOWN, path, b"", &[], item);
            }
        });
        self.filler.keep(written)?;
        Ok(placed)
    }

    /// The payload's length.
    ///
    /// # Errors
    /// The first error of any answer; [`BuildError::ItemCount`] when a path has none.
    pub fn finish(self) -> Result<usize, BuildError> {
        debug_assert_eq!(self.filler.keys(), self.request.len());
        self.filler.finish()
    }
}

/// The bytes of an item that says that a path is too long to be asked for.
pub(crate) fn oversized_item(path: &[u8]) -> Vec<u8> {
    let mut item = vec![0; placeholder_len(path)];
    CgroupItem::write(
        CgroupStatus::OversizedItem,
        Orchestrator::UNKNOWN,
        path,
        b"",
        &[],
        &mut item,
    );
    item
}
