//! How the command ends, and what it says when that is not well.

use crate::probe::{self, Found};
use rustix::io::Errno;
use snapwire::codec::Status;
use snapwire::{Endpoint, Error};
use std::fmt;
use std::io;
use std::iter;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something that no other code stands for.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Nobody serves there.
    NotFound = 3,
    /// Refused, by the server or by the system.
    Refused = 4,
    /// No answer in time.
    Timeout = 5,
    /// The peer broke the protocol, or is gone.
    Broken = 6,
    /// There is something to do.
    Findings = 7,
    /// Ended by a signal before it was done.
    Interrupted = 130,
}

/// What to think of a socket of another kind.
pub(crate) const NO_SEQPACKET: &str = "it is a socket, and no SEQPACKET socket: another program's?";

/// What went wrong, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    is_broken_pipe: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None, is_broken_pipe: false }
    }

    /// With what to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// How the command ends with it.
    pub(crate) fn exit(&self) -> Exit {
        if self.is_broken_pipe { Exit::Done } else { self.exit }
    }

    /// What happened, and what to do next.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.message, self.hint)
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.is_broken_pipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapwire: {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  {hint}"))
    }
}

impl From<io::Error> for Failure {
    /// Of writing to standard output.
    fn from(error: io::Error) -> Failure {
        let is_broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        let message = format!("cannot write the result: {error}");
        Failure { is_broken_pipe, ..Failure::new(Exit::Failed, message) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        io::Error::from(error).into()
    }
}

/// What an error means for a call of a service: says which service, and what to do next.
pub(crate) fn at(endpoint: &Endpoint) -> impl Fn(Error) -> Failure {
    move |error| of(endpoint, &error)
}

fn of(endpoint: &Endpoint, error: &Error) -> Failure {
    let dir = endpoint.run_dir().display();
    let less = "ask for less at a time";
    let (exit, hint) = match error {
        Error::NotFound { .. } => (Exit::NotFound, format!("`snapwire ls {dir}` shows who serves")),
        Error::AuthFailed => (Exit::Refused, "give the service's own with `--token`".into()),
        Error::NoProfile => (Exit::Refused, "leave the choice to both: `--profile auto`".into()),
        Error::Refused(Status::UNSUPPORTED) => {
            let hint = "an endpoint serves one kind of request: try another method or service";
            (Exit::Refused, hint.into())
        }
        Error::Refused(Status::LIMIT_EXCEEDED)
        | Error::ProposalTooLarge
        | Error::LimitExceeded { .. }
        | Error::TooManyItems { .. }
        | Error::CallTooLarge { .. } => (Exit::Refused, less.into()),
        Error::Refused(_) | Error::Handshake(_) => {
            (Exit::Refused, "the server's log may say why; try again".into())
        }
        Error::Incompatible => {
            (Exit::Refused, "use a client and a server of versions that go together".into())
        }
        Error::Denied { .. } | Error::Region { .. } => {
            (Exit::Refused, format!("`snapwire doctor {dir}` looks at its directory"))
        }
        // Connecting to a full queue waits for room in it.
        Error::Timeout if matches!(probe::connect(&endpoint.socket_path()), Found::Busy) => {
            let hint = "its queue is full: wait longer with `--timeout`, give the server more \
                        workers, or look why it hangs";
            (Exit::Timeout, hint.into())
        }
        Error::Timeout => {
            (Exit::Timeout, "wait longer with `--timeout`, or look why the server hangs".into())
        }
        Error::Disconnected => {
            let hint = "a server closes at once when it is busy, or serves another user: try again";
            (Exit::Broken, hint.into())
        }
        Error::Malformed(_) | Error::Protocol(_) | Error::UnknownMessageId(_) => {
            let hint = "it may be another program's, or of another version: `snapwire ls` shows who \
                        serves in";
            (Exit::Broken, format!("{hint} {dir}"))
        }
        Error::Io { source, .. }
            if source.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) =>
        {
            (Exit::Failed, NO_SEQPACKET.into())
        }
        _ => (Exit::Failed, format!("`snapwire doctor {dir}` may say more; try again")),
    };
    let message = chain(error);
    let named = endpoint.to_string();
    let message = match message.contains(&named) {
        true => message,
        false => format!("{named}: {message}"),
    };
    Failure::new(exit, message).hint(hint)
}

/// An error and what caused it.
fn chain(error: &Error) -> String {
    let causes = iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
