//! Typed calls.

mod state;

pub use state::State;
