//! Forks: machines that go on where a template stopped, to run one thing each.

use crate::channel::{ChannelError, LogReader};
use crate::console::{KernelFault, kernel_fault};
use crate::error::{Error, chain};
use crate::frame::Frame;
use crate::mode::Mode;
use crate::template::Template;
use crate::vm::{CONSOLE_LIMIT_BYTES, Halt, Vm};
use belljar_guest::channel::{AGENT_LOG, Code, Ending, LogArea, PROCESS_LOG, State};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A machine that stands where its template stopped, ready to run one request.
#[derive(Debug)]
pub struct Fork {
    vm: Vm,
    template: Arc<Template>,
    made_in: Duration,
}

/// How long a run may take, and how it is called off.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Host time after which a machine counts as hung.
    pub limit: Duration,
    /// Set by whoever wants the run to end now.
    pub cancelled: Option<Arc<AtomicBool>>,
}

impl Watch {
    /// A watch that only has a limit.
    pub fn limit(limit: Duration) -> Watch {
        Watch { limit, cancelled: None }
    }
}

/// One thing that the guest said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it is.
    pub code: Code,
    /// The guest's monotonic clock when it was said, in nanoseconds.
    pub time_ns: u64,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Why a machine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Its process ended, and the agent said how.
    Ended(Ending),
    /// The agent could not do its work.
    AgentFailed(String),
    /// The agent fell silent without having said how the process ended.
    AgentLost(String),
    /// The kernel gave up.
    Kernel(KernelFault),
    /// The guest wrote something into the channel that makes no sense.
    ChannelBroken(String),
    /// The guest said more than a log holds.
    ChannelFull {
        /// Which log: `output` or `events`.
        log: &'static str,
        /// How many bytes it holds.
        limit_bytes: u64,
        /// How many more there were.
        dropped_bytes: u64,
    },
    /// The guest wrote more to its console than a run may.
    ConsoleFull {
        /// How many bytes a run may write.
        limit_bytes: u64,
    },
    /// It was still running when its watch ran out: where its CPUs were.
    Hung(String),
    /// The run was called off.
    Cancelled,
    /// QEMU ended by itself.
    QemuDied {
        /// Its exit status.
        status: String,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// QEMU refused to go on, or its memory is out of reach.
    Failed(String),
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Why the machine stopped.
    pub stop: Stop,
    /// What the guest said, in the order of its clock.
    pub said: Vec<Said>,
    /// What its kernel wrote to the console since the template was made.
    pub console: Vec<u8>,
    /// How long things took.
    pub timings: Timings,
}

/// How long the parts of a run took, in host time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Making the fork: QEMU started, state loaded.
    pub fork: Duration,
    /// From the request until the body began, if it did.
    pub begun: Option<Duration>,
    /// From the request until the machine stopped.
    pub run: Duration,
}

/// How often a running machine's logs are looked at, at first and later on.
const PACE_FIRST: Duration = Duration::from_micros(500);
const PACE: Duration = Duration::from_millis(10);
/// How long the first pace is kept.
const HASTE: Duration = Duration::from_millis(200);

impl Fork {
    pub(crate) fn new(vm: Vm, template: Arc<Template>, made_in: Duration) -> Fork {
        Fork { vm, template, made_in }
    }

    /// The template.
    pub fn template(&self) -> &Arc<Template> {
        &self.template
    }

