//! From samples to a table, or to the reasons why there is none.

use std::collections::{HashMap, HashSet};
use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use crate::cell::{BUILD, Cell, CellKey};
use crate::fault::Fault;
use crate::measurement::Measurement;
use crate::metric::Metric;
use crate::rate::Rate;
use crate::results::{Comparison, LimitCheck, Note, Results, Row};
use crate::state::{Outcome, Sample, State};
use crate::statistics::{Interval, Spread, median};

/// A reason not to publish anything.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Problem {
    /// Only some rows were to be measured.
    #[error("only the rows with {selection} were measured; what is published is whole")]
    Partial {
        /// Which.
        selection: String,
    },
    /// Samples of a row are missing.
    #[error("{cell}: {samples} of {wanted} samples are there")]
    Missing {
        /// The row.
        cell: CellKey,
        /// Samples that are there.
        samples: usize,
        /// Samples that there should be.
        wanted: u32,
    },
    /// A sample is there twice.
    #[error("{cell}: sample {round} is there more than once")]
    Duplicate {
        /// The row.
        cell: CellKey,
        /// Which sample, from 0.
        round: u32,
    },
    /// A sample is there that the matrix does not ask for.
    #[error("{cell}: the matrix asks for no sample {round} of such a row")]
    Unknown {
        /// The row.
        cell: CellKey,
        /// Which sample, from 0.
        round: u32,
    },
    /// A sample failed, or cannot be believed.
    #[error("{cell}: sample {round} failed: {fault}")]
    Failed {
        /// The row.
        cell: CellKey,
        /// Which sample, from 0.
        round: u32,
        /// Why.
        fault: Fault,
    },
    /// The samples lie too far apart.
    #[error(
        "{cell}: throughput is unstable: without the lowest and the highest sample it still differs {:.2}-fold, above {spread_max}",
        .spread.core_ratio()
    )]
    Unstable {
        /// The row.
        cell: CellKey,
        /// How far they are apart.
        spread: Spread,
        /// How far they may be apart.
        spread_max: f64,
    },
    /// Something else used the machine.
    #[error(
        "{cell}: other processes used {foreign_cpus:.2} CPUs meanwhile, above {foreign_cpus_max}; end them, or raise `foreign_cpus_max`"
    )]
    Disturbed {
        /// The row.
        cell: CellKey,
        /// What others used, as the median of the samples.
        foreign_cpus: f64,
        /// What they may use.
        foreign_cpus_max: f64,
    },
}

impl Problem {
    /// The row that it is about, if it is about one.
    pub fn cell(&self) -> Option<&CellKey> {
        match self {
            Self::Partial { .. } => None,
            Self::Missing { cell, .. }
            | Self::Duplicate { cell, .. }
            | Self::Unknown { cell, .. }
            | Self::Failed { cell, .. }
            | Self::Unstable { cell, .. }
            | Self::Disturbed { cell, .. } => Some(cell),
        }
    }
}

/// Why nothing is published: every reason, the first of each row first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// The reasons, at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.problems.len();
        let plural = if number == 1 { "" } else { "s" };
        write!(out, "nothing is published, for {number} reason{plural}:")?;
        self.problems.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

impl std::error::Error for Refusal {}

/// What can be said of a run so far: the rows that are good, and what keeps it from being published.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The good rows, in the order of the matrix.
    pub rows: Vec<Row>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Judges a run.
///
/// # Errors
///
/// [`Refusal`] with every reason, unless all rows of the matrix are there, each with all its samples
/// and none twice, each sample credible, each row stable and undisturbed. There is no other way to
/// [`Results`], and reports are made of nothing else.
pub fn judge(state: &State) -> Result<Results, Refusal> {
    let Assessment { rows, mut problems } = assess(state);
    let begun = &state.begun;
    let selection = &begun.selection;
    if !selection.0.is_empty() {
        problems.insert(0, Problem::Partial { selection: selection.to_string() });
    }
    if !problems.is_empty() {
        return Err(Refusal { problems });
    }
    let by_key: HashMap<&CellKey, &Row> = rows.iter().map(|row| (&row.key, row)).collect();
    let comparisons = compare(state, &rows, &by_key);
    let limits = check_limits(state, &rows, &by_key);
    Ok(Results {
        format: 1,
        passed: limits.iter().all(|check| check.is_met),
        begun_at: begun.at,
        ended_at: state.samples.last().map_or(begun.at, |sample| sample.at),
        matrix: begun.matrix.clone(),
        environment: begun.environment.clone(),
        seed: begun.seed,
        interrupted: state.interrupted,
        rows,
        comparisons,
        limits,
    })
}

