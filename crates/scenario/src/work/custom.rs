//! Work that a test brings itself.

use std::fmt;

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
    pub run: Option<fn(&mut dyn Toil)>,
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
pub trait Toil {
    /// Whether to go on; to be asked once in each round. It is also the checkpoint at which gaps and
    /// migrations are noticed.
    fn goes_on(&mut self) -> bool;
    /// Counts units of work, and one iteration.
    fn did(&mut self, units: u64);
    /// Reports a measured wake-up latency, in nanoseconds.
    fn woke_after_ns(&mut self, latency_ns: u64);
    /// Guest time, in nanoseconds (`CLOCK_MONOTONIC`).
    fn now_ns(&self) -> u64;
    /// Which of its group's workers this is, from 0.
    fn index(&self) -> u32;
    /// How many workers the group has.
    fn count(&self) -> u32;
    /// A seed of this worker's own, which follows from the run's.
    fn seed(&self) -> u64;
}
