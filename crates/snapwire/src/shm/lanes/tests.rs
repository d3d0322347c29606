//! The other end as netipc has it, by hand: the order of its stores, what it sleeps on, whom it wakes.

use super::*;
use crate::codec::{Code, Profiles, Status};
use crate::endpoint::SessionId;
use std::sync::atomic::Ordering;

const LIMIT: Limit = Limit { payload_bytes: 1024, batch_items: 1 };
const ROUNDS: u64 = 20;

/// Our server's end, and the region as a client of netipc's has it.
fn ends() -> (Lanes, Region) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(directory.path(), "svc").unwrap();
    let terms = Terms {
        profile: Profiles::SHM_HYBRID,
        request: LIMIT,
        response: LIMIT,
        packet_size: 65536,
        session: SessionId(1),
    };
    let region = Region::create(&endpoint, &terms).unwrap();
    let client = Region::attach(&endpoint, &terms).unwrap();
    (Lanes::server(region), client)
}

/// A connection that says nothing.
fn sockets() -> (Socket, Socket) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let kind = SocketType::SEQPACKET;
    let (one, other) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    (Socket::of(one).unwrap(), Socket::of(other).unwrap())
}

fn patience() -> Patience<'static> {
    Patience::new(Duration::from_secs(60))
}

/// Publishes as netipc does, with additions; returns how many it woke.
fn publish(region: &Region, header: &Header) -> usize {
    let lane = region.direction(Way::Request).lane();
    region.direction(Way::Request).area.write(0, &header.encode());
    lane.len.store(HEADER_LEN as u32, Ordering::Release);
    lane.seq.fetch_add(1, Ordering::Release);
    lane.signal.fetch_add(1, Ordering::Release);
    futex::wake(lane.signal, futex::Flags::empty(), 1).unwrap()
}

/// Waits as netipc does once it has spun: nothing but a wake-up or a changed word ends its sleep.
fn wait(region: &Region, seq: u64) {
    let lane = region.direction(Way::Response).lane();
    let forever = timespec(Duration::from_secs(60));
    loop {
        let signal = lane.signal.load(Ordering::Acquire);
        if lane.seq.load(Ordering::Acquire) >= seq {
            return;
        }
        match futex::wait(lane.signal, futex::Flags::empty(), signal, Some(&forever)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => panic!("nobody woke it: {error}"),
        }
    }
}

#[test]
fn each_end_sleeps_on_the_word_by_which_the_other_wakes() {
    let (mut server, client) = ends();
    let (socket, _peer) = sockets();
    let woken = thread::scope(|scope| {
        let client = scope.spawn(move || {
            let mut woken = 0;
            for seq in 1..=ROUNDS {
                // The other end is asleep by then, and not for about as long as before.
                thread::sleep(Duration::from_millis(3 + seq * 7 % 5));
                woken += publish(&client, &Header::request(Code(1), seq));
                wait(&client, seq);
                let mut answer = [0; HEADER_LEN];
                client.direction(Way::Response).area.read(0, &mut answer);
                assert_eq!(Header::decode(&answer).unwrap().message_id, seq);
            }
            woken
        });
        let mut buffer = Buffer::new();
        for _ in 1..=ROUNDS {
            let request = server.recv(&mut buffer, &socket, LIMIT, &mut patience());
            let answer = request.unwrap().response(Status::OK);
            thread::sleep(Duration::from_millis(3));
            server.send(&answer, b"").unwrap();
        }
        client.join().unwrap()
    });
    assert!(woken > 0, "it slept on something else");
}

#[test]
fn a_goodbye_wakes_who_waits() {
    let (mut server, client) = ends();
    thread::scope(|scope| {
        let client = scope.spawn(move || {
            wait(&client, 1);
            client.direction(Way::Response).lane().last()
        });
        thread::sleep(Duration::from_millis(20));
        server.say_goodbye();
        assert_eq!(client.join().unwrap(), (1, 0));
    });
}
