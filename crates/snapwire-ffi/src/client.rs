//! Clients and calls.

use crate::answers::Arrays;
use crate::status::{Failure, guard, guard_or, snapwire_status};
use crate::types::{
    Options, SNAPWIRE_APPS_LOOKUP, SNAPWIRE_CGROUPS_LOOKUP, SNAPWIRE_CGROUPS_SNAPSHOT,
    SNAPWIRE_INCREMENT, SNAPWIRE_STRING_REVERSE, array, endpoint, given, put, snapwire_apps,
    snapwire_bytes, snapwire_cgroups, snapwire_client_status, snapwire_options, snapwire_snapshot,
    snapwire_state,
};
use snapwire_core::codec::Pid;
use snapwire_core::{
    AbortHandle, AppsLookup, CgroupsLookup, CgroupsSnapshot, Client, ClientConfig, Error,
    Increment, State, StringReverse,
};
use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// A caller of a service.
#[derive(Debug)]
pub struct snapwire_client {
    /// Outside of the lock: it is used while a call is under way.
    abort: AbortHandle,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    arrays: Arrays,
}

#[derive(Debug)]
enum Kind {
    Increment(Client<Increment>),
    Snapshot(Client<CgroupsSnapshot>),
    Text(Client<StringReverse>),
    Cgroups(Client<CgroupsLookup>),
    Apps(Client<AppsLookup>),
}

/// The same for a client of any kind.
macro_rules! any {
    ($kind:expr, $client:ident => $body:expr) => {
        match $kind {
            Kind::Increment($client) => $body,
            Kind::Snapshot($client) => $body,
            Kind::Text($client) => $body,
            Kind::Cgroups($client) => $body,
            Kind::Apps($client) => $body,
        }
    };
}

/// The client, if nobody else is using it.
///
/// # Safety
/// The pointer is NULL or that of a client that has not been freed.
unsafe fn lock<'a>(client: *const snapwire_client) -> Result<MutexGuard<'a, Inner>, Failure> {
    // SAFETY: the caller's.
    let client = unsafe { given(client, "client") }?;
    client.inner.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            let message = "another thread is using the client; give each thread its own";
            Failure::new(snapwire_status::SNAPWIRE_BUSY, message)
        }
        TryLockError::Poisoned(_) => {
            let message = "the client is of no use any more; free it";
            Failure::new(snapwire_status::SNAPWIRE_PANIC, message)
        }
    })
}

fn wrong_kind() -> Failure {
    Failure::new(snapwire_status::SNAPWIRE_WRONG_KIND, "the client is of another kind")
}

/// Makes a client of a kind, SNAPWIRE_INCREMENT and so on. It is not connected. Options may be NULL.
///
/// # Safety
/// Pointers are NULL or valid; strings end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_client_new(
    kind: u16,
    run_dir: *const c_char,
    service: *const c_char,
    options: *const snapwire_options,
    client: *mut *mut snapwire_client,
) -> snapwire_status {
    guard(|| {
        if client.is_null() {
            return Err(Failure::null("client"));
        }
        // SAFETY: the caller's.
        let endpoint = unsafe { endpoint(run_dir, service) }?;
        // SAFETY: the caller's.
        let options = unsafe { Options::of(options) }?;
        let defaults = ClientConfig::default();
        let timeout = options.timeout.unwrap_or(defaults.timeout);
        let config = ClientConfig { offer: options.offer, timeout, ..defaults };
        let kind = match kind {
            SNAPWIRE_INCREMENT => Kind::Increment(Client::new(&endpoint, &config)),
            SNAPWIRE_CGROUPS_SNAPSHOT => Kind::Snapshot(Client::new(&endpoint, &config)),
            SNAPWIRE_STRING_REVERSE => Kind::Text(Client::new(&endpoint, &config)),
            SNAPWIRE_CGROUPS_LOOKUP => Kind::Cgroups(Client::new(&endpoint, &config)),
            SNAPWIRE_APPS_LOOKUP => Kind::Apps(Client::new(&endpoint, &config)),
            other => {
                let message = format!("`kind` is {other}, and kinds are 1 to 5");
                return Err(Failure::new(snapwire_status::SNAPWIRE_BAD_ARGUMENT, message));
            }
        };
        let abort = any!(&kind, client => client.abort_handle());
        let inner = Mutex::new(Inner { kind, arrays: Arrays::default() });
        let made = Box::into_raw(Box::new(snapwire_client { abort, inner }));
        // SAFETY: not null; the rest is the caller's.
        unsafe { put(client, made, "client") }
    })
}

