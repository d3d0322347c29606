//! Records for tests: three fixed ones, and arbitrary ones for properties.

use std::io::Write as _;

use belljar_verdict::evidence::{
    Capture, CgroupEvidence, Evidence, Latency, Move, PayloadEnd, PayloadMetric, PayloadReport,
    SchedulerEnd, SchedulerReport, Slice, StepEvidence, Stray, WorkerEnd, WorkerReport,
};
use belljar_verdict::{Judge, Limits};
use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::*;

/// Tells that a test did not run, past libtest's capture of what passing tests print.
pub(crate) fn say_skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
}

fn identity(test: &str, variant: &str, hash: &str) -> Identity {
    Identity {
        test: test.to_string(),
        variant: variant.to_string(),
        package: "quickstart".to_string(),
        binary: "boot".to_string(),
        binary_hash: "b1".repeat(32),
        variant_hash: hash.parse().unwrap(),
        session: "20261121T031651Z-4711".to_string(),
    }
}

/// A run that passed and left most fields empty.
pub(crate) fn passed() -> Record {
    let identity = identity("clock::ticks", "", "00000000000000ff");
    let mut record = Record::new(identity, "2026-11-21T03:16:51Z".parse().unwrap(), Reason::Passed);
    record.metrics.push(Metric {
        name: "wake_p99".to_string(),
        value: 0.1,
        unit: "us".to_string(),
        polarity: Polarity::Lower,
    });
    record
}

/// A run in `det` that failed and has something in every field.
pub(crate) fn failed() -> Record {
    let reason = Reason::Panic {
        message: "assertion `left == right` failed: all online\n  left: 8\n right: 7".to_string(),
        at: Some(Place { file: "tests/boot.rs".to_string(), line: 12, column: 9 }),
    };
    let mut transcript = Transcript::new();
    transcript.frame(1_500_000, "stdout", b"looking\n");
    let (digest, _) = transcript.finish(b"[    1.0] smp: 7 CPUs\r\n");
    let text = |text: &str| Some(text.to_string());
    let identity = identity("cpus::all_online", "2n4l2c1t", "0123456789abcdef");
    Record {
        expected_fail: false,
        notes: vec!["CPU 3 is slow".to_string()],
        phases: vec![Phase {
            name: "warm-up".to_string(),
            start_ns: 1_000,
            end_ns: Some(2_000),
            counters: [("wakeups".to_string(), 4)].into(),
        }],
        durations: Durations {
            queue_ns: Some(1_000),
            template_ns: Some(17_000_000),
            fork_ns: Some(90_000_000),
            run_ns: Some(1_500_000_000),
            collect_ns: Some(3_000_000),
        },
        guest_time_ns: Some(700_000_000),
        timeout_ms: Some(30_000),
        vm: Vm {
            mode: Mode {
                requested: "auto".to_string(),
                used: "det".to_string(),
                why: text("seeds are declared"),
            },
            kernel: Kernel { id: "debian:sid".to_string(), release: text("7.2.13-cloud-amd64") },
            topology: "2n4l2c1t".to_string(),
            preset: text("2n4l2c1t"),
            memory_mib: 512,
            seed: Some(7),
            scheduler: None,
            qemu_version: text("10.0.2"),
            accelerator: text("tcg"),
        },
        host: Host {
            os: text("Debian GNU/Linux 12 (bookworm)"),
            kernel_release: text("6.1.0"),
            cpu_model: text("Some CPU @ 2.0GHz"),
            cpus: Some(2),
            memory_mib: Some(7974),
        },
        project: Project { commit: Some("0123456789".repeat(4)), dirty: true },
        stdout: Tail::new(b"looking\n"),
        stderr: Tail::new(b"thread 'main' panicked\n\x1b[2Jhidden?\n"),
        console: Tail::new(b"[    1.0] smp: 7 CPUs\r\n"),
        digest: Some(digest),
        metrics: passed().metrics,
        ..Record::new(identity, "2026-11-21T03:16:51.25Z".parse().unwrap(), reason)
    }
}

