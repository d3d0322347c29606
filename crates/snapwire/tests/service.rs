//! Typed clients and managed servers: that they agree, and what becomes of them when one fails.

mod support;

use snapwire::codec::{
    App, AppCgroup, AppStatus, CgroupStatus, Code, HEADER_LEN, Header, Hello, Kind, Orchestrator,
    Pid, Profiles, SnapshotItem, Status,
};
use snapwire::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Client, ClientConfig, Endpoint, Error, Failure,
    Increment, LookupMax, Offer, Peers, Server, ServerConfig, SnapshotImage, State, StringReverse,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn numbers_and_strings_over_every_profile() {
    for profile in PROFILES {
        let place = Place::new();
        let server = incrementer(&place, &server_config(profile));
        let mut client = ready::<Increment>(&place, &client_config(profile));
        assert_eq!(client.terms().unwrap().profile, profile);
        let mut number = 0;
        for _ in 0..100 {
            number = client.call(number).unwrap();
        }
        assert_eq!((number, client.status().calls, client.status().errors), (100, 100, 0));
        let asks: Vec<u64> = (0..64).collect();
        let answers = client.call_batch(asks.iter().copied()).unwrap();
        assert!(answers.iter().map(Result::unwrap).eq(1..65));
        assert_eq!(client.call_batch([7].into_iter()).unwrap().iter().next().unwrap().unwrap(), 8);
        let too_many = client.call_batch(vec![0; 65].into_iter()).unwrap_err();
        assert!(matches!(too_many, Error::TooManyItems { found: 65, limit: 64 }), "{too_many}");
        let mut seen = Vec::new();
        client
            .pipeline(0..200, 16, |index, answer| {
                seen.push((index as u64, answer));
                Ok(())
            })
            .unwrap();
        assert!(seen.into_iter().eq((0..200).map(|number| (number, number + 1))));
        assert_eq!(server.status().sessions, 1);
        drop(client);
        until("the end of the session", || server.status().sessions == 0);
        server.stop();
        assert_eq!(place.names(), [""; 0]);
    }
    let place = Place::new();
    let reverse = |text: &[u8], reply: &mut snapwire::TextReply<'_>| {
        let mut text = text.to_vec();
        text.reverse();
        Ok(reply.set(&text)?)
    };
    let _server =
        Server::start::<StringReverse>(&place.endpoint, &ServerConfig::default(), reverse).unwrap();
    let mut client = ready::<StringReverse>(&place, &client_config(Profiles::BASELINE));
    assert_eq!(client.call(b"\xffabc").unwrap(), b"cba\xff");
    let texts: [&[u8]; 2] = [b"ab", b""];
    let answers = client.call_batch(texts.into_iter()).unwrap();
    assert!(answers.iter().map(Result::unwrap).eq([&b"ba"[..], b""]));
}

#[test]
fn a_client_waits_for_its_service_and_finds_it_again() {
    let place = Place::new();
    let mut client = Client::<Increment>::new(&place.endpoint, &client_config(Profiles::BASELINE));
    assert_eq!(client.state(), State::Disconnected);
    assert!(matches!(client.call(1), Err(Error::NotReady(State::Disconnected))));
    assert!(client.refresh());
    assert_eq!(client.state(), State::NotFound);
    assert!(!client.refresh(), "no news");
    let server = incrementer(&place, &server_config(Profiles::BASELINE));
    assert!(client.refresh());
    assert!(!client.refresh());
    assert_eq!(client.call(1).unwrap(), 2);
    server.stop();
    assert!(client.call(1).is_err());
    assert_ne!(client.state(), State::Ready);
    assert_eq!(client.status().errors, 2);
    let _server = incrementer(&place, &server_config(Profiles::BASELINE));
    client.refresh();
    assert_eq!(client.call(1).unwrap(), 2);
    let status = client.status();
    assert_eq!((status.connects, status.reconnects, status.calls), (1, 1, 2));
}

