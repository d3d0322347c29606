//! `cargo belljar exec`: one program of this host in a virtual machine.

use crate::args::ExecArgs;
use crate::failure::{Exit, Failure, exit_of, explain};
use crate::interrupt;
use crate::machine::{CommandMachine, Request};
use crate::output::{Style, say};
use anyhow::Context;
use belljar::host::why_stopped;
use belljar_guest::channel::{Code, Ending};
use belljar_vm::{Run, Stop, Watch};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// How much longer than its guest time a command may take on the host.
const GRACE: Duration = Duration::from_secs(60);
/// A command without a limit gets a year.
const NO_LIMIT: Duration = Duration::from_secs(365 * 86400);

/// Runs the command, and ends as it did.
pub(crate) fn exec(args: &ExecArgs, style: Style) -> Exit {
    match run(args) {
        Ok(exit) => exit,
        Err(error) => {
            say(explain(&error, style).trim_end());
            // Whatever went wrong, it was not the command.
            match exit_of(&error) {
                Exit::Interrupted => Exit::Interrupted,
                _ => Exit::EXEC_FAILED,
            }
        }
    }
}

fn run(args: &ExecArgs) -> anyhow::Result<Exit> {
    let cancelled = interrupt::listen(|| (), || ())?;
    let mut words = Vec::new();
    for word in &args.command {
        let word = word.to_str().filter(|word| !word.contains('\0'));
        words.push(word.context("the command is not valid UTF-8")?.to_owned());
    }
    let limit = match args.timeout {
        None => None,
        Some(seconds) => Some(
            Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|limit| !limit.is_zero())
                .context("the time limit is no time")?,
        ),
    };
    let machine = CommandMachine::new(&args.machine, &words[..1], &cancelled)?;
    // In the guest programs lie on the PATH, wherever they lay here.
    if let Some(name) = Path::new(&words[0]).file_name().and_then(|name| name.to_str()) {
        words[0] = name.to_owned();
    }
    let limit_ns = limit.map_or(0, |limit| limit.as_nanos() as u64);
    let request = Request { limit_ns, terminal: None, words: &words }.encode();
    let watch = Watch {
        // In `det` a second of the guest takes several of the host.
        limit: limit.map_or(NO_LIMIT, |limit| limit.saturating_mul(20) + GRACE),
        cancelled: Some(cancelled),
    };
    let mut nobody_reads = Ok(());
    let run = machine.host.engine().fork(&machine.template)?.run(&request, &watch, |said| {
        let written = match said.code {
            Code::Stdout => write_all(io::stdout(), &said.body),
            Code::Stderr => write_all(io::stderr(), &said.body),
            _ => Ok(()),
        };
        if let (Err(error), Ok(()), Some(cancelled)) = (written, &nobody_reads, &watch.cancelled) {
            nobody_reads = Err(error);
            cancelled.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    });
    match nobody_reads {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Fine),
        Err(error) => Err(error).context("cannot write what the command says"),
        Ok(()) => ended(&run),
    }
}

fn write_all(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).and_then(|()| to.flush())
}

/// How the command ended, from the run of its machine.
pub(crate) fn ended(run: &Run) -> anyhow::Result<Exit> {
    match &run.stop {
        Stop::Ended(Ending::Exited(code)) => Ok(Exit::As(*code as u8)),
        Stop::Ended(Ending::Signaled(signal)) => {
            say(format_args!("belljar: signal {signal} ended the command"));
            Ok(Exit::As(128 | *signal as u8))
        }
        Stop::Ended(Ending::TimedOut) => {
            say("belljar: the command's time was over");
            Ok(Exit::TIME_OVER)
        }
        Stop::Cancelled => Ok(Exit::Interrupted),
        stop => {
            let why = why_stopped(stop, run.timings.run);
            let text = format!("the machine stopped before the command had ended: {why}");
            let console = String::from_utf8_lossy(&run.console);
            let lines: Vec<&str> = console.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            let mut failure = Failure::new(Exit::EXEC_FAILED, text);
            if let Stop::ChannelFull { .. } = stop {
                failure =
                    failure.hint("have the command write to a file, and print what counts of it");
            }
            if !tail.is_empty() {
                failure = failure.source(format!("the end of its console:\n{tail}"));
            }
            Err(failure.into())
        }
    }
}
