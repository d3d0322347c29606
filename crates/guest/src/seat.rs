//! The test process's place on the channel.

use crate::channel::{Code, State};
use crate::region::{Log, Region};
use crate::sys;
use std::env;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The environment variable by which the agent tells a process that it runs in a
/// guest: the descriptor of the timer that the agent waits for.
const TIMER: &str = "BELLJAR_TIMER_FD";

/// The test process's place on the channel: where its request comes from and what
/// it says goes to. There is one in a process.
#[derive(Debug)]
pub struct Seat {
    region: &'static Region,
    log: Mutex<Log>,
    timer: File,
    urandom: File,
}

/// The channel could not be reached from within a guest.
#[derive(Debug)]
pub struct SeatError(io::Error);

impl fmt::Display for SeatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map the belljar channel from /dev/mem: {}", self.0)
    }
}

impl std::error::Error for SeatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Seat {
    /// Takes the seat, when this process was started by the agent for it; `None`
    /// on a host, and in the children of a test process.
    ///
    /// # Errors
    /// When the channel's memory cannot be mapped.
    pub fn take() -> Result<Option<Seat>, SeatError> {
        let Some(fd) = env::var(TIMER).ok().and_then(|fd| fd.parse().ok()) else {
            return Ok(None);
        };
        static REGION: OnceLock<Region> = OnceLock::new();
        let mapped = Region::map().map_err(SeatError)?;
        if REGION.set(mapped).is_err() {
            return Ok(None);
        }
        let region = REGION.get().expect("it has just been set");
        // SAFETY: only one caller per process gets here, still single-threaded.
        unsafe { env::remove_var(TIMER) };
        // SAFETY: the agent opened the descriptor for this process; nothing else owns it.
        let timer = unsafe { File::from_raw_fd(fd) };
        sys::close_on_exec(timer.as_raw_fd()).map_err(SeatError)?;
        // Now, so that a fork need not: the pages of the code, the page that the clock is read
        // from, the path.
        sys::map_code();
        let _ = sys::monotonic_ns();
        let urandom = File::options().write(true).open("/dev/urandom").map_err(SeatError)?;
        Ok(Some(Seat { region, log: Mutex::new(region.process_log()), timer, urandom }))
    }

    /// Tells the host that the process waits, and returns the request once there is
    /// one. The machine is frozen in between; a template may be taken of it.
    pub fn wait(&self) -> Vec<u8> {
        self.region.freeze_at_rest(State::Waiting);
        self.region.request()
    }

    /// [`Seat::wait`] once more, in a machine that is not `det`: no template is made of it now, so
    /// it may be frozen whatever its other CPUs are at.
    pub fn wait_again(&self) -> Vec<u8> {
        self.region.freeze(State::Waiting);
        self.region.request()
    }

    /// Has the agent end the run when the process is still at it after `limit` of guest
    /// time, counted from now. Nobody is woken for this.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit(&self, limit: Duration) -> io::Result<()> {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        sys::set_timer(self.timer.as_raw_fd(), limit_ns)
    }

    /// Tells the agent that the process has said all that it has to say. The machine is
    /// gone before anything that comes after could matter.
    pub fn done(&self) -> ! {
        self.region.set_done();
        if sys::set_timer(self.timer.as_raw_fd(), 1).is_err() {
            std::process::exit(0);
        }
        loop {
            std::thread::park();
        }
    }

    /// Lets the rounds in which CPUs that share a thread of the host get their turns take
    /// at least `round` of guest time from now on; zero for what the host has chosen. Each
    /// round costs host time, and what gives its turns up by itself needs no short ones.
    pub fn set_round_at_least(&self, round: Duration) {
        self.region.set_round_at_least(u32::try_from(round.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Says that the body begins.
    pub fn begin(&self) {
        self.append(Code::Begin, &[]);
    }

    /// Appends an event, in JSON, to the process's log.
    pub fn say(&self, event: &str) {
        self.append(Code::Event, event.as_bytes());
    }

    fn append(&self, code: Code, body: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(code, body);
    }

    /// Sets the guest's wall clock, which stood still since its template was made.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_wall_clock(&self, since_epoch: Duration) -> io::Result<()> {
        sys::set_wall_clock(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Makes the kernel's random numbers depend on `seed`: forks of one template
    /// would otherwise all draw the same ones.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn seed_random(&self, seed: u64) -> io::Result<()> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        sys::seed_random(&self.urandom, bytes)
    }
}
