//! A server that looks after its sessions.

mod config;
mod serve;
mod sessions;

pub use config::ServerConfig;
pub use serve::Failure;
use serve::Handler;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::listener::{HANDSHAKE_MAX, Listener, Newcomer};
use crate::patience::SLICE;
use crate::service::Service;
use crate::socket::timespec;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::Shutdown;
use sessions::{EntryId, Sessions};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many clients may be connected without having said anything.
const NEWCOMERS_MAX: usize = 64;

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStatus {
    /// Sessions that are open.
    pub sessions: usize,
    /// Sessions that were ever opened.
    pub sessions_total: u64,
    /// Clients that were turned away, or left before they had a session.
    pub refused_total: u64,
    /// Requests that were answered, with whatever status. A batch is one.
    pub requests_total: u64,
}

/// What the threads of a server share.
#[derive(Debug)]
struct Shared {
    config: ServerConfig,
    sessions: Sessions,
    /// No new clients, and no requests that were not there before.
    draining: AtomicBool,
    /// The longest response that later sessions may have. It grows when one did not fit.
    response_bytes: AtomicU32,
    sessions_total: AtomicU64,
    refused_total: AtomicU64,
    /// Wakes the thread that accepts.
    wake: OwnedFd,
}

impl Shared {
    /// Makes the thread that accepts look around.
    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Whether as many sessions are open as may be.
    fn is_full(&self) -> bool {
        self.sessions.len() >= self.config.workers.max(1)
    }

    /// The session is over, which makes room for another.
    fn leave(&self, entry: EntryId) {
        self.sessions.leave(entry);
        self.wake();
    }
}

/// A service that is running: one thread that accepts and one for each session.
///
/// Clients that are silent, slow or gone hold up nobody: a handshake is waited for beside all
/// others, a session ends when its client is idle or reads too slowly, and a handler that panics
/// ends its session only. Dropping the server stops it.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Lets handlers go that wait, by being dropped when nobody can be answered any more.
    #[cfg(feature = "tokio")]
    pub(crate) leash: Option<::tokio::sync::watch::Sender<()>>,
}

impl Server {
    /// Serves at an endpoint. The handler is called from many threads at once, once for each
    /// request and for each item of a batch. Calls may come twice: a client whose connection broke
    /// asks again.
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    pub fn start<S: Service>(
        endpoint: &Endpoint,
        config: &ServerConfig,
        handler: impl for<'r, 'b> Fn(S::Request<'r>, &mut S::Reply<'r, 'b>) -> Result<(), Failure>
        + Send
        + Sync
        + 'static,
    ) -> Result<Server, Error> {
        let offer = config.filled_offer();
        let mut listener = Listener::bind(endpoint, &offer)?;
        listener.set_peers(config.peers);
        let failed = |error| Error::io("serve at", endpoint.socket_path(), error);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::io("serve at", endpoint.socket_path(), error))?;
        let shared = Arc::new(Shared {
            config: config.clone(),
            sessions: Sessions::default(),
            draining: AtomicBool::new(false),
            response_bytes: AtomicU32::new(offer.response.payload_bytes),
            sessions_total: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
            wake,
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            let handler = Arc::new(handler);
            thread::Builder::new()
                .name(format!("accept-{}", endpoint.service()))
                .spawn(move || accept(&shared, listener, &handler))
                .map_err(failed)?
        };
        Ok(Server {
            shared,
            accepting: Some(accepting),
            #[cfg(feature = "tokio")]
            leash: None,
        })
    }

    /// What it has done so far.
    pub fn status(&self) -> ServerStatus {
        let shared = &self.shared;
        ServerStatus {
            sessions: shared.sessions.len(),
            sessions_total: shared.sessions_total.load(Ordering::Relaxed),
            refused_total: shared.refused_total.load(Ordering::Relaxed),
            requests_total: shared.sessions.requests(),
        }
    }

    /// Takes no more clients or requests, lets what is being answered be answered, for so long, and
    /// stops. Says whether everything was answered.
    pub fn drain(mut self, timeout: Duration) -> bool {
        self.close_to_newcomers();
        // What a client has sent is still read, and then the end.
        self.shared.sessions.shutdown(Shutdown::Read);
        let clean = self.shared.sessions.wait_until_empty(timeout);
        self.end();
        clean
    }

    /// Stops at once: what is being answered is not. Waits for handlers that are running.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.close_to_newcomers();
        self.shared.sessions.shutdown(Shutdown::Both);
        #[cfg(feature = "tokio")]
        drop(self.leash.take());
        self.shared.sessions.join();
    }

