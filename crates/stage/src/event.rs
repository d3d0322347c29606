//! What happens on the stage, while it happens.

use std::fmt;

use serde::Serialize;

/// Something that happened, for whoever wants to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Workers were released, all at once.
    Released {
        /// How many.
        workers: u32,
    },
    /// A step began.
    StepBegan {
        /// Which, from 0.
        step: u32,
        /// Its name.
        name: String,
    },
    /// A step's hold began.
    Held {
        /// Which, from 0.
        step: u32,
    },
    /// A step ended, and what lived in it is gone.
    StepEnded {
        /// Which, from 0.
        step: u32,
    },
    /// Workers of a cgroup ended before they were told to.
    WorkersEnded {
        /// The cgroup.
        cgroup: String,
        /// How many processes of one group have ended so far.
        processes: u32,
    },
    /// A payload was started.
    PayloadBegan {
        /// Its name.
        payload: String,
    },
    /// A payload ended.
    PayloadEnded {
        /// Its name.
        payload: String,
    },
    /// A scheduler was attached.
    SchedulerAttached {
        /// Its name in the test.
        scheduler: String,
        /// What the kernel calls it.
        ops: String,
    },
    /// A scheduler ended, was detached, or did not attach.
    SchedulerEnded {
        /// Its name in the test.
        scheduler: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released { workers } => write!(f, "{workers} workers released"),
            Self::StepBegan { step, name } => write!(f, "step {} `{name}`", u64::from(*step) + 1),
            Self::Held { step } => write!(f, "step {} is held", u64::from(*step) + 1),
            Self::StepEnded { step } => write!(f, "step {} is over", u64::from(*step) + 1),
            Self::WorkersEnded { cgroup, processes } => {
                write!(f, "{processes} processes of a group in cgroup `{cgroup}` have ended")
            }
            Self::PayloadBegan { payload } => write!(f, "payload `{payload}` runs"),
            Self::PayloadEnded { payload } => write!(f, "payload `{payload}` has ended"),
            Self::SchedulerAttached { scheduler, ops } => {
                write!(f, "scheduler `{scheduler}` is attached as `{ops}`")
            }
            Self::SchedulerEnded { scheduler } => write!(f, "scheduler `{scheduler}` has ended"),
        }
    }
}
