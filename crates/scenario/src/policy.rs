//! Scheduling policies.

use std::fmt;
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

/// A policy whose parameters the kernel would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy `{policy}` is not possible: give {allowed}")]
pub struct ImpossiblePolicy {
    /// The policy.
    pub policy: Policy,
    /// What is possible, in words.
    pub allowed: String,
}

impl Policy {
    /// Whether the kernel would take the parameters.
    ///
    /// # Errors
    ///
    /// If a priority is not 1 to 99, or a deadline's times are out of order.
    pub fn validate(&self) -> Result<(), ImpossiblePolicy> {
        /// What the kernel takes a deadline's times for at least (`DL_SCALE`).
        const RUNTIME_MIN: Duration = Duration::from_nanos(1024);
        let allowed = match *self {
            Self::Fifo { priority } | Self::RoundRobin { priority }
                if !(1..=99).contains(&priority) =>
            {
                "a priority from 1 to 99"
            }
            Self::Deadline { runtime, deadline, period }
                if runtime < RUNTIME_MIN || runtime > deadline || deadline > period =>
            {
                "1.024µs <= runtime <= deadline <= period"
            }
            _ => return Ok(()),
        };
        Err(ImpossiblePolicy { policy: *self, allowed: allowed.to_owned() })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Batch => f.write_str("batch"),
            Self::Idle => f.write_str("idle"),
            Self::Fifo { priority } => write!(f, "fifo {priority}"),
            Self::RoundRobin { priority } => write!(f, "rr {priority}"),
            Self::Deadline { runtime, deadline, period } => {
                write!(f, "deadline {runtime:?} in {deadline:?} of {period:?}")
            }
            Self::Ext => f.write_str("ext"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_policies_say_what_is_possible() {
        let us = Duration::from_micros;
        let deadline = |runtime, deadline, period| Policy::Deadline {
            runtime: us(runtime),
            deadline: us(deadline),
            period: us(period),
        };
        assert_eq!(deadline(2, 2, 2).validate(), Ok(()));
        for policy in [deadline(1, 2, 3), deadline(3, 2, 4), deadline(2, 4, 3)] {
            assert!(policy.validate().is_err(), "{policy}");
        }
        assert_eq!(Policy::RoundRobin { priority: 99 }.validate(), Ok(()));
        assert_eq!(
            Policy::Fifo { priority: 100 }.validate().unwrap_err().to_string(),
            "policy `fifo 100` is not possible: give a priority from 1 to 99"
        );
    }
}
