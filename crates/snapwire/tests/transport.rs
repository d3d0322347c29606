//! Sessions over both transports, with peers that behave and peers that do not.

mod support;

use proptest::prelude::*;
use snapwire::codec::{
    BatchBuilder, Chunk, Code, Fault, HEADER_LEN, Header, Hello, HelloAck, Profiles, Status,
};
use snapwire::{
    AbortHandle, Buffer, Endpoint, Error, Listener, Offer, Patience, RegionProblem, Session,
    SessionId,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

fn patience() -> Patience<'static> {
    Patience::new(Duration::from_secs(20))
}

/// Both ends of a session.
fn pair(place: &Place, client: &Offer, server: &Offer) -> (Session, Session) {
    let mut listener = Listener::bind(&place.endpoint, server).unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(move || listener.accept(&mut patience()).unwrap());
        let client = Session::connect(&place.endpoint, client, &mut patience()).unwrap();
        (client, server.join().unwrap())
    })
}

/// Everything that this crate speaks, with room for large messages.
fn large(profile: Profiles) -> Offer {
    Offer { request: limit(1 << 20, 64), response: limit(1 << 20, 64), ..only(profile) }
}

const PROFILES: [Profiles; 4] =
    [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_FUTEX, Profiles::SHM_WAITERS];

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn messages_of_all_sizes_pass_over_every_profile() {
    for profile in PROFILES {
        let place = Place::new();
        let offer = large(profile);
        let (mut client, mut server) = pair(&place, &offer, &offer);
        assert_eq!(client.terms(), server.terms());
        assert_eq!((client.terms().profile, client.is_shm()), (profile, profile.0 > 1));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = Buffer::new();
                while let Ok(request) = server.recv(&mut buffer, &mut patience()) {
                    let mut reply = buffer.as_slice().to_vec();
                    reply.reverse();
                    let header = request.response(Status::OK);
                    server.send(&header, &reply, &mut patience()).unwrap();
                }
            });
            let mut buffer = Buffer::new();
            for (id, length) in
                [0, 1, 8, 1000, 65_503, 65_504, 65_505, 200_000, 212_960, 213_000, 1 << 20]
                    .into_iter()
                    .enumerate()
            {
                let payload = pattern(length, id as u8);
                let header = Header::request(Code(9), id as u64);
                client.send(&header, &payload, &mut patience()).unwrap();
                let answer = client.recv(&mut buffer, &mut patience()).unwrap();
                assert_eq!((answer.message_id, answer.code), (id as u64, Code(9)));
                assert!(buffer.as_slice().iter().rev().eq(payload.iter()), "{profile}: {length}");
            }
            drop(client);
        });
    }
}

#[test]
fn pipelined_answers_match_whatever_their_order() {
    let place = Place::new();
    let offer = large(Profiles::BASELINE);
    let (mut client, mut server) = pair(&place, &offer, &offer);
    let mut buffer = Buffer::new();
    for id in 0..100 {
        client.send(&Header::request(Code(1), id), &id.to_ne_bytes(), &mut patience()).unwrap();
    }
    let again = client.send(&Header::request(Code(1), 7), b"", &mut patience());
    assert!(matches!(again, Err(Error::DuplicateMessageId(7))));
    assert_eq!(client.in_flight(), 100);
    let mut requests = Vec::new();
    for _ in 0..100 {
        let header = server.recv(&mut buffer, &mut patience()).unwrap();
        requests.push((header, buffer.as_slice().to_vec()));
    }
    for (header, payload) in requests.iter().rev() {
        server.send(&header.response(Status::OK), payload, &mut patience()).unwrap();
    }
    for id in (0..100u64).rev() {
        let header = client.recv(&mut buffer, &mut patience()).unwrap();
        assert_eq!((header.message_id, buffer.as_slice()), (id, &id.to_ne_bytes()[..]));
    }
    assert_eq!(client.in_flight(), 0);
}

