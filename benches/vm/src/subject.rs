//! The test binary that is measured with, and what can be measured of it.

use anyhow::{Context, Result, anyhow, ensure};
use belljar::host::{Host, Options, tests_of};
use belljar::{Config, Spec};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};
use tempfile::TempDir;

/// A test binary of this package, and a host to run it.
#[derive(Debug)]
pub(crate) struct Subject {
    binary: PathBuf,
    tests: Vec<Spec>,
    host: Host,
    records: TempDir,
}

impl Subject {
    /// Builds a test target of this package.
    pub(crate) fn build(target: &str) -> Result<Subject> {
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
    pub(crate) fn template_from_nothing(&self, name: &str) -> Result<f64> {
        let cache = TempDir::new_in(self.host.engine().cache().root())?;
        let host = host(self.records.path(), Some(cache.path()))?;
        seconds_to_prepare(&host, self.spec(name)?, &self.binary)
    }

    /// Seconds for the payload's layer when only the test binary has changed.
    pub(crate) fn layer_after_edit(&self, name: &str, run: u32) -> Result<f64> {
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
    pub(crate) fn fork_to_body(&self, name: &str) -> Result<f64> {
        let spec = self.spec(name)?;
        seconds_to_prepare(&self.host, spec, &self.binary)?;
        let finished = self.host.run(spec, &self.binary, |_, _| ());
        let to_body = finished.to_body.ok_or_else(|| anyhow!("{}", finished.record.reason))?;
        let fork_ns = finished.record.durations.fork_ns.unwrap_or_default();
        Ok((to_body.as_secs_f64() * 1e9 + fork_ns as f64) / 1e6)
    }

    /// Milliseconds from the request to a fork that was made before until its body began.
    pub(crate) fn pool_to_body(&self, name: &str) -> Result<f64> {
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
    pub(crate) fn fork_private_mib(&self, name: &str) -> Result<f64> {
        let plan = self.host.plan(self.spec(name)?, &self.binary).map_err(|r| anyhow!("{r}"))?;
        let template = self.host.prepare(&plan).map_err(|reason| anyhow!("{reason}"))?;
        let fork = self.host.engine().fork(&template)?;
        Ok(fork.private_kib()? as f64 / 1024.0)
    }

    /// The digest of all that the guest says in a det run.
    pub(crate) fn digest(&self, name: &str) -> Result<String> {
        let finished = self.host.run(self.spec(name)?, &self.binary, |_, _| ());
        ensure!(finished.record.outcome.is_good(), "{}", finished.record.reason);
        let digest = finished.record.digest.context("the run has no digest")?;
        Ok(digest.total)
    }
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
