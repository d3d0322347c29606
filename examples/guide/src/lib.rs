//! Compiles every snippet of `docs/guide` and of the README, so that none of them can grow old.
//!
//! It has no code of its own, and must never have any.

#[doc = include_str!("../../../docs/guide/1-a-first-scenario.md")]
pub mod first_scenario {}
#[doc = include_str!("../../../docs/guide/2-your-scheduler.md")]
pub mod your_scheduler {}
#[doc = include_str!("../../../docs/guide/3-verdicts.md")]
pub mod verdicts {}
#[doc = include_str!("../../../docs/guide/4-seeds-and-replay.md")]
pub mod seeds_and_replay {}
#[doc = include_str!("../../../docs/guide/5-load-of-your-own.md")]
pub mod load_of_your_own {}
#[doc = include_str!("../../../README.md")]
pub mod readme {}
