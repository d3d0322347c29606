//! Every check: a healthy run passes it, and the least that is wrong fails it and nothing else.

use std::time::Duration;

use belljar_topology::{CpuId, Topology};
use belljar_verdict::evidence::{
    CgroupEvidence, Evidence, Gap, Latency, Move, PayloadEnd, PayloadReport, SchedulerEnd,
    SchedulerReport, Slice, StepEvidence, Stray, WorkerEnd, WorkerReport,
};
use belljar_verdict::{CheckKind, Judge, Limits, Mode, Outcome, Verdict};
use proptest::prelude::*;
use proptest::sample::select;

const MS: u64 = 1_000_000;
/// The scenario begins 10 s after the guest's boot.
const START: u64 = 10_000 * MS;

/// Two nodes of two CPUs; four workers in `a` that live through both steps, two in `b` that belong to the
/// second and wake each other.
fn healthy() -> Evidence {
    let step = |name: &str, from: u64| StepEvidence {
        name: name.into(),
        began_ns: from,
        held_ns: from + 100 * MS,
        ended_ns: from + 1000 * MS,
        rounds: 1,
    };
    let cgroup = |name: &str, step| CgroupEvidence {
        name: name.into(),
        step,
        cpus: "0-3".parse().unwrap(),
        usage_ns: 3000 * MS,
        weight: 100,
        ..CgroupEvidence::default()
    };
    let mut workers: Vec<_> = (0..4).map(|index| worker("a", index, None)).collect();
    workers.extend((0..2).map(|index| worker("b", index, Some(1))));
    Evidence {
        name: "healthy".into(),
        began_ns: START,
        ended_ns: START + 2100 * MS,
        released_after_ns: Some(100 * MS),
        steps: vec![step("settle", START), step("squeeze", START + 1000 * MS)],
        cgroups: vec![cgroup("a", None), cgroup("b", Some(1))],
        workers,
        payloads: vec![PayloadReport {
            name: "fio".into(),
            command: vec!["fio".into()],
            began_ns: START,
            ended_ns: START + 500 * MS,
            end: PayloadEnd::Exited { code: 0 },
            cpu_ns: 40 * MS,
            ..PayloadReport::default()
        }],
        schedulers: vec![SchedulerReport {
            name: "scx_mine".into(),
            ops: "mine".into(),
            began_ns: START - 900 * MS,
            attached_ns: Some(START - 500 * MS),
            ended_ns: Some(START + 2100 * MS),
            ..SchedulerReport::default()
        }],
        ..Evidence::default()
    }
}

fn worker(cgroup: &str, index: u32, step: Option<u32>) -> WorkerReport {
    let lives = if step.is_none() { vec![0, 1] } else { vec![1] };
    let wake = Latency {
        count: 400,
        mean_ns: 60_000,
        cv: 0.8,
        min_ns: 20_000,
        p50_ns: 50_000,
        p90_ns: 90_000,
        p99_ns: 200_000,
        p999_ns: 300_000,
        max_ns: 400_000,
    };
    let held = lives.len() as u64;
    let began_ns = START + if step.is_none() { 100 * MS } else { 1100 * MS };
    WorkerReport {
        cgroup: cgroup.into(),
        index,
        step,
        work: if step.is_none() { "SpinWait" } else { "PipeIo" }.into(),
        comm: "belljar".into(),
        tid: 70 + index,
        began_ns,
        ended_ns: START + 2000 * MS,
        units: 900_000 * held,
        iterations: 900 * held,
        cpu_ns: 600 * MS * held,
        run_delay_ns: 300 * MS * held,
        runs: 300 * held,
        voluntary_switches: 10,
        involuntary_switches: 290 * held,
        migrations: 8 * held,
        node_migrations: 2 * held,
        cpus_used: "0-1".parse().unwrap(),
        gap: gap(40, 0),
        wake: if step.is_none() { Latency::default() } else { wake },
        node_pages: vec![950, 50],
        slices: lives.into_iter().map(slice).collect(),
        ..WorkerReport::default()
    }
}

