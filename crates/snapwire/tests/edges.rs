//! What rarely happens: providers that answer oddly, regions that cannot be used, empty things, and
//! what all of it is called.

mod support;

use snapwire::codec::{
    App, AppCgroup, AppStatus, AppsReply, AppsRequest, Batch, BatchBuilder, CgroupStatus,
    CgroupsReply, CgroupsRequest, Chunk, Code, Fault, HEADER_LEN, Header, Hello, HelloAck,
    Orchestrator, Pid, Profiles, SnapshotRequest, Status,
};
use snapwire::{
    AppsLookup, Buffer, CgroupsLookup, CgroupsSnapshot, Client, ClientConfig, Error, Increment,
    Listener, Offer, Patience, Server, ServerConfig, Session, SnapshotCache, SnapshotImage, State,
};
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;
use support::*;

fn patience() -> Patience<'static> {
    Patience::new(Duration::from_secs(20))
}

fn config() -> ClientConfig {
    ClientConfig { offer: BASELINE, timeout: Duration::from_secs(20), ..ClientConfig::default() }
}

#[test]
fn every_name_tells_something_else() {
    let states = [
        State::Disconnected,
        State::Connecting,
        State::Ready,
        State::NotFound,
        State::Denied,
        State::AuthFailed,
        State::Incompatible,
        State::Broken,
    ];
    let faults = [
        Fault::Truncated,
        Fault::BadMagic,
        Fault::BadVersion,
        Fault::BadHeaderLen,
        Fault::BadKind,
        Fault::BadLayout,
        Fault::OutOfBounds,
        Fault::MissingNul,
        Fault::BadAlignment,
        Fault::BadItemCount,
        Fault::OtherLayout,
    ];
    let names: Vec<String> = states
        .iter()
        .map(ToString::to_string)
        .chain(faults.iter().map(ToString::to_string))
        .chain((0..9).map(|status| Status(status).to_string()))
        .chain([Code(77).to_string(), Pid(78).to_string(), snapwire::SessionId(79).to_string()])
        .collect();
    let distinct: HashSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    let place = Place::new();
    assert_eq!(place.endpoint.to_string(), place.endpoint.socket_path().to_str().unwrap());
}

#[test]
fn nothing_is_something_as_well() {
    let place = Place::new();
    let image = SnapshotImage::build(64, |builder| {
        builder.set_systemd_enabled(1);
        Ok(())
    })
    .unwrap();
    let _server = Server::start::<CgroupsSnapshot>(
        &place.endpoint,
        &ServerConfig::default(),
        move |_, reply| Ok(reply.set_image(&image)?),
    )
    .unwrap();
    let cache = SnapshotCache::new(&place.endpoint, &ClientConfig::default());
    assert!(!cache.is_populated() && cache.status().age.is_none());
    cache.refresh().unwrap();
    let snapshot = cache.load();
    assert!(cache.is_populated() && snapshot.is_empty() && cache.status().age.is_some());
    assert_eq!((snapshot.systemd_enabled(), snapshot.iter().len()), (1, 0));
    let mut room = [0; 16];
    let builder = BatchBuilder::new(&mut room, 1).unwrap();
    assert_eq!((builder.len(), builder.is_empty()), (0, true));
    assert!(Batch::new(&[], 0).unwrap().is_empty());
    let length = CgroupsRequest::encode(&[], &mut room).unwrap();
    assert!(CgroupsRequest::decode(&room[..length]).unwrap().is_empty());
    let length = AppsRequest::encode(&[], &mut room).unwrap();
    assert!(AppsRequest::decode(&room[..length]).unwrap().is_empty());
}

/// Snapshots in a batch: what was made before is copied into each place.
#[test]
fn a_batch_of_snapshots() {
    let place = Place::new();
    let image = SnapshotImage::build(256, |builder| {
        builder.set_generation(9);
        Ok(())
    })
    .unwrap();
    let copy = image.as_bytes().to_vec();
    let config = ServerConfig { offer: BASELINE, ..ServerConfig::default() };
    let _server = Server::start::<CgroupsSnapshot>(&place.endpoint, &config, move |_, reply| {
        Ok(reply.set_image(&image)?)
    })
    .unwrap();
    let raw = Raw::client(&place.endpoint);
    let mut payload = [0; 64];
    let mut builder = BatchBuilder::new(&mut payload, 2).unwrap();
    for _ in 0..2 {
        builder.push(&SnapshotRequest.encode()).unwrap();
    }
    let (length, count) = builder.finish();
    let request = Header::request(Code::CGROUPS_SNAPSHOT, 5).with_batch(count);
    raw.send(&message(request, &payload[..length]));
    let answer = raw.recv().unwrap();
    assert_eq!(Header::decode(&answer).unwrap().status, Status::OK);
    let items = Batch::new(&answer[HEADER_LEN..], 2).unwrap();
    assert!(items.iter().eq([copy.as_slice(), copy.as_slice()]));
}

