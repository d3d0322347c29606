//! The checks, and what they have in common.

pub(crate) mod fairness;
pub(crate) mod gap;
pub(crate) mod isolation;
pub(crate) mod locality;
pub(crate) mod log;
pub(crate) mod migration;
pub(crate) mod progress;
pub(crate) mod rate;
pub(crate) mod scheduler;
pub(crate) mod setup;
mod tally;
pub(crate) mod wake;

use tally::{Sense, Tally};
