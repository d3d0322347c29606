//! What a cache shows: the last snapshot, and how the refreshes went.
//!
//! There is one writer at a time, and readers that wait for nobody. The snapshot is stored before
//! the count that tells of it, and read after it: who reads of a success sees its snapshot, or a
//! later one.

// `tests/model.rs` compiles this file with atomics of its own, to try every order of steps.
use crate::sync::{AtomicU64, Ordering, Swap};
use std::ops::Deref;
use std::sync::Arc;

/// How many refreshes there were, and when the last good one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// On the writer's clock; 0 without any.
    pub(crate) refreshed_ns: u64,
}

/// The last snapshot, whatever became of later refreshes.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    current: Swap<T>,
    successes: AtomicU64,
    failures: AtomicU64,
    refreshed_ns: AtomicU64,
}

impl<T> Shelf<T> {
    /// With something that stands for nothing.
    pub(crate) fn new(empty: T) -> Shelf<T> {
        Shelf {
            current: Swap::new(Arc::new(empty)),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refreshed_ns: AtomicU64::new(0),
        }
    }

    /// A refresh has brought this, or what is there already.
    pub(crate) fn succeed(&self, new: Option<T>, now_ns: u64) {
        if let Some(new) = new {
            self.current.store(Arc::new(new));
        }
        self.refreshed_ns.store(now_ns, Ordering::Relaxed);
        self.successes.fetch_add(1, Ordering::Release);
    }

    /// A refresh has brought nothing. What is there stays.
    pub(crate) fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What is there now.
    #[inline]
    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        self.current.load()
    }

    /// How refreshes went, and what is there: as new as that tells, or newer.
    pub(crate) fn look(&self) -> (Tally, impl Deref<Target = Arc<T>> + use<T>) {
        let tally = Tally {
            successes: self.successes.load(Ordering::Acquire),
            failures: self.failures.load(Ordering::Relaxed),
            refreshed_ns: self.refreshed_ns.load(Ordering::Relaxed),
        };
        (tally, self.load())
    }

    /// Where the snapshots are, for who keeps the one that it saw last.
    pub(crate) fn current(&self) -> &Swap<T> {
        &self.current
    }
}
