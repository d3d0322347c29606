//! Clients and servers on tokio: many callers, calls that are dropped or too late, peers that die.

mod support;

use snapwire::codec::{Chunk, Code, Header, Pid, Profiles, Status};
use snapwire::tokio::{Client, Server};
use snapwire::{
    AppsLookup, ClientConfig, Endpoint, Error, Failure, Increment, NumberReply, Offer,
    ServerConfig, Service, State, StringReverse, TextReply,
};
use std::future::{Future, poll_fn};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use support::*;
use tokio::sync::Semaphore;

const PROFILES: [Profiles; 3] = [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_WAITERS];

/// Adds one; 13 is refused, and 77 waits to be let go.
#[derive(Debug, Default)]
struct Counter {
    entered: Arc<AtomicU32>,
    gate: Option<Arc<Semaphore>>,
}

impl Counter {
    async fn answer(&self, number: u64, reply: &mut NumberReply<'_>) -> Result<(), Failure> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        if number == 13 {
            return Err(Failure::Refused);
        }
        if let (77, Some(gate)) = (number, &self.gate) {
            gate.acquire().await.map_err(|_| Failure::Refused)?.forget();
        }
        if number.is_multiple_of(16) {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
        reply.set(number.wrapping_add(1));
        Ok(())
    }
}

async fn backwards(text: &[u8], reply: &mut TextReply<'_>) -> Result<(), Failure> {
    let text: Vec<u8> = text.iter().rev().copied().collect();
    Ok(reply.set(&text)?)
}

/// A handler that is let go by the test, and the number of requests that it has seen.
fn gated() -> (Counter, Arc<Semaphore>, Arc<AtomicU32>) {
    let counter = Counter { gate: Some(Arc::new(Semaphore::new(0))), ..Counter::default() };
    let gate = Arc::clone(counter.gate.as_ref().unwrap());
    let entered = Arc::clone(&counter.entered);
    (counter, gate, entered)
}

fn serve(place: &Place, counter: Counter, profile: Profiles) -> Server {
    let config = ServerConfig { offer: only(profile), ..ServerConfig::default() };
    Server::start::<Increment>(&place.endpoint, &config, async move |number, reply| {
        counter.answer(number, reply).await
    })
    .unwrap()
}

fn client<S: Service>(place: &Place, profile: Profiles, timeout: Duration) -> Client<S> {
    let offer = Offer { request: limit(0, 64), ..only(profile) };
    let config = ClientConfig { offer, timeout, ..ClientConfig::default() };
    Client::new(&place.endpoint, &config)
}

const LONG: Duration = Duration::from_secs(30);

/// Runs on one thread, where whoever blocks blocks all.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn everybody_gets_the_answers_to_their_own_questions() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for profile in PROFILES {
        runtime.block_on(async {
            let place = Place::new();
            let server = serve(&place, Counter::default(), profile);
            let client = client::<Increment>(&place, profile, LONG);
            let ask = |task: u64| {
                let client = client.clone();
                tokio::spawn(async move {
                    for number in task * 1000..task * 1000 + 20 {
                        assert_eq!(client.call(number).await.unwrap().get().unwrap(), number + 1);
                    }
                })
            };
            let tasks: Vec<_> = (1..40).map(ask).collect();
            for task in tasks {
                task.await.unwrap();
            }
            let answers = client.call_batch((16..80u32).map(u64::from)).await.unwrap();
            assert_eq!(answers.len(), 64);
            let right = answers.iter().map(Result::unwrap).eq(17..81);
            assert!(right);
            let status = client.status();
            assert_eq!((status.connects, status.reconnects, status.errors), (1, 0, 0));
            assert_eq!((status.calls, status.state), (39 * 20 + 1, State::Ready));
            assert_eq!(client.terms().unwrap().profile, profile);
            let too_many = client.call_batch((0..65u32).map(u64::from)).await.unwrap_err();
            assert!(matches!(too_many, Error::TooManyItems { found: 65, limit: 64 }), "{too_many}");
            assert_eq!(server.status().sessions, 1);
            drop(client);
            until("the end of the session", || server.status().sessions == 0).await;
            assert!(server.drain(LONG).await);
            assert_eq!(place.names(), [""; 0]);
        });
    }
}

