//! How fast snapwire is, beside bare sockets, bare shared memory and memcpy, here and now.
//!
//! Two processes, release build. Whatever is compared is measured in turns, a fraction of a second
//! each; the medians of the rounds' medians are told with the best and the worst beside them. Every answer
//! is checked; a wrong one, a round without an answer, or a process that has used no CPU ends the
//! run without a table. Run it through `cargo xtask bench ipc`.

mod bare;
mod figure;
mod peer;

use anyhow::{Context, Result, ensure};
use bare::{Bytes, MESSAGE_LEN, Shm, Uds};
use belljar_bench::{MachineCpu, Policy};
use clap::{Parser, Subcommand};
use figure::{Figure, Target};
use hdrhistogram::Histogram;
use peer::{Changing, Peer, Place, Serve, endpoint, image, name, offer, own_cpu_s};
use snapwire::codec::{Pid, Profiles};
use snapwire::{
    AppsLookup, CachedSnapshot, CgroupsLookup, CgroupsSnapshot, Client, ClientConfig, Increment,
    Service, SnapshotCache,
};
use std::cell::RefCell;
use std::hint::{black_box, spin_loop};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Measures calls over sockets and shared memory, batches, snapshots, look-ups and the cache.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Print one JSON object with the keys of the table.
    #[arg(long)]
    json: bool,
    /// How often each figure is measured, at least 5 times.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(5..))]
    rounds: u32,
    /// How long a round takes, in milliseconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..))]
    round_ms: u64,
    /// Measure only the scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Let the kernel choose CPUs, and move both sides back and forth. Otherwise the client is kept
    /// on its first CPU, servers over sockets there, too, which is where sockets are fastest, and
    /// servers in shared memory on the last CPU.
    #[arg(long)]
    unpinned: bool,
    /// The CPU to be on.
    #[arg(long, hide = true)]
    cpu: Option<usize>,
    /// Where sockets and regions are.
    #[arg(long, hide = true)]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    serve: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the other process.
    #[command(hide = true)]
    Serve {
        #[command(subcommand)]
        what: Serve,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve { what }) = arguments.serve {
        let directory = arguments.directory.context("no directory to serve in")?;
        if let Some(cpu) = arguments.cpu {
            peer::move_to(cpu)?;
        }
        return peer::serve(what, &directory);
    }
    let scenarios: [(&str, Scenario); 8] = [
        ("ping-pong", ping_pong),
        ("latency", latencies),
        ("rates", rates),
        ("batch", batches),
        ("snapshot", snapshots),
        ("lookup", lookups),
        ("cache", cache),
        ("old-profile", old_profile),
    ];
    ensure!(
        scenarios.iter().any(|(name, _)| name.contains(&arguments.only)),
        "no scenario is called like {:?}; there are {}",
        arguments.only,
        scenarios.map(|(name, _)| name).join(", ")
    );
    if !arguments.unpinned {
        peer::pin()?;
    }
    let mut bench = Bench {
        rounds: arguments.rounds,
        round: Duration::from_millis(arguments.round_ms),
        figures: Vec::new(),
    };
    let (began, machine) = (Instant::now(), MachineCpu::now()?);
    for (name, scenario) in scenarios {
        if name.contains(&arguments.only) {
            writeln!(io::stderr(), "measuring {name} ...")?;
            scenario(&mut bench).with_context(|| format!("cannot measure {name}"))?;
        }
    }
    let wall_ns = u64::try_from(began.elapsed().as_nanos())?;
    let foreign_ns = MachineCpu::now()?.foreign_ns(&machine, peer::used_ns()?, wall_ns);
    bench.print(foreign_ns as f64 / wall_ns as f64, arguments.json)
}

/// Measures some figures and adds them to the table.
type Scenario = fn(&mut Bench) -> Result<()>;

struct Bench {
    rounds: u32,
    round: Duration,
    figures: Vec<Figure>,
}

