//! A run: a matrix measured into a directory.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use belljar_record::Timestamp;
use belljar_topology::CpuSet;

use crate::cancel::Cancel;
use crate::cell::{Cell, CellKey};
use crate::diagnosis::{self, Diagnosis};
use crate::environment::Environment;
use crate::estimate::{Estimate, Progress};
use crate::fault::Fault;
use crate::judge::{Problem, assess};
use crate::limit::Selection;
use crate::matrix::{Matrix, MatrixError};
use crate::order::{Turn, order};
use crate::program::Programs;
use crate::sample::{Attempt, evidence_path};
use crate::state::{Begun, Log, Outcome, Sample, State, StateError};

/// A run in its directory, which no other process works at meanwhile.
///
/// The directory holds `state.jsonl`, from which everything else follows; `evidence`, with what the
/// processes of failed samples wrote; and `report` once the run is whole.
#[derive(Debug)]
pub struct Run {
    directory: PathBuf,
    log: Log,
    state: State,
    cells: Vec<Cell>,
    programs: Programs,
}

/// Something that happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A sample begins.
    Started {
        /// The row.
        cell: &'a CellKey,
        /// Which of its samples, from 0.
        round: u32,
        /// How far the run is.
        progress: Progress,
    },
    /// A sample has ended.
    Ended {
        /// The row.
        cell: &'a CellKey,
        /// Which of its samples, from 0.
        round: u32,
        /// What it came to.
        outcome: &'a Outcome,
        /// Why it failed, if it did: its row is then measured no further.
        fault: Option<&'a Fault>,
        /// How far the run is.
        progress: Progress,
    },
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The matrix makes no sense.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A program is not there.
    #[error("cannot read program {}; build it first", .program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was measured does not fit to what would be.
    #[error("cannot go on with {}: {problem}; begin another run", .directory.display())]
    Changed {
        /// The run.
        directory: PathBuf,
        /// What has changed.
        problem: String,
    },
    /// Processes are to run where they cannot.
    #[error("this process may not use all of the CPUs {wanted}; it may use {allowed}")]
    Cpus {
        /// What the policy says.
        wanted: CpuSet,
        /// What is possible.
        allowed: CpuSet,
    },
    /// The runner itself failed.
    #[error("cannot measure `{cell}`")]
    Runner {
        /// The row.
        cell: CellKey,
        /// Why.
        source: io::Error,
    },
    /// A report about failed rows cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was called off.
    #[error("the run was interrupted; resume it to go on")]
    Interrupted,
}

impl Run {
    /// Begins a run in `directory`, which must not hold one. Programs are looked for in `base`, which
    /// is most often where the matrix is. A run of a selection is never published.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the directory holds a run, or a program or CPU is missing.
    pub fn create(
        directory: &Path,
        matrix: Matrix,
        base: &Path,
        selection: Selection,
        seed: u64,
    ) -> Result<Self, RunError> {
        let cells = matrix.select(&selection)?;
        check_cpus(&matrix)?;
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        let programs = programs_of(&cells, &base)?;
        let environment = Environment::here(&base, programs.list());
        let begun = Begun::now(matrix, base, selection, seed, environment);
        let log = Log::create(directory, &begun)?;
        let state = State { begun, samples: Vec::new(), interrupted: 0, leftovers: Vec::new() };
        Ok(Self { directory: directory.to_owned(), log, state, cells, programs })
    }

    /// Goes on with the run in `directory`.
    ///
    /// # Errors
    ///
    /// [`RunError`] when there is none, another process is at it, or its machine or one of its programs
    /// is no longer the same.
    pub fn resume(directory: &Path) -> Result<Self, RunError> {
        let (log, state) = Log::resume(directory)?;
        let begun = &state.begun;
        let changed = |problem| RunError::Changed { directory: directory.to_owned(), problem };
        let cells = begun.matrix.select(&begun.selection)?;
        check_cpus(&begun.matrix)?;
        let programs = programs_of(&cells, &begun.base)?;
        let now = Environment::here(&begun.base, programs.list());
        if let Some(problem) = begun.environment.difference(&now) {
            return Err(changed(problem));
        }
        Ok(Self { directory: directory.to_owned(), log, state, cells, programs })
    }

