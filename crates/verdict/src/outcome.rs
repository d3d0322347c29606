//! What a run came to, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run came to, and how several runs or checks add up to one.
///
/// The order is that of gravity, `Skip < Pass < Inconclusive < Fail`, and [`merge`](Self::merge)
/// keeps the graver of two. So one failed check fails a test, a test of which nothing was skipped
/// but one variant has passed, and a suite in which every test was skipped is itself skipped
/// rather than passed.
///
/// ```
/// use belljar_verdict::Outcome;
///
/// assert!(Outcome::Fail > Outcome::Inconclusive);
/// assert_eq!(Outcome::Skip.merge(Outcome::Pass), Outcome::Pass);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was tried, for a reason known before or early in the run. Neutral in a merge.
    Skip,
    /// Everything that was asked for was seen to hold.
    Pass,
    /// The run ended without an answer, for example because a figure had nothing to divide by.
    Inconclusive,
    /// Something that had to hold did not, or the run broke.
    Fail,
}

impl Outcome {
    /// All outcomes, the least grave first.
    pub const ALL: [Self; 4] = [Self::Skip, Self::Pass, Self::Inconclusive, Self::Fail];

    /// The graver of the two. [`Outcome::Skip`] is neutral, [`Outcome::Fail`] absorbs.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.max(other)
    }

    /// Whether a suite with this outcome in it can be called good: passed or skipped.
    pub fn is_good(self) -> bool {
        self <= Self::Pass
    }

    /// One lower-case word, as it stands in the record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn the_record_holds_the_word() {
        for outcome in Outcome::ALL {
            let json = serde_json::to_value(outcome).unwrap();
            assert_eq!(json, outcome.word());
        }
        assert!(Outcome::ALL.is_sorted());
    }

    proptest! {
        #[test]
        fn merging_is_a_lattice(
            a in select(&Outcome::ALL[..]),
            b in select(&Outcome::ALL[..]),
            c in select(&Outcome::ALL[..]),
        ) {
            prop_assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
            prop_assert_eq!(a.merge(b), b.merge(a));
            prop_assert_eq!(a.merge(a), a);
            prop_assert_eq!(a.merge(Outcome::Skip), a);
            prop_assert_eq!(a.merge(Outcome::Fail), Outcome::Fail);
            prop_assert_eq!(a.merge(b) == a, a >= b);
        }
    }
}