    /// After this there are no sessions but those that are open.
    fn close_to_newcomers(&mut self) {
        self.shared.draining.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(accepting) = self.accepting.take() {
            // It waits for no client.
            let _ = accepting.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Accepts until the server drains. Nothing here waits for a single client.
fn accept<S: Service>(
    shared: &Arc<Shared>,
    mut listener: Listener,
    handler: &Arc<impl Handler<S>>,
) {
    let mut newcomers: Vec<Newcomer> = Vec::new();
    while !shared.draining.load(Ordering::Acquire) {
        wait_for_any(shared, &listener, &newcomers);
        // Before anything is looked at: what comes later wakes again.
        let _ = rustix::io::read(&shared.wake, &mut [0; 8]);
        // Somebody who connects and does not stay, or no descriptors left: the others go on.
        match listener.newcomer() {
            Ok(Some(newcomer)) => {
                if newcomers.len() == NEWCOMERS_MAX {
                    shared.refused_total.fetch_add(1, Ordering::Relaxed);
                    newcomers.remove(0);
                }
                newcomers.push(newcomer);
            }
            Ok(None) => {}
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
        newcomers.retain_mut(|newcomer| greet(shared, &mut listener, handler, newcomer));
    }
}

/// Sleeps until somebody connects, a newcomer speaks, a session ends, or the server drains.
fn wait_for_any(shared: &Shared, listener: &Listener, newcomers: &[Newcomer]) {
    let mut polled = Vec::with_capacity(2 + newcomers.len());
    polled.push(PollFd::new(&shared.wake, PollFlags::IN));
    polled.push(PollFd::new(listener, PollFlags::IN));
    // Those who wait for room have spoken, and would be news for ever.
    let is_full = shared.is_full();
    let silent = newcomers.iter().filter(|newcomer| !is_full || !newcomer.has_spoken());
    polled.extend(silent.map(|newcomer| PollFd::from_borrowed_fd(newcomer.as_fd(), PollFlags::IN)));
    // With newcomers, to look at their time.
    let timeout = (!newcomers.is_empty()).then_some(timespec(SLICE));
    let _ = poll(&mut polled, timeout.as_ref());
}

/// Answers a newcomer that has spoken, and gives it a session. Says whether to keep waiting for it.
fn greet<S: Service>(
    shared: &Arc<Shared>,
    listener: &mut Listener,
    handler: &Arc<impl Handler<S>>,
    newcomer: &mut Newcomer,
) -> bool {
    let refuse = || {
        shared.refused_total.fetch_add(1, Ordering::Relaxed);
        false
    };
    if newcomer.since.elapsed() > HANDSHAKE_MAX {
        return refuse();
    }
    // Refused before it is promised anything, a client is not left waiting.
    if shared.is_full() && newcomer.has_spoken() {
        // There will be room as soon as somebody's leaving is noticed, or there is by now.
        let is_one_leaving = shared.sessions.is_one_leaving();
        if shared.is_full() {
            return is_one_leaving || refuse();
        }
    }
    let mut offer = *listener.offer();
    offer.response.payload_bytes = shared.response_bytes.load(Ordering::Relaxed);
    let mut session = match newcomer.greet(listener.endpoint(), &offer) {
        Ok(None) => return true,
        Ok(Some(session)) => session,
        Err(_) => return refuse(),
    };
    shared.sessions_total.fetch_add(1, Ordering::Relaxed);
    let (entry, requests) = shared.sessions.enter(&session);
    let body = {
        let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
        move || {
            serve::serve(&shared, &mut session, &*handler, &requests);
            // While it lingers it is no worker, and nobody who drains waits for it.
            session.linger(|| shared.leave(entry));
            drop(session);
            shared.leave(entry);
        }
    };
    match thread::Builder::new().name(String::from("session")).spawn(body) {
        Ok(thread) => shared.sessions.keep(entry, thread),
        Err(_) => {
            shared.leave(entry);
            refuse();
        }
    }
    false
}

/// How long a drain has left.
fn left(began: Instant, timeout: Duration) -> Option<Duration> {
    timeout.checked_sub(began.elapsed())
}
