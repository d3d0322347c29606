//! Plays a scenario in a virtual machine, and prints what it showed.
//!
//! ```console
//! $ cargo build -p belljar-stage --example play
//! $ cargo belljar exec --mode det --topology 1n2l4c1t -- target/debug/examples/play four
//! $ cargo belljar exec --tools target/debug/scx_belljar -- target/debug/examples/play four --json \
//!     scx_belljar --starve worker
//! ```
//!
//! `panic` panics while workers, a payload and the scheduler run; `controller` wants a controller that is not
//! there. What is left of them is counted. The words behind the scenario's name are a scheduler's command; it is attached before, and operations
//! call it `mine`.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use belljar_scenario::{
    Affinity, Cgroup, Check, Count, Cpuset, Op, Payload, Policy, Scenario, Step, Work, Workers,
};
use belljar_stage::{Event, SchedulerSpec, Setting, attach, play};
use belljar_topology::Topology;
use belljar_verdict::evidence::{Evidence, WorkerEnd};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Four cgroups with four workers each.
fn four() -> Scenario {
    let cgroup = |name: &str| Cgroup::new(name).workers(4, Work::SpinWait);
    let step = Step::new("load").cgroup(cgroup("a")).cgroup(cgroup("b"));
    let step = step.cgroup(cgroup("c")).cgroup(cgroup("d").weight(400)).hold(ms(300));
    Scenario::new().named("four").step(step)
}

/// Most operations on cgroups, cpusets and workers.
fn ops() -> Scenario {
    let a = || "a".to_owned();
    let b = || "b".to_owned();
    Scenario::new()
        .named("ops")
        .backdrop(Cgroup::new("a").cpuset(Cpuset::range(0.0, 0.5)).workers(2, Work::SpinWait))
        .backdrop(
            Cgroup::new("b")
                .cpuset(Cpuset::range(0.5, 1.0))
                .workers(2, Work::pipe_io())
                .memory_max(64 << 20)
                .pids_max(64)
                .quota_pct(50),
        )
        .backdrop(Cgroup::new("outer").cpuset(Cpuset::range(0.0, 0.5)))
        .backdrop(
            Cgroup::new("outer/inner")
                .group(Workers::new(Count::PercentOfCpus(100), Work::SpinWait).nice(5)),
        )
        .backdrop_op(Op::Spawn {
            cgroup: String::new(),
            workers: Box::new(Workers::exactly(1, Work::SpinWait).comm("at-the-root")),
        })
        .step(
            Step::new("change")
                .op(Op::SwapCpusets { a: a(), b: b() })
                .op(Op::SetCpuset { cgroup: "outer".into(), cpus: Cpuset::range(0.5, 1.0) })
                .op(Op::SetWeight { cgroup: a(), weight: 300 })
                .op(Op::SetAffinity { cgroup: a(), affinity: Affinity::SingleCpu })
                .op(Op::CaptureProcs { cgroup: a(), tag: "of a".into() })
                .op(Op::CaptureFile { path: "/proc/loadavg".into(), tag: "load".into() })
                .hold(ms(100)),
        )
        .step(
            Step::new("freeze")
                .op(Op::Freeze { cgroup: a() })
                .op(Op::SetQuota { cgroup: b(), percent: None })
                .hold(ms(50)),
        )
        .step(
            Step::new("loop")
                .op(Op::Unfreeze { cgroup: a() })
                .op(Op::AddCgroup {
                    cgroup: Box::new(Cgroup::new("outer/short").workers(2, Work::SpinWait)),
                })
                .op(Op::MoveAllTasks { from: "outer/short".into(), to: a() })
                .op(Op::ClearCpuset { cgroup: a() })
                .op(Op::RemoveCgroup { cgroup: "outer/short".into() })
                .hold_loop(ms(40), 0.05),
        )
        .step(
            Step::new("end")
                .op(Op::StopCgroup { cgroup: b() })
                .op(Op::Freeze { cgroup: a() })
                .hold(ms(10)),
        )
}

/// Good and bad programs.
fn payloads() -> Scenario {
    let shell = |name: &str, script: &str| Payload::new("sh").named(name).args(&["-c", script]);
    let run = |payload: Payload| Op::RunPayload { payload: Box::new(payload) };
    let wait = |name: &str| Op::WaitPayload { payload: name.into() };
    Scenario::new()
        .named("payloads")
        .backdrop(Cgroup::new("a").workers(1, Work::SpinWait))
        .backdrop_payload(shell("always", "while :; do :; done").in_cgroup("a"))
        .step(
            Step::new("programs")
                .op(run(shell("figures", "echo 'n: {\"a\": [1, 2]}'; cat /proc/self/cgroup >&2")
                    .in_cgroup("a")
                    .json()
                    .check(Check::Max { path: "a.1".into(), most: 1.0 })))
                .op(wait("figures"))
                .op(run(shell("hangs", "while :; do :; done").timeout(ms(50))))
                .op(wait("hangs"))
                .op(run(Payload::new("not-there")))
                .op(run(shell("loud", "while :; do echo 0123456789012345678901234567890; done")))
                .op(run(shell("broken", "echo '{\"a\":'; exit 3").json()))
                .hold(ms(200))
                .op(Op::KillPayload { payload: "loud".into() }),
        )
}

