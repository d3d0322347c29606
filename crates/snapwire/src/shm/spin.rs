//! How long to spin before sleeping: as long as it has paid off lately.
//!
//! Two peers that answer each other at once should never sleep. A peer that speaks a thousand times
//! a second should not be awaited with a busy core. So each reader keeps an estimate of how long
//! it waits, and spins only while that is short. A wait that ended in sleep counts with its whole
//! length, which for a peer that answers at once is a wake-up, a few microseconds: the next time
//! the reader spins again. Fixed numbers of spins do not find back like that once both sleep.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

/// Looks without the clock: about a microsecond.
const QUICK_LOOKS: u32 = 100;
/// Looks between two glances at the clock.
const LOOKS_PER_GLANCE: u32 = 16;
/// The longest spin. About ten times what sleeping and waking costs.
const SPIN_MAX: Duration = Duration::from_micros(50);
/// How often a spinning reader offers its core to others.
const YIELD_EVERY: Duration = Duration::from_micros(5);
/// When an offer took this long, somebody else needed the core: perhaps the peer.
const YIELD_TAKEN: Duration = Duration::from_micros(10);

/// A reader's estimate of its waits.
#[derive(Debug)]
pub(crate) struct Spinner {
    /// An average that forgets, in nanoseconds.
    expected_ns: u32,
    /// Whether another core could answer while this one spins.
    has_company: bool,
}

/// How a spin ended.
#[derive(Debug)]
pub(crate) enum Spun {
    /// What was waited for is there.
    Ready,
    /// It is not. The wait began then.
    Sleep(Instant),
}

impl Spinner {
    pub(crate) fn new() -> Spinner {
        let has_company = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Spinner { expected_ns: 0, has_company }
    }

    /// Waits as long as it seems worth while.
    pub(crate) fn spin(&mut self, ready: impl Fn() -> bool) -> Spun {
        if self.has_company {
            for _ in 0..QUICK_LOOKS {
                if ready() {
                    self.learn(Duration::ZERO);
                    return Spun::Ready;
                }
                spin_loop();
            }
        }
        let began = Instant::now();
        if !self.has_company || Duration::from_nanos(self.expected_ns.into()) >= SPIN_MAX {
            return Spun::Sleep(began);
        }
        let mut yielded = Duration::ZERO;
        loop {
            for _ in 0..LOOKS_PER_GLANCE {
                if ready() {
                    self.learn(began.elapsed());
                    return Spun::Ready;
                }
                spin_loop();
            }
            let passed = began.elapsed();
            if passed >= SPIN_MAX {
                return Spun::Sleep(began);
            }
            if passed >= yielded + YIELD_EVERY {
                thread::yield_now();
                yielded = began.elapsed();
                if yielded >= passed + YIELD_TAKEN && !ready() {
                    return Spun::Sleep(began);
                }
            }
        }
    }

    /// Takes note of a wait.
    pub(crate) fn learn(&mut self, waited: Duration) {
        // One long wait alone must not outweigh the next short one for long.
        let sample = waited.min(2 * SPIN_MAX).as_nanos() as u32;
        self.expected_ns = self.expected_ns / 4 * 3 + sample / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn would_spin(spinner: &Spinner) -> bool {
        Duration::from_nanos(spinner.expected_ns.into()) < SPIN_MAX
    }

    #[test]
    fn long_waits_end_the_spinning_and_short_ones_bring_it_back() {
        let mut spinner = Spinner::new();
        assert!(would_spin(&spinner));
        for _ in 0..10 {
            spinner.learn(Duration::from_millis(1));
        }
        assert!(!would_spin(&spinner));
        for _ in 0..8 {
            spinner.learn(Duration::from_micros(6));
        }
        assert!(would_spin(&spinner));
        // A pause between two bursts costs at most one sleep.
        spinner.learn(Duration::from_secs(1));
        spinner.learn(Duration::from_micros(6));
        assert!(would_spin(&spinner));
    }

    #[test]
    fn what_is_there_is_found_without_a_wait() {
        assert!(matches!(Spinner { expected_ns: 0, has_company: true }.spin(|| true), Spun::Ready));
        let alone = &mut Spinner { expected_ns: 0, has_company: false };
        assert!(matches!(alone.spin(|| true), Spun::Sleep(_)), "the caller looks before it sleeps");
    }
}