/// A client that only writes and a server that answers at once would both fill their buffers.
#[test]
fn a_client_that_writes_reads_meanwhile() {
    let place = Place::new();
    let offer = large(Profiles::BASELINE);
    let (mut client, mut server) = pair(&place, &offer, &offer);
    let payload = pattern(300_000, 3);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = Buffer::new();
            while let Ok(request) = server.recv(&mut buffer, &mut patience()) {
                let header = request.response(Status::OK);
                server.send(&header, buffer.as_slice(), &mut patience()).unwrap();
            }
        });
        for id in 0..20 {
            client.send(&Header::request(Code(1), id), &payload, &mut patience()).unwrap();
        }
        let mut buffer = Buffer::new();
        for id in 0..20 {
            let header = client.recv(&mut buffer, &mut patience()).unwrap();
            assert_eq!(header.message_id, id);
            assert_eq!(buffer.as_slice(), payload);
        }
        drop(client);
    });
}

/// What comes of a request that the peer does not read, since it only writes.
fn send_to_one_that_writes(
    patience: &mut Patience<'_>,
    write: impl FnOnce(&Raw, u32) + Send,
) -> Result<(), Error> {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    thread::scope(|scope| {
        scope.spawn(|| {
            let raw = listener.accept();
            let hello = Hello::decode(&raw.recv().unwrap()[HEADER_LEN..]).unwrap();
            let ack = HelloAck { response: limit(1 << 20, 1), ..plain_ack(&hello) };
            raw.send(&ack_packet(Status::OK, &ack));
            write(&raw, ack.packet_size);
        });
        let offer = large(Profiles::BASELINE);
        let mut client = Session::connect(&place.endpoint, &offer, patience)?;
        client.send(&Header::request(Code(1), 1), &pattern(1 << 20, 3), patience)
    })
}

#[test]
fn who_writes_keeps_no_more_answers_than_there_were_questions() {
    let answer = Header::request(Code(1), 1).response(Status::OK);
    let sent =
        send_to_one_that_writes(
            &mut patience(),
            |raw, _| {
                while raw.try_send(&message(answer, b"again")) {}
            },
        );
    assert!(matches!(sent, Err(Error::UnknownMessageId(1))), "{sent:?}");
}

#[test]
fn who_writes_waits_no_longer_for_an_answer_that_has_begun() {
    let abort = AbortHandle::new();
    let sent = send_to_one_that_writes(&mut patience().with_abort(&abort), |raw, packet_size| {
        let answer = Header::request(Code(1), 1).response(Status::OK);
        let packet_len = packet_size as usize;
        let payload = pattern(1 << 20, 4);
        let parts = payload.chunks(packet_len - HEADER_LEN);
        let (count, first) = (parts.len() as u32, Header { payload_len: 1 << 20, ..answer });
        // All but the last, which is more than fits a buffer: the client has begun to read.
        for (index, part) in (0..count - 1).zip(parts) {
            let chunk = Chunk {
                message_id: 1,
                total_message_len: HEADER_LEN as u32 + (1 << 20),
                index,
                count,
                payload_len: part.len() as u32,
            };
            let head = if index == 0 { first.encode() } else { chunk.encode() };
            raw.send(&[&head[..], part].concat());
        }
        abort.abort();
        // Until the client goes.
        while raw.recv().is_some() {}
    });
    assert!(matches!(sent, Err(Error::Aborted)), "{sent:?}");
}

#[test]
fn each_direction_has_its_limit() {
    for profile in PROFILES {
        let place = Place::new();
        let client = Offer { request: limit(100, 2), response: limit(1, 1), ..only(profile) };
        let server = Offer { request: limit(200, 9), response: limit(300, 1), ..only(profile) };
        let (mut client, mut server) = pair(&place, &client, &server);
        assert_eq!(client.terms().request, limit(100, 2));
        assert_eq!(client.terms().response, limit(300, 2), "the server's, for as many items");
        let too_large = |sent: Result<(), Error>| {
            matches!(sent, Err(Error::LimitExceeded { .. } | Error::TooManyItems { .. }))
        };
        let request = Header::request(Code(1), 1);
        assert!(too_large(client.send(&request, &[0; 101], &mut patience())));
        assert!(too_large(client.send(&request.with_batch(3), &[0; 8], &mut patience())));
        assert_eq!(client.in_flight(), 0);
        client.send(&request, &[0; 100], &mut patience()).unwrap();
        let mut buffer = Buffer::new();
        let header = server.recv(&mut buffer, &mut patience()).unwrap().response(Status::OK);
        assert!(too_large(server.send(&header, &[0; 301], &mut patience())));
        server.send(&header, &[7; 300], &mut patience()).unwrap();
        client.recv(&mut buffer, &mut patience()).unwrap();
        assert_eq!(buffer.as_slice(), [7; 300]);
    }
}

