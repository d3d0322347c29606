//! The test binary that is measured with, and what can be measured of it.

use crate::figure::Samples;
use anyhow::{Context, Result, anyhow, ensure};
use belljar::host::{Host, Options, tests_of};
use belljar::{Config, Spec};
use belljar_vm::{Stop, Watch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// A test binary of this package, and a host to run it.
#[derive(Debug)]
pub struct Subject {
    binary: PathBuf,
    tests: Vec<Spec>,
    host: Host,
    records: TempDir,
}

impl Subject {
    /// Builds a test target of this package.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn build(target: &str) -> Result<Subject> {
        let output = Command::new(env!("CARGO"))
            .args(["test", "-q", "-p", "bench-vm", "--no-run", "--message-format=json"])
            .args(["--test", target])
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = output.stdout.split(|byte| *byte == b'\n');
        let binary = messages
            .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
            // The package's program comes along with its tests.
            .filter(|message| message["target"]["name"] == target)
            .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
            .context("cargo built no test binary")?;
        let records = tempfile::tempdir()?;
        let host = host(records.path(), None)?;
        let tests = tests_of(&binary)?;
        Ok(Subject { binary, tests, host, records })
    }

    fn spec(&self, name: &str) -> Result<&Spec> {
        let found = self.tests.iter().find(|spec| spec.name() == name);
        found.with_context(|| format!("the binary has no test {name}"))
    }

    /// Seconds for a template in an empty cache, payload waiting.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn template_from_nothing(&self, name: &str) -> Result<f64> {
        let cache = TempDir::new_in(self.host.engine().cache().root())?;
        let host = host(self.records.path(), Some(cache.path()))?;
        seconds_to_prepare(&host, self.spec(name)?, &self.binary)
    }

    /// Seconds for the payload's layer when only the test binary has changed.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn layer_after_edit(&self, name: &str, run: u32) -> Result<f64> {
        seconds_to_prepare(&self.host, self.spec(name)?, &self.binary)?;
        let directory = tempfile::tempdir()?;
        let edited = directory.path().join("edited");
        // What an edit changes for the harness: something that is loaded.
        let mut bytes = fs::read(&self.binary)?;
        let mark = b"belljar bench: an edit changes this: ";
        let at = bytes.windows(mark.len()).position(|bytes| bytes == mark);
        let at = at.context("the binary has no mark to change")? + mark.len();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let stamp = format!("{run:08} {now:020}");
        bytes[at..at + stamp.len()].copy_from_slice(stamp.as_bytes());
        fs::write(&edited, bytes)?;
        seconds_to_prepare(&self.host, self.spec(name)?, &edited)
    }

    /// Milliseconds from the wish for a fork until its body began.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn fork_to_body(&self, name: &str) -> Result<f64> {
        let spec = self.spec(name)?;
        seconds_to_prepare(&self.host, spec, &self.binary)?;
        let finished = self.host.run(spec, &self.binary, |_, _| ());
        let to_body = finished.to_body.ok_or_else(|| anyhow!("{}", finished.record.reason))?;
        let fork_ns = finished.record.durations.fork_ns.unwrap_or_default();
        Ok((to_body.as_secs_f64() * 1e9 + fork_ns as f64) / 1e6)
    }

    /// Milliseconds from the request to a fork that was made before until its body began.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn pool_to_body(&self, name: &str) -> Result<f64> {
        let spec = self.spec(name)?;
        let plan = self.host.plan(spec, &self.binary).map_err(|reason| anyhow!("{reason}"))?;
        let template = self.host.prepare(&plan).map_err(|reason| anyhow!("{reason}"))?;
        self.host.expect(&template);
        self.host.wait_for_pool();
        let finished = self.host.run(spec, &self.binary, |_, _| ());
        let to_body = finished.to_body.ok_or_else(|| anyhow!("{}", finished.record.reason))?;
        let fork_ns = finished.record.durations.fork_ns.unwrap_or_default();
        Ok((to_body.as_secs_f64() * 1e9 + fork_ns as f64) / 1e6)
    }

    /// MiB that a paused fork shares with nobody.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn fork_private_mib(&self, name: &str) -> Result<f64> {
        let plan = self.host.plan(self.spec(name)?, &self.binary).map_err(|r| anyhow!("{r}"))?;
        let template = self.host.prepare(&plan).map_err(|reason| anyhow!("{reason}"))?;
        let fork = self.host.engine().fork(&template)?;
        Ok(fork.private_kib()? as f64 / 1024.0)
    }

    /// Seconds from the wish for a fork until the workers of its scenario were released.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn released_s(&self, name: &str) -> Result<f64> {
        let spec = self.spec(name)?;
        seconds_to_prepare(&self.host, spec, &self.binary)?;
        let finished = self.host.run(spec, &self.binary, |_, _| ());
        let record = &finished.record;
        let to_body = finished.to_body.ok_or_else(|| anyhow!("{}", record.reason))?;
        let played = record.scenarios.first().with_context(|| record.reason.to_string())?;
        let released = played.evidence.released_after_ns.context("no worker was released")?;
        let fork = Duration::from_nanos(record.durations.fork_ns.unwrap_or_default());
        // Outside `det` the guest's clock is the host's.
        Ok((fork + to_body + Duration::from_nanos(released)).as_secs_f64())
    }

    /// Seconds from the wish for a fork until the run has ended.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn run_s(&self, name: &str) -> Result<f64> {
        let spec = self.spec(name)?;
        seconds_to_prepare(&self.host, spec, &self.binary)?;
        let started = Instant::now();
        let finished = self.host.run(spec, &self.binary, |_, _| ());
        ensure!(finished.record.outcome.is_good(), "{}", finished.record.reason);
        Ok(started.elapsed().as_secs_f64())
    }

    /// A metric of the test.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run, or has no such metric.
    pub fn metric(&self, test: &str, metric: &str) -> Result<f64> {
        let finished = self.host.run(self.spec(test)?, &self.binary, |_, _| ());
        ensure!(finished.record.outcome.is_good(), "{}", finished.record.reason);
        let found = finished.record.metrics.iter().find(|found| found.name == metric);
        Ok(found.with_context(|| format!("{test} has no metric {metric}"))?.value)
    }

    /// Seconds of CPU time that QEMU takes for a run, with rounds of turns of its own length or
    /// of the one given.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn cpu_s(&self, name: &str, round: Option<Duration>) -> Result<f64> {
        let spec = self.spec(name)?;
        let plan = self.host.plan(spec, &self.binary).map_err(|reason| anyhow!("{reason}"))?;
        let template = self.host.prepare(&plan).map_err(|reason| anyhow!("{reason}"))?;
        let fork = self.host.engine().fork(&template)?;
        if let Some(round) = round {
            fork.set_round(round)?;
        }
        let before = children_s()?;
        let limit = Duration::from_secs(300);
        let run = fork.run(&self.host.request(&plan), &Watch { limit, cancelled: None }, |_| ());
        ensure!(matches!(run.stop, Stop::Ended(_)), "{name} did not end: {:?}", run.stop);
        Ok(children_s()? - before)
    }

    /// The digest of all that the guest says in a det run.
    ///
    /// # Errors
    /// When it cannot be built, prepared or run.
    pub fn digest(&self, name: &str) -> Result<String> {
        let finished = self.host.run(self.spec(name)?, &self.binary, |_, _| ());
        ensure!(finished.record.outcome.is_good(), "{}", finished.record.reason);
        let digest = finished.record.digest.context("the run has no digest")?;
        Ok(digest.total)
    }
}

