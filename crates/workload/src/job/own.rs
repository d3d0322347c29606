//! Workers that have threads of their own. Their migrations and gaps are those of the thread that
//! counts, which sleeps most of the time; CPUs, CPU time, run delay and latencies are those of all.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use crate::hand::{Hand, Outcome, Sighting, Tried, worker_seed};
use crate::histogram::Histogram;
use crate::sys;

/// How often the worker itself wakes to count what its threads have done.
const TICK: Duration = Duration::from_millis(20);
/// How long a thread that is told to stop is left alone before it is nudged again.
const NUDGE_EVERY: Duration = Duration::from_millis(5);

/// A thread's tools.
pub(super) struct Own<'a> {
    shared: &'a Shared,
    thread: &'a Thread,
    sighting: Sighting<'a>,
    wake: Box<Histogram>,
    /// How long requests take.
    request: Box<Histogram>,
    pub(super) rng: fastrand::Rng,
    waited_from_ns: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Grows whenever a thread has begun or ended.
    news: AtomicU32,
}

#[derive(Default)]
struct Thread {
    tid: AtomicU32,
    units: AtomicU64,
    has_ended: AtomicBool,
}

/// What a thread does, until [`Own::goes_on`] says no.
pub(super) type Body<'a> = Box<dyn FnOnce(&mut Own<'_>) + Send + 'a>;

/// Runs these threads until the worker is told to stop.
pub(super) fn run(hand: &mut Hand<'_>, bodies: Vec<Body<'_>>) -> Outcome {
    let shared = Shared::default();
    let threads: Vec<Thread> = bodies.iter().map(|_| Thread::default()).collect();
    let (sighting, seed) = (hand.sighting(), worker_seed(hand.brief.seed, hand.index));
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for ((index, body), thread) in (0..).zip(bodies).zip(&threads) {
            let (shared, rng) = (&shared, fastrand::Rng::with_seed(worker_seed(seed, index)));
            let started = std::thread::Builder::new().spawn_scoped(scope, move || {
                let (wake, request) = (Histogram::new(), Histogram::new());
                let mut own =
                    Own { shared, thread, sighting, wake, request, rng, waited_from_ns: u64::MAX };
                let id = rustix::thread::gettid().as_raw_nonzero().get() as u32;
                thread.tid.store(id, Release);
                shared.tell();
                let ended = Ended { shared, thread };
                body(&mut own);
                drop(ended);
                (own.wake, own.request)
            });
            match started.tried(|| format!("start thread {index}")) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    shared.stop.store(true, Release);
                    shared.nudge_until_ended(&threads[..handles.len()]);
                    return Err(error);
                }
            }
        }
        let adopted = threads.iter().try_for_each(|thread| {
            let begun = || Some(thread.tid.load(Acquire)).filter(|id| *id != 0);
            let id = hand.wait(|| shared.wait_until(begun));
            hand.adopt(id).tried(|| format!("read how thread {id} is scheduled"))
        });
        let units = || threads.iter().map(|thread| thread.units.load(Relaxed)).sum();
        while adopted.is_ok() && !hand.is_told_to_stop() {
            hand.threads_did(units());
            hand.rest(TICK);
            hand.look_around();
        }
        // Before they are gone, so that what the kernel counted of them is not lost.
        hand.look_around();
        shared.stop.store(true, Release);
        hand.wait(|| shared.nudge_until_ended(&threads));
        for handle in handles {
            match handle.join() {
                Ok((wake, request)) => {
                    let (all_wakes, all_requests) = hand.histograms();
                    all_wakes.merge(&wake);
                    all_requests.merge(&request);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        hand.threads_did(units());
        adopted
    })
}

impl Shared {
    fn tell(&self) {
        self.news.fetch_add(1, Release);
        sys::futex_wake(&self.news, 1);
    }

    fn wait_until<T>(&self, mut come: impl FnMut() -> Option<T>) -> T {
        loop {
            let news = self.news.load(Acquire);
            if let Some(it) = come() {
                return it;
            }
            sys::futex_wait(&self.news, news, None);
        }
    }

    fn nudge_until_ended(&self, threads: &[Thread]) {
        loop {
            let news = self.news.load(Acquire);
            let mut left = threads.iter().filter(|it| !it.has_ended.load(Acquire)).peekable();
            if left.peek().is_none() {
                return;
            }
            for thread in left {
                let id = thread.tid.load(Acquire);
                sys::signal_thread(std::process::id(), id, sys::NUDGE);
            }
            sys::futex_wait(&self.news, news, Some(NUDGE_EVERY));
        }
    }
}

/// Tells of a thread's end, also when it panics.
struct Ended<'a> {
    shared: &'a Shared,
    thread: &'a Thread,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.thread.has_ended.store(true, Release);
        self.shared.tell();
    }
}

impl Own<'_> {
    pub(super) fn goes_on(&self) -> bool {
        !self.shared.stop.load(Relaxed)
    }

    /// Counts a unit that took so long.
    pub(super) fn did(&mut self, took_ns: u64) {
        self.thread.units.store(self.thread.units.load(Relaxed) + 1, Relaxed);
        self.request.record(took_ns);
        self.sighting.look();
    }

    /// Waits until `word` is no longer `seen`; false when told to stop.
    pub(super) fn wait_word(&mut self, word: &AtomicU32, seen: u32) -> bool {
        self.waited_from_ns = u64::MAX;
        while word.load(Acquire) == seen {
            if !self.goes_on() {
                return false;
            }
            self.waited_from_ns = sys::now_ns();
            sys::futex_wait(word, seen, None);
        }
        true
    }

    /// Notes a wake-up that was sent at that moment; none if this thread did not wait by then.
    pub(super) fn woke(&self, sent_ns: u64) {
        if sent_ns >= self.waited_from_ns {
            self.wake.record(sys::now_ns().saturating_sub(sent_ns));
        }
    }

    /// Sleeps until a moment, or until told to stop.
    pub(super) fn sleep_until(&self, at_ns: u64) {
        let at = sys::timespec(at_ns);
        let clock = rustix::thread::ClockId::Monotonic;
        while self.goes_on() && rustix::thread::clock_nanosleep_absolute(clock, &at).is_err() {}
    }

    pub(super) fn sleep(&self, time: Duration) {
        self.sleep_until(sys::now_ns().saturating_add(sys::ns(time)));
    }
}