/// A scheduler that comes and goes; without one it does not come.
fn schedulers() -> Scenario {
    let mine = || "mine".to_owned();
    let workers = Cgroup::new("a").workers(4, Work::SpinWait);
    Scenario::new()
        .named("schedulers")
        .backdrop(workers.group(Workers::exactly(1, Work::SpinWait).policy(Policy::Ext)))
        .step(Step::new("with").hold(ms(100)))
        .step(Step::new("again").op(Op::RestartScheduler).hold(ms(100)))
        .step(Step::new("without").op(Op::DetachScheduler).hold(ms(100)))
        .step(Step::new("back").op(Op::AttachScheduler { scheduler: mine() }).hold(ms(100)))
        .step(Step::new("other").op(Op::ReplaceScheduler { scheduler: mine() }).hold(ms(100)))
}

/// What cannot be played, in the middle of what can.
fn broken() -> Scenario {
    let unknown = Op::StopCgroup { cgroup: "unknown".into() };
    four().step(Step::new("broken").op(unknown).hold(ms(50)))
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next();
    let scenario = match name.as_deref() {
        Some("four") => four(),
        Some("ops") => ops(),
        Some("payloads") => payloads(),
        Some("schedulers") => schedulers(),
        Some("broken" | "controller") => broken(),
        Some("panic") => payloads(),
        _ => {
            eprintln!(
                "play four|ops|payloads|schedulers|broken|panic|controller [--json] [SCHEDULER ...]"
            );
            return ExitCode::from(2);
        }
    };
    let mut command: Vec<String> = words.collect();
    let json = command.first().is_some_and(|word| word == "--json");
    command.drain(..usize::from(json));

    let topology = this_machine();
    let specs = [SchedulerSpec { name: "mine".into(), command }];
    let mut setting = Setting::new(&topology, 7);
    let mut attached = None;
    if !specs[0].command.is_empty() {
        setting.schedulers = &specs;
        match attach(&specs[0], Duration::from_secs(30)) {
            Ok(scheduler) => attached = Some(scheduler),
            Err(report) => {
                println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
                return ExitCode::FAILURE;
            }
        }
    }
    let bare = std::path::Path::new("/sys/fs/cgroup/bare");
    if name.as_deref() == Some("controller") {
        std::fs::create_dir_all(bare).expect("a cgroup can be made");
        setting.cgroups = bare;
    }
    let panics = name.as_deref() == Some("panic");
    let mut on_event = |event: Event| {
        eprintln!("{event}");
        assert!(!(panics && matches!(event, Event::Held { .. })), "as asked");
    };
    let played = || play(&scenario, &setting, attached, &mut on_event);
    let played = std::panic::catch_unwind(AssertUnwindSafe(played));
    let state = std::fs::read_to_string("/sys/kernel/sched_ext/state").unwrap_or_default();
    println!("sched_ext is {}", state.trim());
    let left = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("belljar."));
    println!("cgroups left: {}; children left: {}", left.count(), children());
    let Ok(played) = played else { return ExitCode::FAILURE };
    match played {
        Ok(evidence) if json => {
            println!("{}", serde_json::to_string(&evidence).unwrap_or_default());
        }
        Ok(evidence) => print!("{}", summary(&evidence)),
        Err(error) => {
            println!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The machine that this runs on, as far as scenarios need to know it: one node, one LLC, no SMT.
fn this_machine() -> Topology {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    Topology::new(1, 1, cpus, 1).expect("a machine that is there can be described")
}

/// How many processes this one has.
fn children() -> usize {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    std::fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
}

fn summary(evidence: &Evidence) -> String {
    let mut text = format!(
        "released after {:?} us, all in {} us\n",
        evidence.released_after_ns.map(|ns| ns / 1000),
        (evidence.ended_ns - evidence.began_ns) / 1000
    );
    for step in &evidence.steps {
        let us = |ns: u64| (ns.saturating_sub(evidence.began_ns)) / 1000;
        let (began, held, ended) = (us(step.began_ns), us(step.held_ns), us(step.ended_ns));
        text += &format!("step {}: {began} {held} {ended} us, {} rounds\n", step.name, step.rounds);
    }
    for cgroup in &evidence.cgroups {
        let ms = cgroup.usage_ns / 1_000_000;
        let (name, cpus) = (&cgroup.name, &cgroup.cpus);
        text += &format!("cgroup {name}: cpus {cpus}, {ms} ms, throttled {}\n", cgroup.throttled);
    }
    for worker in &evidence.workers {
        let end = if worker.end == WorkerEnd::Stopped {
            String::new()
        } else {
            format!("{:?}", worker.end)
        };
        text += &format!(
            "worker {}.{}.{} {}: {} units, {} us, cpus {}, {} strays, {} slices {end}\n",
            worker.cgroup,
            worker.group,
            worker.index,
            worker.comm,
            worker.units,
            worker.cpu_ns / 1000,
            worker.cpus_used,
            worker.strays.len(),
            worker.slices.len(),
        );
    }
    for payload in &evidence.payloads {
        let (name, end, problems) = (&payload.name, &payload.end, &payload.problems);
        let tail = payload.stderr_tail.trim();
        text += &format!(
            "payload {name}: {end:?}, {} metrics, {problems:?} {tail}\n",
            payload.metrics.len()
        );
    }
    for scheduler in &evidence.schedulers {
        text +=
            &format!("scheduler {} as {}: {:?}\n", scheduler.name, scheduler.ops, scheduler.end);
    }
    for capture in &evidence.captures {
        text += &format!("capture {} of {}: {:?}\n", capture.tag, capture.what, capture.text);
    }
    for line in &evidence.kernel_log {
        text += &format!("kernel: {line}\n");
    }
    text
}