/// How much work is done between two looks at the clock.
const GROUP: usize = 32;
/// Work that takes longer is timed one by one.
const LONG: Duration = Duration::from_micros(10);

/// A directory in memory: what is measured must not be a disk.
fn directory() -> Result<tempfile::TempDir> {
    let shm = Path::new("/dev/shm");
    Ok(if shm.is_dir() { tempfile::tempdir_in(shm)? } else { tempfile::tempdir()? })
}

/// A connected client with its server.
fn connect<S: Service>(
    what: Serve,
    profile: Profiles,
) -> Result<(Client<S>, Peer, tempfile::TempDir)> {
    let directory = directory()?;
    let peer = Peer::start(what, directory.path())?;
    Ok((client_of(directory.path(), profile)?, peer, directory))
}

/// A connected client of the server in a directory.
fn client_of<S: Service>(directory: &Path, profile: Profiles) -> Result<Client<S>> {
    let config = ClientConfig { offer: offer(profile), ..ClientConfig::default() };
    let mut client = Client::new(&endpoint(directory)?, &config);
    client.refresh();
    ensure!(client.is_ready(), "the client is {}", client.state());
    ensure!(client.terms().is_some_and(|terms| terms.profile == profile), "another profile");
    Ok(client)
}

/// A bare peer in shared memory, answering with so many bytes.
fn bare_shm(place: Bytes, length: usize) -> Result<(Shm, Peer, tempfile::TempDir)> {
    let directory = directory()?;
    let shm = Shm::open(&directory.path().join("bare.shm"), place, length, true)?;
    let peer = Peer::start(Serve::BareShm { place, length }, directory.path())?;
    Ok((shm, peer, directory))
}

impl Bench {
    /// How long one piece of work takes when it is done over and over for a round, in nanoseconds:
    /// the median of groups, so that a group during which somebody else had the core counts little.
    fn per_work(&self, mut work: impl FnMut(u64) -> Result<()>) -> Result<f64> {
        let (began, mut done) = (Instant::now(), 0u64);
        let mut groups = Vec::with_capacity(1 << 16);
        work(done)?;
        // The clock costs as much as some of the work; what takes long is a group of its own.
        let group = if began.elapsed() > LONG { 1 } else { GROUP };
        let mut passed = began.elapsed();
        // One group at least: somebody else may have had the core for all of the round.
        while groups.is_empty() || passed < self.round {
            for _ in 0..group {
                done += 1;
                work(done)?;
            }
            let now = began.elapsed();
            groups.push((now - passed).as_nanos() as u64);
            passed = now;
        }
        let middle = groups.len() / 2;
        let (_, median, _) = groups.select_nth_unstable(middle);
        Ok(*median as f64 / group as f64)
    }

    /// Measures in turns; gives the rounds of each.
    fn in_turns<const N: usize>(
        &self,
        mut works: [&mut dyn FnMut(u64) -> Result<()>; N],
    ) -> Result<[Vec<f64>; N]> {
        let mut rounds = [const { Vec::new() }; N];
        for work in &mut works {
            for warm in 0..100 {
                work(warm)?;
            }
        }
        for _ in 0..self.rounds {
            for (work, rounds) in works.iter_mut().zip(&mut rounds) {
                rounds.push(self.per_work(&mut **work)?);
            }
        }
        Ok(rounds)
    }

    fn add(&mut self, key: &str, unit: &'static str, target: Target, rounds: &[f64]) {
        self.figures.push(Figure::of(key, unit, target, rounds));
    }

