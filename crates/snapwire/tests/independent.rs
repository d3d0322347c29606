//! A peer that shares no code with the crate: it speaks bytes as the contract's tables have them.
//!
//! It looks into shared memory through the file, by reading and writing at offsets, and wakes
//! nobody: whoever sleeps finds its message at the end of a slice.
#![cfg(target_endian = "little")]

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    connect, listen, recv, send, socket_with,
};
use snapwire::codec::{Limit, Profiles};
use snapwire::{Client, ClientConfig, Endpoint, Error, Increment, Offer, Server, ServerConfig};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BASELINE: u32 = 1;
const SHM_HYBRID: u32 = 2;

fn seqpacket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn put(packet: &OwnedFd, bytes: &[u8]) {
    assert_eq!(send(packet, bytes, SendFlags::NOSIGNAL).unwrap(), bytes.len());
}

/// The next packet; empty when the peer has gone.
fn get(socket: &OwnedFd) -> Vec<u8> {
    let mut packet = vec![0; 70_000];
    let (length, _) = recv(socket, &mut packet[..], RecvFlags::empty()).unwrap();
    packet.truncate(length);
    packet
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The 32 bytes before a message.
fn header(kind: u16, flags: u16, code: u16, payload_len: u32, items: u32, id: u64) -> Vec<u8> {
    let mut bytes = b"CPIN".to_vec();
    for half in [1, 32, kind, flags, code, 0u16] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(payload_len.to_le_bytes());
    bytes.extend(items.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes
}

fn message(kind: u16, flags: u16, code: u16, items: u32, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, flags, code, payload.len() as u32, items, id);
    bytes.extend(payload);
    bytes
}

fn hello(profiles: u32, request_bytes: u32, packet_size: u32, token: u64) -> Vec<u8> {
    let mut payload = vec![1, 0, 0, 0];
    for word in [profiles, profiles, request_bytes, 16, 65536, 16, 0] {
        payload.extend(word.to_le_bytes());
    }
    payload.extend(token.to_le_bytes());
    payload.extend(packet_size.to_le_bytes());
    message(3, 0, 1, 1, 0, &payload)
}

/// The status, the selected profile and the packet size of an answer, and the session's number.
fn read_ack(packet: &[u8]) -> (u16, u32, u32, u64) {
    assert_eq!(packet.len(), 80);
    assert_eq!(packet[..14], header(3, 0, 2, 48, 1, 0)[..14]);
    assert_eq!((u32_at(packet, 16), u32_at(packet, 20)), (48, 1));
    let session = u64::from_le_bytes(packet[72..].try_into().unwrap());
    let status = u16::from_le_bytes([packet[14], packet[15]]);
    (status, u32_at(packet, 44), u32_at(packet, 64), session)
}

fn join(path: &Path) -> OwnedFd {
    let fd = seqpacket();
    connect(&fd, &SocketAddrUnix::new(path).unwrap()).unwrap();
    fd
}

fn place() -> (tempfile::TempDir, Endpoint) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(directory.path(), "svc").unwrap();
    (directory, endpoint)
}

/// The crate's side.
fn offer(profile: u32) -> Offer {
    let limit = Limit { payload_bytes: 16384, batch_items: 16 };
    Offer {
        profiles: Profiles(profile | BASELINE),
        preferred: Profiles(profile),
        request: limit,
        response: limit,
        auth_token: 0x0123_4567_89ab_cdef,
        packet_size: 0,
    }
}

fn incrementer(endpoint: &Endpoint, profile: u32) -> Server {
    serving(endpoint, &ServerConfig { offer: offer(profile), ..ServerConfig::default() })
}

fn serving(endpoint: &Endpoint, config: &ServerConfig) -> Server {
    Server::start::<Increment>(endpoint, config, |number, reply| {
        reply.set(number + 1);
        Ok(())
    })
    .unwrap()
}

/// Two numbers as a batch: the contract's golden vector with other numbers.
fn batch(one: u64, two: u64) -> Vec<u8> {
    let mut payload = vec![0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0];
    payload.extend(one.to_le_bytes());
    payload.extend(two.to_le_bytes());
    payload
}

