//! Servers whose run directory has no room for shared memory. The directory is a file system of
//! its own, 96 KiB large, in a mount namespace of its own, in which this binary is started again.

mod support;

use snapwire::codec::Profiles;
use snapwire::{Client, ClientConfig, Endpoint, Offer, Server, ServerConfig, State, StringReverse};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use support::{limit, only};

/// Where the small file system is, for the process inside.
const INSIDE: &str = "SNAPWIRE_FULL_DIRECTORY";

/// Starts this binary again for one test, where the directory is a small file system. Says whether
/// the body is to run here: inside.
fn inside(test: &str) -> Option<Endpoint> {
    if let Ok(directory) = std::env::var(INSIDE) {
        return Some(Endpoint::new(directory, "svc").unwrap());
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root, to mount a file system in a namespace of its own");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=96k none \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, directory.path())
        .output()
        .unwrap();
    let (said, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}\n{said}{told}",
        output.status
    );
    None
}

fn reverser(endpoint: &Endpoint, offer: Offer) -> Server {
    let config = ServerConfig { offer, ..ServerConfig::default() };
    Server::start::<StringReverse>(endpoint, &config, |text, reply| {
        let reversed: Vec<u8> = text.iter().rev().copied().collect();
        Ok(reply.set(&reversed)?)
    })
    .unwrap()
}

fn connected(endpoint: &Endpoint, offer: Offer) -> Client<StringReverse> {
    let mut client = Client::new(endpoint, &ClientConfig { offer, ..ClientConfig::default() });
    client.refresh();
    client
}

/// Requests and responses of up to so many bytes.
fn sized(offer: Offer, bytes: u32) -> Offer {
    Offer { request: limit(bytes, 1), response: limit(bytes, 1), ..offer }
}

fn regions(endpoint: &Endpoint) -> usize {
    let names = std::fs::read_dir(endpoint.run_dir()).unwrap();
    names
        .filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|it| it == "ipcshm"))
        .count()
}

/// Takes all the room that is left.
fn fill(file: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(file).unwrap();
    loop {
        match file.write(&[7; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("cannot fill the file system: {error}"),
        }
    }
}

const SHM: [Profiles; 2] = [Profiles::SHM_HYBRID, Profiles::SHM_WAITERS];

/// A region that does not fit is not made, not even in part, and the socket serves instead. With
/// room again, later sessions have shared memory again.
#[test]
fn without_room_the_socket_serves() {
    let Some(endpoint) = inside("without_room_the_socket_serves") else {
        return;
    };
    for profile in SHM {
        let large = sized(only(profile), 200_000);
        let server = reverser(&endpoint, large);
        let mut client = connected(&endpoint, large);
        assert_eq!(client.terms().unwrap().profile, Profiles::BASELINE);
        let text = [b'x'; 150_000];
        assert_eq!(client.call(&text).unwrap(), text);
        assert_eq!(regions(&endpoint), 0);
        drop(server);

        let small = sized(only(profile), 20_000);
        let server = reverser(&endpoint, small);
        let rest = endpoint.run_dir().join("rest");
        fill(&rest);
        let mut client = connected(&endpoint, small);
        assert_eq!(client.terms().unwrap().profile, Profiles::BASELINE);
        assert_eq!(client.call(b"abc").unwrap(), b"cba");
        std::fs::remove_file(&rest).unwrap();
        let mut client = connected(&endpoint, small);
        assert_eq!(client.terms().unwrap().profile, profile);
        assert_eq!(client.call(b"abc").unwrap(), b"cba");
        drop(server);
        assert_eq!(regions(&endpoint), 0);
    }
}

/// A server that has nothing but shared memory to offer says so, and stays.
#[test]
fn without_room_and_without_the_socket_a_client_is_refused() {
    let Some(endpoint) = inside("without_room_and_without_the_socket_a_client_is_refused") else {
        return;
    };
    let shm = Offer { profiles: Profiles::SHM_HYBRID, ..only(Profiles::SHM_HYBRID) };
    let _server = reverser(&endpoint, sized(shm, 30_000));
    let rest = endpoint.run_dir().join("rest");
    fill(&rest);
    let client = connected(&endpoint, sized(shm, 30_000));
    assert_eq!(client.state(), State::Incompatible);
    std::fs::remove_file(&rest).unwrap();
    let mut client = connected(&endpoint, sized(shm, 30_000));
    assert_eq!(client.call(b"abc").unwrap(), b"cba");
}

/// All of a region is there from the start: when the file system fills up afterwards, the largest
/// messages still pass. A page that had to be found now would end both processes with SIGBUS.
#[test]
fn what_was_reserved_stays_when_the_room_is_gone() {
    let Some(endpoint) = inside("what_was_reserved_stays_when_the_room_is_gone") else {
        return;
    };
    for profile in SHM {
        let offer = sized(only(profile), 30_000);
        let _server = reverser(&endpoint, offer);
        let mut client = connected(&endpoint, offer);
        assert_eq!(client.terms().unwrap().profile, profile);
        let rest = endpoint.run_dir().join("rest");
        fill(&rest);
        let text: Vec<u8> = (0..29_000u32).map(|byte| byte as u8).collect();
        let answer = client.call(&text).unwrap();
        assert!(answer.iter().eq(text.iter().rev()));
        std::fs::remove_file(&rest).unwrap();
    }
}