/// Seconds that the command takes for a test target of this package, all of it built.
///
/// # Errors
/// When not all of its tests pass.
pub fn suite(runs: u32, target: &str, tests: u32) -> Result<Samples> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "-q", "-p", "cargo-belljar", "--", "test"]);
    command.args(["-p", "bench-vm", "--test", target]);
    let mut once = || -> Result<f64> {
        let started = Instant::now();
        let output = command.output().context("cannot run `cargo belljar test`")?;
        let took = started.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "`cargo belljar test` failed:\n{said}");
        anyhow::ensure!(
            said.contains(&format!(" {tests} passed")),
            "{tests} were to pass:\n{said}"
        );
        Ok(took)
    };
    once()?;
    Samples::of(runs, |_| once())
}

fn host(records: &Path, cache: Option<&Path>) -> Result<Host> {
    let options = Options {
        records: Some(records.to_owned()),
        cache: cache.map(Path::to_owned),
        ..Options::from_environment()
    };
    Ok(Host::open(options, &Config::default(), |_| ())?)
}

fn seconds_to_prepare(host: &Host, spec: &Spec, binary: &Path) -> Result<f64> {
    let started = Instant::now();
    let plan = host.plan(spec, binary).map_err(|reason| anyhow!("{reason}"))?;
    host.prepare(&plan).map_err(|reason| anyhow!("{reason}"))?;
    Ok(started.elapsed().as_secs_f64())
}

/// CPU seconds of all children that have ended, and theirs: `cutime` and `cstime` of proc(5).
fn children_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').context("/proc/self/stat has no name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields.get(13..15).context("/proc/self/stat is short")?;
    let ticks = ticks.iter().map(|field| field.parse::<f64>()).sum::<Result<f64, _>>()?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}
