//! Work that needs nothing but a CPU, and sleep.

use std::time::Duration;

use super::Job;
use super::alu::{Alu, Width};
use super::io::Blocks;
use crate::hand::{Hand, Outcome, Tried};
use crate::sys;
use belljar_scenario::{AluWidth, WorkPhase};

/// The tick: time slices, preemption, load balancing. Enters the kernel on interrupts alone.
pub(super) struct SpinWait;

impl Job for SpinWait {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        while hand.goes_on() {
            hand.spin(4096);
            hand.did(4);
        }
        Ok(())
    }
}

/// `sched_yield(2)`, after so many spins: the class's `yield_task`, and a pass through `__schedule`.
pub(super) struct Yield {
    pub(super) spins: u64,
}

impl Job for Yield {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        while hand.goes_on() {
            hand.spin(self.spins);
            rustix::thread::sched_yield();
            hand.did(1);
        }
        Ok(())
    }
}

/// Work and sleep in turn: high-resolution timers, wake-up placement, decay of the load average,
/// balancing of CPUs that become idle, and with short times the way into idle states and out.
pub(super) struct OnOff {
    pub(super) on: Duration,
    pub(super) off: Duration,
    pub(super) spins_per_unit: u64,
    /// Whether to ask for the least timer slack.
    pub(super) precise: bool,
}

impl Job for OnOff {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        if self.precise {
            sys::set_timer_slack(1).tried(|| "set the timer slack to 1 ns".into())?;
        }
        while hand.goes_on() {
            hand.spin_until(hand.now_ns().saturating_add(sys::ns(self.on)), self.spins_per_unit);
            hand.did(0);
            hand.nap(self.off);
        }
        Ok(())
    }
}

/// Absolute timers (`hrtimer`, `TIMER_ABSTIME`): from the timer's interrupt to the task on its CPU.
pub(super) struct TimerLatency {
    pub(super) interval: Duration,
}

impl Job for TimerLatency {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let interval = sys::ns(self.interval);
        let mut next = hand.now_ns();
        while hand.goes_on() {
            // After a long delay it goes on from there instead of making up for it.
            next = next.saturating_add(interval).max(hand.now_ns());
            hand.sleep_until(next);
            if !hand.is_told_to_stop() {
                hand.did(1);
            }
        }
        Ok(())
    }
}

/// Phases of the above, of arithmetic and of I/O, one after another.
pub(super) struct Sequence {
    pub(super) phases: Vec<WorkPhase>,
}

impl Job for Sequence {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let does_io = self.phases.iter().any(|phase| matches!(phase, WorkPhase::Io { .. }));
        let mut blocks = does_io.then(|| Blocks::create(hand, false)).transpose()?;
        let mut alu = Alu::new(Width::choose(AluWidth::Scalar)?);
        while hand.goes_on() {
            for phase in &self.phases {
                match *phase {
                    WorkPhase::Spin { spins } => {
                        in_parts(hand, spins, |hand, part| hand.spin(part));
                    }
                    WorkPhase::AluHot { steps } => in_parts(hand, steps, |_, part| alu.step(part)),
                    WorkPhase::Sleep { time } => hand.nap(time),
                    WorkPhase::Yield { times } => {
                        in_parts(hand, times.into(), |_, part| {
                            (0..part).for_each(|_| rustix::thread::sched_yield());
                        });
                    }
                    WorkPhase::Io { blocks: count } => {
                        if let Some(blocks) = &mut blocks {
                            for _ in 0..count {
                                blocks.write()?;
                            }
                            blocks.sync(hand)?;
                        }
                    }
                }
                if hand.is_told_to_stop() {
                    return Ok(());
                }
                hand.did_part(1);
            }
            hand.did(0);
        }
        Ok(())
    }
}

fn in_parts(hand: &mut Hand<'_>, mut count: u64, mut act: impl FnMut(&mut Hand<'_>, u64)) {
    while count > 0 && hand.goes_on() {
        let part = count.min(1024);
        act(hand, part);
        count -= part;
    }
}
