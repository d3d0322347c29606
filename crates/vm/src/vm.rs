//! One machine in one QEMU process: started, frozen by itself, resumed, saved.

use crate::channel::{Channel, LogReader};
use crate::clock;
use crate::error::Error;
use crate::host_cpu::HostCpu;
use crate::machine::{DET_ROUND, DET_SHIFT, Machine};
use crate::memory::GuestMemory;
use crate::mode::Mode;
use crate::process::{QemuProcess, Woken};
use crate::qemu::{Qemu, Version};
use belljar_guest::channel::{AGENT_LOG, Code, Ending, State};
use qapi::qmp;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a template's saved device state is called in its directory.
pub(crate) const STATE_FILE: &str = "state";
/// What stands in for the kernel when a fork is started.
pub(crate) const STUB_FILE: &str = "stub";

/// One machine. Its CPUs stand still between the calls of [`Vm::resume`] and the
/// freezes that the guest asks for.
#[derive(Debug)]
pub(crate) struct Vm {
    process: QemuProcess,
    memory: GuestMemory,
    freezes: u32,
    cancelled: Arc<AtomicBool>,
    is_det: bool,
    /// Where a `det` machine runs, while it does.
    host_cpu: Option<HostCpu>,
}

/// How a running machine came to a stop.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It froze itself in this state.
    Frozen(State),
    /// Its kernel gave up and reset it, or QEMU stopped it without being asked.
    Crashed,
    /// It wrote more than [`CONSOLE_LIMIT_BYTES`] to its console.
    ConsoleFull,
    /// It ran until the deadline.
    StillRunning,
}

/// How much a machine may write to its console, which lies in the host's memory.
pub(crate) const CONSOLE_LIMIT_BYTES: u64 = 4 << 20;

impl Vm {
    /// Starts a machine that will boot its kernel, with its memory in `directory`.
    pub(crate) fn boot(qemu: &Qemu, machine: &Machine, directory: &Path) -> Result<Vm, Error> {
        let mut archive = belljar_guest::archive::Archive::new();
        archive.push("dev", belljar_guest::archive::Entry::Directory);
        let console = belljar_guest::archive::Entry::CharacterDevice(5, 1);
        archive.push("dev/console", console);
        archive.push("init", belljar_guest::archive::Entry::Program(belljar_guest::AGENT));
        let initrd = directory.join("initrd");
        fs::write(&initrd, archive.finish())
            .map_err(|e| Error::io(format!("write {}", initrd.display()), e))?;
        let mut arguments = machine.arguments(directory, true)?;
        arguments.extend(["-S".into(), "-kernel".into(), machine.vmlinux().into()]);
        arguments.extend(["-initrd".into(), initrd.clone().into()]);
        arguments.extend(["-append".into(), machine.command_line().into()]);
        let process = QemuProcess::start(qemu, arguments, None, &[])?;
        // QEMU has read it by the time it answers.
        let _ = fs::remove_file(initrd);
        let vm = Vm::attach(process, machine, directory)?;
        if vm.is_det {
            vm.channel().set_round(DET_ROUND)?;
        }
        Ok(vm)
    }

    /// Starts a machine that goes on where the template in `template` stopped. Its
    /// memory lies in `directory`: the template's own, and then mapped privately, or
    /// a copy that the machine may change (`shared`).
    pub(crate) fn restore(
        qemu: &Qemu,
        machine: &Machine,
        template: &Path,
        directory: &Path,
        shared: bool,
        terminal: Option<OwnedFd>,
    ) -> Result<Vm, Error> {
        let mut arguments = machine.arguments(directory, shared)?;
        let state_path = template.join(STATE_FILE);
        let state = File::open(&state_path)
            .map_err(|e| Error::io(format!("open {}", state_path.display()), e))?;
        // The machine must have the same option ROM as when it booted, but need not
        // carry 60 MiB of kernel again.
        let stub = template.join(STUB_FILE);
        arguments.extend(["-kernel".into(), stub.into()]);
        arguments.extend(["-S", "-incoming", "defer"].map(OsString::from));
        let by_name = qemu.version() >= Version::MIGRATES_FILES;
        let inherited = if by_name { vec![] } else { vec![state.as_raw_fd()] };
        let mut process = QemuProcess::start(qemu, arguments, terminal, &inherited)?;
        process.prepare_migration()?;
        let uri = if by_name {
            format!("file:{}", state_path.display())
        } else {
            format!("fd:{}", state.as_raw_fd())
        };
        process.execute(&qmp::migrate_incoming {
            uri: Some(uri),
            channels: None,
            exit_on_error: None,
        })?;
        process.wait_migrated()?;
        Vm::attach(process, machine, directory)
    }

