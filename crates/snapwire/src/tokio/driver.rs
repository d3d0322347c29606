//! The task of a client: it connects, sends, matches answers, and sends again.

use super::connection::{Connection, Received};
use crate::client::{ClientConfig, ClientStatus, State, check_answer};
use crate::codec::{Batch, Header, Limit, Profiles, Status};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::handshake::{Offer, Terms};
use crate::patience::{AbortHandle, Patience};
use crate::service::Service;
use crate::session::Session;
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{Instant, sleep, timeout_at};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// How often a call asks for more room.
const GROWTHS_MAX: u32 = 8;
/// The limit up to which proposals grow, in bytes.
const GROWTH_MAX: u32 = 1 << 20;
/// A server that died is given this many chances, so far apart, to be there again.
const RECONNECTS_MAX: u32 = 20;
const RECONNECT_EVERY: Duration = Duration::from_millis(5);

/// What the task tells the client's owners.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    status: ClientStatus,
    terms: Option<Terms>,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> ClientStatus {
        self.told().status
    }

    pub(crate) fn terms(&self) -> Option<Terms> {
        self.told().terms
    }

    /// Takes note of a call that has ended.
    pub(crate) fn count(&self, answered: bool) {
        let status = &mut self.told().status;
        *(if answered { &mut status.calls } else { &mut status.errors }) += 1;
    }

    fn set_state(&self, state: State, terms: Option<Terms>) {
        let mut told = self.told();
        told.status.state = state;
        told.terms = terms;
        if state == State::Ready {
            let status = &mut told.status;
            let first = status.connects == 0;
            *(if first { &mut status.connects } else { &mut status.reconnects }) += 1;
        }
    }
}

/// A question on its way.
#[derive(Debug)]
pub(crate) struct Call {
    payload: Arc<Vec<u8>>,
    /// The number of items of a batch.
    batch: Option<u32>,
    deadline: Option<Instant>,
    reply: oneshot::Sender<Result<Vec<u8>, Error>>,
    /// It has failed once and was sent again.
    resent: bool,
    growths: u32,
    /// A response of so many bytes has no room for the answer.
    outgrown: u32,
}

impl Call {
    pub(crate) fn new(
        payload: Vec<u8>,
        batch: Option<u32>,
        deadline: Option<Instant>,
        reply: oneshot::Sender<Result<Vec<u8>, Error>>,
    ) -> Call {
        let payload = Arc::new(payload);
        Call { payload, batch, deadline, reply, resent: false, growths: 0, outgrown: 0 }
    }

    /// Whether nobody waits for it any more.
    fn is_dropped(&self) -> bool {
        self.reply.is_closed()
    }

    fn end(self, result: Result<Vec<u8>, Error>) {
        // Whoever has dropped the call does not want to know.
        let _ = self.reply.send(result);
    }

    fn header<S: Service>(&self, id: u64) -> Header {
        let header = Header::request(S::CODE, id);
        self.batch.map_or(header, |count| header.with_batch(count))
    }
}

/// Something that a connection's task wakes up for.
enum Event {
    Asked(Call),
    Sent(Result<(), Error>),
    Received((Header, Vec<u8>)),
    Lost(Error),
}

/// Calls off what is going on, when it is dropped.
pub(crate) struct CallOff(pub(crate) AbortHandle);

