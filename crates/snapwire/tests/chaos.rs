//! A thousand kills of clients and servers, at any moment, with calls in flight.
//!
//! The process that is killed is this test binary itself, started again with [`ROLE`] set.

mod support;

use snapwire::codec::Profiles;
use snapwire::{Client, ClientConfig, Endpoint, Error, Server, ServerConfig, StringReverse};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Dice, Place, limit, only, until};

/// What a process that is started to be killed does: `server` or `client`, a profile, and where.
const ROLE: &str = "SNAPWIRE_CHAOS_ROLE";
const KILLS: u64 = 500;
/// Pairs of peers that die beside each other. Most of the time somebody is waiting.
const LANES: u64 = 5;
/// A call may take so long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// And no call takes so much longer, however busy the machine is.
const SLACK: Duration = Duration::from_secs(20);
const PROFILES: [Profiles; 3] = [Profiles::SHM_WAITERS, Profiles::SHM_HYBRID, Profiles::BASELINE];

fn client(endpoint: &Endpoint, profile: Profiles) -> Client<StringReverse> {
    Client::new(
        endpoint,
        &ClientConfig { offer: only(profile), timeout: TIMEOUT, ..Default::default() },
    )
}

fn server(endpoint: &Endpoint, profile: Profiles) -> Server {
    let offer = snapwire::Offer { request: limit(1 << 20, 1), ..only(profile) };
    let config = ServerConfig { offer, workers: 64, ..ServerConfig::default() };
    Server::start::<StringReverse>(endpoint, &config, |text, reply| {
        let reversed: Vec<u8> = text.iter().rev().copied().collect();
        Ok(reply.set(&reversed)?)
    })
    .unwrap()
}

/// One call, whose answer is right if there is one, and which ends in time.
fn call(client: &mut Client<StringReverse>, dice: &mut Dice) -> Result<(), Error> {
    let length = dice.roll() % 900;
    let text: Vec<u8> = (0..length).map(|_| dice.roll() as u8).collect();
    let began = Instant::now();
    let answer = client.call(&text);
    let took = began.elapsed();
    assert!(took < TIMEOUT + SLACK, "a call took {took:?}");
    assert!(answer?.iter().eq(text.iter().rev()), "a wrong answer");
    Ok(())
}

/// On a line of its own, whatever the test harness has begun.
fn say_ready() {
    std::io::stdout().write_all(b"\nREADY\n").unwrap();
}

/// Calls until it is killed, and says when the first call was answered.
fn be_client(endpoint: &Endpoint, profile: Profiles) {
    let mut dice = Dice(u64::from(std::process::id()) | 1);
    let mut client = client(endpoint, profile);
    client.refresh();
    let mut told = false;
    loop {
        if let Err(error) = call(&mut client, &mut dice) {
            panic!("the server lives, and a call failed: {error}");
        }
        if !told {
            say_ready();
            told = true;
        }
    }
}

/// Serves until it is killed.
fn be_server(endpoint: &Endpoint, profile: Profiles) {
    let _server = server(endpoint, profile);
    say_ready();
    loop {
        thread::park();
    }
}

/// Not a test of its own: what the killed processes are.
#[test]
fn peer() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.splitn(3, ' ').collect();
    let endpoint = Endpoint::new(words[2], "svc").unwrap();
    let profile = Profiles(words[1].parse().unwrap());
    match words[0] {
        "server" => be_server(&endpoint, profile),
        _ => be_client(&endpoint, profile),
    }
}

/// A process that is killed when this value goes.
struct Victim(Child);

impl Victim {
    /// Starts it, and waits until it is ready.
    fn start(role: &str, profile: Profiles, place: &Place) -> Victim {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "peer", "--nocapture"])
            .env(ROLE, format!("{role} {} {}", profile.0, place.directory.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "READY");
        let victim = Victim(child);
        assert!(ready, "a {role} ended by itself");
        victim
    }

    /// Kills it in the middle of whatever it does.
    fn kill(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "it has ended by itself");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Clients of a server that is killed again and again. They notice, come back by a refresh once it
/// is there, and never see a wrong answer.
fn kill_servers(profile: Profiles, lane: u64) {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    let answered: [AtomicU64; 2] = Default::default();
    thread::scope(|scope| {
        for (number, answered) in answered.iter().enumerate() {
            let (place, stop) = (&place, &stop);
            scope.spawn(move || {
                let mut dice = Dice(0x9e37_79b9 + 2 * lane + number as u64);
                let mut client = client(&place.endpoint, profile);
                while !stop.load(Ordering::Acquire) {
                    if !client.is_ready() {
                        client.refresh();
                    }
                    match call(&mut client, &mut dice) {
                        Ok(()) => _ = answered.fetch_add(1, Ordering::AcqRel),
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
            });
        }
        let mut dice = Dice(77 + lane);
        for kill in 0..KILLS / LANES {
            let victim = Victim::start("server", profile, &place);
            let before = [0, 1].map(|number: usize| answered[number].load(Ordering::Acquire));
            until(&format!("all clients are served again after kill {kill}"), || {
                (0..2).all(|number| answered[number].load(Ordering::Acquire) > before[number])
            });
            thread::sleep(Duration::from_micros(dice.roll() % 3000));
            victim.kill();
        }
        stop.store(true, Ordering::Release);
    });
    // What the last one left is the next one's to remove.
    drop(server(&place.endpoint, profile));
    assert_eq!(place.names(), [""; 0], "nothing is left");
}

/// A server whose clients are killed again and again. It lets go of each of them.
fn kill_clients(profile: Profiles, lane: u64) {
    let place = Place::new();
    let server = server(&place.endpoint, profile);
    let mut dice = Dice(991 + lane);
    for _ in 0..KILLS / LANES {
        let victim = Victim::start("client", profile, &place);
        thread::sleep(Duration::from_micros(dice.roll() % 3000));
        victim.kill();
    }
    until("all workers are free", || server.status().sessions == 0);
    assert!(server.status().sessions_total >= KILLS / LANES);
    assert_eq!(place.names(), ["svc.sock"], "no region is left");
    let mut client = client(&place.endpoint, profile);
    client.refresh();
    call(&mut client, &mut dice).unwrap();
    drop(client);
    server.stop();
    assert_eq!(place.names(), [""; 0]);
}

/// 1,000 processes are killed with calls in flight: half of them servers, half of them clients.
#[test]
fn a_thousand_kills() {
    let before = descriptors();
    for lane in [kill_servers, kill_clients] {
        thread::scope(|scope| {
            for number in 0..LANES {
                let profile = PROFILES[number as usize % PROFILES.len()];
                scope.spawn(move || lane(profile, number));
            }
        });
    }
    assert_eq!(descriptors(), before, "no descriptor is left");
}
