//! Clients and servers for programs that run on tokio. Needs the feature `tokio`.
//!
//! ```
//! use snapwire::tokio::{Client, Server};
//! use snapwire::{ClientConfig, Endpoint, Increment, ServerConfig};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let run = async {
//! let endpoint = Endpoint::new(directory.path(), "numbers")?;
//! let config = ServerConfig::default();
//! let server = Server::start::<Increment>(&endpoint, &config, async |number, reply| {
//!     tokio::time::sleep(Duration::from_millis(1)).await;
//!     reply.set(number + 1);
//!     Ok(())
//! })?;
//! let client = Client::<Increment>::new(&endpoint, &ClientConfig::default());
//! let (one, two) = tokio::join!(client.call(1), client.call(2));
//! assert_eq!((one?.get()?, two?.get()?), (2, 3));
//! assert!(server.drain(Duration::from_secs(1)).await);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # };
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run)
//! # }
//! ```
//!
//! # What waits where, and what it costs
//!
//! | | over the socket | over shared memory |
//! | --- | --- | --- |
//! | client | a task of the runtime; up to 64 requests under way at once | a thread for the connection; one request at a time |
//! | look-ups of many keys | `spawn_blocking`, one at a time, over another connection | the same |
//! | server | a thread for each session, which runs the handler's future | the same |
//! | connecting | `spawn_blocking` | the same |
//!
//! Shared memory has nothing that a runtime could wait for: its readers spin or sleep on a word of
//! it. So whoever awaits an answer is woken by a thread that does, and this costs more than shared
//! memory saves with small messages. Where nothing else speaks for it, give a client
//! [`Profiles::BASELINE`](crate::codec::Profiles::BASELINE) alone.
//!
//! # Calls that are dropped
//!
//! A call may be dropped at any time. If it was not sent it never is; if it was, its answer is
//! thrown away when it comes. Other calls go on, over the same connection, and get the answers to
//! their own questions, since these are matched by number. A connection on which the oldest question
//! is not answered within its time is replaced by a new one, though not more than once in the time
//! of a call.

mod client;
mod connection;
mod driver;
mod server;

pub use client::{Client, Replies, Reply};
pub use server::Server;
