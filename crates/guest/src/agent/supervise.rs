//! Runs one program: forwards what it says, enforces its time limit, leaves
//! nothing of it behind, and reports how it ended.

use crate::channel::{Code, Ending};
use crate::region::Log;
use crate::{Failure, sys};
use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const SIGKILL: i32 = 9;
const TERMINAL: &str = "/dev/ttyS1";

/// Starts the test process, which waits for its request itself.
pub(crate) fn process(log: &mut Log, words: &[String]) -> Result<(), Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::new("starting the test process", "no program is named"));
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/tmp");
    run(log, command, None, None)
}

/// Runs the program that a request names. A request is a row of words that end in
/// zero: the time limit in nanoseconds (0 for none), the rows and the columns of
/// the terminal (0 for none), the directory, then the program and its arguments.
pub(crate) fn command(log: &mut Log, request: &[u8]) -> Result<(), Failure> {
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
    run(log, command, terminal, (limit_ns > 0).then_some(limit_ns))
}

fn run(
    log: &mut Log,
    mut command: Command,
    terminal: Option<(u16, u16)>,
    limit_ns: Option<u64>,
) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new("preparing the test process", error);
    let (stdout, stdout_end) = io::pipe().map_err(cannot)?;
    let (stderr, stderr_end) = io::pipe().map_err(cannot)?;
    let (control, control_end) = io::pipe().map_err(cannot)?;
    sys::keep_open(control_end.as_raw_fd()).map_err(cannot)?;
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("TMPDIR", "/tmp")
        .env("RUST_BACKTRACE", "1")
        .env("BELLJAR_CONTROL_FD", control_end.as_raw_fd().to_string());
    if let Some((rows, columns)) = terminal {
        let open = || File::options().read(true).write(true).open(TERMINAL);
        let line = open().map_err(|e| Failure::new(format_args!("opening {TERMINAL}"), e))?;
        let _ = sys::set_terminal_size(line.as_raw_fd(), rows, columns);
        command.env("TERM", "linux").env_remove("BELLJAR_CONTROL_FD");
        command.stdin(line.try_clone().map_err(cannot)?);
        command.stdout(line.try_clone().map_err(cannot)?).stderr(line);
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(sys::take_terminal) };
    } else {
        command.stdin(Stdio::null()).stdout(stdout_end).stderr(stderr_end);
        command.process_group(0);
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(sys::ignore_broken_pipes) };
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let child =
        command.spawn().map_err(|e| Failure::new(format_args!("starting {name}"), e))?.id() as i32;
    drop(command);
    drop(control_end);
    for fd in [stdout.as_raw_fd(), stderr.as_raw_fd(), control.as_raw_fd()] {
        sys::never_block(fd).map_err(cannot)?;
    }
    let pidfd = sys::pidfd(child).map_err(cannot)?;
    let deadline_ns = limit_ns.map(|limit| sys::monotonic_ns().saturating_add(limit));
    let mut supervised =
        Supervised { log, child, pidfd, stdout, stderr, control, deadline_ns, ended: None };
    let ending = supervised.watch();
    supervised.clear_away();
    supervised.log.append(Code::Ended, &ending.encode());
    Ok(())
}

struct Supervised<'a> {
    log: &'a mut Log,
    child: i32,
    pidfd: RawFd,
    stdout: PipeReader,
    stderr: PipeReader,
    control: PipeReader,
    deadline_ns: Option<u64>,
    ended: Option<i32>,
}