#[test]
fn long_messages_and_limits_that_grow() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let config = ServerConfig { offer: only(profile), ..ServerConfig::default() };
            let _server =
                Server::start::<StringReverse>(&place.endpoint, &config, backwards).unwrap();
            let client = client::<StringReverse>(&place, profile, LONG);
            let text: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
            let mut backwards = text.clone();
            backwards.reverse();
            let calls = (0..8).map(|_| client.call(&text)).collect::<Vec<_>>();
            let short = client.call(b"ab");
            for call in calls {
                assert_eq!(call.await.unwrap().get().unwrap(), backwards);
            }
            assert_eq!(short.await.unwrap().get().unwrap(), b"ba");
            let error = client.call(&vec![0; 2 << 20]).await.unwrap_err();
            assert!(matches!(error, Error::Build(_)), "{error}");
        });
    }
}

#[test]
fn look_ups_take_as_many_messages_as_they_need() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let config = ServerConfig { offer: only(profile), ..ServerConfig::default() };
            let gate = Arc::new(Semaphore::new(0));
            let entered = Arc::new(AtomicU32::new(0));
            let (inside, count) = (Arc::clone(&gate), Arc::clone(&entered));
            let _server = Server::start::<AppsLookup>(
                &place.endpoint,
                &config,
                async move |request, reply| {
                    count.fetch_add(1, Ordering::SeqCst);
                    for pid in request.iter() {
                        if pid == Pid(77) {
                            inside.acquire().await.map_err(|_| Failure::Refused)?.forget();
                        }
                        reply.unknown()?;
                    }
                    Ok(())
                },
            )
            .unwrap();
            let client = client::<AppsLookup>(&place, profile, LONG);
            let pids: Vec<Pid> = (1000..9000).map(Pid).collect();
            let (one, two) = tokio::join!(client.lookup(&pids), client.lookup(&pids[..1]));
            let (one, two) = (one.unwrap(), two.unwrap());
            let found = one.get().unwrap();
            assert!(found.iter().map(|item| item.unwrap().pid).eq(pids.iter().copied()));
            assert_eq!(two.get().unwrap().len(), 1);
            let before = entered.load(Ordering::SeqCst);
            assert!(before > 2, "many messages");
            // One that is dropped is called off, and the next one is made.
            tokio::select! {
                _ = client.lookup(&[Pid(77)]) => panic!("nobody let it go"),
                () = until("the handler", || entered.load(Ordering::SeqCst) > before) => {}
            }
            assert_eq!(client.lookup(&pids[..2]).await.unwrap().get().unwrap().len(), 2);
            assert_eq!((client.status().calls, client.status().errors), (3, 0));
        });
    }
}

#[test]
fn look_ups_wait_for_each_other_within_their_own_time() {
    run(async {
        let place = Place::new();
        let absent = client::<AppsLookup>(&place, Profiles::BASELINE, LONG);
        let error = absent.lookup(&[Pid(1)]).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        let client = client::<AppsLookup>(&place, Profiles::BASELINE, Duration::from_millis(200));
        let entered = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&entered);
        let config = ServerConfig { workers: 99, ..ServerConfig::default() };
        let _server = Server::start::<AppsLookup>(&place.endpoint, &config, async move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        })
        .unwrap();
        let calls: Vec<_> = (0..9).map(|pid| tokio::spawn(client.lookup(&[Pid(pid)]))).collect();
        for call in calls {
            assert!(matches!(call.await.unwrap(), Err(Error::Timeout)));
        }
        let entered = entered.load(Ordering::SeqCst);
        assert!(entered < 9, "each had the whole time of those before it to itself");
    });
}

