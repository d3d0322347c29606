//! Machines whose clock counts instructions: the same again, to the last bit.

use crate::support::{PATIENCE, directory, engine, machine, payload, script, stdout};
use belljar_guest::channel::Ending;
use belljar_vm::{Mode, Run, Stop, Watch};
use std::path::Path;

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

/// One template and all its forks stand at the same instruction, and so does a template
/// made from nothing in another place.
#[test]
fn forks_and_templates_repeat() {
    let (one, other) = (directory(), directory());
    let mut runs = run(one.path(), 10);
    runs.extend(run(other.path(), 2));
    let first = runs.remove(0);
    assert_eq!(first.stop, Stop::Ended(Ending::Exited(0)), "{}", stdout(&first));
    assert!(stdout(&first).contains("LOC:"), "{}", stdout(&first));
    for (index, run) in runs.iter().enumerate() {
        assert_eq!(stdout(run), stdout(&first), "run {}", index + 1);
        assert_eq!(run.said, first.said, "run {}", index + 1);
        let text = |run: &Run| String::from_utf8_lossy(&run.console).into_owned();
        assert_eq!(text(run), text(&first), "run {}", index + 1);
    }
}

#[test]
#[ignore = "experiment"]
fn experiment() {
    let rounds: usize = std::env::var("ROUNDS").unwrap().parse().unwrap();
    for n in 0..rounds {
        let d = directory();
        let (engine, _) = engine(d.path());
        let base = engine.base(&machine(Mode::Det)).unwrap();
        let t = engine.layer(&base, &payload("det")).unwrap();
        let hashes = |p: &Path| {
            let text = std::fs::read_to_string(p.join("template.json")).unwrap();
            text.lines().filter(|l| l.contains("\"hash\"")).map(|l| l.trim()[9..20].to_owned()).collect::<Vec<_>>()
        };
        let runs = || -> Vec<u64> { (0..5).map(|_| {
            let run = engine.fork(&t).unwrap().run(&script(SCRIPT), &Watch::limit(PATIENCE), |_| ());
            run.said.iter().map(|s| s.time_ns).sum::<u64>()
        }).collect() };
        let icount = |p: &Path| {
            let state = std::fs::read(p.join("state")).unwrap();
            let name = b"timer/icount";
            let at = state.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4;
            let word = |at: usize| i64::from_be_bytes(state[at..at + 8].try_into().unwrap());
            (word(at), word(at + 8))
        };
        println!("base {:?} layer {:?}", icount(base.directory()), icount(t.directory()));
        println!("{n} base {:?} layer {:?} runs {:?}", hashes(base.directory()), hashes(t.directory()), runs());
    }
}

#[test]
#[ignore = "experiment"]
fn experiment_forks() {
    let forks: usize = std::env::var("ROUNDS").unwrap().parse().unwrap();
    let cache = crate::support::scratch().join("det-cache");
    let (engine, _) = engine(&cache);
    let base = engine.base(&machine(Mode::Det)).unwrap();
    let t = engine.layer(&base, &payload("det")).unwrap();
    for text in ["sleep 0.001; echo hi; sleep 0.001", SCRIPT] {
        let mut seen = std::collections::BTreeMap::<u64, usize>::new();
        let begun = std::time::Instant::now();
        for _ in 0..forks {
            let run = engine.fork(&t).unwrap().run(&script(text), &Watch::limit(PATIENCE), |_| ());
            *seen.entry(run.said.iter().map(|s| s.time_ns).sum::<u64>()).or_default() += 1;
        }
        println!("{:?} {seen:?}", begun.elapsed() / forks as u32);
    }
}
