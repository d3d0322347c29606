//! The processes of a sample.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use belljar_topology::CpuSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process,
    kill_process_group, pidfd_open, set_parent_process_death_signal, waitid,
};
use rustix::thread::sched_setaffinity;
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::cpu::process_cpu_ns;
use crate::fault::Fault;
use crate::orphan::MARK;
use crate::protocol::{READY_LINE, REPORT_BYTES_MAX};

/// What a process is in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It asks, and measures.
    Client,
    /// It answers.
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// A running process in a process group of its own. The group is killed when this is dropped, and the
/// process when the thread that started it ends, in whatever way.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// How it ended, once it has been waited for; its id may be another process's from then on.
    status: Option<ExitStatus>,
    pidfd: OwnedFd,
    started: Instant,
    end: Option<End>,
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
}

/// How a process ended, before it is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// How long it lived.
    pub(crate) lived: Duration,
    /// Its CPU time.
    pub(crate) cpu_ns: u64,
}

/// The beginning of what a process writes. The rest is read, so that it is not held up, and dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    pipe: Option<File>,
    pub(crate) bytes: Vec<u8>,
    /// The line that has no end yet, as far as it may be the one that says that a server is ready.
    line: Vec<u8>,
    is_ready: bool,
}

/// A line of this length is not the one that says that a server is ready.
const LINE_BYTES_MAX: usize = 4096;

impl Kept {
    fn new(pipe: impl Into<OwnedFd>) -> io::Result<Self> {
        let pipe = File::from(pipe.into());
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: Some(pipe), bytes: Vec::new(), line: Vec::new(), is_ready: false })
    }

    /// Reads what is there.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    // One more than is allowed, for it to be noticed.
                    let room = (REPORT_BYTES_MAX + 1).saturating_sub(self.bytes.len());
                    self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                    if !self.is_ready {
                        self.look_for_ready(&buffer[..count]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Looks in what arrives, since a server may write more than is kept before it is ready.
    fn look_for_ready(&mut self, arrived: &[u8]) {
        for part in arrived.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let is_whole = self.line.len() < LINE_BYTES_MAX;
                self.is_ready |= is_whole && self.line.trim_ascii() == READY_LINE.as_bytes();
                self.line.clear();
            }
        }
    }
}

/// What ends a sample before it has figures.
pub(crate) enum Stop {
    Fault(Fault),
    /// Somebody has called the run off.
    Interrupted,
    /// The runner's own fault.
    Io(io::Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Process {
    /// Starts a program in `directory`, on `cpus` if any are named. It and all that it starts carry
    /// `mark`.
    #[expect(unsafe_code)]
    pub(crate) fn start(
        command: &[String],
        directory: &Path,
        cpus: Option<&CpuSet>,
        mark: &str,
    ) -> io::Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
        let cpus = cpus.map(kernel_set).transpose()?;
        let parent = getpid();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(directory)
            .env(MARK, mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let prepare = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(io::Error::other("the runner is gone"));
            }
            match &cpus {
                Some(cpus) => Ok(sched_setaffinity(None, cpus)?),
                None => Ok(()),
            }
        };
        // SAFETY: between fork and exec the closure makes plain system calls only.
        unsafe { command.pre_exec(prepare) };
        let started = Instant::now();
        let mut child = command.spawn()?;
        let mut opened = || {
            let piped = || io::Error::other("the pipes are gone");
            let stdout = Kept::new(child.stdout.take().ok_or_else(piped)?)?;
            let stderr = Kept::new(child.stderr.take().ok_or_else(piped)?)?;
            let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
            Ok((stdout, stderr, pidfd))
        };
        match opened() {
            Ok((stdout, stderr, pidfd)) => {
                Ok(Self { child, status: None, pidfd, started, end: None, stdout, stderr })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether it wrote the line that says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.stdout.is_ready
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        if self.status.is_none() {
            // It may have ended a moment ago, which is as well.
            let _ = kill_process(self.pid(), Signal::TERM);
        }
    }

    /// Kills its group, waits for it, and gives its status.
    pub(crate) fn finish(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        self.stdout.drain();
        self.stderr.drain();
        Ok(status)
    }

    fn look(&mut self) -> io::Result<()> {
        self.stdout.drain();
        self.stderr.drain();
        if self.end.is_none() {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if waitid(WaitId::PidFd(self.pidfd.as_fd()), ended)?.is_some() {
                let lived = self.started.elapsed();
                self.end = Some(End { lived, cpu_ns: process_cpu_ns(self.pid())? });
                self.stdout.drain();
                self.stderr.drain();
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Waits until something happens to the processes, at most until `deadline`.
pub(crate) fn wait_for_news(
    processes: &mut [&mut Process],
    cancel: &Cancel,
    deadline: Instant,
) -> Result<(), Stop> {
    let is_cancelled = {
        let mut fds = vec![PollFd::new(cancel, PollFlags::IN)];
        for process in processes.iter() {
            if process.end.is_none() {
                fds.push(PollFd::new(&process.pidfd, PollFlags::IN));
            }
            let pipes = [&process.stdout.pipe, &process.stderr.pipe];
            fds.extend(pipes.into_iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        fds[0].revents().contains(PollFlags::IN)
    };
    if is_cancelled {
        return Err(Stop::Interrupted);
    }
    Ok(processes.iter_mut().try_for_each(|process| process.look())?)
}

/// Whether a server that was told to end has ended well.
pub(crate) fn is_good_end(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(Signal::TERM.as_raw())
}

fn kernel_set(cpus: &CpuSet) -> io::Result<rustix::thread::CpuSet> {
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus.iter() {
        let number = usize::try_from(cpu.0).unwrap_or(usize::MAX);
        if number >= rustix::thread::CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("CPU {cpu} is out of range")));
        }
        set.set(number);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_ready_line_is_found_in_what_is_not_kept() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut kept = Kept::new(reader).unwrap();
        let mut is_ready_after = |text: &[u8]| {
            writer.write_all(text).unwrap();
            kept.drain();
            (kept.is_ready, kept.bytes.len())
        };
        for number in 1..=20 {
            let length = (number * 4096).min(REPORT_BYTES_MAX + 1);
            assert_eq!(is_ready_after(&[b'x'; 4096]), (false, length));
        }
        let full = REPORT_BYTES_MAX + 1;
        assert_eq!(is_ready_after(b"READY\nREADY to go\n READ"), (false, full));
        let spaces = [b' '; LINE_BYTES_MAX];
        assert_eq!(is_ready_after(b"\nREADY"), (false, full));
        assert_eq!(is_ready_after(&spaces), (false, full));
        assert_eq!(is_ready_after(b"to go\n READ"), (false, full));
        assert_eq!(is_ready_after(b"Y \nmore"), (true, full));
    }
}
