//! Reports of a whole run. Each is made of [`Results`] and nothing else.

mod csv;
mod html;
mod markdown;
mod number;
mod plot;
mod svg;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use indexmap::IndexSet;

use crate::metric::Metric;
use crate::results::{LimitCheck, Results, Row};

/// The directory of reports in a run's directory.
const REPORT_DIRECTORY: &str = "report";

/// The files in it. Others are not a run's own.
const REPORTS: [&str; 4] = ["results.csv", "results.json", "results.md", "report.html"];

/// Where they are written first.
const STAGED: &str = ".report";

/// Why reports are not there, or are still there.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} {}; what was measured is safe: once {}, `cargo belljar bench report {}` finishes the job",
    .path.display(), remedy(.source), .run.display()
)]
pub struct PublishError {
    action: &'static str,
    path: PathBuf,
    run: PathBuf,
    source: io::Error,
}

/// What is to be done about it, to complete "once ".
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "there is room",
        io::ErrorKind::DirectoryNotEmpty => "nothing of anybody else is in it",
        _ => "that is mended",
    }
}

fn failed(action: &'static str, path: &Path, run: &Path) -> impl FnOnce(io::Error) -> PublishError {
    move |source| PublishError { action, path: path.to_owned(), run: run.to_owned(), source }
}

impl Results {
    /// The rows as comma-separated values, with a line of names first.
    pub fn csv(&self) -> String {
        csv::csv(self)
    }

    /// Everything as one JSON object.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain figures can be written");
        text.push('\n');
        text
    }

    /// For a terminal or a repository.
    pub fn markdown(&self) -> String {
        markdown::markdown(self)
    }

    /// One page with plots that needs no other file.
    pub fn html(&self) -> String {
        html::html(self)
    }

    /// Writes `results.csv`, `results.json`, `results.md` and `report.html` into `report` in a run's
    /// directory, in place of those that are there; all of them or none. Gives that directory.
    ///
    /// # Errors
    ///
    /// [`PublishError`] when the file system says no, or somebody else has put something in there.
    pub fn publish(&self, run: &Path) -> Result<PathBuf, PublishError> {
        let _turn = turn(run);
        // Of somebody who was killed.
        let _ = fs::remove_dir_all(run.join(STAGED));
        let staged = tempfile::Builder::new().prefix(STAGED).rand_bytes(0).tempdir_in(run);
        let staged = staged.map_err(failed("make a directory in", run, run))?;
        let texts = [self.csv(), self.json(), self.markdown(), self.html()];
        for (name, text) in REPORTS.into_iter().zip(texts) {
            let path = staged.path().join(name);
            // A report that is there after a crash is whole.
            let written = File::create_new(&path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
            written.map_err(failed("write", &path, run))?;
        }
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let set = fs::set_permissions(staged.path(), readable);
        set.map_err(failed("let others read", staged.path(), run))?;
        remove(run)?;
        let path = run.join(REPORT_DIRECTORY);
        let moved = fs::rename(staged.path(), &path);
        moved.map_err(failed("move the reports to", &path, run))?;
        // Only now is there nothing to clear away.
        let _ = staged.keep();
        Ok(path)
    }
}

/// Waits until nobody else publishes or withdraws. Where a file system has no locks, whoever comes
/// second may fail.
fn turn(run: &Path) -> Option<File> {
    let directory = File::open(run).ok()?;
    directory.lock().ok().map(|()| directory)
}

/// `family=ping rate=max: 123 k items/s, p50 7.9 µs, p99 12.3 µs, CPU 110 %`.
impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(out)?;
        for (index, (metric, title)) in [
            (Metric::ThroughputPerS, "items/s"),
            (Metric::LatencyP50Ns, "p50"),
            (Metric::LatencyP99Ns, "p99"),
            (Metric::TotalCpuPct, "CPU"),
        ]
        .into_iter()
        .enumerate()
        {
            let Some(value) = self.figure(metric) else { continue };
            let value = figure_text(metric, value);
            match index {
                0 => write!(out, ": {value} {title}")?,
                _ => write!(out, ", {title} {value}")?,
            }
        }
        self.notes.iter().try_for_each(|note| write!(out, "; {note}"))
    }
}

