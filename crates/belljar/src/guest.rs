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
use belljar_guest::Seat;
use belljar_record::Place;
use std::any::Any;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, io, process, thread};

/// The environment variable with which the command asks a binary for its tests. The
/// answer is a line that starts with [`LIST_MARK`].
pub(crate) const LIST: &str = "BELLJAR_LIST_TESTS";
/// What the line with the tests starts with.
pub(crate) const LIST_MARK: &str = "belljar-tests: ";

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
    if env::var_os(LIST).is_some() {
        let specs = serde_json::to_string(&case::specs()).unwrap_or_default();
        let _ = writeln!(io::stdout(), "{LIST_MARK}{specs}");
        process::exit(0);
    }
}

/// The message and the place of the last panic.
static PANIC: Mutex<Option<(String, Option<Place>)>> = Mutex::new(None);

fn serve(seat: Seat) -> ! {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let message = payload_text(info.payload());
        let place = info.location().map(Place::from);
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some((message, place));
        usual(info);
    }));
    let bytes = seat.wait();
    let request: Request = match serde_json::from_slice(&bytes) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("belljar: the host's request cannot be read: {error}");
            process::exit(70);
        }
    };
    let prepared = seat
        .limit(Duration::from_nanos(request.timeout_ns))
        .and_then(|()| seat.seed_random(request.seed))
        .and_then(|()| match request.wall_clock_ns {
            Some(now) => seat.set_wall_clock(Duration::from_nanos(now)),
            None => Ok(()),
        });
    if let Err(error) = prepared {
        eprintln!("belljar: cannot prepare the guest: {error}");
        process::exit(70);
    }
    let Some(case) = CASES.iter().find(|case| case.test() == request.test) else {
        eprintln!("belljar: this binary has no test `{}`", request.test);
        process::exit(70);
    };
    let ctx = Ctx::new(seat, request);
    ctx.say(&Event::Begin);
    // On a thread of its own, with the test's name, as the test harness does it.
    let ended = thread::scope(|scope| {
        let body = || panic::catch_unwind(AssertUnwindSafe(|| (case.body)(&ctx)));
        let thread = thread::Builder::new().name(case.test().to_owned()).spawn_scoped(scope, body);
        thread.map(|thread| thread.join().unwrap_or_else(Err))
    });
    let outcome = match ended {
        Ok(Ok(Ended::Passed)) => Outcome::Passed,
        Ok(Ok(Ended::Failed { message, chain })) => {
            ctx.verdict().unwrap_or(Outcome::Failed { message, chain })
        }
        Ok(Err(payload)) => {
            let seen = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (message, at) = seen.unwrap_or_else(|| (payload_text(&*payload), None));
            Outcome::Panicked { message, at }
        }
        Err(error) => {
            let message = format!("no thread could be started for the body: {error}");
            Outcome::Failed { message, chain: Vec::new() }
        }
    };
    let code = i32::from(matches!(outcome, Outcome::Failed { .. } | Outcome::Panicked { .. }));
    ctx.say(&Event::Outcome(outcome));
    process::exit(code);
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("a panic without a message"))
}
