//! Scenarios for schedulers as plain data: cgroups, workers, work, steps and operations.
//!
//! # What this crate must never depend on
//!
//! Anything that runs something: no process, no file, no clock. A scenario is described here, checked
//! against a topology and shown; it is played by `belljar-workload` in the guest.
#![forbid(unsafe_code)]

mod affinity;
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
mod scenario;
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
    AluWidth, Custom, Futex, Reap, SchbenchParameters, TaobenchParameters, Toil, Work, WorkPhase,
};
pub use workers::{Count, Workers};
