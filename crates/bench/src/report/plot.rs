//! The plots: rows as lines, figures as columns.

use std::collections::BTreeSet;

use indexmap::IndexSet;

use crate::cell::BUILD;
use crate::metric::Metric;
use crate::report::svg::{Scale, Svg};
use crate::report::{figure_text, number};
use crate::results::{Comparison, Row};

const WIDTH: f64 = 1000.0;
const LINE: f64 = 24.0;
/// Above the first line: the titles of the columns.
const HEAD: f64 = 26.0;
/// Below the last line: the numbers of the axes.
const FOOT: f64 = 24.0;

/// Throughput with every sample, latency percentiles and CPU time of rows that share a rate. The scale
/// of latencies is that of `family`, so that plots of one family can be compared.
pub(super) fn rows(title: &str, rows: &[&Row], family: &[&Row]) -> String {
    let names: Vec<String> = rows.iter().map(|row| row.key.axes_text()).collect();
    let mut plot = Plot::new(title, names.iter());
    let has_latency = rows.iter().any(|row| row.figure(Metric::LatencyP50Ns).is_some());
    // Each column leaves room for a number behind it.
    let columns = if has_latency { [0.40, 0.73, 1.0] } else { [0.66, 0.66, 1.0] };
    let columns = columns.map(|end| plot.label_end + end * (WIDTH - plot.label_end));
    let throughput = throughput_scale(rows, (plot.label_end + 10.0, columns[0] - 80.0));
    plot.column("items/s: median, and each sample", &throughput, number::count);
    let latency = has_latency.then(|| {
        let all = |metric| family.iter().filter_map(move |row| row.figure(metric));
        let low = all(Metric::LatencyP50Ns).fold(f64::INFINITY, f64::min);
        let high = all(Metric::LatencyP999Ns).fold(0.0, f64::max);
        let scale = Scale::log(low, high, (columns[0] + 10.0, columns[1] - 70.0));
        plot.column("latency: p50, p99, p99.9", &scale, number::nanoseconds);
        scale
    });
    let total = rows.iter().filter_map(|row| row.figure(Metric::TotalCpuPct));
    let cpu = Scale::linear(total.fold(0.0, f64::max), (columns[1] + 10.0, columns[2] - 55.0));
    plot.column("CPU: client, server", &cpu, |percent| format!("{percent:.0} %"));
    let first_build = rows.first().and_then(|row| row.key.label(BUILD));
    for (index, (row, name)) in rows.iter().zip(&names).enumerate() {
        let middle = plot.line(index, name);
        let is_other_build = row.key.label(BUILD) != first_build;
        plot.throughput(&throughput, middle, row, is_other_build);
        if let Some(scale) = &latency {
            plot.latency(scale, middle, row);
        }
        plot.cpu(&cpu, middle, row);
    }
    plot.svg.finish()
}

/// How many times more one row may do than another for both to be seen on a linear scale.
const LINEAR_RATIO_MAX: f64 = 20.0;

fn throughput_scale(rows: &[&Row], place: (f64, f64)) -> Scale {
    let highest = rows.iter().map(|row| row.spread.raw_max).fold(0.0, f64::max);
    let lowest = rows.iter().map(|row| row.spread.raw_min).fold(f64::INFINITY, f64::min);
    let medians = || rows.iter().filter_map(|row| row.figure(Metric::ThroughputPerS));
    let ratio = medians().fold(0.0, f64::max) / medians().fold(f64::INFINITY, f64::min);
    if ratio > LINEAR_RATIO_MAX {
        Scale::log(lowest, highest, place)
    } else {
        Scale::linear(highest, place)
    }
}