/// The server does not read while it is at the second question, so the third is sent in part.
#[test]
fn an_answer_does_not_wait_for_a_question_that_is_still_being_sent() {
    run(async {
        let place = Place::new();
        let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
        let (inside, count) = (Arc::clone(&gate), Arc::clone(&entered));
        let config = ServerConfig { offer: only(Profiles::BASELINE), ..ServerConfig::default() };
        let handler = async move |text: &[u8], reply: &mut TextReply<'_>| {
            count.fetch_add(1, Ordering::SeqCst);
            inside.acquire().await.map_err(|_| Failure::Refused)?.forget();
            Ok(reply.set(&text[..1])?)
        };
        let _server = Server::start::<StringReverse>(&place.endpoint, &config, handler).unwrap();
        let offer = Offer { request: limit(1 << 20, 1), ..only(Profiles::BASELINE) };
        let config = ClientConfig { offer, ..ClientConfig::default() };
        let client = Client::<StringReverse>::new(&place.endpoint, &config);
        let first = tokio::spawn(client.call(b"1"));
        until("the handler", || entered.load(Ordering::SeqCst) == 1).await;
        let second = tokio::spawn(client.call(b"2"));
        let third = tokio::spawn(client.call(&[b'3'; 900_000]));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        assert_eq!(first.await.unwrap().unwrap().get().unwrap(), b"1");
        gate.add_permits(2);
        assert_eq!(second.await.unwrap().unwrap().get().unwrap(), b"2");
        assert_eq!(third.await.unwrap().unwrap().get().unwrap(), b"3");
        assert_eq!(client.status().reconnects, 0);
    });
}

#[test]
fn an_answer_that_fits_no_response_is_made_once_as_without_tokio() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let entered = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&entered);
            let offer = Offer { response: limit(4096, 1), ..only(profile) };
            let config = ServerConfig { offer, ..ServerConfig::default() };
            let handler = async move |_: &[u8], reply: &mut TextReply<'_>| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(reply.set(&[0; 5000])?)
            };
            let _server =
                Server::start::<StringReverse>(&place.endpoint, &config, handler).unwrap();
            let client = client::<StringReverse>(&place, profile, LONG);
            let error = client.call(b"a").await.unwrap_err();
            assert!(matches!(error, Error::Refused(Status::LIMIT_EXCEEDED)), "{error}");
            assert_eq!(entered.swap(0, Ordering::SeqCst), 1);
            let config = ClientConfig { offer: only(profile), ..ClientConfig::default() };
            let mut blocking = snapwire::Client::<StringReverse>::new(&place.endpoint, &config);
            blocking.refresh();
            let error = blocking.call(b"a").unwrap_err();
            assert!(matches!(error, Error::Refused(Status::LIMIT_EXCEEDED)), "{error}");
            assert_eq!(entered.load(Ordering::SeqCst), 1);
        });
    }
}

#[test]
fn a_request_that_the_server_does_not_allow_is_the_callers_own_affair() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let offer = Offer { request: limit(4096, 1), ..only(profile) };
            let config = ServerConfig { offer, ..ServerConfig::default() };
            let _server =
                Server::start::<StringReverse>(&place.endpoint, &config, backwards).unwrap();
            let client = client::<StringReverse>(&place, profile, LONG);
            let (long, short) = tokio::join!(client.call(&[7; 9000]), client.call(b"ab"));
            let error = long.unwrap_err();
            assert!(matches!(error, Error::LimitExceeded { found: 9009, .. }), "{error}");
            assert_eq!(short.unwrap().get().unwrap(), b"ba");
            let again = client.call(&[7; 2000]).await.unwrap();
            assert_eq!(again.get().unwrap(), [7; 2000]);
        });
    }
}

