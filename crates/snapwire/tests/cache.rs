//! The snapshot cache: what it keeps, for whom, and for how long.

mod support;

use snapwire::codec::{Profiles, SnapshotItem};
use snapwire::{
    CgroupsSnapshot, ClientConfig, Endpoint, Error, Failure, Server, ServerConfig, SnapshotCache,
    SnapshotReply, State,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::*;

/// Serves as many items as the number says at the time, all of that generation.
fn serve(endpoint: &Endpoint, items: &Arc<AtomicU32>, profile: Profiles) -> Server {
    let items = Arc::clone(items);
    let fill = move |reply: &mut SnapshotReply<'_>| {
        let count = items.load(Ordering::Acquire);
        if count == u32::MAX {
            return Err(Failure::Refused);
        }
        reply.builder().set_generation(count.into());
        reply.builder().set_systemd_enabled(1);
        for index in 0..count {
            let name = format!("cgroup-{index}");
            let path = format!("/{count}");
            let (name, path) = (name.as_bytes(), path.as_bytes());
            // Hashes that all collide, so that names decide.
            let item = SnapshotItem { hash: index % 3, options: 0, enabled: 1, name, path };
            reply.builder().push(&item)?;
        }
        Ok(())
    };
    let config = ServerConfig { offer: only(profile), ..ServerConfig::default() };
    Server::start::<CgroupsSnapshot>(endpoint, &config, move |_, reply| fill(reply)).unwrap()
}

#[test]
fn what_was_there_stays_when_the_service_fails() {
    for profile in [Profiles::BASELINE, Profiles::SHM_WAITERS] {
        let place = Place::new();
        let items = Arc::new(AtomicU32::new(0));
        let config = ClientConfig { offer: only(profile), ..ClientConfig::default() };
        let cache = SnapshotCache::new(&place.endpoint, &config);
        assert!(matches!(cache.refresh(), Err(Error::NotFound { .. })));
        assert!(!cache.is_populated());
        assert_eq!((cache.status().failures, cache.status().connection), (1, State::NotFound));
        assert_eq!(cache.status().age, None);

        let server = serve(&place.endpoint, &items, profile);
        cache.refresh().unwrap();
        assert!(cache.is_populated(), "an empty snapshot is one");
        items.store(1000, Ordering::Release);
        cache.refresh().unwrap();
        let old = cache.snapshot();
        for index in 0..1000 {
            let name = format!("cgroup-{index}");
            let item = cache.load().get(index % 3, name.as_bytes()).map(|item| item.path.to_vec());
            assert_eq!(item.as_deref(), Some(&b"/1000"[..]));
            assert!(cache.load().get(index % 3 + 1, name.as_bytes()).is_none());
        }
        assert!(cache.load().get(0, b"cgroup-1000").is_none());
        assert_eq!(cache.load().iter().len(), 1000);

        items.store(u32::MAX, Ordering::Release);
        assert!(cache.refresh().is_err());
        assert_eq!(cache.load().len(), 1000);
        server.stop();
        assert!(cache.refresh().is_err());
        assert_eq!(cache.load().len(), 1000, "though nobody serves");

        items.store(7, Ordering::Release);
        let _server = serve(&place.endpoint, &items, profile);
        cache.refresh().unwrap();
        let status = cache.status();
        assert_eq!((status.items, status.generation, status.systemd_enabled), (7, 7, 1));
        assert_eq!((status.successes, status.failures), (3, 3));
        assert!(status.populated && status.age.is_some());
        assert_eq!(old.len(), 1000, "who holds the old one has it still");
        // The same again is not built again.
        let seven = cache.snapshot();
        let mut reader = cache.reader();
        assert_eq!(reader.load().len(), 7);
        items.store(8, Ordering::Release);
        cache.refresh().unwrap();
        assert_eq!((reader.load().len(), seven.len()), (8, 7));
        let seven = cache.snapshot();
        cache.refresh().unwrap();
        assert!(Arc::ptr_eq(&seven, &cache.snapshot()));
    }
}

