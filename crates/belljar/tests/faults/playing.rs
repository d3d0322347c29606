//! Scenarios, payloads and schedulers that misbehave or cannot be: what becomes of their tests.
//!
//! Each body is ignored by itself, and run by a test here that looks at its record.

use crate::support::{declared, run};
use belljar::host::Finished;
use belljar::scenario::Check;
use belljar::{Cgroup, Cpuset, Op, Payload, Scenario, Step, Topology, Work, Workers};
use belljar_record::{Outcome, Reason};
use belljar_verdict::evidence::{PayloadEnd, SchedulerEnd};
use std::time::Duration;

belljar::scheduler! {
    static NEVER = package("scx-belljar").args(&["--never-attach"]);
    static GONE = package("scx-belljar").args(&["--exit-at-once", "7"]);
    static REJECTED = package("scx-belljar").args(&["--reject-by-verifier"]);
    static NO_SUCH = package("scx-nowhere");
    static SILENT = program("true");
    static KILLED = package("scx-belljar").args(&["--crash-loader-after", "100", "--crash-by", "kill"]);
}

fn quiet() -> Scenario {
    let hold = Duration::from_millis(300);
    Scenario::new()
        .step(Step::new("quiet").cgroup(Cgroup::new("a").workers(1, Work::SpinWait)).hold(hold))
}

fn played(body: &str) -> Finished {
    run(declared(&format!("playing::{body}")))
}

/// How a scenario that cannot be is refused.
fn refusal(body: &str) -> String {
    let finished = played(body);
    let Reason::Scenario { detail } = &finished.record.reason else {
        panic!("not refused: {}", finished.explain(false));
    };
    assert_eq!(finished.record.outcome, Outcome::Fail);
    detail.clone()
}

macro_rules! with_scheduler {
    ($($name:ident $scheduler:ident $($expect:ident)?;)*) => { $(
        #[belljar::test(mode = "det", topology = "1n1l2c1t", memory_mib = 256, scheduler = $scheduler,
                        $($expect,)? ignore = "run by another test")]
        fn $name() -> Scenario {
            quiet()
        }
    )* };
}

with_scheduler! {
    under_never NEVER;
    under_gone GONE;
    under_rejected REJECTED;
    under_rejected_as_expected REJECTED expect_fail;
    under_no_such NO_SUCH;
    under_silent SILENT;
    under_killed KILLED;
}

#[test]
fn a_scheduler_that_does_not_load_says_why() {
    for (body, word) in [
        ("under_never", "not attached within 60 s"),
        ("under_gone", "code 7"),
        ("under_silent", "ended before it was attached (it exited with code 0)"),
        ("under_rejected", "verifier"),
    ] {
        let finished = played(body);
        let Reason::SchedulerNotLoaded { detail } = &finished.record.reason else {
            panic!("{body}: {}", finished.explain(false));
        };
        assert!(detail.contains(word), "{body}: {detail}");
        assert_eq!(finished.record.outcome, Outcome::Fail, "{body}");
    }
}

#[test]
fn a_scheduler_that_does_not_load_is_no_expected_failure() {
    let finished = played("under_rejected_as_expected");
    assert!(finished.record.expected_fail);
    assert_eq!(finished.record.outcome, Outcome::Fail, "{}", finished.explain(false));
}

#[test]
fn what_the_verifier_said_is_kept_with_loops_folded() {
    let finished = played("under_rejected");
    let evidence = &finished.record.scenarios[0].evidence;
    let Some(SchedulerEnd::Rejected { log }) = evidence.schedulers.first().map(|it| &it.end) else {
        panic!("not rejected: {evidence:#?}");
    };
    assert!(log.contains("times"), "nothing is folded: {log}");
    assert!(log.lines().count() < 400, "{} lines", log.lines().count());
}

#[test]
fn a_scheduler_that_cannot_be_built_starts_no_vm() {
    let finished = played("under_no_such");
    let Reason::SchedulerBuild { detail } = &finished.record.reason else {
        panic!("{}", finished.explain(false));
    };
    assert!(detail.contains("scx-nowhere"), "{detail}");
    assert_eq!(finished.record.durations.fork_ns, None);
}

#[test]
fn a_scheduler_killed_in_mid_run_is_a_failed_check() {
    let finished = played("under_killed");
    let Reason::Check { check, message } = &finished.record.reason else {
        panic!("{}", finished.explain(false));
    };
    assert_eq!(check, "scheduler-lives");
    assert!(message.contains("KILLED") && message.contains("signal 9"), "{message}");
}