#[test]
fn what_has_grown_is_no_reason_to_be_incompatible() {
    run(async {
        let place = Place::new();
        let serve = |request| {
            let offer = Offer { request: limit(request, 1), ..only(Profiles::BASELINE) };
            let config = ServerConfig { offer, ..ServerConfig::default() };
            Server::start::<StringReverse>(&place.endpoint, &config, backwards).unwrap()
        };
        let server = serve(1 << 16);
        let client = client::<StringReverse>(&place, Profiles::BASELINE, LONG);
        assert_eq!(client.call(&[7; 9000]).await.unwrap().get().unwrap(), [7; 9000]);
        server.stop().await;
        // One that allows less, and still as much as was asked for.
        let _server = serve(4096);
        assert_eq!(client.call(b"ab").await.unwrap().get().unwrap(), b"ba");
        assert_eq!(client.call(&[7; 4000]).await.unwrap().get().unwrap(), [7; 4000]);
    });
}

#[test]
fn a_call_that_is_dropped_disturbs_nobody() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let (counter, gate, entered) = gated();
            let server = serve(&place, counter, profile);
            let client = client::<Increment>(&place, profile, LONG);
            assert_eq!(client.call(1).await.unwrap().get().unwrap(), 2);
            // Dropped while the handler is at it.
            tokio::select! {
                _ = client.call(77) => panic!("nobody let it go"),
                () = until("the handler", || entered.load(Ordering::SeqCst) == 2) => {}
            }
            gate.add_permits(1);
            assert_eq!(client.call(5).await.unwrap().get().unwrap(), 6);
            // Dropped before anything was sent.
            drop(client.call(13));
            // Dropped anywhere in between.
            let mut answered = 0;
            for round in 0..400u64 {
                let number = 1000 + round;
                let mut call = pin!(client.call(number));
                let mut polls = round % 9;
                let ended = poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Ready(reply) => Poll::Ready(Some(reply)),
                    Poll::Pending if polls == 0 => Poll::Ready(None),
                    Poll::Pending => {
                        polls -= 1;
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                })
                .await;
                if let Some(reply) = ended {
                    assert_eq!(reply.unwrap().get().unwrap(), number + 1);
                    answered += 1;
                }
                tokio::task::yield_now().await;
            }
            assert_eq!(client.call(7).await.unwrap().get().unwrap(), 8);
            let status = client.status();
            assert_eq!((status.connects, status.reconnects, status.errors), (1, 0, 0));
            assert_eq!(status.calls, 3 + answered);
            server.stop().await;
        });
    }
}

#[test]
fn a_call_that_is_too_late_makes_way_for_the_others() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let (counter, gate, entered) = gated();
            let _server = serve(&place, counter, profile);
            let client = client::<Increment>(&place, profile, Duration::from_secs(2));
            assert_eq!(client.call(1).await.unwrap().get().unwrap(), 2);
            let late = tokio::spawn(client.call(77));
            until("the handler", || entered.load(Ordering::SeqCst) == 2).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            // It waits behind the other until that has had its time.
            let behind = client.call(5).await.unwrap().get().unwrap();
            assert_eq!(behind, 6);
            assert!(matches!(late.await.unwrap(), Err(Error::Timeout)));
            let status = client.status();
            assert_eq!((status.connects, status.reconnects), (1, 1), "{profile}");
            assert_eq!((status.calls, status.errors), (2, 1));
            gate.add_permits(9);
        });
    }
}

#[test]
fn when_nobody_is_left_the_connection_ends_whatever_is_under_way() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let (counter, gate, entered) = gated();
            let server = serve(&place, counter, profile);
            let client = client::<Increment>(&place, profile, Duration::ZERO);
            tokio::select! {
                _ = async { tokio::join!(client.call(77), client.call(77)) } => panic!("let go"),
                () = until("the handler", || entered.load(Ordering::SeqCst) == 1) => {}
            }
            drop(client);
            let metrics = tokio::runtime::Handle::current().metrics();
            until("the end of all tasks", || metrics.num_alive_tasks() == 0).await;
            gate.add_permits(9);
            until("the end of the session", || server.status().sessions == 0).await;
            server.stop().await;
        });
    }
}

