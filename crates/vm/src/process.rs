//! One QEMU process, and the conversation with it.

use crate::error::Error;
use crate::qemu::Qemu;
use crate::spawn::spawn;
use qapi::qmp::{self, Event, MigrationStatus};
use qapi::{Command as QmpCommand, ExecuteError, Qmp, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long QEMU may take to answer a command. It takes milliseconds; one that is
/// stopped or stuck never does, and must not take its host with it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

type Conversation = Qmp<Stream<BufReader<UnixStream>, UnixStream>>;

/// A QEMU process. It is killed when this is dropped, and by the kernel when this
/// process ends in whatever way.
#[derive(Debug)]
pub(crate) struct QemuProcess {
    child: Child,
    qmp: Wire,
    queued: VecDeque<Event>,
    console: File,
    stderr: File,
}

/// The QMP conversation.
struct Wire(Conversation);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

/// What woke a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The machine's CPUs have stopped.
    Stopped,
    /// The guest reset or switched off the machine.
    Reset,
    /// The time is over.
    TimeOver,
}

impl QemuProcess {
    /// Starts QEMU with `arguments`, and with what every QEMU of ours has: a QMP
    /// conversation, a console in memory, its sandbox, and no network. `terminal`
    /// is what the guest's second serial port is connected to; `inherited` are
    /// descriptors that the arguments name by number.
    pub(crate) fn start(
        qemu: &Qemu,
        arguments: Vec<OsString>,
        terminal: Option<OwnedFd>,
        inherited: &[RawFd],
    ) -> Result<QemuProcess, Error> {
        let cannot = |error: io::Error| Error::io("prepare a QEMU process", error);
        let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
        ours.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(cannot)?;
        let memfd = |name| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
        let console = memfd("belljar-console").map_err(|e| cannot(e.into()))?;
        let stderr = memfd("belljar-stderr").map_err(|e| cannot(e.into()))?;
        let mut command = Command::new(qemu.program());
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"])
            .args(["-action", "panic=pause,reboot=shutdown"])
            .args(["-chardev", &format!("socket,id=qmp,fd={}", theirs.as_raw_fd())])
            .args(["-mon", "chardev=qmp,mode=control"])
            .args(["-serial", &format!("file:/proc/self/fd/{}", console.as_raw_fd())])
            .arg("-chardev")
            .arg(match &terminal {
                Some(fd) => format!("socket,id=terminal,fd={}", fd.as_raw_fd()),
                None => String::from("null,id=terminal"),
            })
            .args(["-serial", "chardev:terminal"])
            .args(arguments)
            // Ctrl-C in the terminal is for whoever started it to deal with.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.try_clone().map_err(cannot)?);
        let mut kept = vec![theirs.as_raw_fd(), console.as_raw_fd()];
        kept.extend(terminal.as_ref().map(AsRawFd::as_raw_fd));
        kept.extend_from_slice(inherited);
        let parent = rustix::process::getpid();
        let prepare = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(io::Error::other("the parent is gone"));
            }
            for &fd in &kept {
                // SAFETY: the descriptors are open in the parent until `spawn` has
                // returned, and so in this copy of it.
                let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
                fcntl_setfd(fd, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes plain system calls only.
        unsafe { command.pre_exec(prepare) };
        let child = spawn(command)
            .map_err(|error| Error::io(format!("start {}", qemu.program().display()), error))?;
        drop(theirs);
        drop(terminal);
        let reader = BufReader::new(ours.try_clone().map_err(cannot)?);
        let qmp = Wire(Qmp::new(Stream::new(reader, ours)));
        let mut process = QemuProcess { child, qmp, queued: VecDeque::new(), console, stderr };
        process.greet()?;
        Ok(process)
    }

    fn greet(&mut self) -> Result<(), Error> {
        // The crate panics when there is nothing to read, as when QEMU has refused
        // its arguments and gone.
        let greeted = self.qmp.0.inner_mut().get_mut_read().fill_buf().map(|b| !b.is_empty());
        if !matches!(greeted, Ok(true)) {
            return Err(self.died());
        }
        let greeting = self.qmp.0.handshake();
        self.answer("qmp_capabilities", greeting).map(drop)
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Executes a QMP command.
    pub(crate) fn execute<C: QmpCommand>(&mut self, command: &C) -> Result<C::Ok, Error> {
        let answer = self.qmp.0.execute(command);
        self.answer(C::NAME, answer)
    }

    fn answer<T>(&mut self, command: &str, answer: Result<T, ExecuteError>) -> Result<T, Error> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(ExecuteError::Qapi(error)) => {
                Err(Error::Qmp { command: command.to_owned(), message: error.to_string() })
            }
            Err(ExecuteError::Io(_)) => Err(self.died()),
        }
    }