    fn attach(process: QemuProcess, machine: &Machine, directory: &Path) -> Result<Vm, Error> {
        let memory = GuestMemory::attach(process.id(), &machine.memory_files(directory))?;
        let freezes = Channel(&memory).freezes()?;
        let is_det = machine.mode() == Mode::Det;
        Ok(Vm { process, memory, freezes, cancelled: Arc::default(), is_det, host_cpu: None })
    }

    /// Saves the devices of a frozen machine to `directory`, whose memory files the
    /// machine shares: together they are a template.
    pub(crate) fn save(
        &mut self,
        qemu: &Qemu,
        machine: &Machine,
        directory: &Path,
    ) -> Result<(), Error> {
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            fs::write(&path, bytes).map_err(|e| Error::io(format!("write {}", path.display()), e))
        };
        write(STUB_FILE, &stub_kernel())?;
        write(STATE_FILE, &[])?;
        let path = directory.join(STATE_FILE);
        self.process.prepare_migration()?;
        let uri = if qemu.version() >= Version::MIGRATES_FILES {
            format!("file:{}", path.display())
        } else {
            let file = File::options().write(true).open(&path);
            let file = file.map_err(|e| Error::io(format!("open {}", path.display()), e))?;
            self.process.send_fd("state", &file)?;
            String::from("fd:state")
        };
        self.process.execute(&qmp::migrate {
            uri: Some(uri),
            channels: None,
            detach: None,
            resume: None,
        })?;
        self.process.wait_migrated()?;
        if machine.mode() == Mode::Det {
            clock::set_to_freeze(&path, self.channel().frozen_at()?, DET_SHIFT)?;
        }
        Ok(())
    }

    /// The same machine, frozen as it is, such that it goes on the same way whenever it
    /// is resumed: in `det` another process with the clock set right (see [`clock`]).
    pub(crate) fn settled(
        mut self,
        qemu: &Qemu,
        machine: &Machine,
        directory: &Path,
    ) -> Result<Vm, Error> {
        if machine.mode() != Mode::Det {
            return Ok(self);
        }
        self.save(qemu, machine, directory)?;
        let cancelled = Arc::clone(&self.cancelled);
        drop(self);
        let mut vm = Vm::restore(qemu, machine, directory, directory, true, None)?;
        vm.obey(&cancelled);
        Ok(vm)
    }

    /// Has [`Vm::reach`] give up when this is set.
    pub(crate) fn obey(&mut self, cancelled: &Arc<AtomicBool>) {
        self.cancelled = Arc::clone(cancelled);
    }

    /// The channel.
    pub(crate) fn channel(&self) -> Channel<'_> {
        Channel(&self.memory)
    }

    /// The memory.
    pub(crate) fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The process.
    pub(crate) fn process(&self) -> &QemuProcess {
        &self.process
    }

    /// The error for a QEMU that has ended.
    pub(crate) fn died(&mut self) -> Error {
        self.process.died()
    }

    /// Lets the machine run.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        self.channel().set_go(self.freezes)?;
        if self.is_det && self.host_cpu.is_none() {
            let cannot = |error| Error::io("keep QEMU on one CPU of the host", error);
            let place = HostCpu::take().map_err(cannot)?;
            place.keep(self.process.id()).map_err(cannot)?;
            self.host_cpu = Some(place);
        }
        self.process.resume()
    }

    /// Waits until the machine stops, at most until `deadline`, and lets `look` have
    /// a look every `pace` while it runs.
    pub(crate) fn wait(
        &mut self,
        deadline: Instant,
        pace: Duration,
        mut look: impl FnMut(&Vm) -> Result<(), Error>,
    ) -> Result<Halt, Error> {
        loop {
            let now = Instant::now();
            let woken = self.process.wait(deadline.min(now + pace))?;
            match woken {
                Woken::Reset => return Ok(Halt::Crashed),
                Woken::Stopped => match self.channel().frozen(self.freezes)? {
                    Some((state, freezes)) => {
                        self.freezes = freezes;
                        self.host_cpu = None;
                        return Ok(Halt::Frozen(state));
                    }
                    // The kernel's own panic notifier writes to the same port.
                    None => return Ok(Halt::Crashed),
                },
                Woken::TimeOver if self.process.console_len() > CONSOLE_LIMIT_BYTES => {
                    return Ok(Halt::ConsoleFull);
                }
                Woken::TimeOver if Instant::now() >= deadline => return Ok(Halt::StillRunning),
                Woken::TimeOver => look(self)?,
            }
        }
    }

    /// Where the CPUs of a running machine are, for people.
    pub(crate) fn whereabouts(&mut self) -> String {
        self.process.set_patience(Duration::from_secs(2));
        let command = qmp::human_monitor_command {
            command_line: "info registers -a".into(),
            cpu_index: None,
        };
        let Ok(text) = self.process.execute(&command) else {
            return String::from("its CPUs could not be asked where they are");
        };
        let places: Vec<&str> = text
            .split_whitespace()
            .filter(|word| word.starts_with("RIP=") || word.starts_with("HLT=1"))
            .collect();
        format!("CPUs at {}", places.join(" "))
    }

    /// What the agent and its process said, for people, once they have ended.
    pub(crate) fn last_words(&self) -> String {
        let mut words = String::new();
        let mut reader = LogReader::new(AGENT_LOG);
        let _ = reader.drain(&self.memory, |frame| match frame.code {
            Code::Ended => match Ending::decode(frame.body) {
                Some(Ending::Exited(code)) => words.push_str(&format!("it exited with {code}")),
                Some(Ending::Signaled(signal)) => {
                    words.push_str(&format!("signal {signal} ended it"));
                }
                _ => {}
            },
            _ => {
                words.push_str(&String::from_utf8_lossy(frame.body));
                words.push('\n');
            }
        });
        words
    }

    /// Waits until the machine has frozen itself in one of `states`, or explains why
    /// it has not. For the making of templates.
    pub(crate) fn reach(
        &mut self,
        machine: &Machine,
        what: &str,
        states: &[State],
        patience: Duration,
    ) -> Result<State, Error> {
        let halt = self.wait(Instant::now() + patience, Duration::from_millis(100), |vm| {
            if vm.cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
        })?;
        let problem = match halt {
            Halt::Frozen(state) if states.contains(&state) => return Ok(state),
            Halt::Frozen(state) => format!("{what}: the guest stopped in state {state:?}"),
            Halt::Crashed => format!("{what}: the kernel gave up"),
            Halt::ConsoleFull => format!("{what}: the console grew without end"),
            Halt::StillRunning => {
                format!("{what}: nothing happened for {} s", patience.as_secs())
            }
        };
        Err(Error::Template {
            machine: machine.describe(),
            problem,
            console: String::from_utf8_lossy(&self.process.console()).into_owned(),
        })
    }
}

