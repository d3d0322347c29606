//! Requests for numbers, one after the other in a way, and how long each took.

use crate::args::{BenchArgs, Shape};
use crate::failure::{Exit, Failure, at};
use hdrhistogram::Histogram;
use snapwire::{Client, Endpoint, Error, Increment};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How many requests of a pipeline are between two looks at the clock.
const PIPELINE_LEN: u64 = 512;

/// What was done in a time.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Messages that were answered.
    pub(crate) messages: u64,
    /// Numbers that were answered: more than messages in batches.
    pub(crate) items: u64,
    pub(crate) took: Duration,
    /// From a message to its answer, in nanoseconds.
    pub(crate) latency_ns: Histogram<u64>,
    /// It was called off before the time was up.
    pub(crate) interrupted: bool,
}

/// Asks for a time, or until it is called off, and checks every answer.
pub(crate) fn load(
    client: &mut Client<Increment>,
    endpoint: &Endpoint,
    args: &BenchArgs,
    duration: Duration,
) -> Result<Measured, Failure> {
    // From a nanosecond to a minute.
    let histogram = Histogram::new_with_max(60_000_000_000, 3);
    let latency_ns =
        histogram.map_err(|error| Failure::new(Exit::Failed, format!("no histogram: {error}")))?;
    let took = Duration::ZERO;
    let mut measured = Measured { messages: 0, items: 0, took, latency_ns, interrupted: false };
    let abort = client.abort_handle();
    let at = at(endpoint);
    let began = Instant::now();
    while measured.took < duration {
        let asked = match args.shape {
            Shape::PingPong => ping(client, &mut measured, &at),
            Shape::Pipeline => pipe(client, args.depth as usize, &mut measured, &at),
            Shape::Batch => batch(client, args.items, &mut measured, &at),
        };
        measured.took = began.elapsed();
        if abort.is_aborted() {
            measured.interrupted = true;
            break;
        }
        asked?;
    }
    Ok(measured)
}

impl Measured {
    fn took(&mut self, began: Instant) {
        let ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record(ns.max(1));
        self.messages += 1;
    }
}

fn wrong(asked: u64, answer: u64) -> Failure {
    let message = format!("the server answered {answer} to {asked}: it does not increment");
    Failure::new(Exit::Broken, message).hint("measure a service that serves INCREMENT")
}

fn ping(
    client: &mut Client<Increment>,
    measured: &mut Measured,
    at: impl Fn(Error) -> Failure,
) -> Result<(), Failure> {
    let asked = measured.items;
    let began = Instant::now();
    let answer = client.call(asked).map_err(at)?;
    measured.took(began);
    measured.items += 1;
    if answer == asked.wrapping_add(1) { Ok(()) } else { Err(wrong(asked, answer)) }
}

fn pipe(
    client: &mut Client<Increment>,
    depth: usize,
    measured: &mut Measured,
    at: impl Fn(Error) -> Failure,
) -> Result<(), Failure> {
    let first = measured.items;
    let began = RefCell::new(Vec::with_capacity(PIPELINE_LEN as usize));
    let asks = (first..first + PIPELINE_LEN).inspect(|_| began.borrow_mut().push(Instant::now()));
    let mut failed = None;
    let take = |index: usize, answer| {
        let asked = first + index as u64;
        if let Some(began) = began.borrow().get(index) {
            measured.took(*began);
            measured.items += 1;
        }
        if answer != asked.wrapping_add(1) {
            failed = Some(wrong(asked, answer));
            return Err(Error::Aborted);
        }
        Ok(())
    };
    let piped = client.pipeline(asks, depth, take);
    piped.map_err(|error| failed.unwrap_or_else(|| at(error)))
}

fn batch(
    client: &mut Client<Increment>,
    items: u32,
    measured: &mut Measured,
    at: impl Fn(Error) -> Failure,
) -> Result<(), Failure> {
    let first = measured.items;
    let last = first + u64::from(items);
    let began = Instant::now();
    let answers = client.call_batch(Numbers { next: first, end: last }).map_err(&at)?;
    for (asked, answer) in (first..).zip(answers.iter()) {
        let answer = answer.map_err(&at)?;
        if answer != asked.wrapping_add(1) {
            return Err(wrong(asked, answer));
        }
    }
    measured.took(began);
    measured.items = last;
    Ok(())
}

/// A range of 64 bits that knows its length, which is a batch's.
#[derive(Clone, Debug)]
struct Numbers {
    next: u64,
    end: u64,
}

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let number = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(number)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Numbers {}