    /// Measures quantiles, the CPU of both sides and the rate of a whole round, some times over.
    fn add_latencies(
        &mut self,
        name: &str,
        targets: [Target; 6],
        mut measure: impl FnMut(&Bench) -> Result<[f64; 6]>,
    ) -> Result<()> {
        let mut rounds = [const { Vec::new() }; 6];
        for _ in 0..self.rounds.min(5) {
            for (rounds, value) in rounds.iter_mut().zip(measure(self)?) {
                rounds.push(value);
            }
        }
        let columns = [
            ("p50_us", "us"),
            ("p99_us", "us"),
            ("p999_us", "us"),
            ("client_cpu_percent", "%"),
            ("server_cpu_percent", "%"),
            ("calls_per_s", "/s"),
        ];
        for (((column, unit), target), rounds) in columns.into_iter().zip(targets).zip(&rounds) {
            self.add(&format!("{name}_{column}"), unit, target, rounds);
        }
        Ok(())
    }

    /// The same of calls one after the other.
    fn add_calls(
        &mut self,
        name: &str,
        call: &mut dyn FnMut(u64) -> Result<()>,
        peer: &Peer,
    ) -> Result<()> {
        self.add_latencies(name, [Target::None; 6], |bench| {
            let calls = Calls { count: u64::MAX, gap: Duration::ZERO, most: bench.round };
            measure(call, peer, calls).with_context(|| format!("cannot measure {name}"))
        })
    }

    /// Tells the figures, and how many CPUs others have used meanwhile.
    fn print(&self, foreign_cpus: f64, json: bool) -> Result<()> {
        let mut out = io::stdout().lock();
        let cores = peer::cpus();
        if json {
            let pairs = self.figures.iter().map(|f| (f.key.clone(), f.value.into()));
            let mut object: serde_json::Map<String, serde_json::Value> = pairs.collect();
            let rows = self.figures.iter().map(Figure::json).collect();
            object.insert(String::from("rows"), rows);
            let pinned = peer::is_pinned();
            let host =
                serde_json::json!({"cores": cores, "foreign_cpus": foreign_cpus, "pinned": pinned});
            object.insert(String::from("host"), host);
            serde_json::to_writer(&mut out, &object)?;
            writeln!(out)?;
            return Ok(());
        }
        writeln!(out, "| figure | target | median | least to most | rounds |")?;
        writeln!(out, "| --- | --- | --- | --- | --- |")?;
        for figure in &self.figures {
            writeln!(out, "{figure}")?;
        }
        let pinned = if peer::is_pinned() { "; pinned" } else { "; placed by the kernel" };
        writeln!(out, "\n{cores} cores, of which others used {foreign_cpus:.2} meanwhile{pinned}")?;
        let has_target = |figure: &&Figure| !matches!(figure.target, Target::None);
        let targets = self.figures.iter().filter(has_target).count();
        let missed = self.figures.iter().filter(|figure| !figure.is_met()).count();
        let is_apart = |figure: &&Figure| has_target(figure) && !figure.is_stable();
        let apart = self.figures.iter().filter(is_apart).count();
        writeln!(
            out,
            "of {targets} figures with a target {missed} missed it, {apart} were unstable"
        )?;
        if apart > 0 || foreign_cpus > Policy::default().foreign_cpus_max {
            writeln!(out, "the machine was busy or slow for a while: measure again")?;
        }
        Ok(())
    }
}

/// The rounds of one divided by those of another, round by round: both of a pair were measured in
/// the same second.
fn ratios(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one / other).collect()
}

/// Calls of one number, one after the other, each with the answer to the last.
fn calls(client: &mut Client<Increment>) -> impl FnMut(u64) -> Result<()> {
    |number| {
        let answer = client.call(number)?;
        ensure!(answer == number + 1, "{answer} is not one more than {number}");
        Ok(())
    }
}

/// The numbers of a batch.
const ITEMS: usize = 1000;

/// Batches of a thousand numbers.
fn batches_of(client: &mut Client<Increment>) -> impl FnMut(u64) -> Result<()> {
    let asks: Vec<u64> = (0..ITEMS as u64).collect();
    move |_| {
        let answers = client.call_batch(asks.iter().copied())?;
        let mut expected = 1;
        for answer in answers.iter() {
            ensure!(answer? == expected, "not the answer");
            expected += 1;
        }
        ensure!(expected == ITEMS as u64 + 1, "answers are missing");
        Ok(())
    }
}