#[test]
fn a_server_that_is_too_slow_is_not_swamped_with_connections() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let connections = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        loop {
            silent.push(listener.serve());
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    run(async {
        let client = client::<Increment>(&place, Profiles::BASELINE, TIMEOUT);
        let began = Instant::now();
        let mut calls = Vec::new();
        for number in 0..40 {
            calls.push(tokio::spawn(client.call(number)));
            tokio::time::sleep(TIMEOUT / 40).await;
        }
        for call in calls {
            assert!(matches!(call.await.unwrap(), Err(Error::Timeout)));
        }
        let most = 1 + began.elapsed().as_millis() / TIMEOUT.as_millis();
        let connections = connections.load(Ordering::SeqCst);
        assert!(u128::from(connections) <= most, "{connections} connections");
    });
}

#[test]
fn whoever_leaves_makes_room_at_once() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let (counter, gate, entered) = gated();
            let config = ServerConfig { workers: 1, ..server_config(profile) };
            let server = Server::start::<Increment>(&place.endpoint, &config, async move |n, r| {
                counter.answer(n, r).await
            })
            .unwrap();
            let client = client::<Increment>(&place, profile, LONG);
            tokio::select! {
                _ = client.call(77) => panic!("nobody let it go"),
                () = until("the handler", || entered.load(Ordering::SeqCst) == 1) => {}
            }
            drop(client);
            let metrics = tokio::runtime::Handle::current().metrics();
            until("the end of all tasks", || metrics.num_alive_tasks() == 0).await;
            let newcomer = Raw::connect(&place.endpoint);
            newcomer.send(&hello_packet(&plain_hello()));
            gate.add_permits(1);
            assert!(newcomer.recv().is_some(), "the newcomer was turned away");
            assert_eq!(server.status().refused_total, 0);
        });
    }
}

#[test]
fn a_refusal_is_that_of_one_call() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let _server = serve(&place, Counter::default(), profile);
            let client = client::<Increment>(&place, profile, LONG);
            let ask = |number: u64| tokio::spawn(client.call(number));
            let calls: Vec<_> = (5..30).map(|number| (number, ask(number))).collect();
            for (number, call) in calls {
                let answer = call.await.unwrap();
                if number == 13 {
                    let refused = matches!(answer, Err(Error::Refused(Status::INTERNAL_ERROR)));
                    assert!(refused, "{answer:?}");
                } else {
                    assert_eq!(answer.unwrap().get().unwrap(), number + 1);
                }
            }
        });
    }
}

#[test]
fn a_server_that_comes_back_is_found_and_one_that_does_not_is_told() {
    for profile in PROFILES {
        run(async {
            let (one, two, links) = (Place::new(), Place::new(), tempfile::tempdir().unwrap());
            let run_dir = links.path().join("run");
            symlink(one.directory.path(), &run_dir).unwrap();
            let endpoint = Endpoint::new(&run_dir, "svc").unwrap();
            let config = ClientConfig { offer: only(profile), ..ClientConfig::default() };
            let client = Client::<Increment>::new(&endpoint, &config);
            let error = client.call(1).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
            let (counter, _gate, entered) = gated();
            let first = serve(&one, counter, profile);
            assert_eq!(client.call(1).await.unwrap().get().unwrap(), 2);
            // It dies with calls under way, and another one answers them: it serves before the first
            // one ends, so that nobody has to be quick.
            let waiting = [77, 5, 6].map(|number| tokio::spawn(client.call(number)));
            until("the handler", || entered.load(Ordering::SeqCst) == 2).await;
            let second = serve(&two, Counter::default(), profile);
            symlink(two.directory.path(), links.path().join("next")).unwrap();
            std::fs::rename(links.path().join("next"), &run_dir).unwrap();
            first.stop().await;
            let mut answers = Vec::new();
            for call in waiting {
                answers.push(call.await.unwrap().unwrap().get().unwrap());
            }
            assert_eq!(answers, [78, 6, 7]);
            assert!(client.status().reconnects > 0);
            second.stop().await;
            let error = client.call(1).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. } | Error::Disconnected), "{error}");
        });
    }
}