fn slice(step: u32) -> Slice {
    Slice {
        step,
        wall_ns: 900 * MS,
        cpu_ns: 600 * MS,
        run_delay_ns: 300 * MS,
        units: 900_000,
        iterations: 900,
        migrations: 8,
        node_migrations: 2,
        gap: gap(if step == 0 { 40 } else { 30 }, step),
        wake: None,
    }
}

fn gap(wall_ms: u64, step: u32) -> Gap {
    let (wall_ns, at_ns) = (wall_ms * MS, START + 900 * MS + u64::from(step) * 1000 * MS);
    Gap {
        wall_ns,
        cpu_ns: MS / 5,
        run_delay_ns: wall_ns - MS / 5,
        at_ns,
        cpu: CpuId(1),
        step: Some(step),
    }
}

/// Every limit that there is, within which the healthy run stays.
fn strict() -> Limits {
    Limits::fair()
        .max_gap(Duration::from_millis(100))
        .max_throughput_cv(0.2)
        .min_work_rate(1_000_000.0)
        .min_iteration_rate(1000.0)
        .max_p99_wake(Duration::from_millis(1))
        .max_wake_cv(2.0)
        .max_migration_ratio(0.05)
        .max_cross_node_ratio(0.5)
        .min_page_locality(0.9)
}

fn machine() -> Topology {
    "2n2l2c1t".parse().unwrap()
}

fn judge() -> Judge {
    Judge::new(Mode::Tcg, &machine()).test(&strict())
}

/// The findings of one outcome, as `check subject`.
fn named(verdict: &Verdict, outcome: Outcome) -> Vec<String> {
    let findings = verdict.findings().iter().filter(|finding| finding.outcome == outcome);
    findings.map(|finding| format!("{} {}", finding.check, finding.subject)).collect()
}

fn changed(change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut evidence = healthy();
    change(&mut evidence);
    evidence
}

#[test]
fn a_healthy_run_passes_every_check() {
    let verdict = judge().judge(&healthy());
    assert_eq!(verdict.outcome(), Outcome::Pass);
    let of_evidence = |check: &&CheckKind| {
        use CheckKind::{Body, Claim, Expectation, Machine, Note};
        !matches!(check, Machine | Expectation | Body | Claim | Note)
    };
    let passed: Vec<_> = verdict.findings().iter().map(|finding| finding.check).collect();
    assert_eq!(passed, CheckKind::ALL.iter().filter(of_evidence).copied().collect::<Vec<_>>());
    insta::assert_snapshot!(verdict.explain());
}

