//! What can go wrong between a source and a kernel in the cache.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::ImageError;
use crate::source::ParseSourceError;

/// A kernel could not be fetched, found or read. Each message says what was attempted, on what,
/// and what to do; the cause, where there is one, is the error's source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The filesystem refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// A verb, as in "cannot write".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program that the fetch needs cannot be started.
    #[error("cannot start `{program}`; {advice}")]
    Tool {
        /// Its name.
        program: &'static str,
        /// Where it comes from.
        advice: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program that the fetch needs failed.
    #[error("`{command}` failed ({status}): {said}")]
    ToolFailed {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// What it said last.
        said: String,
    },
    /// The text is no source.
    #[error(transparent)]
    Source(#[from] ParseSourceError),
    /// The machine's package configuration names no Debian mirror.
    #[error(
        "no Debian mirror for `{source_text}`: no entry of type `deb` with component `main` was \
         found in {}; add one, or download the packages elsewhere and name them with \
         `deb:FILE[,FILE...]`",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoMirror {
        /// The source that was asked for.
        source_text: String,
        /// The files that were read.
        looked: Vec<PathBuf>,
    },
    /// The mirror was not reached, or did not give what it lists.
    #[error(
        "cannot fetch {what} of `{source_text}` from {mirror}, the mirror in this machine's package \
         configuration: {said}; check the network and the proxy settings of apt, use a cached \
         kernel, or name downloaded packages with `deb:FILE[,FILE...]`"
    )]
    Network {
        /// The package lists, or the packages.
        what: &'static str,
        /// The source that was asked for.
        source_text: String,
        /// The mirror.
        mirror: String,
        /// What apt said.
        said: String,
    },
    /// The mirror has no such suite.
    #[error(
        "{mirror}, the mirror in this machine's package configuration, has no suite `{suite}`{}; \
         suites are called {}",
        crate::text::did_you_mean(closest.as_deref()),
        crate::apt::SUITES.join(", ")
    )]
    UnknownSuite {
        /// The suite that was asked for.
        suite: String,
        /// The mirror.
        mirror: String,
        /// The name that is closest.
        closest: Option<String>,
    },
    /// The suite has no such kernel.
    #[error("`{suite}` has no {what}; {}", available_advice(available))]
    UnknownVersion {
        /// The suite.
        suite: String,
        /// The version or flavour that was asked for.
        what: String,
        /// What there is, the nearest first.
        available: Vec<String>,
    },
    /// An image holds no kernel.
    #[error("cannot take the kernel out of {}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
    /// A source lacks something that a kernel needs.
    #[error("`{source_text}` has no {what}: {advice}")]
    Incomplete {
        /// The source.
        source_text: String,
        /// What it lacks.
        what: &'static str,
        /// Where it was looked for and what to do.
        advice: String,
    },
    /// No cached kernel is meant.
    #[error(
        "no cached kernel is `{query}`{}; {}",
        crate::text::did_you_mean(closest.as_deref()),
        if cached.is_empty() { "the cache is empty".into() } else { format!("there are {}", cached.join(", ")) }
    )]
    NotFound {
        /// What was asked for.
        query: String,
        /// The id that is closest.
        closest: Option<String>,
        /// All ids.
        cached: Vec<String>,
    },
    /// Several cached kernels are meant.
    #[error("`{query}` means several cached kernels: {}; write more of the id", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        query: String,
        /// The ids that it means.
        ids: Vec<String>,
    },
    /// A cached kernel is damaged.
    #[error("the cached kernel {id} is corrupt: {reason}; fetch `{fetch}` again to rebuild it")]
    Corrupt {
        /// Its id.
        id: String,
        /// What is wrong.
        reason: String,
        /// Its source, or what to write for it.
        fetch: String,
    },
    /// The kernel has no such module.
    #[error("kernel {release} has no module `{name}`{}", crate::text::did_you_mean(closest.as_deref()))]
    UnknownModule {
        /// What `uname -r` says.
        release: String,
        /// The module.
        name: String,
        /// The name that is closest.
        closest: Option<String>,
    },
    /// A file that was read holds something else.
    #[error("cannot read {} as {what}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn available_advice(available: &[String]) -> String {
    if available.is_empty() {
        return "it has no kernel of this flavour at all".into();
    }
    let shown: Vec<&str> = available.iter().take(8).map(String::as_str).collect();
    let more = available.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the nearest are {}{more}", shown.join(", "))
}

/// Gives an I/O error the action and the path.
pub(crate) trait Context<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}