/// `family=ping rate=max: operations_per_s is 899, should be at least 900`.
impl fmt::Display for LimitCheck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is, wanted) = limit_texts(self);
        write!(out, "{}: {} is {is}, should be {wanted}", self.cell, self.limit.metric)
    }
}

/// Removes the reports of a run that is not, or no longer, whole. What somebody else has put beside them
/// stays.
///
/// # Errors
///
/// [`PublishError`] when they are there and stay.
pub fn withdraw(run: &Path) -> Result<(), PublishError> {
    let _turn = turn(run);
    remove(run)
}

fn remove(run: &Path) -> Result<(), PublishError> {
    let directory = run.join(REPORT_DIRECTORY);
    // Where nothing can be written nothing can be removed either, not even what is not there.
    let is_there = |path: &Path| match path.symlink_metadata() {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(_) => true,
    };
    let mut files = REPORTS.iter().map(|name| directory.join(name)).filter(|path| is_there(path));
    let removed = files.try_for_each(fs::remove_file).and_then(|()| {
        match is_there(&directory).then(|| fs::remove_dir(&directory)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    });
    removed.map_err(failed("remove the old reports in", &directory, run))
}

/// The labels that rows have besides family and rate, in the order in which they first appear.
fn axes_of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> IndexSet<&'a str> {
    let names = rows.into_iter().flat_map(|row| row.key.labels().map(|(name, _)| name));
    names.filter(|name| !["family", "rate"].contains(name)).collect()
}

/// What a table for people shows of a row.
const SHOWN: [(Metric, &str); 11] = [
    (Metric::ThroughputPerS, "items/s"),
    (Metric::OperationsPerS, "ops/s"),
    (Metric::LatencyP50Ns, "p50"),
    (Metric::LatencyP95Ns, "p95"),
    (Metric::LatencyP99Ns, "p99"),
    (Metric::LatencyP999Ns, "p99.9"),
    (Metric::LatencyMaxNs, "max"),
    (Metric::ClientCpuPct, "client CPU"),
    (Metric::ServerCpuPct, "server CPU"),
    (Metric::TotalCpuPct, "both"),
    (Metric::CpuNsPerOperation, "CPU per op"),
];

/// What a table of these rows shows. Operations have a column where they say something: whether rows
/// kept to their rate, or what a batch is.
fn shown(rows: &[&Row]) -> Vec<(Metric, &'static str)> {
    let has_rate = |row: &Row| row.key.label("rate") != Some("max");
    let has_batches =
        |row: &Row| row.figure(Metric::OperationsPerS) != row.figure(Metric::ThroughputPerS);
    let has_operations = rows.iter().any(|row| has_rate(row) || has_batches(row));
    let mut shown = Vec::from(SHOWN);
    shown.retain(|(metric, _)| *metric != Metric::OperationsPerS || has_operations);
    shown
}

/// A figure for people, with its unit.
fn figure_text(metric: Metric, value: f64) -> String {
    match metric {
        Metric::ThroughputPerS | Metric::OperationsPerS => number::count(value),
        Metric::ClientCpuPct | Metric::ServerCpuPct | Metric::TotalCpuPct => {
            format!("{value:.0} %")
        }
        _ => number::nanoseconds(value),
    }
}

/// A figure of a row for people: at a fixed rate its operations come with the part of it that they are.
fn cell_text(row: &Row, metric: Metric) -> Option<String> {
    let value = row.figure(metric)?;
    let text = figure_text(metric, value);
    let rate = row.key.label("rate").filter(|_| metric == Metric::OperationsPerS);
    let offered: Option<f64> = rate.and_then(|rate| rate.parse().ok());
    Some(match offered {
        Some(offered) => format!("{text} ({:.1} %)", value * 100.0 / offered),
        None => text,
    })
}

