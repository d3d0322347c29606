//! What a scenario showed, the limits it is held to, and a verdict that explains itself.
#![forbid(unsafe_code)]

mod check;
mod checks;
mod claim;
pub mod evidence;
mod expect;
mod finding;
mod judge;
mod limits;
mod outcome;
mod polarity;
mod scene;
pub mod text;
mod verdict;

pub use check::{CheckKind, UnknownCheck};
pub use claim::{Claim, Items, Quantity, all_of, any_of, claim, claim_items, note};
pub use expect::{Expect, ExpectError};
pub use finding::{Finding, StepName, Subject, Unit};
pub use judge::{Judge, Mode};
pub use limits::{LimitError, Limits, Origin, Resolved, Sourced};
pub use outcome::Outcome;
pub use polarity::Polarity;
pub use verdict::Verdict;