/// A server that answers each request of a kind with a payload of these, over as many connections
/// as it takes.
fn answering<T>(
    place: &Place,
    answers: Vec<Result<Vec<u8>, Status>>,
    ask: impl FnOnce() -> T,
) -> T {
    let listener = Raw::listen(&place.endpoint);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut answers = answers.into_iter().peekable();
            while answers.peek().is_some() {
                let raw = listener.serve();
                while let Some(packet) = raw.recv() {
                    let request = Header::decode(&packet).unwrap();
                    let Some(answer) = answers.next() else {
                        return;
                    };
                    raw.send(&match answer {
                        Ok(payload) => message(request.response(Status::OK), &payload),
                        Err(status) => message(request.response(status), &[]),
                    });
                }
            }
        });
        ask()
    })
}

/// An answer about these paths, whatever was asked, in so much room.
fn about(paths: &[&[u8]], room: usize) -> Result<Vec<u8>, Status> {
    let (mut request, mut payload) = (vec![0; 4096], vec![0; room]);
    let length = CgroupsRequest::encode(paths, &mut request).unwrap();
    let request = CgroupsRequest::decode(&request[..length]).unwrap();
    let mut reply = CgroupsReply::new(request, &mut payload).unwrap();
    while let Some(path) = reply.next_path() {
        if reply.is_full() {
            reply.unknown_retry_later().unwrap();
        } else {
            reply
                .known(Orchestrator::DOCKER, &[path, [b'n'; 40].as_slice()].concat(), &[])
                .unwrap();
        }
    }
    let length = reply.finish().unwrap();
    payload.truncate(length);
    Ok(payload)
}

#[test]
fn providers_that_answer_something_else_are_not_believed() {
    let paths: [&[u8]; 3] = [b"/a", b"/b", b"/c"];
    // Where the status of an answer's item is.
    let status_of = |answer: &[u8], item: usize| {
        let at = 16 + 8 * item;
        16 + 8 * 3 + u32::from_ne_bytes(answer[at..at + 4].try_into().unwrap()) as usize + 2
    };
    // The first answer has no room for the third item, and claims to have no room for the second.
    let mut gap = about(&paths, 270).unwrap();
    let (second, third) = (status_of(&gap, 1), status_of(&gap, 2));
    assert_eq!((gap[second], gap[third]), (0, 3), "the room is not what this test thinks");
    gap[second] = 3;
    for (what, answers) in [
        ("two of three", vec![about(&paths[..2], 4096); 2]),
        ("another path", vec![about(&[b"/a", b"/x", b"/c"], 4096)]),
        ("an item that is exceeded and has a name", vec![Ok(gap)]),
    ] {
        let place = Place::new();
        let error = answering(&place, answers, || {
            let mut client = Client::<CgroupsLookup>::new(&place.endpoint, &config());
            client.refresh();
            client.lookup(&paths).map(|_| ()).unwrap_err()
        });
        assert!(matches!(error, Error::Malformed(_)), "{what}: {error}");
    }
    // Who is told that it is too much asks for less.
    let place = Place::new();
    let answers =
        vec![Err(Status::LIMIT_EXCEEDED), about(&paths[..1], 4096), about(&paths[1..], 4096)];
    let found = answering(&place, answers, || {
        let mut client = Client::<CgroupsLookup>::new(&place.endpoint, &config());
        client.refresh();
        client.lookup(&paths).map(|response| response.len())
    });
    assert_eq!(found.unwrap(), 3);
}

