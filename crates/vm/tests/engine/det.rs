//! Machines whose clock counts instructions: the same again, to the last bit.

use crate::support::{
    PATIENCE, directory, engine, kernel, machine, payload, scratch, script, shared, stdout,
};
use belljar_guest::channel::{Code, Ending};
use belljar_topology::MemoryMib;
use belljar_vm::{Machine, Mode, Payload, Run, Stop, Watch};
use std::path::Path;
use std::time::Duration;

/// Busy, sleeping and switching, on both CPUs; then what the kernel counted of it.
const SCRIPT: &str = "spin() { i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; }; \
                      spin & spin & sleep 0.01 & spin | cat & wait; \
                      cat /proc/interrupts /proc/schedstat /proc/uptime /proc/stat; \
                      echo done >/dev/kmsg";

fn run(cache: &Path, times: usize) -> Vec<Run> {
    let (engine, _) = engine(cache);
    let base = engine.base(&machine(Mode::Det)).unwrap();
    let template = engine.layer(&base, &payload("det")).unwrap();
    let fork = || engine.fork(&template).unwrap();
    (0..times).map(|_| fork().run(&script(SCRIPT), &Watch::limit(PATIENCE), |_| ())).collect()
}

fn assert_alike(runs: &[Run]) {
    let first = &runs[0];
    assert_eq!(first.stop, Stop::Ended(Ending::Exited(0)), "{}", stdout(first));
    assert!(stdout(first).contains("LOC:"), "{}", stdout(first));
    for (index, run) in runs.iter().enumerate() {
        assert_eq!(stdout(run), stdout(first), "run {index}");
        assert_eq!(run.said, first.said, "run {index}");
        let text = |run: &Run| String::from_utf8_lossy(&run.console).into_owned();
        assert_eq!(text(run), text(first), "run {index}");
    }
}

#[test]
fn forks_repeat() {
    assert_alike(&run(&scratch().join("vm-cache"), 10));
}

/// A template made from nothing in another place stands at the same instruction, with
/// the same memory and the same clock.
#[test]
fn templates_repeat() {
    let (one, other) = (directory(), directory());
    let mut runs = run(one.path(), 2);
    runs.extend(run(other.path(), 2));
    assert_alike(&runs);
}

/// Two CPUs that hand a line back and forth while two others compute.
const ROUND_TRIPS: &str = "mkfifo /tmp/there /tmp/back; \
    for cpu in 2 3; do taskset -c $cpu sh -c 'while :; do :; done' & busy=\"$busy $!\"; done; \
    taskset -c 1 sh -c 'while read line; do echo $line; done </tmp/there >/tmp/back' & \
    taskset -c 0 sh -c 'exec 3>/tmp/there 4</tmp/back; i=0; echo begin; \
        while [ $i -lt 100 ]; do echo $i >&3; read line <&4; i=$((i+1)); done; echo end'; \
    kill $busy; wait";

/// Whoever waits for another CPU does not wait for the turns of those that compute; and
/// short turns repeat as well as long ones.
#[test]
fn turns_are_short_and_repeat() {
    let engine = shared();
    let four = Machine::new("1n1l4c1t".parse().unwrap(), &kernel().vmlinux(), Mode::Det)
        .memory(MemoryMib(192))
        .kernel_id(kernel().id());
    let base = engine.base(&four).unwrap();
    let tools = Payload::command(&["sh", "mkfifo", "taskset"]).unwrap();
    let template = engine.layer(&base, &tools).unwrap();
    let run = |round: Option<Duration>| {
        let fork = engine.fork(&template).unwrap();
        if let Some(round) = round {
            fork.set_round(round).unwrap();
        }
        fork.run(&script(ROUND_TRIPS), &Watch::limit(PATIENCE), |_| ())
    };
    let took_ns = |run: &Run| {
        assert_eq!(run.stop, Stop::Ended(Ending::Exited(0)), "{}", stdout(run));
        let said = |word: &[u8]| {
            let mut lines = run.said.iter().filter(|said| said.code == Code::Stdout);
            lines.find(|said| said.body.starts_with(word)).expect("it said so").time_ns
        };
        said(b"end") - said(b"begin")
    };
    let short: Vec<Run> = (0..5).map(|_| run(None)).collect();
    for run in &short[1..] {
        assert_eq!(run.said, short[0].said);
    }
    let long = run(Some(Duration::ZERO));
    let (short_ns, long_ns) = (took_ns(&short[0]), took_ns(&long));
    assert!(
        short_ns * 4 < long_ns * 3,
        "{short_ns} ns, and {long_ns} ns with turns as QEMU sees fit"
    );
}
