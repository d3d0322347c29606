//! Typed local IPC over SEQPACKET sockets and shared memory.
#![deny(unsafe_code)]

mod buffer;
mod cache;
mod client;
pub mod codec;
mod credentials;
mod endpoint;
mod error;
mod fork;
mod handshake;
mod listener;
mod patience;
pub mod record;
mod server;
mod service;
mod session;
mod shelf;
mod shm;
mod socket;
#[cfg(feature = "tokio")]
pub mod tokio;

/// What the protocol in shared memory and the cache are made of. The model has its own.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    use arc_swap::{ArcSwap, Guard};
    use std::sync::Arc;

    /// A value that is replaced as a whole, under readers that do not wait.
    #[derive(Debug)]
    pub(crate) struct Swap<T>(Arc<ArcSwap<T>>);

    impl<T> Swap<T> {
        pub(crate) fn new(value: Arc<T>) -> Swap<T> {
            Swap(Arc::new(ArcSwap::new(value)))
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            self.0.store(value);
        }

        #[inline]
        pub(crate) fn load(&self) -> Guard<Arc<T>> {
            self.0.load()
        }

        /// The same, for who watches it.
        pub(crate) fn share(&self) -> Arc<ArcSwap<T>> {
            Arc::clone(&self.0)
        }
    }
}

pub use buffer::Buffer;
pub use cache::{CacheReader, CacheStatus, CachedSnapshot, SnapshotCache};
pub use client::{Client, ClientConfig, ClientStatus, LookupMax, Responses, State};
pub use credentials::{Credentials, peer_credentials};
pub use endpoint::{Endpoint, SessionId};
pub use error::{Error, RegionProblem};
pub use handshake::{Offer, Terms};
pub use listener::{Listener, Peers};
pub use patience::{AbortHandle, Patience};
pub use record::Record;
pub use server::{Failure, Server, ServerConfig, ServerStatus};
pub use service::{
    Answer, AppsLookup, Batchable, CgroupsLookup, CgroupsSnapshot, Increment, NumberReply,
    OpenError, Service, SnapshotImage, SnapshotReply, StringReverse, TextReply,
};
pub use session::{Role, Session};
#[cfg(feature = "derive")]
pub use snapwire_macros::{Record, Service};

/// The programs of the README and the user's guide are compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../docs/snapwire.md")]
struct Guide;
