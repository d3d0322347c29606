//! Every kind of work on this machine, and how its workers end.

use std::path::Path;
use std::time::{Duration, Instant};

use belljar_scenario::{
    AluWidth, Futex, MemoryFlags, MemoryPolicy, Policy, SchbenchParameters, TaobenchParameters,
    Work, WorkPhase, Workers,
};
use belljar_topology::{CpuId, CpuSet, Topology};
use belljar_verdict::evidence::{WorkerEnd, WorkerReport};
use belljar_workload::{Crew, Order, StartError};

/// No healthy worker needs as long.
const LONG: Duration = Duration::from_secs(60);

/// This machine as one node, which is enough to know its CPUs.
fn machine() -> Topology {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let cpus: CpuSet = online.parse().unwrap();
    let highest = cpus.iter().next_back().unwrap_or(CpuId(0)).0;
    format!("1n1l{}c1t", highest + 1).parse().unwrap()
}

fn start(workers: &Workers, count: u32, seed: u64) -> Result<Crew, StartError> {
    start_in(&std::env::temp_dir(), workers, count, seed)
}

fn start_in(scratch: &Path, workers: &Workers, count: u32, seed: u64) -> Result<Crew, StartError> {
    let topology = machine();
    Crew::start(&Order {
        cgroup: "a",
        group: 3,
        step: Some(1),
        workers,
        count,
        allowed: &topology.cpus(),
        affinity: &[],
        topology: &topology,
        seed,
        scratch,
        cgroup_dir: Path::new("/sys/fs/cgroup"),
        takes_turns: false,
    })
}

/// Waits until this holds; the bound is for what will never be.
fn until(crew: &mut Crew, mut holds: impl FnMut(&mut Crew) -> bool) {
    let begun = Instant::now();
    while !holds(crew) && begun.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn play(workers: &Workers, count: u32) -> Vec<WorkerReport> {
    let mut crew = start(workers, count, 1).unwrap();
    crew.bind().unwrap();
    crew.release();
    crew.begin_slice(1);
    until(&mut crew, |crew| !crew.is_alive() || !crew.units().contains(&0));
    crew.end_slice(1);
    crew.stop(false, LONG);
    crew.reports()
}

fn check(report: &WorkerReport) {
    assert!(matches!(report.end, WorkerEnd::Stopped), "{report:#?}");
    assert!(report.units > 0, "{report:#?}");
    let wall_ns = report.ended_ns - report.began_ns;
    let has_threads = ["Schbench", "Taobench"].contains(&report.work.as_str());
    // The clock is read before CPU time is.
    let slack_ns = 100_000_000;
    assert!(has_threads || report.cpu_ns <= wall_ns + slack_ns, "{report:#?}");
    assert!(report.gap.cpu_ns + report.gap.run_delay_ns <= report.gap.wall_ns, "{report:#?}");
    assert!(report.gap.wall_ns <= wall_ns, "{report:#?}");
    assert!(report.node_migrations <= report.migrations);
    assert!(report.moves.len() as u64 == report.migrations.min(64) && report.strays.is_empty());
    assert!(report.wake.p50_ns <= report.wake.p99_ns && report.wake.p99_ns <= report.wake.max_ns);
    assert!(!report.cpus_used.is_empty() && report.cpus_used.is_subset(&machine().cpus()));
    assert_eq!((report.cgroup.as_str(), report.group, report.step), ("a", 3, Some(1)));
    let [slice] = &report.slices[..] else { panic!("{report:#?}") };
    assert!(slice.step == 1 && slice.units <= report.units, "{report:#?}");
    assert!(slice.gap.wall_ns <= slice.wall_ns, "{report:#?}");
    assert!(slice.migrations <= report.migrations && slice.iterations <= report.iterations);
}

fn needs_cgroups(work: &Work) -> bool {
    matches!(work, Work::CgroupChurn { .. } | Work::CgroupAttachStorm { .. })
}

#[test]
fn every_kind_makes_progress_in_every_role() {
    let time = Duration::from_micros(100);
    let mut all = Work::all();
    all.push(Work::Sequence {
        phases: vec![
            WorkPhase::Spin { spins: 10 },
            WorkPhase::Sleep { time },
            WorkPhase::Yield { times: 2 },
            WorkPhase::Io { blocks: 2 },
            WorkPhase::AluHot { steps: 10 },
        ],
    });
    for work in all {
        // Those that move between cgroups are tried in a guest; a host may have no cgroup v2.
        if needs_cgroups(&work) && !Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
            let error = start(&Workers::exactly(1, work), 1, 1).unwrap_err();
            assert!(matches!(error, StartError::System { .. }), "{error}");
            continue;
        }
        let size = work.group_size();
        let count = if size.fits(1) { 1 } else { size.together(2) };
        // Two groups at once, where there can be.
        let count = if size.fits(2 * count) { 2 * count } else { count };
        let reports = play(&Workers::exactly(count, work.clone()), count);
        assert_eq!(reports.len(), count as usize);
        reports.iter().for_each(check);
        for (index, report) in (0..).zip(&reports) {
            assert_eq!((report.index, report.role.as_str()), (index, work.role(index)));
        }
        if !needs_cgroups(&work) && !work.needs_processes() {
            let reports = play(&Workers::exactly(count, work).threads_of("together"), count);
            reports.iter().for_each(check);
        }
    }
}

