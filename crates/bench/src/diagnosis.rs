//! A row that was not good, measured once more on its own, beside its first attempt.

use std::fmt::{self, Write as _};

use belljar_record::Timestamp;
use serde::Serialize;

use crate::cell::{Cell, CellKey};
use crate::judge::{Problem, assess};
use crate::metric::Metric;
use crate::state::{Outcome, Sample, State};
use crate::statistics::{Spread, median};

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
    /// What the judge would say of them.
    pub status: Status,
    /// Why they are not good.
    pub reason: Option<String>,
    /// How many samples were measured.
    pub samples: usize,
    /// The throughputs of those that are good, in items a second.
    pub throughputs_per_s: Vec<f64>,
    /// Their spread, where they are enough.
    pub spread: Option<Spread>,
    /// What other processes used meanwhile, in CPUs, as the median of those that have figures.
    pub foreign_cpus: Option<f64>,
    /// Why the others failed.
    pub faults: Vec<String>,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is wrong with it.
    Good,
    /// A sample failed, or the samples are not those that there should be.
    Failed,
    /// The samples lie too far apart.
    Unstable,
    /// Something else used the machine.
    Disturbed,
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Good => "good",
            Self::Failed => "failed",
            Self::Unstable => "unstable",
            Self::Disturbed => "disturbed",
        })
    }
}

impl Tries {
    /// The samples that a state has of a row, with what is wrong with the row.
    fn of(cell: &Cell, state: &State) -> (Self, Vec<Problem>) {
        let mut problems = assess(state).problems;
        problems.retain(|problem| problem.cell() == Some(&cell.key));
        let status = match problems.first() {
            None => Status::Good,
            Some(Problem::Unstable { .. }) => Status::Unstable,
            Some(Problem::Disturbed { .. }) => Status::Disturbed,
            Some(_) => Status::Failed,
        };
        let reason = problems.first().map(|problem| {
            let text = problem.to_string();
            text.strip_prefix(&format!("{}: ", cell.key)).map_or(text.clone(), str::to_owned)
        });
        let outcomes = state.samples.iter().filter(|sample| sample.cell == cell.key);
        let (mut samples, mut throughputs_per_s) = (0, Vec::new());
        let (mut foreign_cpus, mut faults) = (Vec::new(), Vec::new());
        for outcome in outcomes.map(|sample| &sample.outcome) {
            samples += 1;
            let fault = outcome.fault(cell);
            if let Outcome::Measured(measurement) = outcome {
                foreign_cpus.push(measurement.foreign_cpus());
                if fault.is_none() {
                    throughputs_per_s.extend(Metric::ThroughputPerS.of(measurement));
                }
            }
            faults.extend(fault.map(|fault| fault.to_string()));
        }
        let (spread, foreign_cpus) = (Spread::of(&throughputs_per_s), median(&foreign_cpus));
        let tries =
            Self { status, reason, samples, throughputs_per_s, spread, foreign_cpus, faults };
        (tries, problems)
    }
}

impl Diagnosis {
    /// What a run says of a row, and what it would say had its samples come to what they did `alone`.
    pub(crate) fn new(cell: &Cell, state: &State, alone: &[Outcome]) -> Self {
        let (first, problems) = Tries::of(cell, state);
        let mut state = state.clone();
        state.samples.retain(|sample| sample.cell != cell.key);
        state.samples.extend((0..).zip(alone).map(|(round, outcome)| Sample {
            cell: cell.key.clone(),
            round,
            at: Timestamp::now(),
            outcome: outcome.clone(),
        }));
        let (alone, _) = Tries::of(cell, &state);
        Self { cell: cell.key.clone(), problems, first, alone }
    }
}

/// For people.
pub(crate) fn markdown(diagnoses: &[Diagnosis]) -> String {
    let none = || String::from("-");
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
        let clean = |text: &str| text.replace(['|', '\n'], " ");
        line("status", &|tries| tries.status.to_string());
        line("reason", &|tries| tries.reason.as_deref().map_or_else(none, clean));
        line("samples", &|tries| tries.samples.to_string());
        line("failed", &|tries| tries.faults.len().to_string());
        let spread = |number: fn(&Spread) -> f64, digits: usize| {
            move |tries: &Tries| {
                let text = |spread| format!("{:.digits$}", number(spread));
                tries.spread.as_ref().map_or_else(none, text)
            }
        };
        line("core, lowest, items/s", &spread(|spread| spread.core_min, 0));
        line("core, highest, items/s", &spread(|spread| spread.core_max, 0));
        line("core, ratio", &spread(Spread::core_ratio, 2));
        line("all, lowest, items/s", &spread(|spread| spread.raw_min, 0));
        line("all, highest, items/s", &spread(|spread| spread.raw_max, 0));
        line("all, ratio", &spread(Spread::raw_ratio, 2));
        line("other processes, CPUs", &|tries| {
            tries.foreign_cpus.map_or_else(none, |cpus| format!("{cpus:.2}"))
        });
        line("faults", &|tries| {
            let mut faults = tries.faults.clone();
            faults.dedup();
            clean(&faults.join("; "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{complete, good, with_throughputs};

    #[test]
    fn both_attempts_have_what_the_judge_says_of_them() {
        let whole = complete(&[]);
        let cells = whole.begun.matrix.cells();
        let disturbed = |cell: &Cell| {
            let mut measurement = good(cell, 1000.0);
            measurement.foreign_cpu_ns = measurement.wall_ns;
            Outcome::Measured(measurement)
        };
        let mut state = whole.clone();
        let of_first = |sample: &&mut Sample| sample.cell == cells[0].key;
        state.samples.iter_mut().filter(of_first).for_each(|sample| {
            sample.outcome = disturbed(&cells[0]);
        });
        let good_alone: Vec<Outcome> =
            (0..5).map(|_| Outcome::Measured(good(&cells[0], 1000.0))).collect();
        let diagnosis = Diagnosis::new(&cells[0], &state, &good_alone);
        assert_eq!(
            (diagnosis.first.status, diagnosis.alone.status),
            (Status::Disturbed, Status::Good)
        );
        assert_eq!((diagnosis.first.foreign_cpus, &diagnosis.alone.reason), (Some(1.0), &None));
        let text = markdown(std::slice::from_ref(&diagnosis));
        for expected in [
            "| status | disturbed | good |",
            "| reason | other processes used 1.00 CPUs meanwhile, above 0.5; ",
            "| other processes, CPUs | 1.00 | 0.00 |",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&json(&[diagnosis])).unwrap();
        assert_eq!(json[0]["first"]["status"], "disturbed");
        assert_eq!(json[0]["first"]["foreign_cpus"], 1.0);

        let mut state = whole;
        with_throughputs(&mut state, 0, &[1000.0, 1000.0, 1500.0, 1500.0, 1500.0]);
        let mut alone = good_alone;
        alone[2] = Outcome::Failed(crate::fault::Fault::ZeroThroughput);
        let diagnosis = Diagnosis::new(&cells[0], &state, &alone);
        assert_eq!(diagnosis.first.status, Status::Unstable);
        assert_eq!(diagnosis.alone.status, Status::Failed);
        let reason = "sample 2 failed: the throughput is zero";
        assert_eq!(diagnosis.alone.reason.as_deref(), Some(reason));
    }
}
