//! What kinds of work are told beyond numbers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time;

/// A phase of [`Work::Sequence`](super::Work::Sequence).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum WorkPhase {
    /// Spins.
    Spin {
        /// How many.
        spins: u64,
    },
    /// Sleeps.
    Sleep {
        /// How long.
        #[serde(rename = "time_ns", with = "time")]
        time: Duration,
    },
    /// Yields.
    Yield {
        /// How often.
        times: u32,
    },
    /// Writes blocks of 4 KiB to a file, and syncs it.
    Io {
        /// How many.
        blocks: u32,
    },
    /// Steps of dependent arithmetic.
    AluHot {
        /// How many.
        steps: u64,
    },
}

/// Whether a lock passes the priority of who waits on to who holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Futex {
    /// It does not.
    #[default]
    Plain,
    /// It does (`FUTEX_LOCK_PI`).
    Pi,
}

/// Who reaps children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reap {
    /// The parent waits for each.
    #[default]
    Wait,
    /// The kernel does, as `SIGCHLD` is ignored.
    Ignore,
}

/// The width of arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AluWidth {
    /// General registers.
    #[default]
    Scalar,
    /// 128-bit vectors.
    Vec128,
    /// 256-bit vectors; refused where the CPU has none.
    Vec256,
    /// 512-bit vectors; refused where the CPU has none.
    Vec512,
    /// Matrix tiles; refused where the CPU has none.
    Amx,
    /// The widest that the CPU has.
    Widest,
}

/// Parameters of [`Work::Schbench`](super::Work::Schbench); the group has one worker, which starts its own threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchbenchParameters {
    /// Messengers.
    pub message_threads: u32,
    /// Workers of each messenger; 0 for as many as there are usable CPUs.
    pub worker_threads: u32,
    /// The footprint of the matrices, in bytes.
    pub cache_bytes: u64,
    /// Multiplications for each request.
    pub operations: u32,
    /// How long a worker sleeps in a request.
    #[serde(rename = "sleep_ns", with = "time")]
    pub sleep: Duration,
    /// Whether to go without the lock around each CPU's footprint.
    pub skip_locking: bool,
    /// Requests in a second; 0 for as many as go.
    pub requests_per_sec: u32,
    /// Share of CPU time that the rate is steered to, in percent; 0 to leave it.
    pub auto_rps: u32,
    /// Percentage of the footprint that is the worker's own; none for all.
    pub split_percent: Option<u32>,
    /// Bytes passed through a pipe with each message; 0 for none.
    pub pipe_transfer_bytes: u32,
}

impl Default for SchbenchParameters {
    fn default() -> Self {
        Self {
            message_threads: 1,
            worker_threads: 0,
            cache_bytes: 256 << 10,
            operations: 5,
            sleep: Duration::from_micros(100),
            skip_locking: false,
            requests_per_sec: 0,
            auto_rps: 0,
            split_percent: None,
            pipe_transfer_bytes: 0,
        }
    }
}

/// Parameters of [`Work::Taobench`](super::Work::Taobench); the group has one worker, which starts its own threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaobenchParameters {
    /// Clients; 0 for as many as there are usable CPUs.
    pub client_threads: u32,
    /// Slow threads; 0 for a third of the clients, at least one.
    pub slow_threads: u32,
    /// The size of the cache, in bytes.
    pub cache_bytes: u64,
    /// How many of a hundred look-ups hit.
    pub hit_percent: u32,
    /// How long a slow operation sleeps.
    #[serde(rename = "slow_sleep_ns", with = "time")]
    pub slow_sleep: Duration,
    /// The 99th percentile of a slow operation's sleep, if it is Pareto distributed; 0 if not.
    #[serde(rename = "slow_p99_ns", with = "time")]
    pub slow_p99: Duration,
    /// From one operation of a client to the next; 0 for a closed loop.
    #[serde(rename = "arrival_ns", with = "time")]
    pub arrival: Duration,
}

impl Default for TaobenchParameters {
    fn default() -> Self {
        Self {
            client_threads: 0,
            slow_threads: 0,
            cache_bytes: 64 << 20,
            hit_percent: 90,
            slow_sleep: Duration::from_micros(100),
            slow_p99: Duration::ZERO,
            arrival: Duration::ZERO,
        }
    }
}
