//! APPS_LOOKUP: processes by their pids.

use super::bytes::{Fixed, Writer, wire_len};
use super::fault::{BuildError, Fault, Malformed};
use super::lookup::{
    HEADER_LEN, ItemWriter, LAYOUT_VERSION, Label, Labels, Lookup, LookupRequest, LookupResponse,
    Orchestrator, Table, Texts, check_texts, item_len,
};
use super::reply::{LookupReply, Placed};
use std::fmt;

const KEY_LEN: usize = 8;
/// Not the 64 that a C structure with these fields would have.
const ITEM_LEN: usize = 60;
const COMM_MAX: usize = 15;
const UID_UNSET: u32 = u32::MAX;
const REQUEST: &str = "apps lookup request";
const ITEM: &str = "apps lookup item";

/// The number of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The lookup whose keys are pids.
#[derive(Clone, Copy, Debug)]
pub enum Pids {}

/// A request for pids.
pub type AppsRequest<'a> = LookupRequest<'a, Pids>;
/// A response to a request for pids.
pub type AppsResponse<'a> = LookupResponse<'a, Pids>;
/// The answer that a handler gives to a request for pids.
pub type AppsReply<'r, 'b> = LookupReply<'r, 'b, Pids>;

impl Lookup for Pids {
    type Key<'a> = Pid;
    type Item<'a> = AppItem<'a>;

    const REQUEST: &'static str = REQUEST;
    const RESPONSE: &'static str = "apps lookup response";
    const ITEM: &'static str = ITEM;
    const ITEM_LEN: usize = ITEM_LEN;
    const HAS_LONG_KEYS: bool = false;

    #[inline]
    fn check_key(_: Pid) -> Result<(), BuildError> {
        Ok(())
    }

    fn key_len(_: Pid) -> usize {
        KEY_LEN
    }

    #[inline]
    fn write_key(pid: Pid, bytes: &mut [u8]) {
        let key: [u8; KEY_LEN] = Writer::new().u32(pid.0).u32(0).done();
        bytes.copy_from_slice(&key);
    }

    #[inline]
    fn key(bytes: &[u8]) -> Pid {
        Pid(Fixed::<KEY_LEN>::of(bytes).map_or(0, |key| key.u32(0)))
    }

    fn placeholder_len(_: Pid) -> usize {
        // Three empty strings.
        ITEM_LEN + 3
    }

    fn write_placeholder(pid: Pid, why: Placed, item: &mut [u8]) {
        let status = match why {
            Placed::Oversized => AppStatus::OversizedItem,
            _ => AppStatus::PayloadExceeded,
        };
        write_item(status, pid, None, item);
    }

    fn item(bytes: &[u8]) -> Result<AppItem<'_>, Malformed> {
        AppItem::decode(bytes)
    }

    fn placed(item: &AppItem<'_>, pid: Pid) -> Option<Placed> {
        (item.pid == pid).then_some(match item.status {
            AppStatus::PayloadExceeded => Placed::Exceeded,
            AppStatus::OversizedItem => Placed::Oversized,
            _ => Placed::Whole,
        })
    }
}

impl<'a> AppsRequest<'a> {
    /// A view of a request.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::BadLayout`], [`Fault::BadAlignment`],
    /// [`Fault::OutOfBounds`].
    pub fn decode(payload: &'a [u8]) -> Result<AppsRequest<'a>, Malformed> {
        let bad_layout = Malformed::new(Fault::BadLayout, REQUEST);
        let table = Table::decode(payload, REQUEST, |length| length == KEY_LEN)?;
        let reserved = |index| {
            table.item(index).and_then(Fixed::<KEY_LEN>::of).is_none_or(|key| key.u32(4) != 0)
        };
        if table.generation != 0 || (0..table.len()).any(reserved) {
            return Err(bad_layout);
        }
        Ok(LookupRequest::of(table))
    }

    /// A pid.
    pub fn pid(&self, index: usize) -> Option<Pid> {
        self.key(index)
    }

    /// The length of a request for so many pids, in bytes.
    pub const fn len_for(keys: usize) -> usize {
        HEADER_LEN + keys * (super::batch::ENTRY_LEN + KEY_LEN)
    }
}

/// What is known of a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum AppStatus {
    /// It is a process that the provider knows.
    Known = 0,
    /// Not known.
    Unknown = 1,
    /// The response was full before this key. A client asks again.
    PayloadExceeded = 2,
    /// The item fits no response.
    OversizedItem = 3,
}

/// What is known of a process's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum AppCgroupStatus {
    /// It is a cgroup that the provider knows.
    Known = 0,
    /// Not known yet.
    UnknownRetryLater = 1,
    /// Not known, and it will not be.
    UnknownPermanent = 2,
    /// It is the host's root.
    HostRoot = 3,
}

