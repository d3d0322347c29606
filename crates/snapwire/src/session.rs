//! One connection, from the handshake to its end.

use crate::buffer::Buffer;
use crate::codec::{
    Batch, Chunk, Fault, HEADER_LEN, Header, Hello, Kind, Limit, Malformed, Status,
};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fork;
use crate::handshake::{self, Offer, Terms};
use crate::patience::Patience;
use crate::shm::Lanes;
use crate::socket::{Meanwhile, Socket};
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// Which end of a session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It asks.
    Client,
    /// It answers.
    Server,
}

/// More forks than there will be.
const OVER: u32 = u32::MAX;

/// Ids of requests: nearly always one.
#[derive(Debug, Default)]
struct InFlight {
    only: Option<u64>,
    others: HashSet<u64>,
}

impl InFlight {
    /// Says whether it was not there.
    #[inline]
    fn insert(&mut self, id: u64) -> bool {
        if self.is_empty() {
            self.only = Some(id);
            return true;
        }
        self.only != Some(id) && self.others.insert(id)
    }

    /// Says whether it was there.
    #[inline]
    fn remove(&mut self, id: u64) -> bool {
        if self.only == Some(id) {
            self.only = None;
            return true;
        }
        self.others.remove(&id)
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.only.is_none() && self.others.is_empty()
    }

    fn len(&self) -> usize {
        usize::from(self.only.is_some()) + self.others.len()
    }

    fn clear(&mut self) {
        *self = InFlight::default();
    }
}

/// A connected peer with agreed terms.
///
/// Over the socket any number of requests may be outstanding, matched by their ids. Over shared
/// memory there is one message in flight in each direction. Nothing is sent again by itself, and
/// after an error other than [`Error::Timeout`], [`Error::Aborted`] and those about the caller's
/// own message the session is over.
#[derive(Debug)]
pub struct Session {
    role: Role,
    terms: Terms,
    socket: Arc<Socket>,
    lanes: Option<Lanes>,
    /// Ids of requests without an answer. A client's only.
    in_flight: InFlight,
    /// Answers that came while a request was being sent.
    stash: VecDeque<(Header, Buffer)>,
    /// How long the rest of a message may take once its start is there.
    stall: Option<Duration>,
    /// The last message said that something was not done.
    refused: bool,
    /// The forks when it began, or [`OVER`].
    life: u32,
}

impl Session {
    /// Connects to a service: one attempt, with the whole handshake.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Denied`]; what the handshake said; [`Error::Region`] when
    /// shared memory was agreed upon and cannot be used, in which case the socket alone may do.
    pub fn connect(
        endpoint: &Endpoint,
        offer: &Offer,
        patience: &mut Patience<'_>,
    ) -> Result<Session, Error> {
        let socket = Socket::connect(endpoint, patience)?;
        let (header, hello) = handshake::hello(offer, socket.packet_size());
        socket.send(&header, &hello.encode(), patience, &mut None)?;
        let terms = receive_ack(&socket, &hello, patience)?;
        let lanes = if terms.profile.intersects(crate::codec::Profiles::SHM) {
            Some(Lanes::attach(endpoint, &terms, &socket, patience)?)
        } else {
            None
        };
        Ok(Session::new(Role::Client, terms, socket, lanes))
    }

    pub(crate) fn new(role: Role, terms: Terms, socket: Socket, lanes: Option<Lanes>) -> Session {
        Session {
            role,
            terms,
            socket: Arc::new(socket),
            lanes,
            in_flight: InFlight::default(),
            stash: VecDeque::new(),
            stall: None,
            refused: false,
            life: fork::forks_from_now(),
        }
    }

    /// Bounds the time from the first packet of a message to its last.
    pub(crate) fn set_stall(&mut self, stall: Duration) {
        self.stall = Some(stall);
    }

    /// Before a server ends the session, gives a client that looks at nothing but shared memory the
    /// time to read its answer. One that was refused something goes by itself. `first` is called
    /// when that takes time.
    pub(crate) fn linger(&mut self, first: impl FnOnce()) {
        let is_there = self.socket.is_shut() || self.socket.is_quiet();
        if let Some(lanes) = &mut self.lanes
            && is_there
            && !self.refused
            && lanes.may_be_unread()
        {
            first();
            lanes.linger();
        }
    }