    /// Memory that this fork shares with no other process, in KiB.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn private_kib(&self) -> Result<u64, Error> {
        self.vm
            .process()
            .private_kib()
            .map_err(|e| Error::io("read a QEMU process's memory use", e))
    }

    /// The id of the QEMU process.
    pub fn process_id(&self) -> u32 {
        self.vm.process().id()
    }

    /// Has every CPU of a `det` machine get its turn within `round` of guest time in the
    /// run to come, instead of [`DET_ROUND`]; zero leaves it to QEMU, which lets a CPU
    /// that computes keep its turn for milliseconds. Guests that idle cost less host
    /// time then: they are woken once a round.
    ///
    /// # Errors
    /// When the machine's memory is out of reach.
    ///
    /// [`DET_ROUND`]: crate::DET_ROUND
    pub fn set_round(&self, round: Duration) -> Result<(), Error> {
        if self.template.machine().mode() == Mode::Det {
            self.vm.channel().set_round(round)?;
        }
        Ok(())
    }

    /// Runs a request after which the process waits again, as a process may offer one
    /// that has the emulator translate what every run needs.
    ///
    /// # Errors
    /// When it does not come to wait again.
    pub fn warm_up(&mut self, request: &[u8]) -> Result<(), Error> {
        let started = Instant::now();
        self.vm.channel().set_request(request)?;
        self.vm.resume()?;
        let machine = self.template.machine();
        let waits = [State::Waiting];
        self.vm.reach(machine, "warming up a fork", &waits, Duration::from_secs(30))?;
        self.made_in += started.elapsed();
        Ok(())
    }

    /// Runs a request to its end and removes the machine. `hear` is called for all
    /// that the guest says, soon after it has been said; between the two logs the
    /// order is then not yet that of [`Run::said`].
    pub fn run(mut self, request: &[u8], watch: &Watch, mut hear: impl FnMut(&Said)) -> Run {
        let started = Instant::now();
        let mut listener = Listener::new(started);
        let stop = match self.run_to_stop(request, watch, started, &mut listener, &mut hear) {
            Ok(stop) => stop,
            // Its memory goes a moment before its process does.
            Err(Error::Channel(ChannelError::Memory(_))) => {
                let error = self.vm.died();
                self.failed(error)
            }
            Err(error) => self.failed(error),
        };
        let run = started.elapsed();
        let console = self.vm.process().console();
        listener.said.sort_by_key(|(source, said)| (said.time_ns, *source));
        Run {
            stop,
            said: listener.said.into_iter().map(|(_, said)| said).collect(),
            console,
            timings: Timings { fork: self.made_in, begun: listener.begun, run },
        }
    }

    fn run_to_stop(
        &mut self,
        request: &[u8],
        watch: &Watch,
        started: Instant,
        listener: &mut Listener,
        hear: &mut impl FnMut(&Said),
    ) -> Result<Stop, Error> {
        self.vm.channel().set_request(request)?;
        self.vm.resume()?;
        let deadline = started + watch.limit;
        loop {
            let cancelled = watch.cancelled.as_ref().is_some_and(|c| c.load(Ordering::Relaxed));
            if cancelled {
                return Ok(Stop::Cancelled);
            }
            let now = Instant::now();
            let pace = if now < started + HASTE { PACE_FIRST } else { PACE };
            let halt = self.vm.wait(deadline.min(now + PACE), pace, |vm| {
                listener.listen(vm, hear).map_err(Error::from)
            })?;
            listener.listen(&self.vm, hear)?;
            return Ok(match halt {
                Halt::StillRunning if Instant::now() < deadline => continue,
                Halt::StillRunning => Stop::Hung(self.vm.whereabouts()),
                Halt::Crashed => self.crashed(),
                Halt::ConsoleFull => Stop::ConsoleFull { limit_bytes: CONSOLE_LIMIT_BYTES },
                Halt::Frozen(State::Ended) => self.ended(listener)?,
                Halt::Frozen(state) => {
                    Stop::AgentLost(format!("the guest stopped in state {state:?}"))
                }
            });
        }
    }

    fn ended(&self, listener: &Listener) -> Result<Stop, Error> {
        if let Some(full) = listener.overflow(&self.vm)? {
            return Ok(full);
        }
        let found = listener.said.iter().find_map(|(_, said)| match said.code {
            Code::Ended => Ending::decode(&said.body).map(Stop::Ended),
            Code::Failed => Some(Stop::AgentFailed(String::from_utf8_lossy(&said.body).into())),
            _ => None,
        });
        // Killed for want of memory looks like any other SIGKILL to the agent.
        if let Some(Stop::Ended(Ending::Signaled(9))) = found
            && let Some(fault @ KernelFault::OutOfMemory(_)) = self.fault()
        {
            return Ok(Stop::Kernel(fault));
        }
        let silent = || Stop::AgentLost(String::from("it did not say how the process ended"));
        Ok(found.unwrap_or_else(silent))
    }

    fn failed(&self, error: Error) -> Stop {
        match error {
            Error::Channel(error) => Stop::ChannelBroken(chain(&error)),
            // It ends by itself when the guest resets the machine, as a kernel does that has panicked,
            // and may do so before anybody has read of it.
            Error::QemuDied { status, .. } if status == ExitStatus::default().to_string() => {
                self.crashed()
            }
            Error::QemuDied { status, stderr } => Stop::QemuDied { status, stderr },
            error => Stop::Failed(chain(&error)),
        }
    }

    fn crashed(&self) -> Stop {
        self.fault().map_or_else(
            || Stop::AgentLost(String::from("the machine was reset or switched off from inside")),
            Stop::Kernel,
        )
    }

    fn fault(&self) -> Option<KernelFault> {
        kernel_fault(&String::from_utf8_lossy(&self.vm.process().console()))
    }
}

/// Reads both logs as they grow.
struct Listener {
    agent: LogReader,
    process: LogReader,
    said: Vec<(u8, Said)>,
    started: Instant,
    begun: Option<Duration>,
}

impl Listener {
    fn new(started: Instant) -> Listener {
        let reader = |area: LogArea| LogReader::new(area);
        Listener {
            agent: reader(AGENT_LOG),
            process: reader(PROCESS_LOG),
            said: Vec::new(),
            started,
            begun: None,
        }
    }

    fn listen(&mut self, vm: &Vm, hear: &mut impl FnMut(&Said)) -> Result<(), ChannelError> {
        let Listener { agent, process, said, started, begun } = self;
        let mut sources = [(0, agent), (1, process)];
        for (source, reader) in &mut sources {
            reader.drain(vm.memory(), |frame: Frame<'_>| {
                if frame.code == Code::Begin {
                    begun.get_or_insert_with(|| started.elapsed());
                }
                let one =
                    Said { code: frame.code, time_ns: frame.time_ns, body: frame.body.to_vec() };
                hear(&one);
                said.push((*source, one));
            })?;
        }
        Ok(())
    }

    fn overflow(&self, vm: &Vm) -> Result<Option<Stop>, ChannelError> {
        for (log, reader) in [("output", &self.agent), ("events", &self.process)] {
            let dropped_bytes = reader.dropped(vm.memory())?;
            if dropped_bytes > 0 {
                let limit_bytes = reader.limit() as u64;
                return Ok(Some(Stop::ChannelFull { log, limit_bytes, dropped_bytes }));
            }
        }
        Ok(None)
    }
}