#[test]
fn a_client_that_cannot_connect_says_why() {
    let place = Place::new();
    let soon = Duration::from_secs(20);
    let mut client = Client::<Increment>::new(&place.endpoint, &ClientConfig::default());
    let absent = client.connect_within(soon);
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    let offer = Offer { auth_token: 7, ..Offer::default() };
    let server = incrementer(&place, &ServerConfig { offer, ..ServerConfig::default() });
    for _ in 0..2 {
        assert!(matches!(client.connect_within(soon), Err(Error::AuthFailed)));
        let again = client.connect_within(soon);
        assert!(matches!(again, Err(Error::NotReady(State::AuthFailed))), "{again:?}");
        client.close();
    }
    server.stop();
    let _server = incrementer(&place, &ServerConfig::default());
    client.connect_within(soon).unwrap();
    client.connect_within(soon).unwrap();
    assert_eq!((client.call(1).unwrap(), client.status().connects), (2, 1));
    // The time is the caller's.
    let silent = Place::new();
    let _listener = Raw::listen(&silent.endpoint);
    let config = ClientConfig { timeout: Duration::ZERO, ..ClientConfig::default() };
    let mut client = Client::<Increment>::new(&silent.endpoint, &config);
    let timed_out = client.connect_within(Duration::from_millis(50));
    assert!(matches!(timed_out, Err(Error::Timeout)), "{timed_out:?}");
}

/// A client that sees the socket but not the region, as in another mount namespace.
#[test]
fn without_a_region_in_reach_it_is_the_socket() {
    let place = Place::new();
    let _server = incrementer(&place, &ServerConfig::default());
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = std::fs::canonicalize(place.directory.path().join("svc.sock")).unwrap();
    std::os::unix::fs::symlink(socket, elsewhere.path().join("svc.sock")).unwrap();
    let endpoint = Endpoint::new(elsewhere.path(), "svc").unwrap();
    // Less than what a region that is not ready is given.
    let config = ClientConfig { timeout: Duration::from_secs(3), ..ClientConfig::default() };
    let mut client = Client::<Increment>::new(&endpoint, &config);
    client.refresh();
    assert_eq!(client.terms().map(|terms| terms.profile), Some(Profiles::BASELINE));
    assert_eq!(client.call(1).unwrap(), 2);
    // Who wants nothing else is told.
    let offer = Offer { profiles: Profiles::SHM, ..Offer::default() };
    let mut client = Client::<Increment>::new(&endpoint, &ClientConfig { offer, ..config });
    for _ in 0..2 {
        let connected = client.connect_within(Duration::from_secs(20));
        assert!(matches!(connected, Err(Error::Region { .. })), "{connected:?}");
    }
    // With no time even for that, it is known at the next try.
    let config = ClientConfig { timeout: Duration::from_millis(50), ..config };
    let mut client = Client::<Increment>::new(&endpoint, &config);
    client.refresh();
    assert_ne!(client.state(), State::Ready);
    for _ in 0..100 {
        // On a busy machine it may take more than one.
        client.refresh();
        if client.state() == State::Ready {
            break;
        }
    }
    assert_eq!(client.call(1).unwrap(), 2);
}

#[test]
fn a_call_survives_a_server_that_comes_back() {
    for profile in PROFILES {
        let place = Place::new();
        let server = incrementer(&place, &server_config(profile));
        let mut client = ready::<Increment>(&place, &client_config(profile));
        assert_eq!(client.call(1).unwrap(), 2);
        server.stop();
        let server = incrementer(&place, &server_config(profile));
        assert_eq!(client.call(2).unwrap(), 3, "{profile}");
        assert_eq!(client.status().reconnects, 1);
        drop(server);
    }
}

#[test]
fn tokens_and_users_are_checked() {
    let place = Place::new();
    let offer = Offer { auth_token: 77, ..BASELINE };
    let config = ServerConfig { offer, peers: Peers::SameUser, ..ServerConfig::default() };
    let _server = incrementer(&place, &config);
    let mut stranger = Client::<Increment>::new(&place.endpoint, &ClientConfig::default());
    stranger.refresh();
    assert_eq!(stranger.state(), State::AuthFailed);
    assert!(!stranger.refresh(), "it is not tried again");
    let mut friend = ready::<Increment>(&place, &ClientConfig { offer, ..ClientConfig::default() });
    assert_eq!(friend.call(1).unwrap(), 2);
}

