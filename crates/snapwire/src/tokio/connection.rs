//! One connection as a task sees it: messages go in, and come out of a channel.

use crate::buffer::Buffer;
use crate::codec::{Chunk, Fault, HEADER_LEN, Header, Malformed};
use crate::error::Error;
use crate::handshake::Terms;
use crate::patience::Patience;
use crate::session::{Session, check_limits};
use crate::shm::Region;
use crate::socket::Socket;
use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::sync::mpsc;
use ::tokio::task::JoinHandle;
use rustix::net::Shutdown;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// How many requests may be under way over the socket.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

/// What has come: a message, or the end.
pub(crate) type Received = Result<(Header, Vec<u8>), Error>;

/// A connected server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) terms: Terms,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Socket {
        socket: Arc<AsyncFd<Wire>>,
        reader: JoinHandle<()>,
        /// It ends the connection when it is dropped.
        _session: Box<Session>,
    },
    Memory {
        requests: Sender<(Header, Arc<Vec<u8>>)>,
        socket: Arc<Socket>,
        region: Arc<Region>,
    },
}

/// A socket for the runtime to watch. Nothing is done on it that could wait.
#[derive(Debug)]
struct Wire(Arc<Socket>);

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Connection {
    /// Takes a session over; what comes, comes out of the channel. Must be called in a runtime.
    pub(crate) fn new(session: Session) -> Result<(Connection, mpsc::Receiver<Received>), Error> {
        let terms = *session.terms();
        // There is always room: no more answers come than there are questions, and one end.
        let (sender, received) = mpsc::channel(IN_FLIGHT_MAX + 1);
        if let Some(lanes) = session.lanes() {
            let (requests, to_send) = channel();
            let (socket, region) = (Arc::clone(session.socket()), Arc::clone(lanes.region()));
            let transport = Transport::Memory { requests, socket, region };
            let thread = move || talk(session, &to_send, &sender);
            let spawned = thread::Builder::new().name(String::from("snapwire")).spawn(thread);
            spawned.map_err(|error| Error::link("start a thread for", error))?;
            return Ok((Connection { terms, transport }, received));
        }
        let wire = Wire(Arc::clone(session.socket()));
        // SAFETY: the descriptor is that of the socket, which owns it and is owned by the wire; it is
        // the same one for as long as the wire lives, and open.
        #[expect(unsafe_code, reason = "tokio watches a number, and wants a promise")]
        let socket = unsafe { AsyncFd::register(wire) };
        let socket = socket.map_err(|error| Error::link("watch", io::Error::from(error)))?;
        let socket = Arc::new(socket);
        let reader = ::tokio::spawn(read(Arc::clone(&socket), terms, sender));
        let transport = Transport::Socket { socket, reader, _session: Box::new(session) };
        Ok((Connection { terms, transport }, received))
    }

    /// How many requests may be under way.
    pub(crate) fn in_flight_max(&self) -> usize {
        match self.transport {
            Transport::Socket { .. } => IN_FLIGHT_MAX,
            Transport::Memory { .. } => 1,
        }
    }

    /// Sends a request. After an error, or when this is dropped before it is done, the connection is
    /// of no use.
    pub(crate) async fn send(&self, header: Header, payload: Arc<Vec<u8>>) -> Result<(), Error> {
        let header = Header { payload_len: payload.len() as u32, ..header };
        match &self.transport {
            Transport::Socket { socket, .. } => send(socket, &self.terms, &header, &payload).await,
            Transport::Memory { requests, .. } => {
                requests.send((header, payload)).map_err(|_| Error::Disconnected)
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match &self.transport {
            Transport::Socket { reader, .. } => reader.abort(),
            // The thread looks up, and ends with its session. The server knows at once.
            Transport::Memory { socket, region, .. } => {
                socket.shutdown(Shutdown::Both);
                region.wake_all();
            }
        }
    }
}

/// The thread of a connection over shared memory.
fn talk(
    mut session: Session,
    requests: &Receiver<(Header, Arc<Vec<u8>>)>,
    answers: &mpsc::Sender<Received>,
) {
    let mut buffer = Buffer::new();
    while let Ok((header, payload)) = requests.recv() {
        let mut patience = Patience::forever();
        let received = session
            .send(&header, &payload, &mut patience)
            .and_then(|()| session.recv_unchecked(&mut buffer, &mut patience))
            .map(|header| (header, buffer.as_slice().to_vec()));
        let over = received.is_err();
        if answers.blocking_send(received).is_err() || over {
            return;
        }
    }
}

/// Makes what the socket says something that the runtime understands.
fn to_io(done: Result<Option<usize>, Error>) -> io::Result<Result<usize, Error>> {
    match done {
        Ok(Some(length)) => Ok(Ok(length)),
        Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Ok(Err(error)),
    }
}

async fn send_packet(
    socket: &AsyncFd<Wire>,
    header: &[u8; HEADER_LEN],
    body: &[u8],
) -> Result<(), Error> {
    let sent = socket.async_io(Interest::WRITABLE, |wire| {
        to_io(wire.0.try_send(header, body).map(|sent| sent.then_some(0)))
    });
    sent.await.map_err(|error| Error::link("send to", error))?.map(|_| ())
}

async fn receive_packet(
    socket: &AsyncFd<Wire>,
    header: &mut [u8; HEADER_LEN],
    body: &mut [u8],
) -> Result<usize, Error> {
    let received = socket.async_io(Interest::READABLE, |wire| {
        to_io(match wire.0.try_recv(header, body, true) {
            // The kernel tells first that the peer has left something unread, and then what the peer
            // had sent before. Nothing comes after an empty packet.
            Err(Error::Disconnected) => match wire.0.try_recv(header, body, true) {
                Ok(None) => Err(Error::Disconnected),
                received => received,
            },
            received => received,
        })
    });
    received.await.map_err(|error| Error::link("receive from", error))?
}

/// Sends a message in as many packets as it takes.
async fn send(
    socket: &AsyncFd<Wire>,
    terms: &Terms,
    header: &Header,
    payload: &[u8],
) -> Result<(), Error> {
    let budget = terms.packet_size as usize - HEADER_LEN;
    let (first, rest) = payload.split_at(payload.len().min(budget));
    send_packet(socket, &header.encode(), first).await?;
    let count = 1 + rest.len().div_ceil(budget) as u32;
    for (index, part) in (1..).zip(rest.chunks(budget)) {
        let chunk = Chunk {
            message_id: header.message_id,
            // A request is at most as long as was agreed, far below 4 GiB.
            total_message_len: (HEADER_LEN + payload.len()) as u32,
            index,
            count,
            payload_len: part.len() as u32,
        };
        send_packet(socket, &chunk.encode(), part).await?;
    }
    Ok(())
}

/// The task that reads until the end.
async fn read(socket: Arc<AsyncFd<Wire>>, terms: Terms, answers: mpsc::Sender<Received>) {
    let mut packet = Vec::new();
    loop {
        let received = receive(&socket, &terms, &mut packet).await;
        let over = received.is_err();
        if answers.send(received).await.is_err() || over {
            return;
        }
    }
}

/// Receives a message of however many packets, with the checks of a session.
async fn receive(socket: &AsyncFd<Wire>, terms: &Terms, packet: &mut Vec<u8>) -> Received {
    const WHAT: &str = "continuation packet";
    let limit = terms.response;
    let budget = terms.packet_size as usize - HEADER_LEN;
    packet.resize(budget.min(limit.payload_bytes as usize), 0);
    let mut head = [0; HEADER_LEN];
    let received = receive_packet(socket, &mut head, packet).await?;
    if received < HEADER_LEN {
        return Err(Malformed { fault: Fault::Truncated, what: "message header" }.into());
    }
    let header = Header::decode(&head)?;
    check_limits(limit, header.payload_len.into(), header.item_count)?;
    let (total, first) = (header.payload_len as usize, received - HEADER_LEN);
    if first > total {
        return Err(Error::Protocol("a packet is longer than its message"));
    }
    let Some(start) = packet.get(..first) else {
        return Err(Error::Protocol("a packet is longer than was agreed"));
    };
    let mut payload = start.to_vec();
    let count = 1 + (total - first).div_ceil(budget) as u64;
    payload.resize(total, 0);
    let (mut at, mut index) = (first, 0);
    while at < total {
        index += 1;
        let rest = &mut payload[at..];
        let room = rest.len();
        let received = receive_packet(socket, &mut head, rest).await?;
        let chunk = Chunk::decode(&head, received)?;
        let expected = (header.message_id, HEADER_LEN as u64 + total as u64, index, count);
        let found = (
            chunk.message_id,
            chunk.total_message_len.into(),
            chunk.index.into(),
            chunk.count.into(),
        );
        if found != expected || index >= count {
            return Err(Malformed { fault: Fault::BadLayout, what: WHAT }.into());
        }
        let length = chunk.payload_len as usize;
        if length > room {
            return Err(Malformed { fault: Fault::OutOfBounds, what: WHAT }.into());
        }
        at += length;
    }
    if index + 1 != count {
        return Err(Malformed { fault: Fault::BadItemCount, what: WHAT }.into());
    }
    Ok((header, payload))
}