#[test]
fn a_foreign_client_is_served_over_the_socket() {
    let (_directory, endpoint) = place();
    let _server = incrementer(&endpoint, BASELINE);
    let stranger = join(&endpoint.socket_path());
    put(&stranger, &hello(BASELINE, 1024, 65536, 1));
    let refused = get(&stranger);
    assert_eq!(read_ack(&refused), (2, 0, 0, 0), "AUTH_FAILED, and nothing else");
    assert_eq!(get(&stranger), [0u8; 0], "the server hangs up");

    let client = join(&endpoint.socket_path());
    put(&client, &hello(BASELINE, 1024, 64, 0x0123_4567_89ab_cdef));
    let (status, selected, packet_size, session) = read_ack(&get(&client));
    assert_eq!((status, selected, packet_size, session), (0, BASELINE, 64, 2));

    put(&client, &message(1, 0, 1, 1, 3, &41u64.to_le_bytes()));
    assert_eq!(get(&client), message(2, 0, 1, 1, 3, &42u64.to_le_bytes()));
    // Requests under way together, answered by their ids.
    for id in 10..14 {
        put(&client, &message(1, 0, 1, 1, id, &id.to_le_bytes()));
    }
    for id in 10..14u64 {
        assert_eq!(get(&client), message(2, 0, 1, 1, id, &(id + 1).to_le_bytes()));
    }
    // A batch of 32 bytes fits no packet of 64 with two headers more: 32, then the rest. It is
    // split and put together by hand, in both directions.
    let payload: Vec<u8> = [batch(1, 2), vec![0; 8]].concat();
    let whole = message(1, 1, 1, 2, 4, &payload);
    let continuation = |length: u32| {
        let mut bytes = b"KHCN".to_vec();
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(4u64.to_le_bytes());
        for word in [32 + length, 1, 2, length - 32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    };
    put(&client, &whole[..64]);
    put(&client, &[continuation(payload.len() as u32), whole[64..].to_vec()].concat());
    assert_eq!(get(&client), message(2, 1, 1, 2, 4, &batch(2, 3)));
    // Another method is unsupported and nothing worse; the session goes on.
    put(&client, &message(1, 0, 9, 1, 5, b""));
    let mut unsupported = header(2, 0, 9, 0, 1, 5);
    unsupported[14] = 4;
    assert_eq!(get(&client), unsupported);
    put(&client, &message(1, 0, 1, 1, 6, &1u64.to_le_bytes()));
    assert_eq!(get(&client), message(2, 0, 1, 1, 6, &2u64.to_le_bytes()));
    // A request that is too short is a bad envelope, and the end.
    put(&client, &message(1, 0, 1, 1, 7, &[0; 7]));
    let mut bad = header(2, 0, 1, 0, 1, 7);
    bad[14] = 1;
    assert_eq!(get(&client), bad);
    assert_eq!(get(&client), [0u8; 0]);
}

/// A region, by offsets: where the number, the length, the signal and the area of a direction are.
struct Area {
    seq: u64,
    len: u64,
    signal: u64,
    area: u64,
}

fn read_u64(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).unwrap();
    u64::from_le_bytes(bytes)
}

fn publish(file: &File, to: &Area, seq: u64, bytes: &[u8]) {
    file.write_all_at(bytes, to.area).unwrap();
    file.write_all_at(&(bytes.len() as u32).to_le_bytes(), to.len).unwrap();
    file.write_all_at(&seq.to_le_bytes(), to.seq).unwrap();
    file.write_all_at(&(seq as u32).to_le_bytes(), to.signal).unwrap();
}

fn take(file: &File, from: &Area, seq: u64) -> Vec<u8> {
    let began = Instant::now();
    while read_u64(file, from.seq) != seq {
        assert!(began.elapsed() < Duration::from_secs(20), "no message {seq} came");
        thread::sleep(Duration::from_micros(100));
    }
    let mut length = [0; 4];
    file.read_exact_at(&mut length, from.len).unwrap();
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    file.read_exact_at(&mut bytes, from.area).unwrap();
    bytes
}

