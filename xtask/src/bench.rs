//! `cargo xtask bench`: figures, measured here and now.

use crate::program;
use anyhow::Result;

/// Runs the benchmark of machines, forks and suites, with its own arguments.
pub(crate) fn vm(arguments: &[&str]) -> Result<()> {
    let words = ["run", "-q", "-p", "bench-vm", "--"].into_iter().chain(arguments.iter().copied());
    program::run(&mut program::cargo(words))
}
