//! Locks on shared words, as a C library makes them (U. Drepper, "Futexes Are Tricky").

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use belljar_scenario::Futex;
use rustix::thread::futex;

use crate::hand::Hand;
use crate::memory::Desk;
use crate::sys;

/// How long to wait for a lock that passes priority on before asking whether to stop: the kernel
/// takes up that wait again after a signal.
const PATIENCE: Duration = Duration::from_millis(50);

const FREE: u32 = 0;
const HELD: u32 = 1;
const WANTED: u32 = 2;

/// A lock in the first word of a desk; the desk's first stamp is when it was last given back to
/// somebody who waits.
#[derive(Clone, Copy)]
pub(super) struct Lock<'a> {
    desk: &'a Desk,
    kind: Futex,
}

impl<'a> Lock<'a> {
    pub(super) fn new(desk: &'a Desk, kind: Futex) -> Self {
        Self { desk, kind }
    }

    fn word(self) -> &'a AtomicU32 {
        &self.desk.words[0]
    }

    /// Takes it; false when told to stop instead.
    pub(super) fn take(self, hand: &mut Hand<'_>) -> bool {
        match self.kind {
            Futex::Plain => self.take_plain(hand),
            Futex::Pi => self.take_pi(hand),
        }
    }

    fn take_plain(self, hand: &mut Hand<'_>) -> bool {
        let word = self.word();
        if word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() {
            return true;
        }
        while word.swap(WANTED, Acquire) != FREE {
            if !hand.wait_word(word, WANTED) {
                return false;
            }
            hand.woke(self.desk.stamps[0].load(Acquire));
        }
        true
    }

    fn take_pi(self, hand: &mut Hand<'_>) -> bool {
        let (word, me) = (self.word(), hand.thread(hand.index));
        if word.compare_exchange(0, me, Acquire, Relaxed).is_ok() {
            return true;
        }
        while !hand.is_told_to_stop() {
            // The kernel takes this deadline as one of the wall clock.
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
            let deadline = sys::timespec(now + sys::ns(PATIENCE));
            let waited = hand.wait(|| futex::lock_pi(word, futex::Flags::empty(), Some(&deadline)));
            if waited.is_ok() {
                hand.woke(self.desk.stamps[0].load(Acquire));
                return true;
            }
        }
        false
    }

    /// Gives it back.
    pub(super) fn give(self, hand: &Hand<'_>) {
        let word = self.word();
        match self.kind {
            Futex::Plain => {
                self.desk.stamps[0].store(hand.now_ns(), Release);
                if word.swap(FREE, AcqRel) == WANTED {
                    sys::futex_wake(word, 1);
                }
            }
            Futex::Pi => {
                let me = hand.thread(hand.index);
                self.desk.stamps[0].store(hand.now_ns(), Release);
                if word.compare_exchange(me, 0, Release, Relaxed).is_err() {
                    // It can only fail for somebody who does not hold it.
                    let _ = futex::unlock_pi(word, futex::Flags::empty());
                }
            }
        }
    }
}
