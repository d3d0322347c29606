//! Markdown.

use std::fmt::Write as _;

use crate::report::{SHOWN, axes_of, facts, figure_text, limit_texts, method, verdict};
use crate::results::{Comparison, Results, Row};

/// The report as Markdown.
pub(super) fn markdown(results: &Results) -> String {
    let matrix = &results.matrix;
    let mut text = format!("# {}\n\n", matrix.title);
    if !matrix.description.is_empty() {
        let _ = writeln!(text, "{}\n", matrix.description.trim());
    }
    let _ = writeln!(text, "**{}**\n", verdict(results));
    for (name, fact) in facts(results) {
        let _ = writeln!(text, "- {name}: {fact}");
    }
    for family in &matrix.families {
        let rows: Vec<&Row> =
            results.rows.iter().filter(|row| row.key.family() == family.name).collect();
        let _ = writeln!(text, "\n## {}\n", family.name);
        if !family.description.is_empty() {
            let _ = writeln!(text, "{}\n", family.description.trim());
        }
        write_rows(&mut text, &rows);
    }
    if !results.comparisons.is_empty() {
        let _ = writeln!(text, "\n## Builds\n");
        write_comparisons(&mut text, &results.comparisons);
    }
    if !results.limits.is_empty() {
        let _ = writeln!(text, "\n## Limits\n");
        let _ =
            writeln!(text, "| row | figure | is | should be | |\n| --- | --- | --- | --- | --- |");
        for check in &results.limits {
            let (is, wanted) = limit_texts(check);
            let mark = if check.is_met { "met" } else { "**missed**" };
            let metric = check.limit.metric;
            let _ = writeln!(text, "| {} | {metric} | {is} | {wanted} | {mark} |", check.cell);
        }
    }
    let _ = writeln!(text, "\n## How this was measured\n");
    for sentence in method(results) {
        let _ = writeln!(text, "- {sentence}");
    }
    text
}

fn write_rows(text: &mut String, rows: &[&Row]) {
    let axes = axes_of(rows.iter().copied());
    let mut header: Vec<&str> = axes.clone();
    header.push("rate");
    header.extend(SHOWN.map(|(_, title)| title));
    header.extend(["spread", "note"]);
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(header.len()));
    for row in rows {
        let label = |name: &str| row.key.label(name).unwrap_or("-").to_owned();
        let mut line: Vec<String> = axes.iter().map(|axis| label(axis)).collect();
        line.push(label("rate"));
        line.extend(SHOWN.map(|(metric, _)| match row.figure(metric) {
            Some(value) => figure_text(metric, value),
            None => String::from("-"),
        }));
        line.push(format!("{:.2}", row.spread.core_ratio()));
        let notes: Vec<String> = row.notes.iter().map(ToString::to_string).collect();
        line.push(notes.join("; "));
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
}

fn write_comparisons(text: &mut String, comparisons: &[Comparison]) {
    let _ = writeln!(
        text,
        "| row | figure | builds | ratio | interval | |\n{}",
        "| --- ".repeat(6) + "|"
    );
    for comparison in comparisons {
        let Comparison { cell, base, build, metric, ratio, .. } = comparison;
        let mark = match comparison.is_better() {
            Some(true) => "better",
            Some(false) => "**worse**",
            None => "no difference shown",
        };
        let interval = format!("{:.3} to {:.3}", ratio.low, ratio.high);
        let builds = format!("{build} / {base}");
        let median = ratio.median;
        let _ =
            writeln!(text, "| {cell} | {metric} | {builds} | {median:.3} | {interval} | {mark} |");
    }
}
