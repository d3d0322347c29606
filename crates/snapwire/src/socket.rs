//! A SEQPACKET socket: packets in, packets out, and no wait without an end.

use crate::codec::HEADER_LEN;
use crate::credentials::peer_credentials;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::patience::{Patience, SLICE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The largest packet that is proposed, in bytes.
const PACKET_MAX: usize = 65536;
/// What the kernel keeps of a socket's send buffer for itself: a packet that is longer than the
/// buffer without it is refused.
const SEND_BUFFER_OVERHEAD: usize = 32;

const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A connected socket. Receiving blocks for a slice at most.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    /// This end was shut down. Peers who are busy in shared memory would not notice otherwise.
    shut: AtomicBool,
}

/// What a send that cannot go on waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// There is room again.
    Writable,
    /// The peer sends, too, and may be waiting for somebody to read that.
    Readable,
}

/// What is done when the peer has sent something itself.
pub(crate) type Meanwhile<'a> = &'a mut dyn FnMut(&mut Patience<'_>) -> Result<(), Error>;

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// An unconnected socket, not inherited by children.
pub(crate) fn unconnected() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

impl Socket {
    /// Connects, in one attempt.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        patience: &mut Patience<'_>,
    ) -> Result<Socket, Error> {
        let path = endpoint.socket_path();
        let failed = |error: Errno| match error {
            Errno::NOENT | Errno::CONNREFUSED => Error::NotFound { path: path.clone() },
            Errno::ACCESS | Errno::PERM => Error::Denied { path: path.clone() },
            error => Error::io("connect to", path.clone(), error),
        };
        let address = SocketAddrUnix::new(&path).map_err(failed)?;
        let fd = unconnected().map_err(failed)?;
        loop {
            // Where the backlog is full, the kernel waits for so long.
            let slice = patience.slice()?;
            sockopt::set_socket_timeout(&fd, Timeout::Send, Some(slice)).map_err(failed)?;
            match net::connect(&fd, &address) {
                Ok(()) => return Socket::of(fd).map_err(failed),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// A socket that is connected already.
    pub(crate) fn of(fd: OwnedFd) -> Result<Socket, Errno> {
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(SLICE))?;
        Ok(Socket { fd, shut: AtomicBool::new(false) })
    }

    /// The largest packet that can be sent, in bytes.
    pub(crate) fn packet_size(&self) -> u32 {
        let buffer = sockopt::socket_send_buffer_size(&self.fd).unwrap_or(PACKET_MAX);
        buffer.saturating_sub(SEND_BUFFER_OVERHEAD).min(PACKET_MAX) as u32
    }

    /// The user at the other end.
    pub(crate) fn peer_uid(&self) -> Result<u32, Errno> {
        let credentials = peer_credentials(&self.fd);
        credentials
            .map(|credentials| credentials.uid)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Sends a packet of header and body if there is room for it now.
    pub(crate) fn try_send(&self, header: &[u8; HEADER_LEN], body: &[u8]) -> Result<bool, Error> {
        let parts = [IoSlice::new(header), IoSlice::new(body)];
        let mut ancillary = SendAncillaryBuffer::default();
        sent_all(header.len() + body.len(), || {
            net::sendmsg(&self.fd, &parts, &mut ancillary, SEND_FLAGS)
        })
    }

    /// The same of one piece, which is cheaper: the kernel takes longer to read a list of parts.
    #[inline]
    pub(crate) fn try_send_whole(&self, packet: &[u8]) -> Result<bool, Error> {
        sent_all(packet.len(), || net::send(&self.fd, packet, SEND_FLAGS))
    }

    /// Sends a packet. When the peer does not read, `meanwhile` is called whenever the peer has
    /// sent something itself; without it nothing is read.
    pub(crate) fn send(
        &self,
        header: &[u8; HEADER_LEN],
        body: &[u8],
        patience: &mut Patience<'_>,
        meanwhile: &mut Option<Meanwhile<'_>>,
    ) -> Result<(), Error> {
        while !self.try_send(header, body)? {
            let ready = self.wait_to_send(patience, meanwhile.is_some())?;
            if let (Some(Ready::Readable), Some(read)) = (ready, &mut *meanwhile) {
                read(patience)?;
            }
        }
        Ok(())
    }

    /// Waits for a slice.
    fn wait_to_send(
        &self,
        patience: &mut Patience<'_>,
        or_readable: bool,
    ) -> Result<Option<Ready>, Error> {
        let slice = patience.slice()?;
        let wanted = if or_readable { PollFlags::OUT | PollFlags::IN } else { PollFlags::OUT };
        let mut polled = [PollFd::new(&self.fd, wanted)];
        match poll(&mut polled, Some(&timespec(slice))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::link("wait for", error)),
        }
        let found = polled[0].revents();
        Ok(if found.intersects(PollFlags::OUT | PollFlags::ERR | PollFlags::HUP) {
            Some(Ready::Writable)
        } else if found.contains(PollFlags::IN) {
            Some(Ready::Readable)
        } else {
            None
        })
    }

    /// Receives a packet of header and body; returns its true length, which may be more than there
    /// was room for.
    pub(crate) fn recv(
        &self,
        header: &mut [u8; HEADER_LEN],
        body: &mut [u8],
        patience: &mut Patience<'_>,
    ) -> Result<usize, Error> {
        self.recv_by(patience, |at_once| self.recv_parts(header, body, at_once))
    }

    /// The same into one piece, which is cheaper.
    #[inline]
    pub(crate) fn recv_whole(
        &self,
        packet: &mut [u8],
        patience: &mut Patience<'_>,
    ) -> Result<usize, Error> {
        self.recv_by(patience, |at_once| {
            net::recv(&self.fd, &mut *packet, recv_flags(at_once)).map(|(_, length)| length)
        })
    }

    #[inline]
    fn recv_by(
        &self,
        patience: &mut Patience<'_>,
        mut recv: impl FnMut(bool) -> Result<usize, Errno>,
    ) -> Result<usize, Error> {
        let mut ample = patience.is_ample();
        loop {
            patience.check_abort()?;
            let slice = if ample { SLICE } else { patience.slice()? };
            let whole = slice >= SLICE;
            if !whole {
                self.wait_readable(slice)?;
            }
            let found = recv(!whole);
            if let Some(length) = received(found)? {
                return Ok(length);
            }
            if ample {
                // That was without the clock: a whole slice, unless a signal came, and then nobody
                // knows. Rather too long than too short.
                let cut_short = found == Err(Errno::INTR);
                patience.start_before(if cut_short { Duration::ZERO } else { SLICE });
                ample = false;
            }
        }
    }

    /// Receives a packet that is there, or nothing. With `at_once` it does not wait for a slice.
    pub(crate) fn try_recv(
        &self,
        header: &mut [u8; HEADER_LEN],
        body: &mut [u8],
        at_once: bool,
    ) -> Result<Option<usize>, Error> {
        received(self.recv_parts(header, body, at_once))
    }

    fn recv_parts(
        &self,
        header: &mut [u8; HEADER_LEN],
        body: &mut [u8],
        at_once: bool,
    ) -> Result<usize, Errno> {
        let mut parts = [IoSliceMut::new(header), IoSliceMut::new(body)];
        let mut ancillary = RecvAncillaryBuffer::default();
        let flags = recv_flags(at_once) | RecvFlags::CMSG_CLOEXEC;
        Ok(net::recvmsg(&self.fd, &mut parts, &mut ancillary, flags)?.bytes)
    }

    fn wait_readable(&self, slice: Duration) -> Result<(), Error> {
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut polled, Some(&timespec(slice))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Error::link("wait for", error)),
        }
    }

    /// Whether the other end is still there and silent, as it must be while it uses shared memory.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut polled, Some(&timespec(Duration::ZERO))) {
            Ok(found) => found == 0,
            Err(error) => error == Errno::INTR,
        }
    }

    /// Whether the other end has gone.
    pub(crate) fn is_deserted(&self) -> bool {
        let mut polled = [PollFd::new(&self.fd, PollFlags::RDHUP)];
        poll(&mut polled, Some(&timespec(Duration::ZERO))).is_ok_and(|found| found > 0)
    }

    /// Whether this end was shut down, by any thread.
    #[inline]
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Ends the connection in the directions given, for both peers and whoever waits in them.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        self.shut.store(true, Ordering::Release);
        // It fails when the peer has done so already.
        let _ = net::shutdown(&self.fd, how);
    }
}

/// Sends until it is known whether there was room; says whether there was.
#[inline]
fn sent_all(length: usize, mut send: impl FnMut() -> Result<usize, Errno>) -> Result<bool, Error> {
    loop {
        return match send() {
            Ok(sent) if sent == length => Ok(true),
            Ok(_) => Err(Error::Protocol("a packet was sent in part")),
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => continue,
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(Error::Disconnected),
            Err(error) => Err(Error::link("send to", error)),
        };
    }
}

fn recv_flags(at_once: bool) -> RecvFlags {
    let flags = if at_once { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
    flags | RecvFlags::TRUNC
}

/// The length of a packet, or nothing when none has come yet.
#[inline]
fn received(received: Result<usize, Errno>) -> Result<Option<usize>, Error> {
    match received {
        Ok(0) => Err(Error::Disconnected),
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(Errno::CONNRESET | Errno::NOTCONN) => Err(Error::Disconnected),
        Err(error) => Err(Error::link("receive from", error)),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