/// Answers about processes that do not fit one response are asked for again, down to the single
/// one that fits none.
#[test]
fn processes_come_in_parts() {
    let place = Place::new();
    let offer = Offer { response: limit(700, 1), ..BASELINE };
    let server = ServerConfig { offer, ..ServerConfig::default() };
    let path = [b'p'; 300];
    let _server = Server::start::<AppsLookup>(&place.endpoint, &server, move |_, reply| {
        while let Some(pid) = reply.next_pid() {
            if reply.is_full() {
                reply.unknown()?;
                continue;
            }
            let long = [b'l'; 900];
            let path: &[u8] = if pid == Pid(7) { &long } else { &path };
            reply.known(&App {
                parent: Pid(1),
                uid: None,
                starttime_jiffies: 1,
                comm: b"worker",
                cgroup: AppCgroup::UnknownPermanent { path },
            })?;
        }
        Ok(())
    })
    .unwrap();
    let mut client = Client::<AppsLookup>::new(&place.endpoint, &config());
    client.refresh();
    let pids: Vec<Pid> = (1..10).map(Pid).collect();
    let response = client.lookup(&pids).unwrap();
    for (item, pid) in response.iter().zip(&pids) {
        let item = item.unwrap();
        let oversized = *pid == Pid(7);
        let status = if oversized { AppStatus::OversizedItem } else { AppStatus::Known };
        assert_eq!((item.pid, item.status), (*pid, status));
        assert!(oversized || item.cgroup_path == path);
    }
    assert!(client.status().calls > 4, "{} calls", client.status().calls);
}

/// A handler whose answers are not allowed is told so, and the client that it failed.
#[test]
fn answers_that_are_not_allowed() {
    let mut request = [0; 64];
    let length = AppsRequest::encode(&[Pid(1)], &mut request).unwrap();
    let request = AppsRequest::decode(&request[..length]).unwrap();
    let good = App {
        parent: Pid(1),
        uid: Some(1),
        starttime_jiffies: 1,
        comm: b"worker",
        cgroup: AppCgroup::UnknownPermanent { path: b"/p" },
    };
    for bad in [
        App { uid: Some(u32::MAX), ..good },
        App { comm: b"", ..good },
        App { comm: b"sixteen-bytes-xx", ..good },
        App { cgroup: AppCgroup::UnknownPermanent { path: b"" }, ..good },
    ] {
        let mut room = [0; 512];
        let mut reply = AppsReply::new(request, &mut room).unwrap();
        assert!(reply.known(&bad).is_err(), "{bad:?}");
        assert!(reply.finish().is_err(), "an error stays");
    }
    let mut room = [0; 512];
    let mut reply = AppsReply::new(request, &mut room).unwrap();
    reply.known(&good).unwrap();
    assert!(reply.finish().is_ok());
}

/// A path that no response can hold, even alone, is oversized to the client.
#[test]
fn an_answer_that_fits_no_response() {
    let place = Place::new();
    let offer = Offer { response: limit(200, 1), ..BASELINE };
    let server = ServerConfig { offer, ..ServerConfig::default() };
    let _server = Server::start::<CgroupsLookup>(&place.endpoint, &server, |_, reply| {
        while reply.next_path().is_some() {
            reply.known(Orchestrator::KVM, &[b'n'; 400], &[])?;
        }
        Ok(())
    })
    .unwrap();
    let mut client = Client::<CgroupsLookup>::new(&place.endpoint, &config());
    client.refresh();
    let response = client.lookup(&[b"/a", b"/b"]).unwrap();
    assert!(response.iter().all(|item| item.unwrap().status == CgroupStatus::OversizedItem));
}

/// A client that was promised a region and cannot use it comes back over the socket, and stays there.
#[test]
fn without_its_region_a_client_takes_the_socket() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let path = place.endpoint.region_path(snapwire::SessionId(1));
    let mut header = [0; 4096];
    header[..8].copy_from_slice(&[0x4d, 0x48, 0x53, 0x4e, 2, 0, 64, 0]);
    std::fs::write(path, header).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let promised = listener.accept();
            let hello = Hello::decode(&promised.recv().unwrap()[HEADER_LEN..]).unwrap();
            assert!(hello.supported.intersects(Profiles::SHM));
            let ack = HelloAck { selected: Profiles::SHM_HYBRID, ..plain_ack(&hello) };
            promised.send(&ack_packet(Status::OK, &ack));
            let again = listener.accept();
            let hello = Hello::decode(&again.recv().unwrap()[HEADER_LEN..]).unwrap();
            assert_eq!(hello.supported, Profiles::BASELINE, "never again in this client's life");
            again.send(&ack_packet(Status::OK, &plain_ack(&hello)));
            let request = Header::decode(&again.recv().unwrap()).unwrap();
            again.send(&message(request.response(Status::OK), &42u64.to_ne_bytes()));
        });
        let mut client = Client::<Increment>::new(&place.endpoint, &ClientConfig::default());
        assert!(client.refresh());
        assert_eq!(client.terms().unwrap().profile, Profiles::BASELINE);
        assert_eq!(client.call(41).unwrap(), 42);
    });
}