/// Another user gets in neither by path nor by token, nor into a session's memory.
#[test]
fn another_user_does_not_get_in() {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root, to become somebody else");
        return;
    }
    let place = Place::new();
    let path = place.endpoint.socket_path();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(place.directory.path(), open.clone()).unwrap();
    let server = incrementer(&place, &server_config(Profiles::SHM_HYBRID));
    let friend = ready::<Increment>(&place, &client_config(Profiles::SHM_HYBRID));
    let region = place.endpoint.region_path(friend.terms().unwrap().session);
    // A thread that is somebody else, with the right token.
    let as_nobody = |what: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            scope.spawn(|| {
                set_thread_groups(&[]).unwrap();
                set_thread_gid(Gid::from_raw(65534)).unwrap();
                set_thread_uid(Uid::from_raw(65534)).unwrap();
                what();
            });
        });
    };
    as_nobody(&|| {
        let mut client = Client::<Increment>::new(&place.endpoint, &ClientConfig::default());
        client.refresh();
        assert_eq!(client.state(), State::Denied);
        let error = std::fs::File::open(&region).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    });
    // Even when somebody has opened the socket to all.
    std::fs::set_permissions(&path, open).unwrap();
    as_nobody(&|| {
        let raw = Raw::connect(&place.endpoint);
        let _ = raw.try_send(&hello_packet(&plain_hello()));
        assert_eq!(raw.recv(), None, "nobody answers");
    });
    assert_eq!(server.status().sessions_total, 1);
}

#[test]
fn requests_and_responses_grow_as_needed() {
    for profile in PROFILES {
        let place = Place::new();
        let echo = |text: &[u8], reply: &mut snapwire::TextReply<'_>| Ok(reply.set(text)?);
        let server =
            Server::start::<StringReverse>(&place.endpoint, &server_config(profile), echo).unwrap();
        let mut client = ready::<StringReverse>(&place, &client_config(profile));
        for length in [10, 5000, 60_000, 70_000, 500_000] {
            let text = vec![b'x'; length];
            assert_eq!(client.call(&text).unwrap().len(), length, "{profile}");
        }
        let status = client.status();
        assert_eq!((status.calls, status.errors), (5, 0));
        // Beyond 1 MiB nothing grows, and the client is as it was.
        let text = vec![b'x'; 2 << 20];
        assert!(matches!(client.call(&text), Err(Error::Build(_))));
        assert_eq!(client.call(b"abc").unwrap(), b"abc");
        server.stop();
    }
}

#[test]
fn a_response_that_can_never_fit_is_an_error_and_not_a_loop() {
    let place = Place::new();
    let offer = Offer { response: limit(2048, 1), ..BASELINE };
    let config = ServerConfig { offer, ..ServerConfig::default() };
    let sessions = Arc::new(AtomicU32::new(0));
    let calls = Arc::clone(&sessions);
    let _server = Server::start::<StringReverse>(&place.endpoint, &config, move |text, reply| {
        calls.fetch_add(1, Ordering::Relaxed);
        Ok(reply.set(&vec![b'x'; text.len() * 1000])?)
    })
    .unwrap();
    let mut client = ready::<StringReverse>(&place, &client_config(Profiles::BASELINE));
    let error = client.call(b"four").unwrap_err();
    assert!(matches!(error, Error::Refused(Status::LIMIT_EXCEEDED)), "{error}");
    assert_eq!(sessions.load(Ordering::Relaxed), 1, "nothing grew, so it was asked once");
    client.refresh();
    assert_eq!(client.call(b"1").unwrap().len(), 1000);
}

#[test]
fn what_a_handler_refuses_is_refused_twice_and_then_an_error() {
    let place = Place::new();
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let server =
        Server::start::<Increment>(&place.endpoint, &ServerConfig::default(), move |n, reply| {
            counter.fetch_add(1, Ordering::Relaxed);
            match n {
                0 => Err(Failure::Refused),
                1 => panic!("a handler may panic"),
                n => {
                    reply.set(n + 1);
                    Ok(())
                }
            }
        })
        .unwrap();
    let mut other = ready::<Increment>(&place, &client_config(Profiles::BASELINE));
    for bad in [0, 1] {
        let mut client = ready::<Increment>(&place, &client_config(Profiles::SHM_HYBRID));
        let before = calls.load(Ordering::Relaxed);
        let error = client.call(bad).unwrap_err();
        assert!(matches!(error, Error::Refused(Status::INTERNAL_ERROR)), "{error}");
        assert_eq!(calls.load(Ordering::Relaxed), before + 2, "at least once, and no more");
        assert_eq!(client.state(), State::Broken);
        client.refresh();
        assert_eq!(client.call(5).unwrap(), 6);
        assert_eq!(other.call(7).unwrap(), 8, "another session does not notice");
    }
    server.stop();
}

