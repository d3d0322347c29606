//! The record of one test's run: what is kept on disk of it, and read back, compared and shown.
//!
//! Each run of each variant of a test ends in one JSON file, written whole or not at all. It says
//! what came of it and why, what was measured, in which machine, on which machine, of which code;
//! and in `det` mode a digest of everything the guest said, with the lines to find a difference in.
//!
//! ```
//! use belljar_record::{Directory, Identity, Outcome, Project, Reason, Record, Timestamp, VariantInputs};
//!
//! let inputs = VariantInputs::new("quickstart", "boot", "cpus::all_online")
//!     .with("topology", "1n2l4c1t")
//!     .with("mode", "det");
//! let identity = Identity {
//!     test: "cpus::all_online".into(),
//!     variant: "1n2l4c1t".into(),
//!     package: "quickstart".into(),
//!     binary: "boot".into(),
//!     binary_hash: String::new(),
//!     variant_hash: inputs.hash(),
//!     session: "1".into(),
//! };
//! let mut record = Record::new(identity, Timestamp::now(), Reason::Exited { code: 3 });
//! record.vm.topology = "1n2l4c1t".into();
//!
//! let root = tempfile::tempdir()?;
//! let directory = Directory::new(root.path(), Some("debian:sid"), &Project::default());
//! let path = directory.write(&record, None)?;
//! assert!(path.ends_with(format!(
//!     "debian_sid-unknown/cpus.all_online.1n2l4c1t.{}.json",
//!     inputs.hash()
//! )));
//!
//! let again = belljar_record::read(&path)?;
//! assert_eq!(again.outcome, Outcome::Fail);
//! assert!(again.explain(&path, false).starts_with(
//!     "FAIL cpus::all_online [1n2l4c1t] in quickstart::boot (1n2l4c1t)\n  \
//!      test failed: test process exited with code 3 before it reported a result\n"
//! ));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`Record`] | one run; its parts are [`Metric`], [`Phase`], [`Durations`], [`Vm`] and others |
//! | [`format`](mod@format) | the JSON, field by field with units, and its versions |
//! | [`Outcome`], [`Reason`] | what came of it, and why |
//! | [`Identity`], [`VariantInputs`] | what makes two runs runs of the same variant |
//! | [`Directory`] | file names, and writing |
//! | [`read`](fn@read), [`read_all`] | reading |
//! | [`Transcript`], [`Said`], [`first_difference`] | what the guest said, for `replay` |
//! | [`Record::explain`] | a record for people |
//! | `junit` (feature `junit`) | records for continuous integration |
//! | `schema` (feature `schema`) | records for other tools, as a JSON Schema |
//! | [`Host`], [`Project`], [`target_root`] | facts that only the host knows |
//!
//! # What this crate must never depend on
//!
//! Any other crate of the workspace but `belljar-verdict` (and `belljar-topology` through it): whoever
//! reads records needs no VM, no kernel and no QEMU, and the words for modes, topologies and kernels
//! are plain text here. It starts no process but `git`, and writes nothing outside of the directory
//! that it is given.
#![forbid(unsafe_code)]

mod directory;
mod explain;
pub mod format;
mod host;
mod identity;
#[cfg(feature = "junit")]
mod junit;
mod project;
mod read;
mod reason;
mod record;
mod said;
#[cfg(feature = "schema")]
mod schema;
mod target;
#[cfg(test)]
mod testing;
mod text;

pub use belljar_verdict::{Outcome, Polarity};
pub use directory::{Directory, WriteError, said_path};
pub use format::FormatVersion;
pub use host::Host;
pub use identity::{Identity, VariantHash, VariantHashError, VariantInputs};
pub use jiff::Timestamp;
#[cfg(feature = "junit")]
pub use junit::junit;
pub use project::Project;
pub use read::{Collected, ReadError, read, read_all, read_said};
pub use reason::{Place, Reason};
pub use record::{
    Durations, Kernel, Metric, Mode, ParseError, Phase, Played, Record, Scheduler, Vm,
};
pub use said::{Difference, Digest, Line, Said, SaidError, Transcript, first_difference};
#[cfg(feature = "schema")]
pub use schema::schema;
pub use target::{is_target_directory, target_root};
pub use text::Tail;