/// Ratios of two builds, one column for each figure.
pub(super) fn comparisons(title: &str, comparisons: &[&Comparison]) -> String {
    let names: IndexSet<String> = comparisons.iter().copied().map(comparison_name).collect();
    let metrics: BTreeSet<Metric> = comparisons.iter().map(|one| one.metric).collect();
    let mut plot = Plot::new(title, names.iter());
    let each = (WIDTH - plot.label_end) / metrics.len().max(1) as f64;
    for (column, metric) in metrics.iter().enumerate() {
        let of_metric = || comparisons.iter().filter(|one| one.metric == *metric);
        let ends = of_metric().flat_map(|one| [one.ratio.low, one.ratio.high]);
        let ends = ends.filter(|end| *end > 0.0 && end.is_finite());
        let (low, high) = ends.fold((0.95, 1.05), |(low, high), end| (end.min(low), end.max(high)));
        let start = plot.label_end + column as f64 * each;
        let scale = Scale::log(low, high, (start + 14.0, start + each - 14.0));
        let better = if metric.is_higher_better() { "more" } else { "less" };
        plot.column(&format!("{}, {better} is better", short(*metric)), &scale, |ratio| {
            let text = format!("{ratio:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        });
        plot.upright("one", scale.at(1.0));
        for comparison in of_metric() {
            let name = comparison_name(comparison);
            let Some(index) = names.get_index_of(&name) else { continue };
            plot.ratio(&scale, index, comparison);
        }
    }
    for (index, name) in names.iter().enumerate() {
        plot.line(index, name);
    }
    plot.svg.finish()
}

/// The name of a row in the plot of a comparison of builds.
fn comparison_name(comparison: &Comparison) -> String {
    let key = &comparison.cell;
    let axes = key.axes_text();
    let space = if axes.is_empty() { "" } else { " " };
    let rate = match key.label("rate") {
        None | Some("max") => String::new(),
        Some(rate) => format!(" {}/s", rate_text(rate)),
    };
    format!("{}{space}{axes}{rate}", key.family())
}

/// A rate for people: `100 k`.
pub(super) fn rate_text(rate: &str) -> String {
    rate.parse().map_or_else(|_| rate.to_owned(), number::count)
}

fn short(metric: Metric) -> &'static str {
    match metric {
        Metric::ThroughputPerS => "items/s",
        Metric::LatencyP50Ns => "p50",
        Metric::LatencyP99Ns => "p99",
        Metric::CpuNsPerOperation => "CPU/op",
        other => other.name(),
    }
}

/// The middle of a line.
fn middle(index: usize) -> f64 {
    HEAD + (index as f64 + 0.5) * LINE
}

/// A plot that is being drawn.
struct Plot {
    svg: Svg,
    lines: f64,
    label_end: f64,
}

impl Plot {
    fn new<'a>(title: &str, names: impl ExactSizeIterator<Item = &'a String> + Clone) -> Self {
        let longest = names.clone().map(|name| name.chars().count()).max().unwrap_or(0);
        // About the width of a character.
        let label_end = (longest as f64 * 7.2 + 8.0).clamp(60.0, 400.0);
        let lines = names.len() as f64;
        Self { svg: Svg::new(WIDTH, HEAD + lines * LINE + FOOT, title), lines, label_end }
    }

    /// A title and an axis.
    fn column(&mut self, title: &str, scale: &Scale, number: impl Fn(f64) -> String) {
        let (start, end) = scale.place;
        self.svg.text("head", (start, HEAD - 10.0), title);
        let bottom = HEAD + self.lines * LINE;
        let mut free_from = f64::NEG_INFINITY;
        for tick in scale.ticks() {
            let at = scale.at(tick);
            self.svg.line("grid", (at, HEAD), (at, bottom));
            let text = number(tick);
            // About the width of a character, and some space.
            let half = text.chars().count() as f64 * 3.2 + 3.0;
            if at - half >= free_from && at <= end + 1.0 {
                self.svg.text("tick", (at, bottom + 15.0), text);
                free_from = at + half;
            }
        }
    }

    fn upright(&mut self, class: &str, at: f64) {
        self.svg.line(class, (at, HEAD), (at, HEAD + self.lines * LINE));
    }

    /// The name of a line; gives its middle.
    fn line(&mut self, index: usize, name: &str) -> f64 {
        let middle = middle(index);
        let name = if name.is_empty() { "all" } else { name };
        self.svg.text("label", (self.label_end, middle + 4.0), name);
        middle
    }

    fn throughput(&mut self, scale: &Scale, middle: f64, row: &Row, is_other_build: bool) {
        let Some(median) = row.figure(Metric::ThroughputPerS) else { return };
        let (start, end) = scale.place;
        let other = if is_other_build { " other" } else { "" };
        if scale.is_log {
            // A bar would begin nowhere in particular.
            let at = scale.at(median);
            let ends = ((at, middle - 8.0), (at, middle + 8.0));
            self.svg.line(&format!("median{other}"), ends.0, ends.1);
        } else {
            let width = scale.at(median) - start;
            self.svg.rect(&format!("bar{other}"), (start, middle - 7.0), (width, 14.0));
        }
        for sample in &row.samples {
            let per_s = sample.per_second(sample.items);
            self.svg.dot("sample", (scale.at(per_s), middle), 2.5);
        }
        let text = figure_text(Metric::ThroughputPerS, median);
        self.svg.text("value", (end + 8.0, middle + 4.0), text);
    }

    fn latency(&mut self, scale: &Scale, middle: f64, row: &Row) {
        let at = |metric| row.figure(metric).map(|value| (scale.at(value), middle));
        let (Some(p50), Some(p99), Some(p999)) =
            (at(Metric::LatencyP50Ns), at(Metric::LatencyP99Ns), at(Metric::LatencyP999Ns))
        else {
            return;
        };
        self.svg.line("range", p50, p999);
        self.svg.dot("p50", p50, 4.5);
        self.svg.line("p99", (p99.0, middle - 6.0), (p99.0, middle + 6.0));
        self.svg.dot("p999", p999, 3.5);
        let text =
            figure_text(Metric::LatencyP50Ns, row.figure(Metric::LatencyP50Ns).unwrap_or(0.0));
        self.svg.text("value", (scale.place.1 + 8.0, middle + 4.0), text);
    }

    fn ratio(&mut self, scale: &Scale, index: usize, comparison: &Comparison) {
        let class = match comparison.is_better() {
            Some(true) => "better",
            Some(false) => "worse",
            None => "unclear",
        };
        let (middle, ratio) = (middle(index), &comparison.ratio);
        let ends = ((scale.at(ratio.low), middle), (scale.at(ratio.high), middle));
        self.svg.line(&format!("interval {class}"), ends.0, ends.1);
        self.svg.dot(class, (scale.at(ratio.median), middle), 4.5);
    }

    fn cpu(&mut self, scale: &Scale, middle: f64, row: &Row) {
        let start = scale.place.0;
        let client = row.figure(Metric::ClientCpuPct).unwrap_or(0.0);
        let total = row.figure(Metric::TotalCpuPct).unwrap_or(0.0);
        let (client_end, end) = (scale.at(client), scale.at(total));
        self.svg.rect("client", (start, middle - 7.0), (client_end - start, 14.0));
        self.svg.rect("server", (client_end, middle - 7.0), (end - client_end, 14.0));
        let text = figure_text(Metric::TotalCpuPct, total);
        self.svg.text("value", (scale.place.1 + 8.0, middle + 4.0), text);
    }
}
