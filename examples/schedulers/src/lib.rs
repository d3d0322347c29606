//! Tests of schedulers, as their authors would write them.
//!
//! | file | shows |
//! | --- | --- |
//! | `tests/healthy.rs` | scenarios under EEVDF and under a healthy sched_ext scheduler: nothing is flagged |
//! | `tests/faults.rs` | every fault of `scx-belljar` caught by the check that is for it |
//! | `tests/on_purpose.rs` | a test that fails, for `cargo xtask demo` |
//! | `tests/kinds.rs` | every kind of work, in a guest |
//! | `tests/payloads.rs` | programs of the host as load, and their figures |
//! | `tests/published.rs` | schedulers of the scx project, as released (ignored: the first build takes minutes) |
//!
//! This crate must never depend on anything but `belljar`: it is what a user's crate looks like.