/// The end of a server may come at any point of any call. A call may fail then, and is never
/// answered wrongly; the client goes on as soon as there is a server again.
#[test]
fn servers_that_die_again_and_again_cost_nothing_but_time() {
    const ROUNDS: u64 = 40;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for profile in PROFILES {
        runtime.block_on(async {
            let place = Place::new();
            let client = client::<Increment>(&place, profile, LONG);
            let over = Arc::new(AtomicBool::new(false));
            let ask = |task: u64| {
                let (client, over) = (client.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let (mut number, mut answered) = (task << 32, 0u64);
                    while !over.load(Ordering::SeqCst) {
                        number += 1;
                        match client.call(number).await {
                            Ok(answer) => {
                                assert_eq!(answer.get().unwrap(), number + 1);
                                answered += 1;
                            }
                            // Not to keep the processor from whoever starts the next server.
                            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                        }
                    }
                    answered
                })
            };
            let tasks: Vec<_> = (1..9).map(ask).collect();
            for round in 0..ROUNDS {
                let server = serve(&place, Counter::default(), profile);
                let before = client.status().calls;
                until("an answer", || client.status().calls > before).await;
                // A little later, and each time a little later than that.
                for _ in 0..round * 10 {
                    tokio::task::yield_now().await;
                }
                server.stop().await;
            }
            let server = serve(&place, Counter::default(), profile);
            let before = client.status().calls;
            until("an answer", || client.status().calls > before).await;
            over.store(true, Ordering::SeqCst);
            let mut answered = 0;
            for task in tasks {
                answered += task.await.unwrap();
            }
            assert!(answered > ROUNDS);
            assert_eq!(client.status().calls, answered);
            drop(client);
            until("the end of the session", || server.status().sessions == 0).await;
            server.stop().await;
            assert_eq!(place.names(), [""; 0], "nothing is left");
        });
    }
}

#[test]
fn a_token_that_is_refused_is_not_tried_again() {
    run(async {
        let place = Place::new();
        let server = serve(&place, Counter::default(), Profiles::BASELINE);
        let offer = Offer { auth_token: 9, ..BASELINE };
        let config = ClientConfig { offer, timeout: LONG, ..ClientConfig::default() };
        let client = Client::<Increment>::new(&place.endpoint, &config);
        assert!(matches!(client.call(1).await, Err(Error::AuthFailed)));
        let error = client.call(1).await.unwrap_err();
        assert!(matches!(error, Error::NotReady(State::AuthFailed)), "{error}");
        // It is told first, and counted then.
        until("the refusal", || server.status().refused_total > 0).await;
        assert_eq!(server.status().refused_total, 1);
    });
}

#[test]
fn everybody_is_told_why_there_is_no_connection() {
    run(async {
        let place = Place::new();
        // Of another type, which connections are refused for.
        let _listener = UnixListener::bind(place.endpoint.socket_path()).unwrap();
        let client = client::<Increment>(&place, Profiles::BASELINE, LONG);
        let calls = [1, 2, 3].map(|number| tokio::spawn(client.call(number)));
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            let source = std::error::Error::source(&error).expect("a reason").to_string();
            assert!(source.contains("rong type for socket"), "{error}: {source}");
        }
    });
}

/// The client sees the socket but not the region, as in another mount namespace.
#[test]
fn who_wants_nothing_but_shared_memory_is_told_when_there_is_none() {
    run(async {
        let (place, elsewhere) = (Place::new(), Place::new());
        let _server = serve(&place, Counter::default(), Profiles::SHM_WAITERS);
        symlink(place.endpoint.socket_path(), elsewhere.endpoint.socket_path()).unwrap();
        let offer = Offer { profiles: Profiles::SHM, ..Offer::default() };
        let config = ClientConfig { offer, ..ClientConfig::default() };
        let client = Client::<Increment>::new(&elsewhere.endpoint, &config);
        let error = client.call(1).await.unwrap_err();
        assert!(matches!(error, Error::Region { .. }), "{error}");
    });
}