const REQUESTS: Area = Area { seq: 32, len: 48, signal: 56, area: 64 };

#[test]
fn a_foreign_client_is_served_in_shared_memory() {
    let (_directory, endpoint) = place();
    let _server = incrementer(&endpoint, SHM_HYBRID);
    let client = join(&endpoint.socket_path());
    put(&client, &hello(BASELINE | SHM_HYBRID, 1024, 65536, 0x0123_4567_89ab_cdef));
    let (status, selected, _, session) = read_ack(&get(&client));
    assert_eq!((status, selected, session), (0, SHM_HYBRID, 1));
    let path = endpoint.run_dir().join("svc-0000000000000001.ipcshm");
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head[..8], [b'M', b'H', b'S', b'N', 3, 0, 64, 0]);
    assert_eq!(u32_at(&head, 8), std::process::id());
    assert_ne!(u32_at(&head, 12), 0, "the generation");
    // 1,056 and 16,416 bytes, rounded up to 64.
    assert_eq!([16, 20, 24, 28].map(|at| u32_at(&head, at)), [64, 1088, 1152, 16448]);
    assert_eq!(file.metadata().unwrap().len(), 1152 + 16448);
    assert_eq!(head[32..], [0; 32]);
    let responses = Area { seq: 40, len: 52, signal: 60, area: 1152 };
    for seq in 1..6u64 {
        publish(&file, &REQUESTS, seq, &message(1, 0, 1, 1, seq, &(7 * seq).to_le_bytes()));
        let answer = take(&file, &responses, seq);
        assert_eq!(answer, message(2, 0, 1, 1, seq, &(7 * seq + 1).to_le_bytes()));
        let mut signal = [0; 4];
        file.read_exact_at(&mut signal, responses.signal).unwrap();
        assert_eq!(u64::from(u32::from_le_bytes(signal)), seq);
    }
    // A batch whose directory is misaligned is answered in shared memory, and ends the session.
    let mut bad = batch(1, 2);
    bad[8] = 4;
    publish(&file, &REQUESTS, 6, &message(1, 1, 1, 2, 6, &bad));
    let mut refusal = header(2, 0, 1, 0, 1, 6);
    refusal[14] = 1;
    assert_eq!(take(&file, &responses, 6), refusal);
    assert_eq!(get(&client), [0u8; 0]);
}

/// A client that looks at nothing but the region, as netipc's do, and has been answered so often.
fn asker(endpoint: &Endpoint, answers: u64) -> (OwnedFd, File, Area) {
    let socket = join(&endpoint.socket_path());
    put(&socket, &hello(BASELINE | SHM_HYBRID, 1024, 65536, 0x0123_4567_89ab_cdef));
    assert_eq!(read_ack(&get(&socket)).0, 0);
    let path = endpoint.run_dir().join("svc-0000000000000001.ipcshm");
    let file = File::options().read(true).write(true).open(path).unwrap();
    let responses = Area { seq: 40, len: 52, signal: 60, area: 1152 };
    for seq in 1..=answers {
        publish(&file, &REQUESTS, seq, &message(1, 0, 1, 1, seq, &seq.to_le_bytes()));
        let answer = message(2, 0, 1, 1, seq, &(seq + 1).to_le_bytes());
        assert_eq!(take(&file, &responses, seq), answer);
    }
    (socket, file, responses)
}

/// The empty message at which such a client lets go, when the server has ended the session.
fn assert_goodbye(file: &File, responses: &Area, seq: u64) {
    assert_eq!(take(file, responses, seq), [0u8; 0]);
    let mut signal = [0; 4];
    file.read_exact_at(&mut signal, responses.signal).unwrap();
    assert_eq!(u64::from(u32::from_le_bytes(signal)), seq, "and it is woken");
}

