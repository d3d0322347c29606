//! The whole: a backdrop and steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Cgroup, Op, Payload, Step, time};

/// What is played on the guest: a backdrop that lives from beginning to end, and steps one after
/// another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What reports call it; empty for the test's own name.
    pub name: String,
    /// What it is meant to press on, in a line; may be empty.
    pub about: String,
    /// The time that holds which are fractions are fractions of, in guest time.
    #[serde(rename = "duration_ns", with = "time")]
    pub duration: Duration,
    /// What lives across all steps.
    pub backdrop: Backdrop,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// What lives across all steps: its cgroups and workers are made first, then its operations are
/// done, then its payloads are started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backdrop {
    /// Cgroups and their workers.
    pub cgroups: Vec<Cgroup>,
    /// Operations, done once after the cgroups are made.
    pub ops: Vec<Op>,
    /// Payloads, started last.
    pub payloads: Vec<Payload>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// An empty scenario of two seconds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: String::new(),
            about: String::new(),
            duration: Duration::from_secs(2),
            backdrop: Backdrop::default(),
            steps: Vec::new(),
        }
    }

    /// Names it.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Says what it presses on.
    #[must_use]
    pub fn about(mut self, about: &str) -> Self {
        about.clone_into(&mut self.about);
        self
    }

    /// Sets the time that fractional holds are fractions of.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a cgroup that lives across all steps.
    #[must_use]
    pub fn backdrop(mut self, cgroup: Cgroup) -> Self {
        self.backdrop.cgroups.push(cgroup);
        self
    }

    /// Adds an operation that is done once the backdrop's cgroups are made.
    #[must_use]
    pub fn backdrop_op(mut self, op: Op) -> Self {
        self.backdrop.ops.push(op);
        self
    }

    /// Adds a payload that lives across all steps.
    #[must_use]
    pub fn backdrop_payload(mut self, payload: Payload) -> Self {
        self.backdrop.payloads.push(payload);
        self
    }
}
