//! How long to spin before sleeping: as long as it has paid off lately.
//!
//! Two peers that answer each other at once should never sleep. A peer that speaks a thousand times
//! a second should not be awaited with a busy core. So each reader keeps an estimate of how long
//! it waits, and spins only while that is short. A wait that ended in sleep counts with its whole
//! length, which for a peer that answers at once is a wake-up, a few microseconds: the next time
//! the reader spins again. Fixed numbers of spins do not find back like that once both sleep.
//!
//! Where the peers share a core, spinning keeps the other from answering. A reader that has seen
//! its peer answer while it offered the core offers it at once from then on.
//!
//! To be woken takes tens of microseconds where cores sleep deeply. When long waits have all been
//! of about the same length, the next one is slept through except for its end, which is spun.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

/// Looks without the clock: a microsecond or a few.
const QUICK_LOOKS: u32 = 50;
/// Looks between two glances at the clock.
const LOOKS_PER_GLANCE: u32 = 8;
/// The longest spin without a rhythm. About what sleeping and waking costs several times over.
const SPIN_MAX: Duration = Duration::from_micros(150);
/// How often a spinning reader offers its core to others.
const YIELD_EVERY: Duration = Duration::from_micros(5);
/// When an offer took this long, somebody took it.
const YIELD_TAKEN: Duration = Duration::from_nanos(1200);
/// And when it took this long, somebody else than the peer needs the core.
const YIELD_LOST: Duration = Duration::from_micros(10);
/// How long before and after the expected end of a wait it is spun for: a timer's slack and the
/// way out of a sleeping core.
const LEAD: Duration = Duration::from_micros(100);
/// A rhythm is kept by those whose waits differ by less, on average.
const JITTER_MAX: Duration = Duration::from_micros(30);
/// And whose waits are at least this long, so that spinning is a small part of them.
const RHYTHM_MIN: Duration = Duration::from_micros(400);

/// Rests between two looks. A look takes the line away from a writer that is about to write it, so
/// that more looks see less: calls took 385 ns instead of 435 with a second hint, and more with a fourth.
#[inline]
fn pause() {
    spin_loop();
    spin_loop();
}

/// A reader's estimate of its waits.
#[derive(Debug, Default)]
pub(crate) struct Spinner {
    /// An average that forgets, in nanoseconds.
    expected_ns: u32,
    /// Whether the peer seems to run on this core.
    shares_core: bool,
    /// The length of long waits, and by how much they differ from it, both averages.
    rhythm: Option<Rhythm>,
}

#[derive(Clone, Copy, Debug)]
struct Rhythm {
    wait: Duration,
    jitter: Duration,
}

/// How a spin ended.
#[derive(Debug)]
pub(crate) enum Spun {
    /// What was waited for is there.
    Ready,
    /// It is not.
    Sleep {
        /// When the wait began.
        began: Instant,
        /// How long to sleep before it is worth while to spin again.
        nap: Option<Duration>,
    },
}

impl Spinner {
    /// Waits as long as it seems worth while.
    #[inline]
    pub(crate) fn spin(&mut self, ready: impl Fn() -> bool) -> Spun {
        if !self.shares_core {
            for _ in 0..QUICK_LOOKS {
                if ready() {
                    self.learn(Duration::ZERO);
                    return Spun::Ready;
                }
                pause();
            }
        }
        let began = Instant::now();
        if Duration::from_nanos(self.expected_ns.into()) >= SPIN_MAX {
            return Spun::Sleep { began, nap: self.nap() };
        }
        if self.spin_for(began, SPIN_MAX, ready) {
            self.learn(began.elapsed());
            return Spun::Ready;
        }
        Spun::Sleep { began, nap: None }
    }

    /// Spins after a nap that was told by [`Spun::Sleep`]; says whether what is waited for is there.
    pub(crate) fn spin_after_nap(&mut self, ready: impl Fn() -> bool) -> bool {
        self.spin_for(Instant::now(), 2 * LEAD, ready)
    }

