//! A figure: what it is called, what it should be, what it came to.

use belljar_bench::{Policy, Spread, median};
use std::fmt;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing: it is there to compare with.
    None,
}

/// The median of a figure's rounds, and their spread. [`fmt::Display`] is a row of a table.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) key: String,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    pub(crate) value: f64,
    pub(crate) range: (f64, f64),
    pub(crate) rounds: usize,
    /// `None` where a round came to nothing.
    spread: Option<Spread>,
}

impl Figure {
    /// The median of some rounds, of which there is at least one, all of them numbers.
    pub(crate) fn of(key: &str, unit: &'static str, target: Target, rounds: &[f64]) -> Figure {
        let values = || rounds.iter().copied();
        Figure {
            key: key.to_owned(),
            unit,
            target,
            value: median(rounds).unwrap_or(f64::NAN),
            range: (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max)),
            rounds: rounds.len(),
            spread: Spread::of(rounds),
        }
    }

    /// Whether the rounds without the best and the worst are as near to each other as those of a
    /// published benchmark must be.
    pub(crate) fn is_stable(&self) -> bool {
        self.spread.is_some_and(|spread| spread.core_ratio() <= Policy::default().spread_max)
    }

    /// All of it, for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let (at_most, at_least) = match self.target {
            Target::AtMost(most) => (Some(most), None),
            Target::AtLeast(least) => (None, Some(least)),
            Target::None => (None, None),
        };
        serde_json::json!({
            "key": self.key, "unit": self.unit, "median": self.value, "least": self.range.0,
            "most": self.range.1, "rounds": self.rounds, "at_most": at_most, "at_least": at_least,
            "is_met": self.is_met(), "is_stable": self.is_stable(),
        })
    }

    /// Whether it is what it should be.
    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
            Target::None => true,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { key, unit, value, range: (least, most), rounds, .. } = self;
        let digits = if *value >= 1000.0 { 0 } else { 2 };
        let target = match self.target {
            Target::AtMost(most) => format!("at most {most} {unit}"),
            Target::AtLeast(least) => format!("at least {least} {unit}"),
            Target::None => String::new(),
        };
        let mark = match self.target {
            Target::None => "",
            _ if !self.is_met() => " (missed)",
            _ if !self.is_stable() => " (unstable)",
            _ => "",
        };
        write!(
            f,
            "| `{key}` | {target} | {value:.digits$} {unit}{mark} | {least:.digits$} to \
             {most:.digits$} | {rounds} |"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_targets() {
        let odd = Figure::of("k", "", Target::AtMost(2.0), &[3.0, 1.0, 2.0]);
        assert_eq!((odd.value, odd.range, odd.is_met()), (2.0, (1.0, 3.0), true));
        let even = Figure::of("k", "", Target::AtLeast(2.0), &[1.0, 2.0]);
        assert_eq!((even.value, even.is_met()), (1.5, false));
        let json = even.json();
        assert_eq!((&json["at_least"], &json["is_met"]), (&2.0.into(), &false.into()));
        assert!(json["at_most"].is_null());
    }

    #[test]
    fn a_figure_with_a_target_says_when_its_rounds_lie_apart() {
        let row =
            |target, last| Figure::of("k", "x", target, &[1.0, 1.0, 1.0, last, 9.0]).to_string();
        assert_eq!(
            row(Target::AtMost(2.0), 1.3),
            "| `k` | at most 2 x | 1.00 x | 1.00 to 9.00 | 5 |"
        );
        assert!(row(Target::AtMost(2.0), 1.4).contains("1.00 x (unstable) |"));
        assert!(row(Target::AtMost(0.5), 1.4).contains("1.00 x (missed) |"));
        assert!(row(Target::None, 1.4).contains("1.00 x |"));
    }
}
