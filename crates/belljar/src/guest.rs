//! The test process: takes its request and runs one body.
//!
//! A test binary has a `main` that it cannot change, so what must happen before the
//! test harness starts happens in an initialiser that the loader calls: in a guest it
//! takes the seat and never returns, and for the command it lists the binary's tests.
//! On a host it does nothing.

use crate::case::{self, CASES};
use crate::ctx::Ctx;
use crate::error::Ended;
use crate::message::{Event, Outcome, Request};
use crate::{play, show};
use belljar_guest::Seat;
use belljar_record::Place;
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, io, process, thread};

/// The environment variable with which the command asks a binary for its tests. The
/// answer is a line that starts with [`LIST_MARK`].
pub(crate) const LIST: &str = "BELLJAR_LIST_TESTS";
/// What the line with the tests starts with.
pub(crate) const LIST_MARK: &str = "belljar-tests: ";

/// The environment variable with which the command asks a binary to show a test, by its name. The
/// answer is a line that starts with [`SHOW_MARK`].
pub(crate) const SHOW: &str = "BELLJAR_SHOW_TEST";
/// What the line with the test starts with.
pub(crate) const SHOW_MARK: &str = "belljar-shows: ";

/// Called by the loader before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTER: extern "C" fn() = enter;

extern "C" fn enter() {
    match Seat::take() {
        Ok(Some(seat)) => serve(seat),
        Ok(None) => {}
        Err(error) => {
            eprintln!("belljar: {error}");
            process::exit(70);
        }
    }
    if let Ok(name) = env::var(SHOW) {
        let shown =
            show::show(&name).map(|shown| serde_json::to_string(&shown).unwrap_or_default());
        let _ = match shown {
            Ok(json) => writeln!(io::stdout(), "{SHOW_MARK}{json}"),
            Err(error) => writeln!(io::stderr(), "{error}"),
        };
        process::exit(0);
    }
    if env::var_os(LIST).is_some() {
        let specs = serde_json::to_string(&case::specs()).unwrap_or_default();
        let _ = writeln!(io::stdout(), "{LIST_MARK}{specs}");
        process::exit(0);
    }
}

thread_local! {
    /// The message and the place of this thread's last panic: what another thread has to
    /// complain about while the body unwinds is not why the test failed.
    static PANIC: RefCell<Option<(String, Option<Place>)>> = const { RefCell::new(None) };
}

/// The test that runs in this process.
static TEST: OnceLock<&str> = OnceLock::new();

fn serve(seat: Seat) -> ! {
    catch_panics();
    rehearse();
    let ready = play::attach_for_template(&CASES);
    let mut bytes = seat.wait();
    let (request, case) = loop {
        let Some(request) = Request::decode(&bytes) else {
            give_up(format_args!("the host's request makes no sense"));
        };
        if let Err(error) = prepare(&seat, &request) {
            give_up(format_args!("cannot prepare the guest: {error}"));
        }
        if request == Request::warm_up() {
            // The emulator has translated the way here; now that of a tick and a wake-up.
            rehearse();
            thread::sleep(Duration::from_millis(6));
            bytes = seat.wait_again();
            continue;
        }
        match CASES.iter().find(|case| case.test() == request.test) {
            Some(case) => break (request, case),
            None => give_up(format_args!("this binary has no test `{}`", request.test)),
        }
    };
    TEST.get_or_init(|| case.test());
    let ctx = Ctx::new(seat, request, case);
    let attached = ctx.have_scheduler(ready);
    ctx.begin();
    let ended = attached.map(|()| caught(|| (case.body)(&ctx)));
    ctx.leave_scheduler();
    let outcome = match ended.unwrap_or_else(Ok) {
        Ok(Ended::Passed) => Outcome::Passed,
        Ok(Ended::Failed { message, chain }) => {
            ctx.verdict().unwrap_or(Outcome::Failed { message, chain })
        }
        Err(payload) => {
            let seen = PANIC.take();
            let (message, at) = seen.unwrap_or_else(|| (payload_text(&*payload), None));
            Outcome::Panicked { message, at }
        }
    };
    let _ = io::stdout().flush();
    ctx.say(&Event::Outcome(outcome));
    ctx.done();
}

/// Runs a body on this thread: another one would have to be started, and found a CPU
/// for, by a kernel that does so for the first time since the fork.
fn caught<T>(body: impl FnOnce() -> T) -> thread::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(body))
}

/// What a request asks of the guest before the body.
fn prepare(seat: &Seat, request: &Request) -> io::Result<()> {
    seat.limit(Duration::from_nanos(request.timeout_ns))?;
    seat.seed_random(request.seed)?;
    match request.wall_clock_ns {
        Some(now) => seat.set_wall_clock(Duration::from_nanos(now)),
        None => Ok(()),
    }
}

fn catch_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let message = payload_text(info.payload());
        let place = info.location().map(Place::from);
        match (thread::current().name(), TEST.get()) {
            // The body runs before `main`, on a thread that has no name yet.
            (None, Some(test)) => {
                let place = place.as_ref().map(Place::to_string).unwrap_or_default();
                eprintln!("\nthread '{test}' panicked at {place}:\n{message}");
            }
            _ => usual(info),
        }
        PANIC.set(Some((message, place)));
    }));
}

/// Goes the way of a run once before the template is taken of this process, so that
/// every fork finds the memory for it in place.
fn rehearse() {
    let request = Request::warm_up();
    let read = Request::decode(&request.encode()) == Some(request);
    let found = CASES.iter().any(|case| case.test() == "rehearsal");
    let said = caught(|| serde_json::to_string(&Event::Outcome(Outcome::Passed)).is_ok());
    black_box((read, found, said.is_ok()));
}

fn give_up(why: fmt::Arguments<'_>) -> ! {
    eprintln!("belljar: {why}");
    process::exit(70);
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("a panic without a message"))
}
