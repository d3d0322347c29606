//! Runs one program: forwards what it says, enforces its time limit, and reports how
//! it ended and what it left behind.

use crate::channel::{Code, Ending};
use crate::region::{Log, Region};
use crate::{Failure, sys};
use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const TERMINAL: &str = "/dev/ttyS1";

/// Starts the test process, which waits for its request itself.
pub(crate) fn process(
    region: &Region,
    log: &mut Log,
    words: &[String],
) -> Result<(), Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::new("starting the test process", "no program is named"));
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/tmp");
    run(region, log, command, None, None)
}

/// Runs the program that a request names. A request is a row of words that end in
/// zero: the time limit in nanoseconds (0 for none), the rows and the columns of
/// the terminal (0 for none), the directory, then the program and its arguments.
pub(crate) fn command(
    region: &Region,
    log: &mut Log,
    request: &[u8],
) -> Result<(), Failure> {
    let malformed = || Failure::new("reading the request", "it is malformed");
    let text = std::str::from_utf8(request).map_err(|_| malformed())?;
    let words: Vec<&str> = text.split_terminator('\0').collect();
    let [limit, rows, columns, directory, program, arguments @ ..] = words.as_slice() else {
        return Err(malformed());
    };
    let limit_ns: u64 = limit.parse().map_err(|_| malformed())?;
    let rows: u16 = rows.parse().map_err(|_| malformed())?;
    let columns: u16 = columns.parse().map_err(|_| malformed())?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    let terminal = (rows > 0).then_some((rows, columns));
    run(region, log, command, terminal, (limit_ns > 0).then_some(limit_ns))
}

fn run(
    region: &Region,
    log: &mut Log,
    mut command: Command,
    terminal: Option<(u16, u16)>,
    limit_ns: Option<u64>,
) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new("preparing the process", error);
    let (stdout, stdout_end) = io::pipe().map_err(cannot)?;
    let (stderr, stderr_end) = io::pipe().map_err(cannot)?;
    let timer = sys::timer().map_err(cannot)?;
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("TMPDIR", "/tmp");
    if let Some((rows, columns)) = terminal {
        let open = || File::options().read(true).write(true).open(TERMINAL);
        let line = open().map_err(|e| Failure::new(format_args!("opening {TERMINAL}"), e))?;
        let _ = sys::set_terminal_size(line.as_raw_fd(), rows, columns);
        command.env("TERM", "linux");
        command.stdin(line.try_clone().map_err(cannot)?);
        command.stdout(line.try_clone().map_err(cannot)?).stderr(line);
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(sys::take_terminal) };
    } else {
        command.env("BELLJAR_TIMER_FD", timer.to_string());
        command.stdin(Stdio::null()).stdout(stdout_end).stderr(stderr_end);
        command.process_group(0);
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(sys::ignore_broken_pipes) };
    }
    if let Some(limit_ns) = limit_ns {
        sys::set_timer(timer, limit_ns).map_err(cannot)?;
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let child =
        command.spawn().map_err(|e| Failure::new(format_args!("starting {name}"), e))?.id() as i32;
    drop(command);
    for fd in [stdout.as_raw_fd(), stderr.as_raw_fd()] {
        sys::never_block(fd).map_err(cannot)?;
    }
    let pidfd = sys::pidfd(child).map_err(cannot)?;
    let family = Family::of(child).ok();
    let (stdout, stderr) = (Some(stdout), Some(stderr));
    let mut supervised =
        Supervised { region, log, child, family, pidfd, timer, stdout, stderr };
    // Once now, while nobody waits for it: what it takes is then in the template.
    supervised.forward();
    supervised.is_alone();
    let ending = supervised.watch();
    supervised.log.append(Code::Ended, &ending.encode());
    // The machine ends now: nobody needs its files closed.
    std::mem::forget(supervised);
    Ok(())
}

/// What tells at little cost that a process is alone. Everything that is executed for the first
/// time in a fork has to be translated by the emulator: to look the files up and to read whole
/// directories took a quarter of all that an empty test is.
struct Family {
    /// The agent's children, and what the file says while there is only one.
    agents: File,
    only: String,
    /// The process's threads: a directory with two links and one more for each.
    threads: File,
    /// The children of its first thread.
    children: File,
}

impl Family {
    fn of(child: i32) -> io::Result<Family> {
        Ok(Family {
            agents: File::open("/proc/1/task/1/children")?,
            only: format!("{child} "),
            threads: File::open(format!("/proc/{child}/task"))?,
            children: File::open(format!("/proc/{child}/task/{child}/children"))?,
        })
    }

