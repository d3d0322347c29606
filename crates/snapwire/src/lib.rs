//! Typed local IPC over SEQPACKET sockets and shared memory.
#![deny(unsafe_code)]

mod buffer;
mod client;
pub mod codec;
mod endpoint;
mod error;
mod handshake;
mod listener;
mod patience;
mod session;
mod shm;
mod socket;

/// The atomics that the protocol in shared memory is made of.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

pub use buffer::Buffer;
pub use client::State;
pub use endpoint::{Endpoint, SessionId};
pub use error::{Error, RegionProblem};
pub use handshake::{Offer, Terms};
pub use listener::{Listener, Peers};
pub use patience::{AbortHandle, Patience};
pub use session::{Role, Session};
