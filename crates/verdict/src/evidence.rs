//! What one played scenario showed: the facts that checks are made on.
//!
//! Everything is measured in the guest. Times are nanoseconds of guest time; moments count from the
//! boot of the guest's kernel (`CLOCK_MONOTONIC`).

use std::collections::BTreeMap;

use belljar_topology::{CpuId, CpuSet};
use serde::{Deserialize, Serialize};

use crate::Polarity;

/// What one played scenario showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The scenario's name; empty where it has none.
    pub name: String,
    /// When the first operation began.
    pub began_ns: u64,
    /// When the last worker was collected.
    pub ended_ns: u64,
    /// The moment at which all workers of the first step that has any were released, counted from
    /// [`began_ns`](Self::began_ns).
    pub released_after_ns: Option<u64>,
    /// The steps, in order.
    pub steps: Vec<StepEvidence>,
    /// The cgroups, in the order in which they were made.
    pub cgroups: Vec<CgroupEvidence>,
    /// The workers, by cgroup, group and index.
    pub workers: Vec<WorkerReport>,
    /// The payloads, in the order in which they were started.
    pub payloads: Vec<PayloadReport>,
    /// The schedulers, in the order in which they were started; none for EEVDF alone.
    pub schedulers: Vec<SchedulerReport>,
    /// What was captured.
    pub captures: Vec<Capture>,
    /// Lines of the kernel's log since the start that speak of trouble: warnings, soft lockups, hung
    /// tasks, stalls.
    pub kernel_log: Vec<String>,
}

/// One step as it was played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepEvidence {
    /// Its name.
    pub name: String,
    /// When its set-up began.
    pub began_ns: u64,
    /// When its hold began: all its workers were released, all its operations done.
    pub held_ns: u64,
    /// When its hold ended.
    pub ended_ns: u64,
    /// How often the operations of a loop were done; 1 without a loop.
    pub rounds: u32,
}

/// A cgroup as it was played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CgroupEvidence {
    /// Its name in the scenario, a path below the scenario's root.
    pub name: String,
    /// The step in which it was made; none for the backdrop.
    pub step: Option<u32>,
    /// The CPUs that it was given at the end, or all.
    pub cpus: CpuSet,
    /// CPU time of everything in it (`cpu.stat`).
    pub usage_ns: u64,
    /// How often its quota held it back.
    pub throttled: u64,
    /// How long its quota held it back, summed over CPUs.
    pub throttled_ns: u64,
    /// `cpu.weight`.
    pub weight: u32,
}

/// One worker's report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerReport {
    /// The cgroup that it was started in; empty for the scenario's root.
    pub cgroup: String,
    /// Which of the cgroup's groups of workers, from 0.
    pub group: u32,
    /// Which of the group's workers, from 0.
    pub index: u32,
    /// The step in which it was started; none for the backdrop.
    pub step: Option<u32>,
    /// The work type, as in `SpinWait`.
    pub work: String,
    /// What it does in a work type that has several roles, as in `waker`; empty otherwise.
    pub role: String,
    /// The name that the kernel knows it by.
    pub comm: String,
    /// Its thread id in the guest.
    pub tid: u32,
    /// When it was released.
    pub began_ns: u64,
    /// When it ended its last unit.
    pub ended_ns: u64,
    /// Units of work done; what a unit is depends on the work type.
    pub units: u64,
    /// Rounds of the work's loop.
    pub iterations: u64,
    /// CPU time used between release and end.
    pub cpu_ns: u64,
    /// Time it was runnable and waited for a CPU (`schedstat`).
    pub run_delay_ns: u64,
    /// How often it was given a CPU (`schedstat`); 0, as the switches, if it did not live to report it.
    pub runs: u64,
    /// Context switches that it asked for by waiting.
    pub voluntary_switches: u64,
    /// Context switches that were forced upon it.
    pub involuntary_switches: u64,
    /// How often a checkpoint found it on another CPU than the one before.
    pub migrations: u64,
    /// Those of [`migrations`](Self::migrations) that went to another node.
    pub node_migrations: u64,
    /// The first migrations, at most 64 of them.
    pub moves: Vec<Move>,
    /// The CPUs on which checkpoints found it.
    pub cpus_used: CpuSet,
    /// The first sightings on a CPU outside of what it was allowed then, one for each CPU.
    pub strays: Vec<Stray>,
    /// The longest time between two checkpoints.
    pub gap: Gap,
    /// From the moment a wake-up was sent to the moment it ran.
    pub wake: Latency,
    /// How late it woke from an absolute timer.
    pub timer: Latency,
    /// What one round of the loop cost, in wall time.
    pub cost: Latency,
    /// Resident pages by NUMA node, where the work type has a working set; empty otherwise.
    pub node_pages: Vec<u64>,
    /// What it did in each step that it lived in.
    pub slices: Vec<Slice>,
    /// How it ended.
    pub end: WorkerEnd,
}