    /// What was agreed.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether messages go through shared memory.
    #[inline]
    pub fn is_shm(&self) -> bool {
        self.lanes.is_some()
    }

    /// Whether the session is over. In a child that was forked it is: it is the parent's.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.life != fork::forks()
    }

    /// The number of requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The socket, for whoever ends the session from another thread.
    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// The shared memory, if any.
    pub(crate) fn lanes(&self) -> Option<&Lanes> {
        self.lanes.as_ref()
    }

    #[inline]
    fn outbound(&self) -> Limit {
        match self.role {
            Role::Client => self.terms.request,
            Role::Server => self.terms.response,
        }
    }

    #[inline]
    fn inbound(&self) -> Limit {
        match self.role {
            Role::Client => self.terms.response,
            Role::Server => self.terms.request,
        }
    }

    /// Sends a message. The header's payload length is filled in.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::TooManyItems`] and [`Error::DuplicateMessageId`], after which nothing has been
    /// sent and the session goes on. Any other error ends it.
    #[inline]
    pub fn send(
        &mut self,
        header: &Header,
        payload: &[u8],
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        self.send_by(header, payload, patience, |lanes, header| lanes.send(header, payload))
    }

    /// The same of bytes that may be sent again, which shared memory keeps.
    pub(crate) fn send_shared(
        &mut self,
        header: &Header,
        payload: &Arc<[u8]>,
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        self.send_by(header, payload, patience, |lanes, header| lanes.send_shared(header, payload))
    }

    /// Sends in packets, or as told in shared memory.
    #[inline]
    fn send_by(
        &mut self,
        header: &Header,
        payload: &[u8],
        patience: &mut Patience<'_>,
        in_shm: impl FnOnce(&mut Lanes, &Header) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let header = self.admit(header, payload.len())?;
        let sent = match &mut self.lanes {
            Some(lanes) => in_shm(lanes, &header),
            None => self.send_packets(&header, payload, patience),
        };
        self.end_after(sent)
    }

    /// [`Session::send`] of what is in a buffer, which is cheaper over the socket.
    #[inline]
    pub(crate) fn send_buffer(
        &mut self,
        header: &Header,
        buffer: &mut Buffer,
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        let payload_len = buffer.as_slice().len();
        let header = self.admit(header, payload_len)?;
        let sent = match &mut self.lanes {
            Some(lanes) => lanes.send(&header, buffer.as_slice()),
            None if HEADER_LEN + payload_len > self.terms.packet_size as usize => {
                self.send_packets(&header, buffer.as_slice(), patience)
            }
            None => match self.socket.try_send_whole(buffer.packet(&header.encode())) {
                Ok(true) => Ok(()),
                Ok(false) => self.send_packets(&header, buffer.as_slice(), patience),
                Err(error) => Err(error),
            },
        };
        self.end_after(sent)
    }

    /// A message that was not sent is the last.
    #[inline]
    fn end_after(&mut self, sent: Result<(), Error>) -> Result<(), Error> {
        if sent.is_err() {
            self.end();
        }
        sent
    }

    /// Checks a message that is to be sent, and takes note of it; returns its header.
    #[inline]
    fn admit(&mut self, header: &Header, payload_len: usize) -> Result<Header, Error> {
        if self.is_over() {
            return Err(Error::Disconnected);
        }
        check_limits(self.outbound(), payload_len as u64, header.item_count)?;
        if self.role == Role::Client && header.kind == Kind::Request {
            if self.is_shm() && !self.in_flight.is_empty() {
                let what = "the number of messages in flight over shared memory";
                return Err(Error::LimitExceeded { what, found: 2, limit: 1 });
            }
            if !self.in_flight.insert(header.message_id) {
                return Err(Error::DuplicateMessageId(header.message_id));
            }
        }
        self.refused = header.status != Status::OK;
        Ok(Header { payload_len: payload_len as u32, ..*header })
    }

    /// Sends a message in as many packets as it takes, however long the peer does not read.
    #[cold]
    fn send_packets(
        &mut self,
        header: &Header,
        payload: &[u8],
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        let Session { role, terms, socket, stash, in_flight, .. } = self;
        let inbound = terms.response;
        let mut read = |patience: &mut Patience<'_>| {
            // The peer may be stuck in sending to us what nobody reads.
            let mut buffer = Buffer::new();
            let header = receive(socket, terms, inbound, &mut buffer, patience, None)
                .map_err(|(error, _)| error)?;
            // It must not fill our memory with answers to nothing.
            if stash.len() == in_flight.len() {
                return Err(Error::UnknownMessageId(header.message_id));
            }
            stash.push_back((header, buffer));
            Ok(())
        };
        let mut meanwhile: Option<Meanwhile<'_>> =
            if *role == Role::Client { Some(&mut read) } else { None };
        let budget = terms.packet_size as usize - HEADER_LEN;
        let (first, rest) = payload.split_at(payload.len().min(budget));
        socket.send(&header.encode(), first, patience, &mut meanwhile)?;
        if rest.is_empty() {
            return Ok(());
        }
        let total = HEADER_LEN + payload.len();
        let Ok(total_message_len) = u32::try_from(total) else {
            return Err(Error::BadParameter { what: "a message's length", value: total as u64 });
        };
        let count = 1 + rest.len().div_ceil(budget) as u32;
        for (index, part) in (1..).zip(rest.chunks(budget)) {
            let chunk = Chunk {
                message_id: header.message_id,
                total_message_len,
                index,
                count,
                payload_len: part.len() as u32,
            };
            socket.send(&chunk.encode(), part, patience, &mut meanwhile)?;
        }
        Ok(())
    }

    /// Receives a message; its payload is in the buffer afterwards. The directory of a batch is
    /// checked, unless the message is a refusal: netipc's C server marks those of batches as batches.
    ///
    /// # Errors
    /// [`Error::Timeout`] and [`Error::Aborted`] while no message has begun leave the session as
    /// it is. Any other error ends it.
    pub fn recv(
        &mut self,
        buffer: &mut Buffer,
        patience: &mut Patience<'_>,
    ) -> Result<Header, Error> {
        let header = self.recv_unchecked(buffer, patience)?;
        let is_refusal = header.kind == Kind::Response && header.status != Status::OK;
        if header.batch && header.item_count > 1 && !is_refusal {
            let checked = Batch::new(buffer.as_slice(), header.item_count);
            if let Err(error) = checked {
                self.end();
                return Err(error.into());
            }
        }
        Ok(header)
    }

    /// Receives a message without looking into its payload.
    #[inline]
    pub(crate) fn recv_unchecked(
        &mut self,
        buffer: &mut Buffer,
        patience: &mut Patience<'_>,
    ) -> Result<Header, Error> {
        let received = match self.stash.pop_front() {
            Some((header, stashed)) => {
                *buffer = stashed;
                Ok(header)
            }
            None if self.is_over() => Err((Error::Disconnected, true)),
            None => self.take(buffer, patience),
        };
        let error = match received {
            Ok(header) if self.role == Role::Client && header.kind == Kind::Response => {
                if self.in_flight.remove(header.message_id) {
                    return Ok(header);
                }
                Error::UnknownMessageId(header.message_id)
            }
            Ok(header) => return Ok(header),
            Err((error, false)) => return Err(error),
            Err((error, true)) => error,
        };
        self.end();
        Err(error)
    }

    /// The error comes with whether the session is over.
    #[inline]
    fn take(
        &mut self,
        buffer: &mut Buffer,
        patience: &mut Patience<'_>,
    ) -> Result<Header, (Error, bool)> {
        let inbound = self.inbound();
        match &mut self.lanes {
            Some(lanes) => lanes.recv(buffer, &self.socket, inbound, patience),
            None => receive(&self.socket, &self.terms, inbound, buffer, patience, self.stall),
        }
    }

    /// Nothing more can be sent or received.
    fn end(&mut self) {
        self.life = OVER;
        self.in_flight.clear();
        self.stash.clear();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_over() && self.life != OVER {
            // It goes on, in the parent.
            return;
        }
        // The peer may sleep in shared memory and must look at the socket.
        self.socket.shutdown(rustix::net::Shutdown::Both);
        if let Some(lanes) = &mut self.lanes {
            lanes.say_goodbye();
            lanes.wake_all();
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Refuses what a direction does not allow.
#[inline]
pub(crate) fn check_limits(limit: Limit, payload: u64, items: u32) -> Result<(), Error> {
    if items > limit.batch_items {
        return Err(Error::TooManyItems { found: items, limit: limit.batch_items });
    }
    if payload > u64::from(limit.payload_bytes) {
        let (what, limit) = ("a payload in bytes", limit.payload_bytes.into());
        return Err(Error::LimitExceeded { what, found: payload, limit });
    }
    Ok(())
}

fn receive_ack(
    socket: &Socket,
    hello: &Hello,
    patience: &mut Patience<'_>,
) -> Result<Terms, Error> {
    let mut packet = [0; handshake::PACKET_MAX];
    let length = receive_control(|header, body| socket.recv(header, body, patience), &mut packet)?;
    handshake::terms(&packet[..length], hello)
}

/// Receives a packet of the handshake into one piece.
pub(crate) fn receive_control(
    receive: impl FnOnce(&mut [u8; HEADER_LEN], &mut [u8]) -> Result<usize, Error>,
    packet: &mut [u8; handshake::PACKET_MAX],
) -> Result<usize, Error> {
    let mut header = [0; HEADER_LEN];
    let length = receive(&mut header, &mut packet[HEADER_LEN..])?;
    packet[..HEADER_LEN].copy_from_slice(&header);
    Ok(length.min(handshake::PACKET_MAX))
}

/// Receives a message from a socket, of however many packets. The error comes with whether the
/// session is over.
fn receive(
    socket: &Socket,
    terms: &Terms,
    inbound: Limit,
    buffer: &mut Buffer,
    patience: &mut Patience<'_>,
    stall: Option<Duration>,
) -> Result<Header, (Error, bool)> {
    let budget = terms.packet_size as usize - HEADER_LEN;
    let packet = buffer.packet_room(budget.min(inbound.payload_bytes as usize));
    let room = packet.len() - HEADER_LEN;
    let received = match socket.recv_whole(packet, patience) {
        Ok(received) => received,
        Err(error @ (Error::Timeout | Error::Aborted)) => return Err((error, false)),
        Err(error) => return Err((error, true)),
    };
    let over = |error| (error, true);
    if received < HEADER_LEN {
        return Err(over(Malformed::new(Fault::Truncated, "message header").into()));
    }
    let header = Header::decode(packet).map_err(|error| over(error.into()))?;
    check_limits(inbound, header.payload_len.into(), header.item_count).map_err(over)?;
    let (payload_len, first) = (header.payload_len as usize, received - HEADER_LEN);
    if first > payload_len {
        return Err(over(Error::Protocol("a packet is longer than its message")));
    }
    if first > room {
        return Err(over(Error::Protocol("a packet is longer than was agreed")));
    }
    if first < payload_len {
        let mut bounded = stall.map(Patience::new);
        let patience = bounded.as_mut().unwrap_or(patience);
        // The peer must not gain time by sending little by little.
        patience.start();
        receive_rest(socket, budget, &header, first, buffer, patience).map_err(over)?;
    }
    buffer.set_len(payload_len);
    Ok(header)
}

/// Receives the packets after the first.
fn receive_rest(
    socket: &Socket,
    budget: usize,
    header: &Header,
    first: usize,
    buffer: &mut Buffer,
    patience: &mut Patience<'_>,
) -> Result<(), Error> {
    const WHAT: &str = "continuation packet";
    let total = header.payload_len as usize;
    let count = 1 + (total - first).div_ceil(budget) as u64;
    let payload = buffer.exactly(total);
    let mut at = first;
    let mut index = 0u64;
    while at < total {
        index += 1;
        let mut head = [0; HEADER_LEN];
        let rest = &mut payload[at..];
        let room = rest.len();
        let received = socket.recv(&mut head, rest, patience)?;
        let chunk = Chunk::decode(&head, received)?;
        let expected_total = HEADER_LEN as u64 + total as u64;
        if chunk.message_id != header.message_id
            || u64::from(chunk.total_message_len) != expected_total
            || u64::from(chunk.index) != index
            || index >= count
            || u64::from(chunk.count) != count
        {
            return Err(Malformed::new(Fault::BadLayout, WHAT).into());
        }
        let length = chunk.payload_len as usize;
        if length > room {
            return Err(Malformed::new(Fault::OutOfBounds, WHAT).into());
        }
        at += length;
    }
    if index + 1 != count {
        return Err(Malformed::new(Fault::BadItemCount, WHAT).into());
    }
    Ok(())
}
