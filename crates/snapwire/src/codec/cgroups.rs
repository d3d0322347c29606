//! CGROUPS_LOOKUP: cgroups by their paths. A path is an opaque key: nobody opens it.

use super::bytes::{Fixed, Writer, wire_len};
use super::fault::{BuildError, Fault, Malformed};
use super::lookup::{
    ItemWriter, LAYOUT_VERSION, Label, Labels, Lookup, LookupRequest, LookupResponse, Orchestrator,
    Table, Texts, check_texts, item_len,
};
use super::reply::{LookupReply, Placed};

const ITEM_LEN: usize = 28;
const REQUEST: &str = "cgroups lookup request";
const ITEM: &str = "cgroups lookup item";

/// The lookup whose keys are paths.
#[derive(Clone, Copy, Debug)]
pub enum Paths {}

/// A request for paths.
pub type CgroupsRequest<'a> = LookupRequest<'a, Paths>;
/// A response to a request for paths.
pub type CgroupsResponse<'a> = LookupResponse<'a, Paths>;
/// The answer that a handler gives to a request for paths.
pub type CgroupsReply<'r, 'b> = LookupReply<'r, 'b, Paths>;

impl Lookup for Paths {
    type Key<'a> = &'a [u8];
    type Item<'a> = CgroupItem<'a>;

    const REQUEST: &'static str = REQUEST;
    const RESPONSE: &'static str = "cgroups lookup response";
    const ITEM: &'static str = ITEM;
    const ITEM_LEN: usize = ITEM_LEN;
    const HAS_LONG_KEYS: bool = true;

    #[inline]
    fn check_key(path: &[u8]) -> Result<(), BuildError> {
        if path.is_empty() {
            return Err(BuildError::unfit(REQUEST, "a path is empty"));
        }
        check_texts(REQUEST, &[path], &[])
    }

    fn key_len(path: &[u8]) -> usize {
        path.len() + 1
    }

    #[inline]
    fn write_key(path: &[u8], bytes: &mut [u8]) {
        bytes[..path.len()].copy_from_slice(path);
        bytes[path.len()] = 0;
    }

    #[inline]
    fn key(bytes: &[u8]) -> &[u8] {
        bytes.split_last().map_or(b"", |(_, path)| path)
    }

    fn placeholder_len(path: &[u8]) -> usize {
        ITEM_LEN + path.len() + 2
    }

    fn write_placeholder(path: &[u8], why: Placed, item: &mut [u8]) {
        let status = match why {
            Placed::Oversized => CgroupStatus::OversizedItem,
            _ => CgroupStatus::PayloadExceeded,
        };
        CgroupItem::write(status, Orchestrator::UNKNOWN, path, b"", &[], item);
    }

    fn item(bytes: &[u8]) -> Result<CgroupItem<'_>, Malformed> {
        CgroupItem::decode(bytes)
    }

    fn placed(item: &CgroupItem<'_>, path: &[u8]) -> Option<Placed> {
        (item.path == path).then_some(match item.status {
            CgroupStatus::PayloadExceeded => Placed::Exceeded,
            CgroupStatus::OversizedItem => Placed::Oversized,
            _ => Placed::Whole,
        })
    }
}

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
        Ok(LookupRequest::of(table))
    }

    /// A path, without its NUL.
    pub fn path(&self, index: usize) -> Option<&'a [u8]> {
        self.key(index)
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

    /// Writes the item, of the right length.
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

impl<'r> CgroupsReply<'r, '_> {
    /// The path that is answered next, or nothing when all are.
    pub fn next_path(&self) -> Option<&'r [u8]> {
        self.next_key()
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
        self.keep(checked)?;
        self.say(CgroupStatus::Known, orchestrator, name, labels)
    }

    /// Answers the next path: it is not known yet.
    ///
    /// # Errors
    /// As for [`CgroupsReply::known`].
    pub fn unknown_retry_later(&mut self) -> Result<Placed, BuildError> {
        self.say(CgroupStatus::UnknownRetryLater, Orchestrator::UNKNOWN, b"", &[])
    }

    /// Answers the next path: it is not known and will not be.
    ///
    /// # Errors
    /// As for [`CgroupsReply::known`].
    pub fn unknown_permanent(&mut self) -> Result<Placed, BuildError> {
        self.say(CgroupStatus::UnknownPermanent, Orchestrator::UNKNOWN, b"", &[])
    }

    fn say(
        &mut self,
        status: CgroupStatus,
        orchestrator: Orchestrator,
        name: &[u8],
        labels: &[Label<'_>],
    ) -> Result<Placed, BuildError> {
        let path = self.next_path().unwrap_or_default();
        self.place(item_len(ITEM_LEN, &[path, name], labels), |path, item| {
            CgroupItem::write(status, orchestrator, path, name, labels, item);
        })
    }
}
