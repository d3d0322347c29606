//! Comma-separated values. How builds were made is the only text that is quoted.

use indexmap::IndexSet;

use crate::cell::BUILD;
use crate::metric::Metric;
use crate::report::axes_of;
use crate::results::{Note, Results, Row};

pub(super) fn csv(results: &Results) -> String {
    let axes = axes_of(&results.rows);
    let metrics = Metric::ALL.map(Metric::name);
    let header =
        ["family"].into_iter().chain(axes.iter().copied()).chain(["rate_per_s", "samples"]);
    let header = header.chain(metrics).chain(["core_ratio", "raw_ratio", "foreign_cpus", "note"]);
    let builds = &results.matrix.builds;
    let made = builds.values().any(|build| !build.description().is_empty());
    let mut text = header.chain(made.then_some("build_description")).collect::<Vec<_>>().join(",");
    text.push('\n');
    for row in &results.rows {
        let mut line = line(row, &axes);
        let build = row.key.label(BUILD).and_then(|name| builds.get(name)).filter(|_| made);
        line.extend(build.map(|build| quoted(build.description())));
        text.push_str(&line.join(","));
        text.push('\n');
    }
    text
}

/// Text from outside on one line.
fn quoted(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("\"{}\"", words.join(" ").replace('"', "\"\""))
}

fn line(row: &Row, axes: &IndexSet<&str>) -> Vec<String> {
    let label = |name: &str| row.key.label(name).unwrap_or_default().to_owned();
    let mut line = vec![label("family")];
    line.extend(axes.iter().map(|axis| label(axis)));
    line.extend([label("rate"), row.spread.samples.to_string()]);
    let number = |value: f64| value.to_string();
    let figures = Metric::ALL.map(|metric| row.figure(metric).map(number).unwrap_or_default());
    line.extend(figures);
    line.extend([row.spread.core_ratio(), row.spread.raw_ratio(), row.foreign_cpus].map(number));
    let notes = row.notes.iter().map(|note| match note {
        Note::CapacityBound { .. } => "capacity_bound",
        Note::Behind { .. } => "behind",
    });
    line.push(notes.collect::<Vec<_>>().join(" "));
    line
}
