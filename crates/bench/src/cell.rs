//! One row of a matrix before it is measured.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::command::CommandLine;
use crate::limit::Selection;
use crate::rate::Rate;

/// The labels of a row, which no other row shares: its family, its build where there are any, a value
/// for each axis of the family, and its rate, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellKey(IndexMap<String, String>);

/// The label of builds.
pub(crate) const BUILD: &str = "build";

impl CellKey {
    /// A key of labels, in their order.
    pub fn new<N: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (N, V)>) -> Self {
        let labels = labels.into_iter();
        Self(labels.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The family.
    pub fn family(&self) -> &str {
        self.label("family").unwrap_or_default()
    }

    /// The same key with some labels changed; those changed to nothing are gone.
    pub(crate) fn with(&self, changes: &Selection) -> Self {
        let mut labels = self.0.clone();
        for (name, value) in &changes.0 {
            match value.as_str() {
                "" => drop(labels.shift_remove(name)),
                value => drop(labels.insert(name.clone(), value.to_owned())),
            }
        }
        Self(labels)
    }

    /// The same key without its build: rows that share it are compared.
    pub fn without_build(&self) -> Self {
        let mut labels = self.0.clone();
        labels.shift_remove(BUILD);
        Self(labels)
    }

    /// The same key at another rate.
    pub(crate) fn at(&self, rate: Rate) -> Self {
        let mut labels = self.0.clone();
        labels.insert(String::from("rate"), rate.to_string());
        Self(labels)
    }

    /// The values of axes, as `c rust`; what a row is called below its family and rate.
    pub(crate) fn axes_text(&self) -> String {
        let is_axis = |name: &str| !["family", "rate"].contains(&name);
        let values = self.labels().filter(|(name, _)| is_axis(name)).map(|(_, value)| value);
        values.collect::<Vec<_>>().join(" ")
    }
}

impl std::hash::Hash for CellKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Equality does not look at the order either.
        let mut labels: Vec<_> = self.0.iter().collect();
        labels.sort_unstable();
        labels.hash(state);
    }
}

/// `family=ping client=c rate=max`.
impl fmt::Display for CellKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.labels().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(out, "{space}{name}={value}")?;
        }
        Ok(())
    }
}

/// A row to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it is called.
    pub key: CellKey,
    /// How fast its client asks.
    pub rate: Rate,
    /// What its client measures for, in seconds.
    pub duration_s: f64,
    /// Whether its client reports latencies.
    pub has_latency: bool,
    /// What is left to fill in when it is run.
    pub(crate) work: Work,
}

impl Cell {
    /// Whether it has a server.
    pub fn has_server(&self) -> bool {
        self.work.server.is_some()
    }
}

/// The processes of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) client: CommandLine,
    pub(crate) server: Option<CommandLine>,
    pub(crate) ready_paths: Vec<String>,
    pub(crate) words: crate::command::Words,
}
