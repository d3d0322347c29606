//! A client's connection, and what is done when it fails: the same for every kind of call.

use super::config::ClientConfig;
use super::state::State;
use crate::buffer::Buffer;
use crate::codec::{Code, Header, Kind, Limit, Profiles, Status};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::handshake::{Offer, Terms};
use crate::patience::Patience;
use crate::session::Session;
use std::thread;
use std::time::Duration;

/// How often a call asks for more room.
const GROWTHS_MAX: u32 = 8;
/// The limit up to which proposals grow, in bytes.
const GROWTH_MAX: u32 = 1 << 20;
/// A server that died is given this many chances, so far apart, to be there again.
const RECONNECTS_MAX: u32 = 20;
const RECONNECT_EVERY: Duration = Duration::from_millis(5);

/// What a client has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStatus {
    /// Where it stands.
    pub state: State,
    /// Connections that were made first.
    pub connects: u64,
    /// Connections that were made after a failure.
    pub reconnects: u64,
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that were not.
    pub errors: u64,
}

#[derive(Debug)]
pub(crate) struct Link {
    endpoint: Endpoint,
    config: ClientConfig,
    session: Option<Session>,
    state: State,
    status: ClientStatus,
    /// Proposals, which only grow.
    request_bytes: u32,
    response_bytes: u32,
    /// How far requests may grow. It becomes less when a server refuses to go so far.
    request_max: u32,
    /// What is proposed first.
    first_bytes: u32,
    /// A region could not be used. It is not tried again.
    without_shm: bool,
    /// What is sent. It holds the last call's request.
    pub(crate) request: Buffer,
    /// What is received. It holds the last call's response.
    pub(crate) response: Buffer,
}

/// What a call sends, of which the payload is in the link's buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) code: Code,
    /// The number of items of a batch.
    pub(crate) batch: Option<u32>,
}

impl Link {
    pub(crate) fn new(endpoint: &Endpoint, config: &ClientConfig) -> Link {
        let or = |value, default| if value == 0 { default } else { value };
        let request_bytes = or(config.offer.request.payload_bytes, Offer::REQUEST_BYTES);
        Link {
            endpoint: endpoint.clone(),
            config: *config,
            session: None,
            state: State::Disconnected,
            status: ClientStatus::default(),
            request_bytes,
            request_max: GROWTH_MAX.max(request_bytes),
            first_bytes: request_bytes,
            response_bytes: or(config.offer.response.payload_bytes, Offer::RESPONSE_BYTES),
            without_shm: false,
            request: Buffer::new(),
            response: Buffer::new(),
        }
    }

    #[inline]
    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn status(&self) -> ClientStatus {
        ClientStatus { state: self.state, ..self.status }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.session.as_ref().map(Session::terms)
    }

    /// The connection and the request that is in the buffer.
    pub(crate) fn session_and_request(&mut self) -> Result<(&mut Session, &mut Buffer), Error> {
        let session = self.session.as_mut().ok_or(Error::Disconnected)?;
        Ok((session, &mut self.request))
    }

    /// Takes note of calls that were answered.
    pub(crate) fn count_calls(&mut self, calls: u64) {
        self.status.calls += calls;
    }

    /// How long a request may become at most.
    #[inline]
    pub(crate) fn request_max(&self) -> usize {
        GROWTH_MAX.max(self.config.offer.request.payload_bytes) as usize
    }

    /// Drops the connection.
    pub(crate) fn close(&mut self, state: State) {
        self.session = None;
        self.state = state;
    }

