//! Each kind of work with its default parameters.

use std::time::Duration;

use super::{AluWidth, Custom, Futex, Reap, SchbenchParameters, TaobenchParameters, Toil, Work};
use crate::Policy;

impl Work {
    /// The test's own work.
    #[must_use]
    pub fn custom(name: &str, run: fn(&mut Toil<'_>)) -> Self {
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
}