#[test]
fn each_fault_fails_its_own_check_and_no_other() {
    type Fault = (&'static str, fn(&mut Evidence));
    let faults: &[Fault] = &[
        ("progress worker a/0.3 (SpinWait, tid 73)", |it| {
            // The other checks would see it, too: no rate is asked for.
            it.workers[3].units = 0;
        }),
        ("isolation worker a/0.2 (SpinWait, tid 72)", |it| {
            let allowed = "0-1".parse().unwrap();
            it.workers[2].strays =
                vec![Stray { at_ns: START + 1500 * MS, cpu: CpuId(3), allowed, step: Some(1) }];
        }),
        ("gap worker a/0.1 (SpinWait, tid 71)", |it| it.workers[1].gap = gap(101, 1)),
        ("spread workers a/0", |it| it.workers[0].cpu_ns = 900 * MS),
        ("throughput-cv workers a/0", |it| it.workers[0].units *= 2),
        ("work-rate worker b/0.1 (PipeIo, tid 71)", |it| it.workers[5].units = 590_000),
        ("iteration-rate worker b/0.1 (PipeIo, tid 71)", |it| it.workers[5].iterations = 590),
        ("p99-wake worker b/0.0 (PipeIo, tid 70)", |it| it.workers[4].wake.p99_ns = MS + 1),
        ("wake-cv worker b/0.0 (PipeIo, tid 70)", |it| it.workers[4].wake.cv = 2.1),
        ("migration-ratio cgroup a", |it| {
            it.workers[1].migrations = 400;
            it.workers[1].moves =
                vec![Move { at_ns: START + 200 * MS, from: CpuId(0), to: CpuId(1) }];
        }),
        ("cross-node-ratio cgroup b", |it| {
            it.workers[4].node_migrations = 8;
            it.workers[5].node_migrations = 8;
        }),
        ("page-locality worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].node_pages = vec![899, 101];
        }),
        ("worker-ends worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].end = WorkerEnd::Signaled { signal: 11 };
        }),
        ("worker-ends worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].end = WorkerEnd::Panicked { message: "index out of bounds".into() };
        }),
        ("worker-ends worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].end = WorkerEnd::Exited { code: 0 };
        }),
        ("worker-ends worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].end = WorkerEnd::Unresponsive;
        }),
        ("worker-starts worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].end = WorkerEnd::NotStarted { error: "fork: out of pids".into() };
        }),
        ("worker-starts worker a/0.0 (SpinWait, tid 70)", |it| {
            it.workers[0].end = WorkerEnd::Failed { error: "sched_setattr: not permitted".into() };
        }),
        ("payload-starts payload fio", |it| {
            it.payloads[0].end = PayloadEnd::NotStarted { error: "no such file".into() };
        }),
        ("payload payload fio", |it| it.payloads[0].end = PayloadEnd::Signaled { signal: 9 }),
        ("payload payload fio", |it| it.payloads[0].end = PayloadEnd::TimedOut),
        ("payload payload fio", |it| {
            it.payloads[0].problems = vec!["`jobs.0.read.iops` is 9, wanted at least 10".into()];
        }),
        ("clean-log the run", |it| {
            it.kernel_log = vec!["WARNING: CPU: 0 PID: 71 at kernel/x.c:1".into()];
        }),
    ];
    for (wanted, fault) in faults {
        // Work and iteration rates would double as faults of progress and throughput.
        let rates = wanted.contains("-rate ");
        let limits = if rates {
            strict()
        } else {
            Limits { min_work_rate: None, min_iteration_rate: None, ..strict() }
        };
        let cv = if wanted.starts_with("throughput") { Some(0.2) } else { None };
        let limits = Limits { max_throughput_cv: cv, ..limits };
        let judge = Judge::new(Mode::Tcg, &machine()).test(&limits);
        let verdict = judge.judge(&changed(fault));
        assert_eq!(named(&verdict, Outcome::Fail), [*wanted], "{}", verdict.explain());
        assert_eq!(named(&verdict, Outcome::Inconclusive), [""; 0], "{}", verdict.explain());
    }
}