#[test]
fn over_shared_memory_one_request_is_in_flight() {
    let place = Place::new();
    let offer = only(Profiles::SHM_HYBRID);
    let (mut client, _server) = pair(&place, &offer, &offer);
    client.send(&Header::request(Code(1), 1), b"", &mut patience()).unwrap();
    let second = client.send(&Header::request(Code(1), 2), b"", &mut patience());
    assert!(matches!(second, Err(Error::LimitExceeded { .. })));
}

#[test]
fn time_is_up_when_it_is_and_to_call_off_is_something_else() {
    for profile in PROFILES {
        let place = Place::new();
        let offer = only(profile);
        let (mut client, mut server) = pair(&place, &offer, &offer);
        let mut buffer = Buffer::new();
        client.send(&Header::request(Code(1), 1), b"", &mut patience()).unwrap();
        // Longer than a slice, so that a slice is not taken for the whole time.
        for timeout in [Duration::from_millis(30), Duration::from_millis(250)] {
            let began = Instant::now();
            let timed_out = client.recv(&mut buffer, &mut Patience::new(timeout));
            assert!(matches!(timed_out, Err(Error::Timeout)), "{profile}");
            assert!(began.elapsed() >= timeout);
        }
        let abort = AbortHandle::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                abort.abort();
            });
            let mut patience = Patience::new(Duration::from_secs(30)).with_abort(&abort);
            let aborted = client.recv(&mut buffer, &mut patience);
            assert!(matches!(aborted, Err(Error::Aborted)), "{profile}");
        });
        // The session is as it was: the answer arrives.
        let header = server.recv(&mut buffer, &mut patience()).unwrap();
        server.send(&header.response(Status::OK), b"late", &mut patience()).unwrap();
        client.recv(&mut buffer, &mut patience()).unwrap();
        assert_eq!(buffer.as_slice(), b"late");
    }
}

