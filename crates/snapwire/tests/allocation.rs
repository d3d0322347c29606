//! A call allocates nothing once its buffers have grown, on either side. One test, since it counts
//! what the whole process allocates.
#![expect(unsafe_code, reason = "an allocator that counts is one")]

mod support;

use snapwire::codec::Profiles;
use snapwire::{
    AppsLookup, CgroupsSnapshot, Client, ClientConfig, Increment, Server, ServerConfig, Service,
    SnapshotImage,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use support::{Place, limit, only};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: it is the system's allocator, which it only counts the calls of.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn offer(profile: Profiles) -> snapwire::Offer {
    snapwire::Offer { request: limit(1 << 16, 64), response: limit(1 << 16, 64), ..only(profile) }
}

fn ready<S: Service>(place: &Place, profile: Profiles) -> Client<S> {
    let config = ClientConfig { offer: offer(profile), ..ClientConfig::default() };
    let mut client = Client::new(&place.endpoint, &config);
    client.refresh();
    assert!(client.is_ready(), "the client is {}", client.state());
    client
}

fn config(profile: Profiles) -> ServerConfig {
    ServerConfig { offer: offer(profile), ..ServerConfig::default() }
}

/// Does it until everything has grown, and then counts. What a server's thread that accepts has still
/// to do, when it comes to it, is no call's: a thousand calls must be free of allocations, not the
/// first thousand.
fn assert_free(what: &str, profile: Profiles, mut call: impl FnMut()) {
    let mut allocated = [0; 10];
    for allocated in &mut allocated {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..1000 {
            call();
        }
        *allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
        if *allocated == 0 {
            return;
        }
    }
    panic!("{what} over {profile:?}, in each 1,000 calls of both sides: {allocated:?} allocations");
}

#[test]
fn calls_allocate_nothing() {
    for profile in [Profiles::SHM_WAITERS, Profiles::SHM_HYBRID, Profiles::BASELINE] {
        let place = Place::new();
        let server =
            Server::start::<Increment>(&place.endpoint, &config(profile), |number, reply| {
                reply.set(number + 1);
                Ok(())
            })
            .unwrap();
        let mut client = ready::<Increment>(&place, profile);
        assert_free("a call", profile, || assert_eq!(client.call(1).unwrap(), 2));
        assert_free("a batch", profile, || {
            let answers = client.call_batch((0..64u32).map(u64::from)).unwrap();
            assert_eq!(answers.iter().map(Result::unwrap).sum::<u64>(), (1..=64).sum());
        });
        assert_free("a pipeline", profile, || {
            let mut sum = 0;
            let take = |_, answer| {
                sum += answer;
                Ok(())
            };
            client.pipeline(0..16, 16, take).unwrap();
            assert_eq!(sum, (1..=16).sum());
        });
        drop(server);

        let image = SnapshotImage::build(1 << 15, |builder| {
            (0..100).try_for_each(|hash| {
                let (name, path) = (b"name", b"/some/path");
                let item =
                    snapwire::codec::SnapshotItem { hash, options: 0, enabled: 1, name, path };
                builder.push(&item)
            })
        })
        .unwrap();
        let server =
            Server::start::<CgroupsSnapshot>(&place.endpoint, &config(profile), move |_, reply| {
                Ok(reply.set_image(&image)?)
            })
            .unwrap();
        let mut client = ready::<CgroupsSnapshot>(&place, profile);
        assert_free("a snapshot", profile, || assert_eq!(client.call(()).unwrap().len(), 100));
        drop(server);

        let server = Server::start::<AppsLookup>(&place.endpoint, &config(profile), |_, reply| {
            while reply.next_pid().is_some() {
                reply.unknown()?;
            }
            Ok(())
        })
        .unwrap();
        let mut client = ready::<AppsLookup>(&place, profile);
        let pids: Vec<_> = (1..50).map(snapwire::codec::Pid).collect();
        assert_free("a look-up", profile, || assert_eq!(client.lookup(&pids).unwrap().len(), 49));
        drop(server);
    }
}
