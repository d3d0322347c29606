//! A figure: what it is called, what it should be, what it came to.

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

/// The medians of a figure's rounds, and their spread. [`fmt::Display`] is a row of a table.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) key: String,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    pub(crate) value: f64,
    pub(crate) range: (f64, f64),
    pub(crate) rounds: usize,
}

impl Figure {
    /// The median of some rounds, of which there is at least one.
    pub(crate) fn of(key: &str, unit: &'static str, target: Target, rounds: &[f64]) -> Figure {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let value = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        let range = (sorted[0], sorted[sorted.len() - 1]);
        Figure { key: key.to_owned(), unit, target, value, range, rounds: sorted.len() }
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
            "is_met": self.is_met(),
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
        let mark = if self.is_met() { "" } else { " (missed)" };
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
}