impl Drop for CallOff {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
pub(crate) struct Driver<S> {
    endpoint: Endpoint,
    config: ClientConfig,
    calls: mpsc::Receiver<Call>,
    shared: Arc<Shared>,
    /// What is to be sent next, in order.
    waiting: VecDeque<Call>,
    next_id: u64,
    /// Proposals, which only grow.
    request_bytes: u32,
    response_bytes: u32,
    /// How far requests may grow. A server that allows less is told no more.
    request_max: u32,
    /// What is proposed first.
    first_bytes: u32,
    /// A region could not be used. It is not tried again.
    without_shm: bool,
    /// The last connection ended with calls to send again.
    interrupted: bool,
    /// Trying again would not help.
    stuck: bool,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Driver<S> {
    pub(crate) fn new(
        endpoint: &Endpoint,
        config: &ClientConfig,
        calls: mpsc::Receiver<Call>,
        shared: Arc<Shared>,
    ) -> Driver<S> {
        let or = |value, default| if value == 0 { default } else { value };
        let request_bytes = or(config.offer.request.payload_bytes, Offer::REQUEST_BYTES);
        Driver {
            endpoint: endpoint.clone(),
            config: *config,
            calls,
            shared,
            waiting: VecDeque::new(),
            next_id: 0,
            request_bytes,
            request_max: GROWTH_MAX.max(request_bytes),
            first_bytes: request_bytes,
            response_bytes: or(config.offer.response.payload_bytes, Offer::RESPONSE_BYTES),
            without_shm: false,
            interrupted: false,
            stuck: false,
            service: PhantomData,
        }
    }

    /// Serves calls until it is called off, which is when no client is left.
    pub(crate) async fn run(mut self) {
        loop {
            self.waiting.retain(|call| !call.is_dropped());
            if self.waiting.is_empty() {
                self.interrupted = false;
                match self.calls.recv().await {
                    Some(call) => self.waiting.push_back(call),
                    None => return,
                }
                continue;
            }
            match self.connect().await {
                Ok((connection, received)) => {
                    self.interrupted = false;
                    self.converse(&connection, received).await;
                    self.interrupted = !self.waiting.is_empty();
                    self.shared.set_state(State::Broken, None);
                }
                Err(Error::ProposalTooLarge) if self.request_bytes > self.first_bytes => {
                    // Only calls that need more cannot be made.
                    self.request_max = (self.request_bytes / 2).max(self.first_bytes);
                    self.request_bytes = self.first_bytes;
                }
                // Somebody is there and says nothing. Each call waits for as long as it may.
                Err(Error::Timeout) => self.shared.set_state(State::Disconnected, None),
                Err(error) => {
                    let state = match &error {
                        Error::NotFound { .. } => State::NotFound,
                        Error::Denied { .. } => State::Denied,
                        Error::AuthFailed => State::AuthFailed,
                        Error::NotReady(state) => *state,
                        Error::Incompatible | Error::NoProfile | Error::ProposalTooLarge => {
                            State::Incompatible
                        }
                        _ => State::Disconnected,
                    };
                    self.stuck = matches!(state, State::AuthFailed | State::Incompatible);
                    self.shared.set_state(state, None);
                    // The others try for themselves.
                    self.interrupted = false;
                    if let Some(call) = self.waiting.pop_front() {
                        call.end(Err(error));
                    }
                }
            }
        }
    }

    fn offer(&self) -> Offer {
        let configured = self.config.offer;
        Offer {
            profiles: match self.without_shm {
                true => configured.profiles.without(Profiles::SHM),
                false => configured.profiles,
            },
            request: Limit { payload_bytes: self.request_bytes, ..configured.request },
            response: Limit { payload_bytes: self.response_bytes, ..configured.response },
            ..configured
        }
    }

    /// Connects, where that may help.
    async fn connect(&mut self) -> Result<(Connection, mpsc::Receiver<Received>), Error> {
        if self.stuck {
            return Err(Error::NotReady(self.shared.status().state));
        }
        self.shared.set_state(State::Connecting, None);
        let mut attempts = 0;
        let others = !self.config.offer.profiles.without(Profiles::SHM).is_empty();
        loop {
            attempts += 1;
            let (endpoint, offer) = (self.endpoint.clone(), self.offer());
            let timeout = self.config.handshake_timeout();
            let abort = AbortHandle::new();
            // A runtime that ends waits for the thread.
            let _call_off = CallOff(abort.clone());
            let connecting = ::tokio::task::spawn_blocking(move || {
                let mut patience = Patience::new(timeout).with_abort(&abort);
                Session::connect(&endpoint, &offer, &mut patience)
            });
            // It does not panic, and is not called off but with the runtime.
            match connecting.await.unwrap_or(Err(Error::Aborted)) {
                Ok(session) => {
                    let terms = *session.terms();
                    let connected = Connection::new(session)?;
                    self.shared.set_state(State::Ready, Some(terms));
                    return Ok(connected);
                }
                Err(Error::Region { .. }) if others => self.without_shm = true,
                // One that is just ending takes connections and ends them.
                Err(Error::NotFound { .. } | Error::Disconnected)
                    if self.interrupted && attempts < RECONNECTS_MAX =>
                {
                    sleep(RECONNECT_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks over a connection until it ends; what has no answer by then waits to be sent again.
    async fn converse(&mut self, connection: &Connection, mut received: mpsc::Receiver<Received>) {
        let mut in_flight = BTreeMap::new();
        let mut sending = pin!(None);
        // Nothing more is sent over this connection.
        let mut shut = false;
        // A server that is slow is not made slower by connections, one for each call that is late.
        let fresh = Instant::now().checked_add(self.config.timeout);
        loop {
            if !shut && sending.is_none() && in_flight.len() < connection.in_flight_max() {
                match self.next_call(&connection.terms) {
                    ControlFlow::Continue(None) => {}
                    ControlFlow::Continue(Some(call)) => {
                        self.next_id += 1;
                        let header = call.header::<S>(self.next_id);
                        sending.set(Some(connection.send(header, Arc::clone(&call.payload))));
                        in_flight.insert(self.next_id, call);
                    }
                    ControlFlow::Break(()) => shut = true,
                }
            }
            if in_flight.is_empty() && shut {
                return;
            }
            // A question that is overtaken by its time holds up all that follow.
            let oldest = in_flight.values().next().and_then(|call| call.deadline);
            let until = oldest.zip(fresh).map(|(oldest, fresh)| oldest.max(fresh));
            match self.next(&mut received, sending.as_mut(), until, shut).await {
                Event::Asked(call) => self.waiting.push_back(call),
                Event::Sent(Ok(())) => sending.set(None),
                // A server that has hung up may have answered before.
                Event::Sent(Err(Error::Disconnected)) => {
                    sending.set(None);
                    shut = true;
                }
                Event::Received((header, payload)) => {
                    let id = header.message_id;
                    let Some(call) = in_flight.remove(&id) else {
                        return self.lose(in_flight, Error::UnknownMessageId(id));
                    };
                    if let Err(error) = accept::<S>(&call, &header, &payload) {
                        // The server is about to hang up on all of them; this one is why.
                        self.put_back(in_flight);
                        let room = connection.terms.response.payload_bytes;
                        return self.try_again(call, error, room);
                    }
                    call.end(Ok(payload));
                    // Who answers what is still being sent may never read the rest.
                    shut |= id == self.next_id && sending.is_some();
                }
                Event::Sent(Err(error)) | Event::Lost(error) => {
                    return self.lose(in_flight, error);
                }
            }
        }
    }

    /// What is to be sent next. Breaks when that needs a connection with more room.
    fn next_call(&mut self, terms: &Terms) -> ControlFlow<(), Option<Call>> {
        let Limit { payload_bytes, batch_items } = terms.request;
        while let Some(mut call) = self.waiting.pop_front() {
            let length = call.payload.len();
            if call.is_dropped() {
                continue;
            }
            if call.batch.is_some_and(|items| items > batch_items) {
                let found = call.batch.unwrap_or(1);
                call.end(Err(Error::TooManyItems { found, limit: batch_items }));
            } else if terms.response.payload_bytes == call.outgrown {
                call.end(Err(Error::Refused(Status::LIMIT_EXCEEDED)));
            } else if length <= payload_bytes as usize {
                return ControlFlow::Continue(Some(call));
            } else if call.growths < GROWTHS_MAX && self.grow_requests(length) {
                call.growths += 1;
                self.waiting.push_front(call);
                return ControlFlow::Break(());
            } else {
                let (what, limit) = ("a payload in bytes", payload_bytes.into());
                call.end(Err(Error::LimitExceeded { what, found: length as u64, limit }));
            }
        }
        ControlFlow::Continue(None)
    }

    /// Proposes requests of this length from now on; says whether that is more than before.
    fn grow_requests(&mut self, length: usize) -> bool {
        let next = u32::try_from(length).ok().and_then(u32::checked_next_power_of_two);
        let Some(next) = next.map(|next| next.min(self.request_max)) else {
            return false;
        };
        let grows = next as usize >= length && next > self.request_bytes;
        if grows {
            self.request_bytes = next;
        }
        grows
    }

    /// Waits for something to happen.
    async fn next(
        &mut self,
        received: &mut mpsc::Receiver<Received>,
        mut sending: Pin<&mut Option<impl Future<Output = Result<(), Error>>>>,
        until: Option<Instant>,
        shut: bool,
    ) -> Event {
        let may_ask = !shut && self.waiting.is_empty();
        let calls = &mut self.calls;
        let event = poll_fn(|cx| {
            // Answers first: they make room.
            if let Poll::Ready(received) = received.poll_recv(cx) {
                return Poll::Ready(match received {
                    Some(Ok(message)) => Event::Received(message),
                    Some(Err(error)) => Event::Lost(error),
                    None => Event::Lost(Error::Disconnected),
                });
            }
            if let Some(sending) = sending.as_mut().as_pin_mut()
                && let Poll::Ready(sent) = sending.poll(cx)
            {
                return Poll::Ready(Event::Sent(sent));
            }
            if may_ask && let Poll::Ready(Some(call)) = calls.poll_recv(cx) {
                return Poll::Ready(Event::Asked(call));
            }
            Poll::Pending
        });
        match until {
            None => event.await,
            Some(until) => timeout_at(until, event).await.unwrap_or(Event::Lost(Error::Timeout)),
        }
    }

    /// The connection is gone. A server answers in order: if it died of a question, it was the
    /// oldest, which gets one more chance. The others have done nothing.
    fn lose(&mut self, mut in_flight: BTreeMap<u64, Call>, error: Error) {
        let oldest = in_flight.pop_first();
        self.put_back(in_flight);
        if let Some((_, call)) = oldest {
            self.try_again(call, error, 0);
        }
    }

    /// Lets calls be sent again, before all others and in their order.
    fn put_back(&mut self, in_flight: BTreeMap<u64, Call>) {
        for call in in_flight.into_values().rev() {
            self.waiting.push_front(call);
        }
    }

    /// Sends a call once more, with more than so much room if that was missing, or ends it.
    fn try_again(&mut self, mut call: Call, error: Error, room: u32) {
        let again = match &error {
            Error::Timeout | Error::Aborted => false,
            Error::Refused(Status::LIMIT_EXCEEDED) => {
                // The server decides about responses, and has taken note.
                self.response_bytes = self.response_bytes.saturating_mul(2).min(GROWTH_MAX);
                call.growths += 1;
                call.outgrown = room;
                call.growths <= GROWTHS_MAX
            }
            _ => !std::mem::replace(&mut call.resent, true),
        };
        if again {
            self.waiting.push_front(call);
        } else {
            call.end(Err(error));
        }
    }
}

/// Checks the envelope of an answer and what is in it.
fn accept<S: Service>(call: &Call, answer: &Header, payload: &[u8]) -> Result<(), Error> {
    check_answer(&call.header::<S>(answer.message_id), answer)?;
    match call.batch {
        Some(count) => Batch::new(payload, count).map(|_| ())?,
        None => S::decode_response(payload).map(|_| ())?,
    }
    Ok(())
}