macro_rules! payload {
    ($($name:ident $payload:expr;)*) => { $(
        #[belljar::test(mode = "tcg", topology = "1n1l2c1t", memory_mib = 256, tools = ["sh", "head", "sleep"],
                        ignore = "run by another test")]
        fn $name() -> Scenario {
            let payload: Payload = $payload;
            let wait = Op::WaitPayload { payload: payload.name.clone() };
            Scenario::new().step(
                Step::new("run").op(Op::RunPayload { payload: Box::new(payload) }).op(wait)
                    .hold(Duration::from_millis(50)),
            )
        }
    )* };
}

fn sh(script: &str) -> Payload {
    Payload::new("sh").args(&["-c", script]).timeout(Duration::from_secs(30))
}

payload! {
    hangs sh("sleep 1000").timeout(Duration::from_millis(300));
    floods sh("head -c 100000000 /dev/zero");
    writes_broken_json sh("echo '{\"a\": [1, 2'").json().check(Check::Exists { path: "a".into() });
    is_missing Payload::new("no-such-program");
    fails sh("exit 3").check(Check::ExitCode { code: 0 });
}

#[test]
fn payloads_that_misbehave_fail_their_tests() {
    for (body, words) in [
        ("hangs", &["sh", "still running"][..]),
        ("writes_broken_json", &["sh", "a"]),
        ("fails", &["sh", "3"]),
    ] {
        let finished = played(body);
        let Reason::Check { message, .. } = &finished.record.reason else {
            panic!("{body}: {}", finished.explain(false));
        };
        assert!(words.iter().all(|word| message.contains(word)), "{body}: {message}");
    }
    let missing = played("is_missing").record.reason.to_string();
    assert!(missing.contains("no-such-program"), "{missing}");
}

#[test]
fn a_payload_that_floods_ends_and_is_kept_in_part() {
    let finished = played("floods");
    let said = finished.record.reason.to_string();
    assert!(said.contains("100000000 bytes") && said.contains("16777216"), "{said}");
    let payload = &finished.record.scenarios[0].evidence.payloads[0];
    assert_eq!(payload.end, PayloadEnd::Exited { code: 0 });
    let written = finished.written.expect("the record is written");
    assert!(std::fs::metadata(written).is_ok_and(|it| it.len() < 2 << 20));
}

macro_rules! impossible {
    ($($name:ident $scenario:expr;)*) => { $(
        #[belljar::test(mode = "tcg", topology = "1n1l2c1t", memory_mib = 256,
                        ignore = "run by another test")]
        fn $name(_topology: &Topology) -> Scenario {
            $scenario
        }
    )* };
}

fn step(name: &str, cgroup: Cgroup) -> Scenario {
    Scenario::new().step(Step::new(name).cgroup(cgroup).hold(Duration::from_millis(50)))
}

impossible! {
    three_in_pairs step("odd", Cgroup::new("a").workers(3, Work::futex_ping_pong()));
    a_chain_of_nothing step("chain", Cgroup::new("a").workers(4, Work::WakeChain {
        depth: 0, futex: true, hop: Duration::ZERO,
    }));
    a_cache_that_is_not_there step("far", Cgroup::new("a").cpuset(Cpuset::llc(9)).workers(1, Work::SpinWait));
    misspelt step("set-up", Cgroup::new("other").workers(1, Work::SpinWait))
        .backdrop(Cgroup::new("victims").workers(1, Work::SpinWait))
        .step(Step::new("later").op(Op::ClearCpuset { cgroup: "vicitms".into() }));
    removed step("first", Cgroup::new("other").workers(1, Work::SpinWait))
        .backdrop(Cgroup::new("shared").workers(1, Work::SpinWait))
        .step(Step::new("takes it away").op(Op::RemoveCgroup { cgroup: "shared".into() }))
        .step(Step::new("uses it").op(Op::ClearCpuset { cgroup: "shared".into() }));
    more_than_pids step("many", Cgroup::new("few").pids_max(3).group(Workers::exactly(8, Work::SpinWait)));
}

#[test]
fn what_cannot_be_is_refused_with_the_step_and_the_word() {
    for (body, words) in [
        ("three_in_pairs", &["odd", "`a`", "3"][..]),
        ("a_chain_of_nothing", &["chain", "depth"]),
        ("a_cache_that_is_not_there", &["far", "9"]),
        ("misspelt", &["later", "vicitms", "victims"]),
        ("removed", &["uses it", "shared"]),
    ] {
        let detail = refusal(body);
        assert!(words.iter().all(|word| detail.contains(word)), "{body}: {detail}");
    }
}

#[test]
fn more_workers_than_pids_end_with_the_limit_named() {
    let finished = played("more_than_pids");
    assert_eq!(finished.record.outcome, Outcome::Fail, "{}", finished.explain(false));
    let said = finished.explain(false);
    assert!(said.contains("few") && said.contains("pids"), "{said}");
}
