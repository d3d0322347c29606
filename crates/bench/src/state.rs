//! What a run has come to so far: a file of JSON lines that is only ever added to.
//!
//! The first line says what is measured and where. Each sample adds a line when it begins and one when
//! it has ended, which are on the disk before the next begins. A crash can so leave at most a part of
//! the last line, which is cut off when the run goes on. Anything else that does not fit is an error:
//! nobody writes there but a run.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use belljar_record::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cell::{Cell, CellKey};
use crate::environment::Environment;
use crate::fault::Fault;
use crate::limit::Selection;
use crate::matrix::Matrix;
use crate::measurement::Measurement;

/// The version of the format, raised when older readers would misread.
const FORMAT: u32 = 1;

/// The name of the file in a run's directory.
pub(crate) const STATE_FILE: &str = "state.jsonl";

/// What a run was begun as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The version of the format.
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// What is measured.
    pub matrix: Matrix,
    /// The directory that relative programs are looked for in.
    pub base: PathBuf,
    /// The rows that are measured; all when empty. Others than all are never published.
    #[serde(default)]
    pub selection: Selection,
    /// What the order of the samples comes from.
    pub seed: u64,
    /// Where, and with what.
    pub environment: Environment,
}

impl Begun {
    /// A run that begins now.
    pub(crate) fn now(
        matrix: Matrix,
        base: PathBuf,
        selection: Selection,
        seed: u64,
        environment: Environment,
    ) -> Self {
        Self { format: FORMAT, at: Timestamp::now(), matrix, base, selection, seed, environment }
    }
}

/// The end of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The row.
    pub cell: CellKey,
    /// Which of the row's samples, from 0.
    pub round: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a sample came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Figures. Whether they are to be believed is judged when they are used.
    Measured(Measurement),
    /// None.
    Failed(Fault),
}

impl Outcome {
    /// Why the sample failed, or is not to be believed.
    pub fn fault(&self, cell: &Cell) -> Option<Fault> {
        match self {
            Self::Measured(measurement) => measurement.fault(cell),
            Self::Failed(fault) => Some(fault.clone()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Begun(Box<Begun>),
    Started { cell: CellKey, round: u32, at: Timestamp, run_dir: PathBuf },
    Sample(Box<Sample>),
}

/// Everything in a state file.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What the run was begun as.
    pub begun: Begun,
    /// The samples that have ended, in that order.
    pub samples: Vec<Sample>,
    /// How many samples were begun without an end, because something killed the runner or somebody
    /// interrupted it.
    pub interrupted: usize,
    /// Their directories, which may still be there.
    pub(crate) leftovers: Vec<PathBuf>,
}

/// Why a state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system says no.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There is a run already.
    #[error("{} holds a run already; resume it, or choose another directory", .0.display())]
    Exists(PathBuf),
    /// Nobody ever began a run there.
    #[error("{} holds no run; it has no {STATE_FILE}", .0.display())]
    Missing(PathBuf),
    /// Another process is at it.
    #[error("another process is running the benchmark in {}; wait for it or choose another directory", .0.display())]
    Busy(PathBuf),
    /// Something is there that no run writes.
    #[error("{}, line {line}: {problem}; the run cannot be trusted, begin another", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    move |source| StateError::Io { action, path: path.to_owned(), source }
}

impl State {
    /// Reads the state of a run, without what a crash has left of a line.
    ///
    /// # Errors
    ///
    /// [`StateError`] when there is none or it holds what no run writes.
    pub fn read(run: &Path) -> Result<Self, StateError> {
        let path = run.join(STATE_FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Missing(run.to_owned()));
            }
            read => read.map_err(io_error("read", &path))?,
        };
        Self::parse(&bytes[..whole_lines(&bytes)]).map_err(|(line, problem)| StateError::Corrupt {
            path,
            line,
            problem,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let mut state: Option<Self> = None;
        let mut open: HashMap<(CellKey, u32), PathBuf> = HashMap::new();
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        for (number, line) in lines.enumerate().map(|(index, line)| (index + 1, line)) {
            let wrong = |problem: String| (number, problem);
            let line: Line =
                serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
            match (line, &mut state) {
                (Line::Begun(begun), None) if begun.format == FORMAT => {
                    let (samples, leftovers) = (Vec::new(), Vec::new());
                    state = Some(Self { begun: *begun, samples, interrupted: 0, leftovers });
                }
                (Line::Begun(begun), None) => {
                    let problem = format!("it is of format {}", begun.format);
                    return Err(wrong(format!("{problem}, this reads format {FORMAT}")));
                }
                (Line::Started { cell, round, run_dir, .. }, Some(state)) => {
                    if let Some(left) = open.insert((cell, round), run_dir) {
                        state.interrupted += 1;
                        state.leftovers.push(left);
                    }
                }
                (Line::Sample(sample), Some(state)) => {
                    if open.remove(&(sample.cell.clone(), sample.round)).is_none() {
                        let what = format!("sample {} of `{}`", sample.round, sample.cell);
                        return Err(wrong(format!("{what} ended without having begun")));
                    }
                    state.samples.push(*sample);
                }
                (Line::Begun(_), Some(_)) => {
                    return Err(wrong(String::from("a second run begins")));
                }
                (_, None) => return Err(wrong(String::from("no run has begun"))),
            }
        }
        let mut state = state.ok_or_else(|| (1, String::from("it is empty")))?;
        state.interrupted += open.len();
        state.leftovers.extend(open.into_values());
        Ok(state)
    }
}

/// Where the last line that has an end ends.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
}

