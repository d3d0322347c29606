//! What a run is held to.

use serde::{Deserialize, Serialize};

/// What a run is held to; what is `None` is left to whoever is asked next (step, then test, then
/// scheduler, then the defaults).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whether every worker must do at least one unit of work.
    pub progress: Option<bool>,
    /// Whether workers must stay on the CPUs they are allowed.
    pub isolation: Option<bool>,
    /// Whether the scheduler under test must live until it is detached.
    pub scheduler_lives: Option<bool>,
    /// Whether the kernel's log must be clean.
    pub clean_log: Option<bool>,
    /// The longest time between two checkpoints of a worker, in milliseconds of guest time.
    pub max_gap_ms: Option<u64>,
    /// The largest difference in the share of time off the CPU between workers of one cgroup, in
    /// percentage points.
    pub max_spread_pct: Option<f64>,
    /// The largest coefficient of variation of units per second between workers of one cgroup.
    pub max_throughput_cv: Option<f64>,
    /// The least units per second of CPU time, of each worker.
    pub min_work_rate: Option<f64>,
    /// The least rounds per second of CPU time, of each worker.
    pub min_iteration_rate: Option<f64>,
    /// The most migrations per round, of each cgroup's workers.
    pub max_migration_ratio: Option<f64>,
    /// The highest 99th percentile of wake latency, of each worker, in nanoseconds.
    pub max_p99_wake_ns: Option<u64>,
    /// The highest coefficient of variation of wake latency, of each worker.
    pub max_wake_cv: Option<f64>,
    /// The least share of pages on the nodes that the worker's CPUs belong to, 0 to 1.
    pub min_page_locality: Option<f64>,
    /// The most migrations to another node, as a share of migrations, 0 to 1.
    pub max_cross_node_ratio: Option<f64>,
}
