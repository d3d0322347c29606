//! What the benchmark runs in the guest, and the promise of `det` put to the test.

use belljar::host::{Host, Options, tests_of};
use belljar::{Config, Ctx, Polarity, Result};
use bench_vm::Load;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the benchmark changes for an edit: it is loaded, like any code or data. Long
/// enough for the stamp.
#[used]
static EDIT_MARK: [u8; 72] =
    *b"belljar bench: an edit changes this:                                    ";

/// Nothing at all.
#[belljar::test(mode = ["tcg", "det"], topology = "1n1l4c1t", memory_mib = 512)]
fn empty() {}

/// Six workers on four CPUs that compute, sleep, hand work to each other and are moved
/// about; then what the kernel counted for each. Whatever is not repeated exactly shows
/// up in a number here.
#[belljar::test(mode = "det", topology = "1n1l4c1t", memory_mib = 512)]
fn workers(ctx: &Ctx) -> Result {
    let handed = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..6u64)
        .map(|worker| {
            let handed = Arc::clone(&handed);
            let mut rng = ctx.rng();
            thread::spawn(move || -> std::io::Result<String> {
                for round in 0..4 {
                    let mut sum = worker;
                    for step in 0..rng.u64(20_000..200_000) {
                        sum = black_box(sum.wrapping_mul(31).wrapping_add(step));
                    }
                    handed.fetch_add(sum, Ordering::Relaxed);
                    thread::sleep(Duration::from_micros(rng.u64(50..3_000)));
                    thread::yield_now();
                    // A cpuset of one CPU, then another: the kernel must move it.
                    move_to((worker + round) % 4)?;
                }
                fs::read_to_string("/proc/thread-self/schedstat")
            })
        })
        .collect();
    for (worker, thread) in threads.into_iter().enumerate() {
        let schedstat = thread.join().expect("a worker does not panic")?;
        ctx.note(format!("worker {worker}: {}", schedstat.trim()));
    }
    ctx.note(fs::read_to_string("/proc/interrupts")?);
    ctx.note(fs::read_to_string("/proc/schedstat")?);
    ctx.metric("handed", handed.load(Ordering::Relaxed) as f64, "", Polarity::None);
    Ok(())
}

/// What it costs to wait for another CPU: round trips through pipes between CPU 0 and 1,
/// in guest time, while the other two have nothing to do, and while they compute.
#[belljar::test(mode = "det", topology = "1n1l4c1t", memory_mib = 512)]
fn round_trips(ctx: &Ctx) -> Result {
    for (neighbours, busy) in [("idle", &[][..]), ("busy", &[2, 3])] {
        let stop = AtomicBool::new(false);
        let samples = thread::scope(|scope| {
            for &cpu in busy {
                let stop = &stop;
                scope.spawn(move || compute_on(cpu, stop));
            }
            let samples = scope.spawn(|| round_trips_ns(500)).join();
            stop.store(true, Ordering::Relaxed);
            samples.expect("it does not panic")
        })?;
        for percent in [50, 90] {
            let value = samples[(samples.len() * percent).div_ceil(100) - 1] as f64 / 1e3;
            let name = format!("round_trip_{neighbours}_p{percent}");
            ctx.metric(&name, value, "us", Polarity::Lower);
        }
    }
    Ok(())
}

fn compute_on(cpu: u64, stop: &AtomicBool) -> std::io::Result<()> {
    move_to(cpu)?;
    let mut sum = cpu;
    while !stop.load(Ordering::Relaxed) {
        sum = black_box(sum.wrapping_mul(31).wrapping_add(1));
    }
    Ok(())
}

/// Round trips from CPU 0 to CPU 1 and back, the shortest first.
fn round_trips_ns(count: usize) -> std::io::Result<Vec<u64>> {
    let (mut there, mut send) = std::io::pipe()?;
    let (mut receive, mut back) = std::io::pipe()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        move_to(1)?;
        let mut byte = [0];
        while there.read(&mut byte)? == 1 {
            back.write_all(&byte)?;
        }
        Ok(())
    });
    move_to(0)?;
    let mut samples = Vec::with_capacity(count);
    let mut byte = [0];
    for _ in 0..count {
        let started = Instant::now();
        send.write_all(&byte)?;
        receive.read_exact(&mut byte)?;
        samples.push(started.elapsed().as_nanos() as u64);
    }
    drop(send);
    echo.join().expect("it does not panic")?;
    samples.sort_unstable();
    Ok(samples)
}

/// Moves this thread to one CPU.
fn move_to(cpu: u64) -> std::io::Result<()> {
    rustix::thread::sched_setaffinity(None, &set_of(cpu as usize))?;
    Ok(())
}

fn set_of(cpu: usize) -> rustix::thread::CpuSet {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    set
}

/// A hundred forks of one template, half of them while the host's cores are kept busy
/// with other things, say the same to the last byte.
#[test]
fn a_hundred_forks_say_the_same() {
    let records = tempfile::tempdir().expect("there is room for records");
    let options = Options { records: Some(records.path().to_owned()), ..Options::default() };
    let host = Host::open(options, &Config::default(), |line| eprintln!("{line}"))
        .expect("tests can run here");
    let binary = env::current_exe().expect("a running program has a path");
    let tests = tests_of(&binary).expect("this binary lists its tests");
    let workers = tests.iter().find(|spec| spec.name() == "workers").expect("it is above");
    let mut first = None;
    for busy in [false, true] {
        let _load = busy.then(Load::start);
        for fork in 0..50 {
            let finished = host.run(workers, &binary, |_, _| ());
            let record = &finished.record;
            assert!(record.outcome.is_good(), "fork {fork}: {}", finished.explain(false));
            let said = finished.said.expect("a det run has a transcript");
            assert!(said.lines().len() > 8, "{said}");
            let first = first.get_or_insert_with(|| said.clone());
            if let Some(difference) = belljar::host::first_difference(first, &said) {
                panic!("fork {fork} (busy: {busy}) differs: {difference}");
            }
            assert_eq!(first.total(), said.total());
        }
    }
}