impl Supervised<'_> {
    /// Until the process has ended or its time is over.
    fn watch(&mut self) -> Ending {
        let mut open = [
            (self.stdout.as_raw_fd(), true),
            (self.stderr.as_raw_fd(), true),
            (self.control.as_raw_fd(), true),
        ];
        loop {
            self.reap();
            if let Some(status) = self.ended {
                // What it wrote last may still be in the pipes.
                self.forward_all();
                return match status & 0x7f {
                    0 => Ending::Exited(status >> 8 & 0xff),
                    signal => Ending::Signaled(signal),
                };
            }
            let timeout_ms = match self.deadline_ns {
                None => -1,
                Some(deadline) => {
                    let left = deadline.saturating_sub(sys::monotonic_ns());
                    if left == 0 {
                        self.describe();
                        return Ending::TimedOut;
                    }
                    i32::try_from(left.div_ceil(1_000_000)).unwrap_or(i32::MAX)
                }
            };
            let mut fds = vec![self.pidfd];
            fds.extend(open.iter().filter(|(_, open)| *open).map(|(fd, _)| *fd));
            let readable = sys::poll_readable(&fds, timeout_ms);
            for (fd, readable) in fds.into_iter().zip(readable).skip(1) {
                if readable && !self.forward(fd) {
                    for entry in open.iter_mut().filter(|entry| entry.0 == fd) {
                        entry.1 = false;
                    }
                }
            }
        }
    }

    /// Forwards what a pipe holds; false when its other end is closed.
    fn forward(&mut self, fd: RawFd) -> bool {
        let mut buffer = [0; 16 << 10];
        if fd == self.control.as_raw_fd() {
            return match self.control.read(&mut buffer) {
                Ok(0) => false,
                Ok(count) => {
                    if let Some(limit) = buffer[..count].first_chunk::<8>() {
                        let limit_ns = u64::from_le_bytes(*limit);
                        self.deadline_ns = Some(sys::monotonic_ns().saturating_add(limit_ns));
                    }
                    true
                }
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
        }
        let (pipe, code) = if fd == self.stdout.as_raw_fd() {
            (&mut self.stdout, Code::Stdout)
        } else {
            (&mut self.stderr, Code::Stderr)
        };
        match pipe.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.log.append(code, &buffer[..count]);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn forward_all(&mut self) {
        for fd in [self.stdout.as_raw_fd(), self.stderr.as_raw_fd()] {
            while sys::poll_readable(&[fd], 0)[0] && self.forward(fd) {}
        }
    }

    fn reap(&mut self) {
        while let Some((pid, status)) = sys::reap() {
            if pid == self.child {
                self.ended = Some(status);
            }
        }
    }

    /// Ends every process that is left, and names those the test leaked.
    fn clear_away(&mut self) {
        let leaked: Vec<String> = user_processes()
            .filter(|&pid| pid != self.child)
            .map(|pid| format!("{} ({pid})", field(pid, "comm")))
            .collect();
        if self.ended.is_some() && !leaked.is_empty() {
            self.log.append(Code::Leaked, leaked.join("\n").as_bytes());
        }
        let _ = sys::kill(-1, SIGKILL);
        // A process that the kernel cannot end must not hold up the report.
        let give_up_ns = sys::monotonic_ns() + 2_000_000_000;
        while user_processes().next().is_some() && sys::monotonic_ns() < give_up_ns {
            self.reap();
            sys::poll_readable(&[], 1);
        }
        self.forward_all();
    }

    /// Says where each thread of the process stands.
    fn describe(&mut self) {
        let mut text = String::from("threads at the time limit:");
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child)).into_iter().flatten();
        for task in tasks.flatten().take(32) {
            let id = task.file_name().to_string_lossy().into_owned();
            let read = |name: &str| {
                fs::read_to_string(task.path().join(name)).unwrap_or_default().trim().to_owned()
            };
            let stat = read("stat");
            let state = stat.rsplit(") ").next().and_then(|rest| rest.get(..1)).unwrap_or("?");
            let wait = match read("wchan").as_str() {
                "0" | "" => String::from("running in user space or on its way"),
                wait => format!("in {wait}"),
            };
            text.push_str(&format!("\n  {} {id}: state {state}, {wait}", read("comm")));
        }
        self.log.append(Code::Note, text.as_bytes());
    }
}

/// The processes that are neither the agent nor the kernel's own.
fn user_processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid > 2 && !field(pid, "cmdline").is_empty())
}

fn field(pid: i32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default().trim().to_owned()
}
