//! A server whose handlers are asynchronous.

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::server::{Failure, ServerConfig, ServerStatus};
use crate::service::Service;
use ::tokio::runtime::Handle;
use ::tokio::sync::watch;
use std::future::poll_fn;
use std::pin::pin;
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
pub struct Server(Option<crate::Server>);

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
        let (leash, held) = watch::channel(());
        let mut server = crate::Server::start::<S>(endpoint, config, move |request, reply| {
            let mut held = held.clone();
            let answered = async {
                let mut answer = pin!(handler(request, reply));
                let mut let_go = pin!(held.changed());
                poll_fn(|cx| match answer.as_mut().poll(cx) {
                    Poll::Ready(answered) => Poll::Ready(answered),
                    Poll::Pending => let_go.as_mut().poll(cx).map(|_| Err(Failure::Refused)),
                })
                .await
            };
            runtime.block_on(answered)
        })?;
        server.leash = Some(leash);
        Ok(Server(Some(server)))
    }

    /// What it has done so far.
    pub fn status(&self) -> ServerStatus {
        self.0.as_ref().map(crate::Server::status).unwrap_or_default()
    }

    /// Takes no more clients or requests, lets what is being answered be answered, for so long, and
    /// stops. Says whether everything was answered. When this is dropped the server stops all the
    /// same.
    pub async fn drain(mut self, timeout: Duration) -> bool {
        let Some(server) = self.0.take() else {
            return true;
        };
        ::tokio::task::spawn_blocking(move || server.drain(timeout)).await.unwrap_or(false)
    }

    /// Stops at once: what is being answered is not.
    pub async fn stop(mut self) {
        if let Some(server) = self.0.take() {
            // Ending takes no time but that of handlers that block.
            let _ = ::tokio::task::spawn_blocking(move || server.stop()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            // It waits for its handlers, and one that blocks may wait for the runtime, whose thread
            // this may be. Without another thread there is nothing better than to wait.
            let _ = thread::Builder::new().name("stop".into()).spawn(move || drop(server));
        }
    }
}