/// A run of a scenario that has something in every field of what it showed, and failed for it.
pub(crate) fn played() -> Record {
    let text = str::to_string;
    let latency = Latency { count: 3, mean_ns: 20, cv: 0.5, max_ns: 30, ..Latency::default() };
    let cpus = || "0-2,5".parse().unwrap();
    let allowed = "0-1".parse().unwrap();
    let worker = WorkerReport {
        cgroup: text("a"),
        step: Some(0),
        work: text("SpinWait"),
        tid: 71,
        units: 4096,
        moves: vec![Move { at_ns: 1_200_000_000, ..Move::default() }],
        cpus_used: cpus(),
        strays: vec![Stray { at_ns: 1_500_000_000, allowed, step: Some(0), ..Stray::default() }],
        wake: latency.clone(),
        node_pages: vec![950, 50],
        slices: vec![Slice { wake: Some(latency), ..Slice::default() }],
        end: WorkerEnd::Panicked { message: text("no") },
        ..WorkerReport::default()
    };
    let payload = PayloadReport {
        name: text("fio"),
        command: vec![text("fio")],
        end: PayloadEnd::Exited { code: 1 },
        metrics: vec![PayloadMetric { name: text("jobs.0.read.iops"), ..PayloadMetric::default() }],
        problems: vec![text("exited with code 1")],
        ..PayloadReport::default()
    };
    let stalled = SchedulerEnd::Stalled { message: text("71 stalled"), dump: text("CPU 0") };
    let scheduler = SchedulerReport {
        name: text("scx_mine"),
        attached_ns: Some(900_000_000),
        end: stalled,
        events: [(text("SCX_EV_SELECT_CPU_FALLBACK"), 3)].into(),
        ..SchedulerReport::default()
    };
    let evidence = Evidence {
        name: text("squeeze"),
        began_ns: 1_000_000_000,
        ended_ns: 2_000_000_000,
        released_after_ns: Some(1_000_000),
        steps: vec![StepEvidence { name: text("settle"), rounds: 1, ..StepEvidence::default() }],
        cgroups: vec![CgroupEvidence {
            name: text("a"),
            cpus: cpus(),
            ..CgroupEvidence::default()
        }],
        workers: vec![worker],
        payloads: vec![payload],
        schedulers: vec![scheduler],
        captures: vec![Capture { tag: text("late"), ..Capture::default() }],
        kernel_log: vec![text("WARNING: CPU: 0 PID: 71")],
    };
    let judge = Judge::new(belljar_verdict::Mode::Tcg, &"2n4l2c1t".parse().unwrap());
    let verdict = judge.test(&Limits::new()).judge(&evidence);
    let failure = verdict.failures().next().expect("a stray and more");
    let (check, message) = (failure.check.to_string(), failure.text.clone());
    let reason = Reason::Check { check, message };
    let mut record = Record { outcome: reason.outcome(), reason, ..failed() };
    record.vm.scheduler = Some(Scheduler {
        name: text("scx_mine"),
        source: text("package scx-mine"),
        command: vec![text("scx_mine"), text("--slow")],
        program_hash: "5c".repeat(32),
    });
    record.steps = Some(1);
    record.scenarios.push(Played { evidence, verdict });
    record
}

/// What the guest said in [`failed`].
pub(crate) fn said() -> Said {
    let mut transcript = Transcript::new();
    transcript.frame(1_500_000, "stdout", b"looking\n");
    transcript.finish(b"[    1.0] smp: 7 CPUs\r\n").1
}

pub(crate) fn reasons() -> impl Strategy<Value = Reason> {
    let text = any::<String>;
    let place = (text(), any::<u32>(), any::<u32>());
    let at = option::of(place.prop_map(|(file, line, column)| Place { file, line, column }));
    let flat = prop_oneof![
        Just(Reason::Passed),
        Just(Reason::UnexpectedPass),
        Just(Reason::Interrupted),
        (text(), at.clone()).prop_map(|(message, at)| Reason::Assertion { message, at }),
        (text(), at).prop_map(|(message, at)| Reason::Panic { message, at }),
        (text(), vec(text(), 0..3)).prop_map(|(message, chain)| Reason::Error { message, chain }),
        any::<u64>().prop_map(|limit_ms| Reason::Timeout { limit_ms }),
        option::of(text()).prop_map(|victim| Reason::OutOfMemory { victim }),
        (text(), text()).prop_map(|(status, stderr)| Reason::QemuDied { status, stderr }),
        any::<i32>().prop_map(|signal| Reason::Signaled { signal }),
        (vec(text(), 0..3), vec(text(), 0..3))
            .prop_map(|(missing, found_in)| Reason::Refused { missing, found_in }),
        text().prop_map(|why| Reason::Skipped { why }),
    ];
    prop_oneof![
        4 => flat.clone(),
        1 => flat.prop_map(|reason| Reason::ExpectedFailure { reason: Box::new(reason) }),
    ]
}

fn tails() -> impl Strategy<Value = Tail> {
    (vec(any::<u8>(), 0..60), 0usize..60).prop_map(|(text, limit)| Tail::with_limit(&text, limit))
}

fn metrics() -> impl Strategy<Value = Metric> {
    const POLARITIES: [Polarity; 3] = [Polarity::Higher, Polarity::Lower, Polarity::None];
    let finite = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    (any::<String>(), finite, any::<String>(), prop::sample::select(&POLARITIES[..]))
        .prop_map(|(name, value, unit, polarity)| Metric { name, value, unit, polarity })
}

fn phases() -> impl Strategy<Value = Phase> {
    let counters = btree_map(any::<String>(), any::<u64>(), 0..3);
    (any::<String>(), any::<u64>(), any::<Option<u64>>(), counters)
        .prop_map(|(name, start_ns, end_ns, counters)| Phase { name, start_ns, end_ns, counters })
}

pub(crate) fn records() -> impl Strategy<Value = Record> {
    let texts = || (any::<String>(), any::<String>(), any::<Option<String>>());
    let seconds = 0i64..100_000_000_000;
    let times = (seconds, 0i32..1_000_000_000, any::<Option<u64>>(), any::<bool>());
    let said = (vec(metrics(), 0..4), vec(any::<String>(), 0..3), vec(phases(), 0..3));
    (reasons(), texts(), texts(), times, said, (tails(), tails(), tails())).prop_map(
        |(reason, names, kernel, (seconds, nanos, number, flag), said, tails)| {
            let identity = Identity { test: names.0, variant: names.1, ..failed().identity };
            let started_at = Timestamp::new(seconds, nanos).expect("before the year 9999");
            let mut record = Record { reason, started_at, identity, ..failed() };
            record.outcome = record.reason.outcome();
            record.expected_fail = flag;
            (record.metrics, record.notes, record.phases) = said;
            (record.stdout, record.stderr, record.console) = tails;
            (record.vm.kernel.id, record.vm.topology, record.vm.kernel.release) = kernel;
            (record.project.commit, record.project.dirty) = (names.2, flag);
            (record.vm.seed, record.guest_time_ns, record.durations.run_ns) =
                (number, number, number);
            record
        },
    )
}