#[test]
fn a_pipeline_that_breaks_leaves_a_client_that_knows() {
    let place = Place::new();
    let mut client = Client::<Increment>::new(&place.endpoint, &config());
    let error = client.pipeline(0..4, 2, |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, Error::NotReady(_)));
    let listener = Raw::listen(&place.endpoint);
    thread::scope(|scope| {
        scope.spawn(|| {
            let raw = listener.serve();
            let [first, _] = [0; 2].map(|_| Header::decode(&raw.recv().unwrap()).unwrap());
            raw.send(&message(first.response(Status::OK), &1u64.to_ne_bytes()));
        });
        client.refresh();
        let mut taken = Vec::new();
        let piped = client.pipeline(0..40, 2, |index, answer| {
            taken.push((index, answer));
            Ok(())
        });
        assert!(piped.is_err());
        assert_eq!((client.state(), taken.as_slice()), (State::Broken, &[(0, 1)][..]));
    });
}

/// A listener waits for a client, and then for its first word; who comes later gets another offer.
#[test]
fn a_listener_waits() {
    let place = Place::new();
    let mut listener = Listener::bind(&place.endpoint, &BASELINE).unwrap();
    let brief = &mut Patience::new(Duration::from_millis(20));
    assert!(matches!(listener.accept(brief).unwrap_err(), Error::Timeout));
    for size in [100, 200] {
        listener.set_offer(&Offer { packet_size: size, ..BASELINE });
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                let raw = Raw::connect(&place.endpoint);
                thread::sleep(Duration::from_millis(50));
                raw.hello(&plain_hello()).1
            });
            let session = listener.accept(&mut patience()).unwrap();
            assert_eq!(session.terms().packet_size, size);
            assert_eq!(client.join().unwrap().packet_size, size);
        });
    }
}

/// A server's session with a raw client, packets of 64 bytes.
fn small_packets(packets: &[Vec<u8>]) -> (Session, Error) {
    let place = Place::new();
    let offer = Offer { packet_size: 64, ..BASELINE };
    let mut listener = Listener::bind(&place.endpoint, &offer).unwrap();
    let raw = Raw::connect(&place.endpoint);
    raw.send(&hello_packet(&plain_hello()));
    let mut session = listener.accept(&mut patience()).unwrap();
    for packet in packets {
        raw.send(packet);
    }
    let error = session.recv(&mut Buffer::new(), &mut patience()).unwrap_err();
    (session, error)
}

#[test]
fn packets_are_as_long_as_was_agreed() {
    let (mut session, error) =
        small_packets(&[message(Header::request(Code::INCREMENT, 1), &[0; 68])]);
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    let again = session.recv(&mut Buffer::new(), &mut patience()).unwrap_err();
    assert!(matches!(again, Error::Disconnected), "after an error the session is over");
    assert!(rustix::io::fcntl_getfd(session.as_fd()).is_ok(), "the socket is there to poll");
    // Three packets are announced, and all comes with the second.
    let whole = message(Header::request(Code::INCREMENT, 1), &[5; 96]);
    let chunk =
        Chunk { message_id: 1, total_message_len: 128, index: 1, count: 3, payload_len: 64 };
    let second = [&chunk.encode()[..], &[5; 64]].concat();
    let (_session, error) = small_packets(&[whole[..64].to_vec(), second]);
    assert!(matches!(error, Error::Malformed(fault) if fault.fault == Fault::BadItemCount));
}

/// A message that is overwritten before it was read is not taken for the next one.
#[test]
fn a_message_that_was_skipped_in_shared_memory() {
    let place = Place::new();
    let offer = only(Profiles::SHM_HYBRID);
    let mut listener = Listener::bind(&place.endpoint, &offer).unwrap();
    let (_client, mut server) = thread::scope(|scope| {
        let client = scope.spawn(|| Session::connect(&place.endpoint, &offer, &mut patience()));
        let server = listener.accept(&mut patience()).unwrap();
        (client.join().unwrap().unwrap(), server)
    });
    let path = place.endpoint.region_path(server.terms().session);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&2u64.to_ne_bytes(), 32).unwrap();
    let error = server.recv(&mut Buffer::new(), &mut patience()).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert!(server.is_over());
}