/// What the run was measured on and how, as pairs of a name and a text.
fn facts(results: &Results) -> Vec<(&'static str, String)> {
    let environment = &results.environment;
    let host = &environment.host;
    let policy = &results.matrix.policy;
    let unknown = || String::from("unknown");
    let known = |text: &Option<String>| text.clone().unwrap_or_else(unknown);
    let mut facts = Vec::new();
    let cpus = host.cpus.map_or_else(unknown, |cpus| cpus.to_string());
    let model = known(&host.cpu_model);
    let memory = host.memory_mib.map_or_else(unknown, |mib| format!("{mib} MiB"));
    facts.push(("machine", format!("{model}; {cpus} CPUs; {memory} of memory")));
    facts.push(("system", format!("Linux {}; {}", known(&host.kernel_release), known(&host.os))));
    let governor = environment.governor.as_deref().unwrap_or("not the kernel's to choose");
    let load = environment.load_1min.map_or_else(unknown, |load| format!("{load:.2}"));
    facts.push(("CPU clock", format!("{governor}; load before the run {load}")));
    let pinned = |cpus: &Option<belljar_topology::CpuSet>| {
        cpus.as_ref().map_or_else(|| String::from("any CPU"), |cpus| format!("CPUs {cpus}"))
    };
    let (client, server) = (pinned(&policy.client_cpus), pinned(&policy.server_cpus));
    let priority = match environment.nice {
        0 => String::new(),
        nice => format!("; at a priority of nice {nice}"),
    };
    facts.push(("placement", format!("clients on {client}; servers on {server}{priority}")));
    facts.push(("code", environment.project.short().unwrap_or_else(unknown)));
    for (name, build) in &results.matrix.builds {
        let made = match build.description().trim() {
            "" => "nobody says how it was made",
            description => description,
        };
        facts.push(("build", format!("{name}, {}: {made}", build.value())));
    }
    let (begun, ended) = (seconds(&results.begun_at), seconds(&results.ended_at));
    facts.push(("measured", format!("{begun} to {ended}")));
    let samples = format!("{} of each row", policy.samples);
    let interrupted = match results.interrupted {
        0 => String::new(),
        1 => String::from("; one was interrupted and measured again"),
        more => format!("; {more} were interrupted and measured again"),
    };
    facts.push((
        "samples",
        format!("{samples}, in an order from seed {}{interrupted}", results.seed),
    ));
    facts
}

/// A time to the second.
fn seconds(at: &belljar_record::Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{seconds}Z").replace('T', " ")
}

/// How the figures come about, in sentences.
fn method(results: &Results) -> Vec<String> {
    let policy = &results.matrix.policy;
    let mut method = vec![
        format!(
            "A row is the median of {} samples, each column by itself. All rows have a sample before \
             any has the next, in a random order.",
            policy.samples
        ),
        format!(
            "Without its lowest and its highest sample, a row's throughput may differ {}-fold at most. \
             Other processes may use {} CPUs at most. One row that breaks this, fails or is missing, \
             and nothing is published.",
            policy.spread_max, policy.foreign_cpus_max
        ),
        String::from(
            "At a fixed rate, ops/s is what was achieved, with the part of the offered rate in brackets.",
        ),
        String::from(
            "Latency is the time of one operation. At a fixed rate it counts from when the operation \
             was due.",
        ),
        String::from(
            "CPU is what the kernel counted for the process during the client's life, in percent of \
             one CPU.",
        ),
    ];
    if let Some(comparison) = results.comparisons.first() {
        method.push(format!(
            "A comparison is the median of the ratios of {} pairs of samples, measured one right after \
             the other in turns. The interval holds the true median with a probability of {:.1} %; of \
             comparisons without any difference about one in {:.0} looks like one.",
            comparison.pairs,
            comparison.ratio.confidence * 100.0,
            1.0 / (1.0 - comparison.ratio.confidence).max(1e-3)
        ));
    }
    method
}

/// In one line: whether the limits are met.
fn verdict(results: &Results) -> String {
    let (all, missed) = (results.limits.len(), results.missed().count());
    match (all, missed) {
        (0, _) => String::from("no limits declared"),
        (1, 0) => String::from("PASS: the limit is met"),
        (_, 0) => format!("PASS: all {all} limits are met"),
        _ => format!(
            "FAIL: {missed} of {all} limits {} missed",
            if missed == 1 { "is" } else { "are" }
        ),
    }
}

