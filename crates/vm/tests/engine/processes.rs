//! The processes behind machines: how they are confined, and how they end.

use crate::support::{
    PATIENCE, again, command_line, directory, engine, entries, fork, given, output, qemus_of,
    script, shared, wait_for,
};
use belljar_vm::{Stop, Watch};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn is_gone(pid: u32) -> bool {
    // Once reaped or a zombie that waits for it, it has no words.
    command_line(pid).is_empty()
}

#[test]
fn a_qemu_is_confined() {
    let fork = fork(&shared(), "processes");
    let words = command_line(fork.process_id());
    assert!(words.contains(" -sandbox on,"), "{words}");
    assert!(words.contains(" -nodefaults "), "{words}");
    for word in ["-net", "-nic", "virtio-net", "e1000", "vhost"] {
        assert!(!words.contains(word), "{words}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", fork.process_id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    assert_eq!((field("Seccomp:"), field("NoNewPrivs:")), ("2".into(), "1".into()));
    assert_eq!(output(fork, "ls /sys/class/net"), "lo\n");
}

#[test]
fn a_qemu_that_dies_ends_the_run() {
    let fork = fork(&shared(), "processes");
    let pid = fork.process_id();
    let run = fork.run(&script("echo up; sleep 1000"), &Watch::limit(PATIENCE), |_| {
        signal("-KILL", pid);
    });
    let Stop::QemuDied { status, .. } = &run.stop else { panic!("{:?}", run.stop) };
    assert!(status.contains("SIGKILL"), "{status}");
}

#[test]
fn a_qemu_that_stands_still_ends_with_its_watch() {
    let fork = fork(&shared(), "processes");
    let pid = fork.process_id();
    let watch = Watch::limit(Duration::from_secs(3));
    let run = fork.run(&script("echo up; sleep 1000"), &watch, |_| signal("-STOP", pid));
    assert!(matches!(run.stop, Stop::Hung(_)), "{:?}", run.stop);
    assert!(is_gone(pid));
}

/// A process that runs one test of this binary, once it has said `word`.
fn child(test: &str, directory: &Path, word: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = again(test, directory).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended without {word}");
    }
    (child, lines)
}

fn kill_with_its_qemu(mut child: Child) {
    wait_for("a QEMU", || !qemus_of(child.id()).is_empty());
    let qemus = qemus_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    for qemu in qemus {
        wait_for("the end of QEMU", || is_gone(qemu));
    }
}

#[test]
fn a_process_that_is_killed_while_it_boots_leaves_nothing_that_lasts() {
    let directory = directory();
    let (child, _lines) = child("processes::booting", directory.path(), "booting");
    kill_with_its_qemu(child);
    let left = entries(directory.path());
    assert!(left.len() == 1 && left[0].starts_with('.'), "{left:?}");
    let (engine, _) = engine(directory.path());
    assert_eq!(output(fork(&engine, "w"), "cat /word"), "w");
    let left = entries(directory.path());
    assert!(left.len() == 2 && left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

#[test]
#[ignore = "run by another test, which kills it"]
fn booting() {
    let engine = belljar_vm::Engine::open(&given()).unwrap().progress(|_| {
        writeln!(std::io::stdout(), "booting").unwrap();
    });
    fork(&engine, "w");
    unreachable!("it is killed before the machine has booted");
}

#[test]
fn a_process_that_is_killed_while_it_runs_a_machine_takes_it_along() {
    // The template must be there: the child has to come as far as the run.
    drop(fork(&shared(), "processes"));
    let cache = shared().cache().root().to_owned();
    let (child, _lines) = child("processes::running", &cache, "up");
    kill_with_its_qemu(child);
}

#[test]
#[ignore = "run by another test, which kills it"]
fn running() {
    let (engine, _) = engine(&given());
    let fork = fork(&engine, "processes");
    fork.run(&script("echo up; sleep 1000"), &Watch::limit(PATIENCE), |_| {
        writeln!(std::io::stdout(), "up").unwrap();
    });
}
