//! What a fetch tells while it goes on.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::compression::Compression;
use crate::text::size;

/// One step of a fetch, in the order in which they come. [`fmt::Display`] is a line for a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// Another fetch does the same work; its result will be used.
    Waiting {
        /// What is being fetched.
        what: String,
    },
    /// A damaged kernel was found and is rebuilt.
    Rebuilding {
        /// Its id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The lists of one suite are brought up to date, apart from those of the machine.
    UpdatingLists {
        /// The suite.
        suite: String,
        /// The mirror.
        mirror: String,
    },
    /// Packages are downloaded.
    Downloading {
        /// Their names.
        packages: Vec<String>,
        /// What they take together.
        bytes: u64,
    },
    /// A package is unpacked.
    Unpacking {
        /// The package.
        package: PathBuf,
    },
    /// The kernel is taken out of its image.
    Decompressing {
        /// How it is packed.
        compression: Compression,
        /// How much is packed.
        bytes: u64,
    },
    /// The modules' needs for each other are read.
    Indexing {
        /// How many.
        modules: usize,
    },
    /// The kernel is in the cache.
    Stored {
        /// Its id.
        id: String,
        /// What it takes.
        bytes: u64,
    },
    /// The kernel was in the cache already.
    Found {
        /// Its id.
        id: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { what } => write!(f, "waiting for another fetch of {what}"),
            Self::Rebuilding { id, reason } => {
                write!(f, "{id} is corrupt ({reason}), rebuilding it")
            }
            Self::UpdatingLists { suite, mirror } => {
                write!(f, "reading what {suite} has at {mirror}")
            }
            Self::Downloading { packages, bytes } => {
                write!(f, "downloading {} ({})", packages.join(", "), size(*bytes))
            }
            Self::Unpacking { package } => {
                write!(f, "unpacking {}", package.file_name().unwrap_or_default().display())
            }
            Self::Decompressing { compression, bytes } => {
                write!(f, "decompressing the kernel ({compression}, {})", size(*bytes))
            }
            Self::Indexing { modules } => write!(f, "reading {modules} modules"),
            Self::Stored { id, bytes } => write!(f, "stored {id} ({})", size(*bytes)),
            Self::Found { id } => write!(f, "{id} is in the cache"),
        }
    }
}

/// Who is told. Every `Fn(&Event)` is one; `&|_: &Event| {}` tells nobody.
pub trait Progress: Sync {
    /// A step has begun or, for the last, is done.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Sync> Progress for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}