/// Snapshots of so many cgroups.
fn snapshots_of(client: &mut Client<CgroupsSnapshot>, items: u32) -> impl FnMut(u64) -> Result<()> {
    move |_| {
        let snapshot = client.call(())?;
        ensure!(snapshot.len() == items as usize, "items are missing");
        ensure!(snapshot.item(0)?.hash == 0, "not the first item");
        Ok(())
    }
}

/// A cache of the service in a directory.
fn cache_of(directory: &Path, profile: Profiles) -> Result<SnapshotCache> {
    let config = ClientConfig { offer: offer(profile), ..ClientConfig::default() };
    Ok(SnapshotCache::new(&endpoint(directory)?, &config))
}

/// Snapshots into a cache.
fn refreshes(cache: &SnapshotCache, items: u32) -> impl FnMut(u64) -> Result<()> {
    move |_| {
        cache.refresh()?;
        ensure!(cache.load().len() == items as usize, "items are missing");
        Ok(())
    }
}

/// The keys of a look-up.
const KEYS: u32 = 256;

/// Look-ups of paths.
fn lookups_of_paths(client: &mut Client<CgroupsLookup>) -> impl FnMut(u64) -> Result<()> {
    let path = |index| format!("/system.slice/{}.service", name(index));
    // For the rest of the program.
    let paths: Vec<&[u8]> = (0..KEYS).map(|index| &*path(index).into_bytes().leak()).collect();
    move |_| {
        let response = client.lookup(&paths)?;
        ensure!(response.len() == paths.len(), "answers are missing");
        ensure!(response.item(paths.len() - 1)?.path == paths[paths.len() - 1], "not the answer");
        Ok(())
    }
}

/// Look-ups of pids.
fn lookups_of_pids(client: &mut Client<AppsLookup>) -> impl FnMut(u64) -> Result<()> {
    let pids: Vec<Pid> = (1..=KEYS).map(Pid).collect();
    move |_| {
        let response = client.lookup(&pids)?;
        ensure!(response.len() == pids.len(), "answers are missing");
        ensure!(response.item(pids.len() - 1)?.pid == pids[pids.len() - 1], "not the answer");
        Ok(())
    }
}

fn ping_pong(bench: &mut Bench) -> Result<()> {
    let uds = sockets(bench, Place::Beside, "uds")?;
    sockets(bench, Place::Apart, "uds_apart")?;
    let (mut shm, _shm_peer, _shm_directory) = bare_shm(Bytes::Apart, MESSAGE_LEN)?;
    let (mut one_line, _line_peer, _line_directory) = bare_shm(Bytes::Together, MESSAGE_LEN)?;
    fn ping(shm: &mut Shm, number: u64) -> Result<()> {
        let mut message = [0; MESSAGE_LEN];
        message[32..].copy_from_slice(&number.to_ne_bytes());
        shm.send(&message)?;
        shm.recv(&mut message)?;
        ensure!(message[32..] == number.to_ne_bytes(), "not the answer");
        Ok(())
    }
    let profile = Profiles::SHM_WAITERS;
    let (mut fast, _fast_peer, _fast_directory) =
        connect::<Increment>(Serve::Increment { profile: profile.0 }, profile)?;
    let [bare_shm, one_line, shm] = bench.in_turns([
        &mut |number| ping(&mut shm, number),
        &mut |number| ping(&mut one_line, number),
        &mut calls(&mut fast),
    ])?;
    bench.add("shm_bare_ns", "ns", Target::None, &bare_shm);
    bench.add("shm_bare_one_line_ns", "ns", Target::None, &one_line);
    bench.add("shm_ns", "ns", Target::None, &shm);
    let to_bare = Target::AtMost(1.25);
    bench.add("shm_to_bare_one_line", "x", to_bare, &ratios(&shm, &one_line));
    bench.add("shm_to_bare", "x", to_bare, &ratios(&shm, &bare_shm));
    bench.add("shm_rate_to_uds", "x", Target::AtLeast(5.0), &ratios(&uds, &shm));
    Ok(())
}

