//! `cargo xtask fuzz`: the targets of `fuzz/`, with coverage guidance, on any compiler.
//!
//! What cargo-fuzz needs a nightly compiler for are sanitizers. The instrumentation alone is a pass
//! of LLVM's that every compiler has, and libFuzzer needs no more.

use crate::program::{self, cargo, output, root};
use crate::say;
use anyhow::{Context as _, Result, anyhow, bail};
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// How long each target runs unless somebody says otherwise, in seconds.
const SECONDS: u32 = 60;
/// An input that takes so long is a failure, in seconds.
const INPUT_MAX: u32 = 20;
/// What libFuzzer wants to know of the program: which edges were taken, what was compared.
const INSTRUMENTATION: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
];

/// What to fuzz, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// One target, or all.
    target: Option<String>,
    /// For each target.
    seconds: u32,
}

impl Wish {
    /// All targets.
    pub(crate) fn all(seconds: u32) -> Wish {
        Wish { target: None, seconds }
    }

    /// Reads `[TARGET] [--seconds N]`.
    pub(crate) fn parse(mut words: &[&str]) -> Result<Wish> {
        let mut wish = Wish::all(SECONDS);
        loop {
            words = match words {
                [] => return Ok(wish),
                ["--seconds", seconds, rest @ ..] => {
                    let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0);
                    wish.seconds = seconds.context("--seconds wants a number from 1")?;
                    rest
                }
                [target, rest @ ..] if !target.starts_with('-') && wish.target.is_none() => {
                    wish.target = Some((*target).to_owned());
                    rest
                }
                [word, ..] => bail!("`{word}` makes no sense after `fuzz`"),
            }
        }
    }
}

/// Fuzzes; an error says which targets have found something, and where that is.
pub(crate) fn fuzz(wish: &Wish) -> Result<()> {
    let workspace = root().join("fuzz");
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).context("read the targets")?;
    let mut targets = targets(&manifest);
    if let Some(wanted) = &wish.target {
        if !targets.contains(&wanted.as_str()) {
            bail!("there is no target `{wanted}`; there are {}", targets.join(", "));
        }
        targets.retain(|target| target == wanted);
    }
    say::heading("Building the fuzz targets");
    // With a target named, what runs while building is not instrumented.
    let host = host()?;
    let mut build = cargo(["build", "--quiet", "--release", "--locked", "--target", &host]);
    build.args(targets.iter().flat_map(|target| ["--bin", target])).current_dir(&workspace);
    let directory = program::target_dir()?.join("fuzz");
    build.env("CARGO_TARGET_DIR", &directory).env("RUSTFLAGS", INSTRUMENTATION.join(" "));
    program::run(&mut build)?;
    let programs = directory.join(&host).join("release");
    let at_once = thread::available_parallelism().map_or(1, NonZero::get).min(targets.len());
    say::heading(&format!("Fuzzing {}, {at_once} at once", say::count(targets.len(), "target")));
    let next = Mutex::new(targets.iter().copied());
    let found = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let Some(target) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                return Ok(());
            };
            if !is_clean(target, &programs.join(target), wish.seconds)? {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(target);
            }
        }
    };
    let worked: Vec<Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let died = |_| Err(anyhow!("a thread that fuzzed has died"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(died)).collect()
    });
    remove_leavings()?;
    worked.into_iter().collect::<Result<()>>()?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !found.is_empty() {
        bail!("fuzzing found something in {}", found.join(", "));
    }
    Ok(())
}

/// Fuzzes a target; says whether nothing was found.
fn is_clean(target: &str, program: &Path, seconds: u32) -> Result<bool> {
    let begun = Instant::now();
    let workspace = root().join("fuzz");
    let corpus = workspace.join("corpus").join(target);
    let artifacts = workspace.join("artifacts").join(target);
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let log = artifacts.join("log");
    let file = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut run = Command::new(program);
    run.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(corpus)
        .stderr(file);
    let status = run.status().with_context(|| format!("cannot start {target}"))?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    if status.success() {
        let runs = runs(&text).with_context(|| format!("{target} has tried nothing"))?;
        say::line(&format!("{target}: {runs} inputs in {}", say::duration(begun.elapsed())));
    } else {
        say::line(&format!("{target}: it failed: {status}; see {}", artifacts.display()));
        let panic = text.lines().skip_while(|line| !line.contains("panicked")).take(3);
        panic.for_each(say::line);
    }
    Ok(status.success())
}

/// The names of the targets, from the manifest of their package.
fn targets(manifest: &str) -> Vec<&str> {
    let mut lines = manifest.lines();
    let mut targets = Vec::new();
    while lines.any(|line| line.trim() == "[[bin]]") {
        let name = lines.next().and_then(|line| line.trim().strip_prefix("name = \""));
        targets.extend(name.and_then(|name| name.strip_suffix('"')));
    }
    targets
}

/// How many inputs libFuzzer says that it has tried: `Done 123 runs in 4 second(s)`.
fn runs(log: &str) -> Option<u64> {
    let done = log.lines().rev().find_map(|line| line.strip_prefix("Done "))?;
    done.split(' ').next()?.parse().ok().filter(|runs| *runs > 0)
}

/// The platform of this compiler.
fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what its host is")?.to_owned())
}

/// Targets with sockets have a directory each, which a target that crashes leaves behind.
fn remove_leavings() -> Result<()> {
    for parent in ["/dev/shm", "/tmp"].map(PathBuf::from) {
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("snapwire-fuzz-"));
            let is_dead = pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists());
            if is_dead {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        assert_eq!(Wish::parse(&[]).unwrap(), Wish::all(SECONDS));
        let one = Wish { target: Some("channel".into()), seconds: 5 };
        assert_eq!(Wish::parse(&["channel", "--seconds", "5"]).unwrap(), one);
        assert_eq!(Wish::parse(&["--seconds", "5", "channel"]).unwrap(), one);
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["a", "b"], &["--now"]] {
            assert!(Wish::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn targets_are_those_of_the_manifest() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets(&manifest);
        assert!(
            targets.contains(&"channel") && targets.contains(&"snapwire-memory"),
            "{targets:?}"
        );
        for target in targets {
            let file = format!("fuzz/fuzz_targets/{}.rs", target.replace('-', "_"));
            assert!(root().join(&file).exists(), "{file}");
        }
    }

    #[test]
    fn a_run_that_tried_nothing_is_none() {
        assert_eq!(runs("INFO: x\nDone 123 runs in 4 second(s)\n"), Some(123));
        assert_eq!(runs("Done 0 runs in 4 second(s)"), None);
        assert_eq!(runs("INFO: nothing"), None);
    }
}