#[test]
fn the_ends_of_a_scheduler_are_told_apart() {
    let ends = [
        SchedulerEnd::ExitedCleanly,
        SchedulerEnd::KernelError {
            reason: "runtime error".into(),
            message: "invalid CPU -3".into(),
            dump: "CPU 0\nCPU 1".into(),
        },
        SchedulerEnd::Stalled {
            message: "a/0.3[73] failed to run for 5.1s".into(),
            dump: "CPU states\n----------\n\nCPU 1   : nr_run=5 flags=0x1 cpu_rel=0 ksync=129\n          \
                   curr=spinwait[113] class=ext_sched_class\n\n  R a/0.3[73] *root -5100ms"
                .into(),
        },
        SchedulerEnd::Died { status: "signal: 11".into() },
        SchedulerEnd::Unresponsive,
        SchedulerEnd::Rejected { log: "0: R1=ctx()\nR2 invalid mem access 'scalar'".into() },
        SchedulerEnd::Unsupported { missing: "CONFIG_SCHED_CLASS_EXT".into() },
        SchedulerEnd::NeverAttached { waited_ns: 10_000 * MS },
        SchedulerEnd::NotLoaded { status: "exit status: 1".into() },
        SchedulerEnd::NotStarted { error: "no such file".into() },
    ];
    let mut said = String::new();
    for (end, is_attached) in ends.iter().zip([true; 5]).chain(ends.iter().zip([false; 10])) {
        let verdict = judge().judge(&changed(|it| {
            it.schedulers[0].end = end.clone();
            it.schedulers[0].attached_ns = it.schedulers[0].attached_ns.filter(|_| is_attached);
            it.schedulers[0].ended_ns = Some(START + 1500 * MS);
        }));
        let wanted = if is_attached { "scheduler-lives" } else { "scheduler-loads" };
        assert_eq!(named(&verdict, Outcome::Fail), [format!("{wanted} scheduler scx_mine")]);
        let failures: Vec<_> = verdict.failures().cloned().collect();
        said.push_str(&failures.into_iter().collect::<Verdict>().explain());
    }
    insta::assert_snapshot!(said);
    let verdict = judge().judge(&changed(|it| it.schedulers[0].attached_ns = None));
    assert_eq!(named(&verdict, Outcome::Inconclusive), ["scheduler-loads scheduler scx_mine"]);
    // A death can be allowed; that it loads cannot be waived.
    let waived = judge().test(&Limits::new().scheduler_lives(false));
    let ended = |end: &SchedulerEnd, attached| {
        waived.judge(&changed(|it| {
            it.schedulers[0].end = end.clone();
            it.schedulers[0].attached_ns = attached;
        }))
    };
    assert_eq!(ended(&ends[0], Some(START)).outcome(), Outcome::Pass);
    assert_eq!(ended(&ends[0], None).outcome(), Outcome::Fail);
}

#[test]
fn a_starved_worker_is_explained() {
    let verdict = Judge::new(Mode::Tcg, &machine())
        .scheduler("scx_mine", &Limits::fair())
        .test(&strict())
        .judge(&changed(|it| {
            for index in [1, 3] {
                let starved = &mut it.workers[index];
                (starved.cpu_ns, starved.run_delay_ns) = (0, 1900 * MS);
                (starved.units, starved.iterations, starved.migrations) = (0, 0, 0);
                (starved.gap, starved.cpus_used) = (Gap::default(), "".parse().unwrap());
            }
            it.workers[2].gap = gap(1700, 1);
            it.cgroups[0].throttled = 13;
            it.cgroups[0].throttled_ns = 400 * MS;
        }));
    insta::assert_snapshot!(verdict.explain());
    let json = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    insta::assert_snapshot!(serde_json::to_string_pretty(&verdict.findings()[0]).unwrap());
}

#[test]
fn of_many_findings_a_few_are_shown() {
    let verdict = judge().judge(&changed(|it| {
        let more = (4..20).map(|index| worker("a", index, None));
        it.workers.splice(4..4, more);
        for (index, worker) in it.workers[..20].iter_mut().enumerate() {
            worker.gap = gap(200 + index as u64, 0);
        }
    }));
    let said = verdict.explain();
    assert_eq!(named(&verdict, Outcome::Fail).len(), 20);
    assert_eq!(said.matches("FAIL gap").count(), 3);
    assert!(
        said.starts_with("FAIL gap: worker a/0.19 (SpinWait, tid 89): no checkpoint for 219 ms;"),
        "{said}"
    );
    let more =
        "  and 17 more of gap: a/0.16, a/0.15, a/0.14, a/0.13, a/0.12, a/0.11, a/0.10, a/0.9, …\n";
    assert!(said.contains(more), "{said}");
}

