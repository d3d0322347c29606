//! How one message at a time passes from a writer to a reader.
//!
//! The writer copies the message into the area, stores its length, then its number, then the
//! signal, and wakes the reader. The reader spins on the number, then sleeps on the signal. The
//! order is what makes it right: who has seen the number sees the message, and who goes to sleep on
//! a signal has looked at the number after that signal.
//!
//! In the profile with waiters a reader says before it sleeps that it will. The writer looks at
//! that after its stores, the reader at the number after its own, with a full fence between on
//! both sides: one of them sees the other.

// `tests/model.rs` compiles this file with atomics of its own, to try every order of steps.
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// The words of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane<'a> {
    /// How many messages have been published.
    pub(crate) seq: &'a AtomicU64,
    /// The length of the last.
    pub(crate) len: &'a AtomicU32,
    /// What a reader sleeps on. In the profile with waiters these are the lower four bytes of the
    /// number, so that nothing more needs to be written; here they are only an address then.
    pub(crate) signal: &'a AtomicU32,
    /// Whether a reader sleeps. Without it every message wakes.
    pub(crate) waiting: Option<&'a AtomicU32>,
}

impl Lane<'_> {
    /// Publishes the message that is in the area as number `seq`; says whether the reader must be
    /// woken.
    #[must_use]
    #[inline]
    pub(crate) fn publish(&self, seq: u64, len: u32) -> bool {
        self.len.store(len, Ordering::Release);
        self.seq.store(seq, Ordering::Release);
        match self.waiting {
            None => {
                // Any other value than before does, and there is one writer.
                self.signal.store(seq as u32, Ordering::Release);
                true
            }
            Some(waiting) => {
                fence(Ordering::SeqCst);
                waiting.load(Ordering::Relaxed) != 0
            }
        }
    }

    /// Whether there is a message after number `seen`.
    #[inline]
    pub(crate) fn is_published(&self, seen: u64) -> bool {
        self.seq.load(Ordering::Acquire) != seen
    }

    /// The number and the length of the last message.
    #[inline]
    pub(crate) fn last(&self) -> (u64, u32) {
        let seq = self.seq.load(Ordering::Acquire);
        (seq, self.len.load(Ordering::Acquire))
    }

    /// Whether what was copied after [`Lane::last`] is what it was then.
    #[inline]
    pub(crate) fn is_unchanged(&self, last: (u64, u32)) -> bool {
        fence(Ordering::Acquire);
        (self.seq.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed)) == last
    }

    /// Announces that the reader goes to sleep. Returns what the signal must still be, or nothing
    /// when there is a message after number `seen` by now. Follow it with [`Lane::awake`].
    pub(crate) fn asleep(&self, seen: u64) -> Option<u32> {
        let signal = match self.waiting {
            None => self.signal.load(Ordering::Acquire),
            Some(waiting) => {
                waiting.store(1, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                seen as u32
            }
        };
        (!self.is_published(seen)).then_some(signal)
    }

    /// The reader no longer sleeps.
    pub(crate) fn awake(&self) {
        if let Some(waiting) = self.waiting {
            waiting.store(0, Ordering::Relaxed);
        }
    }
}
