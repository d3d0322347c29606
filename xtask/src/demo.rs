//! A first look: ordinary Rust tests on a real kernel, and one of them once more, bit for bit.

use crate::program::{belljar, cargo, root, run};
use crate::say;
use crate::setup::{self, Scope};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const NEXT: [(&str, &str); 5] = [
    ("cargo test -p quickstart", "the same tests, as any others"),
    ("cargo belljar test -p quickstart --mode det --seeds 20", "each in 20 worlds that repeat"),
    ("cargo belljar shell --topology 1n2l4c2t", "a shell on 16 CPUs, wherever you are"),
    ("cargo belljar kernel show", "what the kernel can do"),
    ("cargo belljar doctor", "what belljar found on this machine"),
];

pub(crate) fn demo() -> Result<()> {
    let begun = Instant::now();
    step("1/6 What this machine needs", || setup::packages(Scope::Machines, false))?;
    step("2/6 Building belljar and the example (some minutes, the first time)", || {
        run(&mut cargo(["build", "--quiet", "--package", "cargo-belljar"]))?;
        run(&mut cargo(["test", "--quiet", "--no-run", "--package", "quickstart"]))
    })?;
    step("3/6 A kernel", setup::kernel)?;
    let tcg = step("4/6 examples/quickstart, in virtual machines without KVM", || suite("tcg"))?;
    let det = step("5/6 The same in `det`, where every run repeats", || suite("det"))?;
    let record = det.record.as_deref().context("det left no record")?;
    step("6/6 One of them once more, from its record", || run(&mut belljar(["replay", record])))?;

    say::heading(&format!("Done in {}", say::duration(begun.elapsed())));
    for (mode, suite) in [("tcg", &tcg), ("det", &det)] {
        say::line(&format!("{mode}: {}", suite.counts));
    }
    say::line("replay: identical");
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
        assert!(Suite::parse("").unwrap_err().to_string().contains("no summary"));
    }
}
