//! Comma-separated values.

use crate::metric::Metric;
use crate::report::axes_of;
use crate::results::{Note, Results, Row};

/// Names and numbers only, so nothing is ever quoted.
pub(super) fn csv(results: &Results) -> String {
    let axes = axes_of(&results.rows);
    let metrics = Metric::ALL.map(Metric::name);
    let header =
        ["family"].into_iter().chain(axes.iter().copied()).chain(["rate_per_s", "samples"]);
    let header = header.chain(metrics).chain(["core_ratio", "raw_ratio", "foreign_cpus", "note"]);
    let mut text = header.collect::<Vec<_>>().join(",");
    text.push('\n');
    for row in &results.rows {
        text.push_str(&line(row, &axes).join(","));
        text.push('\n');
    }
    text
}

fn line(row: &Row, axes: &[&str]) -> Vec<String> {
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