/// Hangs up and frees a client. NULL is allowed.
///
/// # Safety
/// The pointer is NULL or that of a client that has not been freed, and nobody is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_client_free(client: *mut snapwire_client) {
    guard_or((), || {
        if !client.is_null() {
            // SAFETY: it came out of a box, and nobody has taken it back.
            drop(unsafe { Box::from_raw(client) });
        }
    });
}

/// Connects, unless it is connected already or trying would not help. SNAPWIRE_OK when it can be used
/// afterwards; what else says why it cannot.
///
/// # Safety
/// The pointer is NULL or that of a client that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_client_refresh(
    client: *const snapwire_client,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        any!(&mut inner.kind, client => client.connect()).map_err(|error| match error {
            Error::NotReady(state) => {
                let message = format!("the client is {state}, and trying again does not help");
                Failure::new(snapwire_status::SNAPWIRE_REFUSED, message)
            }
            other => other.into(),
        })
    })
}

/// Where a client stands, and what it has done.
///
/// # Safety
/// Pointers are NULL or valid, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_client_get_status(
    client: *const snapwire_client,
    status: *mut snapwire_client_status,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let inner = unsafe { lock(client) }?;
        let (now, terms) = any!(&inner.kind, client => (client.status(), client.terms().copied()));
        let value = snapwire_client_status {
            state: match now.state {
                State::Disconnected => snapwire_state::SNAPWIRE_STATE_DISCONNECTED,
                State::Connecting => snapwire_state::SNAPWIRE_STATE_CONNECTING,
                State::Ready => snapwire_state::SNAPWIRE_STATE_READY,
                State::NotFound => snapwire_state::SNAPWIRE_STATE_NOT_FOUND,
                State::AuthFailed => snapwire_state::SNAPWIRE_STATE_AUTH_FAILED,
                State::Incompatible => snapwire_state::SNAPWIRE_STATE_INCOMPATIBLE,
                State::Broken => snapwire_state::SNAPWIRE_STATE_BROKEN,
                State::Denied => snapwire_state::SNAPWIRE_STATE_DENIED,
            },
            profile: terms.map_or(0, |terms| terms.profile.0),
            connects: now.connects,
            reconnects: now.reconnects,
            calls: now.calls,
            errors: now.errors,
        };
        // SAFETY: the caller's.
        unsafe { put(status, value, "status") }
    })
}

/// Calls off what a client is waiting for, from any thread. It stays so until
/// `snapwire_client_clear_abort`.
///
/// # Safety
/// The pointer is NULL or that of a client that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_client_abort(client: *const snapwire_client) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let client = unsafe { given(client, "client") }?;
        client.abort.abort();
        Ok(())
    })
}

/// Allows calls again.
///
/// # Safety
/// The pointer is NULL or that of a client that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_client_clear_abort(
    client: *const snapwire_client,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let client = unsafe { given(client, "client") }?;
        client.abort.clear();
        Ok(())
    })
}

/// Asks a client of SNAPWIRE_INCREMENT.
///
/// # Safety
/// Pointers are NULL or valid, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_increment(
    client: *const snapwire_client,
    number: u64,
    answer: *mut u64,
) -> snapwire_status {
    guard(|| {
        if answer.is_null() {
            return Err(Failure::null("answer"));
        }
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        let Kind::Increment(client) = &mut inner.kind else {
            return Err(wrong_kind());
        };
        let number = client.call(number)?;
        // SAFETY: the caller's.
        unsafe { put(answer, number, "answer") }
    })
}

