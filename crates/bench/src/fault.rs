//! Why a sample failed.

use serde::{Deserialize, Serialize};

use crate::process::Role;

/// Why a sample failed. The first failed sample of a row fails the row; another try is no cure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// A process could not be started.
    #[error("the {role} could not be started: {problem}")]
    Start {
        /// Which.
        role: Role,
        /// Why.
        problem: String,
    },
    /// A program was written to after the run began.
    #[error("{program} changed while the run was going on; begin another run")]
    ProgramChanged {
        /// Which.
        program: String,
    },
    /// The server was not ready in time.
    #[error("the server was not ready after {seconds} s: {missing} is missing")]
    NotReady {
        /// How long it had.
        seconds: f64,
        /// What was missing.
        missing: String,
    },
    /// The server ended before it was told to.
    #[error("the server ended before its client, with {status}")]
    ServerEnded {
        /// How.
        status: String,
    },
    /// The client took too long, and was killed.
    #[error("the client did not end within {seconds} s")]
    ClientTimeout {
        /// How long it had.
        seconds: f64,
    },
    /// The client ended with a failure.
    #[error("the client ended with {status}")]
    ClientStatus {
        /// How.
        status: String,
    },
    /// What the client wrote is no report.
    #[error("the client's output is not a report: {problem}")]
    Output {
        /// Why.
        problem: String,
    },
    /// The server did not end in time, and was killed.
    #[error("the server did not end within {seconds} s of SIGTERM")]
    ServerStuck {
        /// How long it had.
        seconds: f64,
    },
    /// The server ended with a failure.
    #[error("the server ended with {status} when it was told to end")]
    ServerStatus {
        /// How.
        status: String,
    },
    /// A process had others working for it, whose CPU time nobody would see.
    #[error(
        "the {role} has other processes working for it, whose CPU time is not seen; a script must `exec` what does the work"
    )]
    OtherProcesses {
        /// Which.
        role: Role,
    },
    /// The client did nothing.
    #[error("the throughput is zero")]
    ZeroThroughput,
    /// Half of all operations took no time.
    #[error("the median latency is zero: the clock or the recording of latencies is at fault")]
    ZeroLatency,
    /// A percentile is below a lower one.
    #[error("the latency percentiles are not in order")]
    LatencyOrder,
    /// Latencies are missing.
    #[error("the client reported no latencies; without any, its family says `latency = false`")]
    NoLatency,
    /// Latencies are there that the matrix says are not.
    #[error("the client reported latencies, but its family says `latency = false`")]
    UnexpectedLatency,
    /// A process used no CPU time.
    #[error("the {role} used no CPU time, which cannot be")]
    ZeroCpu {
        /// Which.
        role: Role,
    },
    /// CPU time of a server is missing, or there without a server.
    #[error("the server's CPU time does not fit to whether there is a server")]
    ServerPresence,
    /// The client's clock and the runner's disagree, or it did not measure for as long as it should.
    #[error(
        "the client says that it measured for {elapsed_ns} ns, when it lived for {wall_ns} ns and was to measure for {duration_s} s"
    )]
    Elapsed {
        /// What the client says.
        elapsed_ns: u64,
        /// What the runner saw.
        wall_ns: u64,
        /// What the client was told.
        duration_s: f64,
    },
    /// The client lived for much longer than it says that it measured.
    #[error(
        "the client lived for {wall_ns} ns and says that it measured for {elapsed_ns} ns of them; its start and end may take {overhead_s} s: correct its clock, or raise `client_overhead_s`"
    )]
    Overhead {
        /// What the client says.
        elapsed_ns: u64,
        /// What the runner saw.
        wall_ns: u64,
        /// What may lie between them.
        overhead_s: f64,
    },
    /// The client reported what cannot be.
    #[error("the client reported {what}, which cannot be")]
    Impossible {
        /// What.
        what: String,
    },
    /// The client did not keep to its rate.
    #[error(
        "the client did {operations} operations in {elapsed_ns} ns, more than its rate of {rate_per_s}/s allows"
    )]
    Overrun {
        /// What it did.
        operations: u64,
        /// In what time.
        elapsed_ns: u64,
        /// What was allowed.
        rate_per_s: u64,
    },
}
