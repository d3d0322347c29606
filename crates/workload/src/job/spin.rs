//! Work that needs nothing but a CPU.

use super::Job;
use crate::hand::{Hand, Outcome};

/// The tick: time slices, preemption, load balancing. Enters the kernel on interrupts alone.
pub(super) struct SpinWait;

impl Job for SpinWait {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        while hand.goes_on() {
            hand.spin(1024);
            hand.did(1);
        }
        Ok(())
    }
}
