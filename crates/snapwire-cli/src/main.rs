//! `snapwire`: local services, from the command line. `snapwire --help` tells more.
//!
//! # Exit codes
//!
//! | code | means |
//! | --- | --- |
//! | 0 | done |
//! | 1 | something that no other code stands for |
//! | 2 | wrong usage |
//! | 3 | nobody serves there |
//! | 4 | refused, by the server or by the system |
//! | 5 | no answer in time |
//! | 6 | the peer broke the protocol, or is gone |
//! | 7 | `doctor` found something to do |
//! | 130 | `bench` was interrupted |
//!
//! Standard output is data, for people or with `--json` for programs; what went wrong goes to
//! standard error. That nobody reads standard output any more is no failure. In JSON what is not
//! UTF-8 is `{"bytes": "61ff"}` (`output::Raw`).
//!
//! # Map
//!
//! | modules | hold |
//! | --- | --- |
//! | `args`, `failure`, `output` | the command line, exit codes and errors, tables |
//! | `probe` | one look at a socket: whether somebody serves there, who, and how |
//! | `run_dir` | what is in a run directory |
//! | `ls`, `doctor` | showing it, and what is wrong with it |
//! | `target` | a connected client, from arguments |
//! | `call`, `answer`, `watch` | calls and their answers |
//! | `signals` | being asked to end |
//! | `bench`, `load`, `cpu` | rates and latencies |
//!
//! Nothing depends on this crate, and it knows no crate of the workspace but `snapwire`.
#![forbid(unsafe_code)]

mod answer;
mod args;
mod bench;
mod call;
mod cpu;
mod doctor;
mod failure;
mod load;
mod ls;
mod output;
mod probe;
mod run_dir;
mod signals;
mod target;
mod watch;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use failure::{Exit, Failure};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => execute(&cli.command),
        Err(error) => usage(&error),
    };
    let exit = exit.unwrap_or_else(|failure| {
        if !failure.is_broken_pipe() {
            // That nobody reads it either is no reason to do otherwise.
            let _ = writeln!(std::io::stderr().lock(), "{failure}");
        }
        failure.exit()
    });
    ExitCode::from(exit as u8)
}

/// Prints help, or what is wrong with the command line.
fn usage(error: &clap::Error) -> Result<Exit, Failure> {
    if !error.use_stderr() {
        error.print()?;
        std::io::stdout().lock().flush()?;
        return Ok(Exit::Done);
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        // It does not say which.
        let wrong: Vec<String> = std::env::args_os()
            .filter(|argument| argument.to_str().is_none())
            .map(|argument| format!("`{}`", argument.as_bytes().escape_ascii()))
            .collect();
        let message = format!("not UTF-8, where that is needed: {}", wrong.join(", "));
        let hint = "only paths and texts may be other bytes: write it anew";
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    // That nobody reads it either is no reason to do otherwise.
    let _ = error.print();
    Ok(Exit::Usage)
}

fn execute(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Ls(args) => ls::ls(args),
        Command::Call(args) => call::call(args),
        Command::Watch(args) => watch::watch(args),
        Command::Bench(args) => bench::bench(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Serve(args) => bench::serve(args),
    }
}
