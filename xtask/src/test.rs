//! All tests of the workspace, and how many of them there were.

use crate::fuzz::{self, Wish};
use crate::program::{cargo, output, root, shown, succeeds};
use crate::say;
use crate::setup::{self, Scope};
use crate::tally::{Libtest, NO_VM, Tally};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// The packages whose integration tests start virtual machines; `.config/nextest.toml` has them too.
const VM_PACKAGES: [&str; 6] =
    ["belljar", "belljar-vm", "cargo-belljar", "bench-vm", "quickstart", "schedulers"];

/// How long each fuzz target runs among the tests, unless `BELLJAR_FUZZ_SECONDS` says otherwise.
const FUZZ_SECONDS: u32 = 5;

/// The profile of nextest in which all tests run.
const EVERYTHING: &str = "xtask";

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
    say::heading("Tests");
    if succeeds(&mut cargo(["nextest", "--version"])) {
        broken.extend(nextest(&mut tally, no_vm, args).err());
    } else {
        say::line("with `cargo test`; cargo-nextest is not installed, and faster");
        broken.extend(plain(&mut tally, no_vm, args).err());
    }
    // What chooses tests means nothing to them.
    if args.is_empty() {
        say::heading("Examples in the documentation");
        broken.extend(libtest(&mut tally, &["test", "--workspace", "--doc"]).err());
        match fuzz_seconds()? {
            0 => say::line("nothing is fuzzed: BELLJAR_FUZZ_SECONDS is 0"),
            seconds => broken.extend(fuzz::fuzz(&Wish::all(seconds)).err()),
        }
    }
    say::heading(&format!("Ran in {}", say::duration(begun.elapsed())));
    let ran = tally.passed + tally.failed;
    if ran == 0 && broken.is_empty() {
        broken.push(anyhow!("no test ran"));
    }
    let mut stdout = io::stdout().lock();
    for error in &broken {
        writeln!(stdout, "{error:#}")?;
    }
    // The counts are the last line, whatever came of it.
    writeln!(stdout, "{tally}")?;
    Ok(broken.is_empty() && tally.failed == 0)
}

/// How long each fuzz target runs.
fn fuzz_seconds() -> Result<u32> {
    let Some(text) = env::var_os("BELLJAR_FUZZ_SECONDS") else {
        return Ok(FUZZ_SECONDS);
    };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    seconds.with_context(|| format!("BELLJAR_FUZZ_SECONDS is {}, not a number", text.display()))
}

/// Runs tests with nextest; its configuration says how many at a time.
fn nextest(tally: &mut Tally, no_vm: bool, args: &[&str]) -> Result<()> {
    let profile = if no_vm { "no-vm" } else { EVERYTHING };
    let choice = |profile| [&["--profile", profile], workspace(args), args].concat();
    let list = |profile| -> Result<Value> {
        let list = ["nextest", "list", "--message-format", "json"];
        let list = output(&mut tests(&[&list, choice(profile).as_slice()].concat()))?;
        serde_json::from_str(&list).context("nextest's list is no JSON")
    };
    let all = list(EVERYTHING)?;
    let to_run = match no_vm {
        true => tally.add_left_out(&list(profile)?, &all),
        false => tally.add_left_out(&all, &all),
    };

    // There it is, wherever cargo's target directory may be.
    let report = root().join("target/nextest").join(profile).join("junit.xml");
    // One of an earlier run must not be taken for this one's.
    match fs::remove_file(&report) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context(format!("cannot remove {}", report.display()));
        }
        _ => {}
    }
    let run = ["nextest", "run", "--no-fail-fast", "--no-tests=pass"];
    let mut command = tests(&[&run, choice(profile).as_slice()].concat());
    let status = command.status().context("cannot start cargo")?;
    let ran = tally.add_junit(&fs::read_to_string(&report).unwrap_or_default());
    if ran < to_run {
        bail!("{} did not run: nextest ended with {status}", say::count(to_run - ran, "test"));
    }
    judge(tally, &command, status)
}

/// Runs tests with `cargo test`.
fn plain(tally: &mut Tally, no_vm: bool, args: &[&str]) -> Result<()> {
    // Some tests run examples, which cargo leaves out where targets are named.
    let examples = ["build", "--workspace", "--examples"];
    ensure!(cargo(examples).status()?.success(), "`{}` failed", shown(&cargo(examples)));
    let targets = ["test", "--no-fail-fast", "--lib", "--bins", "--tests"];
    if !no_vm {
        return libtest(tally, &[targets.as_slice(), workspace(args), args].concat());
    }
    if !args.is_empty() {
        bail!("--no-vm with ARGS needs cargo-nextest");
    }
    let excluded: Vec<&str> = VM_PACKAGES.iter().flat_map(|it| ["--exclude", it]).collect();
    let chosen: Vec<&str> = VM_PACKAGES.iter().flat_map(|it| ["--package", it]).collect();
    libtest(tally, &[&targets, ["--workspace"].as_slice(), &excluded].concat())?;
    libtest(tally, &[&targets[..4], &chosen].concat())?;
    let list = [&["test", "--quiet", "--test", "*"], chosen.as_slice(), &["--", "--list"]].concat();
    for name in output(&mut tests(&list))?.lines().filter_map(|it| it.strip_suffix(": test")) {
        tally.skip(NO_VM, name);
    }
    Ok(())
}

/// Runs tests of libtest's and counts them.
fn libtest(tally: &mut Tally, words: &[&str]) -> Result<()> {
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
    let verdict = judge(&libtest.tally, &command, status);
    *tally += libtest.tally;
    verdict
}

/// A runner that fails says so by a test that failed, or else it is broken itself.
fn judge(tally: &Tally, command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() && tally.failed == 0 {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
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
