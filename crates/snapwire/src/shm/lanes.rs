//! Both directions of a region, seen from one end.

use super::lane::Lane;
use super::region::{Region, Way};
use super::spin::{Spinner, Spun};
use crate::buffer::Buffer;
use crate::codec::{Fault, HEADER_LEN, Header, Limit, Malformed};
use crate::endpoint::Endpoint;
use crate::error::{Error, RegionProblem};
use crate::handshake::Terms;
use crate::patience::Patience;
use crate::session::check_limits;
use crate::socket::{Socket, timespec};
use rustix::io::Errno;
use rustix::thread::futex;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How often a client looks for a region that is not ready.
const ATTACH_EVERY: Duration = Duration::from_millis(5);
/// For how long.
const ATTACH_MAX: Duration = Duration::from_secs(5);
/// For how long when there is none: it should be there before the server agrees, and what this end
/// cannot see, such as one in another mount namespace, will not come.
const OPEN_MAX: Duration = Duration::from_millis(200);
/// A client that waits for an answer has read it after so long, unless it is kept from running.
const READ_MAX: Duration = Duration::from_millis(200);

/// One end of a region.
#[derive(Debug)]
pub(crate) struct Lanes {
    region: Arc<Region>,
    inbound: Way,
    outbound: Way,
    /// The number of the last message received.
    received: u64,
    /// The number of the last message sent.
    sent: u64,
    /// What is in the outbound area, when it came from elsewhere. Only the peer could have changed
    /// it, for itself.
    shared: Option<Arc<[u8]>>,
    /// Since when the next message is awaited, once that took a sleep.
    idle_since: Option<Instant>,
    spinner: Spinner,
}

impl Lanes {
    /// The server's end of a region that it has made.
    pub(crate) fn server(region: Region) -> Lanes {
        Lanes::new(region, Way::Request, Way::Response)
    }

    /// The client's end, once the server has agreed. The region is there by then; other
    /// implementations may still be at it.
    pub(crate) fn attach(
        endpoint: &Endpoint,
        terms: &Terms,
        socket: &Socket,
        patience: &mut Patience<'_>,
    ) -> Result<Lanes, Error> {
        let began = Instant::now();
        loop {
            let problem = match Region::attach(endpoint, terms) {
                Ok(region) => return Ok(Lanes::new(region, Way::Response, Way::Request)),
                Err(problem) => problem,
            };
            let most = match problem {
                RegionProblem::NotReady | RegionProblem::BadMagic => ATTACH_MAX,
                RegionProblem::Io(_) => OPEN_MAX,
                _ => Duration::ZERO,
            };
            if !socket.is_quiet() {
                return Err(Error::Disconnected);
            }
            let slice = match patience.slice() {
                // Whoever has no more time should know that this was what took it.
                Err(Error::Timeout) => Duration::ZERO,
                slice => slice?,
            };
            if slice.is_zero() || began.elapsed() >= most {
                let path = endpoint.region_path(terms.session);
                return Err(Error::Region { path, problem });
            }
            thread::sleep(slice.min(ATTACH_EVERY));
        }
    }

    fn new(region: Region, inbound: Way, outbound: Way) -> Lanes {
        let received = region.direction(inbound).lane().last().0;
        let sent = region.direction(outbound).lane().last().0;
        let region = Arc::new(region);
        Lanes {
            region,
            inbound,
            outbound,
            received,
            sent,
            shared: None,
            idle_since: None,
            spinner: Spinner::default(),
        }
    }

    /// The region, for whoever wakes the readers from another thread.
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Makes whoever sleeps look around.
    pub(crate) fn wake_all(&self) {
        self.region.wake_all();
    }

