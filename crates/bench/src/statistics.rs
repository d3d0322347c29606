//! Medians, stable cores and intervals.

use serde::{Deserialize, Serialize};

/// Below so many samples there is no median to publish.
pub const SAMPLES_MIN: u32 = 5;

/// The middle one of `values`, or the mean of the two in the middle; `None` of nothing, and where a
/// value is not finite.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values)?;
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        Some(sorted[middle])
    } else {
        Some(f64::midpoint(sorted[middle - 1], sorted[middle]))
    }
}

fn sorted(values: &[f64]) -> Option<Vec<f64>> {
    if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(sorted)
}

/// How far samples lie apart: all of them, and the stable core, which is what is left without the
/// lowest and the highest.
///
/// A single stall of the machine is so forgiven; two of five are not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many samples.
    pub samples: usize,
    /// The lowest of all.
    pub raw_min: f64,
    /// The highest of all.
    pub raw_max: f64,
    /// The lowest of the core.
    pub core_min: f64,
    /// The highest of the core.
    pub core_max: f64,
}

impl Spread {
    /// The spread of `values`; `None` below [`SAMPLES_MIN`], and where a value is not finite or not
    /// above zero.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values)?;
        if sorted.len() < SAMPLES_MIN as usize || sorted[0] <= 0.0 {
            return None;
        }
        let last = sorted.len() - 1;
        Some(Self {
            samples: sorted.len(),
            raw_min: sorted[0],
            raw_max: sorted[last],
            core_min: sorted[1],
            core_max: sorted[last - 1],
        })
    }

    /// The core's highest over its lowest; 1 when all are the same.
    pub fn core_ratio(&self) -> f64 {
        self.core_max / self.core_min
    }

    /// The highest of all over the lowest of all.
    pub fn raw_ratio(&self) -> f64 {
        self.raw_max / self.raw_min
    }
}

/// A median with an interval that holds the true one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The median of the values.
    pub median: f64,
    /// The interval's lower end, one of the values.
    pub low: f64,
    /// Its upper end, one of the values.
    pub high: f64,
    /// The probability with which such an interval holds the median of what the values are drawn
    /// from, whatever its distribution.
    pub confidence: f64,
}

/// The confidence that [`Interval::of`] aims at.
const CONFIDENCE_WANTED: f64 = 0.90;

