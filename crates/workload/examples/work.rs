//! Runs one kind of work, or all of them, on this machine, and prints what came of each worker.
//!
//! `work KIND|all [MILLISECONDS] [WORKERS] [SEED]`; it ends with an error when a worker did nothing
//! or did not end well.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use belljar_scenario::{Work, WorkPhase, Workers};
use belljar_topology::{CpuId, CpuSet, Topology};
use belljar_verdict::evidence::{WorkerEnd, WorkerReport};
use belljar_workload::{Crew, Order};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    let number = |at: usize| word(at).map(str::parse::<u64>).transpose();
    let kinds = match word(0) {
        None => return Err("usage: work KIND|all [MILLISECONDS] [WORKERS] [SEED]".into()),
        Some("all") => everything(),
        Some(kind) => vec![Work::find(kind)?],
    };
    let time = Duration::from_millis(number(1)?.unwrap_or(100));
    let mut healthy = true;
    for work in kinds {
        let least = work.group_size().together(2).max(2);
        let count = match number(2)? {
            Some(0) | None if work.group_size().fits(1) => 1,
            Some(0) | None => least,
            Some(count) => u32::try_from(count)?,
        };
        match play(&work, count, time, number(3)?.unwrap_or(0)) {
            Ok(well) => healthy &= well,
            Err(error) => {
                println!("{error}");
                healthy = false;
            }
        }
    }
    if healthy { Ok(()) } else { Err("not all workers were healthy".into()) }
}

fn everything() -> Vec<Work> {
    let mut all = Work::all();
    let time = Duration::from_micros(200);
    all.push(Work::Sequence {
        phases: vec![
            WorkPhase::Spin { spins: 1024 },
            WorkPhase::Sleep { time },
            WorkPhase::Yield { times: 2 },
            WorkPhase::Io { blocks: 2 },
            WorkPhase::AluHot { steps: 1024 },
        ],
    });
    all.push(Work::custom("counting", |toil| {
        while toil.goes_on() {
            toil.did(1);
        }
    }));
    all
}

fn play(work: &Work, count: u32, time: Duration, seed: u64) -> Result<bool, Box<dyn Error>> {
    let topology = topology()?;
    let scratch = std::env::temp_dir();
    let cgroup = Path::new("/sys/fs/cgroup").join(format!("work-{}", work.name().to_lowercase()));
    let in_cgroup = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    if in_cgroup {
        std::fs::create_dir(&cgroup)?;
    }
    let workers = Workers::exactly(count, work.clone());
    let begun = Instant::now();
    let mut crew = Crew::start(&Order {
        cgroup: "a",
        group: 0,
        step: None,
        workers: &workers,
        count,
        allowed: &topology.cpus(),
        affinity: &[],
        topology: &topology,
        seed,
        scratch: &scratch,
        cgroup_dir: &cgroup,
        takes_turns: false,
    })?;
    if in_cgroup {
        for process in crew.processes() {
            let id = process.as_raw_nonzero().to_string();
            std::fs::write(cgroup.join("cgroup.procs"), id)?;
        }
    }
    crew.bind()?;
    let started = begun.elapsed();
    crew.release();
    crew.begin_slice(0);
    std::thread::sleep(time);
    // One unit may take longer, in emulation.
    for _ in 0..100 {
        crew.reap();
        if !crew.is_alive() || !crew.units().contains(&0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    crew.end_slice(0);
    let stopping = Instant::now();
    crew.stop(false, Duration::from_secs(5));
    let stopped = stopping.elapsed();
    let reports = crew.reports();
    println!("{} x {count}: started in {started:?}, stopped in {stopped:?}", work.name());
    let mut healthy = true;
    for report in &reports {
        show(report);
        let well = report.units > 0
            && report.strays.is_empty()
            && matches!(report.end, WorkerEnd::Stopped | WorkerEnd::Completed);
        if !well {
            println!("  ^ not healthy");
        }
        healthy &= well;
    }
    if in_cgroup {
        std::fs::remove_dir(&cgroup)?;
    }
    Ok(healthy)
}

fn show(report: &WorkerReport) {
    let ms = |ns: u64| ns as f64 / 1e6;
    println!(
        "  {:2} {:9} {:9} units {:8} rounds; ms: {:.2} wall {:.2} cpu {:.2} delayed, gap {:.2} \
         (cpu {:.2}, delayed {:.2}); {} runs {}+{} switches {} moves on {}; us: wake {}x {} {} {} \
         timer {}x {} {} cost {}; nodes {:?}; {:?}{}",
        report.index,
        report.role,
        report.units,
        report.iterations,
        ms(report.ended_ns - report.began_ns),
        ms(report.cpu_ns),
        ms(report.run_delay_ns),
        ms(report.gap.wall_ns),
        ms(report.gap.cpu_ns),
        ms(report.gap.run_delay_ns),
        report.runs,
        report.voluntary_switches,
        report.involuntary_switches,
        report.migrations,
        report.cpus_used,
        report.wake.count,
        report.wake.p50_ns / 1000,
        report.wake.p99_ns / 1000,
        report.wake.max_ns / 1000,
        report.timer.count,
        report.timer.p50_ns / 1000,
        report.timer.max_ns / 1000,
        report.cost.p50_ns / 1000,
        report.node_pages,
        report.end,
        if report.strays.is_empty() {
            String::new()
        } else {
            format!("; strays {:?}", report.strays)
        },
    );
}

/// The machine, as far as this program needs to know it: its nodes, with equally many CPUs each, and
/// hardware threads.
fn topology() -> Result<Topology, Box<dyn Error>> {
    let list = |path: &str| -> Result<CpuSet, Box<dyn Error>> {
        Ok(std::fs::read_to_string(path)?.parse()?)
    };
    let cpus = list("/sys/devices/system/cpu/online")?;
    let siblings = list("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
    let threads = siblings.map_or(1, |siblings| siblings.len().max(1));
    let nodes = list("/sys/devices/system/node/online").map_or(1, |nodes| nodes.len().max(1));
    let highest = cpus.iter().next_back().unwrap_or(CpuId(0)).0 as usize;
    let cores = (highest + 1) / nodes / threads;
    Ok(format!("{nodes}n{nodes}l{cores}c{threads}t").parse()?)
}