/// A refresh may take over what is there, in whole or in part: what it shows is what was served.
#[test]
fn a_refresh_shows_what_differs_and_nothing_else() {
    type Cgroup = (u32, u32, &'static str);
    const A: Cgroup = (1, 0, "a");
    const B: Cgroup = (2, 0, "b");
    let steps: [(u64, u32, &[Cgroup]); 9] = [
        (1, 0, &[A, B]),
        (2, 0, &[A, B]),
        (2, 1, &[A, B]),
        (2, 1, &[A, (2, 9, "b")]),
        (3, 1, &[A, (2, 9, "b"), (2, 0, "c")]),
        (3, 1, &[A]),
        (3, 1, &[B]),
        (3, 1, &[]),
        (4, 0, &[]),
    ];
    for profile in [Profiles::BASELINE, Profiles::SHM_WAITERS] {
        let place = Place::new();
        let at = Arc::new(AtomicUsize::new(0));
        let config = ServerConfig { offer: only(profile), ..ServerConfig::default() };
        let step = Arc::clone(&at);
        let _server =
            Server::start::<CgroupsSnapshot>(&place.endpoint, &config, move |_, reply| {
                let (generation, systemd, cgroups) = steps[step.load(Ordering::Acquire)];
                reply.builder().set_generation(generation);
                reply.builder().set_systemd_enabled(systemd);
                for &(hash, options, name) in cgroups {
                    let (name, path) = (name.as_bytes(), b"/path");
                    reply.builder().push(&SnapshotItem {
                        hash,
                        options,
                        enabled: 1,
                        name,
                        path,
                    })?;
                }
                Ok(())
            })
            .unwrap();
        let config = ClientConfig { offer: only(profile), ..ClientConfig::default() };
        let cache = SnapshotCache::new(&place.endpoint, &config);
        let mut reader = cache.reader();
        let mut held = Vec::new();
        for (index, &(generation, systemd, cgroups)) in steps.iter().enumerate() {
            at.store(index, Ordering::Release);
            cache.refresh().unwrap();
            let now = reader.load();
            assert_eq!((now.generation(), now.systemd_enabled()), (generation, systemd));
            let seen: Vec<_> =
                now.iter().map(|item| (item.hash, item.options, item.name)).collect();
            let served = |&(hash, options, name): &Cgroup| (hash, options, name.as_bytes());
            assert_eq!(seen, cgroups.iter().map(served).collect::<Vec<_>>());
            for (hash, _, name) in [A, B, (2, 0, "c")] {
                let found = now.get(hash, name.as_bytes()).map(|item| item.options);
                let there = cgroups.iter().find(|cgroup| (cgroup.0, cgroup.2) == (hash, name));
                assert_eq!(found, there.map(|cgroup| cgroup.1), "{name} in step {index}");
            }
            held.push(cache.snapshot());
        }
        // Later ones have left earlier ones as they were.
        for (held, (generation, _, cgroups)) in held.iter().zip(steps) {
            assert_eq!((held.generation(), held.len()), (generation, cgroups.len()));
        }
    }
}

#[test]
fn readers_see_one_snapshot_or_the_other_and_wait_for_neither() {
    let place = Place::new();
    let items = Arc::new(AtomicU32::new(100));
    let _server = serve(&place.endpoint, &items, Profiles::BASELINE);
    let config = ClientConfig { offer: only(Profiles::BASELINE), ..ClientConfig::default() };
    let cache = SnapshotCache::new(&place.endpoint, &config);
    cache.refresh().unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let snapshot = cache.load();
                    let path = format!("/{}", snapshot.len());
                    assert!(snapshot.iter().all(|item| item.path == path.as_bytes()));
                    assert_eq!(snapshot.generation(), snapshot.len() as u64);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..200 {
            items.store(round, Ordering::Release);
            cache.refresh().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads.load(Ordering::Relaxed) > 0);
}

/// While a refresh waits for a server that says nothing, status and look-ups do not wait for it.
#[test]
fn a_refresh_that_hangs_holds_up_nobody() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let timeout = Duration::from_secs(60);
    let config = ClientConfig { offer: BASELINE, timeout, ..ClientConfig::default() };
    let cache = SnapshotCache::new(&place.endpoint, &config);
    let abort = cache.abort_handle();
    thread::scope(|scope| {
        let refresh = scope.spawn(|| cache.refresh());
        let raw = listener.serve();
        raw.recv().unwrap();
        assert_eq!(cache.status().items, 0);
        assert!(cache.load().get(1, b"a").is_none());
        assert!(!refresh.is_finished());
        abort.abort();
        assert!(refresh.join().unwrap().is_err());
    });
}

/// A snapshot whose second item is malformed leaves the old one.
#[test]
fn a_malformed_item_leaves_what_was_there() {
    use snapwire::codec::{Header, SnapshotBuilder, Status};
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let config = ClientConfig { offer: BASELINE, ..ClientConfig::default() };
    let cache = SnapshotCache::new(&place.endpoint, &config);
    let mut payload = [0; 256];
    let mut builder = SnapshotBuilder::new(&mut payload, Some(2)).unwrap();
    for name in [b"a", b"b"] {
        let item = SnapshotItem { hash: 1, options: 0, enabled: 1, name, path: b"/" };
        builder.push(&item).unwrap();
    }
    let length = builder.finish().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let raw = listener.serve();
            for damage in [false, true] {
                let request = Header::decode(&raw.recv().unwrap()).unwrap();
                let mut payload = payload;
                payload[length - 1] = u8::from(damage);
                raw.send(&message(request.response(Status::OK), &payload[..length]));
            }
            assert_eq!(raw.recv(), None, "the connection is given up");
        });
        cache.refresh().unwrap();
        assert!(cache.refresh().is_err());
        server.join().unwrap();
    });
    assert_eq!(cache.load().len(), 2);
    assert_eq!(cache.status().connection, State::Disconnected);
}