#[test]
fn nothing_to_divide_by_is_open_and_says_why() {
    let open = |wanted: &[&str], limits: Limits, change: fn(&mut Evidence)| {
        let verdict = Judge::new(Mode::Tcg, &machine()).test(&limits).judge(&changed(change));
        assert_eq!(named(&verdict, Outcome::Inconclusive), wanted, "{}", verdict.explain());
        assert_eq!(named(&verdict, Outcome::Fail), [""; 0], "{}", verdict.explain());
        for finding in verdict.findings().iter().filter(|it| it.outcome == Outcome::Inconclusive) {
            assert!(!finding.text.is_empty());
        }
    };
    // Nothing was measured, and nobody was kept from running.
    let new = Limits::new;
    let a0 = "worker a/0.0 (SpinWait, tid 70)";
    open(&[&format!("progress {a0}")], new(), |it| {
        (it.workers[0].units, it.workers[0].ended_ns) = (0, it.workers[0].began_ns);
    });
    open(&[&format!("gap {a0}")], new().max_gap(Duration::from_secs(1)), |it| {
        it.workers[0].gap = Gap::default();
    });
    open(&[&format!("spread {a0}")], new().max_spread_pct(99.0), |it| {
        it.workers[0].ended_ns = it.workers[0].began_ns;
    });
    open(&[&format!("throughput-cv {a0}")], new().max_throughput_cv(9.0).progress(false), |it| {
        it.workers.iter_mut().for_each(|it| it.units = 0);
        it.workers.truncate(4);
    });
    open(&[&format!("work-rate {a0}")], new().min_work_rate(1.0), |it| {
        (it.workers[0].cpu_ns, it.workers[0].run_delay_ns) = (0, 0);
    });
    open(&["p99-wake the run"], new().max_p99_wake(Duration::from_secs(1)), |it| {
        it.workers.truncate(4);
    });
    open(&["wake-cv worker b/0.1 (PipeIo, tid 71)"], new().max_wake_cv(9.0), |it| {
        it.workers[5].wake = Latency::default();
    });
    open(&["migration-ratio cgroup a"], new().max_migration_ratio(9.0), |it| {
        it.workers.iter_mut().take(4).for_each(|it| it.iterations = 0);
    });
    open(&["cross-node-ratio cgroup a"], new().max_cross_node_ratio(1.0), |it| {
        it.workers.iter_mut().take(4).for_each(|it| (it.migrations, it.node_migrations) = (0, 0));
    });
    open(&[&format!("page-locality {a0}")], new().min_page_locality(0.1), |it| {
        it.workers[0].node_pages = vec![0, 0];
    });
    open(&["spread the run"], new().max_spread_pct(99.0), |it| it.workers.truncate(1));
}

#[test]
fn nothing_to_divide_by_is_a_failure_where_the_policy_caused_it() {
    let starve = |it: &mut Evidence| {
        (it.workers[0].cpu_ns, it.workers[0].run_delay_ns) = (0, 1900 * MS);
        it.workers[0].iterations = 0;
        it.workers.truncate(1);
    };
    for (limits, wanted) in [
        (Limits::new().min_work_rate(1.0), "work-rate worker a/0.0 (SpinWait, tid 70)"),
        (Limits::new().min_iteration_rate(1.0), "iteration-rate worker a/0.0 (SpinWait, tid 70)"),
        (Limits::new().max_migration_ratio(1.0), "migration-ratio worker a/0.0 (SpinWait, tid 70)"),
    ] {
        let verdict = Judge::new(Mode::Tcg, &machine()).test(&limits).judge(&changed(starve));
        assert_eq!(named(&verdict, Outcome::Fail), [wanted], "{}", verdict.explain());
    }
}

#[test]
fn what_is_not_a_number_holds_no_limit() {
    let verdict = judge().judge(&changed(|it| it.workers[4].wake.cv = f64::NAN));
    assert_eq!(named(&verdict, Outcome::Fail), ["wake-cv worker b/0.0 (PipeIo, tid 70)"]);
    let json = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    let limits = Limits::new().max_spread_pct(f64::NAN);
    let verdict = Judge::new(Mode::Tcg, &machine()).test(&limits).judge(&healthy());
    assert_eq!(named(&verdict, Outcome::Fail), ["spread workers a/0", "spread workers b/0"]);
}

