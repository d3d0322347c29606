//! `cargo belljar shell`: a terminal on a virtual machine.

use crate::args::ShellArgs;
use crate::exec::ended;
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::machine::{CommandMachine, Request};
use crate::output::say;
use anyhow::Context;
use belljar_vm::Watch;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Shells, the best first.
const SHELLS: [&str; 3] = ["bash", "dash", "sh"];
/// What people reach for, of which what this host has is taken along.
const TOOLS: &str = "sh ls cat cp mv rm mkdir rmdir ln touch chmod chown head tail wc sort uniq tr \
    cut tee echo printf env date sleep seq find xargs grep sed awk less more vi ps top kill pgrep \
    free uptime uname hostname id mount umount df du stat readlink dmesg sysctl lscpu nproc lsmod \
    taskset chrt nice ip ss unshare nsenter bpftool strace perf";
/// A shell may stay for a year.
const NO_LIMIT: Duration = Duration::from_secs(365 * 86400);

/// Runs a shell until it ends.
pub(crate) fn shell(args: &ShellArgs) -> anyhow::Result<Exit> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "a shell needs a terminal on both sides")
            .hint("for one command: cargo belljar exec --tools ls -- sh -c 'ls /proc'")
            .into());
    }
    let shell = SHELLS.iter().find(|shell| on_path(shell).is_some());
    let shell = (*shell.context("this host has no shell to take along")?).to_owned();
    let mut programs = vec![shell.clone()];
    let known = TOOLS.split_whitespace().filter(|tool| on_path(tool).is_some());
    programs.extend(known.map(str::to_owned));
    programs.dedup();
    let cancelled = interrupt::listen(|| (), restore_terminal)?;
    let machine = CommandMachine::new(&args.machine, &programs, &cancelled)?;
    say(format_args!("{}; leave with `exit`", machine.template.machine().describe()));
    let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let fork = machine.host.engine().fork_with_terminal(&machine.template, Some(theirs.into()))?;
    let size = tcgetwinsize(io::stdin()).context("cannot ask the terminal for its size")?;
    let terminal = (size.ws_row.max(2), size.ws_col.max(20));
    let words = [shell, String::from("-i")];
    let request = Request { limit_ns: 0, terminal: Some(terminal), words: &words }.encode();
    let watch = Watch { limit: NO_LIMIT, cancelled: Some(cancelled) };

    let raw = RawTerminal::enter()?;
    let to_guest = ours.try_clone().context("cannot copy a socket")?;
    // Blocked in a read it is left behind when the command ends.
    thread::spawn(move || copy(io::stdin(), to_guest));
    let output = thread::spawn(move || copy(ours, io::stdout()));
    let run = fork.run(&request, &watch, |_| ());
    // The machine is gone, and with it the other end of the socket.
    let _ = output.join();
    drop(raw);
    match ended(&run)? {
        Exit::Interrupted => Ok(Exit::Interrupted),
        // How the last command of a session ended is nobody's business.
        _ => Ok(Exit::Fine),
    }
}

/// Copies until either side ends.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            break;
        }
    }
}

/// The program of that name on the PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(extra).map(|directory| directory.join(name));
    { found }.find(|program: &PathBuf| Path::is_file(program))
}

/// What the terminal was like before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal that hands over every key as it is. It is as before when this is dropped.
struct RawTerminal;

impl RawTerminal {
    fn enter() -> anyhow::Result<RawTerminal> {
        let before = tcgetattr(io::stdin()).context("cannot ask the terminal for its settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = RawTerminal;
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("cannot set the terminal")?;
        Ok(guard)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

fn restore_terminal() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // The terminal may be gone, and then there is nothing to restore.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}
