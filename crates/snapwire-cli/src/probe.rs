//! One look at a socket: whether somebody serves there, who it is, and what it can do.

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use snapwire::codec::{Code, HEADER_LEN, Header, Hello, HelloAck, Kind, Limit, Profiles, Status};
use snapwire::{Credentials, peer_credentials};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// How long a server may take to answer a handshake.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A live server refuses connections between `bind` and `listen`.
const BIND_TO_LISTEN: Duration = Duration::from_millis(20);

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A server, who made it listen, and a connection to it.
    Live(Credentials, OwnedFd),
    /// A server whose queue is full.
    Busy,
    /// A socket that nobody listens on.
    Stale,
    /// A socket that this user may not connect to.
    Denied,
    /// Nothing any more.
    Gone,
    /// Something else than a socket of this kind, or the system says something else.
    Other(Errno),
}

/// Connects, without a word.
pub(crate) fn connect(path: &Path) -> Found {
    match try_connect(path) {
        Found::Stale => {
            std::thread::sleep(BIND_TO_LISTEN);
            try_connect(path)
        }
        found => found,
    }
}

fn try_connect(path: &Path) -> Found {
    let connected = || {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC;
        let fd = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        net::connect(&fd, &address)?;
        rustix::io::ioctl_fionbio(&fd, false)?;
        let owner = peer_credentials(&fd)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok((owner, fd))
    };
    match connected() {
        Ok((owner, fd)) => Found::Live(owner, fd),
        Err(Errno::AGAIN | Errno::INPROGRESS) => Found::Busy,
        Err(Errno::CONNREFUSED) => Found::Stale,
        Err(Errno::ACCESS | Errno::PERM) => Found::Denied,
        Err(Errno::NOENT) => Found::Gone,
        Err(error) => Found::Other(error),
    }
}

/// Shakes hands over the socket alone, so that no region is made for it, and hangs up; returns the
/// profiles that the server supports, or why it does not say.
pub(crate) fn profiles(fd: &OwnedFd, token: u64) -> Result<Profiles, String> {
    let limit = Limit { payload_bytes: 64, batch_items: 1 };
    let hello = Hello {
        supported: Profiles::BASELINE,
        preferred: Profiles::BASELINE,
        request: limit,
        response: limit,
        auth_token: token,
        packet_size: 4096,
    };
    let header = Header {
        kind: Kind::Control,
        batch: false,
        code: Code::HELLO,
        status: Status::OK,
        payload_len: Hello::LEN as u32,
        item_count: 1,
        message_id: 0,
    };
    let packet = [&header.encode()[..], &hello.encode()].concat();
    let failed = |error: Errno| match error {
        Errno::AGAIN => String::from("no answer"),
        Errno::PIPE | Errno::CONNRESET => String::from("hung up"),
        error => error.to_string(),
    };
    sockopt::set_socket_timeout(fd, sockopt::Timeout::Recv, Some(ANSWER_MAX)).map_err(failed)?;
    sockopt::set_socket_timeout(fd, sockopt::Timeout::Send, Some(ANSWER_MAX)).map_err(failed)?;
    net::send(fd, &packet, SendFlags::NOSIGNAL).map_err(failed)?;
    let mut answer = [0; 128];
    let (length, _) = net::recv(fd, &mut answer[..], RecvFlags::empty()).map_err(failed)?;
    if length == 0 {
        return Err(String::from("hung up"));
    }
    let header = Header::decode(&answer[..length]).map_err(|error| error.to_string())?;
    if header.kind != Kind::Control || header.code != Code::HELLO_ACK {
        return Err(String::from("another protocol"));
    }
    match header.status {
        Status::OK => match HelloAck::decode(&answer[HEADER_LEN..length]) {
            Ok(ack) => Ok(ack.supported),
            Err(error) => Err(error.to_string()),
        },
        Status::AUTH_FAILED => Err(String::from("wants a token")),
        status => Err(status.to_string()),
    }
}
