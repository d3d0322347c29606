//! What the tests share: a kernel, machines, payloads, and other processes.

use belljar_guest::channel::{Code, Ending};
use belljar_kernel::{Kernel, Source, Store};
use belljar_topology::MemoryMib;
use belljar_vm::{Cache, Engine, Fork, Machine, Mode, Payload, Progress, Qemu, Run, Stop, Watch};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes on the slowest of hosts: only a net.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The kernel that the machines run: the one in the user's cache, or fetched now.
pub(crate) fn kernel() -> &'static Kernel {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let of = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
        let root = cache.expect("XDG_CACHE_HOME or HOME is set").join("belljar/kernels");
        let store = Store::open(&root).expect("a cache of kernels");
        let source: Source = "debian:sid".parse().expect("a source");
        store.fetch(&source, &|_: &belljar_kernel::Event| ()).expect("a kernel")
    })
}

/// The smallest machine.
pub(crate) fn machine(mode: Mode) -> Machine {
    let topology = if mode == Mode::Det { "1n1l2c1t" } else { "1n1l1c1t" };
    Machine::new(topology.parse().expect("a notation"), &kernel().vmlinux(), mode)
        .memory(MemoryMib(192))
        .kernel_id(kernel().id())
}

/// A payload of programs, to be told apart from others by a word.
pub(crate) fn payload(word: &str) -> Payload {
    let mut payload =
        Payload::command(&["sh", "cat", "ls", "sleep"]).expect("programs of every Debian");
    payload.file("/word", word.as_bytes().to_vec());
    payload
}

/// The directory for what the tests write: on a disk, and not where the system has its
/// temporary files.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A directory of one's own.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(scratch()).expect("a directory")
}

/// What an engine said.
pub(crate) type Heard = Arc<Mutex<Vec<Progress>>>;

/// An engine with the cache in a directory.
pub(crate) fn engine(cache: &Path) -> (Engine, Heard) {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let engine = Engine::new(Qemu::find().expect("a QEMU"), Cache::open(cache).expect("a cache"))
        .progress(move |progress| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(progress.clone());
        });
    (engine, heard)
}

/// How many machines an engine has booted.
pub(crate) fn boots(heard: &Heard) -> usize {
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    heard.iter().filter(|progress| matches!(progress, Progress::Booted(..))).count()
}

/// The engine of those tests that leave its cache alone. The cache stays from run to
/// run, so that not every process of a test runner boots a kernel.
pub(crate) fn shared() -> Arc<Engine> {
    static SHARED: OnceLock<Arc<Engine>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(engine(&scratch().join("vm-cache")).0)))
}

/// A fork of a small machine that will run one program.
pub(crate) fn fork(engine: &Engine, word: &str) -> Fork {
    let base = engine.base(&machine(Mode::Tcg)).expect("a base");
    let template = engine.layer(&base, &payload(word)).expect("a layer");
    engine.fork(&template).expect("a fork")
}

/// The request to run a shell script.
pub(crate) fn script(text: &str) -> Vec<u8> {
    format!("0\x000\x000\x00/\x00sh\x00-c\x00{text}\x00").into_bytes()
}

/// Runs a shell script in a fork; what it wrote to its standard output.
pub(crate) fn output(fork: Fork, text: &str) -> String {
    let run = fork.run(&script(text), &Watch::limit(PATIENCE), |_| ());
    assert_eq!(run.stop, Stop::Ended(Ending::Exited(0)), "{}", stdout(&run));
    stdout(&run)
}

/// What a run's process wrote.
pub(crate) fn stdout(run: &Run) -> String {
    let said = run.said.iter().filter(|said| matches!(said.code, Code::Stdout | Code::Stderr));
    said.map(|said| String::from_utf8_lossy(&said.body).into_owned()).collect()
}

/// Everything that a cache keeps of templates.
pub(crate) fn entries(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache.join("templates")).expect("a cache");
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits for a condition.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The QEMU processes among the children of a process, of all its threads.
pub(crate) fn qemus_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    lists
        .flat_map(|list| {
            list.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter_map(|pid| pid.parse().ok())
        .filter(|pid| command_line(*pid).contains("qemu-system"))
        .collect()
}

/// A process's words; empty when it is gone or a zombie.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// This test binary, about to run one ignored test of its own, with a directory.
pub(crate) fn again(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("a running program has a path"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).env("DIRECTORY", directory);
    command
}

/// The directory that [`again`] was given.
pub(crate) fn given() -> PathBuf {
    PathBuf::from(env::var_os("DIRECTORY").expect("run by another test"))
}
