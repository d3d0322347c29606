//! Markdown.

use std::fmt::Write as _;

use crate::report::{axes_of, cell_text, facts, limit_texts, method, shown, verdict};
use crate::results::{Comparison, Results, Row};

/// The report as Markdown.
pub(super) fn markdown(results: &Results) -> String {
    let matrix = &results.matrix;
    let mut text = format!("# {}\n\n", plain(&matrix.title));
    write_paragraph(&mut text, &matrix.description);
    let _ = writeln!(text, "**{}**\n", verdict(results));
    for (name, fact) in facts(results) {
        let _ = writeln!(text, "- {name}: {}", plain(&fact));
    }
    for family in &matrix.families {
        let rows: Vec<&Row> =
            results.rows.iter().filter(|row| row.key.family() == family.name).collect();
        let _ = writeln!(text, "\n## {}\n", family.name);
        write_paragraph(&mut text, &family.description);
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

/// Text from outside as it may stand in a line: it is no markup, and it does not end the line.
fn plain(text: &str) -> String {
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    let is_block = text.starts_with(['#', '`', '~', '-', '+', '*', '_', '=']);
    let mut plain = String::from(if is_block { "\\" } else { "" });
    for letter in text.chars() {
        match letter {
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '|' => plain.push_str("&#124;"),
            // There are no links to elsewhere, nor pictures from there.
            '[' => plain.push_str("&#91;"),
            control if control.is_control() => plain.extend(control.escape_default()),
            other => plain.push(other),
        }
    }
    plain
}

fn write_paragraph(text: &mut String, paragraph: &str) {
    let paragraph = plain(paragraph);
    if !paragraph.is_empty() {
        let _ = writeln!(text, "{paragraph}\n");
    }
}

fn write_rows(text: &mut String, rows: &[&Row]) {
    let axes = axes_of(rows.iter().copied());
    let shown = shown(rows);
    let mut header: Vec<&str> = axes.iter().copied().collect();
    header.push("rate");
    header.extend(shown.iter().map(|(_, title)| *title));
    header.extend(["spread", "note"]);
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(header.len()));
    for row in rows {
        let label = |name: &str| row.key.label(name).unwrap_or("-").to_owned();
        let mut line: Vec<String> = axes.iter().map(|axis| label(axis)).collect();
        line.push(label("rate"));
        let figure = |&(metric, _): &_| cell_text(row, metric).unwrap_or_else(|| String::from("-"));
        line.extend(shown.iter().map(figure));
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