/// The smallest ELF file that QEMU takes for a kernel to enter by PVH: a header, one
/// empty segment, and the note with the entry's address. Never executed.
fn stub_kernel() -> Vec<u8> {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    const ENTRY: u64 = 0x10_0000;
    let note_at = HEADER + 2 * SEGMENT;
    let mut note = Vec::new();
    for word in [4u32, 8, 18] {
        note.extend(word.to_le_bytes()); // name length, value length, XEN_ELFNOTE_PHYS32_ENTRY
    }
    note.extend(b"Xen\0");
    note.extend(ENTRY.to_le_bytes());
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(2u16.to_le_bytes()); // executable
    elf.extend(62u16.to_le_bytes()); // x86-64
    elf.extend(1u32.to_le_bytes());
    for long in [ENTRY, HEADER, 0] {
        elf.extend(long.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let mut segment = |kind: u32, at: u64, address: u64, len: u64, align: u64| {
        elf.extend(kind.to_le_bytes());
        elf.extend(5u32.to_le_bytes());
        for long in [at, address, address, len, len, align] {
            elf.extend(long.to_le_bytes());
        }
    };
    segment(1, 0, ENTRY, HEADER, 4096);
    segment(4, note_at, 0, note.len() as u64, 4);
    elf.extend(note);
    elf
}
