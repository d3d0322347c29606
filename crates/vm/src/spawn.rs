//! Starting processes that die with this one.
//!
//! The kernel ends such a child when the *thread* that started it ends. A test
//! runs on a thread of its own that is gone before the next, so every QEMU is
//! started from one thread that lives as long as the process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Answer = Sender<io::Result<Child>>;

/// Starts `command` from the thread that lives as long as this process.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<(Command, Answer)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (requests, inbox) = channel::<(Command, Answer)>();
        let start = move || {
            for (mut command, answer) in inbox {
                // Nobody waits for the answer any more: the child is killed.
                if let Err(unwanted) = answer.send(command.spawn())
                    && let Ok(mut child) = unwanted.0
                {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        };
        thread::Builder::new()
            .name("belljar-starter".into())
            .spawn(start)
            .expect("a process can start its first thread");
        requests
    });
    let (answer, started) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}