/// Says what can be said of a run that may not be whole.
pub fn assess(state: &State) -> Assessment {
    let begun = &state.begun;
    let policy = &begun.matrix.policy;
    let cells: Vec<Cell> = { begun.matrix.cells().into_iter() }
        .filter(|cell| begun.selection.matches(&cell.key))
        .collect();
    let known: HashSet<&CellKey> = cells.iter().map(|cell| &cell.key).collect();
    let mut problems = Vec::new();
    let mut samples: HashMap<&CellKey, IndexMap<u32, &Sample>> = HashMap::new();
    for sample in &state.samples {
        let (cell, round) = (sample.cell.clone(), sample.round);
        if !known.contains(&cell) || round >= policy.samples {
            problems.push(Problem::Unknown { cell, round });
        } else if samples.entry(&sample.cell).or_default().insert(round, sample).is_some() {
            problems.push(Problem::Duplicate { cell, round });
        }
    }
    let mut judged: Vec<(&Cell, Result<Row, Vec<Problem>>)> = Vec::new();
    for cell in &cells {
        let of_cell = samples.remove(&cell.key).unwrap_or_default();
        judged.push((cell, assess_cell(state, cell, &of_cell)));
    }
    // How fast a row can be at most is known once all rows at the rate `max` are.
    let capacity: HashMap<CellKey, f64> = judged
        .iter()
        .filter(|(cell, _)| cell.rate == Rate::Max)
        .filter_map(|(cell, row)| {
            let row = row.as_ref().ok()?;
            let is_stable = row.spread.core_ratio() <= policy.spread_max;
            is_stable.then(|| Some((cell.key.clone(), row.figure(Metric::OperationsPerS)?)))?
        })
        .collect();
    let mut rows = Vec::new();
    for (cell, row) in judged {
        let mut row = match row {
            Ok(row) => row,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let note = rate_note(cell, &row, capacity.get(&cell.key.at(Rate::Max)).copied());
        let is_capacity_bound = matches!(note, Some(Note::CapacityBound { .. }));
        row.notes.extend(note);
        if row.spread.core_ratio() > policy.spread_max && !is_capacity_bound {
            let (cell, spread) = (row.key, row.spread);
            problems.push(Problem::Unstable { cell, spread, spread_max: policy.spread_max });
        } else if row.foreign_cpus > policy.foreign_cpus_max {
            problems.push(Problem::Disturbed {
                cell: row.key,
                foreign_cpus: row.foreign_cpus,
                foreign_cpus_max: policy.foreign_cpus_max,
            });
        } else {
            rows.push(row);
        }
    }
    Assessment { rows, problems }
}

fn assess_cell(
    state: &State,
    cell: &Cell,
    samples: &IndexMap<u32, &Sample>,
) -> Result<Row, Vec<Problem>> {
    let wanted = state.begun.matrix.policy.samples;
    let mut rounds: Vec<_> = samples.values().copied().collect();
    rounds.sort_by_key(|sample| sample.round);
    let (mut measured, mut problems) = (Vec::new(), Vec::new());
    for sample in &rounds {
        if let Outcome::Measured(measurement) = &sample.outcome {
            measured.push(measurement.clone());
        }
        let fault = sample.outcome.fault(cell);
        let failed = |fault| Problem::Failed { cell: cell.key.clone(), round: sample.round, fault };
        problems.extend(fault.map(failed));
    }
    // After a failure a row is measured no further.
    if problems.is_empty() && rounds.len() < wanted as usize {
        let (cell, samples) = (cell.key.clone(), rounds.len());
        problems.push(Problem::Missing { cell, samples, wanted });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let throughputs: Vec<f64> =
        measured.iter().filter_map(|sample| Metric::ThroughputPerS.of(sample)).collect();
    let Some(spread) = Spread::of(&throughputs) else {
        let (cell, samples) = (cell.key.clone(), throughputs.len());
        return Err(vec![Problem::Missing { cell, samples, wanted }]);
    };
    let of = |metric: Metric| {
        let values: Option<Vec<f64>> = measured.iter().map(|sample| metric.of(sample)).collect();
        Some((metric, median(&values?)?))
    };
    let figures: IndexMap<Metric, f64> = Metric::ALL.into_iter().filter_map(of).collect();
    let foreign: Vec<f64> = measured.iter().map(Measurement::foreign_cpus).collect();
    let foreign_cpus = median(&foreign).unwrap_or(0.0);
    let (key, notes) = (cell.key.clone(), Vec::new());
    Ok(Row { key, figures, spread, foreign_cpus, notes, samples: measured })
}

/// The part of a fixed rate below which a row is noted to have fallen behind.
const ACHIEVED_PART_MIN: f64 = 0.95;

/// What is to be said about a fixed rate, given what the same row does at the rate `max`.
fn rate_note(cell: &Cell, row: &Row, capacity_per_s: Option<f64>) -> Option<Note> {
    let rate = cell.rate.per_second()?.get() as f64;
    let achieved_per_s = row.figure(Metric::OperationsPerS)?;
    match capacity_per_s {
        Some(capacity_per_s) if rate > capacity_per_s => {
            Some(Note::CapacityBound { capacity_per_s })
        }
        _ if achieved_per_s < rate * ACHIEVED_PART_MIN => Some(Note::Behind { achieved_per_s }),
        _ => None,
    }
}

/// What builds are compared in.
const COMPARED: [Metric; 4] =
    [Metric::ThroughputPerS, Metric::LatencyP50Ns, Metric::LatencyP99Ns, Metric::CpuNsPerOperation];

fn compare(state: &State, rows: &[Row], by_key: &HashMap<&CellKey, &Row>) -> Vec<Comparison> {
    let mut builds = state.begun.matrix.builds.keys();
    let Some(base) = builds.next() else { return Vec::new() };
    let others: Vec<&String> = builds.collect();
    let mut comparisons = Vec::new();
    for first in rows.iter().filter(|row| row.key.label(BUILD) == Some(base)) {
        for other in &others {
            let change = [(BUILD.to_owned(), (*other).clone())].into_iter().collect();
            let Some(second) = by_key.get(&first.key.with(&change)) else { continue };
            for metric in COMPARED {
                // At a fixed rate both have the same throughput, unless one falls behind.
                let is_given = first.key.label("rate") != Some("max");
                if metric == Metric::ThroughputPerS && is_given {
                    continue;
                }
                let ratio = |(one, two): (&Measurement, &Measurement)| {
                    Some(metric.of(two)? / metric.of(one)?)
                };
                let pairs = first.samples.iter().zip(&second.samples);
                let ratios: Option<Vec<f64>> = pairs.map(ratio).collect();
                let Some(interval) = ratios.as_deref().and_then(Interval::of) else { continue };
                comparisons.push(Comparison {
                    cell: first.key.without_build(),
                    base: base.clone(),
                    build: (*other).clone(),
                    metric,
                    ratio: interval,
                    pairs: first.samples.len().min(second.samples.len()),
                });
            }
        }
    }
    comparisons
}

fn check_limits(state: &State, rows: &[Row], by_key: &HashMap<&CellKey, &Row>) -> Vec<LimitCheck> {
    let mut checks = Vec::new();
    for limit in &state.begun.matrix.limits {
        for row in rows.iter().filter(|row| limit.selection.matches(&row.key)) {
            let value = row.figure(limit.metric);
            let value = match limit.baseline_of(&row.key) {
                None => value,
                Some(baseline) => by_key
                    .get(&baseline)
                    .and_then(|baseline| Some(value? / baseline.figure(limit.metric)?)),
            };
            // The matrix has checked that each has a value; without one it is not met.
            let value = value.unwrap_or(f64::NAN);
            let is_met = limit.is_met_by(value);
            checks.push(LimitCheck { limit: limit.clone(), cell: row.key.clone(), value, is_met });
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{complete, with_throughputs};

    fn problems(state: &State) -> Vec<Problem> {
        judge(state).expect_err("it is refused").problems
    }

    fn kinds(state: &State) -> Vec<String> {
        let kind = |problem: &Problem| {
            serde_json::to_value(problem).unwrap()["kind"].as_str().unwrap().to_owned()
        };
        problems(state).iter().map(kind).collect()
    }

    fn measured(sample: &mut Sample) -> &mut Measurement {
        match &mut sample.outcome {
            Outcome::Measured(measurement) => measurement,
            Outcome::Failed(fault) => panic!("{fault}"),
        }
    }

    /// The samples of the row at `index` among the rows of the matrix.
    fn of_row(state: &mut State, index: usize) -> Vec<&mut Sample> {
        let key = state.begun.matrix.cells()[index].key.clone();
        state.samples.iter_mut().filter(|sample| sample.cell == key).collect()
    }

    #[test]
    fn a_whole_run_is_published_with_medians() {
        let mut state = complete(&[]);
        with_throughputs(&mut state, 0, &[5730.0, 21620.0, 22100.0, 22637.0, 22687.0]);
        let results = judge(&state).unwrap();
        assert_eq!(results.rows.len(), 9);
        let row = &results.rows[0];
        assert_eq!(row.figure(Metric::OperationsPerS), Some(22100.0));
        assert!(row.spread.raw_ratio() > 3.9 && row.spread.core_ratio() < 1.05);
        assert!(results.is_good());
    }

    #[test]
    fn every_missing_sample_stops_publication() {
        let whole = complete(&[]);
        for index in 0..whole.samples.len() {
            let mut state = whole.clone();
            let gone = state.samples.remove(index);
            let expected = Problem::Missing { cell: gone.cell, samples: 4, wanted: 5 };
            assert_eq!(problems(&state), [expected]);
        }
    }

    #[test]
    fn every_other_fault_stops_publication() {
        let faulty = |change: &dyn Fn(&mut State)| {
            let mut state = complete(&[]);
            change(&mut state);
            kinds(&state)
        };
        assert_eq!(faulty(&|state| state.samples.push(state.samples[3].clone())), ["duplicate"]);
        assert_eq!(faulty(&|state| state.samples[0].round = 5), ["unknown", "missing"]);
        let elsewhere = CellKey::new([("family", "pong")]);
        let moved = faulty(&|state| state.samples[0].cell = elsewhere.clone());
        assert_eq!(moved, ["unknown", "missing"]);
        assert_eq!(faulty(&|state| measured(of_row(state, 0)[2]).items = 0), ["failed"]);
        let fault = Fault::ServerEnded { status: "exit status: 1".into() };
        let failed = |state: &mut State| {
            of_row(state, 0)[2].outcome = Outcome::Failed(fault.clone());
        };
        assert_eq!(faulty(&failed), ["failed"]);
        let unstable = |state: &mut State| {
            with_throughputs(state, 0, &[1000.0, 1000.0, 1500.0, 1500.0, 1500.0]);
        };
        assert_eq!(faulty(&unstable), ["unstable"]);
        let disturbed = |state: &mut State| {
            for sample in of_row(state, 0) {
                let sample = measured(sample);
                sample.foreign_cpu_ns = sample.wall_ns;
            }
        };
        assert_eq!(faulty(&disturbed), ["disturbed"]);
        let partial = [("family".to_owned(), "copy".to_owned())];
        let partial = |state: &mut State| {
            state.samples.retain(|sample| sample.cell.family() == "copy");
            state.begun.selection = partial.clone().into_iter().collect();
        };
        assert_eq!(faulty(&partial), ["partial"]);
    }

    #[test]
    fn a_row_that_cannot_reach_its_rate_may_be_unstable_and_is_noted() {
        let mut state = complete(&[]);
        with_throughputs(&mut state, 0, &[910.0; 5]);
        with_throughputs(&mut state, 1, &[500.0, 500.0, 900.0, 900.0, 900.0]);
        let results = judge(&state).unwrap();
        assert_eq!(results.rows[1].notes, [Note::CapacityBound { capacity_per_s: 910.0 }]);
        // Were it unstable itself, what it can do at most would not be known.
        with_throughputs(&mut state, 0, &[500.0, 500.0, 910.0, 910.0, 910.0]);
        assert_eq!(kinds(&state), ["unstable", "unstable"]);
        // Rows that could and do not are not excused.
        with_throughputs(&mut state, 0, &[5000.0; 5]);
        assert_eq!(kinds(&state), ["unstable"]);
        with_throughputs(&mut state, 1, &[500.0; 5]);
        let notes = &judge(&state).unwrap().rows[1].notes;
        assert_eq!(notes[..], [Note::Behind { achieved_per_s: 500.0 }]);
    }

    #[test]
    fn limits_are_checked_row_by_row_also_against_another_row() {
        let mut state = complete(&[]);
        for row in [0, 2, 4, 6, 8] {
            with_throughputs(&mut state, row, &[1000.0; 5]);
        }
        assert_eq!(judge(&state).unwrap().limits.len(), 4 + 1 + 1);
        with_throughputs(&mut state, 0, &[899.0; 5]);
        with_throughputs(&mut state, 8, &[2001.0; 5]);
        let results = judge(&state).unwrap();
        let missed: Vec<String> = { results.limits.iter().filter(|check| !check.is_met) }
            .map(|check| format!("{} {:.4}: {}", check.cell, check.value, check.limit))
            .collect();
        assert!(!results.is_good());
        assert_eq!(
            missed,
            [
                "family=ping client=rust server=rust rate=max 899.0000: \
                 operations_per_s at least 900 where family=ping rate=max",
                "family=ping client=c server=c rate=max 0.4998: \
                 operations_per_s / family=copy server= at least 0.5 \
                 where family=ping client=c rate=max server=c",
            ]
        );
    }

    #[test]
    fn builds_are_compared_sample_by_sample() {
        let mut state = complete(&["base", "new"]);
        // Drift moves both; what differs is the ratio of each pair.
        with_throughputs(&mut state, 0, &[1000.0, 1050.0, 1100.0, 1150.0, 1200.0]);
        let key = state.begun.matrix.cells()[0].key.clone();
        let other = [(BUILD.to_owned(), "new".to_owned())].into_iter().collect();
        let position = |state: &State, key: &CellKey| {
            state.begun.matrix.cells().iter().position(|cell| cell.key == *key).unwrap()
        };
        let other = position(&state, &key.with(&other));
        with_throughputs(&mut state, other, &[1100.0, 1155.0, 1210.0, 1265.0, 1330.0]);
        let results = judge(&state).unwrap();
        let first = &results.comparisons[0];
        assert_eq!((first.metric, first.pairs), (Metric::ThroughputPerS, 5));
        assert_eq!((first.base.as_str(), first.build.as_str()), ("base", "new"));
        assert!((first.ratio.median - 1.1).abs() < 1e-9 && first.is_better() == Some(true));
        let same = results.comparisons.iter().find(|other| other.cell != first.cell).unwrap();
        assert_eq!(same.is_better(), None);
        let fixed = |comparison: &&Comparison| comparison.cell.label("rate") != Some("max");
        let mut fixed = results.comparisons.iter().filter(fixed);
        assert!(fixed.all(|comparison| comparison.metric != Metric::ThroughputPerS));
    }

    proptest! {
        /// Whatever happens to a whole run, it is refused, or it was only put into another order.
        #[test]
        fn only_whole_runs_are_published(
            removed in proptest::collection::btree_set(0_usize..45, 0..4),
            doubled in proptest::collection::btree_set(0_usize..45, 0..4),
            seed: u64,
        ) {
            let whole = complete(&[]);
            let mut state = whole.clone();
            state.samples.retain({
                let mut index = 0;
                let removed = &removed;
                move |_| { index += 1; !removed.contains(&(index - 1)) }
            });
            state.samples.extend(doubled.iter().map(|&index| whole.samples[index].clone()));
            fastrand::Rng::with_seed(seed).shuffle(&mut state.samples);
            let is_whole = removed == doubled;
            prop_assert_eq!(judge(&state).is_ok(), is_whole);
            if is_whole {
                prop_assert_eq!(judge(&state).unwrap().rows, judge(&whole).unwrap().rows);
            }
        }
    }
}
