//! `cargo xtask`: the chores of this repository.

mod apt;
mod bench;
mod check;
mod demo;
mod fuzz;
mod program;
mod qemu;
mod say;
mod setup;
mod sources;
mod tally;
mod test;

use anyhow::Result;
use setup::Scope;
use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  setup [--check]            install what this machine lacks, and fetch a kernel; with --check
                                 only say what it lacks
  demo                       set up, then run the tests of examples/quickstart in virtual machines
  test [--no-vm] [-- ARGS]   set up, then run all tests, or those that ARGS choose as for
                                 `cargo nextest list` or `cargo test`
  bench vm [--json]          the figures of docs/performance.md; `bench vm --help` has more
  bench scenario [--json]    those of scenarios and schedulers
  bench ipc [--json]         those of docs/snapwire-performance.md; `bench ipc --help` has more
  fuzz [TARGET] [--seconds N]
                             all targets of fuzz/, or one, for so long each; 60 seconds by default
  check                      format, lints and documentation

Exit codes: 0 fine, 1 something failed, 2 wrong usage, 3 root has to install something first.";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let fine = |()| true;
    let result = match words.as_slice() {
        ["setup"] => set_up().map(fine),
        ["setup", "--check"] => setup::packages(Scope::Machines, true).map(fine),
        // What set-up asks root to run.
        ["setup", "--packages"] => setup::packages(Scope::Machines, false).map(fine),
        ["demo"] => demo::demo().map(fine),
        ["test"] => test::test(false, &[]),
        ["test", "--", args @ ..] => test::test(false, args),
        ["test", "--no-vm"] => test::test(true, &[]),
        ["test", "--no-vm", "--", args @ ..] => test::test(true, args),
        ["bench", "vm", args @ ..] => bench::machines("bench-vm", args).map(fine),
        ["bench", "scenario", args @ ..] => bench::machines("bench-scenario", args).map(fine),
        ["bench", "ipc", args @ ..] => bench::ipc(args).map(fine),
        ["fuzz", args @ ..] => match fuzz::Wish::parse(args) {
            Ok(wish) => fuzz::fuzz(&wish).map(fine),
            Err(error) => return wrong(&format!("{error:#}")),
        },
        ["check"] => check::check().map(fine),
        ["help" | "--help" | "-h"] => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [] => return wrong("a command is missing"),
        words => return wrong(&format!("`{}` makes no sense", words.join(" "))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n{} {error:#}", say::bold("xtask:"));
            ExitCode::from(if error.is::<setup::Missing>() { 3 } else { 1 })
        }
    }
}

fn wrong(what: &str) -> ExitCode {
    eprintln!("xtask: {what}\n\n{USAGE}");
    ExitCode::from(2)
}

fn set_up() -> Result<()> {
    say::heading("System packages");
    setup::packages(Scope::Machines, false)?;
    say::heading("Kernel");
    setup::kernel()
}
