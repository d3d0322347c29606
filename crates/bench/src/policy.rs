//! How rows are measured, and when they are good enough.

use belljar_topology::CpuSet;
use serde::{Deserialize, Serialize};

use crate::statistics::SAMPLES_MIN;

/// The table `[policy]` of a matrix. What is left out is as in [`Policy::default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Samples of each row, at least 5; a row is their median.
    pub samples: u32,
    /// What a client measures for at a fixed rate, in seconds.
    pub duration_s: f64,
    /// What a client measures for at the rate `max`, in seconds.
    pub duration_max_rate_s: f64,
    /// The pause between a server that is ready and its client, in milliseconds.
    pub settle_ms: u64,
    /// How long a server may take to be ready, in seconds.
    pub ready_timeout_s: f64,
    /// How much longer than it measures a client may take, in seconds.
    pub client_grace_s: f64,
    /// How much longer than it says that it measured a client may live, in seconds: the time to start,
    /// connect and end.
    pub client_overhead_s: f64,
    /// How long a server may take to end, in seconds.
    pub stop_timeout_s: f64,
    /// The highest of a row's stable core over its lowest: above, the row is unstable.
    pub spread_max: f64,
    /// What other processes of the machine may use while a row is measured, in CPUs, as a median of
    /// the row's samples. With the number of CPUs of the machine anything goes.
    pub foreign_cpus_max: f64,
    /// The CPUs that clients run on, such as `"0-3,8"`; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cpus: Option<CpuSet>,
    /// The CPUs that servers run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpus: Option<CpuSet>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            samples: SAMPLES_MIN,
            duration_s: 5.0,
            duration_max_rate_s: 10.0,
            settle_ms: 500,
            ready_timeout_s: 5.0,
            client_grace_s: 15.0,
            client_overhead_s: 1.0,
            stop_timeout_s: 10.0,
            spread_max: 1.35,
            foreign_cpus_max: 0.5,
            client_cpus: None,
            server_cpus: None,
        }
    }
}

/// The longest time that a policy may name, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// The most samples of a row. A run's memory and its report grow with them.
const SAMPLES_MAX: u32 = 1000;

impl Policy {
    /// What is wrong with it, in words that complete "`[policy]`: ".
    pub(crate) fn fault(&self) -> Option<String> {
        if !(SAMPLES_MIN..=SAMPLES_MAX).contains(&self.samples) {
            return Some(format!("`samples` must be from {SAMPLES_MIN} to {SAMPLES_MAX}"));
        }
        for (name, seconds) in [
            ("duration_s", self.duration_s),
            ("duration_max_rate_s", self.duration_max_rate_s),
            ("ready_timeout_s", self.ready_timeout_s),
            ("client_grace_s", self.client_grace_s),
            ("client_overhead_s", self.client_overhead_s),
            ("stop_timeout_s", self.stop_timeout_s),
        ] {
            if let Some(fault) = seconds_fault(seconds) {
                return Some(format!("`{name}` {fault}"));
            }
        }
        if self.settle_ms > SECONDS_MAX as u64 * 1000 {
            return Some(format!("`settle_ms` must be at most {SECONDS_MAX} seconds"));
        }
        if !(1.0..=10.0).contains(&self.spread_max) {
            return Some(String::from("`spread_max` must be from 1 to 10"));
        }
        if !(0.0..=1e6).contains(&self.foreign_cpus_max) {
            return Some(String::from("`foreign_cpus_max` must be a number of CPUs"));
        }
        let is_empty = |cpus: &Option<CpuSet>| cpus.as_ref().is_some_and(CpuSet::is_empty);
        if is_empty(&self.client_cpus) || is_empty(&self.server_cpus) {
            return Some(String::from("a list of CPUs must name one; leave it out for all"));
        }
        None
    }
}

/// What is wrong with a number of seconds.
pub(crate) fn seconds_fault(seconds: f64) -> Option<String> {
    // A millisecond is far less than anybody should measure for, and still no division by zero.
    let is_good = (0.001..=SECONDS_MAX).contains(&seconds);
    (!is_good).then(|| format!("must be from 0.001 to {SECONDS_MAX} seconds"))
}