#[test]
fn a_foreign_client_is_told_in_shared_memory_that_its_session_is_over() {
    let idle = Duration::from_millis(300);
    let config = ServerConfig { offer: offer(SHM_HYBRID), idle, ..ServerConfig::default() };
    for answers in [0, 3] {
        let (_directory, endpoint) = place();
        let server = serving(&endpoint, &config);
        let (socket, file, responses) = asker(&endpoint, answers);
        assert_goodbye(&file, &responses, answers + 1);
        assert_eq!(get(&socket), [0u8; 0], "it was idle for too long");
        drop(server);
    }
    for answers in [0, 3] {
        let (_directory, endpoint) = place();
        let server = incrementer(&endpoint, SHM_HYBRID);
        let (socket, file, responses) = asker(&endpoint, answers);
        server.stop();
        assert_goodbye(&file, &responses, answers + 1);
        assert_eq!(get(&socket), [0u8; 0], "the server has stopped");
    }
    // Nobody waits for the client to read what was answered, least of all who drains.
    let (_directory, endpoint) = place();
    let server = incrementer(&endpoint, SHM_HYBRID);
    let (_socket, file, responses) = asker(&endpoint, 3);
    assert!(server.drain(Duration::from_millis(100)), "everything was answered");
    assert_goodbye(&file, &responses, 4);
    // A request that is none gets no answer, and is not waited for.
    let (_directory, endpoint) = place();
    let _server = incrementer(&endpoint, SHM_HYBRID);
    let (socket, file, responses) = asker(&endpoint, 1);
    publish(&file, &REQUESTS, 2, &message(2, 0, 1, 1, 2, &2u64.to_le_bytes()));
    assert_goodbye(&file, &responses, 2);
    assert_eq!(get(&socket), [0u8; 0]);
    // A refusal is not overwritten by what comes after it.
    let (_directory, endpoint) = place();
    let _server = incrementer(&endpoint, SHM_HYBRID);
    let (socket, file, responses) = asker(&endpoint, 1);
    publish(&file, &REQUESTS, 2, &message(1, 0, 1, 1, 2, &[0; 7]));
    assert_eq!(get(&socket), [0u8; 0]);
    // The region goes last.
    let is_region = |name: OsString| name.to_string_lossy().ends_with(".ipcshm");
    let names = || endpoint.run_dir().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let began = Instant::now();
    while names().any(is_region) {
        assert!(began.elapsed() < Duration::from_secs(30), "the session does not end");
        thread::yield_now();
    }
    let mut refusal = header(2, 0, 1, 0, 1, 2);
    refusal[14] = 1;
    assert_eq!(take(&file, &responses, 2), refusal);
}

/// Serves one client by hand, and hands it the session's socket after the handshake.
fn serve_by_hand(path: &Path, profile: u32, then: impl FnOnce(OwnedFd) + Send) {
    let listener = seqpacket();
    bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    let client = accept(&listener).unwrap();
    let packet = get(&client);
    assert_eq!(packet.len(), 76);
    assert_eq!(packet[..32], header(3, 0, 1, 44, 1, 0));
    assert_eq!(packet[32..36], [1, 0, 0, 0]);
    assert_eq!(packet[64..72], 0x0123_4567_89ab_cdef_u64.to_le_bytes());
    let (request, items, packet_size) =
        (u32_at(&packet, 44), u32_at(&packet, 48), u32_at(&packet, 72));
    let mut payload = vec![1, 0, 0, 0];
    let words = [profile | BASELINE, profile | BASELINE, profile, request, items, 4096, items];
    for word in words.into_iter().chain([packet_size, 0]) {
        payload.extend(word.to_le_bytes());
    }
    payload.extend(5u64.to_le_bytes());
    put(&client, &message(3, 0, 2, 1, 0, &payload));
    then(client);
}

/// Connects the crate's client, whenever the server is there.
fn ready(endpoint: &Endpoint, profile: u32) -> Client<Increment> {
    let config = ClientConfig { offer: offer(profile), ..ClientConfig::default() };
    let mut client = Client::new(endpoint, &config);
    let began = Instant::now();
    while !client.is_ready() {
        client.refresh();
        assert!(began.elapsed() < Duration::from_secs(20), "the client is {}", client.state());
    }
    client
}

