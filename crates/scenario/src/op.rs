//! Operations.

use serde::{Deserialize, Serialize};

use crate::{Affinity, Cgroup, Cpuset, Payload, Workers};

/// Something that a step does. Cgroups and payloads are named as they were defined; a name that is
/// not defined at that point is an error before anything starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Makes a cgroup, with its limits and its workers; it lives to the end of the step.
    AddCgroup {
        /// The cgroup.
        cgroup: Box<Cgroup>,
    },
    /// Stops the workers and payloads of a cgroup and of those below it, and removes them.
    RemoveCgroup {
        /// Which.
        cgroup: String,
    },
    /// Stops a cgroup's workers; the cgroup stays.
    StopCgroup {
        /// Which.
        cgroup: String,
    },
    /// Confines a cgroup to CPUs.
    SetCpuset {
        /// Which.
        cgroup: String,
        /// The CPUs.
        cpus: Cpuset,
    },
    /// Gives a cgroup all of its parent's CPUs.
    ClearCpuset {
        /// Which.
        cgroup: String,
    },
    /// Gives each of two cgroups the other's CPUs.
    SwapCpusets {
        /// One.
        a: String,
        /// The other.
        b: String,
    },
    /// Sets `cpu.weight`.
    SetWeight {
        /// Which cgroup.
        cgroup: String,
        /// 1 to 10,000.
        weight: u32,
    },
    /// Sets `cpu.max`, as a percentage of one CPU; none takes the limit away.
    SetQuota {
        /// Which cgroup.
        cgroup: String,
        /// The percentage.
        percent: Option<u32>,
    },
    /// Freezes a cgroup (`cgroup.freeze`).
    Freeze {
        /// Which.
        cgroup: String,
    },
    /// Lets a frozen cgroup go on.
    Unfreeze {
        /// Which.
        cgroup: String,
    },
    /// Moves all tasks of one cgroup into another.
    MoveAllTasks {
        /// From.
        from: String,
        /// To; empty for the scenario's root.
        to: String,
    },
    /// Starts a group of workers in a cgroup; they live to the end of the step.
    Spawn {
        /// Which; empty for the scenario's root.
        cgroup: String,
        /// The workers.
        workers: Box<Workers>,
    },
    /// Binds the workers of a cgroup to CPUs.
    SetAffinity {
        /// Which.
        cgroup: String,
        /// The CPUs.
        affinity: Affinity,
    },
    /// Starts a payload.
    RunPayload {
        /// The payload.
        payload: Box<Payload>,
    },
    /// Waits for a payload's end.
    WaitPayload {
        /// Its name.
        payload: String,
    },
    /// Kills a payload.
    KillPayload {
        /// Its name.
        payload: String,
    },
    /// Starts a scheduler of the test's and waits until it is attached.
    AttachScheduler {
        /// Its name.
        scheduler: String,
    },
    /// Stops the scheduler that is attached; the kernel's own takes over.
    DetachScheduler,
    /// Stops the scheduler that is attached, and starts it again.
    RestartScheduler,
    /// Stops the scheduler that is attached, and starts another.
    ReplaceScheduler {
        /// Its name.
        scheduler: String,
    },
    /// Puts the processes of a cgroup into the record.
    CaptureProcs {
        /// The cgroup.
        cgroup: String,
        /// What the record calls it.
        tag: String,
    },
    /// Puts the text of a file of the guest, as in `/proc/schedstat`, into the record.
    CaptureFile {
        /// Its path.
        path: String,
        /// What the record calls it.
        tag: String,
    },
}

impl Op {
    /// Its name in the data model, as in `set-cpuset`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddCgroup { .. } => "add-cgroup",
            Self::RemoveCgroup { .. } => "remove-cgroup",
            Self::StopCgroup { .. } => "stop-cgroup",
            Self::SetCpuset { .. } => "set-cpuset",
            Self::ClearCpuset { .. } => "clear-cpuset",
            Self::SwapCpusets { .. } => "swap-cpusets",
            Self::SetWeight { .. } => "set-weight",
            Self::SetQuota { .. } => "set-quota",
            Self::Freeze { .. } => "freeze",
            Self::Unfreeze { .. } => "unfreeze",
            Self::MoveAllTasks { .. } => "move-all-tasks",
            Self::Spawn { .. } => "spawn",
            Self::SetAffinity { .. } => "set-affinity",
            Self::RunPayload { .. } => "run-payload",
            Self::WaitPayload { .. } => "wait-payload",
            Self::KillPayload { .. } => "kill-payload",
            Self::AttachScheduler { .. } => "attach-scheduler",
            Self::DetachScheduler => "detach-scheduler",
            Self::RestartScheduler => "restart-scheduler",
            Self::ReplaceScheduler { .. } => "replace-scheduler",
            Self::CaptureProcs { .. } => "capture-procs",
            Self::CaptureFile { .. } => "capture-file",
        }
    }
}