/// Calls over sockets beside bare packets, one by one and 16 under way; returns what a call takes.
fn sockets(bench: &mut Bench, place: Place, which: &str) -> Result<Vec<f64>> {
    const DEPTH: u64 = 16;
    let [bare_place, place_of_ours] = [directory()?, directory()?];
    let profile = Profiles::BASELINE;
    let _bare_peer = Peer::start_at(Serve::BareUds, place, bare_place.path())?;
    let serve = Serve::Increment { profile: profile.0 };
    let _peer = Peer::start_at(serve, place, place_of_ours.path())?;
    let mut bare = Uds::connect(&bare_place.path().join("bare.sock"))?;
    let mut client = client_of::<Increment>(place_of_ours.path(), profile)?;
    let mut piped = client_of::<Increment>(place_of_ours.path(), profile)?;
    let mut window = |number: u64| -> Result<()> {
        let asks = (0..DEPTH).map(|index| number + index);
        let mut right = 0;
        piped.pipeline(asks, DEPTH as usize, |index, answer| {
            right += u64::from(answer == number + index as u64 + 1);
            Ok(())
        })?;
        ensure!(right == DEPTH, "not all of a window was answered");
        Ok(())
    };
    let bare = RefCell::new(&mut bare);
    let [bare_one, one, bare_window, window] = bench.in_turns([
        &mut |number| bare.borrow_mut().window(number, 1),
        &mut calls(&mut client),
        &mut |number| bare.borrow_mut().window(number, DEPTH),
        &mut window,
    ])?;
    let each = |window: &[f64]| window.iter().map(|ns| ns / DEPTH as f64).collect::<Vec<f64>>();
    let (bare_each, each) = (each(&bare_window), each(&window));
    let mut add = |key: &str, unit, target, rounds: &[f64]| {
        bench.add(&format!("{which}_{key}"), unit, target, rounds);
    };
    // Apart, a call is a wake-up of an idle core, and differs by more than a tenth from the next.
    let to_bare = match place {
        Place::Beside => Target::AtMost(1.10),
        Place::Apart => Target::None,
    };
    add("bare_ns", "ns", Target::None, &bare_one);
    add("ns", "ns", Target::None, &one);
    add("to_bare", "x", to_bare, &ratios(&one, &bare_one));
    add("pipeline_bare_ns", "ns", Target::None, &bare_each);
    add("pipeline_ns", "ns", Target::None, &each);
    let key = "pipeline_rate_to_ping_pong";
    add(&format!("bare_{key}"), "x", Target::None, &ratios(&bare_one, &bare_each));
    add(key, "x", Target::AtLeast(3.0), &ratios(&one, &each));
    add("pipeline_to_bare", "x", Target::None, &ratios(&each, &bare_each));
    Ok(one)
}

/// The profile of other implementations, in which every message wakes.
fn old_profile(bench: &mut Bench) -> Result<()> {
    let profile = Profiles::SHM_HYBRID;
    let (mut client, _peer, _directory) =
        connect::<Increment>(Serve::Increment { profile: profile.0 }, profile)?;
    let [shm] = bench.in_turns([&mut calls(&mut client)])?;
    bench.add("shm_hybrid_ns", "ns", Target::None, &shm);
    Ok(())
}

