//! What workers do.

mod custom;
mod defaults;
mod parameters;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Policy, time};

pub use custom::{Custom, Pace, Toil, Worker};
pub use parameters::{AluWidth, Futex, Reap, SchbenchParameters, TaobenchParameters, WorkPhase};

/// What a worker does, over and over, until it is stopped.
///
/// A spin is four instructions of arithmetic, the same in every build; a pause hint follows each 1024
/// of them. Every type does at least one unit of work in a second of CPU time while it is healthy, in
/// each of its roles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Work {
    /// Pure CPU: arithmetic and pause hints in user space.
    ///
    /// Unit: 1024 spins.
    SpinWait,
    /// A storm of `sched_yield(2)`.
    ///
    /// Unit: one yield.
    YieldHeavy,
    /// Spinning, and a yield after each 1024 spins.
    ///
    /// Unit: 1024 spins and the yield.
    Mixed,
    /// Synchronous writes (`O_SYNC`) of 16 blocks of 4 KiB and `fdatasync(2)`, to a file in the
    /// scenario's directory for files.
    ///
    /// Unit: one block.
    IoSyncWrite,
    /// Random reads of 4 KiB, past the page cache where the file system allows it.
    ///
    /// Unit: one read.
    IoRandRead,
    /// A write and a random read in turn, and a sync after each 16.
    ///
    /// Unit: one write or read.
    IoConvoy,
    /// Load that goes on and off: timers, load tracking, idle balancing.
    ///
    /// Unit: 1024 spins.
    Bursty {
        /// How long it spins.
        #[serde(rename = "burst_ns", with = "time")]
        burst: Duration,
        /// How long it sleeps.
        #[serde(rename = "sleep_ns", with = "time")]
        sleep: Duration,
    },
    /// Pairs that wake one another through pipes.
    ///
    /// Unit: 1024 spins, or the round trip.
    PipeIo {
        /// Spins between two messages.
        burst: u64,
    },
    /// Pairs that wake one another through a futex.
    ///
    /// Unit: 1024 spins, or the round trip.
    FutexPingPong {
        /// Spins between two wakes.
        spin: u64,
    },
    /// Reads and writes over a footprint that does not fit the caches.
    ///
    /// Unit: 1024 reads and writes.
    CachePressure {
        /// The footprint, in bytes.
        bytes: u64,
        /// From one access to the next, in bytes.
        stride: u64,
    },
    /// As `CachePressure`, with a yield after each pass.
    ///
    /// Unit: 1024 reads and writes.
    CacheYield {
        /// The footprint, in bytes.
        bytes: u64,
        /// From one access to the next, in bytes.
        stride: u64,
    },
    /// Pairs that work on a hot footprint and wake one another through pipes.
    ///
    /// Unit: 1024 reads and writes.
    CachePipe {
        /// The footprint, in bytes.
        bytes: u64,
        /// Accesses between two messages.
        burst: u64,
    },
    /// One wakes many at once, again and again.
    ///
    /// Unit: 1024 spins, or the wake.
    FutexFanOut {
        /// How many are woken.
        fan_out: u32,
        /// Spins after each wake.
        spin: u64,
    },
    /// A messenger wakes workers that multiply matrices.
    ///
    /// Unit: one multiplication, or one message.
    FanOutCompute {
        /// How many compute.
        workers: u32,
        /// The footprint of the matrices, in bytes.
        bytes: u64,
        /// Multiplications for each message.
        operations: u32,
        /// How long the messenger sleeps.
        #[serde(rename = "sleep_ns", with = "time")]
        sleep: Duration,
    },
    /// Phases one after another, again and again.
    ///
    /// Unit: one phase.
    Sequence {
        /// The phases.
        phases: Vec<WorkPhase>,
    },
    /// Processes that come and go: `fork(2)`, `exit(2)`, `wait(2)`.
    ///
    /// Unit: one child.
    ForkExit,
    /// Its own nice value, from -20 to 19 and again: changes of weight.
    ///
    /// Unit: 512 spins.
    NiceSweep,
    /// Its own affinity, one CPU after another: `sched_setaffinity(2)` of oneself.
    ///
    /// Unit: 1024 spins and the move.
    AffinityChurn {
        /// Spins between two moves.
        spin: u64,
    },
    /// The affinity of its siblings in the group: `sched_setaffinity(2)` of others. Needs a cgroup of its own.
    ///
    /// Unit: 1024 spins and the move.
    CrossAffinityChurn {
        /// Spins between two moves.
        spin: u64,
    },
    /// Its own policy: `SCHED_OTHER`, `SCHED_BATCH`, `SCHED_IDLE`, and the real-time ones where it may.
    ///
    /// Unit: 1024 spins and the change.
    PolicyChurn {
        /// Spins between two changes.
        spin: u64,
    },
    /// Messengers and workers as in `schbench`: wake-up and request latency.
    ///
    /// Unit: one request.
    Schbench {
        /// Its parameters.
        parameters: SchbenchParameters,
    },
    /// A cache server's fast and slow path: clients, and slow threads behind a queue.
    ///
    /// Unit: one operation.
    Taobench {
        /// Its parameters.
        parameters: TaobenchParameters,
    },
    /// Minor page faults: maps, touches, unmaps.
    ///
    /// Unit: one page touched.
    PageFaultChurn {
        /// What is mapped, in bytes.
        bytes: u64,
        /// Pages touched in each mapping.
        touches: u32,
        /// Spins after each touch.
        spin: u64,
    },
    /// A lock convoy.
    ///
    /// Unit: 1024 spins, of work or of holding the lock.
    MutexContention {
        /// How many want the lock.
        contenders: u32,
        /// Spins with the lock.
        hold: u64,
        /// Spins without it.
        work: u64,
    },
    /// One wakes all of many waiters at once.
    ///
    /// Unit: one broadcast, or one wake-up.
    ThunderingHerd {
        /// How many wait.
        waiters: u32,
        /// Broadcasts before it starts over.
        batches: u32,
        /// From one broadcast to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
    },
    /// A low-priority holder, a middle one that keeps it from running, and a high one that waits for it.
    ///
    /// Unit: 1024 spins.
    PriorityInversion {
        /// Workers of high priority.
        high: u32,
        /// Workers of middle priority.
        medium: u32,
        /// Workers of low priority.
        low: u32,
        /// Spins with the lock.
        hold: u64,
        /// Spins without it.
        work: u64,
        /// Whether the lock passes priority on.
        futex: Futex,
    },
    /// Producers that are faster than the consumers, or slower.
    ///
    /// Unit: one item.
    ProducerConsumerImbalance {
        /// How many produce.
        producers: u32,
        /// How many consume.
        consumers: u32,
        /// Items each producer makes in a second.
        rate_hz: u32,
        /// Spins for each item.
        consume_spin: u64,
        /// Items that the queue holds.
        depth: u32,
    },
    /// Real-time tasks that leave fair ones little.
    ///
    /// Unit: 1024 spins.
    RtStarvation {
        /// Real-time workers.
        rt: u32,
        /// Fair workers.
        fair: u32,
        /// The real-time priority.
        priority: u32,
        /// Spins in a burst.
        burst: u64,
    },
    /// Pairs of two scheduling classes; one wakes the other.
    ///
    /// Unit: 1024 spins, or the wake-up.
    AsymmetricWaker {
        /// The waker's policy.
        waker: Policy,
        /// The other's policy.
        wakee: Policy,
        /// Spins between two wakes.
        burst: u64,
    },
    /// A ring in which each wakes the next.
    ///
    /// Unit: one hop.
    WakeChain {
        /// How many are in the ring.
        depth: u32,
        /// By futex; else by pipe.
        futex: bool,
        /// How long each works before it wakes the next.
        #[serde(rename = "hop_ns", with = "time")]
        hop: Duration,
    },
    /// A footprint that moves from node to node.
    ///
    /// Unit: one page.
    NumaWorkingSetSweep {
        /// The footprint, in bytes.
        bytes: u64,
        /// From one move to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
    },
    /// Itself, from node to node.
    ///
    /// Unit: 256 spins.
    NumaMigrationChurn {
        /// From one move to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
    },
    /// Itself, from cgroup to cgroup.
    ///
    /// Unit: 256 spins.
    CgroupChurn {
        /// How many cgroups.
        groups: u32,
        /// From one move to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
    },
    /// Forks that go into another cgroup. Processes only.
    ///
    /// Unit: one child.
    CgroupAttachStorm {
        /// The cgroup; empty for one of its own.
        destination: String,
        /// Who reaps the children.
        reap: Reap,
    },
    /// Pairs that send one another signals.
    ///
    /// Unit: one signal.
    SignalStorm {
        /// Signals in a burst.
        signals: u32,
        /// Spins between two bursts.
        spin: u64,
    },
    /// Real-time bursts that preempt fair workers.
    ///
    /// Unit: 1024 spins, or the burst.
    PreemptStorm {
        /// Fair workers.
        fair: u32,
        /// Spins in a burst.
        burst: u64,
        /// From one burst to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
    },
    /// Events through `eventfd(2)` to several that wait in `epoll_wait(2)`.
    ///
    /// Unit: one event, or one wake-up.
    EpollStorm {
        /// How many write.
        producers: u32,
        /// How many wait.
        consumers: u32,
        /// Events in a burst.
        events: u32,
    },
    /// Into idle and out of it.
    ///
    /// Unit: 256 spins.
    IdleChurn {
        /// How long it works.
        #[serde(rename = "busy_ns", with = "time")]
        busy: Duration,
        /// How long it sleeps.
        #[serde(rename = "sleep_ns", with = "time")]
        sleep: Duration,
        /// Whether it asks for the least timer slack.
        precise: bool,
    },
    /// Absolute timers: how late it wakes.
    ///
    /// Unit: one timer.
    TimerLatency {
        /// From one timer to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
    },
    /// Datagrams over the loopback device: the network's soft interrupts.
    ///
    /// Unit: one datagram.
    NetTraffic {
        /// From one to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
        /// Its size.
        bytes: u32,
    },
    /// Pairs: one sends datagrams, their soft interrupt wakes the other.
    ///
    /// Unit: one datagram.
    IrqWake {
        /// From one to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
        /// Its size.
        bytes: u32,
    },
    /// The arithmetic units, in dependent chains of a given width.
    ///
    /// Unit: 1024 steps.
    AluHot {
        /// The width.
        width: AluWidth,
    },
    /// Pairs of threads on one core that spin.
    ///
    /// Unit: 1024 spins.
    SmtSiblingSpin,
    /// Phases of many and of few instructions per cycle.
    ///
    /// Unit: 1024 steps or cold accesses.
    IpcVariance {
        /// Steps of a hot phase.
        hot: u32,
        /// Accesses of a cold phase.
        cold: u32,
        /// Phases before it starts over.
        period: u32,
    },
    /// The test's own function.
    ///
    /// Unit: what the function says.
    Custom(Custom),
}