#[test]
fn those_who_wait_are_woken_in_time() {
    for work in [Work::pipe_io(), Work::futex_ping_pong(), Work::irq_wake(), Work::wake_chain()] {
        let count = work.group_size().together(2);
        let mut crew = start(&Workers::exactly(count, work), count, 1).unwrap();
        crew.release();
        until(&mut crew, |crew| !crew.is_alive() || crew.units().iter().all(|units| *units >= 20));
        crew.stop(true, LONG);
        let reports = crew.reports();
        assert!(reports.iter().all(|report| report.end == WorkerEnd::Removed), "{reports:#?}");
        assert!(reports.iter().any(|report| report.wake.count > 0), "{reports:#?}");
        let has_waited = |it: &WorkerReport| it.runs > 0 && it.voluntary_switches > 0;
        assert!(reports.iter().any(has_waited), "{reports:#?}");
    }
}

#[test]
fn what_workers_say_at_their_ends_arrives_whole_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    for threads in [false, true] {
        // Each other worker says more than a session has room for at first, and does so long before
        // it is asked.
        let work = Work::custom("talks", |toil| {
            toil.did(1);
            assert!(toil.index() % 2 == 0, "{}", "word ".repeat(4000));
            while toil.goes_on() {}
        });
        let mut workers = Workers::exactly(40, work);
        if threads {
            workers = workers.threads_of("together");
        }
        let mut crew = start_in(scratch.path(), &workers, 40, 1).unwrap();
        crew.release();
        until(&mut crew, |crew| !crew.units().contains(&0));
        crew.stop(false, LONG);
        for report in crew.reports() {
            match &report.end {
                WorkerEnd::Panicked { message } if report.index % 2 == 1 => {
                    assert_eq!(message.matches("word ").count(), 4000);
                }
                end => assert_eq!((end, report.index % 2), (&WorkerEnd::Stopped, 0)),
            }
        }
        let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn workers_that_cannot_report_are_told_of_nevertheless() {
    let scratch = tempfile::tempdir().unwrap();
    let mut crew = start_in(scratch.path(), &Workers::exactly(2, Work::SpinWait), 2, 1).unwrap();
    crew.release();
    until(&mut crew, |crew| !crew.units().contains(&0));
    scratch.close().unwrap();
    crew.stop(false, LONG);
    for report in crew.reports() {
        assert_eq!((&report.end, report.runs), (&WorkerEnd::Stopped, 0));
        assert!(report.units > 0 && report.ended_ns > report.began_ns, "{report:#?}");
    }
}

#[test]
fn a_worker_that_is_killed_leaves_its_report() {
    let mut crew = start(&Workers::exactly(2, Work::SpinWait), 2, 1).unwrap();
    crew.release();
    until(&mut crew, |crew| !crew.units().contains(&0));
    rustix::process::kill_process(crew.processes()[1], rustix::process::Signal::KILL).unwrap();
    until(&mut crew, |crew| crew.reap() > 0);
    assert!(!crew.is_alive());
    crew.stop(false, LONG);
    let reports = crew.reports();
    assert_eq!(reports[0].end, WorkerEnd::Stopped);
    assert_eq!(reports[1].end, WorkerEnd::Signaled { signal: 9 });
    assert!(reports[1].units > 0 && reports[1].tid > 0);
}

#[test]
fn ends_of_custom_work_are_told_apart() {
    let works = [
        Work::custom("panics", |toil| panic!("no more at {}", toil.index())),
        Work::custom("exits", |_| std::process::exit(7)),
        Work::custom("completes", |toil| toil.did(3)),
        Work::custom("hangs", |toil| {
            toil.did(1);
            loop {
                std::thread::sleep(Duration::from_millis(1));
            }
        }),
    ];
    let ends = works.map(|work| {
        let hangs = work.name() == "hangs";
        let mut crew = start(&Workers::exactly(1, work), 1, 1).unwrap();
        crew.release();
        until(&mut crew, |crew| {
            crew.reap();
            !crew.is_alive() || !crew.units().contains(&0)
        });
        crew.stop(false, if hangs { Duration::from_millis(50) } else { LONG });
        crew.reports().remove(0)
    });
    let WorkerEnd::Panicked { message } = &ends[0].end else { panic!("{:#?}", ends[0]) };
    assert!(message.contains("no more at 0") && message.contains("kinds.rs"), "{message}");
    assert_eq!(ends[1].end, WorkerEnd::Exited { code: 7 });
    assert_eq!((&ends[2].end, ends[2].units), (&WorkerEnd::Completed, 3));
    assert_eq!((&ends[3].end, ends[3].units), (&WorkerEnd::Unresponsive, 1));
}

#[test]
fn what_is_impossible_is_refused() {
    let pair = start(&Workers::exactly(3, Work::pipe_io()), 3, 1).unwrap_err();
    assert_eq!(
        pair.to_string(),
        "`PipeIo` takes pairs of workers, and 3 were ordered: change their number"
    );
    let stride = Work::CachePressure { bytes: 4096, stride: 0 };
    assert!(matches!(
        start(&Workers::exactly(1, stride), 1, 1).unwrap_err(),
        StartError::Impossible(_)
    ));
    let threads = Workers::exactly(1, Work::ForkExit).threads_of("together");
    assert!(matches!(start(&threads, 1, 1).unwrap_err(), StartError::Threads { .. }));
    // What the kernel refuses is in the report.
    let priority = Policy::Fifo { priority: 100 };
    let reports = play(&Workers::exactly(1, Work::SpinWait).policy(priority), 1);
    let WorkerEnd::NotStarted { error } = &reports[0].end else { panic!("{reports:#?}") };
    assert!(error.starts_with("cannot set the policy"), "{error}");
}

#[test]
fn sightings_elsewhere_are_strays_once_they_are_judged() {
    let topology = machine();
    let everywhere = topology.cpus();
    let nowhere: CpuSet = std::iter::once(CpuId(1000)).collect();
    let mut crew = start(&Workers::exactly(1, Work::SpinWait), 1, 1).unwrap();
    crew.release();
    until(&mut crew, |crew| !crew.units().contains(&0));
    crew.forbid();
    crew.allow(&nowhere, Some(4));
    let before = crew.units()[0];
    // Checkpoints are at most 1024 units apart.
    until(&mut crew, |crew| crew.units()[0] > before + 2048);
    crew.allow(&everywhere, Some(5));
    crew.stop(false, LONG);
    let reports = crew.reports();
    let [stray, ..] = &reports[0].strays[..] else { panic!("{reports:#?}") };
    assert_eq!((&stray.allowed, stray.step), (&nowhere, Some(4)));
    assert!(everywhere.contains(stray.cpu));
}

#[test]
fn workers_are_what_they_are_declared() {
    let workers = Workers::exactly(2, Work::SpinWait).comm("named").nice(5).policy(Policy::Batch);
    let mut crew = start(&workers, 2, 1).unwrap();
    crew.wait_until_ready();
    for process in crew.processes() {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let words: Vec<&str> = stat.split_ascii_whitespace().collect();
        // Field 2 is the name, 19 the nice value, 41 the policy; see proc(5).
        assert_eq!((words[1], words[18], words[40]), ("(named)", "5", "3"), "{stat}");
        assert_eq!(words[4], words[0], "each leads its own process group: {stat}");
    }
    crew.release();
    crew.stop(false, LONG);
    assert!(crew.reports().iter().all(|report| report.comm == "named"));
}

#[test]
fn parameters_that_change_the_way_make_progress_too() {
    let ms = Duration::from_millis(1);
    let schbench = SchbenchParameters { cache_bytes: 16 << 10, ..SchbenchParameters::default() };
    let taobench = TaobenchParameters { cache_bytes: 1 << 20, ..TaobenchParameters::default() };
    let works = [
        Work::WakeChain { depth: 3, futex: true, hop: ms / 10 },
        Work::PriorityInversion {
            high: 2,
            medium: 1,
            low: 2,
            hold: 4096,
            work: 64,
            futex: Futex::Pi,
        },
        Work::IdleChurn { busy: ms, sleep: ms, precise: true },
        Work::NetTraffic { interval: ms, bytes: 1500 },
        Work::AsymmetricWaker {
            waker: Policy::Batch,
            wakee: Policy::Fifo { priority: 3 },
            burst: 64,
        },
        Work::Schbench {
            parameters: SchbenchParameters { skip_locking: true, message_threads: 2, ..schbench },
        },
        Work::Schbench {
            parameters: SchbenchParameters {
                split_percent: Some(50),
                pipe_transfer_bytes: 100_000,
                requests_per_sec: 200,
                ..schbench
            },
        },
        Work::Schbench {
            parameters: SchbenchParameters { auto_rps: 30, worker_threads: 3, ..schbench },
        },
        Work::Taobench {
            parameters: TaobenchParameters {
                slow_p99: ms,
                arrival: ms / 2,
                client_threads: 3,
                ..taobench
            },
        },
    ];
    for work in works {
        let size = work.group_size();
        let count = if size.fits(1) { 1 } else { size.together(2) };
        play(&Workers::exactly(count, work), count).iter().for_each(check);
    }
}

#[test]
fn arithmetic_is_as_wide_as_declared_or_refused() {
    let (avx2, avx512) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("avx512f"));
    for (width, there) in [
        (AluWidth::Scalar, Some(true)),
        (AluWidth::Vec128, Some(true)),
        (AluWidth::Vec256, Some(avx2)),
        (AluWidth::Vec512, Some(avx512)),
        // Whether the kernel lets it be used is not known here.
        (AluWidth::Amx, None),
        (AluWidth::Widest, Some(true)),
    ] {
        let report = play(&Workers::exactly(1, Work::AluHot { width }), 1).remove(0);
        match &report.end {
            WorkerEnd::Failed { error } => {
                assert_ne!(there, Some(true), "{width:?}: {report:#?}");
                assert!(error.starts_with("this CPU has no "), "{error}");
            }
            _ => {
                assert_ne!(there, Some(false), "{width:?}: {report:#?}");
                check(&report);
            }
        }
    }
}

#[test]
fn what_only_root_may_declare_works_for_root_and_is_refused_otherwise() {
    let us = Duration::from_micros;
    let deadline = Policy::Deadline { runtime: us(200), deadline: us(5_000), period: us(10_000) };
    let spin = || Workers::exactly(1, Work::SpinWait);
    let is_root = rustix::process::geteuid().is_root();
    for workers in [spin().policy(deadline), spin().nice(-5), spin().user(65534, 65534)] {
        let report = play(&workers, 1).remove(0);
        if is_root {
            check(&report);
        } else {
            assert!(matches!(report.end, WorkerEnd::NotStarted { .. }), "{report:#?}");
        }
    }
    let flags = MemoryFlags::None;
    let memory = MemoryPolicy::Bind { nodes: vec![0], flags };
    play(&spin().memory(memory), 1).iter().for_each(check);
    let nowhere = MemoryPolicy::Bind { nodes: vec![9999], flags };
    let report = play(&spin().memory(nowhere), 1).remove(0);
    assert!(matches!(report.end, WorkerEnd::NotStarted { .. }), "{report:#?}");
}