#[test]
fn a_call_without_an_end_outlasts_a_server_that_says_nothing() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    std::thread::spawn(move || {
        let silent = listener.accept();
        // Until the client hangs up, which takes it 5 seconds.
        while silent.recv().is_some() {}
        let raw = listener.serve();
        let asked = Header::decode(&raw.recv().unwrap()).unwrap();
        raw.send(&message(asked.response(Status::OK), &8u64.to_ne_bytes()));
        while raw.recv().is_some() {}
    });
    run(async {
        let client = client::<Increment>(&place, Profiles::BASELINE, Duration::ZERO);
        assert_eq!(client.call(7).await.unwrap().get().unwrap(), 8);
    });
}

/// A client without tokio that began before is still at it when the runtime has ended.
#[test]
fn a_runtime_ends_while_a_client_waits_for_a_server_that_says_nothing() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let mut blocking =
        snapwire::Client::<Increment>::new(&place.endpoint, &client_config(Profiles::BASELINE));
    let abort = blocking.abort_handle();
    let blocking = std::thread::spawn(move || blocking.refresh());
    let _first = listener.accept();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _second = runtime.block_on(async {
        let client = client::<Increment>(&place, Profiles::BASELINE, LONG);
        tokio::spawn(client.call(1));
        let accepted = tokio::task::spawn_blocking(move || {
            let second = listener.accept();
            second.recv().expect("the first packet of a handshake");
            second
        });
        accepted.await.unwrap()
    });
    drop(runtime);
    assert!(!blocking.is_finished(), "the runtime waited for the handshake");
    abort.abort();
    blocking.join().unwrap();
}

#[test]
fn a_server_that_answers_too_early_is_left() {
    let place = Place::new();
    let listener = Raw::listen(&place.endpoint);
    let text = |text: &[u8]| {
        let length = u32::try_from(text.len()).unwrap().to_ne_bytes();
        [&8u32.to_ne_bytes(), &length, text, &[0]].concat()
    };
    std::thread::spawn(move || {
        // It never reads what comes after the first packet.
        let early = listener.serve();
        let asked = Header::decode(&early.recv().unwrap()).unwrap();
        early.send(&message(asked.response(Status::OK), &text(b"early")));
        let raw = listener.serve();
        let asked = Header::decode(&raw.recv().unwrap()).unwrap();
        raw.send(&message(asked.response(Status::OK), &text(b"right")));
        while raw.recv().is_some() {}
        drop(early);
    });
    run(async {
        let offer = Offer { request: limit(1 << 20, 1), ..only(Profiles::BASELINE) };
        let config = ClientConfig { offer, ..ClientConfig::default() };
        let client = Client::<StringReverse>::new(&place.endpoint, &config);
        let early = client.call(&[7; 900_000]).await.unwrap();
        assert_eq!(early.get().unwrap(), b"early");
        assert_eq!(client.call(b"thgir").await.unwrap().get().unwrap(), b"right");
        assert_eq!(client.status().reconnects, 1);
    });
}

/// The packets with which a request is answered.
type Lie = Box<dyn Fn(Header) -> Vec<Vec<u8>> + Send>;

