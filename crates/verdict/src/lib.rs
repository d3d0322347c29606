//! What a scenario showed, the limits it is held to, and a verdict that explains itself.
//!
//! # What this crate must never depend on
//!
//! Anything but `belljar-topology`, serde and thiserror: it is pure. It runs nothing and reads no file.
#![forbid(unsafe_code)]

pub mod evidence;
mod limits;
mod outcome;
pub mod text;

pub use limits::Limits;
pub use outcome::Outcome;