/// Asks a client of SNAPWIRE_INCREMENT many numbers in one message. There are as many answers as
/// numbers; both may be the same array.
///
/// # Safety
/// Pointers are NULL or valid for `count` numbers, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_increment_batch(
    client: *const snapwire_client,
    numbers: *const u64,
    count: usize,
    answers: *mut u64,
) -> snapwire_status {
    guard(|| {
        if answers.is_null() && count > 0 {
            return Err(Failure::null("answers"));
        }
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        let Kind::Increment(client) = &mut inner.kind else {
            return Err(wrong_kind());
        };
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the caller's. It is not used after the answers are written to.
        let asks = unsafe { array(numbers, count, "numbers") }?;
        let responses = client.call_batch(asks.iter().copied())?;
        // Nothing is written unless all can be.
        responses.iter().try_for_each(|answer| answer.map(drop))?;
        for (index, answer) in responses.iter().enumerate() {
            let answer = answer?;
            // SAFETY: there are as many responses as numbers.
            let target = unsafe { answers.add(index) };
            // SAFETY: there is room for that many, as the caller says.
            unsafe { target.write(answer) };
        }
        Ok(())
    })
}

/// Asks a client of SNAPWIRE_STRING_REVERSE.
///
/// # Safety
/// Pointers are NULL or valid, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_string_reverse(
    client: *const snapwire_client,
    text: snapwire_bytes,
    answer: *mut snapwire_bytes,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        let Kind::Text(client) = &mut inner.kind else {
            return Err(wrong_kind());
        };
        // SAFETY: the caller's.
        let text = unsafe { text.get("text.data") }?;
        let reversed = snapwire_bytes::of(client.call(text)?);
        // SAFETY: the caller's.
        unsafe { put(answer, reversed, "answer") }
    })
}

/// Asks a client of SNAPWIRE_CGROUPS_SNAPSHOT.
///
/// # Safety
/// Pointers are NULL or valid, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_take_snapshot(
    client: *const snapwire_client,
    snapshot: *mut snapwire_snapshot,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        let Inner { kind: Kind::Snapshot(client), arrays } = &mut *inner else {
            return Err(wrong_kind());
        };
        let taken = arrays.snapshot(&client.call(())?).map_err(Error::from)?;
        // SAFETY: the caller's.
        unsafe { put(snapshot, taken, "snapshot") }
    })
}

/// Asks a client of SNAPWIRE_CGROUPS_LOOKUP for any number of paths.
///
/// # Safety
/// Pointers are NULL or valid, `paths` for `count` of them, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_look_up_cgroups(
    client: *const snapwire_client,
    paths: *const snapwire_bytes,
    count: usize,
    cgroups: *mut snapwire_cgroups,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        let Inner { kind: Kind::Cgroups(client), arrays } = &mut *inner else {
            return Err(wrong_kind());
        };
        // SAFETY: the caller's.
        let paths = unsafe { array(paths, count, "paths") }?;
        // SAFETY: the caller's.
        let path = |path: &snapwire_bytes| unsafe { path.get("paths[].data") };
        let paths: Vec<&[u8]> = paths.iter().map(path).collect::<Result<_, _>>()?;
        let found = arrays.cgroups(&client.lookup(&paths)?).map_err(Error::from)?;
        // SAFETY: the caller's.
        unsafe { put(cgroups, found, "cgroups") }
    })
}

/// Asks a client of SNAPWIRE_APPS_LOOKUP for any number of pids.
///
/// # Safety
/// Pointers are NULL or valid, `pids` for `count` of them, and the client has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapwire_look_up_apps(
    client: *const snapwire_client,
    pids: *const u32,
    count: usize,
    apps: *mut snapwire_apps,
) -> snapwire_status {
    guard(|| {
        // SAFETY: the caller's.
        let mut inner = unsafe { lock(client) }?;
        let Inner { kind: Kind::Apps(client), arrays } = &mut *inner else {
            return Err(wrong_kind());
        };
        // SAFETY: the caller's.
        let pids = unsafe { array(pids, count, "pids") }?;
        let pids: Vec<Pid> = pids.iter().copied().map(Pid).collect();
        let found = arrays.apps(&client.lookup(&pids)?).map_err(Error::from)?;
        // SAFETY: the caller's.
        unsafe { put(apps, found, "apps") }
    })
}
