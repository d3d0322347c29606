//! What workers do.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Policy, time};

/// What a worker does, over and over, until it is stopped.
///
/// A spin is four instructions of arithmetic, the same in every build; a pause hint follows each 64 of
/// them. Every type does at least one unit of work in a second of CPU time while it is healthy, in
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

/// A phase of [`Work::Sequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum WorkPhase {
    /// Spins.
    Spin {
        /// How many.
        spins: u64,
    },
    /// Sleeps.
    Sleep {
        /// How long.
        #[serde(rename = "time_ns", with = "time")]
        time: Duration,
    },
    /// Yields.
    Yield {
        /// How often.
        times: u32,
    },
    /// Writes blocks of 4 KiB to a file, and syncs it.
    Io {
        /// How many.
        blocks: u32,
    },
    /// Steps of dependent arithmetic.
    AluHot {
        /// How many.
        steps: u64,
    },
}

/// Whether a lock passes the priority of who waits on to who holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Futex {
    /// It does not.
    #[default]
    Plain,
    /// It does (`FUTEX_LOCK_PI`).
    Pi,
}

/// Who reaps children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reap {
    /// The parent waits for each.
    #[default]
    Wait,
    /// The kernel does, as `SIGCHLD` is ignored.
    Ignore,
}

/// The width of arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AluWidth {
    /// General registers.
    #[default]
    Scalar,
    /// 128-bit vectors.
    Vec128,
    /// 256-bit vectors; refused where the CPU has none.
    Vec256,
    /// 512-bit vectors; refused where the CPU has none.
    Vec512,
    /// Matrix tiles; refused where the CPU has none.
    Amx,
    /// The widest that the CPU has.
    Widest,
}

/// Parameters of [`Work::Schbench`]; the group has one worker, which starts its own threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchbenchParameters {
    /// Messengers.
    pub message_threads: u32,
    /// Workers of each messenger; 0 for as many as there are usable CPUs.
    pub worker_threads: u32,
    /// The footprint of the matrices, in bytes.
    pub cache_bytes: u64,
    /// Multiplications for each request.
    pub operations: u32,
    /// How long a worker sleeps in a request.
    #[serde(rename = "sleep_ns", with = "time")]
    pub sleep: Duration,
    /// Whether to go without the lock around each CPU's footprint.
    pub skip_locking: bool,
    /// Requests in a second; 0 for as many as go.
    pub requests_per_sec: u32,
    /// Share of CPU time that the rate is steered to, in percent; 0 to leave it.
    pub auto_rps: u32,
    /// Percentage of the footprint that is the worker's own; none for all.
    pub split_percent: Option<u32>,
    /// Bytes passed through a pipe with each message; 0 for none.
    pub pipe_transfer_bytes: u32,
}

impl Default for SchbenchParameters {
    fn default() -> Self {
        Self {
            message_threads: 1,
            worker_threads: 0,
            cache_bytes: 256 << 10,
            operations: 5,
            sleep: Duration::from_micros(100),
            skip_locking: false,
            requests_per_sec: 0,
            auto_rps: 0,
            split_percent: None,
            pipe_transfer_bytes: 0,
        }
    }
}

/// Parameters of [`Work::Taobench`]; the group has one worker, which starts its own threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaobenchParameters {
    /// Clients; 0 for as many as there are usable CPUs.
    pub client_threads: u32,
    /// Slow threads; 0 for a third of the clients, at least one.
    pub slow_threads: u32,
    /// The size of the cache, in bytes.
    pub cache_bytes: u64,
    /// How many of a hundred look-ups hit.
    pub hit_percent: u32,
    /// How long a slow operation sleeps.
    #[serde(rename = "slow_sleep_ns", with = "time")]
    pub slow_sleep: Duration,
    /// The 99th percentile of a slow operation's sleep, if it is Pareto distributed; 0 if not.
    #[serde(rename = "slow_p99_ns", with = "time")]
    pub slow_p99: Duration,
    /// From one operation of a client to the next; 0 for a closed loop.
    #[serde(rename = "arrival_ns", with = "time")]
    pub arrival: Duration,
}

