//! `cargo xtask bench`: figures, measured here and now.

use crate::program;
use anyhow::Result;

/// Runs `bench-vm`, of machines, forks and suites, or `bench-scenario`, of scenarios and schedulers,
/// with their own arguments.
pub(crate) fn machines(program: &str, arguments: &[&str]) -> Result<()> {
    let words = ["run", "-q", "-p", "bench-vm", "--bin", program, "--"]
        .into_iter()
        .chain(arguments.iter().copied());
    program::run(&mut program::cargo(words))
}

/// Runs the benchmark of calls between processes, with its own arguments.
pub(crate) fn ipc(arguments: &[&str]) -> Result<()> {
    let words = ["run", "-q", "--release", "-p", "bench-ipc", "--"].into_iter();
    program::run(&mut program::cargo(words.chain(arguments.iter().copied())))
}
