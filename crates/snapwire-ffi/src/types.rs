//! Structures that both languages see.

use crate::status::{Failure, snapwire_status};
use snapwire_core::codec::{Limit, Profiles};
use snapwire_core::{Endpoint, Offer};
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::slice;
use std::time::Duration;

/// The socket itself.
pub const SNAPWIRE_PROFILE_UDS: u32 = 0x01;
/// Shared memory as in netipc: every message wakes the peer.
pub const SNAPWIRE_PROFILE_SHM: u32 = 0x02;
/// Shared memory in which nobody is woken in vain.
pub const SNAPWIRE_PROFILE_SHM_WAITERS: u32 = 0x10;

/// A number and one more.
pub const SNAPWIRE_INCREMENT: u16 = 1;
/// All cgroups.
pub const SNAPWIRE_CGROUPS_SNAPSHOT: u16 = 2;
/// A string, backwards.
pub const SNAPWIRE_STRING_REVERSE: u16 = 3;
/// Cgroups by path.
pub const SNAPWIRE_CGROUPS_LOOKUP: u16 = 4;
/// Processes by pid.
pub const SNAPWIRE_APPS_LOOKUP: u16 = 5;

/// Status of an answer: it is known.
pub const SNAPWIRE_CGROUP_KNOWN: u16 = 0;
/// Not known yet.
pub const SNAPWIRE_CGROUP_UNKNOWN_RETRY_LATER: u16 = 1;
/// Not known, and it will not be.
pub const SNAPWIRE_CGROUP_UNKNOWN_PERMANENT: u16 = 2;
/// The answer fits no response.
pub const SNAPWIRE_CGROUP_OVERSIZED: u16 = 4;
/// Of a process's cgroup: it is the host's root.
pub const SNAPWIRE_CGROUP_HOST_ROOT: u16 = 3;

/// Status of an answer: it is known.
pub const SNAPWIRE_APP_KNOWN: u16 = 0;
/// Not known.
pub const SNAPWIRE_APP_UNKNOWN: u16 = 1;
/// The answer fits no response.
pub const SNAPWIRE_APP_OVERSIZED: u16 = 3;

/// A user that is not known.
pub const SNAPWIRE_UID_UNSET: u32 = 0xffff_ffff;

/// Bytes with a length. `data` may be NULL when there are none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_bytes {
    /// The first.
    pub data: *const u8,
    /// How many.
    pub length: usize,
}

impl snapwire_bytes {
    /// A view of bytes that somebody keeps.
    pub(crate) fn of(bytes: &[u8]) -> snapwire_bytes {
        snapwire_bytes { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// There are as many as it says, for as long as the result lives, and nobody changes them.
    pub(crate) unsafe fn get<'a>(self, what: &str) -> Result<&'a [u8], Failure> {
        // SAFETY: the caller's.
        unsafe { array(self.data, self.length, what) }
    }
}

/// An array of the caller's.
///
/// # Safety
/// There are as many elements as `length` says, for as long as the result lives, and nobody changes
/// them.
pub(crate) unsafe fn array<'a, T>(
    first: *const T,
    length: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if first.is_null() {
        return Err(Failure::null(what));
    }
    let wrong = |problem: &str| {
        Failure::new(snapwire_status::SNAPWIRE_BAD_ARGUMENT, format!("`{what}` {problem}"))
    };
    if !first.is_aligned() {
        return Err(wrong("is not aligned"));
    }
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(wrong("is longer than memory"));
    }
    // SAFETY: not null, aligned, not too long; the rest is the caller's.
    Ok(unsafe { slice::from_raw_parts(first, length) })
}

/// Something of the caller's that is read.
///
/// # Safety
/// It is valid, for as long as the result lives, and nobody changes it.
pub(crate) unsafe fn given<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(what))
}

/// Something of the caller's that is written.
///
/// # Safety
/// It is valid to write to, and nobody else uses it.
pub(crate) unsafe fn put<T>(pointer: *mut T, value: T, what: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: not null; the rest is the caller's.
    unsafe { pointer.write(value) };
    Ok(())
}

/// Options of clients and servers. Set all to 0 and then `size`; 0 is the default of everything else.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_options {
    /// `sizeof(snapwire_options)`.
    pub size: usize,
    /// The transports to use, SNAPWIRE_PROFILE_... together. Default: all.
    pub profiles: u32,
    /// The longest request in bytes. Default: a client begins with 1 KiB, a server allows 1 MiB.
    pub request_bytes: u32,
    /// The most items of a batch. Default: 1.
    pub batch_items: u32,
    /// The longest response in bytes. Default: 64 KiB, up to 1 MiB where more is needed.
    pub response_bytes: u32,
    /// The number that both sides must know.
    pub auth_token: u64,
    /// How long a call may take, in milliseconds. Default: 30000.
    pub timeout_ms: u32,
    /// How many clients a server has at once. Default: 8.
    pub workers: u32,
}

/// What options mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) offer: Offer,
    pub(crate) timeout: Option<Duration>,
    pub(crate) workers: Option<usize>,
}

impl Options {
    /// Those of the caller; NULL stands for all defaults.
    ///
    /// # Safety
    /// The pointer is NULL or valid.
    pub(crate) unsafe fn of(options: *const snapwire_options) -> Result<Options, Failure> {
        // SAFETY: the caller's.
        let Some(options) = (unsafe { options.as_ref() }) else {
            return Ok(Options { offer: Offer::default(), timeout: None, workers: None });
        };
        if options.size != size_of::<snapwire_options>() {
            let message = format!(
                "`options.size` is {}, and this library's options have {}: use its own header",
                options.size,
                size_of::<snapwire_options>()
            );
            return Err(Failure::new(snapwire_status::SNAPWIRE_BAD_ARGUMENT, message));
        }
        let profiles = match options.profiles {
            0 => Offer::default().profiles,
            profiles => Profiles(profiles),
        };
        let limit = |payload_bytes| Limit { payload_bytes, batch_items: options.batch_items };
        let offer = Offer {
            profiles,
            preferred: profiles,
            request: limit(options.request_bytes),
            response: limit(options.response_bytes),
            auth_token: options.auth_token,
            packet_size: 0,
        };
        let timeout = u64::from(options.timeout_ms);
        Ok(Options {
            offer,
            timeout: (timeout > 0).then(|| Duration::from_millis(timeout)),
            workers: (options.workers > 0).then_some(options.workers as usize),
        })
    }
}

