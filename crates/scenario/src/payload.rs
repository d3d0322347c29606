//! External programs as load.

use std::time::Duration;

use belljar_verdict::Polarity;
use serde::{Deserialize, Serialize};

use crate::time;

/// A program of the host that is run in the guest, with its libraries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// What reports and operations call it.
    pub name: String,
    /// The program: a name on the host's PATH, or a path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The cgroup that it runs in; empty for the scenario's root.
    pub cgroup: String,
    /// How long it may run, in guest time; to the end of its step, or of the scenario, if not given.
    #[serde(rename = "timeout_ns", default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Nanos>,
    /// What its output is.
    pub output: Output,
    /// Its figures.
    pub metrics: Vec<Metric>,
    /// What must hold for it to be well.
    pub checks: Vec<Check>,
}

/// A duration in an optional field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(#[serde(with = "time")] pub Duration);

/// What a payload's output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Nothing that is read: the exit code counts.
    #[default]
    ExitCode,
    /// JSON on standard output, possibly after other text; every number in it is a metric.
    Json,
}

/// How a figure of a payload is to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its path in the JSON: `jobs.0.read.iops`.
    pub path: String,
    /// Its unit.
    pub unit: String,
    /// In which direction it gets better.
    pub polarity: Polarity,
}

/// What must hold for a payload to be well. A check on a figure that is missing fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "kebab-case")]
pub enum Check {
    /// The figure is at least this.
    Min {
        /// Its path.
        path: String,
        /// The least.
        least: f64,
    },
    /// The figure is at most this.
    Max {
        /// Its path.
        path: String,
        /// The most.
        most: f64,
    },
    /// The figure lies between these.
    Range {
        /// Its path.
        path: String,
        /// The least.
        least: f64,
        /// The most.
        most: f64,
    },
    /// The figure is there.
    Exists {
        /// Its path.
        path: String,
    },
    /// It exited with this code; without such a check, with 0.
    ExitCode {
        /// The code.
        code: i32,
    },
}

impl Payload {
    /// A program of the host, without arguments.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            args: Vec::new(),
            cgroup: String::new(),
            timeout: None,
            output: Output::ExitCode,
            metrics: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Names it.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Runs it in a cgroup.
    #[must_use]
    pub fn in_cgroup(mut self, cgroup: &str) -> Self {
        cgroup.clone_into(&mut self.cgroup);
        self
    }

    /// Limits its time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(Nanos(timeout));
        self
    }

    /// Reads JSON from its standard output.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.output = Output::Json;
        self
    }

    /// Says how a figure is to be read: its unit and where it gets better (`lower`, `higher`, `none`).
    #[must_use]
    pub fn metric(mut self, path: &str, unit: &str, polarity: Polarity) -> Self {
        let (path, unit) = (path.to_owned(), unit.to_owned());
        self.metrics.push(Metric { path, unit, polarity });
        self
    }

    /// Adds a check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }
}
