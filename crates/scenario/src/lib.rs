//! Scenarios for schedulers as plain data: cgroups, workers, work, steps and operations.
//!
//! A scenario is written without knowing the machine, checked against a topology, and shown with what
//! its words come to there:
//!
//! ```
//! use belljar_scenario::{Cgroup, Cpuset, Op, Scenario, Schedulers, Step, Work};
//! use std::time::Duration;
//!
//! let squeeze = |cgroup: &str| Op::SetCpuset { cgroup: cgroup.into(), cpus: Cpuset::llc(1) };
//! let scenario = |cgroup: &str| {
//!     Scenario::new()
//!         .named("squeeze")
//!         .backdrop(Cgroup::new("load").weight(200).workers(4, Work::SpinWait))
//!         .step(Step::new("narrow").op(squeeze(cgroup)).hold(Duration::from_millis(500)))
//! };
//! let topology = "1n2l4c1t".parse()?;
//! assert!(scenario("load").check(&topology, Schedulers::default()).is_ok());
//! assert_eq!(
//!     scenario("load").render(&topology),
//!     "\
//! squeeze
//! 500ms of guest time on 1n2l4c1t, CPUs 0-7
//! ├─ backdrop
//! │  └─ cgroup load, CPUs 0-7, weight 200
//! │     └─ 4 x SpinWait
//! └─ step 1 `narrow`
//!    ├─ set-cpuset load: LLC 1 = CPUs 4-7
//!    └─ hold 500ms"
//! );
//!
//! // A mistake is found before anything starts.
//! let problems = scenario("laod").check(&topology, Schedulers::default()).unwrap_err();
//! assert_eq!(
//!     problems[0].to_string(),
//!     "step 1 `narrow`, operation 1 (set-cpuset): no cgroup is called `laod`; did you mean `load`?"
//! );
//! # Ok::<(), belljar_topology::NotationError>(())
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`Scenario`], [`Backdrop`], [`Step`], [`Hold`] | the whole, and how long it is |
//! | [`Cgroup`], [`Workers`], [`Payload`] | what lives in it |
//! | [`Op`] | what happens |
//! | [`Work`], [`GroupSize`], [`Parameter`] | what workers do, how many it takes, and with what |
//! | [`Cpuset`], [`Affinity`], [`Count`] | words for CPUs and numbers, and `resolve` |
//! | [`Policy`], [`MemoryPolicy`] | how the kernel treats workers |
//! | [`Scenario::check`], [`Problem`], [`Resolved`] | what is wrong, and what words come to |
//! | [`Scenario::render`] | a scenario for people |
//! | [`canned`] | scenarios that are ready to play |
//! | [`select`] | the part of a matrix of tests that is worth its time |
//!
//! # What this crate must never depend on
//!
//! Anything that runs something: no process, no file, no clock. A scenario is described here, checked
//! against a topology and shown; it is played by `belljar-stage` in the guest.
#![forbid(unsafe_code)]

mod affinity;
pub mod canned;
mod cgroup;
mod check;
mod cpuset;
mod fault;
mod group_size;
mod memory;
mod op;
mod parameter;
mod payload;
mod policy;
mod problem;
mod render;
mod scenario;
pub mod select;
mod step;
mod time;
mod timeline;
mod walk;
mod work;
mod workers;

pub use affinity::{Affinity, AffinityError};
pub use cgroup::Cgroup;
pub use check::{Resolved, Schedulers, Setup};
pub use cpuset::{Cpuset, CpusetError};
pub use group_size::{GroupSize, UnknownWork};
pub use memory::{MemoryFlags, MemoryPolicy};
pub use op::Op;
pub use parameter::{Impossible, Parameter, Value};
pub use payload::{Check, Metric, Output, Payload};
pub use policy::{ImpossiblePolicy, Policy};
pub use problem::{Item, Problem, Site};
pub use scenario::{Backdrop, Scenario};
pub use step::{Hold, Step};
pub use work::{
    AluWidth, Custom, Futex, Pace, Reap, SchbenchParameters, TaobenchParameters, Toil, Work,
    WorkPhase, Worker,
};
pub use workers::{Count, Workers};
