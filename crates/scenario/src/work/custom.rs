//! Work that a test brings itself.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

/// The test's own work: a name for reports and a function.
///
/// ```
/// use belljar_scenario::Work;
///
/// let hash = Work::custom("hash", |toil| {
///     let mut sum = toil.seed();
///     while toil.goes_on() {
///         for i in 0..1024u64 {
///             sum = sum.rotate_left(5) ^ i;
///         }
///         std::hint::black_box(sum);
///         toil.did(1);
///     }
/// });
/// # let _ = hash;
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Custom {
    /// What reports call it.
    pub name: String,
    /// The function. A scenario that was read from a file has none, and cannot be played.
    #[serde(skip)]
    pub run: Option<fn(&mut Toil<'_>)>,
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a custom work function is given.
///
/// What is called in each round is compiled into the function, so that rounds as short as a system
/// call can be counted for next to nothing.
#[expect(missing_debug_implementations, reason = "who works is not for printing")]
pub struct Toil<'a> {
    worker: &'a mut dyn Worker,
    units: &'a AtomicU64,
    pace: Pace,
}

/// Where a worker stands between two checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rounds until the next checkpoint, at least one.
    pub left: u64,
    /// Rounds so far.
    pub rounds: u64,
    /// Whether to give a pause hint in each round.
    pub hints: bool,
}

/// Who works: what stands behind a [`Toil`].
pub trait Worker {
    /// Has come to a checkpoint: notices gaps and migrations, sets when to come to the next one, and
    /// says whether to go on at all.
    fn arrive(&mut self, pace: &mut Pace) -> bool;
    /// As [`Toil::woke_after_ns`].
    fn woke_after_ns(&mut self, latency_ns: u64);
    /// As [`Toil::now_ns`].
    fn now_ns(&self) -> u64;
    /// As [`Toil::index`].
    fn index(&self) -> u32;
    /// As [`Toil::count`].
    fn count(&self) -> u32;
    /// As [`Toil::seed`].
    fn seed(&self) -> u64;
}

impl<'a> Toil<'a> {
    /// For a worker whose units, which nobody else changes, are counted in `units`.
    pub fn new(worker: &'a mut dyn Worker, units: &'a AtomicU64, pace: Pace) -> Self {
        Self { worker, units, pace }
    }

    /// Where the worker stands now.
    pub fn into_pace(self) -> Pace {
        self.pace
    }

    /// Whether to go on; to be asked once in each round. It is also the checkpoint at which gaps and
    /// migrations are noticed.
    #[inline]
    pub fn goes_on(&mut self) -> bool {
        if self.pace.hints {
            std::hint::spin_loop();
        }
        self.pace.left -= 1;
        self.pace.left > 0 || self.worker.arrive(&mut self.pace)
    }

    /// Counts units of work, and one iteration.
    #[inline]
    pub fn did(&mut self, units: u64) {
        self.units.store(self.units.load(Relaxed).wrapping_add(units), Relaxed);
        self.pace.rounds += 1;
    }

    /// Reports a measured wake-up latency, in nanoseconds.
    pub fn woke_after_ns(&mut self, latency_ns: u64) {
        self.worker.woke_after_ns(latency_ns);
    }

    /// Guest time, in nanoseconds (`CLOCK_MONOTONIC`).
    pub fn now_ns(&self) -> u64 {
        self.worker.now_ns()
    }

    /// Which of its group's workers this is, from 0.
    pub fn index(&self) -> u32 {
        self.worker.index()
    }

    /// How many workers the group has.
    pub fn count(&self) -> u32 {
        self.worker.count()
    }

    /// A seed of this worker's own, which follows from the run's.
    pub fn seed(&self) -> u64 {
        self.worker.seed()
    }
}
