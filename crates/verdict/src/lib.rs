//! What a scenario showed, the limits it is held to, and a verdict that explains itself.
//!
//! [`Evidence`](evidence::Evidence) comes from the guest. A [`Judge`] holds it against [`Limits`], which are
//! merged field by field (default < scheduler < test < step) and know where they came from. What comes of it
//! is a [`Verdict`] of [`Finding`]s; each failure names who, where and when, what was measured, the limit and
//! who set it, and the facts that explain it.
//!
//! ```
//! use belljar_topology::CpuId;
//! use belljar_verdict::evidence::{Evidence, Stray, WorkerReport};
//! use belljar_verdict::{CheckKind, Expect, Judge, Limits, Mode, Outcome};
//!
//! let stray = Stray { at_ns: 1_500_000_000, cpu: CpuId(3), allowed: "0-1".parse()?, step: None };
//! let worker = WorkerReport {
//!     cgroup: "a".into(),
//!     work: "SpinWait".into(),
//!     tid: 71,
//!     ended_ns: 2_000_000_000,
//!     units: 4096,
//!     cpus_used: "0,3".parse()?,
//!     migrations: 2,
//!     strays: vec![stray],
//!     ..WorkerReport::default()
//! };
//! let evidence = Evidence { workers: vec![worker], ..Evidence::default() };
//!
//! let judge = Judge::new(Mode::Tcg, &"1n1l4c1t".parse()?).test(&Limits::new());
//! let verdict = judge.judge(&evidence);
//! assert_eq!(verdict.outcome(), Outcome::Fail);
//! assert!(verdict.explain().starts_with("\
//! FAIL isolation: worker a/0.0 (SpinWait, tid 71): ran on CPU 3, allowed: CPUs 0-1 (default)
//!   on CPU 3, 1.5 s after the start
//!   - checkpoints found it on CPUs 0,3 and saw 2 migrations
//! "));
//!
//! // A test of a scheduler that is known to stray passes with just this failure.
//! let expect = Expect::failure().of(CheckKind::Isolation);
//! assert_eq!(expect.apply(verdict, &evidence).outcome(), Outcome::Pass);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`evidence`] | what a played scenario showed |
//! | [`Limits`], [`Resolved`], [`Origin`] | thresholds, and where each came from |
//! | [`Judge`], [`Mode`] | evidence against limits |
//! | [`CheckKind`] | every check |
//! | [`Verdict`], [`Finding`], [`Subject`] | what was found |
//! | [`Outcome`] | what it comes to in a word, and how words merge |
//! | [`claim`], [`claim_items`], [`any_of`], [`all_of`], [`note`] | what free code claims, as verdicts |
//! | [`Expect`] | failures that a test declares |
//! | [`text`] | what others wrote, made safe to print |
//!
//! # What is never done
//!
//! * A figure with nothing to divide by is not taken for good or bad: it is open, with the reason; or a
//!   failure where a worker was runnable and never ran, for then the policy caused it.
//! * A check that has no meaning (throughput of several CPUs in `det`, locality on one node) is skipped with
//!   the reason. It does not pass.
//! * A scheduler that was not attached, or a worker that was not started, satisfies no expected failure.
//!
//! # What this crate must never depend on
//!
//! Anything but `belljar-topology`, serde, thiserror and regex-lite: it is pure. It runs nothing and reads
//! no file. Evidence comes from a guest, which may have written anything: none of it makes this crate panic.
#![forbid(unsafe_code)]

mod check;
mod checks;
mod claim;
pub mod evidence;
mod expect;
mod finding;
mod judge;
mod limits;
mod outcome;
mod polarity;
mod scene;
pub mod text;
mod verdict;

pub use check::{CheckKind, UnknownCheck};
pub use claim::{Claim, Items, Quantity, all_of, any_of, claim, claim_items, note};
pub use expect::{Expect, ExpectError};
pub use finding::{Finding, StepName, Subject, Unit};
pub use judge::{Judge, Mode};
pub use limits::{LimitError, Limits, Origin, Resolved, Sourced};
pub use outcome::Outcome;
pub use polarity::Polarity;
pub use verdict::Verdict;