/// One call after the other, of each kind: how long each takes, and the CPU of both sides.
fn latencies(bench: &mut Bench) -> Result<()> {
    for (profile, which) in [(Profiles::SHM_WAITERS, "shm"), (Profiles::BASELINE, "uds")] {
        let (mut client, peer, _directory) =
            connect::<Increment>(Serve::Increment { profile: profile.0 }, profile)?;
        bench.add_calls(&format!("{which}_max"), &mut calls(&mut client), &peer)?;
        bench.add_calls(&format!("{which}_batch"), &mut batches_of(&mut client), &peer)?;
    }
    let profile = Profiles::SHM_WAITERS;
    for items in [16, 5000] {
        let serve = Serve::Snapshot { profile: profile.0, items, changing: Changing::Nothing };
        let (mut client, peer, directory) = connect::<CgroupsSnapshot>(serve, profile)?;
        let mut call = snapshots_of(&mut client, items);
        bench.add_calls(&format!("snapshot_{items}"), &mut call, &peer)?;
        let cache = cache_of(directory.path(), profile)?;
        cache.refresh()?;
        bench.add_calls(&format!("cache_refresh_{items}"), &mut refreshes(&cache, items), &peer)?;
    }
    let (mut cgroups, peer, _directory) =
        connect::<CgroupsLookup>(Serve::Cgroups { profile: profile.0 }, profile)?;
    bench.add_calls("cgroups_lookup", &mut lookups_of_paths(&mut cgroups), &peer)?;
    let (mut apps, peer, _directory) =
        connect::<AppsLookup>(Serve::Apps { profile: profile.0 }, profile)?;
    bench.add_calls("apps_lookup", &mut lookups_of_pids(&mut apps), &peer)
}

/// Calls at fixed rates. Latency counts from when a call was due.
fn rates(bench: &mut Bench) -> Result<()> {
    for (profile, which) in [(Profiles::SHM_WAITERS, "shm"), (Profiles::BASELINE, "uds")] {
        let (mut client, peer, _directory) =
            connect::<Increment>(Serve::Increment { profile: profile.0 }, profile)?;
        let mut call = calls(&mut client);
        for (rate, name) in [(1_000u64, "1k"), (10_000, "10k"), (100_000, "100k")] {
            let p50 = if which == "shm" { Target::AtMost(10.0) } else { Target::None };
            let burnt = match (which, rate) {
                ("shm", 1_000) => Target::AtMost(25.0),
                _ => Target::None,
            };
            let targets = [p50, Target::None, Target::None, Target::None, burnt, Target::None];
            bench.add_latencies(&format!("{which}_{name}"), targets, |bench| {
                let gap = Duration::from_nanos(1_000_000_000 / rate);
                let round = bench.round * 2;
                let count = (round.as_nanos() / gap.as_nanos()).max(50) as u64;
                // What cannot keep up is cut off, and seen in its latencies.
                measure(&mut call, &peer, Calls { count, gap, most: round * 2 })
            })?;
        }
    }
    Ok(())
}

/// Which calls to measure.
struct Calls {
    count: u64,
    /// From one to the next. Zero: at once.
    gap: Duration,
    /// After this no more are made.
    most: Duration,
}

/// p50, p99 and p99.9 in microseconds, how busy the client's calls and the server were, in percent of
/// a core, and calls per second of all the time, whatever came between.
fn measure(call: &mut dyn FnMut(u64) -> Result<()>, peer: &Peer, calls: Calls) -> Result<[f64; 6]> {
    let mut histogram = Histogram::<u64>::new_with_max(100_000_000_000, 3)?;
    let server = peer.cpu_s()?;
    let (began, before) = (Instant::now(), own_cpu_s());
    let mut idled = 0.0;
    let mut due = began;
    for number in 0..calls.count {
        if calls.gap.is_zero() {
            due = Instant::now();
        } else if let Some(left) = due.checked_duration_since(Instant::now()) {
            // Sleeping is coarse, so the last of the way is spun. That is this benchmark's own
            // time, and not counted.
            if left > Duration::from_micros(200) {
                std::thread::sleep(left - Duration::from_micros(150));
            }
            let spins = own_cpu_s();
            while Instant::now() < due {
                spin_loop();
            }
            idled += own_cpu_s() - spins;
        }
        call(number)?;
        histogram.record(due.elapsed().as_nanos() as u64)?;
        due += calls.gap;
        if began.elapsed() > calls.most {
            break;
        }
    }
    let passed = began.elapsed().as_secs_f64();
    let own = own_cpu_s() - before - idled;
    let server = peer.cpu_s()? - server;
    ensure!(server > 0.0, "the server used no CPU, which cannot be");
    let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    ensure!(us(0.5) > 0.0, "a latency of nothing");
    let percent = |seconds: f64| seconds.max(0.0) / passed * 100.0;
    let rate = histogram.len() as f64 / passed;
    Ok([us(0.5), us(0.99), us(0.999), percent(own), percent(server), rate])
}

