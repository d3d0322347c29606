//! Histograms of latencies that lie in shared memory, so that they outlive who writes them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use belljar_verdict::evidence::Latency;

/// Buckets of one width: each is at most a 32nd of its values wide, so that the middle of a bucket is
/// within 1.6 % of all of them.
const FINE: u64 = 32;
/// Values from here on (36 minutes) count as the greatest.
const BITS: u32 = 41;
const BUCKETS: usize = (BITS as usize - 5 + 1) * FINE as usize;

/// Counts by value: exact below 64, then 32 buckets for each power of two. One thread writes.
#[repr(C)]
pub(crate) struct Histogram {
    count: AtomicU64,
    sum: AtomicU64,
    /// The sum of squares, as the bits of an `f64`.
    squares: AtomicU64,
    /// The least, plus one; 0 for none.
    least: AtomicU64,
    greatest: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

/// What a histogram held at one moment.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    sum: u64,
    squares: f64,
    count: u64,
    buckets: Vec<u32>,
}

fn bucket(value: u64) -> usize {
    let value = value.min((1 << BITS) - 1);
    let shift = (63 - (value | FINE).leading_zeros()) - 5;
    (u64::from(shift) * FINE + (value >> shift)) as usize
}

/// The least value of a bucket and the first beyond it.
fn bounds(bucket: usize) -> (u64, u64) {
    let shift = (bucket as u64 / FINE).saturating_sub(1);
    let low = (bucket as u64 - shift * FINE) << shift;
    (low, low + (1 << shift))
}

impl Histogram {
    /// An empty one in memory of this process alone.
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            squares: AtomicU64::new(0),
            least: AtomicU64::new(0),
            greatest: AtomicU64::new(0),
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        })
    }

    /// Counts a value.
    pub(crate) fn record(&self, value: u64) {
        let add = |word: &AtomicU64, value: u64| {
            word.store(word.load(Relaxed).saturating_add(value), Relaxed);
        };
        let bucket = &self.buckets[bucket(value)];
        bucket.store(bucket.load(Relaxed).saturating_add(1), Relaxed);
        add(&self.sum, value);
        self.add_squares(value as f64 * value as f64);
        self.stretch(value, value);
        add(&self.count, 1);
    }

    /// Adds what another one counted.
    pub(crate) fn merge(&self, other: &Self) {
        let add = |word: &AtomicU64, other: &AtomicU64| {
            word.store(word.load(Relaxed).saturating_add(other.load(Relaxed)), Relaxed);
        };
        for (mine, other) in self.buckets.iter().zip(&other.buckets) {
            mine.store(mine.load(Relaxed).saturating_add(other.load(Relaxed)), Relaxed);
        }
        add(&self.sum, &other.sum);
        self.add_squares(f64::from_bits(other.squares.load(Relaxed)));
        if let Some(least) = other.least.load(Relaxed).checked_sub(1) {
            self.stretch(least, other.greatest.load(Relaxed));
        }
        add(&self.count, &other.count);
    }

    fn add_squares(&self, squares: f64) {
        let sum = f64::from_bits(self.squares.load(Relaxed)) + squares;
        self.squares.store(sum.to_bits(), Relaxed);
    }

    fn stretch(&self, least: u64, greatest: u64) {
        let before = self.least.load(Relaxed);
        if before == 0 || least < before - 1 {
            self.least.store(least.saturating_add(1), Relaxed);
        }
        if greatest > self.greatest.load(Relaxed) {
            self.greatest.store(greatest, Relaxed);
        }
    }

    /// What it holds now.
    pub(crate) fn counts(&self) -> Counts {
        let count = self.count.load(Relaxed);
        let buckets = if count == 0 {
            Vec::new()
        } else {
            self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect()
        };
        let squares = f64::from_bits(self.squares.load(Relaxed));
        Counts { sum: self.sum.load(Relaxed), squares, count, buckets }
    }

    /// A summary of all that was counted.
    pub(crate) fn latency(&self) -> Latency {
        let mut latency = self.counts().latency();
        if latency.count > 0 {
            let (least, greatest) = (self.least.load(Relaxed) - 1, self.greatest.load(Relaxed));
            (latency.min_ns, latency.max_ns) = (least, greatest);
            for percentile in [
                &mut latency.p50_ns,
                &mut latency.p90_ns,
                &mut latency.p99_ns,
                &mut latency.p999_ns,
            ] {
                *percentile = (*percentile).clamp(least, greatest);
            }
        }
        latency
    }
}

impl Counts {
    /// What was counted after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |at: usize| earlier.buckets.get(at).copied().unwrap_or(0);
        Self {
            sum: self.sum.saturating_sub(earlier.sum),
            squares: self.squares - earlier.squares,
            count: self.count.saturating_sub(earlier.count),
            buckets: self
                .buckets
                .iter()
                .enumerate()
                .map(|(at, count)| count.saturating_sub(before(at)))
                .collect(),
        }
    }

    /// A summary; the least and the greatest are as rough as the percentiles.
    pub(crate) fn latency(&self) -> Latency {
        let count: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        if count == 0 {
            return Latency::default();
        }
        let at = |per_mille: u64| {
            let rank = (count * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            let found = self.buckets.iter().position(|count| {
                seen += u64::from(*count);
                seen >= rank
            });
            let (low, beyond) = bounds(found.unwrap_or(BUCKETS - 1));
            low + (beyond - 1 - low) / 2
        };
        let mean = self.sum as f64 / count as f64;
        let variance = (self.squares / count as f64 - mean * mean).max(0.0);
        Latency {
            count,
            mean_ns: self.sum / count,
            cv: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
            min_ns: at(0),
            p50_ns: at(500),
            p90_ns: at(900),
            p99_ns: at(990),
            p999_ns: at(999),
            max_ns: at(1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(values: &[u64], per_mille: usize) -> u64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted[(values.len() * per_mille).div_ceil(1000).max(1) - 1]
    }

    proptest! {
        #[test]
        fn summaries_are_within_two_percent(
            values in proptest::collection::vec(0u64..1 << 40, 1..200),
            late in 0usize..200,
        ) {
            let late = late.min(values.len());
            let (one, two) = (Histogram::new(), Histogram::new());
            values[..late].iter().for_each(|value| one.record(*value));
            let before = one.counts();
            values[late..].iter().for_each(|value| two.record(*value));
            one.merge(&two);
            let close = |measured: u64, exact: u64| measured.abs_diff(exact) <= exact / 50;
            let all = one.latency();
            prop_assert_eq!(all.count, values.len() as u64);
            prop_assert_eq!(all.min_ns, *values.iter().min().unwrap());
            prop_assert_eq!(all.max_ns, *values.iter().max().unwrap());
            prop_assert_eq!(all.mean_ns, values.iter().sum::<u64>() / values.len() as u64);
            prop_assert!(close(all.p50_ns, exact(&values, 500)));
            prop_assert!(close(all.p99_ns, exact(&values, 990)));
            // What was counted in between is told apart.
            let rest = one.counts().since(&before).latency();
            prop_assert_eq!(rest.count as usize, values.len() - late);
            if late < values.len() {
                prop_assert!(close(rest.max_ns, *values[late..].iter().max().unwrap()));
            }
        }

        #[test]
        fn buckets_hold_their_values(value in any::<u64>()) {
            let (low, beyond) = bounds(bucket(value));
            let capped = value.min((1 << BITS) - 1);
            prop_assert!(low <= capped && capped < beyond);
            prop_assert!(beyond - low <= 1 + low / 32);
        }
    }
}
