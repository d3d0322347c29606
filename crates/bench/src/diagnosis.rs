//! A row that was not good, measured once more on its own, beside its first attempt.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cell::{Cell, CellKey};
use crate::judge::Problem;
use crate::metric::Metric;
use crate::state::Outcome;
use crate::statistics::Spread;

/// Both attempts at a row. None of this is published: the first attempt counts.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The row.
    pub cell: CellKey,
    /// What was wrong with it.
    pub problems: Vec<Problem>,
    /// What its samples in the run came to.
    pub first: Tries,
    /// What they came to when nothing else was measured before, between or after.
    pub alone: Tries,
}

/// The samples of one attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Tries {
    /// How many samples were measured.
    pub samples: usize,
    /// The throughputs of those that are good, in items a second.
    pub throughputs_per_s: Vec<f64>,
    /// Their spread, where they are enough.
    pub spread: Option<Spread>,
    /// Why the others failed.
    pub faults: Vec<String>,
}

impl Tries {
    fn of(cell: &Cell, outcomes: &[Outcome]) -> Self {
        let (mut throughputs_per_s, mut faults) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match (outcome, outcome.fault(cell)) {
                (_, Some(fault)) => faults.push(fault.to_string()),
                (Outcome::Measured(measurement), None) => {
                    throughputs_per_s.extend(Metric::ThroughputPerS.of(measurement));
                }
                (Outcome::Failed(fault), None) => faults.push(fault.to_string()),
            }
        }
        let spread = Spread::of(&throughputs_per_s);
        Self { samples: outcomes.len(), throughputs_per_s, spread, faults }
    }
}

impl Diagnosis {
    pub(crate) fn new(
        cell: &Cell,
        problems: Vec<Problem>,
        first: &[Outcome],
        alone: &[Outcome],
    ) -> Self {
        let (first, alone) = (Tries::of(cell, first), Tries::of(cell, alone));
        Self { cell: cell.key.clone(), problems, first, alone }
    }
}

/// For people.
pub(crate) fn markdown(diagnoses: &[Diagnosis]) -> String {
    let mut text = String::from(
        "# Rows that were not good, measured once more alone\n\n\
         The first attempt counts. Nothing here is published.\n",
    );
    for Diagnosis { cell, problems, first, alone } in diagnoses {
        let _ = writeln!(text, "\n## {cell}\n");
        for problem in problems {
            let _ = writeln!(text, "- {problem}");
        }
        let _ = writeln!(text, "\n| | in the run | alone |\n| --- | --- | --- |");
        let mut line = |what: &str, of: &dyn Fn(&Tries) -> String| {
            let _ = writeln!(text, "| {what} | {} | {} |", of(first), of(alone));
        };
        line("samples", &|tries| tries.samples.to_string());
        line("failed", &|tries| tries.faults.len().to_string());
        let spread = |number: fn(&Spread) -> f64, digits: usize| {
            move |tries: &Tries| {
                let none = String::from("-");
                tries.spread.as_ref().map_or(none, |spread| format!("{:.digits$}", number(spread)))
            }
        };
        line("core, lowest, items/s", &spread(|spread| spread.core_min, 0));
        line("core, highest, items/s", &spread(|spread| spread.core_max, 0));
        line("core, ratio", &spread(Spread::core_ratio, 2));
        line("all, lowest, items/s", &spread(|spread| spread.raw_min, 0));
        line("all, highest, items/s", &spread(|spread| spread.raw_max, 0));
        line("all, ratio", &spread(Spread::raw_ratio, 2));
        line("faults", &|tries| {
            let mut faults = tries.faults.clone();
            faults.dedup();
            faults.join("; ").replace(['|', '\n'], " ")
        });
    }
    text
}

/// For programs.
pub(crate) fn json(diagnoses: &[Diagnosis]) -> String {
    let mut text = serde_json::to_string_pretty(diagnoses).expect("plain figures can be written");
    text.push('\n');
    text
}