impl Work {
    /// The name of the type, as in `SpinWait`; a custom one's own.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::SpinWait => "SpinWait",
            Self::YieldHeavy => "YieldHeavy",
            Self::Mixed => "Mixed",
            Self::IoSyncWrite => "IoSyncWrite",
            Self::IoRandRead => "IoRandRead",
            Self::IoConvoy => "IoConvoy",
            Self::Bursty { .. } => "Bursty",
            Self::PipeIo { .. } => "PipeIo",
            Self::FutexPingPong { .. } => "FutexPingPong",
            Self::CachePressure { .. } => "CachePressure",
            Self::CacheYield { .. } => "CacheYield",
            Self::CachePipe { .. } => "CachePipe",
            Self::FutexFanOut { .. } => "FutexFanOut",
            Self::FanOutCompute { .. } => "FanOutCompute",
            Self::Sequence { .. } => "Sequence",
            Self::ForkExit => "ForkExit",
            Self::NiceSweep => "NiceSweep",
            Self::AffinityChurn { .. } => "AffinityChurn",
            Self::CrossAffinityChurn { .. } => "CrossAffinityChurn",
            Self::PolicyChurn { .. } => "PolicyChurn",
            Self::Schbench { .. } => "Schbench",
            Self::Taobench { .. } => "Taobench",
            Self::PageFaultChurn { .. } => "PageFaultChurn",
            Self::MutexContention { .. } => "MutexContention",
            Self::ThunderingHerd { .. } => "ThunderingHerd",
            Self::PriorityInversion { .. } => "PriorityInversion",
            Self::ProducerConsumerImbalance { .. } => "ProducerConsumerImbalance",
            Self::RtStarvation { .. } => "RtStarvation",
            Self::AsymmetricWaker { .. } => "AsymmetricWaker",
            Self::WakeChain { .. } => "WakeChain",
            Self::NumaWorkingSetSweep { .. } => "NumaWorkingSetSweep",
            Self::NumaMigrationChurn { .. } => "NumaMigrationChurn",
            Self::CgroupChurn { .. } => "CgroupChurn",
            Self::CgroupAttachStorm { .. } => "CgroupAttachStorm",
            Self::SignalStorm { .. } => "SignalStorm",
            Self::PreemptStorm { .. } => "PreemptStorm",
            Self::EpollStorm { .. } => "EpollStorm",
            Self::IdleChurn { .. } => "IdleChurn",
            Self::TimerLatency { .. } => "TimerLatency",
            Self::NetTraffic { .. } => "NetTraffic",
            Self::IrqWake { .. } => "IrqWake",
            Self::AluHot { .. } => "AluHot",
            Self::SmtSiblingSpin => "SmtSiblingSpin",
            Self::IpcVariance { .. } => "IpcVariance",
            Self::Custom(custom) => &custom.name,
        }
    }
}