    /// Spins for so long, unless somebody else needs the core.
    fn spin_for(&mut self, began: Instant, most: Duration, ready: impl Fn() -> bool) -> bool {
        let mut yielded = if self.shares_core { None } else { Some(Duration::ZERO) };
        let mut passed = Duration::ZERO;
        loop {
            if yielded.is_none_or(|yielded| passed >= yielded + YIELD_EVERY) {
                thread::yield_now();
                let now = began.elapsed();
                if let Some(ends_ready) = self.learn_offer(now - passed, ready()) {
                    return ends_ready;
                }
                yielded = Some(now);
            }
            for _ in 0..LOOKS_PER_GLANCE {
                if ready() {
                    return true;
                }
                pause();
            }
            passed = began.elapsed();
            if passed >= most {
                return false;
            }
        }
    }

    /// Takes note of what came of offering the core; says whether that ends the spin, and how.
    fn learn_offer(&mut self, took: Duration, is_ready: bool) -> Option<bool> {
        self.shares_core = took >= YIELD_TAKEN && is_ready;
        (is_ready || took >= YIELD_LOST).then_some(is_ready)
    }

    /// How long the next wait can be slept through.
    fn nap(&self) -> Option<Duration> {
        let Rhythm { wait, jitter } = self.rhythm?;
        let steady = wait >= RHYTHM_MIN && jitter <= JITTER_MAX;
        steady.then(|| wait - LEAD)
    }

    /// Takes note of a wait.
    #[inline]
    pub(crate) fn learn(&mut self, waited: Duration) {
        // One long wait alone must not outweigh the next short one for long.
        let sample = waited.min(2 * SPIN_MAX).as_nanos() as u32;
        self.expected_ns = self.expected_ns / 4 * 3 + sample / 4;
        if waited < SPIN_MAX {
            return;
        }
        self.rhythm = Some(match self.rhythm {
            None => Rhythm { wait: waited, jitter: waited },
            Some(Rhythm { wait, jitter }) => Rhythm {
                wait: wait / 8 * 7 + waited / 8,
                jitter: jitter / 4 * 3 + wait.abs_diff(waited) / 4,
            },
        });
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
        let mut spinner = Spinner::default();
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
    fn steady_waits_are_slept_through_except_for_their_end() {
        let mut spinner = Spinner::default();
        let nap = |spinner: &mut Spinner| match spinner.spin(|| false) {
            Spun::Sleep { nap, .. } => nap,
            Spun::Ready => panic!("nothing is ready"),
        };
        assert_eq!(nap(&mut spinner), None);
        for _ in 0..40 {
            spinner.learn(Duration::from_millis(1));
        }
        let steady = nap(&mut spinner).unwrap();
        assert!((850..=900).contains(&steady.as_micros()), "{steady:?}");
        spinner.learn(Duration::from_millis(3));
        assert_eq!(nap(&mut spinner), None, "who knows when the next one comes");
        for index in 0..40 {
            spinner.learn(Duration::from_micros(500 + 1000 * (index % 2)));
        }
        assert_eq!(nap(&mut spinner), None, "there is no rhythm");
        for _ in 0..40 {
            spinner.learn(Duration::from_micros(100));
        }
        assert_eq!(nap(&mut spinner), None, "nothing would be left of the sleep");
    }

    #[test]
    fn what_is_there_is_found_without_a_wait() {
        assert!(matches!(Spinner::default().spin(|| true), Spun::Ready));
        assert!(Spinner::default().spin_after_nap(|| true));
        assert!(!Spinner::default().spin_after_nap(|| false));
    }

    #[test]
    fn an_offer_that_the_peer_took_tells_where_it_runs() {
        let mut spinner = Spinner::default();
        assert_eq!(spinner.learn_offer(YIELD_TAKEN, true), Some(true));
        assert!(spinner.shares_core);
        assert_eq!(spinner.learn_offer(YIELD_TAKEN / 2, false), None, "nobody wanted it");
        assert!(!spinner.shares_core);
        assert_eq!(spinner.learn_offer(YIELD_LOST, false), Some(false), "somebody else needs it");
        assert!(!spinner.shares_core);
        assert_eq!(spinner.learn_offer(Duration::ZERO, true), Some(true));
        assert!(!spinner.shares_core, "the peer has answered from elsewhere");
    }
}
