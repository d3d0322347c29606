//! What is published.

use belljar_record::Timestamp;
use indexmap::IndexMap;
use serde::Serialize;

use crate::cell::CellKey;
use crate::environment::Environment;
use crate::limit::Limit;
use crate::matrix::Matrix;
use crate::measurement::Measurement;
use crate::metric::Metric;
use crate::statistics::{Interval, Spread};

/// A whole run: the only thing that reports are made of, and made by [`judge`](crate::judge()) only.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Results {
    /// The version of this format in `results.json`.
    pub format: u32,
    /// Whether every limit is met.
    pub passed: bool,
    /// When the run was begun.
    pub begun_at: Timestamp,
    /// When its last sample ended.
    pub ended_at: Timestamp,
    /// What was measured.
    pub matrix: Matrix,
    /// Where and with what.
    pub environment: Environment,
    /// What the order of samples came from.
    pub seed: u64,
    /// Samples that something interrupted, and that were measured again.
    pub interrupted: usize,
    /// One row for each cell, in the order of the matrix.
    pub rows: Vec<Row>,
    /// Each build against the first.
    pub comparisons: Vec<Comparison>,
    /// Each limit, for each row that it applies to.
    pub limits: Vec<LimitCheck>,
}

impl Results {
    /// Whether every limit is met.
    pub fn is_good(&self) -> bool {
        self.passed
    }

    /// The limits that are not met.
    pub fn missed(&self) -> impl Iterator<Item = &LimitCheck> {
        self.limits.iter().filter(|check| !check.is_met)
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is called.
    pub key: CellKey,
    /// Medians of its samples, each of its own column.
    pub figures: IndexMap<Metric, f64>,
    /// How far its throughputs lie apart.
    pub spread: Spread,
    /// What other processes used meanwhile, in CPUs, as the median of the samples.
    pub foreign_cpus: f64,
    /// What a reader should know.
    pub notes: Vec<Note>,
    /// The samples, in the order of their rounds.
    pub samples: Vec<Measurement>,
}

impl Row {
    /// The median of a figure; `None` where the row does not have it.
    pub fn figure(&self, metric: Metric) -> Option<f64> {
        self.figures.get(&metric).copied()
    }
}

/// What a reader should know about a row.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// Its rate is above what it can do, so its throughput may be unstable.
    #[error("its rate is above the {capacity_per_s:.0}/s that it can do")]
    CapacityBound {
        /// What the same row does at the rate `max`.
        capacity_per_s: f64,
    },
    /// It did not keep up with its rate, though it could have.
    #[error("it only achieves {achieved_per_s:.0}/s")]
    Behind {
        /// What it did.
        achieved_per_s: f64,
    },
}

/// A figure of one build against that of the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The row, without its build.
    pub cell: CellKey,
    /// The first build.
    pub base: String,
    /// The other one.
    pub build: String,
    /// The figure.
    pub metric: Metric,
    /// The other's figure over the first's, sample by sample: the samples of a pair are measured one
    /// right after the other, in turns which of them first.
    pub ratio: Interval,
    /// How many pairs.
    pub pairs: usize,
}

impl Comparison {
    /// Whether the other build is better or worse; `None` when no difference is shown.
    pub fn is_better(&self) -> Option<bool> {
        let is_higher = self.ratio.median > 1.0;
        self.ratio.excludes_one().then_some(is_higher == self.metric.is_higher_better())
    }
}

/// A limit, applied to a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitCheck {
    /// The limit.
    pub limit: Limit,
    /// The row.
    pub cell: CellKey,
    /// The row's figure, or its ratio to another row's.
    pub value: f64,
    /// Whether the limit is met.
    pub is_met: bool,
}
