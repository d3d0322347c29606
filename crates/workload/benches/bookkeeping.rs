//! What it costs a worker to be counted: the same rounds with and without it, side by side.
//!
//! `cargo bench -p belljar-workload [-- --json]`. Short runs are taken in turn, so that what else the
//! machine does meets both; the ratio is the median of those of neighbours, and the times are medians.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use belljar_scenario::{Toil, Work, Workers};
use belljar_workload::{Crew, Order};

/// Runs of each kind.
const RUNS: usize = 3001;

/// A round of arithmetic as long as a unit of `SpinWait`, or longer where that has pause hints.
#[inline(never)]
fn arithmetic() {
    let mut x = 1u64;
    for i in 0..1024u64 {
        x = black_box(x.rotate_left(5) ^ i);
    }
    black_box(x);
}

/// A round of a system call, which is as short as rounds get.
#[inline(never)]
fn yielding() {
    rustix::thread::sched_yield();
}

/// Nanoseconds of a round without and with bookkeeping, and their ratio.
fn measure(toil: &mut Toil<'_>, rounds: u64, round: impl Fn()) -> (f64, f64, f64) {
    let mut plain = Vec::with_capacity(RUNS);
    let mut counted = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begun = toil.now_ns();
        let mut left = rounds;
        while black_box(left) > 0 {
            round();
            left -= 1;
        }
        let between = toil.now_ns();
        let mut left = rounds;
        while toil.goes_on() && black_box(left) > 0 {
            round();
            toil.did(1);
            left -= 1;
        }
        plain.push((between - begun) as f64);
        counted.push((toil.now_ns() - between) as f64);
    }
    let ratios = plain.iter().zip(&counted).map(|(plain, counted)| counted / plain).collect();
    let per_round = rounds as f64;
    (median(plain) / per_round, median(counted) / per_round, median(ratios))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(toil: &mut Toil<'_>, json: bool) {
    let mut lines = Vec::new();
    for (name, (plain_ns, counted_ns, ratio)) in
        [("spin", measure(toil, 400, arithmetic)), ("yield", measure(toil, 1_000, yielding))]
    {
        lines.push(if json {
            format!(
                "{{\"round\":\"{name}\",\"plain_ns\":{plain_ns:.2},\"counted_ns\":{counted_ns:.2},\
                 \"ratio\":{ratio:.5}}}"
            )
        } else {
            format!(
                "{name:6} {plain_ns:9.2} ns plain {counted_ns:9.2} ns counted {:+.2} %",
                (ratio - 1.0) * 100.0
            )
        });
    }
    println!("{}", if json { format!("[{}]", lines.join(",")) } else { lines.join("\n") });
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The worker is this program, forked: it sees the same arguments.
    let work = Work::custom("bookkeeping", |toil| {
        report(toil, std::env::args().any(|word| word == "--json"));
    });
    let workers = Workers::exactly(1, work);
    let mut crew = Crew::start(&Order {
        cgroup: "",
        group: 0,
        step: None,
        workers: &workers,
        count: 1,
        allowed: &"0-1023".parse()?,
        affinity: &[],
        topology: &"1n1l1c1t".parse()?,
        seed: 1,
        scratch: &std::env::temp_dir(),
        cgroup_dir: Path::new("/sys/fs/cgroup"),
        takes_turns: false,
    })?;
    crew.release();
    while crew.is_alive() {
        std::thread::sleep(Duration::from_millis(10));
        crew.reap();
    }
    crew.stop(false, Duration::from_secs(1));
    let ended = &crew.reports()[0].end;
    match ended {
        belljar_verdict::evidence::WorkerEnd::Completed => Ok(()),
        ended => Err(format!("the worker ended with {ended:?}").into()),
    }
}