    /// Gives a client the time to read its answer, before [`Lanes::say_goodbye`].
    pub(crate) fn linger(&mut self) {
        self.idle_since.get_or_insert_with(Instant::now);
        while self.may_be_unread() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether there is a goodbye to say, and an answer in the way.
    pub(crate) fn may_be_unread(&self) -> bool {
        self.says_goodbye() && !self.is_read()
    }

    /// Publishes an empty message, unless one is there that may not have been read.
    ///
    /// Some of netipc's ends look at nothing but the region while they wait: clients in all languages
    /// for an answer, servers in Rust and Go for a request. When the session is over, such a client
    /// would wait for all of its time, and such a server would never have its worker back. An empty
    /// message is malformed for them, so they let go of the session; clients connect again and ask
    /// again.
    pub(crate) fn say_goodbye(&mut self) {
        if self.says_goodbye() && self.is_read() {
            self.sent = self.sent.wrapping_add(1);
            let lane = self.region.direction(self.outbound).lane();
            if lane.publish(self.sent, 0) {
                wake(lane);
            }
        }
    }

    /// Peers that know the profile with waiters look at the socket as well.
    fn says_goodbye(&self) -> bool {
        self.region.direction(self.outbound).lane().waiting.is_none()
    }

    /// Whether the peer has read the last message, as far as anybody can tell.
    fn is_read(&self) -> bool {
        let theirs = self.region.direction(self.inbound).lane().last().0;
        match self.outbound {
            // It is answered.
            Way::Request => theirs == self.sent,
            // The client has asked again, or there was no answer yet, or it was given the time.
            Way::Response => {
                let long_ago = |since: Instant| since.elapsed() >= READ_MAX;
                theirs != self.sent || self.sent == 0 || self.idle_since.is_some_and(long_ago)
            }
        }
    }

    /// Publishes a message.
    #[inline]
    pub(crate) fn send(&mut self, header: &Header, payload: &[u8]) -> Result<(), Error> {
        let len = self.message_len(payload)?;
        self.shared = None;
        self.region.direction(self.outbound).area.write(HEADER_LEN, payload);
        self.publish(header, len);
        Ok(())
    }

    /// The same of bytes that may be sent again: they stay in the area until something else is sent.
    pub(crate) fn send_shared(
        &mut self,
        header: &Header,
        payload: &Arc<[u8]>,
    ) -> Result<(), Error> {
        let len = self.message_len(payload)?;
        if !self.shared.as_ref().is_some_and(|shared| Arc::ptr_eq(shared, payload)) {
            self.region.direction(self.outbound).area.write(HEADER_LEN, payload);
            self.shared = Some(Arc::clone(payload));
        }
        self.publish(header, len);
        Ok(())
    }

    /// The length of a message, if there is room for it.
    #[inline]
    fn message_len(&self, payload: &[u8]) -> Result<u32, Error> {
        let total = HEADER_LEN + payload.len();
        let capacity = self.region.direction(self.outbound).area.len();
        u32::try_from(total).ok().filter(|_| total <= capacity).ok_or_else(|| {
            let (found, limit) = (total as u64, capacity as u64);
            Error::LimitExceeded { what: "a message in bytes", found, limit }
        })
    }

    /// Publishes the message whose payload is in the area.
    #[inline]
    fn publish(&mut self, header: &Header, len: u32) {
        let direction = self.region.direction(self.outbound);
        direction.area.write(0, &header.encode());
        self.sent = self.sent.wrapping_add(1);
        let lane = direction.lane();
        if lane.publish(self.sent, len) {
            wake(lane);
        }
    }

    /// Waits for a message and takes it. The error comes with whether the session is over.
    #[inline]
    pub(crate) fn recv(
        &mut self,
        buffer: &mut Buffer,
        socket: &Socket,
        limit: Limit,
        patience: &mut Patience<'_>,
    ) -> Result<Header, (Error, bool)> {
        match self.wait(socket, patience) {
            Ok(()) => {}
            Err(error @ (Error::Timeout | Error::Aborted)) => return Err((error, false)),
            Err(error) => return Err((error, true)),
        }
        self.take(buffer, socket, limit).map_err(|error| (error, true))
    }

    #[inline]
    fn wait(&mut self, socket: &Socket, patience: &mut Patience<'_>) -> Result<(), Error> {
        let lane = self.region.direction(self.inbound).lane();
        let received = self.received;
        if socket.is_shut() {
            return Err(Error::Disconnected);
        }
        if lane.is_published(received) {
            return Ok(());
        }
        patience.check_abort()?;
        let is_published = || lane.is_published(received);
        let (began, mut nap) = match self.spinner.spin(is_published) {
            Spun::Ready => return Ok(()),
            Spun::Sleep { began, nap } => (began, nap),
        };
        self.idle_since.get_or_insert(began);
        patience.start();
        // A peer that went while this one was spinning has woken nobody.
        if !socket.is_quiet() && !is_published() {
            return Err(Error::Disconnected);
        }
        loop {
            let slice = patience.slice()?;
            let due = nap.take().filter(|nap| *nap < slice);
            sleep(lane, received, due.unwrap_or(slice))?;
            let spun = due.is_some() && self.spinner.spin_after_nap(is_published);
            if spun || is_published() {
                self.spinner.learn(began.elapsed());
                return Ok(());
            }
            // A peer that goes wakes us; one that died is noticed at the end of the slice. What it
            // published before it went counts.
            if !socket.is_quiet() && !lane.is_published(received) {
                return Err(Error::Disconnected);
            }
        }
    }

    /// Copies the message out, and makes sure that it is the one that was announced.
    #[inline]
    fn take(
        &mut self,
        buffer: &mut Buffer,
        socket: &Socket,
        limit: Limit,
    ) -> Result<Header, Error> {
        self.idle_since = None;
        let direction = self.region.direction(self.inbound);
        let lane = direction.lane();
        let last @ (seq, len) = lane.last();
        if seq != self.received.wrapping_add(1) {
            return Err(Error::Protocol("a message was overwritten before it was read"));
        }
        self.received = seq;
        if len == 0 && !socket.is_quiet() {
            // It was a goodbye.
            return Err(Error::Disconnected);
        }
        let (len, capacity) = (len as usize, direction.area.len());
        if len > capacity {
            let (found, limit) = (len as u64, capacity as u64);
            return Err(Error::LimitExceeded { what: "a message in bytes", found, limit });
        }
        if len < HEADER_LEN {
            return Err(Malformed::new(Fault::Truncated, "message header").into());
        }
        let mut head = [0; HEADER_LEN];
        direction.area.read(0, &mut head);
        let header = Header::decode(&head)?;
        let payload_len = len - HEADER_LEN;
        if header.payload_len as usize != payload_len {
            return Err(Error::Protocol("a message's two lengths differ"));
        }
        check_limits(limit, payload_len as u64, header.item_count)?;
        direction.area.read(HEADER_LEN, buffer.exactly(payload_len));
        buffer.set_len(payload_len);
        if !lane.is_unchanged(last) {
            return Err(Error::Protocol("a message changed while it was read"));
        }
        Ok(header)
    }
}

impl Region {
    /// Makes whoever sleeps in this region look around.
    pub(crate) fn wake_all(&self) {
        wake(self.direction(Way::Request).lane());
        wake(self.direction(Way::Response).lane());
    }
}

fn wake(lane: Lane<'_>) {
    // It fails only for words that are no memory.
    let _ = futex::wake(lane.signal, futex::Flags::empty(), 1);
}

/// Sleeps until a message after number `seen` is published, for a slice at most. It may also wake
/// for nothing.
fn sleep(lane: Lane<'_>, seen: u64, slice: Duration) -> Result<(), Error> {
    let slept = match lane.asleep(seen) {
        Some(signal) => {
            futex::wait(lane.signal, futex::Flags::empty(), signal, Some(&timespec(slice)))
        }
        None => Ok(()),
    };
    lane.awake();
    match slept {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()),
        Err(error) => Err(Error::link("wait for", error)),
    }
}

#[cfg(test)]
mod tests;
