//! Floors and ceilings for rows.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::cell::CellKey;
use crate::metric::Metric;

/// A `[[limit]]` of a matrix: a floor or a ceiling for one figure of every row that it selects.
///
/// With `relative_to` the figure is divided by the same figure of another row first: the row whose
/// labels are the same but for those named there. `0.9` then means nine tenths of that row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Labels of the rows that are meant, as `{ family = "ping", rate = "max" }`; all rows when empty.
    #[serde(default, rename = "where")]
    pub selection: Selection,
    /// The figure.
    pub metric: Metric,
    /// Labels in which the row to divide by differs. An empty value takes a label away, for a family
    /// that does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_to: Option<Selection>,
    /// The floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

impl Limit {
    /// Whether a value is neither below the floor nor above the ceiling.
    pub fn is_met_by(&self, value: f64) -> bool {
        self.at_least.is_none_or(|floor| value >= floor)
            && self.at_most.is_none_or(|ceiling| value <= ceiling)
    }

    /// The key of the row that a row's figure is divided by.
    pub(crate) fn baseline_of(&self, key: &CellKey) -> Option<CellKey> {
        self.relative_to.as_ref().map(|changes| key.with(changes))
    }

    /// What is wrong with it by itself.
    pub(crate) fn fault(&self) -> Option<String> {
        let bounds = [self.at_least, self.at_most];
        if bounds.iter().all(Option::is_none) {
            return Some(String::from("it needs `at_least` or `at_most`"));
        }
        let is_number = |bound: f64| bound.is_finite() && bound >= 0.0;
        if !bounds.into_iter().flatten().all(is_number) {
            return Some(String::from("a bound must be a number from 0"));
        }
        let is_empty = self.at_least > self.at_most && self.at_most.is_some();
        is_empty.then(|| String::from("no figure meets it, since `at_least` is above `at_most`"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metric.fmt(out)?;
        if let Some(changes) = &self.relative_to {
            write!(out, " / {changes}")?;
        }
        if let Some(floor) = self.at_least {
            write!(out, " at least {floor}")?;
        }
        if let Some(ceiling) = self.at_most {
            write!(out, " at most {ceiling}")?;
        }
        if !self.selection.0.is_empty() {
            write!(out, " where {}", self.selection)?;
        }
        Ok(())
    }
}

/// Labels and the values that they must have. [`fmt::Display`] is `family=ping rate=max`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(pub IndexMap<String, Label>);

impl Selection {
    /// Whether a row has all of them.
    pub fn matches(&self, key: &CellKey) -> bool {
        self.0.iter().all(|(name, value)| key.label(name) == Some(value.as_str()))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(out, "{space}{name}={}", value.as_str())?;
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for Selection {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name, Label(value))).collect())
    }
}

/// The value of a label. Numbers may be written without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Label(String);

impl Label {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Number(i64),
}

impl From<Written> for Label {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(word) => Self(word),
            Written::Number(number) => Self(number.to_string()),
        }
    }
}