/// What a server of lies does with the connections that it gets, one after the other.
fn lies(place: &Place, packets: impl Fn(Header) -> Vec<Vec<u8>> + Send + 'static) {
    let listener = Raw::listen(&place.endpoint);
    std::thread::spawn(move || {
        for _ in 0..4 {
            let raw = listener.serve();
            let asked = Header::decode(&raw.recv().unwrap()).unwrap();
            for packet in packets(asked) {
                raw.try_send(&packet);
            }
            // Until the client hangs up.
            while raw.recv().is_some() {}
        }
    });
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let ok = |asked: Header| asked.response(Status::OK);
    let cases: [(&str, Lie); 10] = [
        (
            "another id",
            Box::new(move |asked| {
                let header = Header { message_id: u64::MAX, ..ok(asked) };
                vec![message(header, &[0; 8])]
            }),
        ),
        (
            "another code",
            Box::new(move |asked| vec![message(Header { code: Code(9), ..ok(asked) }, &[0; 8])]),
        ),
        ("a batch", Box::new(move |asked| vec![message(ok(asked).with_batch(1), &[0; 16])])),
        ("too short", Box::new(move |asked| vec![message(ok(asked), &[0; 7])])),
        ("a question", Box::new(|asked| vec![message(asked, &[0; 8])])),
        ("no message", Box::new(|_| vec![vec![1; 40]])),
        ("an empty packet", Box::new(|_| vec![vec![]])),
        (
            "too many continuations",
            Box::new(move |asked| {
                let first = Header { payload_len: 9, ..ok(asked) };
                let rest = (1..9).map(|index| Chunk {
                    message_id: asked.message_id,
                    total_message_len: 41,
                    index,
                    count: 2,
                    payload_len: 1,
                });
                let rest = rest.map(|chunk| [&chunk.encode()[..], &[0]].concat());
                std::iter::once([&first.encode()[..], &[0]].concat()).chain(rest).collect()
            }),
        ),
        (
            "a longer packet",
            Box::new(move |asked| {
                let header = Header { payload_len: 4, ..ok(asked) };
                vec![[&header.encode()[..], &[0; 8]].concat()]
            }),
        ),
        (
            "a bad continuation",
            Box::new(move |asked| {
                let header = Header { payload_len: 99_000, ..ok(asked) };
                vec![[&header.encode()[..], &[0; 8]].concat(), vec![0; 64]]
            }),
        ),
    ];
    for (what, packets) in cases {
        let place = Place::new();
        lies(&place, packets);
        let config = client_config(Profiles::BASELINE);
        let mut blocking = snapwire::Client::<Increment>::new(&place.endpoint, &config);
        blocking.refresh();
        let without = format!("{:?}", blocking.call(1).unwrap_err());
        drop(blocking);
        run(async {
            let client = client::<Increment>(&place, Profiles::BASELINE, LONG);
            let error = client.call(1).await.unwrap_err();
            let told = matches!(
                error,
                Error::UnknownMessageId(_)
                    | Error::Protocol(_)
                    | Error::Malformed(_)
                    | Error::LimitExceeded { .. }
                    | Error::NotReady(_)
            );
            assert!(told || what == "an empty packet", "{what}: {error}");
            assert_eq!(format!("{error:?}"), without, "{what}: the same as without tokio");
            assert_eq!(client.status().reconnects, 1, "{what}: once more, and no more");
        });
    }
}

#[test]
fn servers_end_when_they_should() {
    run(async {
        // Drained: what is being answered is.
        let place = Place::new();
        let (counter, gate, entered) = gated();
        let server = serve(&place, counter, Profiles::BASELINE);
        let client = client::<Increment>(&place, Profiles::BASELINE, LONG);
        let call = tokio::spawn(client.call(77));
        until("the handler", || entered.load(Ordering::SeqCst) == 1).await;
        let draining = tokio::spawn(server.drain(LONG));
        gate.add_permits(1);
        assert_eq!(call.await.unwrap().unwrap().get().unwrap(), 78);
        assert!(draining.await.unwrap());
        // Handlers that never end do not hold it up.
        for end in 0..3 {
            let (counter, _gate, entered) = gated();
            let server = serve(&place, counter, Profiles::BASELINE);
            let call = tokio::spawn(client.call(77));
            let raw = Raw::client(&place.endpoint);
            raw.send(&message(Header::request(Code::INCREMENT, 1), &77u64.to_ne_bytes()));
            until("the handlers", || entered.load(Ordering::SeqCst) == 2).await;
            match end {
                0 => assert!(!server.drain(Duration::from_millis(20)).await),
                1 => server.stop().await,
                _ => drop(server),
            }
            call.abort();
            assert_eq!(raw.recv(), None, "no answer, as without tokio, but the end");
            until("the end of the server", || place.names().is_empty()).await;
        }
    });
}
