//! A peer made of plain sockets and bytes, which can say anything.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use snapwire::codec::{Code, HEADER_LEN, Header, Hello, HelloAck, Kind, Limit, Profiles, Status};
use snapwire::{
    Client, ClientConfig, Endpoint, Increment, Offer, Server, ServerConfig, Service, State,
};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A run directory that goes with the test.
pub struct Place {
    pub directory: TempDir,
    pub endpoint: Endpoint,
}

impl Place {
    pub fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::new(directory.path(), "svc").unwrap();
        Place { directory, endpoint }
    }

    /// The names in the directory, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The socket alone.
pub const BASELINE: Offer = Offer {
    profiles: Profiles::BASELINE,
    preferred: Profiles(0),
    request: Limit { payload_bytes: 0, batch_items: 0 },
    response: Limit { payload_bytes: 0, batch_items: 0 },
    auth_token: 0,
    packet_size: 0,
};

/// One profile, with the socket for the handshake.
pub fn only(profile: Profiles) -> Offer {
    Offer { profiles: profile | Profiles::BASELINE, preferred: profile, ..BASELINE }
}

pub fn limit(payload_bytes: u32, batch_items: u32) -> Limit {
    Limit { payload_bytes, batch_items }
}

pub fn client_config(profile: Profiles) -> ClientConfig {
    let offer = Offer { request: limit(0, 64), ..only(profile) };
    ClientConfig { offer, timeout: Duration::from_secs(20), ..ClientConfig::default() }
}

pub fn server_config(profile: Profiles) -> ServerConfig {
    ServerConfig { offer: only(profile), ..ServerConfig::default() }
}

pub const PROFILES: [Profiles; 3] =
    [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_WAITERS];

pub fn incrementer(place: &Place, config: &ServerConfig) -> Server {
    Server::start::<Increment>(&place.endpoint, config, |number, reply| {
        reply.set(number.wrapping_add(1));
        Ok(())
    })
    .unwrap()
}

pub fn ready<S: Service>(place: &Place, config: &ClientConfig) -> Client<S> {
    let mut client = Client::new(&place.endpoint, config);
    assert!(client.refresh());
    assert_eq!(client.state(), State::Ready);
    client
}

/// Waits for something that must come about.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} did not come about");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Numbers without a pattern, and the same ones for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, max: u64) -> Vec<u8> {
        (0..1 + self.roll() % max).map(|_| self.roll() as u8).collect()
    }
}

/// A socket that sends what it is told.
pub struct Raw(pub OwnedFd);

fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

impl Raw {
    pub fn connect(endpoint: &Endpoint) -> Raw {
        let fd = socket();
        net::connect(&fd, &SocketAddrUnix::new(endpoint.socket_path()).unwrap()).unwrap();
        Raw::of(fd)
    }

    fn of(fd: OwnedFd) -> Raw {
        let timeout = Some(Duration::from_secs(10));
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, timeout).unwrap();
        Raw(fd)
    }

    /// A listening socket, and not one of the crate's.
    pub fn listen(endpoint: &Endpoint) -> RawListener {
        let fd = socket();
        net::bind(&fd, &SocketAddrUnix::new(endpoint.socket_path()).unwrap()).unwrap();
        net::listen(&fd, 8).unwrap();
        RawListener(fd)
    }

    pub fn send(&self, packet: &[u8]) {
        assert!(self.try_send(packet), "the peer is gone");
    }

    /// Says whether the peer was there.
    pub fn try_send(&self, packet: &[u8]) -> bool {
        net::send(&self.0, packet, SendFlags::NOSIGNAL).is_ok()
    }

    /// The next packet; nothing when the peer has gone.
    pub fn recv(&self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 1 << 20];
        match net::recv(&self.0, &mut packet[..], RecvFlags::empty()) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => None,
            Ok((length, _)) => {
                packet.truncate(length);
                Some(packet)
            }
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// The handshake of a client, as the contract has it.
    pub fn hello(&self, hello: &Hello) -> (Header, HelloAck) {
        self.try_hello(hello).expect("an answer to the handshake")
    }

    /// The same; nothing when it was refused without an answer.
    fn try_hello(&self, hello: &Hello) -> Option<(Header, HelloAck)> {
        self.send(&hello_packet(hello));
        let answer = self.recv()?;
        let ack = HelloAck::decode(&answer[HEADER_LEN..]).unwrap();
        Some((Header::decode(&answer).unwrap(), ack))
    }

    /// A connected client with agreed terms.
    pub fn client(endpoint: &Endpoint) -> Raw {
        let mut raw = Raw::connect(endpoint);
        // A server is full until it has noticed that those before have gone.
        until("room in the server", || match raw.try_hello(&plain_hello()) {
            Some((header, _)) => {
                assert_eq!(header.status, Status::OK);
                true
            }
            None => {
                raw = Raw::connect(endpoint);
                false
            }
        });
        raw
    }
}

pub struct RawListener(OwnedFd);

impl RawListener {
    pub fn accept(&self) -> Raw {
        Raw::of(net::accept_with(&self.0, SocketFlags::CLOEXEC).unwrap())
    }

    /// A client with agreed terms: what it asked for, and responses of 64 KiB.
    pub fn serve(&self) -> Raw {
        let raw = self.accept();
        let packet = raw.recv().unwrap();
        let hello = Hello::decode(&packet[HEADER_LEN..]).unwrap();
        raw.send(&ack_packet(Status::OK, &plain_ack(&hello)));
        raw
    }
}

pub fn control(code: Code, status: Status, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind: Kind::Control,
        batch: false,
        code,
        status,
        payload_len: payload.len() as u32,
        item_count: 1,
        message_id: 0,
    };
    [&header.encode()[..], payload].concat()
}

pub fn hello_packet(hello: &Hello) -> Vec<u8> {
    control(Code::HELLO, Status::OK, &hello.encode())
}

pub fn ack_packet(status: Status, ack: &HelloAck) -> Vec<u8> {
    control(Code::HELLO_ACK, status, &ack.encode())
}

pub fn plain_hello() -> Hello {
    Hello {
        supported: Profiles::BASELINE,
        preferred: Profiles(0),
        request: limit(1024, 16),
        response: limit(65536, 16),
        auth_token: 0,
        packet_size: 65536,
    }
}

/// The answer of a server that knows the socket only.
pub fn plain_ack(hello: &Hello) -> HelloAck {
    HelloAck {
        supported: Profiles::BASELINE,
        common: Profiles::BASELINE,
        selected: Profiles::BASELINE,
        request: hello.request,
        response: limit(65536, hello.request.batch_items),
        packet_size: hello.packet_size.min(212_992),
        session_id: 1,
    }
}

/// A message in one packet.
pub fn message(header: Header, payload: &[u8]) -> Vec<u8> {
    let header = Header { payload_len: payload.len() as u32, ..header };
    [&header.encode()[..], payload].concat()
}