#[test]
fn another_method_is_unsupported_and_a_malformed_request_a_bad_envelope() {
    let place = Place::new();
    let _server = incrementer(&place, &server_config(Profiles::BASELINE));
    let raw = Raw::client(&place.endpoint);
    let answer = |request: &[u8]| {
        raw.send(request);
        let packet = raw.recv().unwrap();
        assert_eq!(packet.len(), if packet[14] == 0 { HEADER_LEN + 8 } else { HEADER_LEN });
        Header::decode(&packet).unwrap()
    };
    let header = answer(&message(Header::request(Code(77), 1), &[0; 8]));
    assert_eq!((header.status, header.message_id), (Status::UNSUPPORTED, 1));
    assert_eq!((header.batch, header.item_count, header.code), (false, 1, Code(77)));
    let header = answer(&message(Header::request(Code::INCREMENT, 2), &[0; 8]));
    assert_eq!(header.status, Status::OK, "the session goes on");
    let header = answer(&message(Header::request(Code::INCREMENT, 3), &[0; 7]));
    assert_eq!(header.status, Status::BAD_ENVELOPE);
    assert_eq!(raw.recv(), None, "and then it is over");

    let raw = Raw::client(&place.endpoint);
    let bad_directory = Header::request(Code::INCREMENT, 1).with_batch(2);
    raw.send(&message(bad_directory, &[1; 32]));
    assert_eq!(raw.recv(), None);
    let raw = Raw::client(&place.endpoint);
    let header = Header { kind: Kind::Response, ..Header::request(Code::INCREMENT, 1) };
    raw.send(&message(header, &[0; 8]));
    assert_eq!(raw.recv(), None);
    assert_eq!(ready::<Increment>(&place, &ClientConfig::default()).call(1).unwrap(), 2);
}

/// A server that answers as the closure says, once per session.
fn liar(place: &Place, answers: impl Fn(Header) -> Option<Vec<u8>> + Send + 'static) {
    let listener = Raw::listen(&place.endpoint);
    thread::spawn(move || {
        loop {
            let raw = listener.accept();
            let Some(packet) = raw.recv() else { return };
            let hello = Hello::decode(&packet[HEADER_LEN..]).unwrap();
            if !raw.try_send(&ack_packet(Status::OK, &plain_ack(&hello))) {
                continue;
            }
            let Some(request) = raw.recv() else { continue };
            let request = Header::decode(&request).unwrap();
            if let Some(answer) = answers(request) {
                raw.try_send(&answer);
            }
            // Until the client goes.
            let _ = raw.recv();
        }
    });
}

#[test]
fn a_false_answer_is_asked_for_once_more_and_then_an_error() {
    type Lie = fn(Header) -> Header;
    let lies: [(&str, Lie); 6] = [
        ("kind", |h| Header { kind: Kind::Request, ..h }),
        ("code", |h| Header { code: Code(9), ..h }),
        ("id", |h| Header { message_id: h.message_id + 1, ..h }),
        ("items", |h| Header { item_count: 2, ..h }),
        ("batch", |h| Header { batch: true, ..h }),
        ("status", |h| Header { status: Status(99), ..h }),
    ];
    for (what, lie) in lies {
        let place = Place::new();
        let seen = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&seen);
        liar(&place, move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            Some(message(lie(request.response(Status::OK)), &[0; 8]))
        });
        let mut client = ready::<Increment>(&place, &client_config(Profiles::BASELINE));
        assert!(client.call(1).is_err(), "{what}");
        assert_eq!((client.state(), seen.load(Ordering::Relaxed)), (State::Broken, 2), "{what}");
    }
    // A payload that is too short, and then a good one.
    let place = Place::new();
    let first = AtomicBool::new(true);
    liar(&place, move |request| {
        let length = if first.swap(false, Ordering::Relaxed) { 7 } else { 8 };
        Some(message(request.response(Status::OK), &vec![0; length]))
    });
    let mut client = ready::<Increment>(&place, &client_config(Profiles::BASELINE));
    assert_eq!(client.call(1).unwrap(), 0);
    assert_eq!(client.status().reconnects, 1);
}

