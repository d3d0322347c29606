//! What the tests share: a host, and a way to run one body on it.

use belljar::host::{Finished, Host, Options, tests_of};
use belljar::{Config, Spec};
use belljar_record::{Outcome, Reason};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Programs of the host that any of the bodies uses: one list, and so one template.
const TOOLS: [&str; 3] = ["chrt", "sh", "sleep"];

/// How long past its time limit a guest may be silent.
pub(crate) const GRACE: Duration = Duration::from_secs(4);

/// The directory for what the tests write.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The host that all tests of a process share.
pub(crate) fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| open(Options::default()))
}

/// A host of one's own.
pub(crate) fn open(options: Options) -> Host {
    let options = Options {
        records: Some(options.records.unwrap_or_else(|| scratch().join("faults"))),
        grace: options.grace.or(Some(GRACE)),
        ..options
    };
    Host::open(options, &Config::default(), |line| eprintln!("{line}")).expect("a host")
}

/// The test of this binary that is called so.
pub(crate) fn declared(test: &str) -> &'static Spec {
    static SPECS: OnceLock<Vec<Spec>> = OnceLock::new();
    let specs = SPECS.get_or_init(|| tests_of(&binary()).expect("this binary lists its tests"));
    specs.iter().find(|spec| spec.test == test).expect("the test exists")
}

/// A body in `misbehaving.rs`, to be run on a small machine.
pub(crate) fn spec(body: &str) -> Spec {
    let spec = declared(&format!("misbehaving::{body}"));
    Spec {
        topology: Some(String::from("1n1l2c1t")),
        memory_mib: Some(256),
        mode: Some(String::from("tcg")),
        tools: TOOLS.map(str::to_owned).into(),
        ..spec.clone()
    }
}

/// [`spec`] with a time limit.
pub(crate) fn spec_within(body: &str, limit: Duration) -> Spec {
    Spec { timeout_ms: Some(limit.as_millis() as u64), ..spec(body) }
}

/// Runs a body to its end.
pub(crate) fn run(spec: &Spec) -> Finished {
    run_on(host(), spec)
}

/// [`run`] on another host.
pub(crate) fn run_on(host: &Host, spec: &Spec) -> Finished {
    let finished = host.run(spec, &binary(), |_, _| ());
    assert_eq!(finished.record.outcome, finished.record.reason.outcome());
    assert!(!finished.explain(false).is_empty());
    finished
}

/// Runs a body that must fail, and says why it did.
pub(crate) fn reason(spec: &Spec) -> Reason {
    let finished = run(spec);
    assert_eq!(finished.record.outcome, Outcome::Fail, "{}", finished.record.reason);
    finished.record.reason
}

/// This test binary.
pub(crate) fn binary() -> PathBuf {
    env::current_exe().expect("a running program has a path")
}

/// The line of `misbehaving.rs` that holds a text.
pub(crate) fn line_of(text: &str) -> u32 {
    let source = include_str!("misbehaving.rs");
    let index = source.lines().position(|line| line.contains(text));
    index.expect("the source has the text") as u32 + 1
}

/// This test binary, about to run one ignored test of its own under `script`: a shell
/// script that can do what it likes to its namespaces before it executes `"$@"`.
pub(crate) fn again(test: &str, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    command.arg(binary()).args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// The processes whose parent is this one and that run QEMU.
pub(crate) fn qemus() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a process has tasks");
    let children = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.starts_with("qemu"))
        })
        .collect()
}