/// A worker was found on another CPU than before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Move {
    /// When it was found there.
    pub at_ns: u64,
    /// Where it was before.
    pub from: CpuId,
    /// Where it was found.
    pub to: CpuId,
}

/// A worker was found where it must not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stray {
    /// When it was first found there.
    pub at_ns: u64,
    /// On which CPU.
    pub cpu: CpuId,
    /// What it was allowed at that time.
    pub allowed: CpuSet,
    /// The step in which that was.
    pub step: Option<u32>,
}

/// The longest time between two checkpoints of a worker.
///
/// What the worker waited of its own accord (for a message, a timer, a child, a device) is no gap; from
/// the moment at which its wake-up was sent, or its timer was due, it is one again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gap {
    /// How long it was.
    pub wall_ns: u64,
    /// How much of it the worker ran.
    pub cpu_ns: u64,
    /// How much of it the worker was runnable and waited.
    pub run_delay_ns: u64,
    /// When it ended.
    pub at_ns: u64,
    /// The CPU on which the worker was found when it ended.
    pub cpu: CpuId,
    /// The step in which it ended.
    pub step: Option<u32>,
}

/// A summary of measured latencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Latency {
    /// How many were measured; 0 makes all others 0, too.
    pub count: u64,
    /// The mean.
    pub mean_ns: u64,
    /// The standard deviation divided by the mean.
    pub cv: f64,
    /// The least.
    pub min_ns: u64,
    /// The median.
    pub p50_ns: u64,
    /// What nine of ten do not exceed.
    pub p90_ns: u64,
    /// What 99 of 100 do not exceed.
    pub p99_ns: u64,
    /// What 999 of 1000 do not exceed.
    pub p999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

/// What a worker did in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Slice {
    /// The step, from 0.
    pub step: u32,
    /// How long it lived in the step's hold.
    pub wall_ns: u64,
    /// CPU time used in the step's hold.
    pub cpu_ns: u64,
    /// Time it was runnable and waited for a CPU in the step's hold.
    pub run_delay_ns: u64,
    /// Units of work done in the step's hold.
    pub units: u64,
    /// Rounds of the work's loop done in the step's hold.
    pub iterations: u64,
    /// Migrations seen in the step's hold.
    pub migrations: u64,
    /// Those of [`migrations`](Self::migrations) that went to another node.
    #[serde(default)]
    pub node_migrations: u64,
    /// The longest time between two checkpoints, both in the step's hold; the hold's beginning and end
    /// count as checkpoints.
    #[serde(default)]
    pub gap: Gap,
    /// Wake latencies of the step's hold; `None` where none was timed or they are kept for the whole life only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Latency>,
}

/// How a worker ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum WorkerEnd {
    /// It stopped when it was told to.
    #[default]
    Stopped,
    /// It did what it had to do and ended before that.
    Completed,
    /// It could not be started, or not be placed as declared.
    NotStarted {
        /// What was tried and how it failed.
        error: String,
    },
    /// The kernel refused what the work needs.
    Failed {
        /// What was tried and how it failed.
        error: String,
    },
    /// It exited on its own.
    Exited {
        /// With which code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// Which.
        signal: i32,
    },
    /// It panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// It did not stop in time when it was told to, and was killed.
    Unresponsive,
    /// The scenario stopped it on purpose (a step removed its cgroup, or stopped it).
    Removed,
}