#[test]
fn a_silent_server_costs_the_time_allowed_and_is_not_asked_again() {
    let place = Place::new();
    let seen = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&seen);
    liar(&place, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    });
    let mut client = ready::<Increment>(&place, &client_config(Profiles::BASELINE));
    let began = Instant::now();
    let timeout = Duration::from_millis(150);
    assert!(matches!(client.call_within(1, timeout), Err(Error::Timeout)));
    assert!(began.elapsed() >= timeout);
    assert_eq!((client.state(), seen.load(Ordering::Relaxed)), (State::Broken, 1));
    client.refresh();
    let abort = client.abort_handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            abort.abort();
        });
        assert!(matches!(client.call(1), Err(Error::Aborted)));
    });
    client.refresh();
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    assert_ne!(client.state(), State::Ready, "it stays called off until it is cleared");
    abort.clear();
    client.refresh();
    assert_eq!(client.state(), State::Ready);
}

/// Longer than a slice, over every profile: a slow answer is an answer.
#[test]
fn a_slow_answer_is_not_a_timeout() {
    for profile in PROFILES {
        let place = Place::new();
        let _server = Server::start::<Increment>(
            &place.endpoint,
            &server_config(profile),
            |number, reply| {
                thread::sleep(Duration::from_millis(250));
                reply.set(number + 1);
                Ok(())
            },
        )
        .unwrap();
        let mut client = ready::<Increment>(&place, &client_config(profile));
        assert_eq!(client.call(1).unwrap(), 2);
        assert_eq!(client.status().reconnects, 0);
    }
}

fn snapshot_image(items: u32) -> SnapshotImage {
    SnapshotImage::build(1 << 20, |builder| {
        builder.set_generation(u64::from(items));
        for index in 0..items {
            let (name, path) = (format!("cgroup-{index}"), format!("/sys/fs/cgroup/unit-{index}"));
            builder.push(&SnapshotItem {
                hash: index,
                options: 0,
                enabled: 1,
                name: name.as_bytes(),
                path: path.as_bytes(),
            })?;
        }
        Ok(())
    })
    .unwrap()
}

#[test]
fn snapshots_of_every_size_arrive_whole() {
    for profile in PROFILES {
        for items in [0, 1, 16, 1000, 5000] {
            let place = Place::new();
            let image = snapshot_image(items);
            let _server = Server::start::<CgroupsSnapshot>(
                &place.endpoint,
                &server_config(profile),
                move |_, reply| Ok(reply.set_image(&image)?),
            )
            .unwrap();
            let mut client = ready::<CgroupsSnapshot>(&place, &client_config(profile));
            let snapshot = client.call(()).unwrap();
            assert_eq!((snapshot.len(), snapshot.generation()), (items as usize, items.into()));
            for (index, item) in snapshot.iter().enumerate() {
                let item = item.unwrap();
                assert_eq!(item.hash, index as u32);
                assert_eq!(item.name, format!("cgroup-{index}").as_bytes());
                assert_eq!(item.path, format!("/sys/fs/cgroup/unit-{index}").as_bytes());
            }
        }
    }
}

/// Shared memory keeps an image that was sent; what comes in between must not be lost.
#[test]
fn images_that_are_sent_again_are_those() {
    for profile in PROFILES {
        let place = Place::new();
        // What each answer says, and whether it is filled in or made before.
        let answers =
            [(3, true), (3, true), (4, true), (3, false), (4, true), (4, true), (3, true)];
        let images = [3, 4].map(snapshot_image);
        let asked = AtomicU32::new(0);
        let _server = Server::start::<CgroupsSnapshot>(
            &place.endpoint,
            &server_config(profile),
            move |_, reply| {
                let (items, made) = answers[asked.fetch_add(1, Ordering::Relaxed) as usize];
                if made {
                    return Ok(reply.set_image(&images[items as usize - 3])?);
                }
                let (name, path) = (b"another", b"/another");
                let item = SnapshotItem { hash: 99, options: 0, enabled: 1, name, path };
                (0..items).try_for_each(|_| Ok(reply.builder().push(&item)?))
            },
        )
        .unwrap();
        let mut client = ready::<CgroupsSnapshot>(&place, &client_config(profile));
        for (items, made) in answers {
            let snapshot = client.call(()).unwrap();
            let hashes: Vec<u32> = snapshot.iter().map(|item| item.unwrap().hash).collect();
            let expected: Vec<u32> = (0..items).map(|hash| if made { hash } else { 99 }).collect();
            assert_eq!(hashes, expected);
        }
    }
}