#[test]
fn a_peer_that_goes_is_noticed_by_a_slice_and_its_last_word_is_heard() {
    for profile in PROFILES {
        let place = Place::new();
        let offer = only(profile);
        let (mut client, mut server) = pair(&place, &offer, &offer);
        let mut buffer = Buffer::new();
        let request = Header::request(Code(1), 1);
        client.send(&request, b"", &mut patience()).unwrap();
        server.recv(&mut buffer, &mut patience()).unwrap();
        server.send(&request.response(Status::OK), b"bye", &mut patience()).unwrap();
        drop(server);
        client.recv(&mut buffer, &mut patience()).unwrap();
        assert_eq!(buffer.as_slice(), b"bye");
        let began = Instant::now();
        let gone = client.recv(&mut buffer, &mut patience());
        assert!(matches!(gone, Err(Error::Disconnected)), "{profile}: {gone:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "not the whole patience");
        assert!(client.is_over());
        let sent = client.send(&Header::request(Code(1), 2), b"", &mut patience());
        assert!(matches!(sent, Err(Error::Disconnected)));
        assert_eq!(place.names(), [""; 0], "nothing is left");
    }
}

#[test]
fn the_socket_is_the_owners_alone_and_goes_with_its_server() {
    let place = Place::new();
    let listener = Listener::bind(&place.endpoint, &BASELINE).unwrap();
    let path = place.endpoint.socket_path();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let second = Listener::bind(&place.endpoint, &BASELINE);
    assert!(matches!(second, Err(Error::AddrInUse { .. })));
    assert!(path.exists(), "the live server's name is kept");
    // A name that means something else by now is not removed.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "somebody else's").unwrap();
    drop(listener);
    assert!(path.exists());
}

#[test]
fn names_of_the_dead_are_reclaimed() {
    type Plant = fn(&std::path::Path);
    let plants: [(&str, Plant); 5] = [
        ("dead socket", |path| {
            use std::os::unix::net::UnixListener;
            drop(UnixListener::bind(path).unwrap());
        }),
        ("file", |path| std::fs::write(path, "x").unwrap()),
        ("directory", |path| std::fs::create_dir(path).unwrap()),
        ("link", |path| {
            let target = path.with_extension("target");
            std::fs::write(&target, "precious").unwrap();
            symlink(target, path).unwrap();
        }),
        ("dangling link", |path| symlink("/nowhere/at/all", path).unwrap()),
    ];
    for (what, plant) in plants {
        let place = Place::new();
        let directory = place.directory.path();
        std::fs::set_permissions(directory, PermissionsExt::from_mode(0o770)).unwrap();
        let path = place.endpoint.socket_path();
        plant(&path);
        let mut listener = Listener::bind(&place.endpoint, &BASELINE).expect(what);
        let mut connected = thread::scope(|scope| {
            scope.spawn(|| listener.accept(&mut patience()).unwrap());
            Session::connect(&place.endpoint, &BASELINE, &mut patience()).expect(what)
        });
        let refused = connected.recv(&mut Buffer::new(), &mut patience());
        assert!(matches!(refused, Err(Error::Disconnected)));
        let target = path.with_extension("target");
        assert!(what != "link" || std::fs::read(target).unwrap() == b"precious");
    }
}

/// A live server may be one whose pids mean nothing here.
#[test]
fn regions_beside_a_live_server_are_its_own() {
    let place = Place::new();
    let region = place.endpoint.region_path(SessionId(1));
    std::fs::write(&region, "made by nobody that is seen from here").unwrap();
    let server = Raw::listen(&place.endpoint);
    let bound = Listener::bind(&place.endpoint, &BASELINE);
    assert!(matches!(bound, Err(Error::AddrInUse { .. })), "{bound:?}");
    assert!(region.exists());
    drop(server);
    let _listener = Listener::bind(&place.endpoint, &BASELINE).unwrap();
    assert!(!region.exists());
}

#[test]
fn of_servers_that_start_at_once_one_wins() {
    let place = Place::new();
    // A dead one has left its name.
    drop(std::os::unix::net::UnixListener::bind(place.endpoint.socket_path()).unwrap());
    let won: Vec<_> = thread::scope(|scope| {
        let bind = || Listener::bind(&place.endpoint, &BASELINE);
        let racing: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
        racing.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|bound| bound.is_ok()).count(), 1);
    for lost in won.iter().filter_map(|bound| bound.as_ref().err()) {
        assert!(matches!(lost, Error::AddrInUse { .. }), "{lost}");
    }
}

#[test]
fn where_nobody_serves_is_told_apart() {
    let place = Place::new();
    let connect = || Session::connect(&place.endpoint, &BASELINE, &mut patience()).unwrap_err();
    assert!(matches!(connect(), Error::NotFound { .. }));
    drop(std::os::unix::net::UnixListener::bind(place.endpoint.socket_path()).unwrap());
    assert!(matches!(connect(), Error::NotFound { .. }), "a dead one");
    let nowhere = Endpoint::new(place.directory.path().join("none"), "svc").unwrap();
    assert!(matches!(Listener::bind(&nowhere, &BASELINE), Err(Error::Io { .. })));
    let nobodys = Offer { profiles: Profiles(0x40), ..BASELINE };
    let error = Listener::bind(&place.endpoint, &nobodys).unwrap_err().to_string();
    assert_eq!(error, "a server's profiles cannot be 64");
}

#[test]
fn to_wait_for_a_silent_client_can_be_called_off() {
    let place = Place::new();
    let mut listener = Listener::bind(&place.endpoint, &BASELINE).unwrap();
    let abort = AbortHandle::new();
    thread::scope(|scope| {
        let silent = scope.spawn(|| {
            // The queue has room for 17: there is room for one more when the first is accepted.
            let silent: Vec<Raw> = (0..18).map(|_| Raw::connect(&place.endpoint)).collect();
            abort.abort();
            silent
        });
        let accepted = listener.accept(&mut patience().with_abort(&abort)).map(drop);
        assert!(matches!(accepted, Err(Error::Aborted)), "{accepted:?}");
        silent.join().unwrap();
    });
}

#[test]
fn the_handshake_tells_why_it_fails_and_the_listener_survives() {
    let place = Place::new();
    let server = Offer { auth_token: 5, request: limit(2048, 1), ..BASELINE };
    let mut listener = Listener::bind(&place.endpoint, &server).unwrap();
    let mut meet = |client: Offer| {
        thread::scope(|scope| {
            let accepted = scope.spawn(|| listener.accept(&mut patience()).map(drop));
            let connected = Session::connect(&place.endpoint, &client, &mut patience()).map(drop);
            (connected, accepted.join().unwrap())
        })
    };
    let good = Offer { auth_token: 5, ..BASELINE };
    let told = |status| move |error: Error| matches!(error, Error::Handshake(s) if s == status);
    let (client, server) = meet(Offer { auth_token: 6, ..good });
    assert!(matches!(client, Err(Error::AuthFailed)));
    assert!(told(Status::AUTH_FAILED)(server.unwrap_err()));
    let (client, server) = meet(Offer { profiles: Profiles(0x40), ..good });
    assert!(matches!(client, Err(Error::NoProfile)));
    assert!(told(Status::UNSUPPORTED)(server.unwrap_err()));
    let (client, server) = meet(Offer { request: limit(2049, 1), ..good });
    assert!(matches!(client, Err(Error::ProposalTooLarge)));
    assert!(told(Status::LIMIT_EXCEEDED)(server.unwrap_err()));
    let (client, server) = meet(Offer { packet_size: 32, ..good });
    assert!(matches!(client, Err(Error::Incompatible)));
    assert!(told(Status::INCOMPATIBLE)(server.unwrap_err()));
    let (client, server) = meet(good);
    assert!(client.is_ok() && server.is_ok());
}

#[test]
fn malformed_proposals_end_their_connection_only() {
    let place = Place::new();
    let mut listener = Listener::bind(&place.endpoint, &BASELINE).unwrap();
    let good = hello_packet(&plain_hello());
    let mut meet = |packet: &[u8]| {
        let raw = Raw::connect(&place.endpoint);
        raw.send(packet);
        let accepted = listener.accept(&mut patience()).map(drop);
        (raw.recv().map(|answer| Header::decode(&answer).unwrap().status), accepted)
    };
    let with = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        bad
    };
    for (packet, answer) in [
        (with(4, 2), Some(Status::INCOMPATIBLE)),
        (with(32, 2), Some(Status::INCOMPATIBLE)),
        (with(60, 1), Some(Status::BAD_ENVELOPE)),
        (with(0, 0), None),
        (with(8, 1), None),
        (with(12, 2), None),
        (good[..20].to_vec(), None),
        (good[..40].to_vec(), None),
        (vec![0xff; 4000], None),
    ] {
        let (told, accepted) = meet(&packet);
        assert_eq!(
            told.unwrap_or(Status::OK),
            answer.unwrap_or(if packet.len() == 40 {
                // A HELLO header with half a payload can still be answered.
                Status::BAD_ENVELOPE
            } else {
                Status::OK
            })
        );
        assert!(accepted.is_err());
    }
    assert_eq!(meet(&[&good[..], &[1; 40]].concat()).0, Some(Status::OK), "more is ignored");
}