/// What came of an external program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PayloadReport {
    /// Its name.
    pub name: String,
    /// The cgroup that it ran in; empty for the scenario's root.
    pub cgroup: String,
    /// Its command line.
    pub command: Vec<String>,
    /// When it was started.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// How it ended.
    pub end: PayloadEnd,
    /// CPU time that it used.
    pub cpu_ns: u64,
    /// What it measured.
    pub metrics: Vec<PayloadMetric>,
    /// What is wrong with what it said or did; empty when all its checks hold.
    pub problems: Vec<String>,
    /// The end of its standard output.
    pub stdout_tail: String,
    /// The end of its standard error.
    pub stderr_tail: String,
}

/// How an external program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum PayloadEnd {
    /// It exited.
    Exited {
        /// With which code.
        code: i32,
    },
    /// A signal that the scenario did not send ended it.
    Signaled {
        /// Which.
        signal: i32,
    },
    /// It was still running at its time limit, and was killed.
    TimedOut,
    /// The scenario killed it, or it ran to the scenario's end as background load.
    #[default]
    Stopped,
    /// It could not be started.
    NotStarted {
        /// Why.
        error: String,
    },
}

/// One figure of an external program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PayloadMetric {
    /// Its path in the program's JSON, as in `jobs.0.read.iops`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit; empty where unknown.
    pub unit: String,
    /// In which direction it gets better.
    pub polarity: Polarity,
}

/// What came of a scheduler under test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SchedulerReport {
    /// Its name in the test.
    pub name: String,
    /// Its command line in the guest.
    pub command: Vec<String>,
    /// What `/sys/kernel/sched_ext/root/ops` called it while it was attached.
    pub ops: String,
    /// When it was started.
    pub began_ns: u64,
    /// When it was seen to be attached.
    pub attached_ns: Option<u64>,
    /// When it ended.
    pub ended_ns: Option<u64>,
    /// How it ended.
    pub end: SchedulerEnd,
    /// Events that the kernel counted (`/sys/kernel/sched_ext/root/events`), at the end of its life.
    pub events: BTreeMap<String, u64>,
    /// The end of what it wrote.
    pub output_tail: String,
}

/// How a scheduler under test ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum SchedulerEnd {
    /// It was asked to go and went, with code 0.
    #[default]
    Detached,
    /// It exited by itself with code 0 while it was needed.
    ExitedCleanly,
    /// The kernel threw it out for an error of its own.
    KernelError {
        /// The kernel's reason, as in `scx_bpf_error`.
        reason: String,
        /// The kernel's message.
        message: String,
        /// The kernel's debug dump.
        dump: String,
    },
    /// The kernel's watchdog threw it out: a task was runnable and did not run.
    Stalled {
        /// The kernel's message, with the task.
        message: String,
        /// The kernel's debug dump.
        dump: String,
    },
    /// The kernel's verifier refused a program.
    Rejected {
        /// The verifier's log; repeated parts are folded.
        log: String,
    },
    /// The kernel cannot do what it needs.
    Unsupported {
        /// What is missing.
        missing: String,
    },
    /// It did not attach in time.
    NeverAttached {
        /// How long was waited.
        waited_ns: u64,
    },
    /// It ended before it was attached, for another reason than those above.
    NotLoaded {
        /// How it ended.
        status: String,
    },
    /// Its process ended while it was needed, and the kernel told of no error.
    Died {
        /// How it ended.
        status: String,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        error: String,
    },
    /// It did not go when it was asked to, and was killed.
    Unresponsive,
}

/// Something that the scenario captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Capture {
    /// The scenario's word for it.
    pub tag: String,
    /// When.
    pub at_ns: u64,
    /// What it is, as in `processes of a`.
    pub what: String,
    /// The text.
    pub text: String,
}
