//! What can be wrong with bytes, and what can go wrong while bytes are made.

use std::fmt;

/// A way in which bytes can be malformed. The names are those of the netipc contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Shorter than its fixed part.
    Truncated,
    /// The magic number is another one.
    BadMagic,
    /// The protocol version is another one.
    BadVersion,
    /// The header's own length field is another one.
    BadHeaderLen,
    /// The message kind is none of request, response and control.
    BadKind,
    /// A layout version, a reserved field, a flag or the arrangement of the parts is wrong.
    BadLayout,
    /// Something reaches beyond the bytes.
    OutOfBounds,
    /// A string does not end with a NUL.
    MissingNul,
    /// An offset is not a multiple of 8.
    BadAlignment,
    /// There are more or fewer items than there must be.
    BadItemCount,
    /// A user's own structure has another version or other fields at the peer.
    OtherLayout,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Truncated => "it is shorter than its fixed part",
            Fault::BadMagic => "wrong magic number",
            Fault::BadVersion => "wrong protocol version",
            Fault::BadHeaderLen => "wrong header length",
            Fault::BadKind => "unknown message kind",
            Fault::BadLayout => "its layout breaks the contract",
            Fault::OutOfBounds => "it reaches beyond the bytes",
            Fault::MissingNul => "a string does not end with a NUL",
            Fault::BadAlignment => "an offset is not a multiple of 8",
            Fault::BadItemCount => "wrong number of items",
            Fault::OtherLayout => "the peer's fields or version differ; build both from one source",
        })
    }
}

/// Bytes that are not what they should be. They are refused, never repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {fault}")]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// With what: a noun, as in "batch directory".
    pub what: &'static str,
}

impl Malformed {
    pub(crate) const fn new(fault: Fault, what: &'static str) -> Malformed {
        Malformed { fault, what }
    }
}

/// Why a payload could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The buffer is too small. The other side may agree to a larger limit.
    #[error("{what} does not fit: it needs {needed_bytes} bytes of {room_bytes}")]
    Overflow {
        /// What was to be written.
        what: &'static str,
        /// How long it is, or at least is.
        needed_bytes: usize,
        /// How much room there was.
        room_bytes: usize,
    },
    /// The caller's own data breaks the contract.
    #[error("{what} cannot be sent: {problem}")]
    Unfit {
        /// What was to be written.
        what: &'static str,
        /// What the contract says.
        problem: &'static str,
    },
    /// There must be exactly one item for each key, or at most as many as were announced.
    #[error("{found} items were given where {expected} are due")]
    ItemCount {
        /// How many are due.
        expected: usize,
        /// How many there were, or the number that was one too many.
        found: usize,
    },
}

impl BuildError {
    pub(crate) const fn overflow(what: &'static str, needed: usize, room: usize) -> BuildError {
        BuildError::Overflow { what, needed_bytes: needed, room_bytes: room }
    }

    pub(crate) const fn unfit(what: &'static str, problem: &'static str) -> BuildError {
        BuildError::Unfit { what, problem }
    }
}