impl Interval {
    /// The interval between the k-th lowest and the k-th highest value, for the greatest k at which
    /// it is still 90 % sure; for few values between the lowest and the highest.
    ///
    /// The true median lies below all but k-1 values or above all but k-1 values with probability
    /// 2 P(X < k), X binomial with n trials of 1/2. This is the sign test, turned round (Conover,
    /// "Practical Nonparametric Statistics"; it assumes independent values and nothing else).
    ///
    /// `None` of nothing, and where a value is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values)?;
        let count = sorted.len();
        let (mut k, mut confidence) = (1, 1.0 - 2.0 * binomial_below(count, 1));
        while 2 * (k + 1) <= count {
            let next = 1.0 - 2.0 * binomial_below(count, k + 1);
            if next < CONFIDENCE_WANTED {
                break;
            }
            (k, confidence) = (k + 1, next);
        }
        let (low, high) = (sorted[k - 1], sorted[count - k]);
        Some(Self { median: median(values)?, low, high, confidence: confidence.max(0.0) })
    }

    /// Whether 1, which as a ratio means no difference, lies outside.
    pub fn excludes_one(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// P(X < k) for X binomial with `trials` trials of probability 1/2.
fn binomial_below(trials: usize, k: usize) -> f64 {
    // Logarithms: 2^trials is no number for a few thousand samples.
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for successes in 0..k {
        sum += f64::exp(ln_choose - trials as f64 * std::f64::consts::LN_2);
        ln_choose += ((trials - successes) as f64).ln() - ((successes + 1) as f64).ln();
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_stall_is_forgiven_and_two_are_not() {
        // Five rates as they were once measured, the first of them during a stall.
        let once = Spread::of(&[5730.0, 21620.0, 22100.0, 22637.0, 22687.0]).unwrap();
        assert!(once.core_ratio() < 1.05 && once.raw_ratio() > 3.9, "{once:?}");
        let twice = Spread::of(&[5730.0, 6100.0, 22100.0, 22637.0, 22687.0]).unwrap();
        assert!(twice.core_ratio() > 3.7, "{twice:?}");
        assert_eq!(Spread::of(&[1.0, 1.0, 1.0, 1.0]), None);
        assert_eq!(Spread::of(&[0.0, 1.0, 1.0, 1.0, 1.0]), None);
        assert_eq!(Spread::of(&[f64::NAN, 1.0, 1.0, 1.0, 1.0]), None);
    }

    #[test]
    fn intervals_know_how_sure_they_are() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        let of = |count: usize| Interval::of(&values[..count]).unwrap();
        // From tables of the binomial distribution.
        let five = of(5);
        assert_eq!((five.low, five.median, five.high), (1.0, 3.0, 5.0));
        assert!((five.confidence - 0.9375).abs() < 1e-9);
        let eight = of(8);
        assert_eq!((eight.low, eight.high), (2.0, 7.0));
        assert!((eight.confidence - (1.0 - 18.0 / 256.0)).abs() < 1e-9);
        let twenty = of(20);
        assert_eq!((twenty.low, twenty.high), (6.0, 15.0));
        assert!((twenty.confidence - 0.9586).abs() < 1e-4);
        assert_eq!(Interval::of(&[2.0]).unwrap().confidence, 0.0);
        assert_eq!(Interval::of(&[]), None);
        let many: Vec<f64> = (0..5000).map(f64::from).collect();
        assert!((0.90..0.92).contains(&Interval::of(&many).unwrap().confidence));
    }

    fn rates() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(1e-3..1e12, 5..40)
    }

    proptest! {
        #[test]
        fn a_median_has_half_on_either_side(values in rates()) {
            let median = median(&values).unwrap();
            let below = values.iter().filter(|&&value| value < median).count();
            let above = values.iter().filter(|&&value| value > median).count();
            prop_assert!(below * 2 <= values.len() && above * 2 <= values.len());
        }

        #[test]
        fn a_core_lies_inside_and_forgives_one_outlier(values in rates(), outlier in 1e-3..1e12) {
            let spread = Spread::of(&values).unwrap();
            let bounds =
                [spread.raw_min, spread.core_min, median(&values).unwrap(), spread.core_max, spread.raw_max];
            prop_assert!(bounds.is_sorted(), "{:?}", bounds);
            // One more sample, however far off, never makes the core wider than all were.
            let mut more = values;
            more.push(outlier);
            prop_assert!(Spread::of(&more).unwrap().core_ratio() <= spread.raw_ratio());
        }

        #[test]
        fn order_and_scale_change_nothing(values in rates(), seed: u64, scale in 1e-3..1e3) {
            let mut shuffled = values.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            prop_assert_eq!(Spread::of(&shuffled), Spread::of(&values));
            prop_assert_eq!(Interval::of(&shuffled), Interval::of(&values));
            let scaled: Vec<f64> = values.iter().map(|value| value * scale).collect();
            let (one, other) = (Spread::of(&values).unwrap(), Spread::of(&scaled).unwrap());
            prop_assert!((one.core_ratio() / other.core_ratio() - 1.0).abs() < 1e-9);
        }

        #[test]
        fn an_interval_holds_its_median_and_is_as_sure_as_it_can(values in rates()) {
            let interval = Interval::of(&values).unwrap();
            prop_assert!(interval.low <= interval.median && interval.median <= interval.high);
            prop_assert!((CONFIDENCE_WANTED..1.0).contains(&interval.confidence));
        }
    }
}
