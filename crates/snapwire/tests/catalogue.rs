//! The contract's catalogue of validations: chaos, hardening, many clients, stress. The first line
//! of each test names its entry; `docs/snapwire-validations.md` lists them all.

mod support;

use snapwire::codec::{
    BatchBuilder, Chunk, Code, Header, Profiles, SnapshotBuilder, SnapshotItem, Status,
};
use snapwire::{
    CgroupsSnapshot, Client, ClientConfig, Endpoint, Error, Failure, Increment, Listener, Offer,
    Server, ServerConfig, Service, SnapshotCache, SnapshotImage, State, StringReverse,
};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

const PROFILES: [Profiles; 3] = [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_WAITERS];
const INCREMENT: Code = Code::INCREMENT;

/// The number that the handler refuses.
const UNLUCKY: u64 = u64::MAX;

/// Adds one.
fn incrementer(place: &Place, config: &ServerConfig) -> Server {
    Server::start::<Increment>(&place.endpoint, config, |number, reply| {
        if number == UNLUCKY {
            return Err(Failure::Refused);
        }
        reply.set(number + 1);
        Ok(())
    })
    .unwrap()
}

/// A connected client, sooner or later.
fn ready<S: Service>(endpoint: &Endpoint, profile: Profiles) -> Client<S> {
    let mut client = Client::new(endpoint, &client_config(profile));
    until("a connection", || {
        client.refresh();
        client.is_ready()
    });
    client
}

/// What must hold after every attack.
fn assert_serves(place: &Place, profile: Profiles) {
    let mut client = ready::<Increment>(&place.endpoint, profile);
    assert_eq!(client.call(41).unwrap(), 42);
}

/// One request, valid unless it is changed.
fn request(id: u64) -> Vec<u8> {
    message(Header::request(INCREMENT, id), &1u64.to_ne_bytes())
}

/// Attacks a server over the socket, and then asks it as an ordinary client.
fn attacked(rounds: u32, attack: impl Fn(&Place, &mut Dice, u32)) {
    let place = Place::new();
    let server = incrementer(&place, &server_config(Profiles::BASELINE));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..rounds {
        attack(&place, &mut dice, round);
        assert_serves(&place, Profiles::BASELINE);
    }
    until("no session is left", || server.status().sessions == 0);
}

fn send_noise(place: &Place, dice: &mut Dice) {
    Raw::client(&place.endpoint).send(&dice.bytes(500));
}

fn send_truncated(place: &Place) {
    let raw = Raw::client(&place.endpoint);
    raw.send(&request(1)[..36]);
}

fn send_wrong_magic(place: &Place) {
    let raw = Raw::client(&place.endpoint);
    let mut packet = request(1);
    packet[0] ^= 0xff;
    raw.send(&packet);
    assert_eq!(raw.recv(), None, "the session is over");
}

fn send_over_limit(place: &Place) {
    let raw = Raw::client(&place.endpoint);
    raw.send(&Header { payload_len: u32::MAX, ..Header::request(INCREMENT, 1) }.encode());
    assert_eq!(raw.recv(), None, "the session is over");
}

fn abandon_chunks(place: &Place) {
    let raw = Raw::client(&place.endpoint);
    let whole = message(Header::request(INCREMENT, 7), &[5; 900]);
    raw.send(&whole[..332]);
    let chunk =
        Chunk { message_id: 7, total_message_len: 932, index: 1, count: 3, payload_len: 300 };
    raw.send(&[&chunk.encode()[..], &whole[332..632]].concat());
}

fn send_half_a_header(place: &Place) {
    Raw::client(&place.endpoint).send(&request(1)[..16]);
}

/// Chaos: 100 rounds of random bytes after a valid handshake.
#[test]
fn random_bytes_after_the_handshake() {
    attacked(100, |place, dice, _| send_noise(place, dice));
}

/// Chaos: valid header with truncated payload.
#[test]
fn a_payload_that_is_cut_off() {
    attacked(5, |place, _, _| send_truncated(place));
}

