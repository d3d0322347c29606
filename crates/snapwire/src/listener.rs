//! Where clients connect to.

use crate::codec::{HEADER_LEN, Profiles};
use crate::endpoint::{Endpoint, SessionId};
use crate::error::Error;
use crate::handshake::{self, Offer, Refusal};
use crate::patience::Patience;
use crate::session::{Role, Session, receive_control};
use crate::shm::{self, Lanes, Region};
use crate::socket::{self, Socket, timespec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{self, SocketAddrUnix, SocketFlags};
use rustix::process::geteuid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The default length of the queue of clients that nobody has accepted.
pub(crate) const BACKLOG: i32 = 16;
/// How long a client may take to say what it wants.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long a server waits for another that is starting in the same directory.
const START_MAX: Duration = Duration::from_secs(1);
/// Between `bind` and `listen` a live server refuses connections.
const BIND_TO_LISTEN: Duration = Duration::from_millis(20);

/// Who may connect. The socket's mode, 0600, says the same to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peers {
    /// The server's own user, and root.
    #[default]
    SameUser,
    /// Whoever can open the socket, if its mode was changed.
    Any,
}

/// A socket that clients connect to. Dropping it removes its name.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    offer: Offer,
    peers: Peers,
    fd: OwnedFd,
    /// Device and inode of the name.
    identity: (u64, u64),
    next_session: u64,
}

impl Listener {
    /// Serves at an endpoint. What a dead server has left there is removed first.
    ///
    /// # Errors
    /// [`Error::AddrInUse`] when somebody serves there; [`Error::BadParameter`] for profiles of which
    /// none is known; [`Error::Io`].
    pub fn bind(endpoint: &Endpoint, offer: &Offer) -> Result<Listener, Error> {
        if !offer.profiles.intersects(Profiles::ALL) {
            let (what, value) = ("a server's profiles", offer.profiles.0.into());
            return Err(Error::BadParameter { what, value });
        }
        let path = endpoint.socket_path();
        let failed = |error: Errno| match error {
            Errno::ADDRINUSE => Error::AddrInUse { path: path.clone() },
            error => Error::io("serve at", path.clone(), error),
        };
        // Two servers that start at once must not take each other's name for a dead one's.
        let _starting = lock(endpoint.run_dir());
        let address = SocketAddrUnix::new(&path).map_err(failed)?;
        make_way(&path, &address)?;
        // Only now is it known that they are no live server's of another pid namespace.
        shm::sweep(endpoint)?;
        let fd = socket::unconnected().map_err(failed)?;
        // The name gets this mode, whatever the process's umask.
        fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        net::bind(&fd, &address).map_err(failed)?;
        let stat = net::listen(&fd, BACKLOG)
            .and_then(|()| rustix::io::ioctl_fionbio(&fd, true))
            .and_then(|()| statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|error| {
                let _ = unlinkat(CWD, &path, AtFlags::empty());
                failed(error)
            })?;
        Ok(Listener {
            endpoint: endpoint.clone(),
            offer: *offer,
            peers: Peers::SameUser,
            fd,
            identity: (stat.st_dev, stat.st_ino),
            next_session: 1,
        })
    }

    /// Changes who may connect.
    pub fn set_peers(&mut self, peers: Peers) {
        self.peers = peers;
    }

    /// Changes what later clients are offered.
    pub fn set_offer(&mut self, offer: &Offer) {
        self.offer = *offer;
    }

    /// What clients are offered.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Waits for a client and agrees with it. For more than one client at a time, a
    /// [`Server`](crate::Server) does this without letting one wait for another.
    ///
    /// # Errors
    /// Whatever went wrong with this client, who is gone then; the listener goes on.
    /// [`Error::Timeout`] when none came; [`Error::Aborted`].
    pub fn accept(&mut self, patience: &mut Patience<'_>) -> Result<Session, Error> {
        let mut newcomer = loop {
            if let Some(newcomer) = self.newcomer()? {
                break newcomer;
            }
            wait_readable(self.fd.as_fd(), patience.slice()?)?;
        };
        let mut patience = patience.another(HANDSHAKE_MAX);
        loop {
            if let Some(session) = newcomer.greet(&self.endpoint, &self.offer)? {
                return Ok(session);
            }
            wait_readable(newcomer.as_fd(), patience.slice()?)?;
        }
    }

