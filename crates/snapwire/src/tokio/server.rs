//! A server whose handlers are asynchronous.

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::server::{Failure, ServerConfig, ServerStatus};
use crate::service::Service;
use ::tokio::runtime::Handle;
use ::tokio::sync::watch;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// A service that is running, and whose handler is asynchronous.
///
/// It is a [`crate::Server`]: every session has a thread, which is where the handler's future runs,
/// with the runtime's timers, sockets and tasks at hand. So a future that blocks holds up its own
/// session only, it need not be `Send`, and [`ServerConfig::workers`] bounds the threads. Dropping
/// the server stops it without waiting.
#[derive(Debug)]
pub struct Server {
    server: Option<crate::Server>,
    stopping: watch::Sender<bool>,
}

impl Server {
    /// Serves at an endpoint. The handler is called for many sessions at once and for one session
    /// in order, once for each request and for each item of a batch. Requests may come twice: a
    /// client whose connection broke asks again.
    ///
    /// # Errors
    /// As for [`Listener::bind`](crate::Listener::bind).
    ///
    /// # Panics
    /// Outside of a runtime, as [`Handle::current`] does.
    pub fn start<S: Service>(
        endpoint: &Endpoint,
        config: &ServerConfig,
        handler: impl for<'r, 'b> AsyncFn(S::Request<'r>, &mut S::Reply<'r, 'b>) -> Result<(), Failure>
        + Send
        + Sync
        + 'static,
    ) -> Result<Server, Error> {
        let runtime = Handle::current();
        let (stopping, stopped) = watch::channel(false);
        let server = crate::Server::start::<S>(endpoint, config, move |request, reply| {
            let mut stopped = stopped.clone();
            let answered = async {
                let mut answer = pin!(handler(request, reply));
                let mut stop = pin!(stopped.wait_for(|stopping| *stopping));
                poll_fn(|cx| match answer.as_mut().poll(cx) {
                    Poll::Ready(answered) => Poll::Ready(answered),
                    Poll::Pending => stop.as_mut().poll(cx).map(|_| Err(Failure::Refused)),
                })
                .await
            };
            runtime.block_on(answered)
        })?;
        Ok(Server { server: Some(server), stopping })
    }

    /// What it has done so far.
    pub fn status(&self) -> ServerStatus {
        self.server.as_ref().map(crate::Server::status).unwrap_or_default()
    }

    /// Takes no more clients or requests, lets what is being answered be answered, for so long, and
    /// stops. Says whether everything was answered. When this is dropped the server stops all the
    /// same.
    pub async fn drain(mut self, timeout: Duration) -> bool {
        let Some(server) = self.server.take() else {
            return true;
        };
        let stopping = self.stopping.clone();
        let drain = move || {
            let (done, waits) = mpsc::channel::<()>();
            let late = {
                let stopping = stopping.clone();
                move || {
                    // Handlers that are running still are let go, so that nobody waits for them.
                    if waits.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                        stopping.send_replace(true);
                    }
                }
            };
            if thread::Builder::new().name("drain".into()).spawn(late).is_err() {
                stopping.send_replace(true);
            }
            let clean = server.drain(timeout);
            drop(done);
            clean && !*stopping.borrow()
        };
        ::tokio::task::spawn_blocking(drain).await.unwrap_or(false)
    }

    /// Stops at once: what is being answered is not.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if let Some(server) = self.server.take() {
            // Ending takes no time but that of the handlers, who have been told.
            let _ = ::tokio::task::spawn_blocking(move || server.stop()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.stopping.send_replace(true);
            // A server waits for its handlers, and these may wait for the runtime, whose thread this
            // may be. Without another thread there is nothing better than to wait.
            let _ = thread::Builder::new().name("stop".into()).spawn(move || drop(server));
        }
    }
}