fn cgroups(place: &Place, config: &ServerConfig, generation: fn(&[u8]) -> u64) -> Server {
    Server::start::<CgroupsLookup>(&place.endpoint, config, move |request, reply| {
        reply.set_generation(generation(request.path(0).unwrap_or_default()));
        while let Some(path) = reply.next_path() {
            match path.get(1) {
                Some(b'u') => reply.unknown_permanent()?,
                Some(b'l') => reply.known(Orchestrator::K8S, &vec![b'n'; 100_000], &[])?,
                _ => reply.known(Orchestrator::DOCKER, &path[1..], &[(b"k", path)])?,
            };
        }
        Ok(())
    })
    .unwrap()
}

#[test]
fn look_ups_of_any_number_of_keys_are_put_together() {
    for profile in PROFILES {
        let place = Place::new();
        // Small limits, so that both requests and responses are split.
        let offer = Offer { request: limit(4096, 1), response: limit(8192, 1), ..only(profile) };
        let config = ServerConfig { offer, ..ServerConfig::default() };
        let _server = cgroups(&place, &config, |_| 7);
        let mut client = ready::<CgroupsLookup>(&place, &client_config(profile));
        assert!(client.lookup(&[]).unwrap().is_empty());
        let paths: Vec<Vec<u8>> = (0..2000)
            .map(|index| match index % 500 {
                3 => b"/unknown".to_vec(),
                4 => b"/large".to_vec(),
                _ => format!("/cgroup/{index}").into_bytes(),
            })
            .collect();
        let keys: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let response = client.lookup(&keys).unwrap();
        assert_eq!((response.len(), response.generation()), (2000, 7));
        for (item, key) in response.iter().zip(&keys) {
            let item = item.unwrap();
            assert_eq!(item.path, *key);
            let expected = match key[1] {
                b'u' => CgroupStatus::UnknownPermanent,
                b'l' => CgroupStatus::OversizedItem,
                _ => CgroupStatus::Known,
            };
            assert_eq!(item.status, expected);
            assert!(expected != CgroupStatus::Known || item.labels.iter().eq([(&b"k"[..], *key)]));
        }
    }
}

#[test]
fn a_path_that_no_request_can_hold_is_oversized() {
    let place = Place::new();
    let _server = cgroups(&place, &ServerConfig::default(), |_| 7);
    let mut client = ready::<CgroupsLookup>(&place, &client_config(Profiles::BASELINE));
    let long = vec![b'x'; 2 << 20];
    let keys: [&[u8]; 3] = [b"/a", &long, b"/b"];
    let response = client.lookup(&keys).unwrap();
    let statuses: Vec<_> = response.iter().map(|item| item.unwrap().status).collect();
    assert_eq!(statuses, [CgroupStatus::Known, CgroupStatus::OversizedItem, CgroupStatus::Known]);
    assert_eq!(response.item(1).unwrap().path, long);
}

#[test]
fn generations_must_not_mix() {
    let place = Place::new();
    let offer = Offer { request: limit(64, 1), ..BASELINE };
    let config = ServerConfig { offer, ..ServerConfig::default() };
    let _server = cgroups(&place, &config, |path| path.len() as u64);
    let config = ClientConfig { offer, ..client_config(Profiles::BASELINE) };
    let mut client = ready::<CgroupsLookup>(&place, &config);
    assert!(client.lookup(&[b"/aaaaaaaaaaaaaaaa", b"/bbbbbbbbbbbbbbbb"]).is_ok());
    let mixed = client.lookup(&[b"/aaaaaaaaaaaaaaaa", b"/bbbbbbbbbbbbbbbbbbbb"]).map(drop);
    assert!(matches!(mixed, Err(Error::Malformed(_))), "{mixed:?}");
}

