//! `cargo belljar replay`: the test of a record, run again as it was.

use crate::args::{BuildArgs, ReplayArgs, TargetArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Style, count, say};
use crate::progress::shorten;
use crate::run::{no_host, no_kernel};
use crate::suite::{self, Test};
use crate::{build, interrupt};
use anyhow::Context;
use belljar::host::{Finished, Host, Options};
use belljar::{Config, Spec};
use belljar_record::{Reason, Record, first_difference, read, read_all, read_said};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the records of replays go: below the records that they are of, where neither
/// takes the other's place.
const DIRECTORY: &str = "replays";

/// Replays what was asked for. Of several, the worst decides how the command ends.
pub(crate) fn replay(args: &ReplayArgs, style: Style) -> anyhow::Result<Exit> {
    let records = records(args)?;
    let cancelled = interrupt::listen(|| (), || ())?;
    let mut replayer =
        Replayer { build: &args.build, style, cancelled, built: HashMap::new(), host: None };
    let mut worst = Exit::Fine;
    for (path, record) in &records {
        let exit = replayer.replay(path, record)?;
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        let is_worse =
            matches!((worst, exit), (Exit::Fine, _) | (Exit::TestsFailed, Exit::Differs));
        if is_worse {
            worst = exit;
        }
    }
    Ok(worst)
}

/// The records to replay.
fn records(args: &ReplayArgs) -> anyhow::Result<Vec<(PathBuf, Record)>> {
    let cannot_read = |error: belljar_record::ReadError| {
        Failure::new(Exit::Usage, "cannot read the record").source(error)
    };
    if let (false, Some(path)) = (args.failed, &args.record) {
        if path.is_dir() {
            let text = format!("{} is a directory", path.display());
            let hint = "name a record, or add --failed to replay every failed record in it";
            return Err(Failure::new(Exit::Usage, text).hint(hint).into());
        }
        return Ok(vec![(path.clone(), read(path).map_err(cannot_read)?)]);
    }
    let directory = match &args.record {
        Some(directory) => directory.clone(),
        None => newest(&args.build)?,
    };
    let collected = read_all(&directory);
    for error in collected.unreadable.iter().chain(&collected.unparsable) {
        say(format_args!("left out: {error}"));
    }
    let records: Vec<_> =
        collected.records.into_iter().filter(|(_, record)| !record.outcome.is_good()).collect();
    if records.is_empty() {
        let text = format!("no failed record is in {}", directory.display());
        return Err(Failure::new(Exit::NoTests, text).into());
    }
    say(format_args!("{} in {}", count(records.len(), "failed record"), directory.display()));
    Ok(records)
}

/// The run directory that was written to last.
fn newest(build: &BuildArgs) -> anyhow::Result<PathBuf> {
    let root = match std::env::var_os("BELLJAR_RECORDS") {
        Some(root) => PathBuf::from(root),
        None => build::target_directory(build)?.join("belljar"),
    };
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|name| name != DIRECTORY))
        .max_by_key(|path| fs::metadata(path).and_then(|facts| facts.modified()).ok())
        .ok_or_else(|| {
            let text = format!("no records are in {}", root.display());
            Failure::new(Exit::NoTests, text).hint("`cargo belljar test` makes some").into()
        })
}

struct Replayer<'a> {
    build: &'a BuildArgs,
    style: Style,
    cancelled: Arc<AtomicBool>,
    built: HashMap<String, Vec<Test>>,
    host: Option<Host>,
}

