//! The matrix: what is to be measured, as declared.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::cell::{BUILD, Cell, CellKey, Work};
use crate::command::{CommandLine, Words, expand};
use crate::limit::{Limit, Selection};
use crate::metric::Metric;
use crate::name::{is_axis_name, is_name};
use crate::policy::{Policy, seconds_fault};
use crate::rate::Rate;

/// What is to be measured: families of rows, their axes and rates, how each is measured, and what it
/// must reach. It is read from TOML, and checked whole before anything runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// What the report is called.
    pub title: String,
    /// A paragraph for the report.
    #[serde(default)]
    pub description: String,
    /// How rows are measured.
    #[serde(default)]
    pub policy: Policy,
    /// Builds that are measured side by side. With two or more every family has a row for each, and the
    /// report compares each with the first.
    #[serde(default)]
    pub builds: IndexMap<String, Build>,
    /// The axes that families choose from.
    #[serde(default)]
    pub axes: IndexMap<String, Axis>,
    /// The families.
    #[serde(rename = "family")]
    pub families: Vec<Family>,
    /// Floors and ceilings.
    #[serde(default, rename = "limit")]
    pub limits: Vec<Limit>,
}

/// What `{build.value}` stands for, most often a directory; and how it was made, if anybody says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a build is \"VALUE\", or { value = \"VALUE\", description = \"how it was made\" }"
)]
pub enum Build {
    /// The value alone.
    Value(String),
    /// Both.
    Described {
        /// The value.
        value: String,
        /// The commit, flags and compiler, for the report.
        description: String,
    },
}

impl Build {
    /// What `{build.value}` stands for.
    pub fn value(&self) -> &str {
        match self {
            Self::Value(value) | Self::Described { value, .. } => value,
        }
    }

    /// How it was made; empty when nobody says.
    pub fn description(&self) -> &str {
        match self {
            Self::Value(_) => "",
            Self::Described { description, .. } => description,
        }
    }
}

/// The values of an axis: a list of names, or a table of names and what `{axis.value}` stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axis {
    /// Names that stand for themselves.
    Names(Vec<String>),
    /// Names that stand for something else.
    Values(IndexMap<String, String>),
}

impl Axis {
    /// Names and what they stand for.
    fn values(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Names(names) => names.iter().map(|name| (name.as_str(), name.as_str())).collect(),
            Self::Values(values) => {
                values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
            }
        }
    }
}

/// Rows that measure the same in several ways: one for each combination of axes and rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// What it is called.
    pub name: String,
    /// What it measures, for the report.
    #[serde(default)]
    pub description: String,
    /// The axes that it has.
    #[serde(default)]
    pub axes: Vec<String>,
    /// Values to leave the others of an axis out for.
    #[serde(default)]
    pub only: IndexMap<String, Vec<String>>,
    /// The rates.
    #[serde(default = "max_rate")]
    pub rates: Vec<Rate>,
    /// What its clients measure for, in seconds, whatever the rate; as the policy says when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Whether its clients report latencies.
    #[serde(default = "yes")]
    pub latency: bool,
    /// The command of the client.
    pub(crate) client: CommandLine,
    /// The command of the server, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<CommandLine>,
    /// Files that exist once the server is ready, besides its word.
    #[serde(default)]
    pub ready_paths: Vec<String>,
}

fn max_rate() -> Vec<Rate> {
    vec![Rate::Max]
}

fn yes() -> bool {
    true
}

/// The most rows of a matrix. A mistake in an axis should not be found out about next year.
const CELLS_MAX: usize = 10_000;