    /// Whether the process lives and is all that descends from the agent. False as well where
    /// it takes more than these files to know.
    fn is_alone(&self) -> bool {
        let mut buffer = [0; 32];
        let mut says = |file: &File, what: &str| {
            file.read_at(&mut buffer, 0).is_ok_and(|len| buffer[..len] == *what.as_bytes())
        };
        self.threads.metadata().is_ok_and(|threads| threads.nlink() == 3)
            && says(&self.children, "")
            && says(&self.agents, &self.only)
    }
}

struct Supervised<'a> {
    region: &'a Region,
    log: &'a mut Log,
    child: i32,
    /// Not every kernel tells the children of a process.
    family: Option<Family>,
    pidfd: RawFd,
    timer: RawFd,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
}

impl Supervised<'_> {
    /// Until the process has ended or said so, or its time is over. Nothing is killed
    /// then: the machine ends with the report.
    fn watch(&mut self) -> Ending {
        loop {
            let pipe = |pipe: &Option<PipeReader>| pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let fds = [self.pidfd, self.timer, pipe(&self.stdout), pipe(&self.stderr)];
            let [_, over, ..] = sys::poll_readable(fds);
            let status = reap_all(self.child);
            self.forward();
            if let Some(status) = status {
                self.report_leaked();
                return match status & 0x7f {
                    0 => Ending::Exited(status >> 8 & 0xff),
                    signal => Ending::Signaled(signal),
                };
            }
            if over && self.region.is_done() {
                self.report_leaked();
                return Ending::Done;
            }
            if over {
                self.describe();
                return Ending::TimedOut;
            }
        }
    }

    /// Forwards what the pipes hold, and lets go of one whose other end is closed. Not
    /// more than a pipe can hold: a process that writes without end must not keep the
    /// agent from its clock.
    fn forward(&mut self) {
        const PIPE_LIMIT: usize = 1 << 20;
        let mut buffer = [0; 16 << 10];
        for (slot, code) in [(&mut self.stdout, Code::Stdout), (&mut self.stderr, Code::Stderr)] {
            let mut forwarded = 0;
            while let Some(pipe) = slot
                && forwarded <= PIPE_LIMIT
            {
                match pipe.read(&mut buffer) {
                    Ok(0) => *slot = None,
                    Ok(count) => {
                        self.log.append(code, &buffer[..count]);
                        forwarded += count;
                    }
                    Err(_) => break,
                }
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.family.as_ref().is_some_and(Family::is_alone)
    }

    /// Names the processes that are left besides the child.
    fn report_leaked(&mut self) {
        // One that has been killed may be on its way out still.
        const GRACE_NS: u64 = 50_000_000;
        const NAMES_MAX: usize = 32;
        if self.is_alone() {
            return;
        }
        let mut leaked = self.leftovers();
        let grace_over_ns = sys::monotonic_ns() + GRACE_NS;
        while !leaked.is_empty() && sys::monotonic_ns() < grace_over_ns {
            std::thread::sleep(std::time::Duration::from_millis(1));
            leaked = self.leftovers();
        }
        if leaked.len() > NAMES_MAX {
            let more = leaked.split_off(NAMES_MAX).len();
            leaked.push(format!("{more} more"));
        }
        if !leaked.is_empty() {
            self.log.append(Code::Leaked, leaked.join("\n").as_bytes());
        }
    }

    /// The descendants of the agent, but for the child. Those whose parents have ended
    /// are the agent's own children.
    fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut parents = vec![1];
        while let Some(parent) = parents.pop() {
            for task in tasks(parent) {
                let path = format!("/proc/{parent}/task/{task}/children");
                let children = fs::read_to_string(path).unwrap_or_default();
                for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                    parents.push(child);
                    if child != self.child && !field(child, "cmdline").is_empty() {
                        found.push(format!("{} (pid {child})", field(child, "comm")));
                    }
                }
            }
        }
        found
    }

    /// Says where each thread of the process stands.
    fn describe(&mut self) {
        let mut text = String::from("threads at the time limit:");
        for task in tasks(self.child).into_iter().take(32) {
            let read = |name: &str| field(self.child, &format!("task/{task}/{name}"));
            let stat = read("stat");
            let state = stat.rsplit(") ").next().and_then(|rest| rest.get(..1)).unwrap_or("?");
            let wait = match read("wchan").as_str() {
                "0" | "" => String::from("running in user space or on its way"),
                wait => format!("in {wait}"),
            };
            text.push_str(&format!("\n  {} {task}: state {state}, {wait}", read("comm")));
        }
        self.log.append(Code::Note, text.as_bytes());
    }
}

/// Reaps every child that has ended; the wait status of `child` if it was among them.
fn reap_all(child: i32) -> Option<i32> {
    let mut found = None;
    while let Some((pid, status)) = sys::reap() {
        if pid == child {
            found = Some(status);
        }
    }
    found
}

fn tasks(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

fn field(pid: i32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default().trim().to_owned()
}
