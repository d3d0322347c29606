//! What a run has come to so far: a file of JSON lines that is only ever added to.
//!
//! The first line says what is measured and where. Each sample adds a line when it begins and one when
//! it has ended, which are on the disk before the next begins. A crash can so leave at most a part of
//! the last line, which is cut off when the run goes on. Anything else that does not fit is an error:
//! nobody writes there but a run. Each line ends in a sum of itself and of the line before, by which one
//! that was changed, taken out or put in is noticed.

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
const FORMAT: u32 = 2;

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
    Started {
        cell: CellKey,
        round: u32,
        at: Timestamp,
        run_dir: PathBuf,
    },
    Sample(Box<Sample>),
    /// A sample that has ended is to be measured again.
    Dropped {
        cell: CellKey,
        round: u32,
        at: Timestamp,
    },
}

/// What every version can read of the first line.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Everything in a state file.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What the run was begun as.
    pub begun: Begun,
    /// The samples that have ended, in that order.
    pub samples: Vec<Sample>,
    /// How many samples were begun without an end, because something killed the runner or somebody
    /// interrupted it, or no longer count because that happened to the other half of their pair.
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
    /// What a run writes is there without a run.
    #[error("{} is there already and no run wrote it; choose another directory for the run, or move it away", .0.display())]
    Occupied(PathBuf),
    /// A path that belongs to a run is no text.
    #[error("cannot keep {} in a run: the path is not UTF-8; rename it, or choose another directory", .0.display())]
    NotUtf8(PathBuf),
    /// Nobody ever began a run there.
    #[error("{} holds no run; its {STATE_FILE} is missing, or no run began it", .0.display())]
    Missing(PathBuf),
    /// Another process is at it.
    #[error("another process is running the benchmark in {}; wait for it or choose another directory", .0.display())]
    Busy(PathBuf),
    /// Another version of this began it.
    #[error("{}, line 1: it is of format {format}, this reads format {FORMAT}; begin another run, or use the version that began this one", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
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
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StateError::Missing(run.to_owned()))
            }
            read => Ok(Self::of(run, &read.map_err(io_error("read", &path))?)?.0),
        }
    }

    /// The state that a file says, and the sum of its last whole line.
    fn of(run: &Path, bytes: &[u8]) -> Result<(Self, String), StateError> {
        if !is_begun(bytes) {
            return Err(StateError::Missing(run.to_owned()));
        }
        let path = run.join(STATE_FILE);
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        match serde_json::from_slice(first) {
            Ok(Format { format }) if format != FORMAT => Err(StateError::Format { path, format }),
            _ => Self::parse(&bytes[..whole_lines(bytes)])
                .map_err(|(line, problem)| StateError::Corrupt { path, line, problem }),
        }
    }

    fn parse(bytes: &[u8]) -> Result<(Self, String), (usize, String)> {
        let mut state: Option<Self> = None;
        let mut sum = String::new();
        let mut open: HashMap<(CellKey, u32), PathBuf> = HashMap::new();
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        for (number, line) in lines.enumerate().map(|(index, line)| (index + 1, line)) {
            let wrong = |problem: String| (number, problem);
            let text = line;
            let line: Line =
                serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
            let changed = || wrong(String::from("it was changed, or a line before it is missing"));
            sum = sum_of_line(&sum, text).ok_or_else(changed)?;
            match (line, &mut state) {
                (Line::Begun(begun), None) => {
                    begun.matrix.check().map_err(|error| wrong(format!("the matrix: {error}")))?;
                    let (samples, leftovers) = (Vec::new(), Vec::new());
                    state = Some(Self { begun: *begun, samples, interrupted: 0, leftovers });
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
                (Line::Dropped { cell, round, .. }, Some(state)) => {
                    if !state.drop_sample(&cell, round) {
                        return Err(wrong(format!(
                            "there is no sample {round} of `{cell}` to drop"
                        )));
                    }
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
        Ok((state, sum))
    }

    /// Lets a sample that has ended no longer count; `false` when there is none.
    fn drop_sample(&mut self, cell: &CellKey, round: u32) -> bool {
        let is_it = |sample: &Sample| sample.cell == *cell && sample.round == round;
        let Some(index) = self.samples.iter().position(is_it) else { return false };
        self.samples.remove(index);
        self.interrupted += 1;
        true
    }
}

/// What is written of a line: the text, and the sum at its end, which is also of all lines before.
fn with_sum(before: &str, line: &Line) -> serde_json::Result<(String, String)> {
    let mut text = serde_json::to_string(line)?;
    text.pop();
    let sum = sum(before, text.as_bytes());
    text.push_str(&sum_end(&sum));
    Ok((text, sum))
}

/// The sum of a line whose sum is right.
fn sum_of_line(before: &str, line: &[u8]) -> Option<String> {
    let text = &line[..line.len().checked_sub(sum_end("").len() + SUM_DIGITS)?];
    let sum = sum(before, text);
    (line[text.len()..] == *sum_end(&sum).as_bytes()).then_some(sum)
}

const SUM_DIGITS: usize = 16;

fn sum(before: &str, text: &[u8]) -> String {
    let hash = blake3::Hasher::new().update(before.as_bytes()).update(text).finalize();
    hash.to_hex()[..SUM_DIGITS].to_owned()
}

fn sum_end(sum: &str) -> String {
    format!(",\"sum\":\"{sum}\"}}\n")
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
    /// The sum of the last line.
    sum: String,
}

/// What a run writes into its directory besides its state.
const WRITTEN: [&str; 6] =
    [".report", "report", "evidence", "diagnosis", "diagnosis.md", "diagnosis.json"];

impl Log {
    /// Begins a run in a directory, which is made when it is missing. It must hold nothing that a run
    /// writes over or removes. What a crash has left of a first line is no run.
    pub(crate) fn create(run: &Path, begun: &Begun) -> Result<Self, StateError> {
        let line = Line::Begun(Box::new(begun.clone()));
        let path = run.join(STATE_FILE);
        // Nothing is written when this cannot be.
        with_sum("", &line).map_err(|error| io_error("write", &path)(error.into()))?;
        let refuse_run = || match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("read", &path)(error)),
            Ok(bytes) if is_torn_beginning(&bytes) => Ok(()),
            Ok(bytes) if is_begun(&bytes) => Err(StateError::Exists(run.to_owned())),
            Ok(_) => Err(StateError::Occupied(path.clone())),
        };
        refuse_run()?;
        let mut written = WRITTEN.iter().map(|name| run.join(name));
        if let Some(there) = written.find(|path| path.symlink_metadata().is_ok()) {
            return Err(StateError::Occupied(there));
        }
        fs::create_dir_all(run).map_err(io_error("make directory", run))?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.map_err(io_error("make", &path))?;
        let mut log = Self { file, path: path.clone(), sum: String::new() };
        log.lock(run)?;
        // Somebody else may have begun one meanwhile.
        refuse_run()?;
        log.file.set_len(0).map_err(io_error("begin", &log.path))?;
        log.add(&line)?;
        let directory = File::open(run).and_then(|directory| directory.sync_all());
        directory.map_err(io_error("write", run))?;
        Ok(log)
    }

    /// Goes on with a run.
    pub(crate) fn resume(run: &Path) -> Result<(Self, State), StateError> {
        let path = run.join(STATE_FILE);
        let file = match OpenOptions::new().append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Missing(run.to_owned()));
            }
            file => file.map_err(io_error("open", &path))?,
        };
        let mut log = Self { file, path, sum: String::new() };
        log.lock(run)?;
        let bytes = fs::read(&log.path).map_err(io_error("read", &log.path))?;
        let (state, sum) = State::of(run, &bytes)?;
        log.sum = sum;
        let whole = whole_lines(&bytes) as u64;
        log.file.set_len(whole).map_err(io_error("cut the torn end off", &log.path))?;
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

    /// Says that a sample that has ended no longer counts, and lets it no longer count.
    pub(crate) fn drop_sample(
        &mut self,
        state: &mut State,
        cell: &CellKey,
        round: u32,
    ) -> Result<(), StateError> {
        self.add(&Line::Dropped { cell: cell.clone(), round, at: Timestamp::now() })?;
        state.drop_sample(cell, round);
        Ok(())
    }

    fn add(&mut self, line: &Line) -> Result<(), StateError> {
        let summed = with_sum(&self.sum, line).map_err(io::Error::from);
        let written = summed.and_then(|(text, sum)| {
            self.file.write_all(text.as_bytes())?;
            self.file.sync_data()?;
            self.sum = sum;
            Ok(())
        });
        written.map_err(io_error("write", &self.path))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // A process that is about to start a program may still have the file open.
        let _ = self.file.unlock();
    }
}