/// One answer. For other statuses than [`AppStatus::Known`] only the pid means something.
#[derive(Clone, Copy, Debug)]
pub struct AppItem<'a> {
    /// What is known.
    pub status: AppStatus,
    /// The key, as it was asked.
    pub pid: Pid,
    /// The parent's pid.
    pub parent: Pid,
    /// The user, if known.
    pub uid: Option<u32>,
    /// When it started, in jiffies since boot.
    pub starttime_jiffies: u64,
    /// The command's name, 1 to 15 bytes.
    pub comm: &'a [u8],
    /// What is known of its cgroup.
    pub cgroup_status: AppCgroupStatus,
    /// Who runs the cgroup.
    pub orchestrator: Orchestrator,
    /// The cgroup's path.
    pub cgroup_path: &'a [u8],
    /// The cgroup's name.
    pub cgroup_name: &'a [u8],
    /// The cgroup's labels.
    pub labels: Labels<'a>,
}

impl<'a> AppItem<'a> {
    /// Reads an item.
    ///
    /// | offset | size | field |
    /// | --- | --- | --- |
    /// | 0, 2 | 2, 2 | layout version, 1; status |
    /// | 4, 6 | 2, 2 | orchestrator; status of the cgroup |
    /// | 8, 12, 16, 20 | 4 each | pid, parent's pid, uid (all ones: not set), 0 |
    /// | 24 | 8 | start time |
    /// | 32, 36 | 4, 4 | comm: offset from the item's start, length without its NUL |
    /// | 40, 44 | 4, 4 | path of the cgroup: likewise |
    /// | 48, 52 | 4, 4 | name of the cgroup: likewise |
    /// | 56, 58 | 2, 2 | number of labels; 0 |
    /// | 60 | | strings, then labels |
    fn decode(item: &'a [u8]) -> Result<AppItem<'a>, Malformed> {
        let bad_layout = Malformed::new(Fault::BadLayout, ITEM);
        let fixed = Fixed::<ITEM_LEN>::of(item).ok_or(Malformed::new(Fault::Truncated, ITEM))?;
        let status = match fixed.u16(2) {
            0 => AppStatus::Known,
            1 => AppStatus::Unknown,
            2 => AppStatus::PayloadExceeded,
            3 => AppStatus::OversizedItem,
            _ => return Err(bad_layout),
        };
        let cgroup_status = match fixed.u16(6) {
            0 => AppCgroupStatus::Known,
            1 => AppCgroupStatus::UnknownRetryLater,
            2 => AppCgroupStatus::UnknownPermanent,
            3 => AppCgroupStatus::HostRoot,
            _ => return Err(bad_layout),
        };
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u32(20) != 0 || fixed.u16(58) != 0 {
            return Err(bad_layout);
        }
        let texts = Texts { item, fixed_len: ITEM_LEN, what: ITEM };
        let comm = texts.at(fixed.len(32), fixed.len(36))?;
        let path = texts.at(fixed.len(40), fixed.len(44))?;
        let name = texts.at(fixed.len(48), fixed.len(52))?;
        let labels = texts.labels(texts.end(&[comm, path, name])?, fixed.u16(56))?;
        let uid = fixed.u32(16);
        let item = AppItem {
            status,
            pid: Pid(fixed.u32(8)),
            parent: Pid(fixed.u32(12)),
            uid: (uid != UID_UNSET).then_some(uid),
            starttime_jiffies: fixed.u64(24),
            comm: comm.bytes,
            cgroup_status,
            orchestrator: Orchestrator(fixed.u16(4)),
            cgroup_path: path.bytes,
            cgroup_name: name.bytes,
            labels,
        };
        if item.is_consistent() { Ok(item) } else { Err(bad_layout) }
    }

    /// What each status allows to be filled in.
    fn is_consistent(&self) -> bool {
        let nameless = self.orchestrator == Orchestrator::UNKNOWN
            && self.cgroup_name.is_empty()
            && self.labels.is_empty();
        if self.status != AppStatus::Known {
            return nameless
                && self.cgroup_status == AppCgroupStatus::Known
                && self.parent == Pid(0)
                && self.uid.is_none()
                && self.starttime_jiffies == 0
                && self.comm.is_empty()
                && self.cgroup_path.is_empty();
        }
        let cgroup = match self.cgroup_status {
            AppCgroupStatus::Known => !self.cgroup_path.is_empty(),
            AppCgroupStatus::UnknownRetryLater => nameless,
            AppCgroupStatus::UnknownPermanent => nameless && !self.cgroup_path.is_empty(),
            AppCgroupStatus::HostRoot => nameless && self.cgroup_path.is_empty(),
        };
        cgroup && (1..=COMM_MAX).contains(&self.comm.len())
    }
}

/// What a handler says of a process's cgroup.
#[derive(Clone, Copy, Debug)]
pub enum AppCgroup<'a> {
    /// It is known.
    Known {
        /// Who runs it.
        orchestrator: Orchestrator,
        /// Its path, not empty.
        path: &'a [u8],
        /// Its name.
        name: &'a [u8],
        /// Its labels.
        labels: &'a [Label<'a>],
    },
    /// Not known yet.
    UnknownRetryLater {
        /// Its path, where that is known.
        path: &'a [u8],
    },
    /// Not known, and it will not be.
    UnknownPermanent {
        /// Its path, not empty.
        path: &'a [u8],
    },
    /// It is the host's root.
    HostRoot,
}

