//! What can go wrong between two peers.

use crate::client::State;
use crate::codec::{BuildError, Malformed, Status};
use std::io;
use std::path::PathBuf;

/// What was attempted, on what, and what happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service's name is not one.
    #[error(
        "`{name}` is no service name: use letters, digits, `.`, `_` and `-`, and not `.` or `..`"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The socket's path does not fit a socket address.
    #[error("{} is {} bytes long, and a socket's path has at most {max_bytes}; use a shorter run \
             directory or service name", path.display(), path.as_os_str().len())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How long it may be.
        max_bytes: usize,
    },
    /// Somebody serves there already.
    #[error("{} is in use by a live server; stop it, or serve under another name", path.display())]
    AddrInUse {
        /// The path.
        path: PathBuf,
    },
    /// A configuration value makes no sense.
    #[error("{what} cannot be {value}")]
    BadParameter {
        /// Which value.
        what: &'static str,
        /// What it was.
        value: u64,
    },
    /// The system refused something.
    #[error("cannot {attempted} {}", path.display())]
    Io {
        /// What was attempted: completes "cannot ...".
        attempted: &'static str,
        /// On what.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The system refused something on a connection that exists.
    #[error("cannot {attempted} the peer")]
    Link {
        /// What was attempted: completes "cannot ... the peer".
        attempted: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// Nobody serves there.
    #[error("nobody serves at {}; start the service, or look for it in another run directory",
            path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The socket is there, but this user may not use it.
    #[error("this user may not connect to {}; run as the service's user", path.display())]
    Denied {
        /// The path.
        path: PathBuf,
    },
    /// The token is another one.
    #[error("the server does not accept this token")]
    AuthFailed,
    /// Versions, layouts or packet sizes do not go together.
    #[error("the peers' versions or packet sizes do not go together")]
    Incompatible,
    /// The peers have no transport in common.
    #[error("the peers have no transport profile in common")]
    NoProfile,
    /// The server allows only smaller requests than were proposed.
    #[error("the server refuses requests as large as proposed; propose less")]
    ProposalTooLarge,
    /// The handshake ended otherwise.
    #[error("the server ended the handshake with {0}")]
    Handshake(Status),
    /// The shared-memory region could not be used. The socket alone may do.
    #[error("cannot use the shared memory {}: {problem}", path.display())]
    Region {
        /// The region's path.
        path: PathBuf,
        /// Why not.
        problem: RegionProblem,
    },
    /// The peer closed the connection or died.
    #[error("the peer is gone")]
    Disconnected,
    /// The time was up.
    #[error("no answer within the time allowed")]
    Timeout,
    /// Somebody called it off.
    #[error("called off")]
    Aborted,
    /// The peer sent something that is not a message.
    #[error("the peer broke the protocol")]
    Malformed(#[from] Malformed),
    /// The peer sent something that does not belong here.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// A message is longer than this session allows.
    #[error("{what} of {found} exceeds the session's limit of {limit}")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// How large.
        found: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A batch has more items than this session allows.
    #[error("a batch of {found} items exceeds the session's limit of {limit}; propose more")]
    TooManyItems {
        /// How many.
        found: u32,
        /// How many it may have.
        limit: u32,
    },
    /// An answer to nothing that was asked.
    #[error("the peer answered message {0}, which nobody sent")]
    UnknownMessageId(u64),
    /// An id that is in use already.
    #[error("message {0} has not been answered yet; use another id")]
    DuplicateMessageId(u64),
    /// The server answered with another status than OK.
    #[error("the server answered {0}{hint}", hint = hint(*.0))]
    Refused(Status),
    /// A payload could not be made.
    #[error("cannot make the message")]
    Build(#[from] BuildError),
    /// The client is not connected.
    #[error("the client is {0}; `refresh` it and try again")]
    NotReady(State),
    /// More keys than a logical call may have, or more bytes or steps than it may take.
    #[error("the call needs {found} {what}, and at most {limit} are allowed")]
    CallTooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
}

/// Why a region of shared memory could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionProblem {
    /// The system refused it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its storage could not be reserved.
    #[error("its storage cannot be reserved ({0})")]
    Allocate(io::Error),
    /// It is not there, or not finished.
    #[error("it is not ready")]
    NotReady,
    /// It begins with something else.
    #[error("wrong magic number")]
    BadMagic,
    /// It is of another version.
    #[error("wrong version")]
    BadVersion,
    /// Its header is of another length.
    #[error("wrong header length")]
    BadHeader,
    /// Its areas are not aligned, overlap, or are not all in the file.
    #[error("its areas do not fit the file")]
    BadSize,
    /// The limits are so large that no region can hold them.
    #[error("its areas would be larger than 4 GiB")]
    TooLarge,
    /// A live process owns a region of this name.
    #[error("a live process owns it")]
    InUse,
}

/// What to do about a status.
fn hint(status: Status) -> &'static str {
    match status {
        Status::BAD_ENVELOPE => ", it cannot read the question; build both sides from one source",
        Status::UNSUPPORTED => ", it serves another kind; look for the service elsewhere",
        Status::LIMIT_EXCEEDED => ", it is not allowed as much; raise the limits of both sides",
        Status::INTERNAL_ERROR => ", its handler refused or failed; look there",
        _ => "",
    }
}

impl Error {
    pub(crate) fn io(
        attempted: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Io { attempted, path: path.into(), source: source.into() }
    }

    pub(crate) fn link(attempted: &'static str, source: impl Into<io::Error>) -> Error {
        Error::Link { attempted, source: source.into() }
    }

    /// Whether a larger limit may help: the session's is too small, not the peer's mood bad.
    pub(crate) fn is_overflow(&self) -> bool {
        matches!(
            self,
            Error::LimitExceeded { .. }
                | Error::Refused(Status::LIMIT_EXCEEDED)
                | Error::Build(BuildError::Overflow { .. })
        )
    }
}
