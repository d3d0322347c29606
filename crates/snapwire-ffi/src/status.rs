//! Codes, the last error, and the wall that no panic passes.

use snapwire_core::codec::{BuildError, Status};
use snapwire_core::{Error, Failure as HandlerFailure};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of a function.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum snapwire_status {
    /// Done.
    SNAPWIRE_OK = 0,
    /// An argument makes no sense: NULL, a bad service name, a path that is too long.
    SNAPWIRE_BAD_ARGUMENT = 1,
    /// Nobody serves there.
    SNAPWIRE_NOT_FOUND = 2,
    /// The system refuses: another user's service.
    SNAPWIRE_DENIED = 3,
    /// The server refuses: its token, its profiles, its handler.
    SNAPWIRE_REFUSED = 4,
    /// A request or a response is larger than allowed.
    SNAPWIRE_TOO_LARGE = 5,
    /// No answer in time.
    SNAPWIRE_TIMEOUT = 6,
    /// `snapwire_client_abort` was called.
    SNAPWIRE_ABORTED = 7,
    /// The peer is gone.
    SNAPWIRE_DISCONNECTED = 8,
    /// The peer broke the protocol.
    SNAPWIRE_PROTOCOL = 9,
    /// The client is not connected: refresh it.
    SNAPWIRE_NOT_READY = 10,
    /// Another thread is using the client.
    SNAPWIRE_BUSY = 11,
    /// The client is of another kind.
    SNAPWIRE_WRONG_KIND = 12,
    /// A live server has this endpoint.
    SNAPWIRE_IN_USE = 13,
    /// The system failed: files, memory, threads.
    SNAPWIRE_SYSTEM = 14,
    /// A mistake in this library. The client or server is of no use any more.
    SNAPWIRE_PANIC = 15,
}

use snapwire_status::*;

/// Why a function does not return SNAPWIRE_OK.
#[derive(Debug)]
pub(crate) struct Failure {
    status: snapwire_status,
    message: String,
    /// What it is to the client who asked, where a handler called the function.
    pub(crate) handler: HandlerFailure,
}

impl Failure {
    pub(crate) fn new(status: snapwire_status, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), handler: HandlerFailure::Refused }
    }

    /// An argument that must not be NULL is.
    pub(crate) fn null(what: &str) -> Failure {
        Failure::new(SNAPWIRE_BAD_ARGUMENT, format!("`{what}` is NULL"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match &error {
            Error::BadName { .. } | Error::PathTooLong { .. } | Error::BadParameter { .. } => {
                SNAPWIRE_BAD_ARGUMENT
            }
            Error::NotFound { .. } => SNAPWIRE_NOT_FOUND,
            Error::Denied { .. } => SNAPWIRE_DENIED,
            Error::AddrInUse { .. } => SNAPWIRE_IN_USE,
            Error::Refused(Status::LIMIT_EXCEEDED)
            | Error::LimitExceeded { .. }
            | Error::TooManyItems { .. }
            | Error::CallTooLarge { .. }
            | Error::ProposalTooLarge
            | Error::Build(BuildError::Overflow { .. }) => SNAPWIRE_TOO_LARGE,
            Error::Build(_) => SNAPWIRE_BAD_ARGUMENT,
            Error::AuthFailed
            | Error::Incompatible
            | Error::NoProfile
            | Error::Handshake(_)
            | Error::Refused(_) => SNAPWIRE_REFUSED,
            Error::Timeout => SNAPWIRE_TIMEOUT,
            Error::Aborted => SNAPWIRE_ABORTED,
            Error::Disconnected => SNAPWIRE_DISCONNECTED,
            Error::Malformed(_) | Error::Protocol(_) | Error::UnknownMessageId(_) => {
                SNAPWIRE_PROTOCOL
            }
            Error::NotReady(_) => SNAPWIRE_NOT_READY,
            _ => SNAPWIRE_SYSTEM,
        };
        let causes =
            iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let message = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Failure::new(status, message)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        Failure { handler: error.into(), ..Error::from(error).into() }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

fn remember(message: &str) {
    // A name of the caller's may have a NUL inside.
    let message = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // A thread that is ending has no message any more.
    let _ = LAST.try_with(|last| *last.borrow_mut() = message);
}

/// Runs the body of a function of the interface.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> snapwire_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => SNAPWIRE_OK,
        Ok(Err(Failure { status, message, .. })) => {
            remember(&message);
            status
        }
        Err(_) => {
            remember("a mistake in the library: it has said more to standard error");
            SNAPWIRE_PANIC
        }
    }
}

/// Runs the body of a function that has nothing to report.
pub(crate) fn guard_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// What comes of a request once its handler has returned.
pub(crate) type Handled = Result<(), HandlerFailure>;

/// What a handler's status means to the client who asked.
pub(crate) fn handled(status: c_int, failed: Option<HandlerFailure>) -> Handled {
    match (failed, status) {
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(()),
        (None, _) => Err(HandlerFailure::Refused),
    }
}

/// What the last function of this thread that failed has to say, with an end. It lives until the next
/// one that fails in this thread; empty when none has.
#[unsafe(no_mangle)]
pub extern "C" fn snapwire_last_error() -> *const c_char {
    let last = LAST.try_with(|last| last.borrow().as_ptr());
    last.unwrap_or(c"".as_ptr())
}

/// The library's version, as in "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn snapwire_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last() -> String {
        // SAFETY: it is a string of this thread, and nothing fails before it is copied.
        unsafe { CStr::from_ptr(snapwire_last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn no_panic_passes() {
        assert_eq!(guard(|| Ok(())), SNAPWIRE_OK);
        assert_eq!(last(), "");
        assert_eq!(guard(|| Err(Failure::null("client"))), SNAPWIRE_BAD_ARGUMENT);
        assert_eq!(last(), "`client` is NULL");
        assert_eq!(guard(|| panic!("for the test")), SNAPWIRE_PANIC);
        assert!(last().contains("standard error"));
        assert_eq!(guard_or(7, || panic!("for the test")), 7);
    }

    #[test]
    fn a_handlers_overflow_is_not_a_refusal() {
        let overflow = BuildError::Overflow { what: "x", needed_bytes: 2, room_bytes: 1 };
        assert_eq!(handled(0, None), Ok(()));
        assert_eq!(handled(-9, None), Err(HandlerFailure::Refused));
        for status in [0, 5] {
            assert_eq!(handled(status, Some(overflow.into())), Err(overflow.into()));
        }
    }
}