    /// Connects, unless it is connected, where that may help.
    pub(crate) fn refresh(&mut self, patience: &mut Patience<'_>) -> Result<(), Error> {
        match self.state {
            State::Ready => Ok(()),
            State::Connecting | State::AuthFailed | State::Incompatible => {
                Err(Error::NotReady(self.state))
            }
            State::Disconnected | State::NotFound | State::Denied | State::Broken => {
                self.connect(patience)
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

    fn connect(&mut self, patience: &mut Patience<'_>) -> Result<(), Error> {
        self.close(State::Connecting);
        let mut connected = Session::connect(&self.endpoint, &self.offer(), patience);
        let others = self.config.offer.profiles.without(Profiles::SHM);
        if matches!(connected, Err(Error::Region { .. })) && !others.is_empty() {
            // What was agreed is final for a session, so this takes another.
            self.without_shm = true;
            connected = Session::connect(&self.endpoint, &self.offer(), patience);
        }
        let error = match connected {
            Ok(session) => {
                let first = self.status.connects == 0;
                *(if first { &mut self.status.connects } else { &mut self.status.reconnects }) += 1;
                self.session = Some(session);
                self.state = State::Ready;
                return Ok(());
            }
            Err(error @ Error::ProposalTooLarge) if self.request_bytes > self.first_bytes => {
                // Only requests that need more cannot be made.
                self.request_max = (self.request_bytes / 2).max(self.first_bytes);
                self.request_bytes = self.first_bytes;
                self.state = State::Disconnected;
                return Err(error);
            }
            Err(error) => error,
        };
        self.state = match &error {
            Error::NotFound { .. } => State::NotFound,
            Error::Denied { .. } => State::Denied,
            Error::AuthFailed => State::AuthFailed,
            Error::Incompatible | Error::NoProfile | Error::ProposalTooLarge => State::Incompatible,
            _ => State::Disconnected,
        };
        Err(error)
    }

    /// Connects again in the middle of a call. A server that has just died may be on its way back.
    fn reconnect(&mut self, patience: &mut Patience<'_>) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.connect(patience) {
                Err(Error::NotFound { .. }) if attempts < RECONNECTS_MAX => {
                    thread::sleep(patience.slice()?.min(RECONNECT_EVERY));
                }
                connected => return connected,
            }
        }
    }

    /// Sends the request that is in the buffer, and receives a response that `accept` accepts. A
    /// request may arrive twice.
    #[inline]
    pub(crate) fn call(
        &mut self,
        outgoing: Outgoing,
        patience: &mut Patience<'_>,
        accept: impl Fn(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Then it is not ready.
        if self.session.is_none() {
            self.status.errors += 1;
            return Err(Error::NotReady(self.state));
        }
        let called = match self.attempt(outgoing, patience, &accept) {
            Ok(()) => Ok(()),
            Err(error) => self.persist(error, outgoing, patience, &accept),
        };
        match &called {
            Ok(()) => self.status.calls += 1,
            Err(_) => self.status.errors += 1,
        }
        called
    }

    /// Goes on after the first attempt has failed, where that may help.
    #[cold]
    fn persist(
        &mut self,
        mut error: Error,
        outgoing: Outgoing,
        patience: &mut Patience<'_>,
        accept: &impl Fn(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut resent, mut growths) = (false, 0);
        loop {
            if matches!(error, Error::Timeout | Error::Aborted) {
                self.close(State::Broken);
                return Err(error);
            }
            let sent = self.session.as_ref().is_none_or(Session::is_over) || is_told(&error);
            if !sent && matches!(error, Error::TooManyItems { .. }) {
                return Err(error);
            }
            if error.is_overflow() {
                let before = self.room();
                if growths == GROWTHS_MAX || !self.grow(&error) {
                    // A request that was never sent leaves the session as it is.
                    if sent {
                        self.close(State::Broken);
                    }
                    return Err(error);
                }
                growths += 1;
                self.reconnect_or_break(patience)?;
                if self.room() <= before {
                    self.close(State::Broken);
                    return Err(error);
                }
            } else if resent {
                self.close(State::Broken);
                return Err(error);
            } else {
                resent = true;
                self.reconnect_or_break(patience)?;
            }
            match self.attempt(outgoing, patience, accept) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    fn reconnect_or_break(&mut self, patience: &mut Patience<'_>) -> Result<(), Error> {
        patience.start();
        let reconnected = self.reconnect(patience);
        if reconnected.is_err() && matches!(self.state, State::Disconnected | State::Connecting) {
            self.close(State::Broken);
        }
        reconnected
    }

    /// What the session allows, and what is proposed: growing any of it may help.
    fn room(&self) -> (u32, u32) {
        self.terms()
            .map_or((0, 0), |terms| (terms.request.payload_bytes, terms.response.payload_bytes))
    }

    /// Proposes more; says whether there is more to propose.
    fn grow(&mut self, error: &Error) -> bool {
        if is_told(error) {
            // The server decides about responses, and has taken note.
            let used =
                self.terms().map_or(self.response_bytes, |terms| terms.response.payload_bytes);
            self.response_bytes = used.saturating_mul(2).min(GROWTH_MAX).max(self.response_bytes);
            return true;
        }
        let needed = self.request.as_slice().len();
        let Some(next) = u32::try_from(needed).ok().and_then(u32::checked_next_power_of_two) else {
            return false;
        };
        let (next, before) = (next.min(self.request_max), self.request_bytes);
        let fits = needed <= next as usize;
        if fits && next > before {
            self.request_bytes = next;
        }
        fits && next > before
    }

    /// Sends and receives once.
    #[inline]
    fn attempt(
        &mut self,
        outgoing: Outgoing,
        patience: &mut Patience<'_>,
        accept: &impl Fn(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let id = self.status.calls + 1;
        let session = self.session.as_mut().ok_or(Error::Disconnected)?;
        let header = Header::request(outgoing.code, id);
        let header = outgoing.batch.map_or(header, |count| header.with_batch(count));
        patience.check_abort()?;
        session.send_buffer(&header, &mut self.request, patience)?;
        let answer = session.recv_unchecked(&mut self.response, patience)?;
        check_answer(&header, &answer)?;
        accept(self.response.as_slice())
    }
}

/// Whether it was the server that said so.
fn is_told(error: &Error) -> bool {
    matches!(error, Error::Refused(_))
}

/// The envelope of an answer must be that of its request.
#[inline]
pub(crate) fn check_answer(request: &Header, answer: &Header) -> Result<(), Error> {
    if answer.kind != Kind::Response {
        return Err(Error::Protocol("a server sent something that is no response"));
    }
    if answer.code != request.code || answer.message_id != request.message_id {
        return Err(Error::Protocol("a response is not that to the request"));
    }
    if answer.status != Status::OK {
        return Err(Error::Refused(answer.status));
    }
    if (answer.batch, answer.item_count) != (request.batch, request.item_count) {
        return Err(Error::Protocol("a response has another number of items than the request"));
    }
    Ok(())
}
