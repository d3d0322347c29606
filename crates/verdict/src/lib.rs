//! What a scenario showed, the limits it is held to, and a verdict that explains itself.
#![forbid(unsafe_code)]

mod check;
mod checks;
pub mod evidence;
mod finding;
mod judge;
mod limits;
mod outcome;
mod scene;
pub mod text;
mod verdict;

pub use check::{CheckKind, UnknownCheck};
pub use finding::{Finding, StepName, Subject, Unit};
pub use judge::{Judge, Mode};
pub use limits::{LimitError, Limits, Origin, Resolved, Sourced};
pub use outcome::Outcome;
pub use verdict::Verdict;