/// Why there is no matrix.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// A file cannot be read.
    #[error("cannot read the matrix {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has fields that are not known or miss.
    #[error("the matrix cannot be understood\n{0}")]
    Syntax(Box<toml::de::Error>),
    /// What it says makes no sense.
    #[error("{place}: {problem}")]
    Sense {
        /// Where, as `[[family]] ping`.
        place: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

fn wrong(place: impl Into<String>, problem: impl Into<String>) -> MatrixError {
    MatrixError::Sense { place: place.into(), problem: problem.into() }
}

impl Matrix {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`MatrixError`] with the place and what would be right there.
    pub fn read(path: &Path) -> Result<Self, MatrixError> {
        Self::parse(&read(path)?)
    }

    /// Reads and checks a file with other builds than its own, if it has any.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and as [`with_builds`](Self::with_builds).
    pub fn read_with_builds(
        path: &Path,
        builds: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, MatrixError> {
        Self::understand(&read(path)?)?.with_builds(builds)
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let matrix = Self::understand(text)?;
        matrix.check()?;
        Ok(matrix)
    }

    /// Reads a text, and leaves whether it makes sense to be checked.
    pub(crate) fn understand(text: &str) -> Result<Self, MatrixError> {
        toml::from_str(text).map_err(|error| MatrixError::Syntax(Box::new(error)))
    }

    /// The same matrix with other builds.
    ///
    /// # Errors
    ///
    /// [`MatrixError`] when a name is none, or a limit no longer has a row.
    pub fn with_builds(
        mut self,
        builds: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, MatrixError> {
        self.builds.clear();
        for (name, value) in builds {
            if self.builds.insert(name.clone(), Build::Value(value)).is_some() {
                return Err(wrong("builds", format!("`{name}` is there twice")));
            }
        }
        self.check()?;
        Ok(self)
    }

    /// All rows: families in their order; in each builds, axes and rates, the last varying fastest.
    pub fn cells(&self) -> Vec<Cell> {
        self.families.iter().flat_map(|family| self.cells_of(family)).collect()
    }

    fn cells_of(&self, family: &Family) -> Vec<Cell> {
        let mut combinations: Vec<Vec<(&str, &str, &str)>> = vec![Vec::new()];
        for (axis, values) in self.dimensions(family) {
            combinations = combinations
                .iter()
                .flat_map(|chosen| {
                    values.iter().map(move |(name, value)| {
                        let mut longer = chosen.clone();
                        longer.push((axis, *name, *value));
                        longer
                    })
                })
                .collect();
        }
        let of = |chosen: &Vec<(&str, &str, &str)>| -> Vec<Cell> {
            family.rates.iter().map(|&rate| self.cell(family, chosen, rate)).collect()
        };
        combinations.iter().flat_map(of).collect()
    }

    /// What rows of a family differ in besides their rate: builds if there are any, and axes, each with
    /// its values and what they stand for.
    fn dimensions<'a>(&'a self, family: &'a Family) -> Vec<(&'a str, Vec<(&'a str, &'a str)>)> {
        let builds = self.builds.iter().map(|(name, value)| (name.as_str(), value.value()));
        let mut dimensions: Vec<(&str, Vec<(&str, &str)>)> = vec![(BUILD, builds.collect())];
        dimensions.extend(family.axes.iter().map(|axis| {
            let only = family.only.get(axis);
            let is_wanted =
                |name: &str| only.is_none_or(|only| only.iter().any(|wanted| wanted == name));
            let mut values = self.axes.get(axis).map(Axis::values).unwrap_or_default();
            values.retain(|(name, _)| is_wanted(name));
            (axis.as_str(), values)
        }));
        dimensions.retain(|(axis, values)| *axis != BUILD || !values.is_empty());
        dimensions
    }

    /// How many rows a family has, counted before they are made; `None` when they are too many.
    fn rows_of(&self, family: &Family) -> Option<usize> {
        let counts = self.dimensions(family).into_iter().map(|(_, values)| values.len());
        let rows = counts.chain([family.rates.len()]).try_fold(1_usize, usize::checked_mul);
        rows.filter(|&rows| rows <= CELLS_MAX)
    }

    fn cell(&self, family: &Family, chosen: &[(&str, &str, &str)], rate: Rate) -> Cell {
        let duration_s = family.duration_s.unwrap_or(match rate {
            Rate::Max => self.policy.duration_max_rate_s,
            Rate::PerSecond(_) => self.policy.duration_s,
        });
        let rate_text = rate.to_string();
        let labels = { chosen.iter() }.map(|(axis, name, _)| (*axis, *name));
        let labels = [("family", family.name.as_str())].into_iter().chain(labels);
        let key = CellKey::new(labels.chain([("rate", rate_text.as_str())]));
        let mut words = Words::new();
        for (axis, name, value) in chosen {
            words.insert((*axis).to_owned(), (*name).to_owned());
            words.insert(format!("{axis}.value"), (*value).to_owned());
        }
        words.insert("family".into(), family.name.clone());
        words.insert("duration_s".into(), duration_s.to_string());
        let per_second = rate.per_second().map_or(0, std::num::NonZero::get);
        words.insert("rate_per_s".into(), per_second.to_string());
        let work = Work {
            client: family.client.clone(),
            server: family.server.clone(),
            ready_paths: family.ready_paths.clone(),
            words,
        };
        Cell { key, rate, duration_s, has_latency: family.latency, work }
    }

    pub(crate) fn check(&self) -> Result<(), MatrixError> {
        if self.title.trim().is_empty() {
            return Err(wrong("title", "a report needs one"));
        }
        if let Some(fault) = self.policy.fault() {
            return Err(wrong("[policy]", fault));
        }
        self.check_axes()?;
        if self.families.is_empty() {
            return Err(wrong("[[family]]", "there is none, so there is nothing to measure"));
        }
        let (mut names, mut rows) = (HashSet::new(), 0);
        for family in &self.families {
            rows += self.check_family(family)?;
            if !names.insert(&family.name) {
                let place = format!("[[family]] {}", family.name);
                return Err(wrong(place, "another family has the same name"));
            }
        }
        if rows > CELLS_MAX {
            let problem = format!("there are {rows} rows, more than {CELLS_MAX}");
            return Err(wrong("[[family]]", problem));
        }
        self.families.iter().try_for_each(|family| self.check_commands(family))?;
        self.check_limits(&self.cells())
    }

    fn check_axes(&self) -> Result<(), MatrixError> {
        for name in self.builds.keys() {
            if !is_name(name) {
                return Err(wrong("[builds]", not_a_name(name)));
            }
        }
        for (name, axis) in &self.axes {
            let place = format!("[axes] {name}");
            if !is_axis_name(name) {
                return Err(wrong(
                    place,
                    "an axis is letters, digits, `-` and `_`, and none of the words that mean something else: family, build, rate, run_dir, service, duration_s, rate_per_s",
                ));
            }
            let mut seen = HashSet::new();
            for (value, _) in axis.values() {
                if !is_name(value) {
                    return Err(wrong(place, not_a_name(value)));
                }
                if !seen.insert(value) {
                    return Err(wrong(place, format!("`{value}` is there twice")));
                }
            }
            if seen.is_empty() {
                return Err(wrong(place, "it has no values"));
            }
        }
        Ok(())
    }

    /// Checks everything but its commands, and gives how many rows it has.
    fn check_family(&self, family: &Family) -> Result<usize, MatrixError> {
        let place = || format!("[[family]] {}", family.name);
        if !is_name(&family.name) {
            return Err(wrong(place(), not_a_name(&family.name)));
        }
        let mut seen = HashSet::new();
        for axis in &family.axes {
            if !self.axes.contains_key(axis) {
                let known: Vec<&str> = self.axes.keys().map(String::as_str).collect();
                let known = known.join(", ");
                return Err(wrong(place(), format!("[axes] has no `{axis}`; it has {known}")));
            }
            if !seen.insert(axis) {
                return Err(wrong(place(), format!("axis `{axis}` is there twice")));
            }
        }
        for (axis, wanted) in &family.only {
            let values = self.axes.get(axis).filter(|_| seen.contains(axis));
            let Some(values) = values.map(Axis::values) else {
                let problem = format!("`only` names `{axis}`, which is none of its axes");
                return Err(wrong(place(), problem));
            };
            let is_known = |name: &String| values.iter().any(|(value, _)| value == name);
            if wanted.is_empty() || !wanted.iter().all(is_known) {
                let problem = format!("`only` must name values of `{axis}`, at least one");
                return Err(wrong(place(), problem));
            }
        }
        let rates: HashSet<&Rate> = family.rates.iter().collect();
        if family.rates.is_empty() || rates.len() < family.rates.len() {
            return Err(wrong(place(), "`rates` needs at least one, and none twice"));
        }
        if let Some(fault) = family.duration_s.and_then(seconds_fault) {
            return Err(wrong(place(), format!("`duration_s` {fault}")));
        }
        if family.server.is_none() && !family.ready_paths.is_empty() {
            return Err(wrong(place(), "`ready_paths` without a server wait for nothing"));
        }
        let too_many = || wrong(place(), format!("it has more than {CELLS_MAX} rows"));
        self.rows_of(family).ok_or_else(too_many)
    }

    fn check_commands(&self, family: &Family) -> Result<(), MatrixError> {
        let place = |what: &str| format!("[[family]] {}, {what}", family.name);
        let cells = self.cells_of(family);
        for cell in &cells {
            let words = words_of_run(&cell.work.words, Path::new("/run"), "service");
            let client = cell.work.client.expand(&words);
            client.map_err(|problem| wrong(place("client"), problem))?;
            if let Some(server) = &cell.work.server {
                server.expand(&words).map_err(|problem| wrong(place("server"), problem))?;
            }
            for path in &cell.work.ready_paths {
                expand(path, &words).map_err(|problem| wrong(place("ready_paths"), problem))?;
            }
        }
        cells.first().map_or(Ok(()), |cell| self.check_uses(family, &cell.work.words))
    }

    /// Rows whose processes are all told the same would all measure the same under several names.
    fn check_uses(&self, family: &Family, words: &Words) -> Result<(), MatrixError> {
        let place = || format!("[[family]] {}", family.name);
        let words = words_of_run(words, Path::new("/run"), "service");
        let commands = || [Some(&family.client), family.server.as_ref()].into_iter().flatten();
        for (name, values) in self.dimensions(family) {
            let is_one = values.len() == 1 && name != BUILD;
            if !is_one && !commands().any(|command| command.uses(name, &words)) {
                let problem = format!(
                    "no command uses `{name}`, so its rows would all measure the same; \
                     write `{{{name}}}` or `{{{name}.value}}` in `client` or `server`"
                );
                return Err(wrong(place(), problem));
            }
        }
        let has_rate = family.rates.iter().any(|rate| rate.per_second().is_some());
        for (name, is_needed) in [("duration_s", true), ("rate_per_s", has_rate)] {
            if is_needed && !family.client.uses(name, &words) {
                let problem = format!("its client is not told; write `{{{name}}}` in `client`");
                return Err(wrong(place(), problem));
            }
        }
        Ok(())
    }

    /// A limit that applies to nothing is a mistake: it would be met for ever.
    fn check_limits(&self, cells: &[Cell]) -> Result<(), MatrixError> {
        let by_key: HashMap<&CellKey, &Cell> = cells.iter().map(|cell| (&cell.key, cell)).collect();
        let is_latency = |metric: Metric| metric.name().starts_with("latency");
        let is_server = |metric: Metric| metric.name().starts_with("server");
        let has = |cell: &Cell, metric| {
            (cell.has_latency || !is_latency(metric)) && (cell.has_server() || !is_server(metric))
        };
        for limit in &self.limits {
            let place = || format!("[[limit]] {limit}");
            if let Some(fault) = limit.fault() {
                return Err(wrong(place(), fault));
            }
            let selected: Vec<&Cell> =
                cells.iter().filter(|cell| limit.selection.matches(&cell.key)).collect();
            if selected.is_empty() {
                return Err(wrong(place(), no_row(&limit.selection, cells)));
            }
            for cell in selected {
                let mut compared = vec![cell];
                if let Some(baseline) = limit.baseline_of(&cell.key) {
                    let Some(&row) = by_key.get(&baseline) else {
                        let problem = format!("`relative_to`: there is no row `{baseline}`");
                        return Err(wrong(place(), problem));
                    };
                    if row.key == cell.key {
                        let problem = format!(
                            "`relative_to`: row `{baseline}` would be divided by itself; \
                             name a label there in which each row of `where` differs"
                        );
                        return Err(wrong(place(), problem));
                    }
                    compared.push(row);
                }
                if let Some(row) = compared.iter().find(|row| !has(row, limit.metric)) {
                    let problem = format!("row `{}` has no {}", row.key, limit.metric);
                    return Err(wrong(place(), problem));
                }
            }
        }
        Ok(())
    }

    /// The rows that a selection means.
    ///
    /// # Errors
    ///
    /// [`MatrixError`] when there is none.
    pub fn select(&self, selection: &Selection) -> Result<Vec<Cell>, MatrixError> {
        let cells = self.cells();
        let problem = no_row(selection, &cells);
        let selected: Vec<Cell> =
            cells.into_iter().filter(|cell| selection.matches(&cell.key)).collect();
        if selected.is_empty() { Err(wrong(selection.to_string(), problem)) } else { Ok(selected) }
    }
}

/// Reads a regular file: anything else may keep a reader waiting for ever.
fn read(path: &Path) -> Result<String, MatrixError> {
    let text = fs::metadata(path).and_then(|facts| match facts.is_file() {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("it is not a regular file; write the matrix into one")),
    });
    text.map_err(|source| MatrixError::Read { path: path.to_owned(), source })
}