#[test]
fn malformed_answers_are_refused_by_name() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let meet = |answer: &(dyn Fn(HelloAck) -> Vec<u8> + Sync)| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let raw = listener.accept();
                let packet = raw.recv().unwrap();
                let hello = Hello::decode(&packet[HEADER_LEN..]).unwrap();
                raw.send(&answer(plain_ack(&hello)));
            });
            Session::connect(&place.endpoint, &BASELINE, &mut patience()).unwrap_err()
        })
    };
    let ok = |ack: HelloAck| ack_packet(Status::OK, &ack);
    let short = meet(&|ack| ok(ack)[..60].to_vec());
    assert!(matches!(short, Error::Malformed(m) if m.fault == Fault::Truncated), "{short}");
    let tiny = meet(&|ack| ok(ack)[..9].to_vec());
    assert!(matches!(tiny, Error::Malformed(m) if m.fault == Fault::Truncated));
    assert!(matches!(meet(&|ack| hello_packet(&plain_hello()).tap(&ack)), Error::Protocol(_)));
    assert!(matches!(meet(&|ack| ok(HelloAck { packet_size: 32, ..ack })), Error::Protocol(_)));
    let profile = meet(&|ack| ok(HelloAck { selected: Profiles(2), ..ack }));
    assert!(matches!(profile, Error::Protocol(_)));
    let future = meet(&|ack| {
        let mut packet = ok(ack);
        packet[4] = 2;
        packet
    });
    assert!(matches!(future, Error::Incompatible));
}

