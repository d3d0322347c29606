//! Scheduling policies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time;

/// A scheduling policy of `sched_setattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub enum Policy {
    /// `SCHED_OTHER`.
    #[default]
    Normal,
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
    /// `SCHED_FIFO`.
    Fifo {
        /// 1 to 99.
        priority: u32,
    },
    /// `SCHED_RR`.
    RoundRobin {
        /// 1 to 99.
        priority: u32,
    },
    /// `SCHED_DEADLINE`; 1024 ns <= runtime <= deadline <= period.
    Deadline {
        /// CPU time in each period.
        #[serde(rename = "runtime_ns", with = "time")]
        runtime: Duration,
        /// By when in each period.
        #[serde(rename = "deadline_ns", with = "time")]
        deadline: Duration,
        /// The period.
        #[serde(rename = "period_ns", with = "time")]
        period: Duration,
    },
    /// `SCHED_EXT`.
    Ext,
}