impl Default for TaobenchParameters {
    fn default() -> Self {
        Self {
            client_threads: 0,
            slow_threads: 0,
            cache_bytes: 64 << 20,
            hit_percent: 90,
            slow_sleep: Duration::from_micros(100),
            slow_p99: Duration::ZERO,
            arrival: Duration::ZERO,
        }
    }
}

/// The test's own work: a name for reports and a function.
///
/// ```
/// use belljar_scenario::Work;
///
/// let hash = Work::custom("hash", |toil| {
///     let mut sum = toil.seed();
///     while toil.goes_on() {
///         for i in 0..1024u64 {
///             sum = sum.rotate_left(5) ^ i;
///         }
///         std::hint::black_box(sum);
///         toil.did(1);
///     }
/// });
/// # let _ = hash;
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Custom {
    /// What reports call it.
    pub name: String,
    /// The function. A scenario that was read from a file has none, and cannot be played.
    #[serde(skip)]
    pub run: Option<fn(&mut dyn Toil)>,
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a custom work function is given.
pub trait Toil {
    /// Whether to go on; to be asked once in each round. It is also the checkpoint at which gaps and
    /// migrations are noticed.
    fn goes_on(&mut self) -> bool;
    /// Counts units of work, and one iteration.
    fn did(&mut self, units: u64);
    /// Reports a measured wake-up latency, in nanoseconds.
    fn woke_after_ns(&mut self, latency_ns: u64);
    /// Guest time, in nanoseconds (`CLOCK_MONOTONIC`).
    fn now_ns(&self) -> u64;
    /// Which of its group's workers this is, from 0.
    fn index(&self) -> u32;
    /// How many workers the group has.
    fn count(&self) -> u32;
    /// A seed of this worker's own, which follows from the run's.
    fn seed(&self) -> u64;
}

impl Work {
    /// The test's own work.
    #[must_use]
    pub fn custom(name: &str, run: fn(&mut dyn Toil)) -> Self {
        Self::Custom(Custom { name: name.to_owned(), run: Some(run) })
    }

    /// [`Work::Bursty`] with its default parameters.
    #[must_use]
    pub fn bursty() -> Self {
        Self::Bursty { burst: Duration::from_millis(50), sleep: Duration::from_millis(100) }
    }

    /// [`Work::PipeIo`] with its default parameters.
    #[must_use]
    pub fn pipe_io() -> Self {
        Self::PipeIo { burst: 1024 }
    }

    /// [`Work::FutexPingPong`] with its default parameters.
    #[must_use]
    pub fn futex_ping_pong() -> Self {
        Self::FutexPingPong { spin: 1024 }
    }

    /// [`Work::CachePressure`] with its default parameters.
    #[must_use]
    pub fn cache_pressure() -> Self {
        Self::CachePressure { bytes: 32 << 10, stride: 64 }
    }

    /// [`Work::CacheYield`] with its default parameters.
    #[must_use]
    pub fn cache_yield() -> Self {
        Self::CacheYield { bytes: 32 << 10, stride: 64 }
    }

    /// [`Work::CachePipe`] with its default parameters.
    #[must_use]
    pub fn cache_pipe() -> Self {
        Self::CachePipe { bytes: 32 << 10, burst: 1024 }
    }

    /// [`Work::FutexFanOut`] with its default parameters.
    #[must_use]
    pub fn futex_fan_out() -> Self {
        Self::FutexFanOut { fan_out: 4, spin: 1024 }
    }

    /// [`Work::FanOutCompute`] with its default parameters.
    #[must_use]
    pub fn fan_out_compute() -> Self {
        Self::FanOutCompute {
            workers: 4,
            bytes: 256 << 10,
            operations: 5,
            sleep: Duration::from_micros(100),
        }
    }

    /// [`Work::Sequence`] with its default parameters.
    #[must_use]
    pub fn sequence() -> Self {
        Self::Sequence { phases: Vec::new() }
    }

    /// [`Work::AffinityChurn`] with its default parameters.
    #[must_use]
    pub fn affinity_churn() -> Self {
        Self::AffinityChurn { spin: 1024 }
    }

    /// [`Work::CrossAffinityChurn`] with its default parameters.
    #[must_use]
    pub fn cross_affinity_churn() -> Self {
        Self::CrossAffinityChurn { spin: 1024 }
    }

    /// [`Work::PolicyChurn`] with its default parameters.
    #[must_use]
    pub fn policy_churn() -> Self {
        Self::PolicyChurn { spin: 1024 }
    }

    /// [`Work::Schbench`] with its default parameters.
    #[must_use]
    pub fn schbench() -> Self {
        Self::Schbench { parameters: SchbenchParameters::default() }
    }

    /// [`Work::Taobench`] with its default parameters.
    #[must_use]
    pub fn taobench() -> Self {
        Self::Taobench { parameters: TaobenchParameters::default() }
    }

    /// [`Work::PageFaultChurn`] with its default parameters.
    #[must_use]
    pub fn page_fault_churn() -> Self {
        Self::PageFaultChurn { bytes: 4096 << 10, touches: 256, spin: 64 }
    }

    /// [`Work::MutexContention`] with its default parameters.
    #[must_use]
    pub fn mutex_contention() -> Self {
        Self::MutexContention { contenders: 4, hold: 256, work: 1024 }
    }

    /// [`Work::ThunderingHerd`] with its default parameters.
    #[must_use]
    pub fn thundering_herd() -> Self {
        Self::ThunderingHerd { waiters: 7, batches: 1000, interval: Duration::from_millis(5) }
    }

    /// [`Work::PriorityInversion`] with its default parameters.
    #[must_use]
    pub fn priority_inversion() -> Self {
        Self::PriorityInversion {
            high: 1,
            medium: 1,
            low: 1,
            hold: 4096,
            work: 1024,
            futex: Futex::Plain,
        }
    }

    /// [`Work::ProducerConsumerImbalance`] with its default parameters.
    #[must_use]
    pub fn producer_consumer_imbalance() -> Self {
        Self::ProducerConsumerImbalance {
            producers: 2,
            consumers: 1,
            rate_hz: 1000,
            consume_spin: 4096,
            depth: 1024,
        }
    }

    /// [`Work::RtStarvation`] with its default parameters.
    #[must_use]
    pub fn rt_starvation() -> Self {
        Self::RtStarvation { rt: 1, fair: 1, priority: 50, burst: 1024 }
    }

    /// [`Work::AsymmetricWaker`] with its default parameters.
    #[must_use]
    pub fn asymmetric_waker() -> Self {
        Self::AsymmetricWaker { waker: Policy::Normal, wakee: Policy::Normal, burst: 1024 }
    }

    /// [`Work::WakeChain`] with its default parameters.
    #[must_use]
    pub fn wake_chain() -> Self {
        Self::WakeChain { depth: 4, futex: false, hop: Duration::from_micros(100) }
    }

    /// [`Work::NumaWorkingSetSweep`] with its default parameters.
    #[must_use]
    pub fn numa_working_set_sweep() -> Self {
        Self::NumaWorkingSetSweep { bytes: 4096 << 10, interval: Duration::from_millis(100) }
    }

    /// [`Work::NumaMigrationChurn`] with its default parameters.
    #[must_use]
    pub fn numa_migration_churn() -> Self {
        Self::NumaMigrationChurn { interval: Duration::from_millis(100) }
    }

    /// [`Work::CgroupChurn`] with its default parameters.
    #[must_use]
    pub fn cgroup_churn() -> Self {
        Self::CgroupChurn { groups: 2, interval: Duration::from_millis(100) }
    }

    /// [`Work::CgroupAttachStorm`] with its default parameters.
    #[must_use]
    pub fn cgroup_attach_storm() -> Self {
        Self::CgroupAttachStorm { destination: String::new(), reap: Reap::Wait }
    }

    /// [`Work::SignalStorm`] with its default parameters.
    #[must_use]
    pub fn signal_storm() -> Self {
        Self::SignalStorm { signals: 16, spin: 1024 }
    }

    /// [`Work::PreemptStorm`] with its default parameters.
    #[must_use]
    pub fn preempt_storm() -> Self {
        Self::PreemptStorm { fair: 2, burst: 1024, interval: Duration::from_micros(1000) }
    }

    /// [`Work::EpollStorm`] with its default parameters.
    #[must_use]
    pub fn epoll_storm() -> Self {
        Self::EpollStorm { producers: 1, consumers: 2, events: 32 }
    }

    /// [`Work::IdleChurn`] with its default parameters.
    #[must_use]
    pub fn idle_churn() -> Self {
        Self::IdleChurn {
            busy: Duration::from_millis(1),
            sleep: Duration::from_millis(5),
            precise: false,
        }
    }

    /// [`Work::TimerLatency`] with its default parameters.
    #[must_use]
    pub fn timer_latency() -> Self {
        Self::TimerLatency { interval: Duration::from_micros(1000) }
    }

    /// [`Work::NetTraffic`] with its default parameters.
    #[must_use]
    pub fn net_traffic() -> Self {
        Self::NetTraffic { interval: Duration::ZERO, bytes: 60 }
    }

    /// [`Work::IrqWake`] with its default parameters.
    #[must_use]
    pub fn irq_wake() -> Self {
        Self::IrqWake { interval: Duration::from_micros(1000), bytes: 60 }
    }

    /// [`Work::AluHot`] with its default parameters.
    #[must_use]
    pub fn alu_hot() -> Self {
        Self::AluHot { width: AluWidth::Scalar }
    }

    /// [`Work::IpcVariance`] with its default parameters.
    #[must_use]
    pub fn ipc_variance() -> Self {
        Self::IpcVariance { hot: 100_000, cold: 1024, period: 64 }
    }

    /// Every work type that has a name of its own, with default parameters: all but [`Work::Sequence`]
    /// and [`Work::Custom`].
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::SpinWait,
            Self::YieldHeavy,
            Self::Mixed,
            Self::IoSyncWrite,
            Self::IoRandRead,
            Self::IoConvoy,
            Self::bursty(),
            Self::pipe_io(),
            Self::futex_ping_pong(),
            Self::cache_pressure(),
            Self::cache_yield(),
            Self::cache_pipe(),
            Self::futex_fan_out(),
            Self::fan_out_compute(),
            Self::ForkExit,
            Self::NiceSweep,
            Self::affinity_churn(),
            Self::cross_affinity_churn(),
            Self::policy_churn(),
            Self::schbench(),
            Self::taobench(),
            Self::page_fault_churn(),
            Self::mutex_contention(),
            Self::thundering_herd(),
            Self::priority_inversion(),
            Self::producer_consumer_imbalance(),
            Self::rt_starvation(),
            Self::asymmetric_waker(),
            Self::wake_chain(),
            Self::numa_working_set_sweep(),
            Self::numa_migration_churn(),
            Self::cgroup_churn(),
            Self::cgroup_attach_storm(),
            Self::signal_storm(),
            Self::preempt_storm(),
            Self::epoll_storm(),
            Self::idle_churn(),
            Self::timer_latency(),
            Self::net_traffic(),
            Self::irq_wake(),
            Self::alu_hot(),
            Self::SmtSiblingSpin,
            Self::ipc_variance(),
        ]
    }

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