/// What placeholders stand for once a row is run.
pub(crate) fn words_of_run(words: &Words, run_dir: &Path, service: &str) -> Words {
    let mut words = words.clone();
    words.insert("run_dir".into(), run_dir.to_string_lossy().into_owned());
    words.insert("service".into(), service.to_owned());
    words
}

fn not_a_name(name: &str) -> String {
    format!("`{name}` is no name: up to 64 letters, digits and `.`, `_`, `+`, `-`")
}

/// Which label has no such value.
fn no_row(selection: &Selection, cells: &[Cell]) -> String {
    for (name, value) in &selection.0 {
        let mut values: Vec<&str> = cells.iter().filter_map(|cell| cell.key.label(name)).collect();
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            return format!("no row has a label `{name}`");
        }
        if !values.contains(&value.as_str()) {
            let value = value.as_str();
            return format!("`{name}` is never `{value}`; it is {}", values.join(", "));
        }
    }
    String::from("no row has all of these labels")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{MATRIX, built};

    fn keys(matrix: &Matrix) -> Vec<String> {
        matrix.cells().iter().map(|cell| cell.key.to_string()).collect()
    }

    #[test]
    fn cells_are_every_combination_in_declared_order() {
        let matrix = Matrix::parse(MATRIX).unwrap();
        assert_eq!(
            keys(&matrix),
            [
                "family=ping client=rust server=rust rate=max",
                "family=ping client=rust server=rust rate=1000",
                "family=ping client=rust server=c rate=max",
                "family=ping client=rust server=c rate=1000",
                "family=ping client=c server=rust rate=max",
                "family=ping client=c server=rust rate=1000",
                "family=ping client=c server=c rate=max",
                "family=ping client=c server=c rate=1000",
                "family=copy client=c rate=max",
            ]
        );
        let matrix = built(&["base", "new"]);
        let keys = keys(&matrix);
        assert_eq!(keys.len(), 18);
        assert_eq!(keys[0], "family=ping build=base client=rust server=rust rate=max");
        assert_eq!(keys[17], "family=copy build=new client=c rate=max");
        let cell = &matrix.cells()[17];
        let words = words_of_run(&cell.work.words, Path::new("/tmp/x"), "s");
        assert_eq!(cell.work.client.expand(&words).unwrap(), ["out/c", "copy", "0.05", "0", "new"]);
    }

    #[test]
    fn mistakes_are_named_with_what_would_be_right() {
        for (from, to, expected) in [
            ("title = ", "titel = ", "unknown field `titel`"),
            ("samples = 5", "samples = 4", "[policy]: `samples` must be from 5 to 1000"),
            ("samples = 5", "sample = 5", "unknown field `sample`"),
            ("1000]", "0]", "a rate of 0 is written \"max\""),
            ("1000]", "\"fast\"]", "a rate is \"max\" or a number, not \"fast\""),
            ("\"client\", \"server\"]", "\"peer\"]", "[axes] has no `peer`; it has client, server"),
            ("\"client\", \"server\"]", "\"client\", \"client\"]", "axis `client` is there twice"),
            (
                "{run_dir}",
                "{dir}",
                "`{dir}` in `{dir}/{service}` is not known; known are {client},",
            ),
            ("[\"c\"]", "[\"go\"]", "`only` must name values of `client`"),
            ("name = \"copy\"", "name = \"ping\"", "another family has the same name"),
            ("name = \"copy\"", "name = \"a b\"", "`a b` is no name"),
            (
                "family = \"ping\"",
                "family = \"pong\"",
                "`family` is never `pong`; it is copy, ping",
            ),
            ("client = \"c\" ,", "lang = \"c\" ,", "no row has a label `lang`"),
            ("at_least", "at_last", "unknown field `at_last`"),
            (
                "at_least = 900",
                "at_least = 2\nat_most = 1",
                "no figure meets it, since `at_least` is above `at_most`",
            ),
            (
                "at_least = 900",
                "at_least = 1\nrelative_to = {}",
                "`relative_to`: row `family=ping client=rust server=rust rate=max` would be divided by itself",
            ),
            (
                "at_least = 900",
                "at_least = 1\nrelative_to = { client = \"c\" }",
                "`relative_to`: row `family=ping client=c server=rust rate=max` would be divided by itself",
            ),
            (
                "metric = \"operations_per_s\"\nrelative_to",
                "metric = \"latency_p50_ns\"\nrelative_to",
                "row `family=copy client=c rate=max` has no latency_p50_ns",
            ),
            (
                "[\"out/{server}\"",
                "[\"out/rust\"",
                "[[family]] ping: no command uses `server`, so its rows would all measure the same; write `{server}` or `{server.value}` in `client` or `server`",
            ),
            (
                "\"{run_dir}/{service}\", \"{duration_s}\"",
                "\"{run_dir}/{service}\", \"1\"",
                "[[family]] ping: its client is not told; write `{duration_s}` in `client`",
            ),
            (
                "\"{rate_per_s}\"]\nserver",
                "\"0\"]\nserver",
                "[[family]] ping: its client is not told; write `{rate_per_s}` in `client`",
            ),
            ("throughput_per_s", "server_cpu_pct", "has no server_cpu_pct"),
            ("server = \"\"", "server = \"go\"", "there is no row `family=copy client=c server=go"),
        ] {
            assert!(MATRIX.contains(from), "{from}");
            let error = Matrix::parse(&MATRIX.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn a_matrix_comes_back_from_a_run_unchanged() {
        let matrix = Matrix::parse(MATRIX).unwrap();
        let json = serde_json::to_string(&matrix).unwrap();
        let again: Matrix = serde_json::from_str(&json).unwrap();
        assert_eq!(keys(&again), keys(&matrix));
        assert_eq!(again, matrix);
    }

    #[test]
    fn builds_may_say_how_they_were_made() {
        let builds =
            "[builds]\nbase = \"x\"\nnew = { value = \"y\", description = \"-O2\" }\n[axes]";
        let text = MATRIX.replace("{rate_per_s}", "{rate_per_s}{build}").replace("[axes]", builds);
        let matrix = Matrix::parse(&text).unwrap();
        let said = matrix.builds.values().map(|build| (build.value(), build.description()));
        assert_eq!(said.collect::<Vec<_>>(), [("x", ""), ("y", "-O2")]);
        let json = serde_json::to_string(&matrix).unwrap();
        assert!(json.contains(r#""builds":{"base":"x","new":{"value":"y""#), "{json}");
        assert_eq!(serde_json::from_str::<Matrix>(&json).unwrap(), matrix);
        let error = Matrix::parse(&text.replace("description = \"-O2", "flags = \"-O2"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("a build is \"VALUE\", or { value = "), "{error}");
    }

    #[test]
    fn too_many_rows_are_refused_before_they_are_made() {
        let names: Vec<String> = (0..1000).map(|number| format!("\"v{number}\"")).collect();
        let axes: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"]
            .map(|axis| format!("{axis} = [{}]", names.join(",")))
            .into();
        let text = format!(
            "title = \"t\"\n[axes]\n{}\n[[family]]\nname = \"f\"\nclient = [\"x\"]\n\
             axes = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\"]\n",
            axes.join("\n")
        );
        let error = Matrix::parse(&text).unwrap_err().to_string();
        assert_eq!(error, "[[family]] f: it has more than 10000 rows");
        // Each of these has eight rows, and all of them together are too many.
        let family = Matrix::parse(MATRIX).unwrap().families.remove(0);
        let mut matrix = Matrix::understand(&text).unwrap();
        matrix.axes = Matrix::parse(MATRIX).unwrap().axes;
        let family = |number| Family { name: format!("f{number}"), ..family.clone() };
        matrix.families = (0..1251).map(family).collect();
        let error = matrix.check().unwrap_err().to_string();
        assert_eq!(error, "[[family]]: there are 10008 rows, more than 10000");
    }

    #[test]
    fn builds_are_used_and_are_there_before_the_check() {
        let builds = || ["base", "new"].map(|name| (name.to_owned(), format!("out/{name}")));
        let error = Matrix::parse(MATRIX).unwrap().with_builds(builds()).unwrap_err().to_string();
        let expected = "[[family]] ping: no command uses `build`, so its rows would all measure \
            the same; write `{build}` or `{build.value}` in `client` or `server`";
        assert_eq!(error, expected);
        // One build is none that may be left out either: its name would be in the report.
        let error = Matrix::parse(MATRIX).unwrap().with_builds(builds().into_iter().take(1));
        assert_eq!(error.unwrap_err().to_string(), expected);
        // A file that has no builds of its own can use those that are given.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("matrix.toml");
        fs::write(&path, MATRIX.replace("\"{duration_s}\"", "\"{duration_s}\", \"{build}\""))
            .unwrap();
        assert!(Matrix::read(&path).unwrap_err().to_string().contains("`{build}`"));
        assert_eq!(Matrix::read_with_builds(&path, builds()).unwrap().cells().len(), 18);
        assert!(Matrix::read(directory.path()).is_err());
    }

    proptest! {
        #[test]
        fn bad_input_never_panics(text: String, at in 0..MATRIX.len(), insert in "[\\[\\]{}=\"0-9a-z. ]{0,6}") {
            let _ = Matrix::parse(&text);
            if MATRIX.is_char_boundary(at) {
                let _ = Matrix::parse(&format!("{}{insert}{}", &MATRIX[..at], &MATRIX[at..]));
            }
        }
    }
}
