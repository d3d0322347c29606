//! A program that was started: its output, its end, and the end of all that it started itself.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use crate::capture::Capture;
use crate::clock::{self, Wants};

/// Read at once: as much as a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;
/// Taken in one go from a program that runs. What it writes faster, it waits for.
const TURN_BYTES: usize = 4 << 20;
/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(5);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It exited with a code.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// Another part of this process collected it.
    Unknown,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "it exited with code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal} ended it"),
            Self::Unknown => write!(f, "it ended, and something else took note of how"),
        }
    }
}

/// The end of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) status: Status,
    /// When it was noticed.
    pub(crate) at_ns: u64,
    /// CPU time that it and the children it waited for used.
    pub(crate) cpu_ns: u64,
}

/// A started program. It and its process group are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    streams: Vec<Stream>,
    end: Option<End>,
}

#[derive(Debug)]
struct Stream {
    pipe: Option<PipeReader>,
    capture: Capture,
}

impl Process {
    /// Starts a program with its arguments, in a process group of its own, in the cgroup whose
    /// directory is given. Each of `captures` gets a stream: standard output, then standard error;
    /// a single one gets both.
    pub(crate) fn start(
        command: &[String],
        cgroup: Option<&Path>,
        captures: Vec<Capture>,
    ) -> io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut start = Command::new(program);
        start.args(arguments).stdin(Stdio::null()).process_group(0);
        let mut streams = Vec::new();
        for capture in captures {
            let (reader, writer) = io::pipe()?;
            let flags = fcntl_getfl(&reader)?;
            fcntl_setfl(&reader, flags | OFlags::NONBLOCK)?;
            match streams.len() {
                0 => start.stderr(writer.try_clone()?).stdout(writer),
                _ => start.stderr(writer),
            };
            streams.push(Stream { pipe: Some(reader), capture });
        }
        if let Some(dir) = cgroup {
            let processes = OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?;
            let enter =
                move || rustix::io::write(&processes, b"0").map(drop).map_err(io::Error::from);
            // SAFETY: between fork and exec it makes one system call, on a file that is open.
            unsafe { start.pre_exec(enter) };
        }
        let child = start.spawn()?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty());
        // `start` holds the writing ends, which would keep the pipes from ending.
        drop(start);
        match pidfd {
            Ok(pidfd) => Ok(Self { pid, pidfd, streams, end: None }),
            Err(error) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// What to wait for: its end, and its output.
    pub(crate) fn files(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Wants)> {
        let end = self.end.is_none().then(|| (self.pidfd.as_fd(), Wants::Read));
        let pipes = self.streams.iter().filter_map(|stream| stream.pipe.as_ref());
        end.into_iter().chain(pipes.map(|pipe| (pipe.as_fd(), Wants::Read)))
    }

    /// Takes its output as far as it is there, and notices its end, with which what it left behind
    /// in its process group ends, too.
    pub(crate) fn pump(&mut self) -> Option<End> {
        if self.end.is_none() && has_ended(self.pid) {
            // Before it is collected: until then nobody else can have its number.
            self.signal(Signal::KILL);
            self.end = Some(collect(self.pid));
        }
        let ended = self.end.is_some();
        for stream in &mut self.streams {
            stream.drain(if ended { usize::MAX } else { TURN_BYTES });
            if ended {
                // A process that it left behind may hold the pipe open for as long as it likes.
                stream.pipe = None;
            }
        }
        self.end
    }

    /// Its end, if it was noticed.
    pub(crate) const fn end(&self) -> Option<End> {
        self.end
    }

    /// What was kept of a stream.
    pub(crate) fn captured(&self, stream: usize) -> &Capture {
        &self.streams[stream].capture
    }

    /// Sends a signal to its process group.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.end.is_none() {
            // It has not been collected, so nobody else can have its number.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Waits for its end, taking its output, until a moment.
    pub(crate) fn wait(&mut self, until_ns: u64) -> Option<End> {
        loop {
            if let Some(end) = self.pump() {
                return Some(end);
            }
            if clock::now_ns() >= until_ns {
                return None;
            }
            let files: Vec<_> = self.files().collect();
            clock::wait(&files, until_ns);
        }
    }

    /// Kills it and what is in its process group. None if even that does not end it in 5 s.
    pub(crate) fn kill(&mut self) -> Option<End> {
        self.signal(Signal::KILL);
        self.wait(clock::after(DEATH))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end.is_none() {
            self.kill();
        }
    }
}

