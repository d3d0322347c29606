//! One sample of a row, and what can be wrong with it.

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::fault::Fault;
use crate::process::Role;
use crate::protocol::LatencyNs;

/// What one sample of a row came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Operations in the client's window.
    pub operations: u64,
    /// Items in them.
    pub items: u64,
    /// The client's window, on its clock, in nanoseconds.
    pub elapsed_ns: u64,
    /// How long operations took.
    pub latency_ns: Option<LatencyNs>,
    /// The client's life from start to end, on the runner's clock, in nanoseconds.
    pub wall_ns: u64,
    /// The client's CPU time in its life.
    pub client_cpu_ns: u64,
    /// The server's CPU time in the client's life; `None` without a server.
    pub server_cpu_ns: Option<u64>,
    /// CPU time that the machine spent on anything else in that time.
    pub foreign_cpu_ns: u64,
}

/// The part of its nominal duration that a client must at least have measured for.
const ELAPSED_PART_MIN: f64 = 0.9;

/// No CPU does more operations in a nanosecond, whatever they are.
const OPERATIONS_PER_NS_MAX: u64 = 10;

/// What a client may exceed its fixed rate by: an operation more or less at either end, and 5 %.
const OVERRUN_MAX: f64 = 1.05;

impl Measurement {
    /// A rate in the client's window.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        if self.elapsed_ns == 0 { 0.0 } else { count as f64 * 1e9 / self.elapsed_ns as f64 }
    }

    /// CPU time as a part of the client's life, in percent of one CPU.
    pub(crate) fn cpu_pct(&self, cpu_ns: u64) -> f64 {
        if self.wall_ns == 0 { 0.0 } else { cpu_ns as f64 * 100.0 / self.wall_ns as f64 }
    }

    /// What other processes used, in CPUs.
    pub fn foreign_cpus(&self) -> f64 {
        self.cpu_pct(self.foreign_cpu_ns) / 100.0
    }

    /// CPU time of client and server.
    pub fn total_cpu_ns(&self) -> u64 {
        self.client_cpu_ns.saturating_add(self.server_cpu_ns.unwrap_or(0))
    }

    /// What is in it that no clock or CPU allows, in words.
    fn impossible(&self) -> Option<String> {
        let Self { operations, items, wall_ns, client_cpu_ns, .. } = *self;
        if items < operations {
            return Some(format!("{items} items in {operations} operations"));
        }
        if operations > client_cpu_ns.saturating_mul(OPERATIONS_PER_NS_MAX) {
            return Some(format!("{operations} operations in {client_cpu_ns} ns of CPU time"));
        }
        let slowest = self.latency_ns.as_ref().map(|latency| latency.max)?;
        (slowest > wall_ns)
            .then(|| format!("an operation of {slowest} ns in a life of {wall_ns} ns"))
    }

    /// The first reason not to believe it.
    pub fn fault(&self, cell: &Cell) -> Option<Fault> {
        if self.operations == 0 || self.items == 0 || self.elapsed_ns == 0 {
            return Some(Fault::ZeroThroughput);
        }
        let nominal_ns = cell.duration_s * 1e9;
        let (elapsed_ns, wall_ns) = (self.elapsed_ns, self.wall_ns);
        if (elapsed_ns as f64) < nominal_ns * ELAPSED_PART_MIN || elapsed_ns > wall_ns {
            return Some(Fault::Elapsed { elapsed_ns, wall_ns, duration_s: cell.duration_s });
        }
        if self.client_cpu_ns == 0 {
            return Some(Fault::ZeroCpu { role: Role::Client });
        }
        if let Some(what) = self.impossible() {
            return Some(Fault::Impossible { what });
        }
        match &self.latency_ns {
            None if cell.has_latency => return Some(Fault::NoLatency),
            Some(_) if !cell.has_latency => return Some(Fault::UnexpectedLatency),
            Some(latency) if latency.p50 == 0 => return Some(Fault::ZeroLatency),
            Some(latency) if !latency.is_ordered() => return Some(Fault::LatencyOrder),
            _ => {}
        }
        match self.server_cpu_ns {
            Some(cpu_ns) if cell.has_server() => {
                if cpu_ns == 0 {
                    return Some(Fault::ZeroCpu { role: Role::Server });
                }
            }
            None if !cell.has_server() => {}
            _ => return Some(Fault::ServerPresence),
        }
        let rate = cell.rate.per_second()?.get() as f64;
        let allowed = rate * OVERRUN_MAX * self.elapsed_ns as f64 / 1e9 + 2.0;
        let operations = self.operations;
        (operations as f64 > allowed).then_some(Fault::Overrun {
            operations,
            elapsed_ns,
            rate_per_s: rate as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::testing::{MATRIX, good};

    /// What one change to a good sample of row `index` is called.
    fn fault(index: usize, change: impl FnOnce(&mut Measurement)) -> String {
        let cell = &Matrix::parse(MATRIX).unwrap().cells()[index];
        let mut sample = good(cell, 500.0);
        assert_eq!(sample.fault(cell), None);
        change(&mut sample);
        let fault = sample.fault(cell).expect("it is not to be believed");
        serde_json::to_value(&fault).unwrap()["kind"].as_str().unwrap().to_owned()
    }

    fn latency(sample: &mut Measurement) -> &mut LatencyNs {
        sample.latency_ns.as_mut().unwrap()
    }

    #[test]
    fn each_reason_not_to_believe_a_sample_is_found() {
        let (max, fixed, copy) = (0, 1, 8);
        assert_eq!(fault(max, |sample| sample.operations = 0), "zero_throughput");
        assert_eq!(fault(max, |sample| sample.items = 0), "zero_throughput");
        assert_eq!(fault(max, |sample| sample.elapsed_ns = 0), "zero_throughput");
        assert_eq!(fault(max, |sample| sample.elapsed_ns = 44_000_000), "elapsed");
        assert_eq!(fault(max, |sample| sample.elapsed_ns = sample.wall_ns + 1), "elapsed");
        assert_eq!(fault(max, |sample| sample.latency_ns = None), "no_latency");
        assert_eq!(fault(max, |sample| latency(sample).p50 = 0), "zero_latency");
        assert_eq!(fault(max, |sample| latency(sample).p99 = 1), "latency_order");
        assert_eq!(fault(max, |sample| sample.client_cpu_ns = 0), "zero_cpu");
        assert_eq!(fault(max, |sample| sample.server_cpu_ns = Some(0)), "zero_cpu");
        assert_eq!(fault(max, |sample| sample.server_cpu_ns = None), "server_presence");
        assert_eq!(fault(max, |sample| sample.items = sample.operations - 1), "impossible");
        assert_eq!(fault(max, |sample| sample.client_cpu_ns = 49), "impossible");
        assert_eq!(fault(max, |sample| latency(sample).max = sample.wall_ns + 1), "impossible");
        let overrun = |sample: &mut Measurement| (sample.operations, sample.items) = (1053, 1053);
        assert_eq!(fault(fixed, overrun), "overrun");
        assert_eq!(fault(copy, |sample| sample.server_cpu_ns = Some(1)), "server_presence");
        let unexpected = LatencyNs { p50: 1, p95: 1, p99: 1, p999: 1, max: 1 };
        let fault = fault(copy, |sample| sample.latency_ns = Some(unexpected));
        assert_eq!(fault, "unexpected_latency");
    }

    #[test]
    fn the_largest_counts_are_no_danger() {
        let cell = &Matrix::parse(MATRIX).unwrap().cells()[0];
        let mut sample = good(cell, 1.0);
        (sample.operations, sample.items, sample.wall_ns) = (u64::MAX, u64::MAX, u64::MAX);
        (sample.client_cpu_ns, sample.server_cpu_ns) = (u64::MAX, Some(u64::MAX));
        assert_eq!(sample.fault(cell), None);
        assert!(sample.per_second(sample.items).is_finite());
        assert_eq!(sample.total_cpu_ns(), u64::MAX);
    }
}