#[test]
fn a_foreign_server_is_called_over_the_socket() {
    let (_directory, endpoint) = place();
    let path = endpoint.socket_path();
    thread::scope(|scope| {
        scope.spawn(|| {
            serve_by_hand(&path, BASELINE, |client| {
                let request = get(&client);
                let id = u64::from_le_bytes(request[24..32].try_into().unwrap());
                assert_eq!(request, message(1, 0, 1, 1, id, &41u64.to_le_bytes()));
                put(&client, &message(2, 0, 1, 1, id, &42u64.to_le_bytes()));
                let request = get(&client);
                let id = u64::from_le_bytes(request[24..32].try_into().unwrap());
                assert_eq!(request, message(1, 1, 1, 2, id, &batch(7, 8)));
                put(&client, &message(2, 1, 1, 2, id, &batch(8, 9)));
                assert_eq!(get(&client), [0u8; 0]);
            });
        });
        let mut client = ready(&endpoint, BASELINE);
        assert_eq!(client.call(41).unwrap(), 42);
        let answers = client.call_batch([7, 8].into_iter()).unwrap();
        assert_eq!(answers.iter().map(Result::unwrap).collect::<Vec<_>>(), [8, 9]);
    });
}

/// The region of session 5, made by hand, and its responses.
fn region_by_hand(endpoint: &Endpoint) -> (File, Area) {
    let region = endpoint.run_dir().join("svc-0000000000000005.ipcshm");
    // The request area as the contract rounds it; the client must believe the header, not compute.
    let (request_capacity, response_at) = (16448u32, 64 + 16448u32);
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&region).unwrap();
    let mut head = b"MHSN".to_vec();
    head.extend([3, 0, 64, 0]);
    for word in [std::process::id(), 77, 64, request_capacity, response_at, 4160] {
        head.extend(word.to_le_bytes());
    }
    head.resize((response_at + 4160) as usize, 0);
    file.write_all_at(&head, 0).unwrap();
    let responses = Area { seq: 40, len: 52, signal: 60, area: response_at.into() };
    (file, responses)
}

#[test]
fn a_foreign_server_is_called_in_shared_memory() {
    let (_directory, endpoint) = place();
    let path = endpoint.socket_path();
    let (file, responses) = region_by_hand(&endpoint);
    thread::scope(|scope| {
        scope.spawn(|| {
            serve_by_hand(&path, SHM_HYBRID, |client| {
                for seq in 1..4u64 {
                    let request = take(&file, &REQUESTS, seq);
                    let id = u64::from_le_bytes(request[24..32].try_into().unwrap());
                    assert_eq!(request, message(1, 0, 1, 1, id, &(9 * seq).to_le_bytes()));
                    let answer = message(2, 0, 1, 1, id, &(9 * seq + 1).to_le_bytes());
                    publish(&file, &responses, seq, &answer);
                }
                assert_eq!(get(&client), [0u8; 0], "the socket tells that the client has gone");
                assert_goodbye(&file, &REQUESTS, 4);
            });
        });
        let mut client = ready(&endpoint, SHM_HYBRID);
        assert_eq!(client.terms().unwrap().profile, Profiles::SHM_HYBRID);
        for number in [9, 18, 27] {
            assert_eq!(client.call(number).unwrap(), number + 1);
        }
    });
    let region = endpoint.run_dir().join("svc-0000000000000005.ipcshm");
    assert!(region.exists(), "a region is its server's to remove");
}

#[test]
fn a_request_that_a_foreign_server_may_not_have_read_stays() {
    let (_directory, endpoint) = place();
    let path = endpoint.socket_path();
    let (file, _) = region_by_hand(&endpoint);
    let (gone, is_gone) = mpsc::channel();
    let (path, file) = (&path, &file);
    thread::scope(|scope| {
        scope.spawn(move || {
            serve_by_hand(path, SHM_HYBRID, move |client| {
                assert_eq!(get(&client), [0u8; 0], "the client has lost patience");
                is_gone.recv().unwrap();
                assert_eq!(take(file, &REQUESTS, 1)[32..], 9u64.to_le_bytes());
            });
        });
        let mut client = ready(&endpoint, SHM_HYBRID);
        let late = client.call_within(9, Duration::from_millis(50));
        assert!(matches!(late, Err(Error::Timeout)), "{late:?}");
        drop(client);
        gone.send(()).unwrap();
    });
}
