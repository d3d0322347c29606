//! The figures of `docs/performance.md`, measured here and now.
//!
//! Medians of at least 20 runs each, with the best and the worst beside them; the
//! machine is said, and what else was going on. Run it through `cargo xtask bench vm`.

use anyhow::Result;
use bench_vm::{Figure, Load, Report, Samples, Subject, suite};
use clap::Parser;
use std::collections::HashSet;

/// Measures templates, forks, a suite, and determinism.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Print one JSON object with the keys of the table.
    #[arg(long)]
    json: bool,
    /// How often each figure is measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many forks must give the same digest.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..))]
    forks: u32,
    /// Measure only the figures whose key contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report::only(&arguments.only);
    let runs = arguments.runs;
    let subject = Subject::build("subject")?;
    report.add(Figure::seconds("template_tcg_s", "template from nothing, tcg", 6.0), || {
        Samples::of(runs, |_| subject.template_from_nothing("empty::tcg"))
    })?;
    report.add(Figure::seconds("template_det_s", "template from nothing, det", 12.0), || {
        Samples::of(runs, |_| subject.template_from_nothing("empty::det"))
    })?;
    report
        .add(Figure::seconds("payload_layer_s", "layer after an edit of the test", 1.0), || {
            Samples::of(runs, |run| subject.layer_after_edit("empty::tcg", run))
        })?;
    let p50 = Figure::milliseconds("fork_to_body_p50_ms", "request to body, new fork", 120.0);
    let p95 = Figure::milliseconds("fork_to_body_p95_ms", "the same, 95th percentile", 200.0);
    if report.wants(&p50) || report.wants(&p95) {
        // A percentile wants more than a median does.
        let samples = Samples::of(runs.max(60), |_| subject.fork_to_body("empty::tcg"))?;
        report.push(p95.with(samples.percentile(95), &samples));
        report.push(p50.with(samples.median(), &samples));
    }
    report.add(
        Figure::milliseconds("pool_to_body_p50_ms", "the same, from the pool", 15.0),
        || Samples::of(runs, |_| subject.pool_to_body("empty::tcg")),
    )?;
    report
        .add(Figure::seconds("suite_100_s", "cargo belljar test, 100 empty tests", 10.0), || {
            suite(runs.min(5), "hundred", 100)
        })?;
    report.add(
        Figure::mebibytes("fork_private_mib", "private memory of a paused fork", 40.0),
        || Samples::of(runs, |_| subject.fork_private_mib("empty::tcg")),
    )?;
    let digests = Figure::count("det_digests", "distinct digests of det forks", 1.0);
    if report.wants(&digests) {
        let mut seen = HashSet::new();
        for half in [false, true] {
            let _load = half.then(Load::start);
            for _ in 0..arguments.forks / 2 {
                seen.insert(subject.digest("workers")?);
            }
        }
        let samples = Samples::of(1, |_| Ok(seen.len() as f64))?;
        report.push(digests.with(seen.len() as f64, &samples));
    }
    report.print(arguments.json)
}
