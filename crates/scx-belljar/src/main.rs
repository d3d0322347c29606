//! `scx_belljar`: a small sched_ext scheduler, fair by default, with faults to switch on.
//!
//! A harness that judges schedulers has checks, and a check that has never been seen to fail proves
//! nothing. This scheduler fails on purpose, in one way at a time, so that each check can be shown
//! to catch what it is for.
//!
//! ```console
//! # scx_belljar --lose-wakeups 10 --lose-ms 300 --only worker
//! {"scx_attached":{"ops":"belljar","load_us":220492,"attach_us":59676}}
//! ^C
//! {"scx_exit":{"kind":64,"name":"unreg","reason":"unregistered from user space","message":"","code":0,"dump_bytes":0}}
//! ```
//!
//! # Healthy
//!
//! One queue for the whole machine, ordered by virtual time: tasks are charged for the CPU time
//! that they used, divided by the weight that their nice value gives. A task that wakes up goes
//! straight to an idle CPU if there is one, chosen by the kernel's own idle path. Kernel threads of
//! one CPU stay there. CPUs may come and go. Weights and quotas of cgroups mean nothing to it: only
//! a task's own weight counts. Where some tasks may run on fewer CPUs than others they take turns of
//! equal length there, whatever their weights. Eight spinning workers on four CPUs got the same CPU
//! time to within 1 % over four seconds.
//!
//! # Faults
//!
//! | switch | what happens | which check catches it |
//! | --- | --- | --- |
//! | `--stall WHOM` | they never run | the kernel's watchdog ends the scheduler: `runnable task stall` |
//! | `--starve WHOM` | they wait `--starve-ms` before each turn, below the watchdog's time | no progress, gap between checkpoints, spread; others wait for locks that they hold |
//! | `--lose-wakeups N` | each task waits `--lose-ms` at every Nth wakeup | wake latency (p99, variation), gap |
//! | `--unfair N --only WHOM` | they get N times the CPU time of others, where CPUs are scarce | spread of CPU time, variation of throughput |
//! | `--one-cpu[=CPU]` | tasks that may run there stay on one CPU, in its local queue | imbalance, depth of the local queue, work rate |
//! | `--bounce` | each turn is on another CPU | migrations per work, across nodes too; page locality |
//! | `--wrong-cpu` | each wakeup is answered with a CPU outside the task's affinity | rate of `SCX_EV_SELECT_CPU_FALLBACK` |
//! | `--keep-last` | turns of lonely tasks are left to the kernel | rate of `SCX_EV_DISPATCH_KEEP_LAST`: 50 a second and CPU, more with `sched_yield` |
//! | `--ignore-cpuset WHOM` | the loader empties their `cpuset.cpus` and widens their affinity every 20 ms | isolation |
//! | `--exit-after MS` | it leaves as if asked to | scheduler exited cleanly |
//! | `--error-after MS` | the scheduler raises an error | scheduler crashed; error text |
//! | `--crash-loader-after MS` | the loader panics, aborts or is killed (`--crash-by`) | scheduler died for an unknown reason |
//! | `--reject-by-verifier` | the verifier rejects a program, with 2000 lines of log | cannot be loaded |
//! | `--never-attach` | it loads, and then waits | not attached in time |
//! | `--exit-at-once CODE` | it exits before it does anything | not attached, exited with CODE |
//!
//! No scheduler can run a task on a CPU that the task must not run on: the kernel refuses. That is
//! why the loader, and not the scheduler, breaks cpusets. It empties `cpuset.cpus` of the tasks'
//! cgroups and of those above; a check must know the CPUs that were meant, and not read them back.
//! A clock of a run queue that stands still cannot be caused from here either.
//!
//! `WHOM` is `NAME` or `comm:NAME` for threads whose name begins so (at most 15 bytes), or
//! `cgroup:NAME` for threads in a cgroup of that name or below it, whenever that is made. `%N`
//! behind it leaves only threads whose id is a multiple of N: `worker%2` is about half of the
//! workers. Kernel threads and the loader itself are never meant. A fault acts from a thread's next
//! turn: a new process has its parent's name, and its parent's cgroup, until it changes them.
//!
//! # What it says
//!
//! Each event is one line of JSON on standard error, an object with one member:
//!
//! | line | when |
//! | --- | --- |
//! | `{"scx_attached":{"ops","load_us","attach_us"}}` | the scheduler schedules |
//! | `{"scx_loaded":{"load_us"}}` | `--never-attach` has loaded |
//! | `{"scx_load_failed":{"stage","cause","what","message"}}` | it cannot be loaded or attached, see below |
//! | `{"scx_cpusets_ignored":{"cgroups":[...]}}` | cpusets were taken away |
//! | `{"scx_stats":{"direct","queued","parked","released","steered"}}` | with `--stats`, every second and at the end |
//! | `{"scx_exit":{"kind","name","reason","message","code","dump_bytes"}}` | it was in the kernel, and is out |
//!
//! `kind` is the number of the kernel's `enum scx_exit_kind` and `name` its name, as `unreg` (64),
//! `sysrq` (67), `error` (1024), `error_bpf` (1025), `error_stall` (1026). Where `dump_bytes` is not 0,
//! the kernel's dump follows, in the form of the scx project's schedulers: the line `DEBUG DUMP`, a
//! line of 80 `=`, an empty line, the dump of so many bytes, an empty line, a line of 80 `=`.
//!
//! `stage` is `probe`, `open`, `load` or `attach`. `cause` is `verifier` (`what` is the program; its log
//! stands above, between libbpf's lines `-- BEGIN PROG LOAD LOG --` and `-- END PROG LOAD LOG --`),
//! `missing` (`what` is what the kernel lacks: `sched_ext`, `btf`, or a function), `busy` (`what` is the
//! scheduler that is attached) or `other`.
//!
//! Exit codes: 0 it ended as asked (SIGINT, SIGTERM, `--exit-after`); 1 the kernel threw it out, for an
//! error or by SysRq-S; 2 wrong usage; 3 it cannot be loaded or attached; 4 the kernel lacks something.
//! `--crash-loader-after` ends with 101, SIGABRT or SIGKILL.
//!
//! # Building
//!
//! Needs clang (16 to 19; `BPF_CLANG` names another), make, pkg-config and the headers of libelf and
//! zlib: on Debian `apt-get install clang-19 libelf-dev zlib1g-dev pkg-config make`. libbpf is
//! compiled in; libelf and libz are linked dynamically. The kernel's types are not generated: the few
//! that are needed are in `bpf/scx.h`, and libbpf finds their members in the running kernel.
//!
//! It needs a kernel with `scx_bpf_task_set_slice` (6.19 or newer), and is tried on 7.2.
//!
//! # What this crate must never depend on
//!
//! The rest of the workspace: the harness treats it as any other scheduler.