fn batches(bench: &mut Bench) -> Result<()> {
    // Requests and responses have directory and numbers, 16 bytes an item; each is copied in and out.
    let bytes = ITEMS * 16;
    let (source, mut target) = (vec![1u8; bytes], vec![0u8; bytes]);
    let mut copy = |_| -> Result<()> {
        for _ in 0..4 {
            target.copy_from_slice(black_box(&source));
            black_box(&mut target);
        }
        Ok(())
    };
    let profiles = [(Profiles::SHM_WAITERS, "shm"), (Profiles::BASELINE, "uds")];
    let [(mut shm, _p1, _d1), (mut uds, _p2, _d2)] = [
        connect::<Increment>(Serve::Increment { profile: profiles[0].0.0 }, profiles[0].0)?,
        connect::<Increment>(Serve::Increment { profile: profiles[1].0.0 }, profiles[1].0)?,
    ];
    let [copies, shm, uds] =
        bench.in_turns([&mut copy, &mut batches_of(&mut shm), &mut batches_of(&mut uds)])?;
    for (rounds, which) in [(&shm, "shm"), (&uds, "uds")] {
        let rate: Vec<f64> = rounds.iter().map(|ns| ITEMS as f64 / ns * 1e3).collect();
        let target = Target::AtLeast(60.0);
        bench.add(&format!("{which}_batch_mitems_per_s"), "M/s", target, &rate);
        let part = ratios(&copies, rounds);
        // Either this or the rate above is the aim.
        bench.add(&format!("{which}_batch_to_memcpy"), "x", Target::None, &part);
    }
    Ok(())
}

/// Snapshots that the server has ready, beside moving as many bytes.
fn snapshots(bench: &mut Bench) -> Result<()> {
    let profile = Profiles::SHM_WAITERS;
    for items in [16, 5000] {
        let length = image(0..items, 1)?.as_bytes().len();
        let (mut shm, _bare_peer, _bare_directory) = bare_shm(Bytes::Apart, 32 + length)?;
        let mut message = vec![0; 32 + length];
        let mut moved = |number: u64| -> Result<()> {
            let mut request = [0; MESSAGE_LEN];
            request[32..].copy_from_slice(&number.to_ne_bytes());
            shm.send(&request)?;
            shm.recv(&mut message)?;
            ensure!(message[32..40] == number.to_ne_bytes(), "not the answer");
            Ok(())
        };
        // The same snapshot each time, another generation of it, and one of other cgroups.
        let server = |changing| -> Result<_> {
            let serve = Serve::Snapshot { profile: profile.0, items, changing };
            let (client, peer, directory) = connect::<CgroupsSnapshot>(serve, profile)?;
            let cache = cache_of(directory.path(), profile)?;
            Ok((client, cache, peer, directory))
        };
        let (mut same, same_cache, _same_peer, _same_directory) = server(Changing::Nothing)?;
        let (mut new, new_cache, _new_peer, _new_directory) = server(Changing::Generation)?;
        let (_, other_cache, _other_peer, _other_directory) = server(Changing::Cgroups)?;
        let [bare, same, same_cached, new, new_cached, other_cached] = bench.in_turns([
            &mut moved,
            &mut snapshots_of(&mut same, items),
            &mut refreshes(&same_cache, items),
            &mut snapshots_of(&mut new, items),
            &mut refreshes(&new_cache, items),
            &mut refreshes(&other_cache, items),
        ])?;
        let target = Target::AtMost(1.2);
        bench.add(&format!("snapshot_{items}_bare_ns"), "ns", Target::None, &bare);
        for (key, rounds) in [
            ("snapshot", same),
            ("cache_refresh", same_cached),
            ("snapshot_new", new),
            ("cache_refresh_new", new_cached),
            // Its index is made anew.
            ("cache_refresh_changed", other_cached),
        ] {
            bench.add(&format!("{key}_{items}_ns"), "ns", Target::None, &rounds);
            bench.add(&format!("{key}_{items}_to_bare"), "x", target, &ratios(&rounds, &bare));
        }
    }
    Ok(())
}

