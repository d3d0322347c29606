//! For clients written in Rust: sending at a rate, and recording latencies.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::protocol::{ClientReport, LatencyNs, PROTOCOL_VERSION};

/// Says when each operation begins, and when the measured window is over.
///
/// ```
/// use belljar_bench::{Meter, Pacer};
/// use std::time::{Duration, Instant};
///
/// let mut pacer = Pacer::new(Duration::from_millis(20), 1000);
/// let mut meter = Meter::new();
/// while let Some(due) = pacer.next_operation() {
///     // Ask, and check the answer.
///     meter.record(due.elapsed(), 1);
/// }
/// let report = meter.report(pacer.elapsed());
/// assert!(report.operations <= 22 && report.elapsed_ns >= 20_000_000);
/// // A client writes this to standard output.
/// assert!(report.line().starts_with("{\"belljar_bench\":1,"));
/// ```
#[derive(Debug)]
pub struct Pacer {
    started: Instant,
    window: Duration,
    interval: Option<Duration>,
    next: Duration,
}

impl Pacer {
    /// A window that opens now, with `rate_per_s` operations in a second; as many as possible for 0, as
    /// `{rate_per_s}` says it.
    pub fn new(window: Duration, rate_per_s: u64) -> Self {
        let interval = (rate_per_s > 0).then(|| Duration::from_nanos(1_000_000_000 / rate_per_s));
        Self { started: Instant::now(), window, interval, next: Duration::ZERO }
    }

    /// Waits until the next operation is due, and gives the moment from which its latency counts;
    /// `None` once the window is over.
    ///
    /// At a fixed rate that is the moment when it was due, also if the client comes late to it because
    /// an answer before it took long: whoever asks at that rate would have waited. How much later than
    /// that a client that sleeps is woken up, most often some 50 µs, is a part of the latency.
    pub fn next_operation(&mut self) -> Option<Instant> {
        let now = self.started.elapsed();
        if now >= self.window {
            return None;
        }
        let Some(interval) = self.interval else { return Some(self.started + now) };
        let due = self.next;
        if due >= self.window {
            std::thread::sleep(self.window.saturating_sub(now));
            return None;
        }
        self.next += interval;
        if due > now {
            std::thread::sleep(due - now);
        }
        Some(self.started + due)
    }

    /// How long the window has been open.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Counts operations and records how long they take, from a nanosecond to over an hour, with three
/// digits. Recording allocates nothing.
#[derive(Debug)]
pub struct Meter {
    operations: u64,
    items: u64,
    latencies: Histogram<u64>,
}

/// An hour and some, in nanoseconds.
const LATENCY_NS_MAX: u64 = 1 << 42;

impl Meter {
    /// Nothing yet.
    pub fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        let latencies = latencies.expect("the bounds are what the histogram asks for");
        Self { operations: 0, items: 0, latencies }
    }

    /// An operation of so many items has ended.
    pub fn record(&mut self, latency: Duration, items: u64) {
        self.operations += 1;
        self.items += items;
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What to report after a window of this length.
    pub fn report(&self, elapsed: Duration) -> ClientReport {
        let quantile = |quantile| self.latencies.value_at_quantile(quantile);
        let latency_ns = (self.operations > 0).then(|| LatencyNs {
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: self.latencies.max(),
        });
        ClientReport {
            belljar_bench: PROTOCOL_VERSION,
            operations: self.operations,
            items: Some(self.items),
            elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            latency_ns,
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut meter = Meter::new();
        (1..=1000).for_each(|microseconds| meter.record(Duration::from_micros(microseconds), 3));
        meter.record(Duration::MAX, 3);
        let report = meter.report(Duration::from_secs(2));
        assert_eq!((report.operations, report.items), (1001, Some(3003)));
        let latency = report.latency_ns.unwrap();
        assert!(latency.is_ordered());
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
        assert!(near(latency.p50, 501_000) && near(latency.p95, 951_000), "{latency:?}");
        assert!(near(latency.p999, 1_000_000) && latency.max >= LATENCY_NS_MAX, "{latency:?}");
        assert_eq!(Meter::new().report(Duration::ZERO).latency_ns, None);
    }

    #[test]
    fn operations_count_from_when_they_were_due() {
        let mut pacer = Pacer::new(Duration::from_secs(3600), 1000);
        let first = pacer.next_operation().unwrap();
        std::thread::sleep(Duration::from_millis(10));
        for number in 1..=10 {
            let due = pacer.next_operation().unwrap();
            assert_eq!(due - first, Duration::from_millis(number));
        }
        // Likewise those that it had to wait for.
        let mut waiting = Pacer::new(Duration::from_secs(3600), 1000);
        let first = waiting.next_operation().unwrap();
        for number in 1..=3 {
            let due = waiting.next_operation().unwrap();
            assert_eq!(due - first, Duration::from_millis(number));
            assert!(due <= Instant::now());
        }
        let mut over = Pacer::new(Duration::ZERO, 0);
        assert_eq!(over.next_operation(), None);
    }
}
