//! How the command ends, and what it says when that is not well.

use snapwire::Error;
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
}

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

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (exit, hint) = match &error {
            Error::BadName { .. } | Error::PathTooLong { .. } => (Exit::Usage, None),
            Error::NotFound { .. } => (Exit::NotFound, Some("`snapwire ls DIR` shows who serves")),
            Error::AuthFailed => (Exit::Refused, Some("give the service's own with `--token`")),
            Error::NoProfile => (Exit::Refused, Some("leave the choice to both: `--profile auto`")),
            Error::Refused(status) if *status == snapwire::codec::Status::UNSUPPORTED => {
                (Exit::Refused, Some("an endpoint serves one kind of request: try another method"))
            }
            Error::Denied { .. }
            | Error::Incompatible
            | Error::ProposalTooLarge
            | Error::Handshake(_)
            | Error::Refused(_)
            | Error::LimitExceeded { .. }
            | Error::TooManyItems { .. }
            | Error::CallTooLarge { .. } => (Exit::Refused, None),
            Error::Region { .. } => {
                (Exit::Refused, Some("`snapwire doctor DIR` looks at its directory"))
            }
            Error::Timeout => (Exit::Timeout, Some("wait longer with `--timeout`")),
            Error::Disconnected => {
                let hint = "a server closes at once when it is busy, or serves another user";
                (Exit::Broken, Some(hint))
            }
            Error::Malformed(_) | Error::Protocol(_) | Error::UnknownMessageId(_) => {
                (Exit::Broken, None)
            }
            _ => (Exit::Failed, None),
        };
        let causes =
            iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let message = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Failure { hint: hint.map(String::from), ..Failure::new(exit, message) }
    }
}
