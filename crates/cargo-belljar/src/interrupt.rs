//! SIGINT, SIGTERM and SIGHUP: the first ends what runs in good order, the second at once.

use crate::failure::Exit;
use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Listens for signals from here on. The first sets the flag that this gives and calls
/// `first`; the second calls `last` and ends the process, with which the kernel ends
/// every QEMU that it started.
pub(crate) fn listen(
    first: impl Fn() + Send + 'static,
    last: impl Fn() + Send + 'static,
) -> anyhow::Result<Arc<AtomicBool>> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in &mut signals {
                if flag.swap(true, Ordering::SeqCst) {
                    last();
                    std::process::exit(Exit::Interrupted.code().into());
                }
                first();
            }
        })
        .context("cannot start a thread")?;
    Ok(cancelled)
}
