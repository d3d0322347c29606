//! Signals that ask the command to end.

use crate::failure::{Exit, Failure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use snapwire::AbortHandle;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot wait for signals: {error}"))
}

/// From now on they do not end the process; they are kept for [`interruption`].
pub(crate) fn catch() -> Result<Signals, Failure> {
    Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)
}

/// Gets a message when somebody wants the command to end, and calls off what is waited for.
pub(crate) fn interruption(
    mut signals: Signals,
    abort: AbortHandle,
) -> Result<Receiver<()>, Failure> {
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        for _ in &mut signals {
            abort.abort();
            if sender.send(()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(receiver)
}
