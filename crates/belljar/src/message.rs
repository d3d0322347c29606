//! What host and test process say to each other.

use belljar_record::{Place, Polarity};
use serde::{Deserialize, Serialize};

/// What the host asks of a test process.
///
/// It travels as six 64-bit numbers, little endian (seed, time limit, wall clock or 0,
/// lengths of the three texts), then the texts: every instruction between the request
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
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// The time limit, in nanoseconds of guest time.
    pub(crate) timeout_ns: u64,
    /// What to set the wall clock to; a `det` machine keeps its own.
    pub(crate) wall_clock_ns: Option<u64>,
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
            seed: 0,
            timeout_ns: 3_600_000_000_000,
            // It is set again by the request that follows.
            wall_clock_ns: Some(1_700_000_000_000_000_000),
        }
    }

    /// The bytes that travel.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let texts = [&self.test, &self.topology, &self.mode];
        let mut bytes = Vec::new();
        let numbers = [self.seed, self.timeout_ns, self.wall_clock_ns.unwrap_or(0)];
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
        let lengths = [number()?, number()?, number()?];
        let mut text = |length: u64| {
            let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            bytes = rest;
            std::str::from_utf8(text).ok().map(str::to_owned)
        };
        Some(Request {
            test: text(lengths[0])?,
            topology: text(lengths[1])?,
            mode: text(lengths[2])?,
            seed,
            timeout_ns,
            wall_clock_ns: (wall_clock_ns > 0).then_some(wall_clock_ns),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_survive(test: String, seed: u64, timeout_ns: u64, clock: Option<u64>) {
            let (topology, mode) = (String::from("1n1l4c1t"), String::from("det"));
            let wall_clock_ns = clock.filter(|clock| *clock > 0);
            let request = Request { test, topology, mode, seed, timeout_ns, wall_clock_ns };
            prop_assert_eq!(Request::decode(&request.encode()), Some(request));
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            let _ = Request::decode(&bytes);
        }
    }
}
