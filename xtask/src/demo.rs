//! A first look: ordinary Rust tests on a real kernel, one of them once more, bit for bit; and a
//! scheduler that fails its test, twice in the same way.

use crate::program::{belljar, cargo, root, run};
use crate::say;
use crate::setup::{self, Scope};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const NEXT: [(&str, &str); 6] = [
    ("cargo test -p quickstart", "the same tests, as any others"),
    ("cargo belljar test -p quickstart --mode det --seeds 20", "each in 20 worlds that repeat"),
    ("cargo belljar test -p schedulers --test healthy", "schedulers that work, and what they do"),
    ("cargo belljar shell --topology 1n2l4c2t", "a shell on 16 CPUs, wherever you are"),
    ("cargo belljar kernel show", "what the kernel can do"),
    ("cargo belljar doctor", "what belljar found on this machine"),
];

pub(crate) fn demo() -> Result<()> {
    let begun = Instant::now();
    step("1/8 What this machine needs", || setup::packages(Scope::Machines, false))?;
    step("2/8 Building belljar and the example (some minutes, the first time)", || {
        run(&mut cargo(["build", "--quiet", "--package", "cargo-belljar"]))?;
        let examples = ["--package", "quickstart", "--package", "schedulers"];
        run(&mut cargo(["test", "--quiet", "--no-run"].iter().chain(&examples)))
    })?;
    step("3/8 A kernel", setup::kernel)?;
    let tcg = step("4/8 examples/quickstart, in virtual machines without KVM", || suite("tcg"))?;
    let det = step("5/8 The same in `det`, where every run repeats", || suite("det"))?;
    let record = det.record.as_deref().context("det left no record")?;
    step("6/8 One of them once more, from its record", || run(&mut belljar(["replay", record])))?;
    let failed =
        step("7/8 A scheduler that starves a cgroup: this test fails on purpose", on_purpose)?;
    step("8/8 That failure once more", || run(&mut belljar(["replay", &failed])))?;

    say::heading(&format!("Done in {}", say::duration(begun.elapsed())));
    for (mode, suite) in [("tcg", &tcg), ("det", &det)] {
        say::line(&format!("{mode}: {}", suite.counts));
    }
    say::line("replays: identical, the failure too");
    for directory in &det.directories {
        say::line(&format!("records: {}", relative(directory)));
    }
    say::line("`cargo belljar replay RECORD` runs any of them again");
    say::heading("What to try next");
    for (command, what) in NEXT {
        say::line(&format!("{command:<56} {what}"));
    }
    if !(tcg.is_good && det.is_good) {
        bail!("not all tests of the example passed");
    }
    Ok(())
}

fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say::heading(title);
    let begun = Instant::now();
    let done = work()?;
    say::line(&format!("({})", say::duration(begun.elapsed())));
    Ok(done)
}

/// What came of a run of the example.
#[derive(Debug, Default, PartialEq, Eq)]
struct Suite {
    counts: String,
    is_good: bool,
    directories: Vec<String>,
    /// Of the test that passed and kept its guest busy the longest.
    record: Option<String>,
}

impl Suite {
    /// From the events that `cargo belljar test --json` writes.
    fn parse(events: &str) -> Result<Suite> {
        let mut suite = Suite::default();
        let mut longest = None;
        for line in events.lines() {
            let event: Value = serde_json::from_str(line).context("an event is no JSON")?;
            match event["event"].as_str() {
                Some("finished") if event["outcome"] == "pass" => {
                    let time = event["guest_time_ns"].as_u64();
                    if time > longest {
                        longest = time;
                        suite.record = event["record"].as_str().map(str::to_owned);
                    }
                }
                Some("summary") => {
                    let count = |what: &str| event[what].as_u64().unwrap_or(0);
                    let failed = count("failed") + count("inconclusive");
                    suite.is_good = count("passed") > 0 && event["exit_code"] == 0;
                    suite.counts = format!(
                        "{} passed, {failed} failed, {} skipped",
                        count("passed"),
                        count("skipped")
                    );
                    let directories = event["records"].as_array().into_iter().flatten();
                    suite.directories =
                        directories.filter_map(|it| Some(it.as_str()?.to_owned())).collect();
                }
                _ => {}
            }
        }
        if suite.counts.is_empty() {
            bail!("the run has no summary");
        }
        Ok(suite)
    }
}

/// Runs the example in a mode. That tests fail is not an error here.
fn suite(mode: &str) -> Result<Suite> {
    let mut command = belljar(["test", "--package", "quickstart", "--mode", mode, "--json"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    Suite::parse(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("the example did not run in {mode}: {}", output.status))
}

/// Runs the test that fails, and gives its record.
fn on_purpose() -> Result<String> {
    let test = ["test", "--package", "schedulers", "--test", "on_purpose", "--run-ignored", "all"];
    let mut command = belljar([test.as_slice(), &["--json"]].concat());
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    let events = String::from_utf8_lossy(&output.stdout);
    failure(&events)
        .with_context(|| format!("the test did not fail as it should: {}", output.status))
}

/// The record of the first test that failed, from the events of a run.
fn failure(events: &str) -> Result<String> {
    let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut failed =
        events.filter(|event| event["event"] == "finished" && event["outcome"] == "fail");
    let record = failed.find_map(|event| Some(event["record"].as_str()?.to_owned()));
    record.context("no test failed")
}

/// A path as one would type it at the root of the workspace.
fn relative(path: &str) -> String {
    let inside = Path::new(path).strip_prefix(root());
    inside.map_or_else(|_| path.to_owned(), |it| it.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_from_its_events() {
        let events = r#"{"event":"begun","tests":2}
{"event":"finished","outcome":"pass","guest_time_ns":9,"record":"/t/a.json"}
{"event":"finished","outcome":"pass","guest_time_ns":8,"record":"/t/c.json"}
{"event":"finished","outcome":"skip","record":"/t/b.json"}
{"event":"summary","passed":2,"failed":0,"inconclusive":0,"skipped":1,"records":["/t"],"exit_code":0}
"#;
        let suite = Suite::parse(events).unwrap();
        assert_eq!(suite.counts, "2 passed, 0 failed, 1 skipped");
        assert_eq!((suite.is_good, suite.record.as_deref()), (true, Some("/t/a.json")));
        assert_eq!(suite.directories, ["/t"]);
        assert!(failure(events).is_err());
        let failed = r#"{"event":"finished","outcome":"fail","record":"/t/d.json"}"#;
        assert_eq!(failure(&format!("{events}{failed}")).unwrap(), "/t/d.json");
        assert!(Suite::parse("").unwrap_err().to_string().contains("no summary"));
    }
}