/// Chaos: wrong magic.
#[test]
fn a_wrong_magic_number() {
    attacked(5, |place, _, _| send_wrong_magic(place));
}

/// Chaos: payload_len over limit.
#[test]
fn a_length_over_the_limit() {
    attacked(5, |place, _, _| send_over_limit(place));
}

/// Chaos: chunked message abandoned half way.
#[test]
fn a_message_abandoned_half_way() {
    attacked(5, |place, _, _| abandon_chunks(place));
}

/// Chaos: connect and stay silent 100 ms.
#[test]
fn a_silent_client() {
    let place = Place::new();
    let _server = incrementer(&place, &server_config(Profiles::BASELINE));
    let silent = [0; 3].map(|_| Raw::connect(&place.endpoint));
    thread::sleep(Duration::from_millis(100));
    assert_serves(&place, Profiles::BASELINE);
    drop(silent);
    assert_serves(&place, Profiles::BASELINE);
}

/// Chaos: half a header then close.
#[test]
fn half_a_header() {
    attacked(5, |place, _, _| send_half_a_header(place));
}

/// Chaos: random bytes published in the SHM request area.
#[test]
fn random_bytes_in_shared_memory() {
    let place = Place::new();
    let config = ServerConfig { workers: 64, ..server_config(Profiles::SHM_HYBRID) };
    let server = incrementer(&place, &config);
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for _ in 0..10 {
        let raw = Raw::connect(&place.endpoint);
        let hello = snapwire::codec::Hello { supported: Profiles(3), ..plain_hello() };
        let (header, ack) = raw.hello(&hello);
        assert_eq!((header.status, ack.selected), (Status::OK, Profiles::SHM_HYBRID));
        let path = place.endpoint.region_path(snapwire::SessionId(ack.session_id));
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let noise = dice.bytes(900);
        file.write_all_at(&noise, 64).unwrap();
        file.write_all_at(&(noise.len() as u32).to_ne_bytes(), 48).unwrap();
        file.write_all_at(&1u64.to_ne_bytes(), 32).unwrap();
        assert_eq!(raw.recv(), None, "the session is over");
        assert_serves(&place, Profiles::SHM_HYBRID);
    }
    until("no session is left", || server.status().sessions == 0);
    assert_eq!(place.names(), ["svc.sock"]);
}

/// Chaos: 50 rounds of mixed attacks.
#[test]
fn mixed_attacks() {
    attacked(50, |place, dice, _| match dice.roll() % 7 {
        0 => send_noise(place, dice),
        1 => send_truncated(place),
        2 => send_wrong_magic(place),
        3 => send_over_limit(place),
        4 => abandon_chunks(place),
        5 => send_half_a_header(place),
        _ => Raw::connect(&place.endpoint).send(&dice.bytes(200)),
    });
}

/// Hardening: bad magic or version ends only the bad session.
#[test]
fn a_bad_session_ends_alone() {
    let place = Place::new();
    let _server = incrementer(&place, &server_config(Profiles::BASELINE));
    let mut neighbour = ready::<Increment>(&place.endpoint, Profiles::BASELINE);
    for at in [0, 4] {
        let raw = Raw::client(&place.endpoint);
        let mut packet = request(1);
        packet[at] ^= 1;
        raw.send(&packet);
        assert_eq!(raw.recv(), None);
        assert_eq!(neighbour.call(1).unwrap(), 2);
    }
    assert_eq!(neighbour.status().reconnects, 0, "the other session was not touched");
}

/// Hardening: init error of the raw layer propagated. (A server cannot be made without a handler.)
#[test]
fn a_server_that_cannot_begin_says_why() {
    let missing = Endpoint::new("/nonexistent/run/directory", "svc").unwrap();
    let error = Server::start::<Increment>(&missing, &ServerConfig::default(), |_, _| Ok(()));
    assert!(matches!(error.unwrap_err(), Error::Io { .. }));
    let place = Place::new();
    let _first = incrementer(&place, &ServerConfig::default());
    let error =
        Server::start::<Increment>(&place.endpoint, &ServerConfig::default(), |_, _| Ok(()));
    assert!(matches!(error.unwrap_err(), Error::AddrInUse { .. }));
    assert_serves(&place, Profiles::SHM_WAITERS);
}

