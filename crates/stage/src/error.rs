//! Why a scenario cannot be played.

use std::io;

use belljar_scenario::{AffinityError, CpusetError, Op};
use belljar_verdict::evidence::SchedulerReport;
use belljar_workload::{BindError, StartError};

use crate::CgroupError;

/// Why a scenario cannot be played, and where.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {trouble}")]
pub struct PlayError {
    /// The step and what in it, in words.
    pub place: String,
    /// What is wrong.
    #[source]
    pub trouble: Box<Trouble>,
}

/// What is wrong with a scenario that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A cgroup cannot be made, changed or removed.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Workers cannot be started.
    #[error("cannot start workers: {0}")]
    Start(#[from] StartError),
    /// A worker cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// CPUs in words that do not fit.
    #[error("cannot confine cgroup `{cgroup}`: {source}")]
    Cpus {
        /// The cgroup.
        cgroup: String,
        /// Why they do not fit.
        source: CpusetError,
    },
    /// An affinity that does not fit.
    #[error("cannot bind the workers of cgroup `{cgroup}`: {source}")]
    Affinity {
        /// The cgroup.
        cgroup: String,
        /// Why it does not fit.
        source: AffinityError,
    },
    /// A name that nothing has.
    #[error("there is no {what} `{name}` at this point")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A scheduler is attached where none may be.
    #[error("scheduler `{0}` is attached: detach it first, or replace it")]
    SchedulerAttached(String),
    /// No scheduler is attached where one must be.
    #[error("no scheduler is attached at this point")]
    NoScheduler,
    /// A scheduler did not attach. The evidence has its report, and the rest cannot be played.
    #[error("scheduler `{}` did not attach: {:?}", .0.name, .0.end)]
    NotAttached(Box<SchedulerReport>),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// This process cannot take precedence over what it watches.
    #[error(
        "cannot run under SCHED_FIFO, so that what is tested would hold up the test: {0}: run as root"
    )]
    Precedence(io::Error),
}

impl PlayError {
    pub(crate) fn new(place: impl Into<String>, trouble: impl Into<Trouble>) -> Self {
        Self { place: place.into(), trouble: Box::new(trouble.into()) }
    }

    /// Whether a scheduler did not attach, which is for the verdict to judge.
    #[must_use]
    pub const fn is_of_scheduler(&self) -> bool {
        matches!(*self.trouble, Trouble::NotAttached(_))
    }
}

/// An operation with what it is done to, as in ``set-cpuset of `a` ``.
pub(crate) fn in_words(op: &Op) -> String {
    let object = match op {
        Op::AddCgroup { cgroup } => &cgroup.name,
        Op::RemoveCgroup { cgroup }
        | Op::StopCgroup { cgroup }
        | Op::SetCpuset { cgroup, .. }
        | Op::ClearCpuset { cgroup }
        | Op::SetWeight { cgroup, .. }
        | Op::SetQuota { cgroup, .. }
        | Op::Freeze { cgroup }
        | Op::Unfreeze { cgroup }
        | Op::Spawn { cgroup, .. }
        | Op::SetAffinity { cgroup, .. }
        | Op::CaptureProcs { cgroup, .. } => cgroup,
        Op::SwapCpusets { a, .. } => a,
        Op::MoveAllTasks { from, .. } => from,
        Op::RunPayload { payload } => &payload.name,
        Op::WaitPayload { payload } | Op::KillPayload { payload } => payload,
        Op::AttachScheduler { scheduler } | Op::ReplaceScheduler { scheduler } => scheduler,
        Op::DetachScheduler | Op::RestartScheduler => "",
        Op::CaptureFile { path, .. } => path,
    };
    if object.is_empty() { op.name().to_owned() } else { format!("{} of `{object}`", op.name()) }
}
