//! What a server does with its clients: those that are silent, slow, many or gone, and when it stops.

mod support;

use snapwire::codec::{Code, Header, Profiles};
use snapwire::{Client, Increment, Offer, Server, ServerConfig, State, StringReverse};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn silent_and_idle_clients_hold_up_nobody() {
    let place = Place::new();
    let config = ServerConfig {
        workers: 2,
        idle: Duration::from_millis(200),
        ..server_config(Profiles::BASELINE)
    };
    let server = incrementer(&place, &config);
    // More than there may be, and none of them says a word.
    let _silent: Vec<Raw> = (0..80).map(|_| Raw::connect(&place.endpoint)).collect();
    let mut client = ready::<Increment>(&place, &client_config(Profiles::BASELINE));
    assert_eq!(client.call(1).unwrap(), 2);
    // Idle ones lose their sessions, and with them the workers that they hold.
    let idle = Raw::client(&place.endpoint);
    assert_eq!(idle.recv(), None);
    until("all sessions end", || server.status().sessions == 0);
    assert_eq!(client.call(1).unwrap(), 2, "which a client hardly notices");
    assert_eq!(client.status().reconnects, 1);
    server.stop();
}

#[test]
fn clients_that_vanish_free_their_workers() {
    for profile in PROFILES {
        let place = Place::new();
        let config = ServerConfig { workers: 2, ..server_config(profile) };
        let server = incrementer(&place, &config);
        for round in 0..30 {
            until("a session", || {
                let mut client = Client::<Increment>::new(&place.endpoint, &client_config(profile));
                client.refresh();
                client.is_ready() && client.call(round).is_ok_and(|answer| answer == round + 1)
            });
        }
        until("the last session ends", || server.status().sessions == 0);
        server.stop();
        assert_eq!(place.names(), [""; 0], "{profile}");
    }
}

#[test]
fn beyond_its_workers_a_server_refuses_at_once() {
    for profile in PROFILES {
        let place = Place::new();
        let config = ServerConfig { workers: 2, ..server_config(profile) };
        let server = incrementer(&place, &config);
        let mut first = ready::<Increment>(&place, &client_config(profile));
        let mut second = ready::<Increment>(&place, &client_config(profile));
        let mut third = Client::<Increment>::new(&place.endpoint, &client_config(profile));
        let began = Instant::now();
        third.refresh();
        assert_eq!(third.state(), State::Disconnected);
        assert!(began.elapsed() < Duration::from_secs(4));
        assert_eq!((first.call(1).unwrap(), second.call(2).unwrap()), (2, 3));
        drop(first);
        until("a worker", || {
            third.refresh();
            third.is_ready()
        });
        assert_eq!(third.call(3).unwrap(), 4);
        assert!(server.status().refused_total >= 1);
    }
}