    /// A client that has connected, if there is one.
    pub(crate) fn newcomer(&mut self) -> Result<Option<Newcomer>, Error> {
        let failed = |error| Error::io("accept a client at", self.endpoint.socket_path(), error);
        let fd = match net::accept_with(&self.fd, SocketFlags::CLOEXEC) {
            Ok(fd) => fd,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let socket = Socket::of(fd).map_err(failed)?;
        if self.peers == Peers::SameUser {
            let uid = socket.peer_uid().map_err(failed)?;
            if uid != 0 && uid != geteuid().as_raw() {
                return Ok(None);
            }
        }
        Ok(Some(Newcomer { socket: Some(socket), session, since: Instant::now() }))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let path = self.endpoint.socket_path();
        let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity) {
            let _ = unlinkat(CWD, &path, AtFlags::empty());
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A client that has connected and not yet said anything.
#[derive(Debug)]
pub(crate) struct Newcomer {
    socket: Option<Socket>,
    session: SessionId,
    pub(crate) since: Instant,
}

impl Newcomer {
    /// Whether there is something to read, or nobody there any more.
    pub(crate) fn has_spoken(&self) -> bool {
        self.socket.as_ref().is_none_or(|socket| !socket.is_quiet())
    }

    /// Answers the client if it has spoken; never waits for it.
    pub(crate) fn greet(
        &mut self,
        endpoint: &Endpoint,
        offer: &Offer,
    ) -> Result<Option<Session>, Error> {
        let Some(socket) = &self.socket else {
            return Err(Error::Disconnected);
        };
        let mut packet = [0; handshake::PACKET_MAX];
        let mut spoken = true;
        let received = receive_control(
            |header, body| {
                let received = socket.try_recv(header, body, true)?;
                spoken = received.is_some();
                Ok(received.unwrap_or(0))
            },
            &mut packet,
        )?;
        if !spoken {
            return Ok(None);
        }
        // Nobody reads from a socket that was just accepted, so its buffer is empty.
        let mut patience = Patience::new(Duration::from_millis(1));
        let mut answer = |packet: &[u8]| match packet.split_first_chunk::<HEADER_LEN>() {
            Some((header, body)) => socket.send(header, body, &mut patience, &mut None),
            None => Ok(()),
        };
        let (terms, lanes, offer) =
            match agree(&packet[..received], offer, socket, endpoint, self.session) {
                Ok(agreed) => agreed,
                Err(Refusal::Silent(malformed)) => return Err(malformed.into()),
                Err(Refusal::Told(status)) => {
                    answer(&handshake::refusal(status))?;
                    return Err(Error::Handshake(status));
                }
            };
        answer(&handshake::ack(&terms, &offer, &packet[..received]))?;
        let socket = self.socket.take().ok_or(Error::Disconnected)?;
        Ok(Some(Session::new(Role::Server, terms, socket, lanes)))
    }
}

impl AsFd for Newcomer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Some(socket) => socket.as_fd(),
            None => CWD,
        }
    }
}

/// Terms, with the region that they need. Without storage for a region the session is offered the
/// socket alone.
fn agree(
    packet: &[u8],
    offer: &Offer,
    socket: &Socket,
    endpoint: &Endpoint,
    session: SessionId,
) -> Result<(handshake::Terms, Option<Lanes>, Offer), Refusal> {
    let terms = handshake::judge(packet, offer, socket.packet_size(), session)?;
    if !terms.profile.intersects(Profiles::SHM) {
        return Ok((terms, None, *offer));
    }
    if let Ok(region) = Region::create(endpoint, &terms) {
        return Ok((terms, Some(Lanes::server(region)), *offer));
    }
    let plain = Offer { profiles: offer.profiles.without(Profiles::SHM), ..*offer };
    if plain.profiles.is_empty() {
        return Err(Refusal::Told(crate::codec::Status::UNSUPPORTED));
    }
    let terms = handshake::judge(packet, &plain, socket.packet_size(), session)?;
    Ok((terms, None, plain))
}

fn wait_readable(fd: BorrowedFd<'_>, slice: Duration) -> Result<(), Error> {
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timespec(slice))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Error::link("wait for", error)),
    }
}

/// Holds the directory while a server starts in it. Without the lock the start goes on: it only
/// keeps servers of this crate apart. Whoever may read the directory can hold it as well, and so
/// delay the start by [`START_MAX`]: a file that no stranger can lock would be one that no other
/// user's server can lock, and would stay behind when its owner dies.
fn lock(run_dir: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(run_dir, flags, Mode::empty()).ok()?;
    let began = Instant::now();
    while began.elapsed() < START_MAX {
        match fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(Errno::AGAIN | Errno::INTR) => thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
    None
}

/// What is at a path where a server wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A server that takes connections, or nobody can say.
    Live,
    /// A socket that nobody listens on.
    Refused,
    /// Something else.
    Junk,
}

/// Looks by connecting. A live server sees a client that leaves without a word.
pub(crate) fn probe(address: &SocketAddrUnix) -> Found {
    let Ok(fd) = socket::unconnected() else {
        return Found::Live;
    };
    if rustix::io::ioctl_fionbio(&fd, true).is_err() {
        return Found::Live;
    }
    match net::connect(&fd, address) {
        // Its queue may be full.
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Found::Live,
        Err(Errno::NOENT) => Found::Nothing,
        Err(Errno::CONNREFUSED) => Found::Refused,
        Err(_) => Found::Junk,
    }
}

/// Frees the path, unless a live server has it.
fn make_way(path: &Path, address: &SocketAddrUnix) -> Result<(), Error> {
    let mut found = probe(address);
    if found == Found::Refused {
        thread::sleep(BIND_TO_LISTEN);
        found = probe(address);
    }
    let in_use = || Err(Error::AddrInUse { path: path.to_owned() });
    if found == Found::Live {
        return in_use();
    }
    // A link that points to nothing looks like nothing, and is in the way.
    let flags = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Error::io("look at", path, error)),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        },
    };
    match unlinkat(CWD, path, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => in_use(),
    }
}
