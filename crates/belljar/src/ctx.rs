//! What a body is given.

use crate::case::Case;
use crate::error::{Error, Result};
use crate::message::{Event, Outcome, Request};
use crate::play;
use crate::scheduler::Scheduler;
use crate::view::View;
use belljar_guest::Seat;
use belljar_record::Polarity;
use belljar_stage::Attached;
use belljar_topology::Topology;
use fastrand::Rng;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

/// What a body is given: the machine that it runs in, and a way to say what it found.
///
/// ```
/// use belljar::{Ctx, Polarity, Result};
///
/// #[belljar::test(tools = ["sleep"])]
/// fn a_short_sleep(ctx: &Ctx) -> Result {
///     let before = ctx.now();
///     ctx.phase("sleep", || ctx.run("sleep", &["0.01"]))?;
///     let took = ctx.now() - before;
///     ctx.metric("sleep", took.as_secs_f64() * 1e3, "ms", Polarity::Lower);
///     if ctx.rng().bool() {
///         ctx.note("heads, with this seed");
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Ctx {
    seat: Seat,
    request: Request,
    scratch: OnceLock<PathBuf>,
    rng: Mutex<Rng>,
    verdict: Mutex<Option<Outcome>>,
    case: &'static Case,
    attached: Mutex<Option<Attached>>,
}

impl Ctx {
    pub(crate) fn new(seat: Seat, request: Request, case: &'static Case) -> Ctx {
        let rng = Mutex::new(Rng::with_seed(request.seed));
        let (scratch, verdict) = (OnceLock::new(), Mutex::default());
        Ctx { seat, request, scratch, rng, verdict, case, attached: Mutex::default() }
    }

    /// What the attribute left behind.
    pub(crate) fn case(&self) -> &'static Case {
        self.case
    }

    /// How many steps of a declared scenario to play, if not all.
    pub(crate) fn steps(&self) -> Option<usize> {
        usize::try_from(self.request.steps).ok().filter(|steps| *steps > 0)
    }

    /// The scheduler under test, if there is one.
    pub(crate) fn scheduler(&self) -> Option<&'static Scheduler> {
        play::scheduler_of(self.case, &self.request.scheduler)
    }

    /// The scheduler under test, as long as it is attached.
    pub(crate) fn attached(&self) -> MutexGuard<'_, Option<Attached>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine as the guest sees it, read from sysfs now.
    ///
    /// # Errors
    /// When sysfs cannot be read or makes no sense.
    pub fn topology(&self) -> Result<View> {
        Ok(View::of_system()?)
    }

    /// The machine as it was declared.
    ///
    /// # Panics
    /// Never: the host built the machine from it.
    pub fn declared(&self) -> Topology {
        self.request.topology.parse().expect("the host built the machine from it")
    }

    /// The mode that the machine runs in: `kvm`, `tcg` or `det`.
    pub fn mode(&self) -> &str {
        &self.request.mode
    }

    /// Guest time since the kernel was booted. In `det` it counts instructions, and a
    /// run reads the same times whenever it is repeated.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(belljar_guest::monotonic_ns())
    }

    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.request.seed
    }

    /// Random numbers that follow from the seed; each call gives a stream of its own.
    pub fn rng(&self) -> Rng {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Reports a figure: its name, its value in `unit` (as in `ns`, `bytes` or `1/s`;
    /// empty for a plain count), and in which direction it gets better.
    pub fn metric(&self, name: &str, value: f64, unit: &str, polarity: Polarity) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.say(&Event::Metric { name, value, unit, polarity });
    }

    /// Reports something for whoever reads the record.
    pub fn note(&self, text: impl fmt::Display) {
        self.say(&Event::Note { text: text.to_string() });
    }

    /// Runs a part of the body under a name; the record says when it began and ended.
    pub fn phase<T>(&self, name: &str, body: impl FnOnce() -> T) -> T {
        let _phase = self.begin_phase(name);
        body()
    }

    /// Begins a part of the body that lasts until the value is dropped.
    #[must_use = "the phase ends when this is dropped"]
    pub fn begin_phase(&self, name: &str) -> Phase<'_> {
        self.say(&Event::PhaseBegin { name: name.to_owned() });
        Phase { ctx: self, name: name.to_owned() }
    }

    /// Runs a program to its end and returns what it wrote. Programs come into the
    /// machine with `tools = [...]`.
    ///
    /// # Errors
    /// When it cannot be started or does not exit with 0; the error has what it wrote
    /// to its standard error.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let shown = || format!("`{program} {}`", arguments.join(" ")).replace(" `", "`");
        let output = Command::new(program).args(arguments).output().map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "; programs of the host come along with `tools = [...]`",
                _ => "",
            };
            Error::new(format!("cannot start {}: {error}{hint}", shown()))
        });
        let output = output?;
        if output.status.success() {
            return Ok(output);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("{} ended with {}: {}", shown(), output.status, stderr.trim())))
    }

    /// Ends the test as skipped: `return ctx.skip("no such device")`, or with `?`.
    ///
    /// # Errors
    /// Always: that is how it ends the body.
    pub fn skip<T>(&self, why: impl fmt::Display) -> Result<T> {
        self.end(Outcome::Skipped { why: why.to_string() }, "skipped")
    }

    /// Ends the test without a verdict, as when what it measured cannot be judged.
    ///
    /// # Errors
    /// Always: that is how it ends the body.
    pub fn inconclusive<T>(&self, why: impl fmt::Display) -> Result<T> {
        self.end(Outcome::Inconclusive { why: why.to_string() }, "inconclusive")
    }

    /// An empty directory in the guest's memory, for this run alone.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn scratch(&self) -> &Path {
        self.scratch.get_or_init(|| {
            let path = PathBuf::from("/tmp/scratch");
            fs::create_dir_all(&path).expect("the guest's /tmp takes a directory");
            path
        })
    }

    /// See [`Seat::set_round_at_least`].
    pub(crate) fn set_round_at_least(&self, round: Duration) {
        self.seat.set_round_at_least(round);
    }

    pub(crate) fn say(&self, event: &Event) {
        let text = serde_json::to_string(event).expect("an event has no maps with odd keys");
        self.seat.say(&text);
    }

    /// Says that the body begins.
    pub(crate) fn begin(&self) {
        self.seat.begin();
    }

    /// Ends the process's part; see [`Seat::done`].
    pub(crate) fn done(&self) -> ! {
        self.seat.done()
    }

    /// What the body has decided by [`Ctx::skip`] or [`Ctx::inconclusive`].
    pub(crate) fn verdict(&self) -> Option<Outcome> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end<T>(&self, outcome: Outcome, word: &str) -> Result<T> {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        Err(Error::new(word))
    }
}

/// A part of a body; it ends when this is dropped.
#[derive(Debug)]
pub struct Phase<'a> {
    ctx: &'a Ctx,
    name: String,
}

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        self.ctx.say(&Event::PhaseEnd { name: std::mem::take(&mut self.name) });
    }
}
