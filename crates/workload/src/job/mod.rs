//! What workers do: one module for each family of kinds of work.

mod alu;
mod cache;
mod cgroup;
mod churn;
mod epoll;
mod futex;
mod io;
mod lock;
mod matrix;
mod net;
mod numa;
mod own;
mod pipe;
mod rt;
mod schbench;
mod signal;
mod spin;
mod taobench;

use belljar_scenario::{Custom, Toil, Work};

use crate::hand::{Brief, Hand, Outcome, Refusal};

/// A kind of work with its parameters, and with what all its workers have in common.
///
/// It is made before the workers are forked, so that they inherit what it holds.
pub(crate) trait Job: Sync {
    /// Does the work of one worker, until [`Hand::goes_on`] says no, or [`Hand::is_told_to_stop`].
    fn work(&self, hand: &mut Hand<'_>) -> Outcome;

    /// Takes away what [`prepare`] or the workers have left in the system. They are dead by now.
    fn clean(&self) {}
}

/// The test's own function.
struct Own(fn(&mut Toil<'_>));

impl Job for Own {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        hand.toil(self.0);
        Ok(())
    }
}

/// Makes what all workers have in common.
pub(crate) fn prepare(brief: &Brief) -> Result<Box<dyn Job>, Refusal> {
    Ok(match brief.workers.work.clone() {
        Work::SpinWait => Box::new(spin::SpinWait),
        Work::YieldHeavy => Box::new(spin::Yield { spins: 0 }),
        Work::Mixed => Box::new(spin::Yield { spins: 1024 }),
        Work::IoSyncWrite => Box::new(io::SyncWrite),
        Work::IoRandRead => Box::new(io::RandRead),
        Work::IoConvoy => Box::new(io::Convoy),
        Work::Bursty { burst, sleep } => {
            Box::new(spin::OnOff { on: burst, off: sleep, spins_per_unit: 1024, precise: false })
        }
        Work::PipeIo { burst } => Box::new(pipe::PipeIo::new(brief, burst)?),
        Work::FutexPingPong { spin } => Box::new(futex::PingPong { spin, policies: None }),
        Work::CachePressure { bytes, stride } => {
            Box::new(cache::Cache { bytes, stride, yields: false })
        }
        Work::CacheYield { bytes, stride } => {
            Box::new(cache::Cache { bytes, stride, yields: true })
        }
        Work::CachePipe { bytes, burst } => Box::new(cache::CachePipe::new(brief, bytes, burst)?),
        Work::FutexFanOut { spin, .. } => Box::new(futex::FanOut { spin }),
        Work::FanOutCompute { bytes, operations, sleep, .. } => {
            Box::new(futex::Compute { bytes, operations, sleep })
        }
        Work::Sequence { phases } => Box::new(spin::Sequence { phases }),
        Work::ForkExit => Box::new(churn::ForkExit),
        Work::NiceSweep => Box::new(churn::NiceSweep),
        Work::AffinityChurn { spin } => Box::new(churn::AffinityChurn { spin, of_others: false }),
        Work::CrossAffinityChurn { spin } => {
            Box::new(churn::AffinityChurn { spin, of_others: true })
        }
        Work::PolicyChurn { spin } => Box::new(churn::PolicyChurn { spin }),
        Work::Schbench { parameters } => Box::new(schbench::Schbench(parameters)),
        Work::Taobench { parameters } => Box::new(taobench::Taobench(parameters)),
        Work::PageFaultChurn { bytes, touches, spin } => {
            Box::new(churn::PageFaults { bytes, touches, spin })
        }
        Work::MutexContention { hold, work, .. } => Box::new(futex::Contention { hold, work }),
        Work::ThunderingHerd { batches, interval, .. } => {
            Box::new(futex::Herd { batches, interval })
        }
        Work::PriorityInversion { high, medium, hold, work, futex, .. } => {
            Box::new(futex::Inversion { high, medium, hold, work, futex })
        }
        Work::ProducerConsumerImbalance { producers, rate_hz, consume_spin, depth, .. } => {
            Box::new(futex::Queue { producers, rate_hz, consume_spin, depth })
        }
        Work::RtStarvation { rt, priority, burst, .. } => {
            Box::new(rt::Starvation { rt, priority, burst })
        }
        Work::AsymmetricWaker { waker, wakee, burst } => {
            Box::new(futex::PingPong { spin: burst, policies: Some([waker, wakee]) })
        }
        Work::WakeChain { futex, hop, .. } => {
            let pipes = if futex { None } else { Some(pipe::Pipes::new(brief.count)?) };
            Box::new(futex::Chain { pipes, hop })
        }
        Work::NumaWorkingSetSweep { bytes, interval } => Box::new(numa::Sweep { bytes, interval }),
        Work::NumaMigrationChurn { interval } => Box::new(numa::Migration { interval }),
        Work::CgroupChurn { groups, interval } => {
            Box::new(cgroup::Churn::new(brief, groups, interval)?)
        }
        Work::CgroupAttachStorm { destination, reap } => {
            Box::new(cgroup::AttachStorm::new(brief, &destination, reap)?)
        }
        Work::SignalStorm { signals, spin } => Box::new(signal::Storm { signals, spin }),
        Work::PreemptStorm { burst, interval, .. } => Box::new(rt::Preempt { burst, interval }),
        Work::EpollStorm { producers, events, .. } => {
            Box::new(epoll::Storm::new(brief, producers, events)?)
        }
        Work::IdleChurn { busy, sleep, precise } => {
            Box::new(spin::OnOff { on: busy, off: sleep, spins_per_unit: 256, precise })
        }
        Work::TimerLatency { interval } => Box::new(spin::TimerLatency { interval }),
        Work::NetTraffic { interval, bytes } => {
            Box::new(net::Traffic::new(brief, interval, bytes)?)
        }
        Work::IrqWake { interval, bytes } => Box::new(net::Wake::new(brief, interval, bytes)?),
        Work::AluHot { width } => Box::new(alu::AluHot { width }),
        Work::SmtSiblingSpin => Box::new(numa::Siblings),
        Work::IpcVariance { hot, cold, period } => Box::new(alu::IpcVariance { hot, cold, period }),
        Work::Custom(Custom { run: Some(run), .. }) => Box::new(Own(run)),
        Work::Custom(Custom { name, run: None }) => {
            return Err(Refusal(format!("`{name}` has no function")));
        }
    })
}

/// How many numbers the workers of a kind share.
pub(crate) fn pool(work: &Work, count: u32) -> usize {
    match work {
        Work::ProducerConsumerImbalance { depth, .. } => {
            let teams = count / work.group_size().together(count).max(1);
            *depth as usize * teams as usize
        }
        _ => 0,
    }
}

/// Whether workers change affinities themselves, so that they cannot be judged by them.
pub(crate) fn changes_affinity(work: &Work) -> bool {
    matches!(
        work,
        Work::AffinityChurn { .. }
            | Work::CrossAffinityChurn { .. }
            | Work::NumaMigrationChurn { .. }
            | Work::SmtSiblingSpin
    )
}