#[test]
fn throughput_is_skipped_where_cpus_take_turns() {
    let skipped = |mode, topology: &str| {
        let verdict =
            Judge::new(mode, &topology.parse().unwrap()).test(&strict()).judge(&healthy());
        assert_eq!(verdict.outcome(), Outcome::Pass, "{}", verdict.explain());
        named(&verdict, Outcome::Skip)
    };
    let throughput = ["throughput-cv the run", "work-rate the run", "iteration-rate the run"];
    assert_eq!(skipped(Mode::Det, "2n2l2c1t"), throughput);
    assert_eq!(skipped(Mode::Kvm, "2n2l2c1t"), [""; 0]);
    // One CPU takes all turns. One node has no other.
    let of_nodes = ["cross-node-ratio the run", "page-locality the run"];
    assert_eq!(skipped(Mode::Det, "1n1l1c1t"), of_nodes);
    assert_eq!(skipped(Mode::Tcg, "1n1l2c1t"), of_nodes);
}

#[test]
fn a_default_with_nothing_to_look_at_is_skipped() {
    let verdict = Judge::new(Mode::Tcg, &machine())
        .scheduler("scx_mine", &strict())
        .judge(&Evidence::default());
    assert_eq!(named(&verdict, Outcome::Pass), ["clean-log the run"]);
    assert_eq!(named(&verdict, Outcome::Inconclusive), [""; 0]);
    let asked = judge().judge(&Evidence::default());
    assert_eq!(asked.outcome(), Outcome::Inconclusive);
}

#[test]
fn a_steps_limits_hold_in_that_step_alone() {
    let squeeze = |limits: Limits| judge().step(1, "squeeze", &limits);
    let gaps = |step: u32| {
        changed(|it| {
            it.workers[0].slices[step as usize].gap = gap(500, step);
            it.workers[0].gap = gap(500, step);
        })
    };
    let gap_failed = ["gap worker a/0.0 (SpinWait, tid 70)"];
    // A wider limit for the step: its own gap is let pass, the same in another step is not.
    let wide = squeeze(Limits::new().max_gap(Duration::from_secs(1)));
    assert_eq!(wide.judge(&gaps(1)).outcome(), Outcome::Pass, "{}", wide.judge(&gaps(1)).explain());
    let verdict = wide.judge(&gaps(0));
    assert_eq!(named(&verdict, Outcome::Fail), gap_failed);
    assert_eq!(verdict.findings()[0].origin.as_ref().unwrap().to_string(), "test");
    // A narrower one catches what the longest gap of the whole life would hide.
    let narrow = squeeze(Limits::new().max_gap(Duration::from_millis(20)));
    let verdict = narrow.judge(&changed(|it| {
        it.workers.truncate(1);
        it.workers[0].slices[1].gap = gap(25, 1);
    }));
    assert_eq!(named(&verdict, Outcome::Fail), gap_failed);
    let first = &verdict.findings()[0];
    assert_eq!(
        first.line(),
        "gap: worker a/0.0 (SpinWait, tid 70): no checkpoint for 25 ms; limit 20 ms (step squeeze)"
    );
    assert_eq!(first.place(), "in step 2 `squeeze`, on CPU 1, 1.9 s after the start");

    // The same for what is counted by slice: no work in one step.
    let idle = |it: &mut Evidence| {
        it.workers[0].units -= it.workers[0].slices[1].units;
        it.workers[0].slices[1].units = 0;
    };
    let lax = Limits { max_throughput_cv: None, min_work_rate: None, ..strict() };
    let judge =
        |limits: Limits| Judge::new(Mode::Tcg, &machine()).test(&lax).step(1, "squeeze", &limits);
    assert_eq!(judge(Limits::new()).judge(&changed(idle)).outcome(), Outcome::Pass);
    let verdict = judge(Limits::new().progress(true)).judge(&changed(idle));
    assert_eq!(named(&verdict, Outcome::Fail), ["progress worker a/0.0 (SpinWait, tid 70)"]);
    // Strays of a step that is let off.
    let stray = |it: &mut Evidence| {
        let allowed = "0".parse().unwrap();
        it.workers[0].strays =
            vec![Stray { at_ns: START + 1500 * MS, cpu: CpuId(1), allowed, step: Some(1) }];
    };
    assert_eq!(judge(Limits::new()).judge(&changed(stray)).outcome(), Outcome::Fail);
    assert_eq!(
        judge(Limits::new().isolation(false)).judge(&changed(stray)).outcome(),
        Outcome::Pass
    );
    // A scheduler that may go in that step.
    let gone = |it: &mut Evidence| {
        it.schedulers[0].end = SchedulerEnd::ExitedCleanly;
        it.schedulers[0].ended_ns = Some(START + 1500 * MS);
    };
    assert_eq!(judge(Limits::new()).judge(&changed(gone)).outcome(), Outcome::Fail);
    assert_eq!(
        judge(Limits::new().scheduler_lives(false)).judge(&changed(gone)).outcome(),
        Outcome::Pass
    );
    // What no slice has is open for workers that lived longer.
    let wakes = judge(Limits::new().max_p99_wake(Duration::from_micros(100)));
    assert_eq!(named(&wakes.judge(&healthy()), Outcome::Fail).len(), 2);
    let verdict = wakes.judge(&changed(|it| {
        let wake = it.workers[4].wake.clone();
        it.workers.truncate(4);
        it.workers.iter_mut().for_each(|it| it.wake = wake.clone());
    }));
    assert_eq!(named(&verdict, Outcome::Inconclusive), ["p99-wake the run", "p99-wake the run"]);
    assert!(
        verdict.explain().contains("no wake-up was timed for this part of the run alone"),
        "{}",
        verdict.explain()
    );

    insta::assert_snapshot!(
        judge(Limits::new().isolation(false).max_gap(Duration::from_millis(20))).show()
    );
}

