//! A figure: what it is called, what it should be, what it came to.

use anyhow::Result;
use std::fmt;

/// Measured values, in ascending order.
#[derive(Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Measures `runs` times.
    ///
    /// # Errors
    /// Those of the measurement.
    pub fn of(runs: u32, mut measure: impl FnMut(u32) -> Result<f64>) -> Result<Samples> {
        let mut values = (0..runs).map(&mut measure).collect::<Result<Vec<f64>>>()?;
        values.sort_by(f64::total_cmp);
        Ok(Samples(values))
    }

    /// The middle one, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        belljar_bench::median(&self.0).unwrap_or(f64::NAN)
    }

    /// The value that `percent` of all do not exceed (nearest rank).
    pub fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() * percent).div_ceil(100) - 1]
    }
}

/// A figure. [`fmt::Display`] is a row of a table.
#[derive(Debug)]
pub struct Figure {
    key: &'static str,
    meaning: &'static str,
    unit: &'static str,
    target: f64,
    value: f64,
    range: (f64, f64),
    runs: usize,
}

impl Figure {
    /// One in seconds.
    pub fn seconds(key: &'static str, meaning: &'static str, target: f64) -> Figure {
        Figure { key, meaning, unit: " s", target, value: 0.0, range: (0.0, 0.0), runs: 0 }
    }

    /// One in milliseconds.
    pub fn milliseconds(key: &'static str, meaning: &'static str, target: f64) -> Figure {
        Figure { unit: " ms", ..Figure::seconds(key, meaning, target) }
    }

    /// One in microseconds.
    pub fn microseconds(key: &'static str, meaning: &'static str, target: f64) -> Figure {
        Figure { unit: " us", ..Figure::seconds(key, meaning, target) }
    }

    /// One that is times another.
    pub fn ratio(key: &'static str, meaning: &'static str, target: f64) -> Figure {
        Figure { unit: "x", ..Figure::seconds(key, meaning, target) }
    }

    /// One in MiB.
    pub fn mebibytes(key: &'static str, meaning: &'static str, target: f64) -> Figure {
        Figure { unit: " MiB", ..Figure::seconds(key, meaning, target) }
    }

    /// A plain number.
    pub fn count(key: &'static str, meaning: &'static str, target: f64) -> Figure {
        Figure { unit: "", ..Figure::seconds(key, meaning, target) }
    }

    /// With what it came to.
    pub fn with(self, value: f64, samples: &Samples) -> Figure {
        let range = (samples.0[0], samples.0[samples.0.len() - 1]);
        Figure { value, range, runs: samples.0.len(), ..self }
    }

    /// Its name in JSON.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// What it came to.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { key, meaning, unit, target, value, range: (best, worst), runs } = self;
        let digits = if unit.is_empty() || *value >= 100.0 { 0 } else { 2 };
        let mark = if value <= target { "" } else { " (missed)" };
        write!(
            f,
            "| {meaning} | `{key}` | {target}{unit} | {value:.digits$}{unit}{mark} | \
             {best:.digits$} to {worst:.digits$}{unit} | {runs} |"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        let samples = |values: &[f64]| Samples::of(values.len() as u32, |i| Ok(values[i as usize]));
        let odd = samples(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median(), odd.percentile(95)), (2.0, 3.0));
        let even = samples(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.median(), even.percentile(50)), (2.5, 2.0));
    }
}
