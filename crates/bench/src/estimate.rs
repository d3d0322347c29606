//! How long a run still takes.

use std::time::Duration;

/// What is left of a run: what clients are told to measure for, and what a sample takes beyond that, as
/// learnt from those that have ended.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    overhead_before: Duration,
    overhead: Duration,
    ended: u32,
}

impl Estimate {
    /// Nothing is learnt yet; a sample takes this much longer than its client measures for.
    pub(crate) fn new(overhead_before: Duration) -> Self {
        Self { overhead_before, overhead: Duration::ZERO, ended: 0 }
    }

    /// A sample has ended.
    pub(crate) fn learn(&mut self, nominal: Duration, took: Duration) {
        self.overhead = self.overhead.saturating_add(took.saturating_sub(nominal));
        self.ended = self.ended.saturating_add(1);
    }

    /// The time for so many samples with so much to measure.
    pub(crate) fn left(&self, samples: usize, nominal: Duration) -> Duration {
        let each = self.overhead.checked_div(self.ended).unwrap_or(self.overhead_before);
        nominal.saturating_add(each.saturating_mul(u32::try_from(samples).unwrap_or(u32::MAX)))
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Samples that have ended.
    pub done: usize,
    /// All samples, without those that a failed row no longer needs.
    pub total: usize,
    /// About how long the others take.
    pub left: Duration,
}

impl Progress {
    /// A bar of so many characters, as `[####----]`.
    pub fn bar(&self, width: usize) -> String {
        let filled = (width * self.done).checked_div(self.total).unwrap_or(width).min(width);
        format!("[{}{}]", "#".repeat(filled), "-".repeat(width - filled))
    }

    /// The time left for people, as `12 min`.
    pub fn left_text(&self) -> String {
        match self.left.as_secs() {
            seconds @ 0..100 => format!("{seconds} s"),
            seconds @ 100..6000 => format!("{} min", seconds.div_ceil(60)),
            seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was() {
        let seconds = Duration::from_secs;
        let mut estimate = Estimate::new(seconds(1));
        assert_eq!(estimate.left(3, seconds(30)), seconds(33));
        estimate.learn(seconds(10), seconds(12));
        estimate.learn(seconds(10), seconds(16));
        assert_eq!(estimate.left(3, seconds(30)), seconds(42));
    }

    #[test]
    fn bars_fill_up() {
        let progress = |done, total, left| {
            let progress = Progress { done, total, left: Duration::from_secs(left) };
            (progress.bar(4), progress.left_text())
        };
        assert_eq!(progress(0, 9, 7265), ("[----]".into(), "2 h 1 min".into()));
        assert_eq!(progress(5, 9, 101), ("[##--]".into(), "2 min".into()));
        assert_eq!(progress(9, 9, 0), ("[####]".into(), "0 s".into()));
        assert_eq!(progress(0, 0, 99), ("[####]".into(), "99 s".into()));
    }
}
