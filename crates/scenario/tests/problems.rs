//! What is wrong with a scenario is told before anything starts, in a sentence that says where and
//! what would be right.

use std::time::Duration;

use belljar_scenario::{
    Affinity, Backdrop, Cgroup, Check, Cpuset, Hold, MemoryFlags, MemoryPolicy, Op, Payload,
    Policy, Scenario, Schedulers, Step, Work, Workers,
};
use belljar_verdict::Polarity;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SCHEDULERS: Schedulers<'_> = Schedulers { attached: Some("mine"), staged: &["other"] };

/// The problems on two nodes of four CPUs, line by line.
fn problems(scenario: &Scenario) -> String {
    let problems = scenario.check(&"2n4l2c1t".parse().unwrap(), SCHEDULERS).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn spinners(name: &str) -> Cgroup {
    Cgroup::new(name).workers(2, Work::SpinWait)
}

/// A step with these operations, on a backdrop of the cgroup `load`.
fn with_ops(ops: Vec<Op>) -> Scenario {
    let step = Step { ops, ..Step::new("squeeze") };
    Scenario::new().backdrop(spinners("load")).step(Step::new("calm")).step(step)
}

/// A step with a cgroup that has these workers.
fn with_workers(workers: Vec<Workers>) -> Scenario {
    let cgroup = Cgroup { workers, ..Cgroup::new("load") };
    Scenario::new().step(Step::new("only").cgroup(cgroup))
}

fn load() -> String {
    "load".into()
}

#[test]
fn names() {
    let remove = |cgroup: &str| Op::RemoveCgroup { cgroup: cgroup.into() };
    let add = |name: &str| Op::AddCgroup { cgroup: Box::new(Cgroup::new(name)) };
    let scenario = with_ops(vec![
        remove("laod"),
        remove("elsewhere"),
        remove(""),
        add("load"),
        add("missing/child"),
        add("two words"),
        add("load/_workers"),
        add("load/child"),
        add("fresh"),
        remove("fresh"),
        Op::Freeze { cgroup: "fresh".into() },
        Op::SetWeight { cgroup: "early".into(), weight: 100 },
    ]);
    let early = Step::new("squeeze").cgroup(spinners("early"));
    let scenario = Scenario { steps: [vec![early], scenario.steps].concat(), ..scenario };
    insta::assert_snapshot!(problems(&scenario), @r"
        step 3 `squeeze`: another step is called `squeeze`: name them apart
        step 3 `squeeze`, operation 1 (remove-cgroup): no cgroup is called `laod`; did you mean `load`?
        step 3 `squeeze`, operation 2 (remove-cgroup): no cgroup is called `elsewhere`; there are load
        step 3 `squeeze`, operation 3 (remove-cgroup): the scenario's root cannot be used here: name a cgroup
        step 3 `squeeze`, operation 4 (add-cgroup), cgroup `load`: `load` is there already, from backdrop: name them apart
        step 3 `squeeze`, operation 5 (add-cgroup), cgroup `missing/child`: no cgroup is called `missing`; there are load
        step 3 `squeeze`, operation 6 (add-cgroup), cgroup `two words`: `two words` cannot be a cgroup's name: use letters, digits, `-` and `_`, a letter or digit first, and `/` between parent and child, at most 128 in all
        step 3 `squeeze`, operation 7 (add-cgroup), cgroup `load/_workers`: `load/_workers` cannot be a cgroup's name: use letters, digits, `-` and `_`, a letter or digit first, and `/` between parent and child, at most 128 in all
        step 3 `squeeze`, operation 11 (freeze): there is no cgroup `fresh` any more: step 3 `squeeze`, operation 10 removed it
        step 3 `squeeze`, operation 12 (set-weight): there is no cgroup `early` any more: it lives in step 1 `squeeze` alone
        ");
}

#[test]
fn cpusets() {
    let set = |cgroup: &str, cpus| Op::SetCpuset { cgroup: cgroup.into(), cpus };
    let mut scenario = with_ops(vec![
        set("load", Cpuset::llc(4)),
        set("load", Cpuset::range(0.5, 0.1)),
        set("outer/inner", Cpuset::exact("3-5".parse().unwrap())),
        set("outer", Cpuset::node(1)),
        set("outer/inner", Cpuset::llc(3)),
        Op::SwapCpusets { a: load(), b: load() },
        Op::SwapCpusets { a: load(), b: "outer/inner".into() },
        Op::SetAffinity { cgroup: load(), affinity: Affinity::SmtSiblingPair },
        Op::SetAffinity { cgroup: "outer".into(), affinity: Affinity::SingleCpu },
    ]);
    scenario.backdrop.cgroups.extend([
        Cgroup::new("outer").cpuset(Cpuset::node(0)).mems("0"),
        spinners("outer/inner").cpuset(Cpuset::llc(0)).mems("0-1"),
        Cgroup::new("empty").cpuset(Cpuset::disjoint(8, 9)).mems("x"),
    ]);
    insta::assert_snapshot!(problems(&scenario), @r"
        backdrop, cgroup `outer/inner`: memory nodes `0-1` are not possible: give some of 0
        backdrop, cgroup `empty`: `part 8 of 9` asks for more parts than there are CPUs: give 1 to 8 parts
        backdrop, cgroup `empty`: memory nodes `x` are not possible: give some of 0-1
        step 2 `squeeze`, operation 1 (set-cpuset), cgroup `load`: `LLC 4` does not exist: give an LLC from 0 to 3
        step 2 `squeeze`, operation 2 (set-cpuset), cgroup `load`: `range 0.5 to 0.1` is not possible: give 0 <= start < end <= 1
        step 2 `squeeze`, operation 3 (set-cpuset), cgroup `outer/inner`: `CPUs 3-5` has CPUs 4-5, which are not usable here: there are the CPUs 0-3
        step 2 `squeeze`, operation 4 (set-cpuset), cgroup `outer`: CPUs 4-7 leave none to the child `outer/inner`, which is confined to 0-1: change the child first
        step 2 `squeeze`, operation 6 (swap-cpusets): `load` cannot swap its CPUs with itself: name two cgroups
        step 2 `squeeze`, operation 7 (swap-cpusets): `outer/inner` cannot have the CPUs 0-7: its parent has 4-7; swap cgroups of one parent
        step 2 `squeeze`, operation 8 (set-affinity), cgroup `load`: no core has two threads among the CPUs 0-7 of `2n4l2c1t`: an SMT sibling pair needs a topology such as `1n1l2c2t`
        step 2 `squeeze`, operation 9 (set-affinity), cgroup `outer`: it has no workers to bind: start some in it first
        ");
}

#[test]
fn workers() {
    let spin = || Workers::exactly(1, Work::SpinWait);
    let deadline = |runtime, period| Policy::Deadline { runtime, deadline: period, period };
    let far = MemoryPolicy::Bind { nodes: vec![1, 2], flags: MemoryFlags::StaticNodes };
    let none = MemoryPolicy::Interleave { nodes: vec![], flags: MemoryFlags::NumaBalancing };
    let storm = Work::CgroupAttachStorm { destination: "laod".into(), reap: Default::default() };
    let scenario = with_workers(vec![
        Workers::exactly(6, Work::mutex_contention()),
        Workers::exactly(1, Work::pipe_io()),
        Workers::percent_of_cpus(0, Work::SpinWait),
        Workers::percent_of_cpus(u32::MAX, Work::SpinWait),
        Workers::exactly(2, Work::schbench()),
        Workers::exactly(2, Work::SmtSiblingSpin),
        Workers::exactly(2, Work::cross_affinity_churn()),
        Workers::exactly(1, Work::WakeChain { depth: 1, futex: false, hop: MS }),
        Workers::exactly(1, storm).threads_of("leader"),
        spin().comm("sixteen-bytes-xx").nice(20),
        spin().policy(Policy::RoundRobin { priority: 0 }),
        spin().policy(deadline(MS * 2, MS)),
        spin().policy(deadline(MS, MS * 2)).affinity(Affinity::SingleCpu),
        spin().affinity(Affinity::RandomSubset { from: None, count: 9 }),
        spin().memory(far),
        spin().memory(none),
    ]);
    insta::assert_snapshot!(problems(&scenario), @r"
        step 1 `only`, cgroup `load`, worker group 1: `MutexContention` takes groups of 4 workers, and there are 6: give 4 or 8
        step 1 `only`, cgroup `load`, worker group 2: `PipeIo` takes pairs of workers, and there are 1: give 2
        step 1 `only`, cgroup `load`, worker group 3: `SpinWait` takes at least one worker, and there are 0: give at least 1
        step 1 `only`, cgroup `load`, worker group 4: 343597384 workers are too many: give at most 4096
        step 1 `only`, cgroup `load`, worker group 5: `Schbench` takes one worker, which starts its own threads, and there are 2: give 1
        step 1 `only`, cgroup `load`, worker group 6: no core has two threads among the CPUs 0-7 of `2n4l2c1t`: an SMT sibling pair needs a topology such as `1n1l2c2t`
        step 1 `only`, cgroup `load`, worker group 7: `CrossAffinityChurn` binds all tasks of its cgroup: give it a cgroup of its own
        step 1 `only`, cgroup `load`, worker group 8: `WakeChain` has depth = 1: give 2 to 4096
        step 1 `only`, cgroup `load`, worker group 8: `CrossAffinityChurn` binds all tasks of its cgroup: give it a cgroup of its own
        step 1 `only`, cgroup `load`, worker group 9: threads cannot do `CgroupAttachStorm`: take `process` away
        step 1 `only`, cgroup `load`, worker group 9: no cgroup is called `laod`; did you mean `load`?
        step 1 `only`, cgroup `load`, worker group 10: comm `sixteen-bytes-xx` has 16 bytes: give 1 to 15, none of them 0
        step 1 `only`, cgroup `load`, worker group 10: nice is 20: give -20 to 19
        step 1 `only`, cgroup `load`, worker group 11: policy `rr 0` is not possible: give a priority from 1 to 99
        step 1 `only`, cgroup `load`, worker group 12: policy `deadline 2ms in 1ms of 1ms` is not possible: give 1.024µs <= runtime <= deadline <= period
        step 1 `only`, cgroup `load`, worker group 13: workers of policy `deadline` cannot be bound to CPUs: the kernel wants them free to use all; give `inherit` or `cross-cgroup`
        step 1 `only`, cgroup `load`, worker group 14: a random subset of 9 CPUs of 0-7 is not possible: give 1 to 8
        step 1 `only`, cgroup `load`, worker group 15: memory policy `bind` has nodes 2, which are not usable here: give some of 0-1
        step 1 `only`, cgroup `load`, worker group 16: numa-balancing does not go with `interleave`: it goes with `bind` alone
        step 1 `only`, cgroup `load`, worker group 16: memory policy `interleave` has no node: give some of 0-1
        ");
}

#[test]
fn limits_of_cgroups() {
    let scenario = Scenario::new()
        .backdrop(Cgroup::new("a").weight(0).io_weight(10_001).quota_pct(0))
        .backdrop(Cgroup::new("b").memory_max(8192).memory_high(10_000).memory_low(8192))
        .backdrop(Cgroup::new("c").memory_max(0).pids_max(3))
        .step(
            Step::new("fill")
                .cgroup(spinners("c/one"))
                .cgroup(spinners("c/two"))
                .op(Op::SetWeight { cgroup: "a".into(), weight: 20_000 })
                .op(Op::SetQuota { cgroup: "a".into(), percent: Some(0) }),
        );
    insta::assert_snapshot!(problems(&scenario), @r"
        backdrop, cgroup `a`: weight is 0: give 1 to 10000
        backdrop, cgroup `a`: io_weight is 10001: give 1 to 10000
        backdrop, cgroup `a`: quota_pct is 0: give at least 1, or no quota
        backdrop, cgroup `b`: memory_high_bytes is 10000, above memory_max_bytes: give at most 8192
        backdrop, cgroup `c`: memory_max_bytes is 0: give at least a page, 4096
        step 1 `fill`, cgroup `c/two`, worker group 1: `c` comes to 4 tasks with pids_max 3: give fewer, or pids_max 4 or more
        step 1 `fill`, operation 1 (set-weight), cgroup `a`: weight is 20000: give 1 to 10000
        step 1 `fill`, operation 2 (set-quota), cgroup `a`: quota_pct is 0: give at least 1, or no quota
        ");
}

#[test]
fn tasks_and_children() {
    let move_to = |from: &str, to: &str| Op::MoveAllTasks { from: from.into(), to: to.into() };
    let spawn = |cgroup: &str| Op::Spawn {
        cgroup: cgroup.into(),
        workers: Box::new(Workers::exactly(1, Work::SpinWait)),
    };
    let scenario = Scenario::new()
        .backdrop(spinners("load"))
        .backdrop(Cgroup::new("outer"))
        .backdrop(Cgroup::new("outer/inner"))
        .step(
            Step::new("move")
                .cgroup(Cgroup::new("brief"))
                .op(move_to("load", "load"))
                .op(move_to("load", "brief"))
                .op(move_to("load", "outer"))
                .op(move_to("load", "outer/inner"))
                .op(move_to("load", ""))
                .op(spawn("outer"))
                .op(spawn(""))
                .op(Op::RemoveCgroup { cgroup: "outer".into() })
                .op(Op::Unfreeze { cgroup: "outer/inner".into() }),
        );
    insta::assert_snapshot!(problems(&scenario), @r"
        step 1 `move`, operation 1 (move-all-tasks): `load` cannot move its tasks into itself: name another cgroup
        step 1 `move`, operation 2 (move-all-tasks): the tasks of `load` outlive the step, and `brief` does not: move them to a cgroup of the backdrop
        step 1 `move`, operation 4 (move-all-tasks): `load` has no tasks to move: start some in it first
        step 1 `move`, operation 5 (move-all-tasks): `load` has no tasks to move: start some in it first
        step 1 `move`, operation 9 (unfreeze): there is no cgroup `outer/inner` any more: step 1 `move`, operation 8 removed it
        ");
}

#[test]
fn payloads() {
    let run = |payload| Op::RunPayload { payload: Box::new(payload) };
    let wait = |payload: &str| Op::WaitPayload { payload: payload.into() };
    let fio = Payload::new("fio").json();
    let odd = Payload::new("odd")
        .timeout(Duration::ZERO)
        .metric("a.b", "ms", Polarity::Lower)
        .check(Check::Range { path: "c".into(), least: 2.0, most: 1.0 });
    let scenario = with_ops(vec![
        run(fio.clone().in_cgroup("load")),
        run(fio.clone()),
        wait("foi"),
        wait("fio"),
        Op::KillPayload { payload: "fio".into() },
        run(fio.named("again")),
        run(odd),
        run(Payload::new("").in_cgroup("laod")),
        Op::CaptureFile { path: "proc/schedstat".into(), tag: "s".into() },
    ])
    .step(Step::new("after").op(wait("again")));
    insta::assert_snapshot!(problems(&scenario), @r"
        step 2 `squeeze`, operation 2 (run-payload): payload `fio` runs already, from step 2 `squeeze`, operation 1: name them apart, or wait for it first
        step 2 `squeeze`, operation 3 (wait-payload): no payload is called `foi`; there are fio
        step 2 `squeeze`, operation 5 (kill-payload): payload `fio` does not run any more: it ended in step 2 `squeeze`, operation 4
        step 2 `squeeze`, operation 7 (run-payload): its timeout is 0: give more, or none
        step 2 `squeeze`, operation 7 (run-payload): `c` is never read: let its output be JSON
        step 2 `squeeze`, operation 7 (run-payload): `a.b` is never read: let its output be JSON
        step 2 `squeeze`, operation 7 (run-payload): no `c` is between 2 and 1: give least <= most
        step 2 `squeeze`, operation 8 (run-payload), cgroup `laod`: its name is empty: give one
        step 2 `squeeze`, operation 8 (run-payload), cgroup `laod`: its program is empty: give one
        step 2 `squeeze`, operation 8 (run-payload), cgroup `laod`: no cgroup is called `laod`; did you mean `load`?
        step 2 `squeeze`, operation 9 (capture-file): `proc/schedstat` is not a path from the root, as in `/proc/schedstat`
        step 3 `after`, operation 1 (wait-payload): payload `again` does not run any more: it lives in step 2 `squeeze` alone
        ");
}

#[test]
fn schedulers() {
    let scenario = with_ops(vec![
        Op::AttachScheduler { scheduler: "other".into() },
        Op::ReplaceScheduler { scheduler: "othr".into() },
        Op::DetachScheduler,
        Op::DetachScheduler,
        Op::RestartScheduler,
        Op::ReplaceScheduler { scheduler: "mine".into() },
    ]);
    insta::assert_snapshot!(problems(&scenario), @r"
        step 2 `squeeze`, operation 1 (attach-scheduler): a scheduler is attached already: detach it first, or replace it
        step 2 `squeeze`, operation 2 (replace-scheduler): no scheduler of the test is called `othr`; did you mean `other`?
        step 2 `squeeze`, operation 4 (detach-scheduler): no scheduler is attached here: attach one first
        step 2 `squeeze`, operation 5 (restart-scheduler): no scheduler is attached here: attach one first
        step 2 `squeeze`, operation 6 (replace-scheduler): no scheduler is attached here: attach one first
        ");
    let alone = with_ops(vec![Op::AttachScheduler { scheduler: "mine".into() }]);
    let problems = alone.check(&"1n1l2c1t".parse().unwrap(), Schedulers::default()).unwrap_err();
    insta::assert_snapshot!(problems[0], @"step 2 `squeeze`, operation 1 (attach-scheduler): no scheduler of the test is called `mine`; there is none here");
}

#[test]
fn steps_and_holds() {
    insta::assert_snapshot!(problems(&Scenario::new().duration(Duration::ZERO)), @r#"
        the scenario: it has no step: add one, as in `Step::new("load")`
        the scenario: its duration is 0: give more
        "#);
    let fraction = |name, of| Step { hold: Hold::Fraction { of }, ..Step::new(name) };
    let scenario = with_ops(vec![])
        .step(fraction("squeeze", 1.5))
        .step(fraction("", f64::NAN))
        .step(Step::new("none").hold_loop(Duration::ZERO, 0.5))
        .step(Step::new("long").hold_loop(MS * 1500, 0.5))
        .step(
            Step::new("again")
                .hold_loop(MS, 0.5)
                .op(Op::StopCgroup { cgroup: "laod".into() })
                .op(Op::AddCgroup { cgroup: Box::new(Cgroup::new("new")) })
                .op(Op::DetachScheduler),
        );
    insta::assert_snapshot!(problems(&scenario), @r"
        step 3 `squeeze`: another step is called `squeeze`: name them apart
        step 3 `squeeze`, hold: fraction 1.5 is out of range: give more than 0, at most 1
        step 4 ``: its name is empty: give one
        step 4 ``, hold: fraction NaN is out of range: give more than 0, at most 1
        step 5 `none`, hold: the loop's interval is 0ns in a hold of 1s: give more than 0, at most 1s
        step 6 `long`, hold: the loop's interval is 1.5s in a hold of 1s: give more than 0, at most 1s
        step 7 `again`, operation 1 (stop-cgroup): no cgroup is called `laod`; did you mean `load`?
        step 7 `again`, operation 2 (add-cgroup), cgroup `new` when the loop does it again: `new` is there already, from step 7 `again`, operation 2: name them apart
        step 7 `again`, operation 3 (detach-scheduler) when the loop does it again: no scheduler is attached here: attach one first
        ");
    insta::assert_snapshot!(problems(&Scenario::new().step(Step::new("only"))), @"the scenario: it is empty: give a step a cgroup with workers, or an operation");
}

#[test]
fn a_problem_names_its_parts() {
    let scenario = with_workers(vec![Workers::exactly(3, Work::pipe_io())]);
    let problems = scenario.check(&"1n1l2c1t".parse().unwrap(), SCHEDULERS).unwrap_err();
    let problem = &problems[0];
    assert_eq!((problem.step.as_str(), problem.cgroup.as_str()), ("only", "load"));
    assert_eq!((problem.group, problem.word.as_str()), (Some(0), "3"));
}

#[test]
fn operations_are_called_what_the_data_calls_them() {
    let ops = [
        Op::SwapCpusets { a: load(), b: load() },
        Op::DetachScheduler,
        Op::CaptureProcs { cgroup: load(), tag: load() },
        Op::MoveAllTasks { from: load(), to: load() },
    ];
    for op in ops {
        let json = serde_json::to_value(&op).unwrap();
        assert_eq!(json["op"], op.name());
        assert_eq!(serde_json::from_value::<Op>(json).unwrap(), op);
    }
}

/// Operations in any order on cgroups that may be there or not.
fn operations() -> impl Strategy<Value = Op> {
    let name = prop::sample::select(vec!["a", "a/b", "c", "d", ""]).prop_map(str::to_owned);
    let names = (name.clone(), name.clone());
    prop_oneof![
        name.clone().prop_map(|name| Op::AddCgroup { cgroup: Box::new(spinners(&name)) }),
        name.clone().prop_map(|cgroup| Op::RemoveCgroup { cgroup }),
        (name.clone(), 0u32..3)
            .prop_map(|(cgroup, llc)| { Op::SetCpuset { cgroup, cpus: Cpuset::llc(llc) } }),
        name.clone().prop_map(|cgroup| Op::ClearCpuset { cgroup }),
        name.clone().prop_map(|cgroup| Op::StopCgroup { cgroup }),
        names.clone().prop_map(|(a, b)| Op::SwapCpusets { a, b }),
        names.prop_map(|(from, to)| Op::MoveAllTasks { from, to }),
        name.clone().prop_map(|cgroup| Op::RunPayload {
            payload: Box::new(Payload::new("load").in_cgroup(&cgroup))
        }),
        Just(Op::WaitPayload { payload: load() }),
        name.prop_map(|cgroup| Op::SetAffinity { cgroup, affinity: Affinity::LlcAligned }),
    ]
}

proptest! {
    #[test]
    fn checking_never_panics_and_what_passes_has_cpus_everywhere(
        setup in prop::collection::vec(operations(), 0..4),
        ops in prop::collection::vec(operations(), 0..8),
        again: bool,
    ) {
        let hold = if again { Hold::Loop { interval: MS, of: 0.5 } } else { Hold::FULL };
        let step = Step { ops, hold, ..Step::new("s") };
        let backdrop = Backdrop { ops: setup, ..Backdrop::default() };
        let scenario = Scenario { backdrop, ..Scenario::new() }.step(Step { name: "t".into(), ..step.clone() });
        let scenario = scenario.step(step);
        match scenario.check(&"1n2l2c1t".parse().unwrap(), SCHEDULERS) {
            Ok(resolved) => prop_assert!(resolved.sites.values().all(|setup| !setup.cpus.is_empty())),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
        let json = serde_json::to_string(&scenario).unwrap();
        prop_assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
    }
}
