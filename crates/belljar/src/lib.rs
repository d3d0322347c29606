//! Linux systems software under glass: Rust tests that run on a real kernel.
//!
//! A test is an ordinary Rust test. Its body runs in a virtual machine with the
//! topology that it declares, forked in milliseconds from a booted template, with or
//! without KVM:
//!
//! ```
//! use belljar::{Ctx, Result};
//!
//! #[belljar::test(topology = "1n2l2c1t", timeout = "10s")]
//! fn last_level_caches_are_two(ctx: &Ctx) -> Result {
//!     assert_eq!(ctx.topology()?.llcs.len(), 2);
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! It runs with plain `cargo test`, with `cargo nextest run`, from an editor, and with
//! `cargo belljar test`, which also shows progress and knows kernels, modes and replay.
//! What can be declared is on the page of the attribute [`test`]; what a body can do, on
//! that of [`Ctx`]. Defaults come from `belljar.toml`, see [`Config`].
//!
//! On the host the body is never run: the machine is taken from its template, the
//! request is put into its memory, and one record is written of what comes back. In the
//! guest the same binary finds itself on the [`Seat`](belljar_guest::Seat) and runs
//! exactly that body.
//!
//! # Map
//!
//! | module | holds |
//! | --- | --- |
//! | `case` | what the attribute leaves behind: the table of all cases in a binary |
//! | `ctx`, `view` | what a body is given, and the machine as it sees it |
//! | [`scenario`], [`verdict`] | scenarios as data; what they showed, limits, and checks |
//! | `scheduler`, `play`, `show` | schedulers under test; a scenario played, and shown without that |
//! | `error` | what a body may return |
//! | `message` | what host and test process say to each other |
//! | `guest` | the test process: takes the request, runs the body |
//! | `config` | `belljar.toml` |
//! | [`host`] | the other side: templates, forks, records |
//!
//! This crate must never depend on the command: everything a test needs works with this
//! crate as the only dependency.

mod case;
mod config;
mod ctx;
mod error;
mod guest;
pub mod host;
mod message;
mod play;
mod scheduler;
mod show;
mod view;

pub use belljar_macros::test;
pub use belljar_record::Polarity;
pub use belljar_scenario as scenario;
pub use belljar_scenario::{
    Affinity, Backdrop, Cgroup, Count, Cpuset, Hold, MemoryPolicy, Op, Payload, Policy, Scenario,
    Step, Toil, Work, Workers,
};
pub use belljar_topology::Topology;
pub use belljar_verdict as verdict;
pub use belljar_verdict::Limits;
pub use belljar_verdict::evidence::Evidence;
pub use case::{ScenarioFacts, Spec};
pub use config::{Config, ConfigError};
pub use ctx::{Ctx, Phase};
pub use error::{Ended, Error, Result};
pub use fastrand::Rng;
pub use scheduler::{EEVDF, Scheduler, SchedulerSource, SchedulerSpec};
pub use view::{NodeView, View};

/// What the attribute's expansion names. Not for use by hand, and free to change.
#[doc(hidden)]
pub mod __private {
    pub use crate::case::{CASES, Case, Variant};
    pub use crate::error::{Ended, IntoEnded};
    pub use crate::host::run_as_test as run;
    pub use crate::play::play_declared;
    pub use belljar_verdict::Limits;
    pub use linkme;
}