/// The value of a checked limit, and what it should be.
fn limit_texts(check: &LimitCheck) -> (String, String) {
    let limit = &check.limit;
    let is_ratio = limit.relative_to.is_some();
    let text = |value: f64| match (value.is_finite(), is_ratio) {
        (false, _) => String::from("none"),
        (true, true) => format!("{value:.2}x"),
        (true, false) => figure_text(limit.metric, value),
    };
    let floor = limit.at_least.map(|floor| format!("at least {}", text(floor)));
    let ceiling = limit.at_most.map(|ceiling| format!("at most {}", text(ceiling)));
    let wanted: Vec<String> = [floor, ceiling].into_iter().flatten().collect();
    let of = limit.relative_to.as_ref().map(|other| format!(" of {other}")).unwrap_or_default();
    (text(check.value), format!("{}{of}", wanted.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::matrix::Build;
    use crate::testing::{complete, with_throughputs};

    #[test]
    fn reports_are_published_together_and_withdrawn_together() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir_all(run.path().join(".report/of-one-that-was-killed")).unwrap();
        let results = judge(&complete(&["base", "new"])).unwrap();
        for _ in 0..2 {
            let path = results.publish(run.path()).unwrap();
            let mut names: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(names, ["report.html", "results.csv", "results.json", "results.md"]);
            assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1, "nothing else is left");
        }
        withdraw(run.path()).unwrap();
        withdraw(run.path()).unwrap();
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_somebody_elses_stays() {
        let run = tempfile::tempdir().unwrap();
        let results = judge(&complete(&[])).unwrap();
        let theirs = results.publish(run.path()).unwrap().join("notes.txt");
        fs::write(&theirs, "mine").unwrap();
        withdraw(run.path()).unwrap();
        assert_eq!(fs::read_dir(run.path().join("report")).unwrap().count(), 1);
        let error = results.publish(run.path()).unwrap_err().to_string();
        assert!(error.contains("move the reports to") && error.contains("bench report"), "{error}");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "mine");
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1, "what was staged is gone");
    }

    #[test]
    fn many_may_publish_at_once() {
        let run = tempfile::tempdir().unwrap();
        let results = judge(&complete(&[])).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| drop(results.publish(run.path()).unwrap())));
            }
        });
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(run.path().join("report")).unwrap().count(), 4);
    }

    #[test]
    fn a_full_disk_is_told_of_with_what_finishes_the_job() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = failed("write", Path::new("run/report"), Path::new("run"))(full);
        let (text, wanted) =
            (error.to_string(), "once there is room, `cargo belljar bench report run`");
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn csv_has_every_row_under_one_header() {
        let csv = judge(&complete(&[])).unwrap().csv();
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 10);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
        assert_eq!(
            lines[0][..6],
            ["family", "client", "server", "rate_per_s", "samples", "throughput_per_s"]
        );
        assert_eq!(lines[1][..6], ["ping", "rust", "rust", "max", "5", "1000"]);
        assert_eq!(lines[9][..6], ["copy", "c", "", "max", "5", "1000"]);
        let column = |name| lines[0].iter().position(|&column| column == name).unwrap();
        assert_eq!(lines[1][column("latency_p50_ns")], "9000");
        assert_eq!(
            (lines[9][column("latency_p50_ns")], lines[9][column("server_cpu_pct")]),
            ("", "")
        );
    }

    #[test]
    fn json_is_whole() {
        let json: serde_json::Value =
            serde_json::from_str(&judge(&complete(&["a", "b"])).unwrap().json()).unwrap();
        assert_eq!(json["passed"], true);
        assert_eq!(json["rows"].as_array().unwrap().len(), 18);
        assert_eq!(json["rows"][0]["samples"].as_array().unwrap().len(), 5);
        assert_eq!(json["rows"][0]["figures"]["latency_p50_ns"], 9000.0);
        assert_eq!(json["comparisons"][0]["metric"], "throughput_per_s");
    }

    #[test]
    fn markdown_says_what_is_missed() {
        let mut state = complete(&[]);
        with_throughputs(&mut state, 0, &[899.0; 5]);
        let text = judge(&state).unwrap().markdown();
        for expected in [
            "# Pings\n",
            "**FAIL: 1 of 6 limits is missed**",
            "| family=ping client=rust server=rust rate=max | operations_per_s | 899 | at least 900 | **missed** |",
            "| client | server | rate | items/s | ops/s | p50 |",
            "| rust | c | 1000 | 1000 | 1000 (100.0 %) | 9.0 µs |",
            "| client | rate | items/s | p50 |",
            "| c | max | 1000 | - |",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn every_report_says_how_builds_were_made_and_what_was_achieved() {
        let mut state = complete(&["base", "new"]);
        let (value, description) = (String::from("out/new"), String::from(" -O2,\n\"<b>\" "));
        state.begun.matrix.builds["new"] = Build::Described { value, description };
        state.begun.environment.nice = 19;
        with_throughputs(&mut state, 1, &[917.0; 5]);
        let results = judge(&state).unwrap();
        let json: serde_json::Value = serde_json::from_str(&results.json()).unwrap();
        let builds = &json["matrix"]["builds"];
        assert_eq!(
            (&builds["base"], &builds["new"]["value"]),
            (&"out/base".into(), &"out/new".into())
        );
        assert_eq!(json["environment"]["nice"], 19);
        for (report, expected) in [
            (results.json(), "\"description\": \" -O2,\\n\\\"<b>\\\" \""),
            (results.json(), "\"operations_per_s\": 917.0"),
            (results.markdown(), "- build: base, out/base: nobody says how it was made\n"),
            (results.markdown(), "- build: new, out/new: -O2, \"&lt;b&gt;\"\n"),
            (results.markdown(), " | 1000 | 917 | 917 (91.7 %) | "),
            (results.markdown(), "; at a priority of nice 19\n"),
            (results.html(), "<dd>new, out/new: -O2,\n&quot;&lt;b&gt;&quot;</dd>"),
            (results.html(), "<td title=\"917\">917 (91.7 %)</td>"),
            (results.csv(), ",note,build_description\n"),
            (results.csv(), ",\"-O2, \"\"<b>\"\"\"\n"),
            (results.csv(), "1000,5,917,917,"),
        ] {
            assert!(report.contains(expected), "{expected}\n{report}");
        }
    }

    #[test]
    fn tables_show_operations_where_they_are_not_items() {
        let mut results = judge(&complete(&[])).unwrap();
        let (head, last) = ("<th>items/s</th><th>ops/s</th>", results.rows.len() - 1);
        assert_eq!(results.html().matches(head).count(), 1, "the family with a rate");
        results.rows[last].figures[&Metric::ThroughputPerS] = 64_000.0;
        assert_eq!(results.html().matches(head).count(), 2);
        assert!(results.markdown().contains("| c | max | 64.0 k | 1000 | - |"));
    }

    #[test]
    fn markdown_cannot_be_forged() {
        let mut state = complete(&[]);
        let matrix = &mut state.begun.matrix;
        matrix.title = String::from("a\n# b\u{1b}]0;c\u{7}");
        matrix.description = String::from(" # PASS\n\n<b>|\\<i>\n");
        matrix.families[0].description = String::from("\r\n## d");
        matrix.families[1].description = String::from("```\n![g](http://h) \\[");
        state.begun.environment.host.os = Some(String::from("e\n\n## f"));
        let text = judge(&state).unwrap().markdown();
        for expected in [
            "# a # b\\u{1b}]0;c\\u{7}\n",
            "\n\\# PASS &lt;b&gt;&#124;\\&lt;i&gt;\n",
            "\n\\## d\n",
            "\n\\``` !&#91;g](http://h) \\&#91;\n",
            "; e ## f\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let headings = text.lines().filter(|line| line.starts_with('#')).count();
        assert_eq!(headings, 5, "{text}");
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'));
    }

    #[test]
    fn the_page_needs_nothing_else_and_is_well_formed() {
        let mut state = complete(&["base", "new"]);
        state.begun.matrix.title = String::from("<script>alert(1)</script> & \"more\"");
        let html = judge(&state).unwrap().html();
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"));
        for outside in ["<script", "http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        // Every tag is closed in its turn.
        let mut open = Vec::new();
        for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
            match () {
                () if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
                () if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
                () => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!html.contains("NaN") && !html.contains("inf\""));
    }
}