impl Stream {
    fn drain(&mut self, bytes_max: usize) {
        let mut chunk = [0; CHUNK_BYTES];
        let mut taken = 0;
        while let Some(pipe) = self.pipe.as_mut().filter(|_| taken < bytes_max) {
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(len) => {
                    self.capture.push(&chunk[..len]);
                    taken += len;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// Whether a child has ended; it can still be collected.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

/// Collects a child that has ended.
fn collect(pid: Pid) -> End {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places are valid for what the call writes.
    let collected = unsafe { libc::wait4(pid.as_raw_pid(), &mut status, 0, usage.as_mut_ptr()) };
    if collected != pid.as_raw_pid() {
        // Somebody else in this process has collected it: how it ended is lost.
        return End { status: Status::Unknown, at_ns: clock::now_ns(), cpu_ns: 0 };
    }
    // SAFETY: it consists of numbers, which the call has written, and which were zero before.
    let usage = unsafe { usage.assume_init() };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    let status = if libc::WIFSIGNALED(status) {
        Status::Signaled(libc::WTERMSIG(status))
    } else {
        Status::Exited(libc::WEXITSTATUS(status))
    };
    End { status, at_ns: clock::now_ns(), cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, captures: Vec<Capture>) -> Process {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        Process::start(&command, None, captures).unwrap()
    }

    fn both() -> Vec<Capture> {
        vec![Capture::new(1 << 20, 100), Capture::new(1 << 20, 100)]
    }

    #[test]
    fn output_and_end_are_kept_apart() {
        let mut process = shell("echo out; echo err >&2; exit 3", both());
        let end = process.wait(u64::MAX).unwrap();
        assert_eq!(end.status, Status::Exited(3));
        assert_eq!([process.captured(0).text(), process.captured(1).text()], ["out\n", "err\n"]);

        let mut process = shell("echo out; echo err >&2; kill -9 $$", vec![Capture::new(100, 0)]);
        assert_eq!(process.wait(u64::MAX).unwrap().status, Status::Signaled(9));
        assert_eq!(process.captured(0).text(), "out\nerr\n");
    }

    #[test]
    fn much_output_is_drained_and_little_is_kept() {
        let mut process = shell("head -c 50000000 /dev/zero; echo end", both());
        assert_eq!(process.wait(u64::MAX).unwrap().status, Status::Exited(0));
        let captured = process.captured(0);
        assert_eq!((captured.total(), captured.head().len()), (50_000_004, 1 << 20));
        assert!(captured.end(100).ends_with("end\n"));
    }

    #[test]
    fn what_it_left_behind_neither_delays_nor_survives() {
        let mut process = shell("sleep 1000 & echo $!; read line", both());
        let left = loop {
            process.pump();
            if let Ok(pid) = process.captured(0).text().trim().parse() {
                break pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
            }
        };
        assert_eq!(process.wait(u64::MAX).unwrap().status, Status::Exited(1));
        assert!(clock::wait(&[(left.as_fd(), Wants::Read)], u64::MAX));

        let process = shell("sleep 1000", both());
        let pidfd = pidfd_open(process.pid, PidfdFlags::empty()).unwrap();
        drop(process);
        assert!(clock::wait(&[(pidfd.as_fd(), Wants::Read)], 0));
    }

    #[test]
    fn what_cannot_be_started_is_said() {
        let start = |command: &[&str]| {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            Process::start(&command, None, both()).unwrap_err()
        };
        assert_eq!(start(&["/nowhere/at/all"]).kind(), io::ErrorKind::NotFound);
        assert_eq!(start(&[]).kind(), io::ErrorKind::InvalidInput);
    }
}
