//! What host and test process say to each other, in JSON.

use belljar_record::{Place, Polarity};
use serde::{Deserialize, Serialize};

/// What the host asks of a test process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The function, `module::name`.
    pub(crate) test: String,
    /// The topology that the machine was built with, in notation.
    pub(crate) topology: String,
    /// The mode that it runs in.
    pub(crate) mode: String,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// The time limit, in nanoseconds of guest time.
    pub(crate) timeout_ns: u64,
    /// What to set the wall clock to; a `det` machine keeps its own.
    pub(crate) wall_clock_ns: Option<u64>,
}

/// What a test process tells the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The body begins.
    Begin,
    /// The body measured something.
    Metric { name: String, value: f64, unit: String, polarity: Polarity },
    /// The body has something to say.
    Note { text: String },
    /// A part of the body begins.
    PhaseBegin { name: String },
    /// A part of the body ends.
    PhaseEnd { name: String },
    /// The body has ended.
    Outcome(Outcome),
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Passed,
    Failed { message: String, chain: Vec<String> },
    Panicked { message: String, at: Option<Place> },
    Skipped { why: String },
    Inconclusive { why: String },
}
