//! What the targets that attack transports have in common: places, and peers made of bare sockets.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, connect, listen, recv, send, shutdown, socket_with,
};
use snapwire::Endpoint;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// A directory of this process in memory, for its sockets and regions.
pub fn endpoint(service: &str) -> Endpoint {
    let parent = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    let directory = format!("{parent}/snapwire-fuzz-{}", std::process::id());
    std::fs::create_dir_all(&directory).expect("a directory");
    Endpoint::new(directory, service).expect("an endpoint")
}

pub fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket")
}

/// Connects and says all this; what does not fit is left out. Then it only listens.
#[allow(dead_code)]
pub fn attack(endpoint: &Endpoint, packets: &[Vec<u8>]) -> OwnedFd {
    let fd = socket();
    let address = SocketAddrUnix::new(endpoint.socket_path()).expect("an address");
    connect(&fd, &address).expect("a connection");
    say(&fd, packets);
    fd
}

fn say(fd: &OwnedFd, packets: &[Vec<u8>]) {
    for packet in packets {
        let _ = send(fd, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
    let _ = shutdown(fd, Shutdown::Write);
}

/// A server on a thread of its own that says to each client what it is told to, and then nothing.
#[allow(dead_code)]
pub struct RawServer(SyncSender<Vec<Vec<u8>>>);

impl RawServer {
    #[allow(dead_code)]
    pub fn start(endpoint: &Endpoint) -> RawServer {
        let listener = socket();
        let _ = std::fs::remove_file(endpoint.socket_path());
        let address = SocketAddrUnix::new(endpoint.socket_path()).expect("an address");
        bind(&listener, &address).and_then(|()| listen(&listener, 8)).expect("a listener");
        let (tell, told) = sync_channel::<Vec<Vec<u8>>>(1);
        thread::spawn(move || {
            for packets in told {
                let client = accept_with(&listener, SocketFlags::CLOEXEC).expect("a client");
                say(&client, &packets);
                // Until the client goes.
                let mut sink = [0; 4096];
                while recv(&client, &mut sink[..], RecvFlags::empty()).is_ok_and(|(n, _)| n > 0) {}
            }
        });
        RawServer(tell)
    }

    /// What the next client is told.
    #[allow(dead_code)]
    pub fn say_next(&self, packets: Vec<Vec<u8>>) {
        self.0.send(packets).expect("the server lives");
    }
}