impl Replayer<'_> {
    fn replay(&mut self, path: &Path, record: &Record) -> anyhow::Result<Exit> {
        let test = self.test(record)?;
        let spec = as_recorded(&test.spec, record)?;
        let binary = test.binary.artifact.executable.clone();
        let records = records_root(path).join(DIRECTORY);
        let host = self.host(&spec, records)?;
        let kernel = &record.vm.kernel.id;
        host.kernel(kernel).map_err(|error| no_kernel(kernel, error))?;
        let mut plan = host.plan(&spec, &binary);
        if let Ok(plan) = &mut plan {
            plan.steps = record.steps.unwrap_or(0);
        }
        let finished = host.run_planned(&spec, &binary, plan, |_, _| ());
        if self.cancelled.load(Ordering::SeqCst) {
            return Ok(Exit::Interrupted);
        }
        let exit = self.compare(path, record, &finished)?;
        for change in changes(record, &finished.record) {
            say(format_args!("  note: {change}"));
        }
        if exit != Exit::Fine {
            say(format_args!("\n{}", finished.explain(self.style.colour)));
        }
        Ok(exit)
    }

    /// The test of a record, built now.
    fn test(&mut self, record: &Record) -> anyhow::Result<Test> {
        let identity = &record.identity;
        let package = &identity.package;
        if !self.built.contains_key(package) {
            let artifacts = build::build(self.build, &TargetArgs::package(package))?;
            self.built.insert(package.clone(), suite::tests(artifacts)?);
        }
        let is_it = |test: &&Test| {
            let stem = test.binary.artifact.executable.file_stem().unwrap_or_default();
            let stem = stem.to_string_lossy();
            let name = stem.rsplit_once('-').map_or(&*stem, |(name, _)| name);
            name == identity.binary
                && test.spec.test == identity.test
                && test.spec.variant == identity.variant
        };
        self.built[package].iter().find(is_it).cloned().ok_or_else(|| {
            let title = identity.title();
            let text = format!("{package} has no test `{title}` in `{}`", identity.binary);
            let hint = "it was renamed or removed since the record was written, or is behind \
                        a feature (--features)";
            Failure::new(Exit::NoTests, text).hint(hint).into()
        })
    }

    fn host(&mut self, spec: &Spec, records: PathBuf) -> anyhow::Result<&Host> {
        if self.host.is_none() {
            let options = Options {
                records: Some(records),
                cancelled: Arc::clone(&self.cancelled),
                ..Options::default()
            };
            let config = Config::of_package(Path::new(&spec.manifest_dir))?;
            let host = Host::open(options, &config, |line| say(format_args!("belljar: {line}")));
            self.host = Some(host.map_err(no_host)?);
        }
        self.host.as_ref().context("the host has just been opened")
    }

    fn compare(&self, path: &Path, old: &Record, finished: &Finished) -> anyhow::Result<Exit> {
        let new = &finished.record;
        let title = old.identity.title();
        let shown = shorten(path).display();
        let say_outcome = |word: &str| {
            say(format_args!("{word}: {title} ({shown})"));
            say(format_args!("  recorded: {} ({})", old.outcome, old.reason));
            say(format_args!("  replayed: {} ({})", new.outcome, new.reason));
        };
        match (&old.digest, &new.digest) {
            (Some(old_digest), Some(new_digest)) if old_digest.total == new_digest.total => {
                let word = self.style.green("identical");
                let (frames, bytes) = (new_digest.frames, new_digest.console_bytes);
                say(format_args!("{word}: {title} ({shown})"));
                say(format_args!("  {} again; digest {}", old.reason, new_digest.total));
                say(format_args!("  {frames} frames and {bytes} bytes of the console"));
                Ok(Exit::Fine)
            }
            (Some(digest), Some(_)) => {
                say_outcome(&self.style.red("differs"));
                match (read_said(path, digest), &finished.said) {
                    (Ok(recorded), Some(replayed)) => {
                        if let Some(difference) = first_difference(&recorded, replayed) {
                            say(format_args!("\n{difference}"));
                        }
                    }
                    (Err(error), _) => say(format_args!("  where is not known: {error}")),
                    (_, None) => {}
                }
                Ok(Exit::Differs)
            }
            (Some(_), None) => {
                say_outcome(&self.style.red("differs"));
                Ok(Exit::Differs)
            }
            (None, _) => {
                let is_same = (old.outcome, &old.reason) == (new.outcome, &new.reason);
                say_outcome(if is_same { "same outcome" } else { "another outcome" });
                let mode = match old.vm.mode.used.as_str() {
                    "" => "a run that never began",
                    mode => mode,
                };
                say(format_args!("  only det promises an identical run, and this was {mode}"));
                Ok(if new.outcome.is_good() { Exit::Fine } else { Exit::TestsFailed })
            }
        }
    }
}

/// What a test declares, with what the record says in place of all that was open.
fn as_recorded(spec: &Spec, record: &Record) -> anyhow::Result<Spec> {
    let vm = &record.vm;
    let mode = if vm.mode.used.is_empty() { &vm.mode.requested } else { &vm.mode.used };
    if vm.kernel.id.is_empty() || mode.is_empty() {
        let text = format!("the recorded run never got a machine: {}", record.reason);
        let hint = format!("run it anew: cargo belljar test --exact {}", spec.name());
        return Err(Failure::new(Exit::Usage, text).hint(hint).into());
    }
    Ok(Spec {
        kernel: Some(vm.kernel.id.clone()),
        mode: Some(mode.clone()),
        topology: Some(vm.topology.clone()),
        memory_mib: u32::try_from(vm.memory_mib).ok(),
        seed: vm.seed,
        timeout_ms: record.timeout_ms,
        ..spec.clone()
    })
}

/// What is not as it was, and may be why a run comes out otherwise.
fn changes(old: &Record, new: &Record) -> Vec<String> {
    let mut changes = Vec::new();
    if old.identity.binary_hash != new.identity.binary_hash {
        changes
            .push(String::from("the test binary has been built anew and is not the recorded one"));
    }
    if old.vm.qemu_version != new.vm.qemu_version {
        let version = |record: &Record| record.vm.qemu_version.clone().unwrap_or_default();
        changes.push(format!("QEMU was {} and is {}", version(old), version(new)));
    }
    if old.belljar_version != new.belljar_version {
        changes.push(format!("belljar was {} and is {}", old.belljar_version, new.belljar_version));
    }
    if matches!(new.reason, Reason::TemplateFailed { .. } | Reason::Refused { .. }) {
        changes.push(String::from("the replay got no machine: `cargo belljar doctor` may say why"));
    }
    changes
}

/// The root of the records that a record lies under.
fn records_root(record: &Path) -> PathBuf {
    let root = record.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    std::path::absolute(root).unwrap_or_else(|_| root.to_owned())
}
