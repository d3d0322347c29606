//! Typed calls.

mod batch;
mod config;
mod link;
mod lookup;
mod state;

pub use batch::Responses;
pub use config::{ClientConfig, LookupMax};
pub use link::ClientStatus;
#[cfg(feature = "tokio")]
pub(crate) use link::check_answer;
pub use state::State;

use crate::codec::{BuildError, Malformed};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::handshake::Terms;
use crate::patience::{AbortHandle, Patience};
use crate::service::Service;
use link::{Link, Outgoing};
use std::marker::PhantomData;
use std::time::Duration;

/// How much room a request is given first, in bytes.
const REQUEST_ROOM: usize = 4096;

/// A caller of a service.
///
/// It connects when it is refreshed, not when it is made. A call that fails is sent once more over
/// a new connection, so a handler may see it twice; a call that has timed out or was called off is
/// not. What a call returns lives in the client's buffers until the next call: nothing is
/// allocated per call.
///
/// In a child that is forked it connects again: the connection stays its parent's.
#[derive(Debug)]
pub struct Client<S: Service> {
    link: Link,
    abort: AbortHandle,
    /// Where the parts of a look-up are put together.
    stitched: Vec<u8>,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Client<S> {
    /// A client that is not connected.
    pub fn new(endpoint: &Endpoint, config: &ClientConfig) -> Client<S> {
        let link = Link::new(endpoint, config);
        Client { link, abort: AbortHandle::new(), stitched: Vec::new(), service: PhantomData }
    }

    /// Connects, unless it is connected already or trying would not help. Says whether the state
    /// is another one now. Takes at most 5 seconds, and as long only if a server accepts and says
    /// nothing.
    pub fn refresh(&mut self) -> bool {
        let before = self.state();
        // The state says what happened.
        let _ = self.connect();
        self.state() != before
    }

    /// The same, and says why it could not.
    ///
    /// # Errors
    /// As for [`Session::connect`](crate::Session::connect); [`Error::NotReady`] where trying again
    /// would not help: after [`Client::close`] it tries all the same.
    pub fn connect(&mut self) -> Result<(), Error> {
        self.connect_within(self.link.config().handshake_timeout())
    }

    /// The same, with a time of its own. Zero is forever.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    pub fn connect_within(&mut self, timeout: Duration) -> Result<(), Error> {
        self.link.refresh(&mut Patience::new(timeout).with_abort(&self.abort))
    }

    /// Whether calls can be made, as far as is known. Costs nothing.
    pub fn is_ready(&self) -> bool {
        self.link.state() == State::Ready
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.link.state()
    }

    /// What it has done so far.
    pub fn status(&self) -> ClientStatus {
        self.link.status()
    }

    /// What was agreed, while connected.
    pub fn terms(&self) -> Option<&Terms> {
        self.link.terms()
    }

    /// Calls off this client's calls, from any thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// Drops the connection.
    pub fn close(&mut self) {
        self.link.close(State::Disconnected);
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::NotReady`] at once when it is not connected; [`Error::Timeout`] and
    /// [`Error::Aborted`]; otherwise the failure of the second attempt.
    pub fn call(&mut self, ask: S::Ask<'_>) -> Result<S::Response<'_>, Error> {
        self.call_within(ask, self.link.config().timeout)
    }

    /// The same, with a time of its own. Zero is forever.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub fn call_within(
        &mut self,
        ask: S::Ask<'_>,
        timeout: Duration,
    ) -> Result<S::Response<'_>, Error> {
        self.call_checked(ask, timeout, |payload| S::decode_response(payload).map(drop))?;
        Ok(S::decode_again(self.link.response.as_slice())?)
    }

    /// The same, with a look of the caller's own at the response. What it returns stays in the
    /// buffer.
    #[inline]
    pub(crate) fn call_checked(
        &mut self,
        ask: S::Ask<'_>,
        timeout: Duration,
        accept: impl Fn(&[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        self.encode(|room| S::encode(&ask, room))?;
        let mut patience = Patience::new(timeout).with_abort(&self.abort);
        let outgoing = Outgoing { code: S::CODE, batch: None };
        self.link.call(outgoing, &mut patience, |payload| Ok(accept(payload)?))
    }

    /// How long a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.link.config().timeout
    }

    /// The payload of the last response, which lasts until the next call.
    pub fn last_response(&self) -> &[u8] {
        self.link.response.as_slice()
    }

    /// The response of the last look-up, as it was put together.
    #[cfg(feature = "tokio")]
    pub(crate) fn last_lookup(&self) -> &[u8] {
        &self.stitched
    }

    /// Writes a request into the buffer, which grows as needed.
    fn encode(
        &mut self,
        write: impl Fn(&mut [u8]) -> Result<usize, BuildError>,
    ) -> Result<(), Error> {
        let max = self.link.request_max();
        let mut room = self.link.request.capacity().max(REQUEST_ROOM).min(max);
        loop {
            match write(self.link.request.exactly(room)) {
                Ok(length) => {
                    self.link.request.set_len(length);
                    return Ok(());
                }
                Err(BuildError::Overflow { .. }) if room < max => {
                    room = room.saturating_mul(2).min(max);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