mod args;
mod cpuset;
mod libbpf;
mod outcome;
mod report;
mod scheduler;
mod selector;

use crate::args::{Args, Crash};
use crate::cpuset::System;
use crate::report::{Cause, Event};
use crate::scheduler::{LoadError, Scheduler};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often cpusets are taken away: workers are there for longer.
const WIDEN_EVERY: Duration = Duration::from_millis(20);
/// How often counters are written.
const STATS_EVERY: Duration = Duration::from_secs(1);

const THROWN_OUT: u8 = 1;
const CANNOT_LOAD: u8 = 3;
const KERNEL_LACKS: u8 = 4;

fn main() -> ExitCode {
    let args = Args::of_process();
    if let Some(code) = args.exit_at_once {
        return ExitCode::from(code);
    }
    libbpf::listen(args.verbose);
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            error.event().say();
            ExitCode::from(match error.cause {
                Cause::Missing => KERNEL_LACKS,
                _ => CANNOT_LOAD,
            })
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, LoadError> {
    // A signal from now on is seen in `watch`.
    let asked = signals().expect("signals can be handled");
    scheduler::probe(Path::new("/sys"))?;
    let mut object = MaybeUninit::uninit();
    let mut scheduler = Scheduler::load(args, &mut object)?;
    let load_us = scheduler.load_time().as_micros() as u64;
    if args.never_attach {
        Event::Loaded { load_us }.say();
        watch(args, &scheduler, &asked);
        return Ok(ExitCode::SUCCESS);
    }
    let attach_us = scheduler.attach()?.as_micros() as u64;
    Event::Attached { ops: scheduler::NAME, load_us, attach_us }.say();
    watch(args, &scheduler, &asked);
    if args.stats {
        scheduler.stats().say();
    }
    let outcome = scheduler.leave();
    outcome.say();
    Ok(if outcome.is_forced() { ExitCode::from(THROWN_OUT) } else { ExitCode::SUCCESS })
}

/// A file that becomes readable when somebody asks this program to end.
fn signals() -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGINT, theirs.try_clone()?)?;
    signal_hook::low_level::pipe::register(SIGTERM, theirs)?;
    Ok(ours)
}

/// Waits until somebody asks for the end, the scheduler has ended, or its time is over, and does
/// meanwhile what this program does itself.
fn watch(args: &Args, scheduler: &Scheduler<'_>, asked: &UnixStream) {
    let start = Instant::now();
    let at = |after_ms: Option<u32>| after_ms.map(|ms| start + Duration::from_millis(ms.into()));
    let (exit_at, crash_at) = (at(args.exit_after), at(args.crash_loader_after));
    let mut stats_at = args.stats.then_some(start);
    let mut widen_at = args.ignore_cpuset.is_some().then_some(start);
    loop {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(exit_at) {
            return;
        }
        if due(crash_at) {
            crash(args.crash_by);
        }
        if due(stats_at) {
            scheduler.stats().say();
            stats_at = Some(now + STATS_EVERY);
        }
        if let Some(whose) = args.ignore_cpuset.as_ref().filter(|_| due(widen_at)) {
            let cgroups = System::default().take_cpusets_away(whose);
            if !cgroups.is_empty() {
                Event::CpusetsIgnored { cgroups }.say();
            }
            widen_at = Some(now + WIDEN_EVERY);
        }
        let next = [exit_at, crash_at, stats_at, widen_at].into_iter().flatten().min();
        let wait = next.map(|next| {
            let wait = next.saturating_duration_since(Instant::now());
            Timespec::try_from(wait).expect("at most 50 days")
        });
        let doorbell = scheduler.doorbell();
        let mut files = [
            PollFd::from_borrowed_fd(asked.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(doorbell, PollFlags::IN),
        ];
        match poll(&mut files, wait.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return,
            Err(error) => panic!("cannot wait for the end: {error}"),
        }
    }
}

/// Ends this program as no program should.
fn crash(how: Crash) {
    match how {
        Crash::Panic => panic!("the loader crashes, as --crash-loader-after asks it to"),
        Crash::Abort => std::process::abort(),
        Crash::Kill => {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, rustix::process::Signal::KILL)
                .expect("a process may kill itself");
        }
    }
}
