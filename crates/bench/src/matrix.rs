//! The matrix: what is to be measured, as declared.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::cell::{BUILD, Cell, CellKey, Work};
use crate::command::{CommandLine, Words, expand};
use crate::limit::{Limit, Selection};
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
    /// Builds that are measured side by side: a name, and what `{build.value}` stands for, most often
    /// a directory. With two or more every family has a row for each, and the report compares each
    /// with the first.
    #[serde(default)]
    pub builds: IndexMap<String, String>,
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
        let text = fs::read_to_string(path)
            .map_err(|source| MatrixError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let matrix: Self =
            toml::from_str(text).map_err(|error| MatrixError::Syntax(Box::new(error)))?;
        matrix.check()?;
        Ok(matrix)
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
            if self.builds.insert(name.clone(), value).is_some() {
                return Err(wrong("builds", format!("`{name}` is there twice")));
            }
        }
        self.check()?;
        Ok(self)
    }

    /// A hash of everything that it says, by which a run that goes on knows it again.
    pub fn hash(&self) -> String {
        let text = serde_json::to_vec(self).expect("a matrix can be written");
        blake3::hash(&text).to_hex()[..16].to_owned()
    }

    /// All rows: families in their order; in each builds, axes and rates, the last varying fastest.
    pub fn cells(&self) -> Vec<Cell> {
        self.families.iter().flat_map(|family| self.cells_of(family)).collect()
    }

    fn cells_of(&self, family: &Family) -> Vec<Cell> {
        let mut combinations: Vec<Vec<(&str, &str, &str)>> = vec![Vec::new()];
        let builds = self.builds.iter().map(|(name, value)| (name.as_str(), value.as_str()));
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
        for (axis, values) in &dimensions {
            combinations = combinations
                .iter()
                .flat_map(|chosen| {
                    values.iter().map(|(name, value)| {
                        let mut longer = chosen.clone();
                        longer.push((*axis, *name, *value));
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

    fn check(&self) -> Result<(), MatrixError> {
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
        let mut names = HashSet::new();
        for family in &self.families {
            self.check_family(family)?;
            if !names.insert(&family.name) {
                let place = format!("[[family]] {}", family.name);
                return Err(wrong(place, "another family has the same name"));
            }
        }
        let cells = self.cells();
        self.check_commands(&cells)?;
        self.check_limits(&cells)
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

    fn check_family(&self, family: &Family) -> Result<(), MatrixError> {
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
        // Counted before they are made.
        let counts = family.axes.iter().map(|axis| match family.only.get(axis) {
            Some(only) => only.len(),
            None => self.axes.get(axis).map_or(0, |axis| axis.values().len()),
        });
        let rows = counts
            .chain([self.builds.len().max(1), family.rates.len()])
            .try_fold(1_usize, usize::checked_mul)
            .filter(|&rows| rows <= CELLS_MAX);
        match rows {
            Some(_) => Ok(()),
            None => Err(wrong(place(), format!("it has more than {CELLS_MAX} rows"))),
        }
    }

    fn check_commands(&self, cells: &[Cell]) -> Result<(), MatrixError> {
        if cells.len() > CELLS_MAX {
            return Err(wrong("[[family]]", format!("there are more than {CELLS_MAX} rows")));
        }
        for cell in cells {
            let place = |what: &str| format!("[[family]] {}, {what}", cell.key.family());
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
        Ok(())
    }

    /// A limit that applies to nothing is a mistake: it would be met for ever.
    fn check_limits(&self, cells: &[Cell]) -> Result<(), MatrixError> {
        let keys: HashSet<&CellKey> = cells.iter().map(|cell| &cell.key).collect();
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
                let baseline = limit.baseline_of(&cell.key);
                if let Some(baseline) = baseline.filter(|baseline| !keys.contains(baseline)) {
                    let problem = format!("`relative_to`: there is no row `{baseline}`");
                    return Err(wrong(place(), problem));
                }
                let is_latency = limit.metric.name().starts_with("latency");
                let is_server = limit.metric.name().starts_with("server");
                if is_latency && !cell.has_latency || is_server && !cell.has_server() {
                    let problem = format!("row `{}` has no {}", cell.key, limit.metric);
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
    use crate::testing::MATRIX;

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
        let builds = ["base", "new"].map(|name| (name.to_owned(), format!("{name}/release")));
        let matrix = matrix.with_builds(builds).unwrap();
        let keys = keys(&matrix);
        assert_eq!(keys.len(), 18);
        assert_eq!(keys[0], "family=ping build=base client=rust server=rust rate=max");
        assert_eq!(keys[17], "family=copy build=new client=c rate=max");
        let cell = &matrix.cells()[17];
        let words = words_of_run(&cell.work.words, Path::new("/tmp/x"), "s");
        assert_eq!(cell.work.client.expand(&words).unwrap(), ["out/c", "copy", "0.05", "0"]);
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
        assert_eq!((again.hash(), keys(&again)), (matrix.hash(), keys(&matrix)));
        assert_eq!(again, matrix);
        let other = Matrix::parse(&MATRIX.replace("samples = 5", "samples = 6")).unwrap();
        assert_ne!(other.hash(), matrix.hash());
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