/// Hardening: session table growth under forced tiny capacity.
#[test]
fn the_table_of_sessions_grows() {
    let place = Place::new();
    let config = ServerConfig { workers: 40, ..server_config(Profiles::BASELINE) };
    let server = incrementer(&place, &config);
    // One session, then ever more of them, all alive together.
    let mut clients = Vec::new();
    for number in 0..40u64 {
        clients.push(ready::<Increment>(&place.endpoint, Profiles::BASELINE));
        for client in &mut clients {
            assert_eq!(client.call(number).unwrap(), number + 1);
        }
    }
    assert_eq!(server.status().sessions, 40);
    drop(clients);
    until("the table is empty again", || server.status().sessions == 0);
}

/// Hardening: malformed snapshot leaves the cache untouched.
#[test]
fn a_malformed_snapshot_leaves_the_cache() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let config = ClientConfig { offer: BASELINE, ..ClientConfig::default() };
    let cache = SnapshotCache::new(&place.endpoint, &config);
    let mut good = [0; 128];
    let mut builder = SnapshotBuilder::new(&mut good, Some(1)).unwrap();
    builder
        .push(&SnapshotItem { hash: 3, options: 0, enabled: 1, name: b"kept", path: b"/kept" })
        .unwrap();
    let length = builder.finish().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let raw = listener.serve();
            let header = Header::decode(&raw.recv().unwrap()).unwrap();
            raw.send(&message(header.response(Status::OK), &good[..length]));
            // Twice, since a call is made once more over a new connection.
            let mut connected = Some(raw);
            for _ in 0..2 {
                let raw = connected.take().unwrap_or_else(|| listener.serve());
                let header = Header::decode(&raw.recv().unwrap()).unwrap();
                raw.send(&message(header.response(Status::OK), &good[..length - 20]));
                assert_eq!(raw.recv(), None, "the connection is given up");
            }
        });
        cache.refresh().unwrap();
        assert!(cache.refresh().is_err());
        server.join().unwrap();
    });
    let snapshot = cache.load();
    assert_eq!(snapshot.get(3, b"kept").unwrap().path, b"/kept");
    let status = cache.status();
    assert_eq!((status.populated, status.successes, status.failures), (true, 1, 1));
}

/// So many clients at once make so many calls each; says how many answers were right.
fn crowd(place: &Place, clients: u64, calls: u64, profile: impl Fn(u64) -> Profiles + Sync) -> u64 {
    thread::scope(|scope| {
        let profile = &profile;
        let callers: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = ready::<Increment>(&place.endpoint, profile(number));
                    let ask = |call| number << 32 | call;
                    (0..calls)
                        .filter(|call| {
                            client.call(ask(*call)).is_ok_and(|answer| answer == ask(*call) + 1)
                        })
                        .count() as u64
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    })
}

/// Multi-client: 5 clients x 10 requests - each sees only its own data.
#[test]
fn five_clients() {
    for profile in PROFILES {
        let place = Place::new();
        let _server = incrementer(&place, &server_config(profile));
        assert_eq!(crowd(&place, 5, 10, |_| profile), 50);
    }
}

/// Multi-client: 2 workers, 5 clients - at least 2 served correctly, server alive.
#[test]
fn more_clients_than_workers() {
    let place = Place::new();
    let server = incrementer(&place, &ServerConfig { workers: 2, ..ServerConfig::default() });
    let mut clients: Vec<Client<Increment>> = (0..5)
        .map(|_| Client::new(&place.endpoint, &client_config(Profiles::SHM_WAITERS)))
        .collect();
    for client in &mut clients {
        client.refresh();
    }
    let served = clients
        .iter_mut()
        .filter_map(|client| client.call(7).ok())
        .filter(|answer| *answer == 8)
        .count();
    assert_eq!((served, server.status().sessions), (2, 2));
    drop(clients);
    until("both workers are free", || server.status().sessions == 0);
    assert_serves(&place, Profiles::SHM_WAITERS);
}