#[test]
fn look_ups_have_ceilings() {
    let place = Place::new();
    let offer = Offer { request: limit(64, 1), ..BASELINE };
    let _server = cgroups(&place, &ServerConfig { offer, ..ServerConfig::default() }, |_| 7);
    let lookup = LookupMax { keys: 5, calls: 3, bytes: 300 };
    let config = ClientConfig { offer, lookup, ..client_config(Profiles::BASELINE) };
    let mut client = ready::<CgroupsLookup>(&place, &config);
    let mut refused = |keys: Vec<&[u8]>| match client.lookup(&keys).map(drop) {
        Err(Error::CallTooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(vec![b"/a"; 6]), "keys");
    assert_eq!(refused(vec![b"/a"; 5]), "bytes");
    let long: &[u8] = b"/unknown-and-quite-long-too";
    assert_eq!(refused(vec![long; 4]), "calls");
}

/// Whatever it is spent on: an answer, or a connection in the middle of it.
#[test]
fn a_look_up_takes_the_time_that_it_is_given() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let config = ClientConfig { timeout: Duration::ZERO, offer: BASELINE, ..Default::default() };
    let mut client = Client::<AppsLookup>::new(&place.endpoint, &config);
    thread::spawn(move || {
        let _silent = listener.serve();
        let refusing = listener.serve();
        let request = Header::decode(&refusing.recv().unwrap()).unwrap();
        refusing.send(&message(request.response(Status::LIMIT_EXCEEDED), &[]));
        // No more room at the second attempt, and no word at the third.
        let _as_small = listener.serve();
        let _mute = listener.accept();
        listener.accept();
    });
    for timeout in [50, 500].map(Duration::from_millis) {
        client.refresh();
        let looked_up = client.lookup_within(&[Pid(1), Pid(2)], timeout).map(drop);
        assert!(matches!(looked_up, Err(Error::Timeout)), "{looked_up:?}");
    }
}

#[test]
fn processes_are_looked_up() {
    for profile in PROFILES {
        let place = Place::new();
        let offer = Offer { response: limit(8192, 1), ..only(profile) };
        let config = ServerConfig { offer, ..ServerConfig::default() };
        let _server = Server::start::<AppsLookup>(&place.endpoint, &config, |_, reply| {
            reply.set_generation(3);
            while let Some(pid) = reply.next_pid() {
                let app = App {
                    parent: Pid(1),
                    uid: None,
                    starttime_jiffies: pid.0.into(),
                    comm: b"worker",
                    cgroup: AppCgroup::HostRoot,
                };
                if pid.0 % 2 == 0 {
                    reply.known(&app)?
                } else {
                    reply.unknown()?
                };
            }
            Ok(())
        })
        .unwrap();
        let mut client = ready::<AppsLookup>(&place, &client_config(profile));
        let pids: Vec<Pid> = (0..8192).map(Pid).collect();
        let response = client.lookup(&pids).unwrap();
        assert_eq!(response.len(), 8192);
        for (item, pid) in response.iter().zip(pids) {
            let item = item.unwrap();
            let known = if pid.0 % 2 == 0 { AppStatus::Known } else { AppStatus::Unknown };
            assert_eq!((item.pid, item.status), (pid, known));
        }
    }
}

/// After each attack an ordinary client is served.
#[test]
fn attacks_harm_only_themselves() {
    let place = Place::new();
    let server = incrementer(&place, &server_config(Profiles::BASELINE));
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..100 {
        let raw = if round % 4 == 0 {
            Raw::connect(&place.endpoint)
        } else {
            Raw::client(&place.endpoint)
        };
        let noise: Vec<u8> = (0..1 + random() % 400).map(|_| random() as u8).collect();
        match round % 5 {
            0 => raw.send(&noise),
            1 => raw
                .send(&Header { payload_len: 90, ..Header::request(Code::INCREMENT, 1) }.encode()),
            2 => raw.send(
                &Header { payload_len: u32::MAX, ..Header::request(Code::INCREMENT, 1) }.encode(),
            ),
            3 => raw.send(&message(Header::request(Code::INCREMENT, 1), &[])[..16]),
            _ => raw.send(&message(Header::request(Code::INCREMENT, 1).with_batch(3), &noise)),
        }
        drop(raw);
        until("an ordinary client is served", || {
            let mut client =
                Client::<Increment>::new(&place.endpoint, &client_config(Profiles::BASELINE));
            client.refresh();
            client.is_ready() && client.call(1).is_ok_and(|answer| answer == 2)
        });
    }
    server.stop();
}
