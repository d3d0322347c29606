//! What signals to a thread that waits, and forks, must not do.
#![expect(unsafe_code, reason = "a signal for one thread, a handler for it, and forks")]

mod support;

use snapwire::codec::{Code, Header};
use snapwire::{Buffer, Client, Error, Increment, Listener, Patience, Server, Session};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Signals the calling thread all the time while something is done. System calls are not taken up
/// again after it.
fn under_signals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: zeros are a valid set of flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = count;
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the handler only counts, and the structure is a whole one.
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    // SAFETY: it only names this thread.
    let waiter = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // SAFETY: the thread waits for this one before it ends.
                unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
                thread::yield_now();
            }
        });
        let before = SIGNALS.load(Ordering::Relaxed);
        // Not asleep: sleeping again after each signal takes for ever when they come this fast.
        while SIGNALS.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
        let worked = work();
        done.store(true, Ordering::Release);
        worked
    })
}

#[test]
fn signals_do_not_make_a_wait_shorter() {
    for profile in PROFILES {
        let place = Place::new();
        let mut listener = Listener::bind(&place.endpoint, &only(profile)).unwrap();
        let (mut client, _server) = thread::scope(|scope| {
            let server = scope.spawn(|| listener.accept(&mut Patience::forever()).unwrap());
            let forever = &mut Patience::forever();
            let client = Session::connect(&place.endpoint, &only(profile), forever).unwrap();
            (client, server.join().unwrap())
        });
        client.send(&Header::request(Code(1), 1), b"", &mut Patience::forever()).unwrap();
        // Whole slices and parts of them.
        for timeout in [100, 150, 250].map(Duration::from_millis) {
            let (received, took) = under_signals(|| {
                let began = Instant::now();
                let received = client.recv(&mut Buffer::new(), &mut Patience::new(timeout));
                (received, began.elapsed())
            });
            assert!(matches!(received, Err(Error::Timeout)), "{profile}: {received:?}");
            assert!(took >= timeout, "{profile}: {took:?}");
        }
    }
}

/// A child that used its parent's connection would take the parent's answers, and that it ends would
/// be the connection's end.
#[test]
fn a_child_has_a_connection_of_its_own() {
    for profile in PROFILES {
        let place = Place::new();
        let config = server_config(profile);
        let _server = Server::start::<Increment>(&place.endpoint, &config, |number, reply| {
            reply.set(number + 1);
            Ok(())
        })
        .unwrap();
        let mut client = Client::<Increment>::new(&place.endpoint, &client_config(profile));
        client.connect().unwrap();
        for calls in [0, 1] {
            // SAFETY: the child does nothing that needs its parent's other threads, and ends here.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let called = (0..calls).all(|number| client.call(number).ok() == Some(number + 1));
                let is_right = called && client.status().reconnects == calls;
                drop(client);
                // SAFETY: nothing of the parent's is to be tidied up by the child.
                unsafe { libc::_exit(i32::from(!is_right)) }
            }
            let mut status = 0;
            // SAFETY: the status is written to a place of its own.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "{profile}");
            assert_eq!(client.call(41).unwrap(), 42);
            assert_eq!(client.status().reconnects, 0, "{profile}");
        }
    }
}