/// Whether a run has begun a file.
fn is_begun(bytes: &[u8]) -> bool {
    whole_lines(bytes) > 0 && bytes.starts_with(br#"{"kind":""#)
}

/// Whether a file holds nothing, or a part of the first line of a run.
fn is_torn_beginning(bytes: &[u8]) -> bool {
    let start = br#"{"kind":"begun","#;
    whole_lines(bytes) == 0 && bytes.iter().zip(start).all(|(is, should)| is == should)
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
        for length in (0..first_line).step_by(61).chain([first_line - 1]) {
            fs::write(&path, &whole[..length]).unwrap();
            let missing = Log::resume(directory.path()).unwrap_err();
            assert!(matches!(missing, StateError::Missing(_)), "{length}: {missing}");
            Log::create(directory.path(), &begun()).expect("there is no run to lose");
            assert_eq!(State::read(directory.path()).unwrap().samples, []);
        }
        for length in first_line..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut log, state) = Log::resume(directory.path()).unwrap();
            assert!(samples.starts_with(&state.samples), "{length}");
            log.started(&samples[0].cell, 9, Path::new("/nowhere")).unwrap();
            drop(log);
            State::read(directory.path()).expect("what is added fits on");
        }
        fs::write(&path, &whole).unwrap();
        let (_log, state) = Log::resume(directory.path()).unwrap();
        assert_eq!((state.samples, state.interrupted), (samples, 1));
        assert_eq!(state.leftovers, [directory.path().join("left")]);
    }

    #[test]
    fn a_dropped_sample_no_longer_counts() {
        let directory = tempfile::tempdir().unwrap();
        let samples = interrupted_run(directory.path());
        let (mut log, mut state) = Log::resume(directory.path()).unwrap();
        log.drop_sample(&mut state, &samples[0].cell, 0).unwrap();
        assert_eq!((&state.samples[..], state.interrupted), (&samples[1..], 2));
        let read = State::read(directory.path()).unwrap();
        assert_eq!((&read.samples[..], read.interrupted), (&samples[1..], 2));
    }

    /// The lines without their sums, each with the sum that it should have.
    fn summed(lines: &[&str]) -> String {
        let mut before = String::new();
        let mut line = |line: &&str| match line.rsplit_once(",\"sum\"") {
            None => format!("{line}\n"),
            Some((text, _)) => {
                before = sum(&before, text.as_bytes());
                format!("{text}{}", sum_end(&before))
            }
        };
        lines.iter().map(&mut line).collect()
    }

    #[test]
    fn what_no_run_writes_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        interrupted_run(directory.path());
        let path = directory.path().join(STATE_FILE);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (wrong, expected) in [
            (vec![], "holds no run"),
            (vec![lines[1]], "line 1: no run has begun"),
            (vec![lines[0], lines[0]], "line 2: a second run begins"),
            (
                vec![lines[0], lines[2]],
                "line 2: sample 0 of `family=ping client=rust server=rust rate=max` ended without having begun",
            ),
            (vec![lines[0], "nonsense", lines[1]], "line 2: expected ident"),
            (
                vec![lines[0], &lines[2].replace("\"kind\":\"sample\"", "\"kind\":\"dropped\"")],
                "line 2: there is no sample 0 of `family=ping client=rust server=rust rate=max` to drop",
            ),
            (vec![&lines[0].replace("\"format\":2", "\"format\":1")], "line 1: it is of format 1"),
            (
                vec![&lines[0].replace("\"duration_s\":0.05", "\"duration_s\":-1.0")],
                "line 1: the matrix: [policy]: `duration_s` must be from",
            ),
            (
                vec![&lines[0].replace("\"spread_max\":1.35", "\"spread_max\":1e9")],
                "line 1: the matrix: [policy]: `spread_max` must be from 1 to 10",
            ),
        ] {
            fs::write(&path, summed(&wrong)).unwrap();
            let error = State::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_line_that_was_changed_taken_out_or_put_in_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        interrupted_run(directory.path());
        let path = directory.path().join(STATE_FILE);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = lines[2].replace("\"operations\":500", "\"operations\":900");
        assert_ne!(changed, lines[2]);
        let other_seed = lines[0].replace("\"seed\":7", "\"seed\":8");
        assert_ne!(other_seed, lines[0]);
        let unsummed = lines[1].rsplit_once(",\"sum\"").unwrap().0.to_owned() + "}";
        for (wrong, line) in [
            (vec![&*other_seed], 1),
            (vec![lines[0], lines[1], &changed, lines[3]], 3),
            (vec![lines[0], lines[3], lines[4]], 2),
            (vec![lines[0], lines[1], lines[2], lines[1], lines[2]], 4),
            (vec![lines[0], &unsummed], 2),
        ] {
            fs::write(&path, wrong.join("\n") + "\n").unwrap();
            let error = State::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}: it was changed")), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_runs_own_is_not_taken_for_it() {
        for name in WRITTEN {
            let directory = tempfile::tempdir().unwrap();
            let there = directory.path().join(name);
            fs::write(&there, "somebody's").unwrap();
            let occupied = Log::create(directory.path(), &begun()).unwrap_err();
            assert!(matches!(&occupied, StateError::Occupied(path) if *path == there));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is written");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(STATE_FILE);
        for somebodys in ["somebody's", "somebody's\n", "[]\n{}\n"] {
            fs::write(&path, somebodys).unwrap();
            let occupied = Log::create(directory.path(), &begun()).unwrap_err();
            assert!(matches!(occupied, StateError::Occupied(_)), "{occupied}");
            let missing = Log::resume(directory.path()).unwrap_err();
            assert!(matches!(missing, StateError::Missing(_)), "{missing}");
            assert_eq!(fs::read_to_string(&path).unwrap(), somebodys);
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        use std::os::unix::ffi::OsStrExt as _;
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let base = PathBuf::from(std::ffi::OsStr::from_bytes(b"/caf\xe9"));
        let error = Log::create(&run, &Begun { base, ..begun() }).unwrap_err();
        assert!(matches!(error, StateError::Io { .. }), "{error}");
        assert!(!run.exists());
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