/// Multi-client: one client dies mid-session - the next one is served.
#[test]
fn a_client_dies_in_the_middle() {
    let place = Place::new();
    let config = ServerConfig { workers: 1, ..server_config(Profiles::BASELINE) };
    let server = incrementer(&place, &config);
    for _ in 0..5 {
        until("the worker is free", || server.status().sessions == 0);
        let raw = Raw::client(&place.endpoint);
        raw.send(&request(1));
        // It goes without taking its answer, and the only worker is free again.
        drop(raw);
        assert_serves(&place, Profiles::BASELINE);
    }
}

/// Multi-client: handler failure in one session - the other session still answers.
#[test]
fn a_handler_fails_for_one() {
    for profile in PROFILES {
        let place = Place::new();
        let _server = incrementer(&place, &server_config(profile));
        let mut unlucky = ready::<Increment>(&place.endpoint, profile);
        let mut other = ready::<Increment>(&place.endpoint, profile);
        let refused = unlucky.call(UNLUCKY).unwrap_err();
        assert!(matches!(refused, Error::Refused(Status::INTERNAL_ERROR)), "{refused}");
        assert_eq!(other.call(1).unwrap(), 2);
        assert_eq!(other.status().reconnects, 0);
        assert!(unlucky.refresh());
        assert_eq!(unlucky.call(1).unwrap(), 2);
    }
}

/// Multi-client: 100 quick connect/call/close cycles - all succeed.
#[test]
fn a_hundred_quick_cycles() {
    for profile in PROFILES {
        let place = Place::new();
        let _server = incrementer(&place, &server_config(profile));
        for _ in 0..100 {
            assert_serves(&place, profile);
        }
    }
}

/// Multi-client: 10 clients x 100 requests - zero errors, no cross-talk.
#[test]
fn ten_clients() {
    let place = Place::new();
    let config = ServerConfig { workers: 10, ..ServerConfig::default() };
    let _server = incrementer(&place, &config);
    assert_eq!(crowd(&place, 10, 100, |number| PROFILES[number as usize % 3]), 1000);
}

/// Multi-client: stop with clients connected - server thread exits, clients finish with errors not
/// hangs.
#[test]
fn a_server_stops_under_its_clients() {
    for profile in PROFILES {
        let place = Place::new();
        let server = incrementer(&place, &server_config(profile));
        thread::scope(|scope| {
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let mut client = ready::<Increment>(&place.endpoint, profile);
                    scope.spawn(move || {
                        loop {
                            match client.call(1) {
                                Ok(answer) => assert_eq!(answer, 2),
                                Err(error) => return (error, client.state()),
                            }
                        }
                    })
                })
                .collect();
            server.stop();
            for caller in callers {
                let (error, state) = caller.join().unwrap();
                assert!(!matches!(error, Error::Timeout), "{error}");
                assert_ne!(state, State::Ready);
            }
        });
        assert_eq!(place.names(), [""; 0]);
    }
}

fn image(items: u32) -> SnapshotImage {
    SnapshotImage::build(1 << 20, |builder| {
        builder.set_generation(u64::from(items));
        (0..items).try_for_each(|hash| {
            let (name, path) = (format!("cgroup-{hash}"), format!("/sys/fs/cgroup/unit-{hash}"));
            let (name, path) = (name.as_bytes(), path.as_bytes());
            builder.push(&SnapshotItem { hash, options: hash % 3, enabled: 1, name, path })
        })
    })
    .unwrap()
}

fn snapshots(place: &Place, config: &ServerConfig, items: u32) -> Server {
    let image = image(items);
    Server::start::<CgroupsSnapshot>(&place.endpoint, config, move |_, reply| {
        Ok(reply.set_image(&image)?)
    })
    .unwrap()
}

