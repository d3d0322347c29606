//! Real-time tasks beside fair ones: `pick_next_task_rt`, preemption at wake-up, throttling of
//! real-time tasks or the fair class's server.

use std::time::Duration;

use belljar_scenario::Policy;

use super::Job;
use super::futex::become_policy;
use crate::hand::{Hand, Outcome};
use crate::sys;

/// Real-time workers that leave fair ones a twentieth of a CPU: without that rest a machine with one
/// CPU could not even be told to stop.
pub(super) struct Starvation {
    pub(super) rt: u32,
    pub(super) priority: u32,
    pub(super) burst: u64,
}

impl Job for Starvation {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        const BUSY_NS: u64 = 19_000_000;
        const REST: Duration = Duration::from_millis(1);
        let is_rt = hand.team().position < self.rt;
        if is_rt {
            become_policy(Policy::Fifo { priority: self.priority })?;
        }
        let mut rest_at = hand.now_ns() + BUSY_NS;
        while hand.goes_on() {
            let units = hand.spin_units(self.burst, 1024);
            hand.did(units);
            if is_rt && hand.now_ns() >= rest_at {
                hand.nap(REST);
                rest_at = hand.now_ns() + BUSY_NS;
            }
        }
        Ok(())
    }
}

/// One real-time worker that comes at each interval, and preempts the fair ones (`resched_curr`,
/// IPIs, `check_preempt`).
pub(super) struct Preempt {
    pub(super) burst: u64,
    pub(super) interval: Duration,
}

impl Job for Preempt {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        const PRIORITY: u32 = 50;
        let is_rt = hand.team().position == 0;
        if is_rt {
            become_policy(Policy::Fifo { priority: PRIORITY })?;
        }
        let mut next = hand.now_ns();
        while hand.goes_on() {
            if is_rt {
                next = next.saturating_add(sys::ns(self.interval)).max(hand.now_ns());
                hand.sleep_until(next);
            }
            let units = hand.spin_units(self.burst, 1024);
            hand.did(units + u64::from(is_rt));
        }
        Ok(())
    }
}
