//! What is measured in a row.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measurement::Measurement;

/// A figure of a sample, and as a median of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Items in a second. An operation may be many items, as a batch is.
    ThroughputPerS,
    /// Operations in a second: what a fixed rate is compared with.
    OperationsPerS,
    /// The latency that half of all operations do not exceed, in nanoseconds.
    LatencyP50Ns,
    /// The same for 95 of 100 operations.
    LatencyP95Ns,
    /// The same for 99 of 100 operations.
    LatencyP99Ns,
    /// The same for 999 of 1000 operations.
    LatencyP999Ns,
    /// The longest latency, in nanoseconds.
    LatencyMaxNs,
    /// CPU time of the client, in percent of one CPU.
    ClientCpuPct,
    /// CPU time of the server, in percent of one CPU.
    ServerCpuPct,
    /// CPU time of both, in percent of one CPU.
    TotalCpuPct,
    /// CPU time of both for each operation, in nanoseconds.
    CpuNsPerOperation,
}

impl Metric {
    /// All, in the order of the published table.
    pub const ALL: [Self; 11] = [
        Self::ThroughputPerS,
        Self::OperationsPerS,
        Self::LatencyP50Ns,
        Self::LatencyP95Ns,
        Self::LatencyP99Ns,
        Self::LatencyP999Ns,
        Self::LatencyMaxNs,
        Self::ClientCpuPct,
        Self::ServerCpuPct,
        Self::TotalCpuPct,
        Self::CpuNsPerOperation,
    ];

    /// Its name in every format, unit last.
    pub fn name(self) -> &'static str {
        match self {
            Self::ThroughputPerS => "throughput_per_s",
            Self::OperationsPerS => "operations_per_s",
            Self::LatencyP50Ns => "latency_p50_ns",
            Self::LatencyP95Ns => "latency_p95_ns",
            Self::LatencyP99Ns => "latency_p99_ns",
            Self::LatencyP999Ns => "latency_p999_ns",
            Self::LatencyMaxNs => "latency_max_ns",
            Self::ClientCpuPct => "client_cpu_pct",
            Self::ServerCpuPct => "server_cpu_pct",
            Self::TotalCpuPct => "total_cpu_pct",
            Self::CpuNsPerOperation => "cpu_ns_per_operation",
        }
    }

    /// Whether more is better.
    pub fn is_higher_better(self) -> bool {
        matches!(self, Self::ThroughputPerS | Self::OperationsPerS)
    }

    /// Its value in a sample; `None` for latency where none is measured, and for the server's CPU
    /// where there is no server.
    pub fn of(self, sample: &Measurement) -> Option<f64> {
        let latency = sample.latency_ns.as_ref();
        // Exact up to 2^53 ns, which is a hundred days.
        let ns = |ns: u64| ns as f64;
        match self {
            Self::ThroughputPerS => Some(sample.per_second(sample.items)),
            Self::OperationsPerS => Some(sample.per_second(sample.operations)),
            Self::LatencyP50Ns => latency.map(|latency| ns(latency.p50)),
            Self::LatencyP95Ns => latency.map(|latency| ns(latency.p95)),
            Self::LatencyP99Ns => latency.map(|latency| ns(latency.p99)),
            Self::LatencyP999Ns => latency.map(|latency| ns(latency.p999)),
            Self::LatencyMaxNs => latency.map(|latency| ns(latency.max)),
            Self::ClientCpuPct => Some(sample.cpu_pct(sample.client_cpu_ns)),
            Self::ServerCpuPct => sample.server_cpu_ns.map(|cpu_ns| sample.cpu_pct(cpu_ns)),
            Self::TotalCpuPct => Some(sample.cpu_pct(sample.total_cpu_ns())),
            Self::CpuNsPerOperation => {
                Some(ns(sample.total_cpu_ns()) / sample.operations.max(1) as f64)
            }
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
