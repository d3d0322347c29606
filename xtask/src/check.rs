//! Format, lints and documentation.

use crate::program::{cargo, run, succeeds};
use crate::say;
use crate::setup::{self, Scope};
use anyhow::{Result, bail};
use std::time::Instant;

pub(crate) fn check() -> Result<()> {
    // Lints compile everything, and some of it is C.
    say::heading("Set-up");
    setup::packages(Scope::Build, false)?;
    let steps: [(&str, &[&str]); 4] = [
        // The fuzz targets have a workspace of their own, whose lock file is forgotten easily.
        ("fetch", &["--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml"]),
        ("fmt", &["--all", "--check"]),
        ("clippy", &["--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        ("doc", &["--quiet", "--workspace", "--no-deps"]),
    ];
    let mut failed = Vec::new();
    for (name, args) in steps {
        say::heading(&format!("cargo {name}"));
        if ["fmt", "clippy"].contains(&name) && !succeeds(&mut cargo([name, "--version"])) {
            bail!("cargo {name} is not installed; `rustup component add rustfmt clippy` does that");
        }
        let begun = Instant::now();
        let mut command = cargo([&[name], args].concat());
        command.env("RUSTDOCFLAGS", "-D warnings");
        match run(&mut command) {
            Ok(()) => say::line(&format!("fine, in {}", say::duration(begun.elapsed()))),
            Err(error) => {
                say::line(&format!("{error:#}"));
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    Ok(())
}