/// Every item of a cache, looked up and compared.
fn assert_complete(cache: &SnapshotCache, items: u32) {
    let snapshot = cache.load();
    assert_eq!(snapshot.len(), items as usize);
    for hash in 0..items {
        let item = snapshot.get(hash, format!("cgroup-{hash}").as_bytes()).unwrap();
        assert_eq!(item.path, format!("/sys/fs/cgroup/unit-{hash}").as_bytes());
        assert_eq!((item.options, item.enabled), (hash % 3, 1));
    }
}

/// Stress: snapshot of 1000 items; of 5000 items - every item correct (packet size forced to 65536).
#[test]
fn large_snapshots() {
    for profile in PROFILES {
        for items in [1000, 5000] {
            let place = Place::new();
            let offer = Offer { packet_size: 65536, ..only(profile) };
            let config = ServerConfig { offer, ..ServerConfig::default() };
            let _server = snapshots(&place, &config, items);
            let cache = SnapshotCache::new(&place.endpoint, &client_config(profile));
            cache.refresh().unwrap();
            assert_complete(&cache, items);
        }
    }
}

/// So many clients refresh a cache so many times.
fn refreshers(clients: usize, refreshes: u64) {
    let place = Place::new();
    let config = ServerConfig { workers: clients, ..ServerConfig::default() };
    let _server = snapshots(&place, &config, 100);
    thread::scope(|scope| {
        for number in 0..clients {
            let place = &place;
            scope.spawn(move || {
                let config = client_config(PROFILES[number % 3]);
                let cache = SnapshotCache::new(&place.endpoint, &config);
                // The backlog may be full when all come at once.
                until("the first refresh", || cache.refresh().is_ok());
                let failures = cache.status().failures;
                for _ in 1..refreshes {
                    cache.refresh().unwrap();
                }
                let status = cache.status();
                assert_eq!((status.successes, status.failures), (refreshes, failures));
                assert_complete(&cache, 100);
            });
        }
    });
}

/// Stress: 10 clients x 100 refreshes - no error.
#[test]
fn ten_refreshers() {
    refreshers(10, 100);
}

/// Stress: 50 clients x 10 refreshes - no error.
#[test]
fn fifty_refreshers() {
    refreshers(50, 10);
}

/// Stress: 1000 connect/disconnect cycles - all succeed.
#[test]
fn a_thousand_connections() {
    let place = Place::new();
    let server = incrementer(&place, &server_config(Profiles::BASELINE));
    for _ in 0..1000 {
        let client = ready::<Increment>(&place.endpoint, Profiles::BASELINE);
        assert_eq!(client.status().connects, 1);
    }
    // A session is counted, and open, only after its client was told of it.
    until("all sessions are counted", || server.status().sessions_total >= 1000);
    until("all sessions end", || server.status().sessions == 0);
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Stress: 60 s, 5 clients - no error, no growth. Here 2 s, or `SNAPWIRE_SOAK_S` seconds.
#[test]
fn a_long_run() {
    let seconds = std::env::var("SNAPWIRE_SOAK_S").map_or(2, |text| text.parse().unwrap());
    let place = Place::new();
    let _server = incrementer(&place, &ServerConfig::default());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..5 {
            let (place, stop) = (&place, &stop);
            scope.spawn(move || {
                let mut client = ready::<Increment>(&place.endpoint, PROFILES[number % 3]);
                let mut call = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.call(call).unwrap(), call + 1);
                    call += 1;
                }
                assert_eq!((client.status().calls, client.status().errors), (call, 0));
            });
        }
        thread::sleep(Duration::from_secs(1));
        let before = resident_bytes();
        thread::sleep(Duration::from_secs(seconds - 1));
        // Other tests of this process have memory of their own, but not so much.
        let after = resident_bytes();
        stop.store(true, Ordering::Relaxed);
        assert!(after < before + (64 << 20), "{before} bytes became {after}");
    });
}