prop_compose! {
    /// A worker as no kernel would report it.
    fn strange_worker()(
        n in proptest::collection::vec(select(&[0, 1, 1000, u64::MAX - 1, u64::MAX][..]), 16),
        cv in select(&[0.0, -1.0, f64::NAN, f64::INFINITY][..]),
        (step, index) in (select(&[None, Some(0), Some(1), Some(u32::MAX)][..]), 0u32..2),
        cgroup in select(&["", "a", "a/b", "\u{1b}[2J"][..]),
    ) -> WorkerReport {
        let gap = Gap { wall_ns: n[0], cpu_ns: n[1], run_delay_ns: n[2], at_ns: n[3], cpu: CpuId(u32::MAX), step };
        let wake = Latency { count: n[4], cv, p99_ns: n[5], max_ns: n[0], ..Latency::default() };
        let stray = Stray { at_ns: n[6], cpu: CpuId(7), step, ..Stray::default() };
        let slice = Slice {
            step: step.unwrap_or(1), wall_ns: n[7], cpu_ns: n[8], run_delay_ns: n[9], units: n[10],
            iterations: n[11], migrations: n[12], node_migrations: n[13], gap: gap.clone(), wake: Some(wake.clone()),
        };
        WorkerReport {
            cgroup: cgroup.into(), index, step, began_ns: n[14], ended_ns: n[15], units: n[0], iterations: n[1],
            cpu_ns: n[2], run_delay_ns: n[3], migrations: n[4], node_migrations: n[5], gap, wake,
            cpus_used: "0,8191".parse().unwrap(), node_pages: vec![n[6], n[7], n[8]],
            strays: if n[9] == 0 { vec![stray] } else { Vec::new() },
            slices: vec![slice.clone(), slice], work: "\u{7}".into(), ..WorkerReport::default()
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_a_guest_reports_breaks_the_judge(
        workers in proptest::collection::vec(strange_worker(), 0..5),
        began_ns in select(&[0, START, u64::MAX][..]),
    ) {
        let evidence = changed(|it| (it.workers, it.began_ns) = (workers, began_ns));
        for mode in [Mode::Tcg, Mode::Det] {
            let judge = Judge::new(mode, &machine()).test(&strict()).step(1, "squeeze", &strict());
            let verdict = judge.judge(&evidence);
            prop_assert!(verdict.explain().chars().all(|c| !c.is_control() || c == '\n'));
            let json = serde_json::to_string(&verdict).unwrap();
            let read = serde_json::from_str::<Verdict>(&json).unwrap();
            prop_assert_eq!(read.explain(), verdict.explain());
        }
    }
}
