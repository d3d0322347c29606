//! Steps: set up, act, hold.

use std::time::Duration;

use belljar_verdict::Limits;
use serde::{Deserialize, Serialize};

use crate::{Cgroup, Op, time};

/// A part of a scenario, played in the order that it is written in: its cgroups and workers are set
/// up, its operations are done, then it is held. What it set up is taken down at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What reports call it.
    pub name: String,
    /// Cgroups and workers that live in this step.
    pub cgroups: Vec<Cgroup>,
    /// Operations, in order.
    pub ops: Vec<Op>,
    /// How long things are left as they are.
    pub hold: Hold,
    /// Limits that hold in this step alone, over those of the test.
    pub limits: Limits,
}

/// How long a step is held, in guest time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum Hold {
    /// For a fraction of the scenario's duration, above 0, at most 1.
    Fraction {
        /// The fraction.
        of: f64,
    },
    /// For a time of its own.
    Fixed {
        /// The time.
        #[serde(rename = "time_ns", with = "time")]
        time: Duration,
    },
    /// For a fraction of the scenario's duration, in which the operations are done again and again.
    Loop {
        /// The time from one round of the operations to the next.
        #[serde(rename = "interval_ns", with = "time")]
        interval: Duration,
        /// The fraction.
        of: f64,
    },
}

impl Hold {
    /// For the scenario's whole duration.
    pub const FULL: Self = Self::Fraction { of: 1.0 };
}

impl Step {
    /// A step that is held for the scenario's whole duration.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cgroups: Vec::new(),
            ops: Vec::new(),
            hold: Hold::FULL,
            limits: Limits::default(),
        }
    }

    /// Adds a cgroup, with its workers.
    #[must_use]
    pub fn cgroup(mut self, cgroup: Cgroup) -> Self {
        self.cgroups.push(cgroup);
        self
    }

    /// Adds an operation.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Holds for this time.
    #[must_use]
    pub fn hold(mut self, time: Duration) -> Self {
        self.hold = Hold::Fixed { time };
        self
    }

    /// Holds for this fraction of the scenario's duration.
    #[must_use]
    pub fn hold_fraction(mut self, of: f64) -> Self {
        self.hold = Hold::Fraction { of };
        self
    }

    /// Holds for this fraction of the scenario's duration and does the operations every `interval`.
    #[must_use]
    pub fn hold_loop(mut self, interval: Duration, of: f64) -> Self {
        self.hold = Hold::Loop { interval, of };
        self
    }

    /// Sets limits for this step alone.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
