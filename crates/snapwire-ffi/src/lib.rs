//! snapwire for C: typed clients and managed servers, as `libsnapwire.so` and `libsnapwire.a` with
//! `include/snapwire.h`.
//!
//! The header is generated from the `pub` items here, and a test holds the two together. Rules of
//! errors, ownership and threads stand at its top.
//!
//! # Map
//!
//! | module | holds |
//! | --- | --- |
//! | `status` | codes, the last error, and the wall that no panic passes |
//! | `types` | structures that both languages see |
//! | `client` | clients and calls |
//! | `answers` | responses as arrays of structures |
//! | `server` | servers and handlers |
//! | `replies` | what handlers fill |
//!
//! # What this crate must never depend on
//!
//! Anything but `snapwire`. It adds no behaviour: what C can do is what Rust can do.
#![expect(non_camel_case_types, reason = "the names are those of the C interface")]

mod answers;
pub mod client;
pub mod replies;
pub mod server;
pub mod status;
pub mod types;