/// The endpoint that two strings name.
///
/// # Safety
/// Both are NULL or end with a NUL.
pub(crate) unsafe fn endpoint(
    run_dir: *const c_char,
    service: *const c_char,
) -> Result<Endpoint, Failure> {
    let text = |text: *const c_char, what| {
        if text.is_null() {
            return Err(Failure::null(what));
        }
        // SAFETY: not null; it ends with a NUL, as the caller says.
        Ok(unsafe { CStr::from_ptr(text) })
    };
    let run_dir = OsStr::from_bytes(text(run_dir, "run_dir")?.to_bytes());
    let service = text(service, "service")?.to_string_lossy();
    Ok(Endpoint::new(run_dir, service)?)
}

/// A label: key and value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_label {
    /// Not empty.
    pub key: snapwire_bytes,
    /// May be empty.
    pub value: snapwire_bytes,
}

/// A cgroup of a snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_snapshot_item {
    /// With the name, what makes it the same one.
    pub hash: u32,
    /// As the provider has it.
    pub options: u32,
    /// Not 0: it is enabled.
    pub enabled: u32,
    /// Its name.
    pub name: snapwire_bytes,
    /// Its path.
    pub path: snapwire_bytes,
}

/// A snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_snapshot {
    /// The provider's generation.
    pub generation: u64,
    /// Not 0: the provider found systemd.
    pub systemd_enabled: u32,
    /// The cgroups.
    pub items: *const snapwire_snapshot_item,
    /// How many.
    pub count: usize,
}

/// An answer to a path.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_cgroup {
    /// SNAPWIRE_CGROUP_...
    pub status: u16,
    /// Who runs it: 0 unknown, 1 systemd, 2 docker, 3 k8s, 4 kvm, 5 lxc, 6 podman, 7 nspawn.
    pub orchestrator: u16,
    /// The path that was asked for.
    pub path: snapwire_bytes,
    /// Its name.
    pub name: snapwire_bytes,
    /// Its labels.
    pub labels: *const snapwire_label,
    /// How many.
    pub label_count: usize,
}

/// The answers to paths, in the order of the paths.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_cgroups {
    /// The provider's generation.
    pub generation: u64,
    /// The answers.
    pub items: *const snapwire_cgroup,
    /// How many: as many as paths.
    pub count: usize,
}

/// An answer to a pid, and what a handler says of one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_app {
    /// SNAPWIRE_APP_... A handler leaves it 0.
    pub status: u16,
    /// SNAPWIRE_CGROUP_...
    pub cgroup_status: u16,
    /// Who runs the cgroup.
    pub orchestrator: u16,
    /// The pid that was asked for. A handler leaves it 0.
    pub pid: u32,
    /// The parent's pid.
    pub parent: u32,
    /// The user, or SNAPWIRE_UID_UNSET.
    pub uid: u32,
    /// When it started, in jiffies since boot.
    pub starttime_jiffies: u64,
    /// The command's name, 1 to 15 bytes.
    pub comm: snapwire_bytes,
    /// The cgroup's path.
    pub cgroup_path: snapwire_bytes,
    /// The cgroup's name.
    pub cgroup_name: snapwire_bytes,
    /// The cgroup's labels.
    pub labels: *const snapwire_label,
    /// How many.
    pub label_count: usize,
}

/// The answers to pids, in the order of the pids.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_apps {
    /// The provider's generation.
    pub generation: u64,
    /// The answers.
    pub items: *const snapwire_app,
    /// How many: as many as pids.
    pub count: usize,
}

/// Where a client stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum snapwire_state {
    /// Not connected.
    SNAPWIRE_STATE_DISCONNECTED = 0,
    /// In the middle of a refresh.
    SNAPWIRE_STATE_CONNECTING = 1,
    /// Calls can be made.
    SNAPWIRE_STATE_READY = 2,
    /// Nobody served there.
    SNAPWIRE_STATE_NOT_FOUND = 3,
    /// The token was not accepted. Trying again would not help.
    SNAPWIRE_STATE_AUTH_FAILED = 4,
    /// The peers do not go together. Trying again would not help.
    SNAPWIRE_STATE_INCOMPATIBLE = 5,
    /// It was ready, and the connection is gone.
    SNAPWIRE_STATE_BROKEN = 6,
    /// Somebody serves there, and this user may not connect.
    SNAPWIRE_STATE_DENIED = 7,
}

/// What a client has done so far.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_client_status {
    /// Where it stands.
    pub state: snapwire_state,
    /// The transport in use, SNAPWIRE_PROFILE_...; 0 without a connection.
    pub profile: u32,
    /// Connections that were made first.
    pub connects: u64,
    /// Connections that were made after a failure.
    pub reconnects: u64,
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that were not.
    pub errors: u64,
}

/// What a server has done so far.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct snapwire_server_status {
    /// Sessions that are open.
    pub sessions: usize,
    /// Sessions that were ever opened.
    pub sessions_total: u64,
    /// Clients that were turned away.
    pub refused_total: u64,
    /// Requests that were answered, with whatever status.
    pub requests_total: u64,
}
