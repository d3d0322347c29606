//! Typed calls, from any number of tasks at once.

use super::connection::IN_FLIGHT_MAX;
use super::driver::{Call, CallOff, Driver, Shared};
use crate::client::{ClientConfig, ClientStatus};
use crate::codec::{Batch, BatchBuilder, BuildError, Pid};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::handshake::Terms;
use crate::service::{AppsLookup, Batchable, CgroupsLookup, Service};
use ::tokio::sync::{Mutex, mpsc, oneshot};
use ::tokio::task::AbortHandle;
use ::tokio::time::{Instant, timeout_at};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// How much room a request is given first, in bytes.
const REQUEST_ROOM: usize = 1024;
/// How far a request grows where the configuration does not say more, in bytes.
const REQUEST_MAX: usize = 1 << 20;

/// A caller of a service, for any number of tasks: clones are the same caller.
///
/// It connects when it is first asked something, and again when the connection is gone. As with
/// [`crate::Client`] a call that fails is sent again, so a handler may see it twice or more; a call
/// that has timed out or was dropped is not. Where a server accepts and says nothing, a call tries
/// until its own time is up. A client whose token or versions were refused stays so: make another.
/// When the last clone and the last call are dropped the connection ends.
///
/// Of the two kinds of look-up, `lookup` takes any number of keys and as many messages as it needs.
/// [`Client::call`] is one message, and leaves to the caller what comes back as exceeding the
/// payload.
pub struct Client<S: Service> {
    task: Arc<Task>,
    shared: Arc<Shared>,
    endpoint: Endpoint,
    config: ClientConfig,
    /// The client that look-ups are made with, once there was one.
    lookups: Arc<Mutex<Option<crate::Client<S>>>>,
    service: PhantomData<fn() -> S>,
}

/// The task that does the work, until no client and no call is left that may want an answer of it.
#[derive(Debug)]
struct Task {
    calls: mpsc::Sender<Call>,
    driving: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl<S: Service> Clone for Client<S> {
    fn clone(&self) -> Client<S> {
        Client {
            task: Arc::clone(&self.task),
            shared: Arc::clone(&self.shared),
            endpoint: self.endpoint.clone(),
            config: self.config,
            lookups: Arc::clone(&self.lookups),
            service: PhantomData,
        }
    }
}

impl<S: Service> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl<S: Service> Client<S> {
    /// A client that is not connected, and a task for it.
    ///
    /// # Panics
    /// Outside of a runtime, as [`tokio::spawn`](::tokio::spawn) does. The runtime must have its
    /// timers and its I/O enabled.
    pub fn new(endpoint: &Endpoint, config: &ClientConfig) -> Client<S> {
        let (calls, received) = mpsc::channel(IN_FLIGHT_MAX);
        let shared = Arc::new(Shared::default());
        let driver = Driver::<S>::new(endpoint, config, received, Arc::clone(&shared));
        let driving = ::tokio::spawn(driver.run()).abort_handle();
        Client {
            task: Arc::new(Task { calls, driving }),
            shared,
            endpoint: endpoint.clone(),
            config: *config,
            lookups: Arc::default(),
            service: PhantomData,
        }
    }

    /// What it has done so far.
    pub fn status(&self) -> ClientStatus {
        self.shared.status()
    }

    /// What was agreed, while connected.
    pub fn terms(&self) -> Option<Terms> {
        self.shared.terms()
    }

    /// Asks, and waits for the answer. What is asked is written down at once, not when the future is
    /// polled.
    ///
    /// # Errors
    /// [`Error::NotFound`] and others of connecting; [`Error::Timeout`]; otherwise the failure of the
    /// second attempt.
    pub fn call(
        &self,
        ask: S::Ask<'_>,
    ) -> impl Future<Output = Result<Reply<S>, Error>> + Send + use<S> {
        let written = self.encode(|room| S::encode(&ask, room));
        let asked = self.ask(written, None);
        async move { Ok(Reply { payload: asked.await?, service: PhantomData }) }
    }

    /// Asks many things in one message. The session's limits bound how many, and how long.
    ///
    /// # Errors
    /// As for [`Client::call`]; [`Error::TooManyItems`].
    pub fn call_batch<'q, I>(
        &self,
        asks: I,
    ) -> impl Future<Output = Result<Replies<S>, Error>> + Send + use<'q, S, I>
    where
        S: Batchable,
        I: ExactSizeIterator<Item = S::Ask<'q>> + Clone,
    {
        let count = u32::try_from(asks.len()).unwrap_or(u32::MAX);
        let written = self.encode(|room| {
            let mut builder = BatchBuilder::new(room, count)?;
            for ask in asks.clone() {
                builder.push_with(|slot| S::encode(&ask, slot))?;
            }
            Ok(builder.finish().0)
        });
        let asked = self.ask(written, Some(count));
        async move { Ok(Replies { payload: asked.await?, count, service: PhantomData }) }
    }

