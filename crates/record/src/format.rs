#![doc = include_str!("../format.md")]

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the record format that a file follows.
///
/// A new minor version adds fields or kinds of reasons, and any reader of the same major version
/// reads it, without what it does not know. A new major version changes the meaning of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FormatVersion {
    /// Changed when older readers would misread.
    #[cfg_attr(feature = "schema", schemars(extend("const" = FormatVersion::CURRENT.major)))]
    pub major: u32,
    /// Raised when something is added.
    pub minor: u32,
}

impl FormatVersion {
    /// The version that this belljar writes.
    pub const CURRENT: Self = Self { major: 1, minor: 1 };

    /// Whether this belljar reads a record of this version.
    pub fn is_readable(self) -> bool {
        self.major == Self::CURRENT.major
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}
