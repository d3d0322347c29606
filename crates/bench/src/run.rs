//! A run: a matrix measured into a directory.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use belljar_record::Timestamp;
use belljar_topology::CpuSet;

use crate::cancel::Cancel;
use crate::cell::{Cell, CellKey};
use crate::diagnosis::{self, Diagnosis};
use crate::environment::Environment;
use crate::estimate::{Estimate, Progress};
use crate::evidence::{Evidence, evidence_path};
use crate::fault::Fault;
use crate::judge::{Problem, assess};
use crate::limit::Selection;
use crate::matrix::{Matrix, MatrixError};
use crate::order::{Turn, order};
use crate::program::Programs;
use crate::sample::{Attempt, DIRECTORY_PREFIX};
use crate::state::{Begun, Log, Outcome, Sample, State, StateError};

/// A run in its directory, which no other process works at meanwhile.
///
/// The directory holds `state.jsonl`, from which everything else follows; `evidence`, with what the
/// processes of failed samples wrote and left; and `report` once the run is whole.
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
    /// [`RunError`] when the directory holds a run or what one would write over, a path is not UTF-8, or a
    /// program or CPU is missing.
    pub fn create(
        directory: &Path,
        matrix: Matrix,
        base: &Path,
        selection: Selection,
        seed: u64,
    ) -> Result<Self, RunError> {
        let base = absolute(base);
        for path in [&base, &absolute(directory), &std::env::temp_dir()] {
            if path.to_str().is_none() {
                return Err(StateError::NotUtf8(path.clone()).into());
            }
        }
        matrix.check()?;
        let cells = matrix.select(&selection)?;
        check_cpus(&matrix)?;
        let programs = programs_of(&cells, &base)?;
        let environment = Environment::here(&base, programs.list());
        let begun = Begun::now(matrix, base, selection, seed, environment);
        let log = Log::create(directory, &begun)?;
        let state = State { begun, samples: Vec::new(), interrupted: 0, leftovers: Vec::new() };
        Ok(Self { directory: directory.to_owned(), log, state, cells, programs })
    }

    /// Goes on with the run in `directory`. What a runner that was killed has left in the system's
    /// temporary directory is removed.
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
        let mut run = Self { directory: directory.to_owned(), log, state, cells, programs };
        run.drop_halves()?;
        run.state.leftovers.iter().for_each(|left| remove_left(left));
        let under_way = run.diagnosis_under_way();
        if let Ok(left) = fs::read(&under_way) {
            remove_left(Path::new(OsStr::from_bytes(&left)));
            let _ = fs::remove_file(under_way);
        }
        Ok(run)
    }

    /// Where the directory of the sample is named that is measured for a diagnosis. The state says
    /// nothing of it.
    fn diagnosis_under_way(&self) -> PathBuf {
        self.directory.join("diagnosis").join("under-way")
    }

    /// Of builds that are measured one right after the other, lets those samples no longer count after
    /// which the other's never came. One that failed stays: the first failure counts.
    fn drop_halves(&mut self) -> Result<(), RunError> {
        let left: HashSet<(CellKey, u32)> = { self.turns_left().into_iter() }
            .map(|turn| (self.cells[turn.cell].key.without_build(), turn.round))
            .collect();
        let halves: Vec<(CellKey, u32)> = { self.state.samples.iter() }
            .filter(|sample| left.contains(&(sample.cell.without_build(), sample.round)))
            .filter(|sample| {
                let cell = self.cells.iter().find(|cell| cell.key == sample.cell);
                cell.is_some_and(|cell| sample.outcome.fault(cell).is_none())
            })
            .map(|sample| (sample.cell.clone(), sample.round))
            .collect();
        for (cell, round) in halves {
            self.log.drop_sample(&mut self.state, &cell, round)?;
        }
        Ok(())
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
        self.drop_halves()?;
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
            let (outcome, left) = self.sample(&cell, turn, cancel)?;
            estimate.learn(Duration::from_secs_f64(cell.duration_s), started.elapsed());
            let fault = outcome.fault(&cell);
            if fault.is_some() {
                turns.retain(|other| other.cell != turn.cell);
            }
            let (round, at) = (turn.round, Timestamp::now());
            let sample = Sample { cell: cell.key.clone(), round, at, outcome };
            self.log.sample(&sample)?;
            self.state.samples.push(sample);
            keep(left, evidence_path(&evidence, turn.cell, round))?;
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
    ) -> Result<(Outcome, Option<Evidence>), RunError> {
        if cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let runner = |source| RunError::Runner { cell: cell.key.clone(), source };
        let begun = &self.state.begun;
        let number = turn.cell * begun.matrix.policy.samples as usize + turn.round as usize;
        let attempt = Attempt::new(cell, &begun.matrix.policy, &begun.base, number);
        self.log.started(&cell.key, turn.round, attempt.directory())?;
        let program_changed = || {
            let program = self.programs.changed()?.display().to_string();
            Some(Outcome::Failed(Fault::ProgramChanged { program }))
        };
        if let Some(failed) = program_changed() {
            return Ok((failed, None));
        }
        let measured = attempt.measure(cancel).map_err(runner)?;
        let (outcome, evidence) = measured.ok_or(RunError::Interrupted)?;
        Ok((program_changed().unwrap_or(outcome), evidence))
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
        let under_way = self.diagnosis_under_way();
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
                let left = attempt.directory().as_os_str().as_bytes();
                let named =
                    fs::create_dir_all(&directory).and_then(|()| fs::write(&under_way, left));
                named.map_err(|source| RunError::Write { path: under_way.clone(), source })?;
                let measured = attempt.measure(cancel).map_err(runner)?;
                let (outcome, left) = measured.ok_or(RunError::Interrupted)?;
                keep(left, evidence_path(&directory, index, round))?;
                estimate.learn(nominal, started.elapsed());
                done += 1;
                let fault = outcome.fault(cell);
                let progress = Progress { done, ..progress };
                let (key, fault) = (&cell.key, fault.as_ref());
                hear(Event::Ended { cell: key, round, outcome: &outcome, fault, progress });
                again.push(outcome);
            }
            diagnoses.push(Diagnosis::new(cell, &self.state, &again));
        }
        if !diagnoses.is_empty() {
            let _ = fs::remove_file(under_way);
            // It stays when there is evidence in it.
            let _ = fs::remove_dir(directory);
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

/// Puts the evidence of a sample where it belongs, in place of what an earlier diagnosis has left there.
fn keep(left: Option<Evidence>, path: PathBuf) -> Result<(), RunError> {
    let _ = fs::remove_dir_all(&path);
    let written = left.map_or(Ok(()), |left| left.write(&path));
    written.map_err(|source| RunError::Write { path, source })
}

pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Removes what is left of a sample, if it is what a runner of this user makes where it makes it now.
/// Whatever else a file of a run names is not touched.
fn remove_left(directory: &Path) {
    let name = directory.file_name().unwrap_or_default().as_bytes();
    let is_ours =
        |facts: fs::Metadata| facts.is_dir() && facts.uid() == rustix::process::geteuid().as_raw();
    if directory.parent() == Some(&absolute(&std::env::temp_dir()))
        && name.starts_with(DIRECTORY_PREFIX.as_bytes())
        && directory.symlink_metadata().is_ok_and(is_ours)
    {
        // What cannot be removed is no reason not to measure.
        let _ = fs::remove_dir_all(directory);
    }
}

fn programs_of(cells: &[Cell], base: &Path) -> Result<Programs, RunError> {
    Programs::of(cells, base).map_err(|(program, source)| RunError::Program { program, source })
}

/// Whether processes may run where the policy says.
fn check_cpus(matrix: &Matrix) -> Result<(), RunError> {
    let policy = &matrix.policy;
    let Ok(kernel_set) = rustix::thread::sched_getaffinity(None) else { return Ok(()) };
    let allowed = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| kernel_set.is_set(cpu));
    let allowed: CpuSet = allowed.map(|cpu| belljar_topology::CpuId(cpu as u32)).collect();
    for wanted in [&policy.client_cpus, &policy.server_cpus].into_iter().flatten() {
        if !wanted.is_subset(&allowed) {
            return Err(RunError::Cpus { wanted: wanted.clone(), allowed });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MATRIX;

    #[test]
    fn only_what_a_runner_has_left_is_removed_and_only_when_the_run_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let (program, directory) = (place.path().join("program"), place.path().join("run"));
        fs::create_dir(place.path().join("out")).unwrap();
        for program in [&program, &place.path().join("out/rust"), &place.path().join("out/c")] {
            fs::write(program, "one").unwrap();
        }
        let matrix = Matrix::parse(MATRIX).unwrap();
        let run = Run::create(&directory, matrix, place.path(), Selection::default(), 1);
        let mut run = run.unwrap();
        let temporary = || tempfile::Builder::new().prefix(DIRECTORY_PREFIX).tempdir().unwrap();
        let (left, of_diagnosis, target) = (temporary(), temporary(), temporary());
        let elsewhere = place.path().join("bj-elsewhere");
        let other_name = tempfile::Builder::new().prefix("precious-").tempdir().unwrap();
        let inside = target.path().join("bj-inside");
        let up = target.path().join("..").join(target.path().file_name().unwrap());
        for directory in [&elsewhere, &inside] {
            fs::create_dir(directory).unwrap();
        }
        let link = std::env::temp_dir().join(format!("bj-link-{}", std::process::id()));
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let kept = [&elsewhere, other_name.path(), &inside, &up, &link].map(Path::to_owned);
        let attempt = Attempt::new(&run.cells[0], &run.state.begun.matrix.policy, place.path(), 0);
        assert!(!attempt.directory().exists(), "its name is on record before it is there");
        let key = run.cells[0].key.clone();
        for path in [left.path()].into_iter().chain(kept.iter().map(PathBuf::as_path)) {
            run.log.started(&key, 0, path).unwrap();
        }
        fs::create_dir(directory.join("diagnosis")).unwrap();
        let named = of_diagnosis.path().as_os_str().as_bytes();
        fs::write(run.diagnosis_under_way(), named).unwrap();
        drop(run);

        let client = place.path().join("out/c");
        fs::rename(&client, &program).unwrap();
        Run::resume(&directory).unwrap_err();
        assert!(left.path().exists() && of_diagnosis.path().exists(), "the run does not go on");
        fs::rename(&program, &client).unwrap();
        let run = Run::resume(&directory).unwrap();
        assert!(!left.path().exists() && !of_diagnosis.path().exists());
        assert!(!run.diagnosis_under_way().exists());
        let gone: Vec<&PathBuf> =
            kept.iter().filter(|path| path.symlink_metadata().is_err()).collect();
        fs::remove_file(link).unwrap();
        assert!(gone.is_empty(), "{gone:?}");
    }

    #[test]
    fn paths_that_are_no_text_are_refused_before_anything_is_written() {
        let place = tempfile::tempdir().unwrap();
        let odd = place.path().join(OsStr::from_bytes(b"caf\xe9"));
        for (directory, base) in [(odd.as_path(), place.path()), (&place.path().join("run"), &odd)]
        {
            let matrix = Matrix::parse(MATRIX).unwrap();
            let error = Run::create(directory, matrix, base, Selection::default(), 1).unwrap_err();
            assert!(error.to_string().contains("the path is not UTF-8"), "{error}");
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        }
    }
}