/// Lets a closure use an argument that it does not need.
trait Tap {
    fn tap<T>(self, _: &T) -> Self;
}

impl Tap for Vec<u8> {
    fn tap<T>(self, _: &T) -> Vec<u8> {
        self
    }
}

/// A region that cannot be made leaves the socket.
#[test]
fn without_shared_memory_the_socket_serves() {
    let place = Place::new();
    // A live process owns the name of the first session's region.
    let path = place.endpoint.region_path(SessionId(1));
    let other = Place::new();
    let offer = only(Profiles::SHM_HYBRID);
    let (_client, _server) = pair(&other, &offer, &offer);
    std::fs::copy(other.endpoint.region_path(SessionId(1)), &path).unwrap();
    let (client, _server) = pair(&place, &offer, &offer);
    assert_eq!(client.terms().profile, Profiles::BASELINE);
    assert!(path.exists());
}

#[test]
fn a_region_that_cannot_be_used_is_said_so() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    std::fs::write(place.endpoint.region_path(SessionId(1)), pattern(4096, 1)).unwrap();
    let mut header = [0; 4096];
    header[..8].copy_from_slice(&[0x4d, 0x48, 0x53, 0x4e, 2, 0, 64, 0]);
    std::fs::write(place.endpoint.region_path(SessionId(1)), header).unwrap();
    let connected = thread::scope(|scope| {
        scope.spawn(|| {
            let raw = listener.accept();
            let packet = raw.recv().unwrap();
            let hello = Hello::decode(&packet[HEADER_LEN..]).unwrap();
            let shm = Profiles::SHM_HYBRID;
            raw.send(&ack_packet(Status::OK, &HelloAck { selected: shm, ..plain_ack(&hello) }));
            assert_eq!(raw.recv(), None);
        });
        Session::connect(&place.endpoint, &only(Profiles::SHM_HYBRID), &mut patience())
    });
    let problem = connected.unwrap_err();
    assert!(
        matches!(
            problem,
            Error::Region { problem: RegionProblem::BadMagic | RegionProblem::BadVersion, .. }
        ),
        "{problem}"
    );
}

/// What a server's session makes of packets that a client sends.
fn served(packets: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let place = Place::new();
    let server = Offer { request: limit(1 << 20, 64), ..BASELINE };
    let mut listener = Listener::bind(&place.endpoint, &server).unwrap();
    let raw = Raw::connect(&place.endpoint);
    let hello = Hello { packet_size: 132, request: limit(4096, 16), ..plain_hello() };
    raw.send(&hello_packet(&hello));
    let mut session = listener.accept(&mut patience()).unwrap();
    // A socket that is closed with something unread takes along what it sent.
    raw.recv().unwrap();
    for packet in packets {
        raw.send(packet);
    }
    drop(raw);
    let mut buffer = Buffer::new();
    session.recv(&mut buffer, &mut patience())?;
    Ok(buffer.as_slice().to_vec())
}

