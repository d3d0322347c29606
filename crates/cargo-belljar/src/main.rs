//! `cargo belljar`: Rust tests on real Linux kernels, from the command line.
//!
//! Tests need nothing of this: plain `cargo test` runs them. This runs them with
//! progress, chooses kernels, modes and seeds, replays records, and looks after what is
//! cached. `cargo belljar --help` tells more.
//!
//! # Exit codes
//!
//! | code | means |
//! | --- | --- |
//! | 0 | fine: all tests passed or were skipped; the replay was identical |
//! | 1 | an internal failure that nobody expected |
//! | 2 | wrong usage |
//! | 3 | set-up is missing: no QEMU, no kernel, no place for caches or runs |
//! | 4 | no test matched |
//! | 5 | a replay differs from its record |
//! | 6 | a benchmark is published, and misses a limit |
//! | 100 | tests failed, or came to no answer; a benchmark is not published |
//! | 101 | the build failed |
//! | 124, 125 | `exec`: its time was over; belljar itself failed |
//! | 130 | interrupted |
//!
//! That nobody reads standard output any more is no failure. Standard output is data;
//! text for people goes to standard error.
//!
//! # Map
//!
//! | modules | hold |
//! | --- | --- |
//! | `args`, `failure`, `output` | the command line, exit codes and errors, the two outputs |
//! | `build`, `suite`, `filter` | from cargo to the tests to run |
//! | `run`, `queue`, `interrupt` | running them: what, in which order, and how it is called off |
//! | `event`, `progress`, `report` | what happens, for people, as JSON lines and as JUnit |
//! | `select` | what would run, and what fits into a budget |
//! | `show` | a test, shown without being run |
//! | `replay` | records run again |
//! | `machine`, `exec`, `shell` | a machine without a test |
//! | `bench` | benchmarks, which need no machine |
//! | `doctor`, `kernel`, `template`, `cache` | what a machine is made of |
//!
//! This crate knows nothing that a test could depend on: whatever a test needs is in
//! `belljar`, and nothing depends on this.

mod args;
mod bench;
mod build;
mod cache;
mod doctor;
mod event;
mod exec;
mod failure;
mod filter;
mod interrupt;
mod kernel;
mod machine;
mod output;
mod progress;
mod queue;
mod replay;
mod report;
mod run;
mod select;
mod shell;
mod show;
mod suite;
mod template;

use args::{CacheCommand, Cli, Command};
use clap::{CommandFactory, Parser};
use failure::Exit;
use output::Style;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    let style = Style::of(cli.color);
    let exit = match execute(cli.command, style) {
        Ok(exit) => exit,
        Err(error) if failure::is_broken_pipe(&error) => Exit::Fine,
        Err(error) => {
            output::say(failure::explain(&error, style).trim_end());
            failure::exit_of(&error)
        }
    };
    ExitCode::from(exit.code())
}

/// The arguments without the word `belljar`, which cargo puts first when it was called
/// as `cargo belljar`.
fn arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).is_some_and(|word| word == "belljar") {
        arguments.remove(1);
    }
    arguments
}

fn execute(command: Command, style: Style) -> anyhow::Result<Exit> {
    match command {
        Command::Test(args) => run::test(&args, style),
        Command::Show(args) => show::show(&args),
        Command::Replay(args) => replay::replay(&args, style),
        Command::Exec(args) => Ok(exec::exec(&args, style)),
        Command::Shell(args) => shell::shell(&args),
        Command::Bench(command) => bench::bench(&command, style),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Template(command) => template::template(&command),
        Command::Cache { command } => cache::cache(&command.unwrap_or(CacheCommand::Size)),
        Command::Kernel(command) => kernel::kernel(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cargo-belljar", &mut script);
            output::data(String::from_utf8_lossy(&script).trim_end())?;
            Ok(Exit::Fine)
        }
    }
}
