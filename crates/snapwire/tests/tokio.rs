//! Clients and servers on tokio: many callers, calls that are dropped or too late, peers that die.

mod support;

use snapwire::codec::{Code, Header, Pid, Profiles, Status};
use snapwire::tokio::{Client, Server};
use snapwire::{
    AppsLookup, ClientConfig, Endpoint, Error, Failure, Increment, NumberReply, ServerConfig,
    Service, State, StringReverse, TextReply,
};
use std::future::{Future, poll_fn};
use std::os::unix::fs::symlink;
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
    let offer = snapwire::Offer { request: limit(0, 64), ..only(profile) };
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
            {
                let mut call = pin!(client.lookup(&[Pid(77)]));
                let mut seen =
                    pin!(until("the handler", || entered.load(Ordering::SeqCst) > before));
                poll_fn(|cx| {
                    assert!(call.as_mut().poll(cx).is_pending());
                    seen.as_mut().poll(cx)
                })
                .await;
            }
            assert_eq!(client.lookup(&pids[..2]).await.unwrap().get().unwrap().len(), 2);
            assert_eq!((client.status().calls, client.status().errors), (3, 0));
        });
    }
}

#[test]
fn a_request_that_the_server_does_not_allow_is_the_callers_own_affair() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let offer = snapwire::Offer { request: limit(4096, 1), ..only(profile) };
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
fn a_call_that_is_dropped_disturbs_nobody() {
    for profile in PROFILES {
        run(async {
            let place = Place::new();
            let (counter, gate, entered) = gated();
            let server = serve(&place, counter, profile);
            let client = client::<Increment>(&place, profile, LONG);
            assert_eq!(client.call(1).await.unwrap().get().unwrap(), 2);
            // Dropped while the handler is at it.
            {
                let mut call = pin!(client.call(77));
                let mut seen = pin!(until("the handler", || entered.load(Ordering::SeqCst) == 2));
                poll_fn(|cx| {
                    assert!(call.as_mut().poll(cx).is_pending());
                    seen.as_mut().poll(cx)
                })
                .await;
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
        let offer = snapwire::Offer { auth_token: 9, ..BASELINE };
        let config = ClientConfig { offer, timeout: LONG, ..ClientConfig::default() };
        let client = Client::<Increment>::new(&place.endpoint, &config);
        assert!(matches!(client.call(1).await, Err(Error::AuthFailed)));
        let error = client.call(1).await.unwrap_err();
        assert!(matches!(error, Error::NotReady(State::AuthFailed)), "{error}");
        assert_eq!(server.status().refused_total, 1);
    });
}

/// The packets with which a request is answered.
type Lie = Box<dyn Fn(Header) -> Vec<Vec<u8>> + Send>;

/// What a server of lies does with the connections that it gets, one after the other.
fn lies(place: &Place, packets: impl Fn(Header) -> Vec<Vec<u8>> + Send + 'static) {
    let listener = Raw::listen(&place.endpoint);
    std::thread::spawn(move || {
        for _ in 0..2 {
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
    let cases: [(&str, Lie); 7] = [
        (
            "another id",
            Box::new(move |asked| {
                let header = Header { message_id: asked.message_id + 1, ..ok(asked) };
                vec![message(header, &[0; 8])]
            }),
        ),
        (
            "another code",
            Box::new(move |asked| vec![message(Header { code: Code(9), ..ok(asked) }, &[0; 8])]),
        ),
        ("a batch", Box::new(move |asked| vec![message(ok(asked).with_batch(1), &[0; 16])])),
        ("too short", Box::new(move |asked| vec![message(ok(asked), &[0; 7])])),
        ("no message", Box::new(|_| vec![vec![1; 40]])),
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
            assert!(told, "{what}: {error}");
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
            until("the handler", || entered.load(Ordering::SeqCst) == 1).await;
            match end {
                0 => assert!(!server.drain(Duration::from_millis(20)).await),
                1 => server.stop().await,
                _ => drop(server),
            }
            call.abort();
            until("the end of the server", || place.names().is_empty()).await;
        }
    });
}