fn fault(packets: &[Vec<u8>]) -> Option<Fault> {
    match served(packets) {
        Err(Error::Malformed(malformed)) => Some(malformed.fault),
        Err(Error::Protocol(_) | Error::Disconnected) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_fault_of_a_continuation_ends_the_session() {
    let payload = pattern(250, 9);
    let header = Header { payload_len: 250, ..Header::request(Code(1), 3) };
    let first = [&header.encode()[..], &payload[..100]].concat();
    let chunk =
        Chunk { message_id: 3, total_message_len: 282, index: 1, count: 3, payload_len: 100 };
    let packet = |chunk: Chunk, part: &[u8]| [&chunk.encode()[..], part].concat();
    let second = packet(chunk, &payload[100..200]);
    let third = packet(Chunk { index: 2, payload_len: 50, ..chunk }, &payload[200..]);
    assert_eq!(served(&[first.clone(), second.clone(), third.clone()]).unwrap(), payload);

    let wrong = |bad: Chunk| fault(&[first.clone(), packet(bad, &payload[100..200])]);
    assert_eq!(wrong(Chunk { message_id: 4, ..chunk }), Some(Fault::BadLayout));
    assert_eq!(wrong(Chunk { index: 2, ..chunk }), Some(Fault::BadLayout));
    assert_eq!(wrong(Chunk { count: 4, ..chunk }), Some(Fault::BadLayout));
    assert_eq!(wrong(Chunk { total_message_len: 281, ..chunk }), Some(Fault::BadLayout));
    assert_eq!(wrong(Chunk { payload_len: 99, ..chunk }), Some(Fault::BadLayout));
    let missing = [first.clone(), third];
    assert_eq!(fault(&missing), Some(Fault::BadLayout));
    assert_eq!(fault(&[first.clone(), second.clone()]), None, "the rest never comes");
    assert_eq!(fault(&[first.clone(), second.clone(), vec![1; 20]]), Some(Fault::Truncated));
    assert_eq!(fault(&[first.clone(), first.clone()]), Some(Fault::BadMagic));
    let excess = packet(Chunk { payload_len: 51, index: 2, ..chunk }, &[0; 51]);
    assert_eq!(fault(&[first, second, excess]), Some(Fault::OutOfBounds));
}

#[test]
fn each_fault_of_a_message_ends_the_session() {
    let request = Header::request(Code(1), 3);
    assert_eq!(fault(&[vec![0; 31]]), Some(Fault::Truncated));
    assert_eq!(fault(&[vec![0; 32]]), Some(Fault::BadMagic));
    let mut longer = message(request, b"12345678");
    longer.push(0);
    assert_eq!(fault(&[longer]), None);
    let over = Header { payload_len: 4097, ..request }.encode().to_vec();
    assert!(matches!(served(&[over]), Err(Error::LimitExceeded { .. })));
    let many = message(request.with_batch(17), &[0; 8]);
    assert!(matches!(served(&[many]), Err(Error::TooManyItems { .. })));
    assert_eq!(fault(&[message(request.with_batch(2), &[0; 15])]), Some(Fault::Truncated));
    let mut payload = [0; 64];
    let mut builder = BatchBuilder::new(&mut payload, 2).unwrap();
    builder.push(b"12345678").unwrap();
    builder.push(b"12345678").unwrap();
    let (length, count) = builder.finish();
    assert!(served(&[message(request.with_batch(count), &payload[..length])]).is_ok());
    payload[0] = 1;
    let bad = message(request.with_batch(count), &payload[..length]);
    assert_eq!(fault(&[bad]), Some(Fault::BadAlignment));
}

#[test]
fn answers_to_nothing_end_the_session() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let (mut client, raw) = thread::scope(|scope| {
        let raw = scope.spawn(|| listener.serve());
        let client = Session::connect(&place.endpoint, &BASELINE, &mut patience()).unwrap();
        (client, raw.join().unwrap())
    });
    let request = Header::request(Code(1), 5);
    client.send(&request, b"", &mut patience()).unwrap();
    raw.recv().unwrap();
    raw.send(&message(request.response(Status::OK), b""));
    raw.send(&message(request.response(Status::OK), b""));
    let mut buffer = Buffer::new();
    client.recv(&mut buffer, &mut patience()).unwrap();
    let second = client.recv(&mut buffer, &mut patience());
    assert!(matches!(second, Err(Error::UnknownMessageId(5))));
    assert!(client.is_over());
}

/// netipc's C server leaves flag and count of a batch in a refusal, which has no payload.
#[test]
fn the_refusal_of_a_batch_may_look_like_a_batch() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let offer = Offer { request: limit(1024, 16), ..BASELINE };
    let (mut client, raw) = thread::scope(|scope| {
        let raw = scope.spawn(|| listener.serve());
        let client = Session::connect(&place.endpoint, &offer, &mut patience()).unwrap();
        (client, raw.join().unwrap())
    });
    let mut buffer = Buffer::new();
    for (id, status) in [(1, Status::LIMIT_EXCEEDED), (2, Status::OK)] {
        let request = Header::request(Code(1), id);
        client.send(&request, b"", &mut patience()).unwrap();
        raw.recv().unwrap();
        raw.send(&message(request.response(status).with_batch(3), b""));
        let answer = client.recv(&mut buffer, &mut patience());
        match status {
            Status::OK => assert!(matches!(answer, Err(Error::Malformed(_))), "{answer:?}"),
            status => assert_eq!(answer.unwrap().status, status),
        }
    }
}

