//! One page with plots, without scripts, and without anything from elsewhere.

use std::fmt::Write as _;

use indexmap::{IndexMap, IndexSet};

use crate::cell::CellKey;
use crate::metric::Metric;
use crate::report::svg::escape;
use crate::report::{axes_of, cell_text, facts, limit_texts, method, plot, shown, verdict};
use crate::results::{Comparison, LimitCheck, Results, Row};

/// The report as HTML.
pub(super) fn html(results: &Results) -> String {
    let title = escape(&results.matrix.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
        include_str!("page.css")
    );
    write_paragraph(&mut page, &results.matrix.description);
    let class = match (results.limits.is_empty(), results.is_good()) {
        (true, _) => "neutral",
        (false, true) => "good",
        (false, false) => "bad",
    };
    let _ = writeln!(page, "<div class=\"verdict {class}\">{}</div>", verdict(results));
    write_facts(&mut page, results);
    if !results.limits.is_empty() {
        write_limits(&mut page, &results.limits);
    }
    if !results.comparisons.is_empty() {
        write_comparisons(&mut page, &results.comparisons);
    }
    for family in &results.matrix.families {
        let rows: Vec<&Row> =
            results.rows.iter().filter(|row| row.key.family() == family.name).collect();
        let _ = writeln!(page, "<h2>{}</h2>", escape(&family.name));
        write_paragraph(&mut page, &family.description);
        write_plots(&mut page, &family.name, &rows);
        write_table(&mut page, &rows);
    }
    page.push_str("<h2>How this was measured</h2>\n<ul>\n");
    for sentence in method(results) {
        let _ = writeln!(page, "<li>{}</li>", escape(&sentence));
    }
    page.push_str("</ul>\n");
    write_programs(&mut page, results);
    page.push_str("</body>\n</html>\n");
    page
}

fn write_paragraph(page: &mut String, text: &str) {
    if !text.trim().is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escape(text.trim()));
    }
}

fn write_facts(page: &mut String, results: &Results) {
    page.push_str("<dl>\n");
    for (name, fact) in facts(results) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&fact));
    }
    page.push_str("</dl>\n");
}

fn write_programs(page: &mut String, results: &Results) {
    page.push_str("<details><summary>Programs</summary>\n<table>\n");
    page.push_str("<tr><th class=\"word\">program</th><th class=\"word\">BLAKE3</th></tr>\n");
    for program in &results.environment.programs {
        let path = escape(&program.path.display().to_string());
        let hash = escape(&program.hash);
        let _ = writeln!(
            page,
            "<tr><td class=\"word\">{path}</td><td class=\"word\"><code>{hash}</code></td></tr>"
        );
    }
    page.push_str("</table></details>\n");
}

fn write_limits(page: &mut String, limits: &[LimitCheck]) {
    page.push_str("<h2>Limits</h2>\n");
    let (met, missed): (Vec<_>, Vec<_>) = limits.iter().partition(|check| check.is_met);
    if !missed.is_empty() {
        write_limit_table(page, &missed);
    }
    if !met.is_empty() {
        let _ = writeln!(page, "<details><summary>{} met</summary>", met.len());
        write_limit_table(page, &met);
        page.push_str("</details>\n");
    }
}

fn write_limit_table(page: &mut String, checks: &[&LimitCheck]) {
    page.push_str("<div class=\"wide\"><table>\n<tr><th class=\"word\">row</th>");
    page.push_str("<th class=\"word\">figure</th><th>is</th><th>should be</th><th></th></tr>\n");
    for check in checks {
        let (is, wanted) = limit_texts(check);
        let (class, mark) = if check.is_met { ("good", "met") } else { ("bad", "missed") };
        let _ = writeln!(
            page,
            "<tr><td class=\"word\">{}</td><td class=\"word\">{}</td><td>{}</td><td>{}</td>\
             <td class=\"{class}\">{mark}</td></tr>",
            escape(&check.cell.to_string()),
            check.limit.metric,
            escape(&is),
            escape(&wanted)
        );
    }
    page.push_str("</table></div>\n");
}

fn write_comparisons(page: &mut String, comparisons: &[Comparison]) {
    let pairs: IndexSet<_> = comparisons.iter().map(|one| (&one.base, &one.build)).collect();
    for (base, build) in pairs {
        let of_pair: Vec<&Comparison> =
            comparisons.iter().filter(|one| (&one.base, &one.build) == (base, build)).collect();
        let count = |wanted| of_pair.iter().filter(|one| one.is_better() == wanted).count();
        let (better, worse) = (count(Some(true)), count(Some(false)));
        let title = escape(&format!("{build} against {base}"));
        let _ = writeln!(
            page,
            "<h2>{title}</h2>\n<p>Of {} figures {better} are better, {worse} are worse, and {} show no \
             difference. Lines are intervals of the median ratio.</p>\n<div class=\"wide\">{}</div>",
            of_pair.len(),
            count(None),
            plot::comparisons(&title, &of_pair)
        );
    }
}

fn write_plots(page: &mut String, family: &str, rows: &[&Row]) {
    let rates: IndexSet<&str> = rows.iter().filter_map(|row| row.key.label("rate")).collect();
    for rate in rates {
        // Builds of a row stand side by side.
        let mut groups: IndexMap<CellKey, Vec<&Row>> = IndexMap::new();
        for row in rows.iter().filter(|row| row.key.label("rate") == Some(rate)) {
            groups.entry(row.key.without_build()).or_default().push(row);
        }
        let of_rate: Vec<&Row> = groups.into_values().flatten().collect();
        let title = match rate {
            "max" => String::from("As fast as possible"),
            rate => format!("{} operations a second", plot::rate_text(rate)),
        };
        let plot = plot::rows(&format!("{family}, {title}"), &of_rate, rows);
        let _ = writeln!(page, "<h3>{title}</h3>\n<div class=\"wide\">{plot}</div>");
    }
}

fn write_table(page: &mut String, rows: &[&Row]) {
    let axes = axes_of(rows.iter().copied());
    page.push_str("<details><summary>All figures</summary>\n<div class=\"wide\"><table>\n<tr>");
    for axis in &axes {
        let _ = write!(page, "<th class=\"word\">{}</th>", escape(axis));
    }
    page.push_str("<th>rate</th>");
    let shown: Vec<(Metric, &str)> = { shown(rows).into_iter() }
        .filter(|(metric, _)| rows.iter().any(|row| row.figure(*metric).is_some()))
        .collect();
    for (_, title) in &shown {
        let _ = write!(page, "<th>{title}</th>");
    }
    page.push_str("<th>spread</th><th class=\"word\">note</th></tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for axis in &axes {
            let value = escape(row.key.label(axis).unwrap_or_default());
            let _ = write!(page, "<td class=\"word\">{value}</td>");
        }
        let _ = write!(page, "<td>{}</td>", escape(row.key.label("rate").unwrap_or_default()));
        for (metric, _) in &shown {
            let _ = match (row.figure(*metric), cell_text(row, *metric)) {
                (Some(value), Some(text)) => write!(page, "<td title=\"{value}\">{text}</td>"),
                _ => write!(page, "<td></td>"),
            };
        }
        let notes: Vec<String> = row.notes.iter().map(ToString::to_string).collect();
        let notes = escape(&notes.join("; "));
        let spread = row.spread.core_ratio();
        let _ = writeln!(page, "<td>{spread:.2}</td><td class=\"note\">{notes}</td></tr>");
    }
    page.push_str("</table></div></details>\n");
}