/// Stress: 1000 region create/destroy cycles - no file left.
#[test]
fn a_thousand_regions() {
    let place = Place::new();
    let offer = only(Profiles::SHM_HYBRID);
    let mut listener = Listener::bind(&place.endpoint, &offer).unwrap();
    let mut patience = snapwire::Patience::new(Duration::from_secs(20));
    for _ in 0..1000 {
        let raw = Raw::connect(&place.endpoint);
        raw.send(&hello_packet(&snapwire::codec::Hello {
            supported: Profiles(3),
            ..plain_hello()
        }));
        let session = listener.accept(&mut patience).unwrap();
        assert!(place.endpoint.region_path(session.terms().session).exists());
        drop(session);
        assert_eq!(place.names(), ["svc.sock"]);
    }
}

/// Stress: 2 SHM + 1 UDS clients at once - same data.
#[test]
fn both_transports_at_once() {
    let place = Place::new();
    let _server = snapshots(&place, &ServerConfig::default(), 300);
    let payloads: Vec<Vec<u8>> = thread::scope(|scope| {
        let callers = PROFILES.map(|profile| {
            let place = &place;
            scope.spawn(move || {
                let mut client = ready::<CgroupsSnapshot>(&place.endpoint, profile);
                assert_eq!(client.terms().unwrap().profile, profile);
                for _ in 0..20 {
                    assert_eq!(client.call(()).unwrap().len(), 300);
                }
                client.last_response().to_vec()
            })
        });
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(payloads[0], image(300).as_bytes());
    assert!(payloads.iter().all(|payload| *payload == payloads[0]));
}

/// Beyond the catalogue: a client that asks without end and reads nothing is let go, and the others
/// are served meanwhile.
#[test]
fn a_flooding_client() {
    let place = Place::new();
    let config = ServerConfig {
        stall: Duration::from_millis(200),
        workers: 2,
        ..server_config(Profiles::BASELINE)
    };
    let server = incrementer(&place, &config);
    let flood = Raw::client(&place.endpoint);
    let mut payload = vec![0; 1024];
    let mut builder = BatchBuilder::new(&mut payload, 16).unwrap();
    for number in 0..16u64 {
        builder.push(&number.to_ne_bytes()).unwrap();
    }
    let (length, count) = builder.finish();
    thread::scope(|scope| {
        let flooder = scope.spawn(move || {
            let mut sent = 0u64;
            while flood.try_send(&message(
                Header::request(INCREMENT, sent).with_batch(count),
                &payload[..length],
            )) {
                sent += 1;
            }
            sent
        });
        for _ in 0..10 {
            assert_serves(&place, Profiles::BASELINE);
        }
        assert!(flooder.join().unwrap() > 0);
    });
    until("the flood's worker is free", || server.status().sessions == 0);
}

/// Beyond the catalogue: a client that sends a message's start and then one packet at a time is
/// bounded by the time for the whole message.
#[test]
fn a_trickling_client() {
    let place = Place::new();
    let config = ServerConfig {
        offer: Offer { request: limit(1 << 20, 1), ..BASELINE },
        stall: Duration::from_millis(200),
        ..ServerConfig::default()
    };
    let _server = Server::start::<StringReverse>(&place.endpoint, &config, |_, _| Ok(())).unwrap();
    let raw = Raw::client(&place.endpoint);
    raw.send(&Header { payload_len: 1000, ..Header::request(Code::STRING_REVERSE, 1) }.encode());
    let began = Instant::now();
    let mut index = 1;
    loop {
        // A byte each, so that it would take for ever.
        let chunk =
            Chunk { message_id: 1, total_message_len: 1032, index, count: 2, payload_len: 1 };
        if !raw.try_send(&[&chunk.encode()[..], &[0]].concat()) {
            break;
        }
        index += 1;
        assert!(began.elapsed() < Duration::from_secs(20), "it goes on and on");
        thread::sleep(Duration::from_millis(20));
    }
}