    /// Writes a request into as much room as it takes.
    fn encode(
        &self,
        write: impl Fn(&mut [u8]) -> Result<usize, BuildError>,
    ) -> Result<Vec<u8>, Error> {
        let max = REQUEST_MAX.max(self.config.offer.request.payload_bytes as usize);
        let mut payload = vec![0; REQUEST_ROOM.min(max)];
        loop {
            match write(&mut payload) {
                Ok(length) => {
                    payload.truncate(length);
                    return Ok(payload);
                }
                Err(BuildError::Overflow { .. }) if payload.len() < max => {
                    let room = payload.len().saturating_mul(2).min(max);
                    payload.resize(room, 0);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ask(
        &self,
        written: Result<Vec<u8>, Error>,
        batch: Option<u32>,
    ) -> impl Future<Output = Result<Vec<u8>, Error>> + Send + use<S> {
        let task = Arc::clone(&self.task);
        self.within(async move |deadline| {
            let (reply, answer) = oneshot::channel();
            let call = Call::new(written?, batch, deadline, reply);
            // The task ends with the runtime.
            task.calls.send(call).await.map_err(|_| Error::Disconnected)?;
            answer.await.unwrap_or(Err(Error::Disconnected))
        })
    }

    /// Does it within the time of a call, and counts it.
    fn within<T, F, D>(
        &self,
        done: D,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<S, T, F, D>
    where
        F: Future<Output = Result<T, Error>> + Send,
        D: FnOnce(Option<Instant>) -> F + Send,
    {
        let shared = Arc::clone(&self.shared);
        let timeout = self.config.timeout;
        async move {
            let deadline = match timeout.is_zero() {
                true => None,
                // A deadline beyond the clock's end is none.
                false => Instant::now().checked_add(timeout),
            };
            let done = done(deadline);
            let done = match deadline {
                None => done.await,
                Some(deadline) => timeout_at(deadline, done).await.unwrap_or(Err(Error::Timeout)),
            };
            shared.count(done.is_ok());
            done
        }
    }

    /// Looks up with a client that blocks, on a thread where that is allowed. When the future is
    /// dropped the look-up is called off.
    fn look_up<F>(
        &self,
        look_up: F,
    ) -> impl Future<Output = Result<Reply<S>, Error>> + Send + use<S, F>
    where
        F: FnOnce(&mut crate::Client<S>) -> Result<(), Error> + Send + 'static,
    {
        let lookups = Arc::clone(&self.lookups);
        let (endpoint, config) = (self.endpoint.clone(), self.config);
        let timeout = config.timeout;
        self.within(async move |_| {
            let mut lookups = lookups.lock_owned().await;
            let client = lookups.get_or_insert_with(|| crate::Client::new(&endpoint, &config));
            let abort = client.abort_handle();
            abort.clear();
            let mut looking = ::tokio::task::spawn_blocking(move || {
                let client = lookups.as_mut().ok_or(Error::Aborted)?;
                let connected = client.connect_within(timeout);
                let looked_up = connected.and_then(|()| look_up(client));
                Ok((looked_up.map(|()| client.last_lookup().to_vec()), lookups))
            });
            // Dropped before the handle, while nobody else can have the client: whoever gets it next
            // is not meant.
            let call_off = CallOff(abort);
            // It does not panic, and is not called off but with the runtime.
            let looked = (&mut looking).await.unwrap_or(Err(Error::Aborted));
            drop(call_off);
            let (payload, _client) = looked?;
            Ok(Reply { payload: payload?, service: PhantomData })
        })
    }
}

impl Client<CgroupsLookup> {
    /// Looks up any number of paths, as [`crate::Client::lookup`] does, over a connection of its own
    /// and on a thread of the runtime's that may block. One look-up at a time; the others wait.
    ///
    /// # Errors
    /// As for [`crate::Client::connect`] and [`crate::Client::lookup`].
    pub fn lookup(
        &self,
        paths: &[&[u8]],
    ) -> impl Future<Output = Result<Reply<CgroupsLookup>, Error>> + Send + use<> {
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.to_vec()).collect();
        self.look_up(move |client| {
            let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
            client.lookup(&paths).map(|_| ())
        })
    }
}

impl Client<AppsLookup> {
    /// Looks up any number of pids, as [`crate::Client::lookup`] does, over a connection of its own
    /// and on a thread of the runtime's that may block. One look-up at a time; the others wait.
    ///
    /// # Errors
    /// As for [`crate::Client::connect`] and [`crate::Client::lookup`].
    pub fn lookup(
        &self,
        pids: &[Pid],
    ) -> impl Future<Output = Result<Reply<AppsLookup>, Error>> + Send + use<> {
        let pids = pids.to_vec();
        self.look_up(move |client| client.lookup(&pids).map(|_| ()))
    }
}

/// An answer.
pub struct Reply<S> {
    payload: Vec<u8>,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Reply<S> {
    /// The answer, which was checked when it came.
    ///
    /// # Errors
    /// As [`Service::decode_again`].
    pub fn get(&self) -> Result<S::Response<'_>, Error> {
        Ok(S::decode_again(&self.payload)?)
    }
}

impl<S> fmt::Debug for Reply<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("payload_len", &self.payload.len()).finish()
    }
}

/// The answers to a batch, in the order of the questions.
pub struct Replies<S> {
    payload: Vec<u8>,
    count: u32,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Replies<S> {
    /// How many there are: as many as questions.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The answers.
    pub fn iter(&self) -> impl Iterator<Item = Result<S::Response<'_>, Error>> {
        // It was checked when it came.
        let batch = Batch::new(&self.payload, self.count).ok();
        batch.into_iter().flat_map(|batch| batch.iter().map(|item| Ok(S::decode_response(item)?)))
    }
}

impl<S> fmt::Debug for Replies<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("count", &self.count).finish_non_exhaustive()
    }
}