    /// Lets the CPUs run.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        self.execute(&qmp::cont {}).map(drop)
    }

    /// Waits until the CPUs stop, the guest resets, or `deadline` has come.
    ///
    /// Nothing is sent: a `det` machine must not be woken.
    pub(crate) fn wait(&mut self, deadline: Instant) -> Result<Woken, Error> {
        while let Some(event) = self.next_event(deadline)? {
            match event {
                Event::STOP { .. } => return Ok(Woken::Stopped),
                Event::SHUTDOWN { .. } => return Ok(Woken::Reset),
                _ => {}
            }
        }
        Ok(Woken::TimeOver)
    }

    /// Prepares for a migration in either direction: memory that is shared with a
    /// file stays where it is, and the end is announced.
    pub(crate) fn prepare_migration(&mut self) -> Result<(), Error> {
        use qmp::{MigrationCapability, MigrationCapabilityStatus};
        let capabilities = [MigrationCapability::x_ignore_shared, MigrationCapability::events]
            .map(|capability| MigrationCapabilityStatus { capability, state: true });
        self.execute(&qmp::migrate_set_capabilities { capabilities: capabilities.into() }).map(drop)
    }

    /// Waits for the end of a migration in either direction.
    pub(crate) fn wait_migrated(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Some(event) = self.next_event(deadline)? {
            let Event::MIGRATION { data, .. } = event else { continue };
            match data.status {
                MigrationStatus::completed => return Ok(()),
                MigrationStatus::failed | MigrationStatus::cancelled => break,
                _ => {}
            }
        }
        let info = self.execute(&qmp::query_migrate {})?;
        let message = info.error_desc.unwrap_or_else(|| String::from("it did not complete"));
        Err(Error::Qmp { command: String::from("migrate"), message })
    }

    /// Hands QEMU a descriptor under a name.
    pub(crate) fn send_fd(&mut self, name: &str, file: &File) -> Result<(), Error> {
        let command =
            format!("{{\"execute\":\"getfd\",\"arguments\":{{\"fdname\":\"{name}\"}}}}\n");
        let fds = [file.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let stream = self.qmp.0.inner().get_ref_write();
        let bytes = [io::IoSlice::new(command.as_bytes())];
        sendmsg(stream, &bytes, &mut control, SendFlags::empty())
            .map_err(|error| Error::io("hand QEMU a descriptor", error.into()))?;
        let answer = self.qmp.0.read_response::<qmp::getfd>();
        self.answer("getfd", answer).map(drop)
    }

    /// The next event, or `None` once `deadline` has come.
    fn next_event(&mut self, deadline: Instant) -> Result<Option<Event>, Error> {
        self.queued.extend(self.qmp.0.events());
        loop {
            if let Some(event) = self.queued.pop_front() {
                return Ok(Some(event));
            }
            let stream = self.qmp.0.inner_mut().get_mut_read();
            if stream.buffer().is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if !readable(stream.get_ref(), left) {
                    return Ok(None);
                }
            }
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return Err(self.died()),
                // Events of a newer QEMU that the crate does not know are passed over.
                Ok(_) => self.queued.extend(serde_json::from_str::<Event>(&line).ok()),
            }
        }
    }

    /// Has QEMU count as dead when it takes longer than this to answer a command.
    pub(crate) fn set_patience(&self, patience: Duration) {
        // Without it the usual patience applies.
        let _ = self.qmp.0.inner().get_ref_write().set_read_timeout(Some(patience));
    }

    /// The console so far.
    pub(crate) fn console(&self) -> Vec<u8> {
        contents(&self.console)
    }

    /// Bytes of the console so far.
    pub(crate) fn console_len(&self) -> u64 {
        self.console.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Memory that this process shares with no other, in KiB, pages that are
    /// unchanged copies of a file left out.
    pub(crate) fn private_kib(&self) -> io::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.id());
        let text = std::fs::read_to_string(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other("smaps_rollup has no Private_Dirty"))
    }

    /// The error for a QEMU that has ended, with what it said.
    pub(crate) fn died(&mut self) -> Error {
        // Its socket closes just before it can be waited for.
        let status = self.end_of_life().map_or_else(|e| e.to_string(), |s| s.to_string());
        let stderr = String::from_utf8_lossy(&contents(&self.stderr)).trim().to_owned();
        let start = stderr.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
        Error::QemuDied { status, stderr: stderr[start..].to_owned() }
    }

    fn end_of_life(&mut self) -> io::Result<ExitStatus> {
        let patience = Instant::now() + Duration::from_secs(2);
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::yield_now();
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for QemuProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn readable(stream: &UnixStream, timeout: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).ok();
    matches!(poll(&mut fds, timeout.as_ref()), Ok(ready) if ready > 0)
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| metadata.len() as usize)];
    // QEMU may be writing on; what is there now is whole.
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(read);
    bytes
}