/// A state file that is added to, locked against others.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Begins a run in a directory, which is made when it is missing.
    pub(crate) fn create(run: &Path, begun: &Begun) -> Result<Self, StateError> {
        fs::create_dir_all(run).map_err(io_error("make directory", run))?;
        let path = run.join(STATE_FILE);
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StateError::Exists(run.to_owned()));
            }
            file => file.map_err(io_error("make", &path))?,
        };
        let mut log = Self { file, path };
        log.lock(run)?;
        log.add(&Line::Begun(Box::new(begun.clone())))?;
        let directory = File::open(run).and_then(|directory| directory.sync_all());
        directory.map_err(io_error("write", run))?;
        Ok(log)
    }

    /// Goes on with a run. The directories of samples that were interrupted are removed.
    pub(crate) fn resume(run: &Path) -> Result<(Self, State), StateError> {
        let path = run.join(STATE_FILE);
        let file = match OpenOptions::new().append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Missing(run.to_owned()));
            }
            file => file.map_err(io_error("open", &path))?,
        };
        let log = Self { file, path };
        log.lock(run)?;
        let state = State::read(run)?;
        let bytes = fs::read(&log.path).map_err(io_error("read", &log.path))?;
        let whole = whole_lines(&bytes) as u64;
        log.file.set_len(whole).map_err(io_error("cut the torn end off", &log.path))?;
        for left in &state.leftovers {
            // Gone already, most often.
            let _ = fs::remove_dir_all(left);
        }
        Ok((log, state))
    }

    fn lock(&self, run: &Path) -> Result<(), StateError> {
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(StateError::Busy(run.to_owned())),
            Err(TryLockError::Error(error)) => Err(io_error("lock", &self.path)(error)),
        }
    }

    /// Says that a sample begins in a directory.
    pub(crate) fn started(
        &mut self,
        cell: &CellKey,
        round: u32,
        run_dir: &Path,
    ) -> Result<(), StateError> {
        let (cell, run_dir, at) = (cell.clone(), run_dir.to_owned(), Timestamp::now());
        self.add(&Line::Started { cell, round, at, run_dir })
    }

    /// Says what a sample came to.
    pub(crate) fn sample(&mut self, sample: &Sample) -> Result<(), StateError> {
        self.add(&Line::Sample(Box::new(sample.clone())))
    }

    fn add(&mut self, line: &Line) -> Result<(), StateError> {
        let mut text = serde_json::to_vec(line).expect("state can be written");
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(io_error("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{MATRIX, good};

    fn begun() -> Begun {
        let matrix = Matrix::parse(MATRIX).unwrap();
        let environment = Environment::default();
        Begun::now(matrix, PathBuf::from("/base"), Selection::default(), 7, environment)
    }

    /// A run in which two samples have ended and one has not.
    fn interrupted_run(run: &Path) -> Vec<Sample> {
        let mut log = Log::create(run, &begun()).unwrap();
        let cells = begun().matrix.cells();
        let sample = |index: usize| {
            let outcome = match index {
                0 => Outcome::Measured(good(&cells[0], 500.0)),
                _ => Outcome::Failed(Fault::ClientTimeout { seconds: 1.5 }),
            };
            Sample { cell: cells[index].key.clone(), round: 0, at: Timestamp::now(), outcome }
        };
        let samples: Vec<Sample> = (0..2).map(sample).collect();
        for sample in &samples {
            log.started(&sample.cell, 0, Path::new("/nowhere")).unwrap();
            log.sample(sample).unwrap();
        }
        log.started(&cells[2].key, 0, &run.join("left")).unwrap();
        samples
    }

    #[test]
    fn a_run_goes_on_after_a_crash_at_any_byte() {
        let directory = tempfile::tempdir().unwrap();
        let samples = interrupted_run(directory.path());
        let path = directory.path().join(STATE_FILE);
        let whole = fs::read(&path).unwrap();
        let first_line = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for length in first_line..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut log, state) = Log::resume(directory.path()).unwrap();
            assert!(samples.starts_with(&state.samples), "{length}");
            log.started(&samples[0].cell, 9, Path::new("/nowhere")).unwrap();
            drop(log);
            State::read(directory.path()).expect("what is added fits on");
        }
        fs::write(&path, &whole).unwrap();
        fs::create_dir(directory.path().join("left")).unwrap();
        let (_log, state) = Log::resume(directory.path()).unwrap();
        assert_eq!((state.samples, state.interrupted), (samples, 1));
        assert!(!directory.path().join("left").exists());
    }

    #[test]
    fn what_no_run_writes_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        interrupted_run(directory.path());
        let path = directory.path().join(STATE_FILE);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (wrong, expected) in [
            (vec![], "line 1: it is empty"),
            (vec![lines[1]], "line 1: no run has begun"),
            (vec![lines[0], lines[0]], "line 2: a second run begins"),
            (
                vec![lines[0], lines[2]],
                "line 2: sample 0 of `family=ping client=rust server=rust rate=max` ended without having begun",
            ),
            (vec![lines[0], "nonsense", lines[1]], "line 2: expected ident"),
            (vec![&lines[0].replace("\"format\":1", "\"format\":2")], "line 1: it is of format 2"),
        ] {
            fs::write(&path, wrong.iter().map(|line| format!("{line}\n")).collect::<String>())
                .unwrap();
            let error = State::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_run_is_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Log::resume(directory.path()).unwrap_err();
        assert!(matches!(missing, StateError::Missing(_)), "{missing}");
        let log = Log::create(directory.path(), &begun()).unwrap();
        let exists = Log::create(directory.path(), &begun()).unwrap_err();
        assert!(matches!(exists, StateError::Exists(_)), "{exists}");
        let busy = Log::resume(directory.path()).unwrap_err();
        assert!(matches!(busy, StateError::Busy(_)), "{busy}");
        drop(log);
        Log::resume(directory.path()).unwrap();
    }

    proptest! {
        #[test]
        fn bytes_never_panic(bytes: Vec<u8>) {
            let _ = State::parse(&bytes);
        }
    }
}
