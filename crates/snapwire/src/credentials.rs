//! Who is at the other end of a socket.
#![expect(unsafe_code, reason = "the library's own reading takes a pid for one that cannot be 0")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

/// A process as the kernel noted it when it connected, or when it began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its number; nothing when it runs in a pid namespace that is not seen from here, as when one
    /// side is in a container.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
}

/// The credentials of the peer of a connected Unix socket (SO_PEERCRED, unix(7)).
///
/// # Errors
/// What the system says: the descriptor is no such socket.
pub fn peer_credentials(socket: impl AsFd) -> io::Result<Credentials> {
    let fd = socket.as_fd().as_raw_fd();
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, and so open; the kernel writes at most `length` bytes to a
    // structure that is as long, and for which all bytes are valid.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0);
    Ok(Credentials { pid, uid: credentials.uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;
    use std::fs::File;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_pair_of_sockets_is_ones_own() {
        let (one, _other) = UnixDatagram::pair().unwrap();
        let own = Credentials { pid: Some(std::process::id()), uid: geteuid().as_raw() };
        assert_eq!(peer_credentials(&one).unwrap(), own);
        let error = peer_credentials(File::open("/dev/null").unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    }
}