#[test]
fn there_is_room_for_who_comes_while_somebody_leaves() {
    for profile in PROFILES {
        let place = Place::new();
        let config = ServerConfig { workers: 1, ..server_config(profile) };
        let (entered, is_entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let server = Server::start::<Increment>(&place.endpoint, &config, move |number, reply| {
            entered.send(number).unwrap();
            released.lock().unwrap().recv().unwrap();
            reply.set(number + 1);
            Ok(())
        })
        .unwrap();
        let call = |number| {
            let mut client = ready::<Increment>(&place, &client_config(profile));
            let abort = client.abort_handle();
            let called = thread::spawn(move || client.call(number));
            (abort, called)
        };
        let (abort, left) = call(1);
        assert_eq!(is_entered.recv(), Ok(1));
        abort.abort();
        assert!(left.join().unwrap().is_err(), "it has gone, and its handler is still at it");
        let newcomer = Raw::connect(&place.endpoint);
        newcomer.send(&hello_packet(&plain_hello()));
        release.send(()).unwrap();
        assert!(newcomer.recv().is_some(), "the newcomer was turned away");
        assert_eq!(server.status().refused_total, 0);
    }
}

/// A client that sends requests and reads no answers.
#[test]
fn a_client_that_does_not_read_is_let_go() {
    let place = Place::new();
    let config =
        ServerConfig { stall: Duration::from_millis(100), ..server_config(Profiles::BASELINE) };
    let offer = Offer { response: limit(1 << 20, 1), ..config.offer };
    let config = ServerConfig { offer, ..config };
    let server = Server::start::<StringReverse>(&place.endpoint, &config, |_, reply| {
        Ok(reply.set(&vec![b'x'; 900_000])?)
    })
    .unwrap();
    let raw = Raw::client(&place.endpoint);
    let mut request = [0; 64];
    let length = snapwire::codec::text::encode(b"abc", &mut request).unwrap();
    raw.send(&message(Header::request(Code::STRING_REVERSE, 1), &request[..length]));
    until("the session ends", || server.status().sessions == 0);
    // And one that stops in the middle of a request.
    let raw = Raw::client(&place.endpoint);
    let header = Header { payload_len: 500, ..Header::request(Code::STRING_REVERSE, 1) };
    raw.send(&header.encode());
    assert_eq!(raw.recv(), None);
    server.stop();
}

#[test]
fn a_server_stops_whatever_its_clients_do() {
    for profile in PROFILES {
        let place = Place::new();
        let server = incrementer(&place, &server_config(profile));
        let _silent = Raw::connect(&place.endpoint);
        let mut busy = ready::<Increment>(&place, &client_config(profile));
        let _idle = ready::<Increment>(&place, &client_config(profile));
        thread::scope(|scope| {
            let calls = scope.spawn(move || while busy.call(1).is_ok() {});
            until("calls", || server.status().requests_total > 10);
            server.stop();
            calls.join().unwrap();
        });
        assert_eq!(place.names(), [""; 0]);
    }
}

#[test]
fn a_drain_answers_what_was_asked() {
    for profile in PROFILES {
        let place = Place::new();
        let begun = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&begun);
        let slow = move |number: u64, reply: &mut snapwire::NumberReply<'_>| {
            flag.store(true, Ordering::Release);
            thread::sleep(Duration::from_millis(200));
            reply.set(number + 1);
            Ok(())
        };
        let server =
            Server::start::<Increment>(&place.endpoint, &server_config(profile), slow.clone())
                .unwrap();
        let mut client = ready::<Increment>(&place, &client_config(profile));
        let _idle = ready::<Increment>(&place, &client_config(profile));
        thread::scope(|scope| {
            let call = scope.spawn(move || client.call(1).unwrap());
            until("the handler", || begun.load(Ordering::Acquire));
            assert!(server.drain(Duration::from_secs(20)), "{profile}");
            assert_eq!(call.join().unwrap(), 2);
        });
        // With less time than the handler needs it is not clean.
        begun.store(false, Ordering::Release);
        let over = Arc::new(AtomicBool::new(false));
        let (flag, may_end) = (Arc::clone(&begun), Arc::clone(&over));
        let slower = move |_: u64, _: &mut snapwire::NumberReply<'_>| {
            flag.store(true, Ordering::Release);
            until("the end of the client's call", || may_end.load(Ordering::Acquire));
            Ok(())
        };
        let server =
            Server::start::<Increment>(&place.endpoint, &server_config(profile), slower).unwrap();
        let mut client = ready::<Increment>(&place, &client_config(profile));
        thread::scope(|scope| {
            let over = &over;
            let call = scope.spawn(move || {
                let answer = client.call(1);
                over.store(true, Ordering::Release);
                answer
            });
            until("the handler", || begun.load(Ordering::Acquire));
            assert!(!server.drain(Duration::from_millis(10)));
            assert!(call.join().unwrap().is_err());
        });
        assert_eq!(place.names(), [""; 0]);
    }
}

#[test]
fn many_clients_see_only_their_own() {
    let place = Place::new();
    let config = ServerConfig { workers: 12, ..ServerConfig::default() };
    let server = incrementer(&place, &config);
    thread::scope(|scope| {
        for client in 0..10u64 {
            let place = &place;
            scope.spawn(move || {
                let profile = PROFILES[client as usize % 3];
                let mut caller = ready::<Increment>(place, &client_config(profile));
                for call in 0..100 {
                    let number = client << 32 | call;
                    assert_eq!(caller.call(number).unwrap(), number + 1);
                }
                assert_eq!(caller.status().errors, 0);
            });
        }
    });
    until("all requests are counted", || server.status().requests_total == 1000);
}

#[test]
fn a_thousand_sessions_leave_nothing() {
    let place = Place::new();
    let server = incrementer(&place, &ServerConfig::default());
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut peak = 0;
    for round in 0..1000u64 {
        let profile = PROFILES[round as usize % 3];
        until("a session", || {
            let mut client = Client::<Increment>::new(&place.endpoint, &client_config(profile));
            client.refresh();
            client.is_ready() && client.call(round).is_ok_and(|answer| answer == round + 1)
        });
        if round == 100 {
            peak = fds();
        }
    }
    until("all sessions end", || server.status().sessions == 0);
    // Other tests of this process have descriptors of their own.
    assert!(fds() < peak + 200, "{} descriptors, {peak} after a hundred", fds());
    server.stop();
    assert_eq!(place.names(), [""; 0]);
}
