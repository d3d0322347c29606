//! What host and test process say to each other.

use belljar_record::{Place, Polarity};
use belljar_verdict::Limits;
use belljar_verdict::evidence::Evidence;
use serde::{Deserialize, Serialize};

/// What the host asks of a test process.
///
/// It travels as eight 64-bit numbers, little endian (seed, time limit, wall clock or 0, steps
/// to play, lengths of the four texts), then the texts: every instruction between the request
/// and the body is one that a fork emulates for the first time, and a JSON parser has
/// many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The function, `module::name`.
    pub(crate) test: String,
    /// The topology that the machine was built with, in notation.
    pub(crate) topology: String,
    /// The mode that it runs in.
    pub(crate) mode: String,
    /// The scheduler to attach, by its id; empty for the kernel's own.
    pub(crate) scheduler: String,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// The time limit, in nanoseconds of guest time.
    pub(crate) timeout_ns: u64,
    /// What to set the wall clock to; a `det` machine keeps its own.
    pub(crate) wall_clock_ns: Option<u64>,
    /// How many steps of a declared scenario to play; 0 for all.
    pub(crate) steps: u64,
}

impl Request {
    /// The request to go the way of a run up to the body, and to wait again: the
    /// emulator translates each instruction when it is first executed, and may as well
    /// do so while nobody waits for it. Not for `det`, whose runs must be alike.
    pub(crate) fn warm_up() -> Request {
        Request {
            test: String::new(),
            topology: String::from("1n1l1c1t"),
            mode: String::from("tcg"),
            scheduler: String::new(),
            seed: 0,
            timeout_ns: 3_600_000_000_000,
            // It is set again by the request that follows.
            wall_clock_ns: Some(1_700_000_000_000_000_000),
            steps: 0,
        }
    }

    /// The bytes that travel.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let texts = [&self.test, &self.topology, &self.mode, &self.scheduler];
        let mut bytes = Vec::new();
        let numbers = [self.seed, self.timeout_ns, self.wall_clock_ns.unwrap_or(0), self.steps];
        for number in numbers.into_iter().chain(texts.map(|text| text.len() as u64)) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// The request in `bytes`, or `None` when they are none.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Request> {
        let mut number = || {
            let (number, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            Some(u64::from_le_bytes(*number))
        };
        let (seed, timeout_ns, wall_clock_ns) = (number()?, number()?, number()?);
        let steps = number()?;
        let lengths = [number()?, number()?, number()?, number()?];
        let mut text = |length: u64| {
            let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            bytes = rest;
            std::str::from_utf8(text).ok().map(str::to_owned)
        };
        Some(Request {
            test: text(lengths[0])?,
            topology: text(lengths[1])?,
            mode: text(lengths[2])?,
            scheduler: text(lengths[3])?,
            seed,
            timeout_ns,
            wall_clock_ns: (wall_clock_ns > 0).then_some(wall_clock_ns),
            steps,
        })
    }
}

/// What a test process tells the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The body measured something.
    Metric { name: String, value: f64, unit: String, polarity: Polarity },
    /// The body has something to say.
    Note { text: String },
    /// A part of the body begins.
    PhaseBegin { name: String },
    /// A part of the body ends.
    PhaseEnd { name: String },
    /// A scenario was played.
    Played(Box<Played>),
    /// The body has ended.
    Outcome(Outcome),
}

/// A scenario that was played, and what it is held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Played {
    /// What it showed.
    pub(crate) evidence: Evidence,
    /// What the scheduler under test adds to the limits.
    pub(crate) of_scheduler: Limits,
    /// What the test adds.
    pub(crate) of_test: Limits,
    /// The steps' names and what each adds, in order.
    pub(crate) of_steps: Vec<(String, Limits)>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_survive(
            (test, scheduler) in any::<(String, String)>(),
            (seed, timeout_ns, steps) in any::<(u64, u64, u64)>(),
            clock in any::<Option<u64>>(),
        ) {
            let (topology, mode) = (String::from("1n1l4c1t"), String::from("det"));
            let wall_clock_ns = clock.filter(|clock| *clock > 0);
            let request =
                Request { test, topology, mode, scheduler, seed, timeout_ns, wall_clock_ns, steps };
            prop_assert_eq!(Request::decode(&request.encode()), Some(request));
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            let _ = Request::decode(&bytes);
        }
    }
}