/// What a handler says of a process.
#[derive(Clone, Copy, Debug)]
pub struct App<'a> {
    /// The parent's pid.
    pub parent: Pid,
    /// The user, if known.
    pub uid: Option<u32>,
    /// When it started, in jiffies since boot.
    pub starttime_jiffies: u64,
    /// The command's name, 1 to 15 bytes.
    pub comm: &'a [u8],
    /// Its cgroup.
    pub cgroup: AppCgroup<'a>,
}

impl AppsReply<'_, '_> {
    /// The pid that is answered next, or nothing when all are.
    pub fn next_pid(&self) -> Option<Pid> {
        self.next_key()
    }

    /// Answers the next pid: it is known.
    ///
    /// # Errors
    /// [`BuildError::Unfit`] for strings that the contract does not allow,
    /// [`BuildError::ItemCount`] when all pids are answered, [`BuildError::Overflow`] when the
    /// item would fit a response of its own but not this one. An error stays.
    pub fn known(&mut self, app: &App<'_>) -> Result<Placed, BuildError> {
        let checked = check_app(app);
        self.keep(checked)?;
        self.say(AppStatus::Known, Some(app))
    }

    /// Answers the next pid: it is not known.
    ///
    /// # Errors
    /// As for [`AppsReply::known`].
    pub fn unknown(&mut self) -> Result<Placed, BuildError> {
        self.say(AppStatus::Unknown, None)
    }

    fn say(&mut self, status: AppStatus, app: Option<&App<'_>>) -> Result<Placed, BuildError> {
        let parts = app.map(Parts::of).unwrap_or_default();
        let length = item_len(ITEM_LEN, &parts.texts, parts.labels);
        self.place(length, |pid, item| write_item(status, pid, app, item))
    }
}

/// What of an item depends on its cgroup.
#[derive(Default)]
struct Parts<'a> {
    cgroup_status: u16,
    orchestrator: Orchestrator,
    /// comm, path, name.
    texts: [&'a [u8]; 3],
    labels: &'a [Label<'a>],
}

impl<'a> Parts<'a> {
    fn of(app: &'a App<'a>) -> Parts<'a> {
        let plain = |status: AppCgroupStatus, path| Parts {
            cgroup_status: status as u16,
            texts: [app.comm, path, b""],
            ..Parts::default()
        };
        match app.cgroup {
            AppCgroup::Known { orchestrator, path, name, labels } => {
                Parts { cgroup_status: 0, orchestrator, texts: [app.comm, path, name], labels }
            }
            AppCgroup::UnknownRetryLater { path } => {
                plain(AppCgroupStatus::UnknownRetryLater, path)
            }
            AppCgroup::UnknownPermanent { path } => plain(AppCgroupStatus::UnknownPermanent, path),
            AppCgroup::HostRoot => plain(AppCgroupStatus::HostRoot, b""),
        }
    }
}

fn check_app(app: &App<'_>) -> Result<(), BuildError> {
    let parts = Parts::of(app);
    check_texts(ITEM, &parts.texts, parts.labels)?;
    if !(1..=COMM_MAX).contains(&app.comm.len()) {
        return Err(BuildError::unfit(ITEM, "comm must have 1 to 15 bytes"));
    }
    if app.uid == Some(UID_UNSET) {
        return Err(BuildError::unfit(ITEM, "uid 4294967295 means that there is none"));
    }
    match app.cgroup {
        AppCgroup::Known { path: b"", .. } | AppCgroup::UnknownPermanent { path: b"" } => {
            Err(BuildError::unfit(ITEM, "the cgroup's path is empty"))
        }
        _ => Ok(()),
    }
}

/// Writes an item of the right length.
fn write_item(status: AppStatus, pid: Pid, app: Option<&App<'_>>, item: &mut [u8]) {
    let parts = app.map(Parts::of).unwrap_or_default();
    let [comm, path, name] = parts.texts.map(<[u8]>::len);
    let path_at = ITEM_LEN + comm + 1;
    let name_at = path_at + path + 1;
    let fixed: [u8; ITEM_LEN] = Writer::new()
        .u16(LAYOUT_VERSION)
        .u16(status as u16)
        .u16(parts.orchestrator.0)
        .u16(parts.cgroup_status)
        .u32(pid.0)
        .u32(app.map_or(0, |app| app.parent.0))
        .u32(app.and_then(|app| app.uid).unwrap_or(UID_UNSET))
        .u32(0)
        .u64(app.map_or(0, |app| app.starttime_jiffies))
        .u32(ITEM_LEN as u32)
        .u32(wire_len(comm))
        .u32(wire_len(path_at))
        .u32(wire_len(path))
        .u32(wire_len(name_at))
        .u32(wire_len(name))
        .u16(parts.labels.len() as u16)
        .u16(0)
        .done();
    item[..ITEM_LEN].copy_from_slice(&fixed);
    ItemWriter::new(item, ITEM_LEN).write(&parts.texts, parts.labels);
}