/// A peer in shared memory that lies about lengths.
#[test]
fn lies_in_shared_memory_are_found() {
    use std::os::unix::fs::FileExt;
    for (len, total, what) in [
        (0u32, 40u32, "no length"),
        (20, 40, "shorter than a header"),
        (1 << 30, 40, "longer than the area"),
        (40, 44, "two lengths"),
    ] {
        let place = Place::new();
        let offer = only(Profiles::SHM_HYBRID);
        let (client, mut server) = pair(&place, &offer, &offer);
        let path = place.endpoint.region_path(client.terms().session);
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let header = Header { payload_len: total - 32, ..Header::request(Code(1), 1) };
        file.write_all_at(&header.encode(), 64).unwrap();
        file.write_all_at(&len.to_ne_bytes(), 48).unwrap();
        file.write_all_at(&1u64.to_ne_bytes(), 32).unwrap();
        let lie = server.recv(&mut Buffer::new(), &mut patience());
        assert!(
            matches!(
                lie,
                Err(Error::Malformed(_) | Error::LimitExceeded { .. } | Error::Protocol(_))
            ),
            "{what}: {lie:?}"
        );
        assert!(server.is_over());
    }
}

/// A peer that scribbles over the whole region while messages pass: errors, and nothing worse.
#[test]
fn a_region_that_changes_under_the_reader_does_no_harm() {
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    for profile in [Profiles::SHM_HYBRID, Profiles::SHM_WAITERS] {
        let stop = AtomicBool::new(false);
        for round in 0..20u8 {
            let place = Place::new();
            let offer = large(profile);
            let (mut client, mut server) = pair(&place, &offer, &offer);
            let path = place.endpoint.region_path(client.terms().session);
            let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len() as usize;
            stop.store(false, Ordering::Relaxed);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let noise = pattern(length - 32, round);
                    while !stop.load(Ordering::Relaxed) {
                        file.write_all_at(&noise, 32).unwrap();
                    }
                });
                let mut buffer = Buffer::new();
                for id in 0..50 {
                    let brief = &mut Patience::new(Duration::from_millis(5));
                    let request = Header::request(Code(1), id);
                    if client.send(&request, &[1; 512], brief).is_err() || client.is_over() {
                        break;
                    }
                    let _ = server.recv(&mut buffer, brief);
                    let _ = server.send(&request.response(Status::OK), &[2; 512], brief);
                    let _ = client.recv(&mut buffer, brief);
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a client says after the handshake, the session ends or gives a message.
    #[test]
    fn any_packets_are_refused_or_received(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..6),
        valid in any::<bool>(),
        flip in (0usize..32, any::<u8>()),
    ) {
        let mut packets = packets;
        if valid {
            let mut first = message(Header::request(Code(1), 1), &[0; 60]);
            first[flip.0] ^= flip.1;
            packets.insert(0, first);
        }
        let _ = served(&packets);
    }
}
