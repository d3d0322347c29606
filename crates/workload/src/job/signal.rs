//! Signals from thread to thread: `send_signal_locked`, `signal_wake_up`, and the return to user space
//! through a handler.

use super::Job;
use crate::hand::{Hand, Outcome};
use crate::sys;

/// Pairs; each sends bursts to the other, which spins or is in a burst of its own.
pub(super) struct Storm {
    pub(super) signals: u32,
    pub(super) spin: u64,
}

impl Job for Storm {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let thread = hand.thread(hand.team().partner());
        // Threads of one process, or each a process of its own.
        let process = match hand.brief.workers.process {
            Some(_) => std::process::id(),
            None => thread,
        };
        while hand.goes_on() {
            for _ in 0..self.signals {
                sys::signal_thread(process, thread, sys::STORM);
                hand.did_part(1);
            }
            hand.did(0);
            hand.spin(self.spin);
        }
        Ok(())
    }
}
