//! Models of the protocol in shared memory and of the cache: every order of steps of their threads,
//! and every value that the memory model lets them see.

/// The atomics that both are compiled with here.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    use std::sync::Arc;

    /// What the crate gets from arc-swap, which has tests of its own.
    #[derive(Debug)]
    pub(crate) struct Swap<T>(loom::sync::Mutex<Arc<T>>);

    impl<T> Swap<T> {
        pub(crate) fn new(value: Arc<T>) -> Swap<T> {
            Swap(loom::sync::Mutex::new(value))
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap() = value;
        }

        pub(crate) fn load(&self) -> Guard<T> {
            Guard(Arc::clone(&self.0.lock().unwrap()))
        }
    }

    pub(crate) struct Guard<T>(Arc<T>);

    impl<T> std::ops::Deref for Guard<T> {
        type Target = Arc<T>;

        fn deref(&self) -> &Arc<T> {
            &self.0
        }
    }
}

#[path = "../src/shm/lane.rs"]
mod lane;
#[path = "../src/shelf.rs"]
mod shelf;

use lane::Lane;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use shelf::Shelf;
use sync::{AtomicU32, AtomicU64, Ordering};

/// A region with one direction, and a futex made of what the model has.
struct Words {
    seq: AtomicU64,
    len: AtomicU32,
    signal: AtomicU32,
    waiting: AtomicU32,
    area: UnsafeCell<u32>,
    queue: Mutex<()>,
    woken: Condvar,
}

impl Words {
    fn new() -> Arc<Words> {
        Arc::new(Words {
            seq: AtomicU64::new(0),
            len: AtomicU32::new(0),
            signal: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            area: UnsafeCell::new(0),
            queue: Mutex::new(()),
            woken: Condvar::new(),
        })
    }

    fn lane(&self, with_waiters: bool) -> Lane<'_> {
        let waiting = with_waiters.then_some(&self.waiting);
        Lane { seq: &self.seq, len: &self.len, signal: &self.signal, waiting }
    }

    fn send(&self, with_waiters: bool, seq: u64, value: u32) {
        // SAFETY: the model fails when the reader looks at it now.
        self.area.with_mut(|area| unsafe { *area = value });
        if self.lane(with_waiters).publish(seq, 4) {
            let _queue = self.queue.lock().unwrap();
            self.woken.notify_one();
        }
    }

    /// Sleeps without a timeout, so that a lost wake-up is a deadlock that the model finds.
    fn recv(&self, with_waiters: bool, seen: u64) -> u32 {
        let lane = self.lane(with_waiters);
        while !lane.is_published(seen) {
            if let Some(signal) = lane.asleep(seen) {
                // The kernel compares and enqueues in one step.
                let queue = self.queue.lock().unwrap();
                let now = match with_waiters {
                    true => self.seq.load(Ordering::SeqCst) as u32,
                    false => self.signal.load(Ordering::SeqCst),
                };
                if now == signal {
                    drop(self.woken.wait(queue).unwrap());
                }
            }
            lane.awake();
        }
        let last = lane.last();
        assert_eq!(last, (seen + 1, 4));
        // SAFETY: the model fails when the writer is in there now.
        let value = self.area.with(|area| unsafe { *area });
        assert!(lane.is_unchanged(last));
        value
    }
}

fn ping_pong(with_waiters: bool) {
    // Two preemptions find nearly all that a hundred do; every order of them is tried.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let (there, back) = (Words::new(), Words::new());
        let peer = {
            let (there, back) = (Arc::clone(&there), Arc::clone(&back));
            thread::spawn(move || {
                for seen in 0..2 {
                    let value = there.recv(with_waiters, seen);
                    back.send(with_waiters, seen + 1, value + 1);
                }
            })
        };
        for seen in 0..2 {
            there.send(with_waiters, seen + 1, 10 * seen as u32);
            assert_eq!(back.recv(with_waiters, seen), 10 * seen as u32 + 1);
        }
        peer.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost_and_no_message_torn() {
    ping_pong(false);
}

#[test]
fn no_wake_up_is_lost_when_only_sleepers_are_woken() {
    ping_pong(true);
}

#[test]
fn who_reads_of_a_refresh_sees_its_snapshot() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shelf = Arc::new(Shelf::new(0u64));
        let writer = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || {
                shelf.succeed(Some(1), 10);
                shelf.fail();
                // The provider has the same as before, and then something new.
                shelf.succeed(None, 20);
                shelf.succeed(Some(3), 30);
            })
        };
        let mut before = 0;
        for _ in 0..2 {
            let (tally, snapshot) = shelf.look();
            let least = [0, 1, 1, 3][tally.successes as usize];
            assert!(**snapshot >= least, "{tally:?} and {}", **snapshot);
            assert!(**snapshot >= before, "it never goes back");
            assert!(tally.refreshed_ns >= 10 * tally.successes, "{tally:?}");
            before = **snapshot;
        }
        writer.join().unwrap();
        let (tally, _) = shelf.look();
        assert_eq!((tally.successes, tally.failures, **shelf.current().load()), (3, 1, 3));
    });
}