fn lookups(bench: &mut Bench) -> Result<()> {
    let profile = Profiles::SHM_WAITERS;
    let (mut cgroups, _p1, _d1) =
        connect::<CgroupsLookup>(Serve::Cgroups { profile: profile.0 }, profile)?;
    let (mut apps, _p2, _d2) = connect::<AppsLookup>(Serve::Apps { profile: profile.0 }, profile)?;
    let [cgroups, apps] =
        bench.in_turns([&mut lookups_of_paths(&mut cgroups), &mut lookups_of_pids(&mut apps)])?;
    for (rounds, which) in [(cgroups, "cgroups"), (apps, "apps")] {
        let rate: Vec<f64> = rounds.iter().map(|ns| f64::from(KEYS) / ns * 1e3).collect();
        bench.add(&format!("{which}_lookup_mkeys_per_s"), "M/s", Target::AtLeast(2.0), &rate);
    }
    Ok(())
}

/// Look-ups in a cache that is there.
fn cache(bench: &mut Bench) -> Result<()> {
    let profile = Profiles::SHM_WAITERS;
    for items in [16u32, 5000] {
        let serve = Serve::Snapshot { profile: profile.0, items, changing: Changing::Nothing };
        let (client, _peer, directory) = connect::<CgroupsSnapshot>(serve, profile)?;
        drop(client);
        let cache = cache_of(directory.path(), profile)?;
        cache.refresh()?;
        // A power of two of them in an order without a pattern, so that nothing but the look-up is
        // measured, and nothing is found by luck.
        const LOOKUPS: usize = 1024;
        let names: Vec<(u32, String)> = (0..LOOKUPS as u32)
            .map(|index| index.wrapping_mul(0x9e37_79b1) % items)
            .map(|hash| (hash, name(hash)))
            .collect();
        let found_all = |found: usize| -> Result<()> {
            ensure!(found == LOOKUPS, "{} cgroups are missing", LOOKUPS - found);
            Ok(())
        };
        let found = |snapshot: &CachedSnapshot, (hash, name): &(u32, String)| {
            usize::from(black_box(snapshot.get(*hash, name.as_bytes())).is_some())
        };
        let mut reader = cache.reader();
        let [read, loaded] = bench.in_turns([
            &mut |_| found_all(names.iter().map(|name| found(reader.load(), name)).sum()),
            &mut |_| found_all(names.iter().map(|name| found(&cache.load(), name)).sum()),
        ])?;
        for (key, rounds) in [("reader", read), ("shared", loaded)] {
            let each: Vec<f64> = rounds.iter().map(|ns| ns / LOOKUPS as f64).collect();
            // Of thousands, what is looked for is no longer in the first cache.
            let is_aim = key == "reader" && items == 16;
            let target = if is_aim { Target::AtMost(10.0) } else { Target::None };
            bench.add(&format!("cache_{items}_{key}_ns"), "ns", target, &each);
        }
    }
    Ok(())
}