    /// What it has come to so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let turns = self.turns_left();
        self.progress_at(self.state.samples.len(), &turns, &self.estimate())
    }

    fn estimate(&self) -> Estimate {
        // Until the first sample has ended: the pause, and some for processes to start and end.
        Estimate::new(Duration::from_millis(self.state.begun.matrix.policy.settle_ms + 100))
    }

    fn progress_at(&self, done: usize, left: &[Turn], estimate: &Estimate) -> Progress {
        let seconds = left.iter().map(|turn| self.cells[turn.cell].duration_s).sum();
        let nominal = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let left_time = estimate.left(left.len(), nominal);
        Progress { done, total: done + left.len(), left: left_time }
    }

    /// The samples to measure, without those of rows that have failed.
    fn turns_left(&self) -> Vec<Turn> {
        let samples = &self.state.samples;
        let done: HashSet<(&CellKey, u32)> =
            samples.iter().map(|sample| (&sample.cell, sample.round)).collect();
        let failed = assess(&self.state).problems;
        let failed: HashSet<&CellKey> = { failed.iter() }
            .filter(|problem| matches!(problem, Problem::Failed { .. }))
            .filter_map(Problem::cell)
            .collect();
        let begun = &self.state.begun;
        let mut turns = order(&self.cells, begun.matrix.policy.samples, begun.seed);
        turns.retain(|turn| {
            let key = &self.cells[turn.cell].key;
            !failed.contains(key) && !done.contains(&(key, turn.round))
        });
        turns
    }

    /// Measures what is left, and tells `hear` of it. A row of which a sample has failed is measured no
    /// further; the others are. Whether the run is good is for [`judge`](crate::judge()) to say.
    ///
    /// It starts processes, which the kernel ends when this thread ends.
    ///
    /// # Errors
    ///
    /// [`RunError`] when it was called off or the runner itself failed. What was measured stays, and the
    /// run can be resumed.
    pub fn execute(
        &mut self,
        cancel: &Cancel,
        mut hear: impl FnMut(Event<'_>),
    ) -> Result<(), RunError> {
        let evidence = self.directory.join("evidence");
        let mut turns = self.turns_left();
        let mut estimate = self.estimate();
        while !turns.is_empty() {
            let turn = turns.remove(0);
            let cell = self.cells[turn.cell].clone();
            let done = self.state.samples.len();
            let mut progress = self.progress_at(done, &turns, &estimate);
            progress.total += 1;
            hear(Event::Started { cell: &cell.key, round: turn.round, progress });
            let started = Instant::now();
            let outcome = self.sample(&cell, turn, cancel, &evidence)?;
            estimate.learn(Duration::from_secs_f64(cell.duration_s), started.elapsed());
            let fault = outcome.fault(&cell);
            if fault.is_some() {
                turns.retain(|other| other.cell != turn.cell);
            }
            let (round, at) = (turn.round, Timestamp::now());
            let sample = Sample { cell: cell.key.clone(), round, at, outcome };
            self.log.sample(&sample)?;
            self.state.samples.push(sample);
            let progress = self.progress_at(done + 1, &turns, &estimate);
            if let Some(Sample { outcome, .. }) = self.state.samples.last() {
                let fault = fault.as_ref();
                hear(Event::Ended { cell: &cell.key, round, outcome, fault, progress });
            }
        }
        Ok(())
    }

    fn sample(
        &mut self,
        cell: &Cell,
        turn: Turn,
        cancel: &Cancel,
        evidence: &Path,
    ) -> Result<Outcome, RunError> {
        if cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let runner = |source| RunError::Runner { cell: cell.key.clone(), source };
        let begun = &self.state.begun;
        let number = turn.cell * begun.matrix.policy.samples as usize + turn.round as usize;
        let attempt =
            Attempt::new(cell, &begun.matrix.policy, &begun.base, number).map_err(runner)?;
        self.log.started(&cell.key, turn.round, attempt.directory())?;
        if let Some(changed) = self.programs.changed() {
            let program = changed.display().to_string();
            return Ok(Outcome::Failed(Fault::ProgramChanged { program }));
        }
        let evidence = evidence_path(evidence, turn.cell, turn.round);
        let outcome = attempt.measure(cancel, &evidence).map_err(runner)?;
        outcome.ok_or(RunError::Interrupted)
    }

    /// Measures each row that failed, is unstable or was disturbed once more, alone, and puts both
    /// attempts side by side into `diagnosis.md` and `diagnosis.json`.
    ///
    /// This is for whoever looks for the reason. The first attempt stays what counts: nothing here is
    /// written into the state or reaches a report.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub fn diagnose(
        &mut self,
        cancel: &Cancel,
        mut hear: impl FnMut(Event<'_>),
    ) -> Result<Vec<Diagnosis>, RunError> {
        let directory = self.directory.join("diagnosis");
        let problems = assess(&self.state).problems;
        let suspect: Vec<(usize, &Cell)> = { self.cells.iter().enumerate() }
            .filter(|(_, cell)| {
                let mut of_cell = problems.iter().filter(|one| one.cell() == Some(&cell.key));
                of_cell.any(|problem| !matches!(problem, Problem::Missing { .. }))
            })
            .collect();
        let begun = &self.state.begun;
        let rounds = begun.matrix.policy.samples;
        let total = suspect.len() * rounds as usize;
        let (mut done, mut estimate) = (0, self.estimate());
        let mut diagnoses = Vec::new();
        for (index, cell) in suspect {
            let mut again = Vec::new();
            for round in 0..rounds {
                if cancel.is_cancelled() {
                    return Err(RunError::Interrupted);
                }
                let nominal = Duration::from_secs_f64(cell.duration_s);
                let left = estimate.left(total - done, nominal * (total - done) as u32);
                let progress = Progress { done, total, left };
                hear(Event::Started { cell: &cell.key, round, progress });
                let runner = |source| RunError::Runner { cell: cell.key.clone(), source };
                let started = Instant::now();
                let attempt = Attempt::new(cell, &begun.matrix.policy, &begun.base, index);
                let evidence = evidence_path(&directory, index, round);
                let outcome = attempt.and_then(|attempt| attempt.measure(cancel, &evidence));
                let outcome = outcome.map_err(runner)?.ok_or(RunError::Interrupted)?;
                estimate.learn(nominal, started.elapsed());
                done += 1;
                let fault = outcome.fault(cell);
                let progress = Progress { done, ..progress };
                let (key, fault) = (&cell.key, fault.as_ref());
                hear(Event::Ended { cell: key, round, outcome: &outcome, fault, progress });
                again.push(outcome);
            }
            let first = self.state.samples.iter().filter(|sample| sample.cell == cell.key);
            let first: Vec<Outcome> = first.map(|sample| sample.outcome.clone()).collect();
            let problems = problems.iter().filter(|problem| problem.cell() == Some(&cell.key));
            let problems = problems.cloned().collect();
            diagnoses.push(Diagnosis::new(cell, problems, &first, &again));
        }
        if !diagnoses.is_empty() {
            for (name, text) in [
                ("diagnosis.md", diagnosis::markdown(&diagnoses)),
                ("diagnosis.json", diagnosis::json(&diagnoses)),
            ] {
                let path = self.directory.join(name);
                fs::write(&path, text).map_err(|source| RunError::Write { path, source })?;
            }
        }
        Ok(diagnoses)
    }
}

fn programs_of(cells: &[Cell], base: &Path) -> Result<Programs, RunError> {
    Programs::of(cells, base).map_err(|(program, source)| RunError::Program { program, source })
}

/// Whether processes may run where the policy says.
fn check_cpus(matrix: &Matrix) -> Result<(), RunError> {
    let policy = &matrix.policy;
    let Ok(kernel_set) = rustix::thread::sched_getaffinity(None) else { return Ok(()) };
    let mut allowed = CpuSet::new();
    for cpu in 0..rustix::thread::CpuSet::MAX_CPU {
        if kernel_set.is_set(cpu) {
            allowed.insert(belljar_topology::CpuId(cpu as u32));
        }
    }
    for wanted in [&policy.client_cpus, &policy.server_cpus].into_iter().flatten() {
        if !wanted.is_subset(&allowed) {
            return Err(RunError::Cpus { wanted: wanted.clone(), allowed });
        }
    }
    Ok(())
}
