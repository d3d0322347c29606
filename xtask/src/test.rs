//! All tests of the workspace, and how many of them there were.

use crate::program::{cargo, output, shown, succeeds, target_dir};
use crate::say;
use crate::setup::{self, Scope};
use crate::tally::{Libtest, NO_VM, Tally};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The packages whose integration tests start virtual machines; `.config/nextest.toml` has them too.
const VM_PACKAGES: [&str; 5] = ["belljar", "belljar-vm", "cargo-belljar", "bench-vm", "quickstart"];

/// Runs tests and says how many. False when not all that ran passed, or none did.
pub(crate) fn test(no_vm: bool, args: &[&str]) -> Result<bool> {
    let begun = Instant::now();
    say::heading("Set-up");
    setup::packages(if no_vm { Scope::Build } else { Scope::Machines }, false)?;
    if !no_vm {
        setup::kernel()?;
    }
    let mut tally = Tally::default();
    let mut broken = Vec::new();
    let mut hear = |result: Result<Tally>| match result {
        Ok(counted) => tally += counted,
        Err(error) => broken.push(format!("{error:#}")),
    };
    say::heading("Tests");
    if succeeds(&mut cargo(["nextest", "--version"])) {
        hear(nextest(no_vm, args));
    } else {
        say::line("with `cargo test`; cargo-nextest is not installed, and faster");
        plain(no_vm, args, &mut hear);
    }
    // What chooses tests means nothing to them.
    if args.is_empty() {
        say::heading("Examples in the documentation");
        hear(libtest(&["test", "--workspace", "--doc"]));
    }
    say::heading(&format!("Ran in {}", say::duration(begun.elapsed())));
    let ran = tally.passed + tally.failed;
    if ran == 0 && broken.is_empty() {
        broken.push("no test ran".to_owned());
    }
    let mut stdout = io::stdout().lock();
    for what in &broken {
        writeln!(stdout, "{what}")?;
    }
    // The counts are the last line, whatever came of it.
    writeln!(stdout, "{tally}")?;
    Ok(broken.is_empty() && tally.failed == 0)
}

/// Runs tests with nextest; its configuration says how many at a time.
fn nextest(no_vm: bool, args: &[&str]) -> Result<Tally> {
    let profile = if no_vm { "no-vm" } else { "xtask" };
    let choice = [&["--profile", profile], workspace(args), args].concat();
    let mut tally = Tally::default();
    let list = [&["nextest", "list", "--message-format", "json"], choice.as_slice()].concat();
    let list = output(&mut tests(&list))?;
    tally.add_left_out(&serde_json::from_str(&list).context("nextest's list is no JSON")?);

    let report = target_dir()?.join("nextest").join(profile).join("junit.xml");
    // One of an earlier run must not be taken for this one's.
    match fs::remove_file(&report) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context(format!("cannot remove {}", report.display()));
        }
        _ => {}
    }
    let mut command = tests(
        &[&["nextest", "run", "--no-fail-fast", "--no-tests=pass"], choice.as_slice()].concat(),
    );
    let status = command.status().context("cannot start nextest")?;
    let text = fs::read_to_string(&report).unwrap_or_default();
    tally.add_junit(&text);
    if !status.success() && tally.failed == 0 {
        bail!("`{}` failed: {status}", shown(&command));
    }
    Ok(tally)
}

/// Runs tests with `cargo test`.
fn plain(no_vm: bool, args: &[&str], hear: &mut dyn FnMut(Result<Tally>)) {
    let targets = ["test", "--no-fail-fast", "--lib", "--bins", "--tests"];
    if !no_vm {
        let command = [targets.as_slice(), workspace(args), args].concat();
        return hear(libtest(&command));
    }
    if !args.is_empty() {
        return hear(Err(anyhow::anyhow!("--no-vm with ARGS needs cargo-nextest")));
    }
    let excluded: Vec<&str> = VM_PACKAGES.iter().flat_map(|it| ["--exclude", it]).collect();
    let chosen: Vec<&str> = VM_PACKAGES.iter().flat_map(|it| ["--package", it]).collect();
    hear(libtest(&[&targets, ["--workspace"].as_slice(), &excluded].concat()));
    hear(libtest(&[&targets[..4], &chosen].concat()));
    let list = [&["test", "--quiet", "--test", "*"], chosen.as_slice(), &["--", "--list"]].concat();
    hear(output(&mut tests(&list)).map(|list| {
        let mut tally = Tally::default();
        for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
            tally.skip(NO_VM, name);
        }
        tally
    }));
}

/// Runs tests of libtest's and counts them.
fn libtest(words: &[&str]) -> Result<Tally> {
    let mut command = tests(&[words, &["--", "--show-output"]].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().expect("it is piped");
    let mut libtest = Libtest::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read what tests say")?;
        let line = String::from_utf8_lossy(&line);
        if libtest.hear(&line) {
            eprintln!("{line}");
        }
    }
    let status = child.wait()?;
    let tally = libtest.tally;
    if !status.success() && tally.failed == 0 {
        bail!("`{}` failed: {status}", shown(&command));
    }
    Ok(tally)
}

/// All packages, unless some are chosen.
fn workspace(args: &[&str]) -> &'static [&'static str] {
    let is_choice = |arg: &&str| arg.starts_with("-p") || arg.starts_with("--package");
    if args.iter().any(is_choice) { &[] } else { &["--workspace"] }
}

/// `cargo`, for tests: snapshots are compared and never written.
fn tests(words: &[&str]) -> Command {
    let mut command = cargo(words);
    command.env("INSTA_UPDATE", "no");
    command
}
