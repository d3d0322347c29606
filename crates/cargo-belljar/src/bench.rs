//! `cargo belljar bench`: benchmarks that are published whole and stable, or not at all.

use crate::args::{BenchCommand, BenchMatrixArgs, BenchRunArgs, BenchViewArgs};
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::output::{Style, count, data, is_smart_terminal, json, plain, say};
use crate::progress::shorten;
use anyhow::Context;
use belljar_bench::{
    Cancel, Event, Matrix, MatrixError, Progress, PublishError, Results, Run, RunError, Selection,
    State, StateError, assess, judge, withdraw,
};
use belljar_record::is_target_directory;
use serde_json::{Value, json as object};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Does what was asked for.
pub(crate) fn bench(command: &BenchCommand, style: Style) -> anyhow::Result<Exit> {
    match command {
        BenchCommand::Run(args) => run(args, style),
        BenchCommand::Resume { directory, view } => {
            let run = Run::resume(directory).map_err(|error| resume_failure(error, directory))?;
            measure(run, directory, view, style)
        }
        BenchCommand::Report { directory, json } => report(directory, *json, style),
        BenchCommand::List { matrix, json } => list(matrix, *json),
    }
}

/// The matrix with the builds of the command line.
fn matrix(args: &BenchMatrixArgs) -> anyhow::Result<Matrix> {
    if args.build.is_empty() {
        return Matrix::read(&args.matrix).map_err(|error| matrix_failure(error, args));
    }
    let here = std::env::current_dir().context("cannot tell the working directory")?;
    let builds = args.build.iter().map(|(name, path)| {
        let path = here.join(path);
        (name.clone(), path.to_string_lossy().into_owned())
    });
    let matrix = Matrix::read_with_builds(&args.matrix, builds);
    matrix.map_err(|error| matrix_failure(error, args))
}

/// The labels of the command line.
fn selection(args: &BenchMatrixArgs) -> anyhow::Result<Selection> {
    let selection: Selection = args.only.iter().cloned().collect();
    if let [.., (name, _)] = &args.only[selection.0.len()..] {
        let message = format!("`--only` cannot ask for rows with two values of a label (`{name}`)");
        let hint = "give each label once; leave the label out to measure all of its values";
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    Ok(selection)
}

fn matrix_failure(error: MatrixError, args: &BenchMatrixArgs) -> anyhow::Error {
    let message = format!("the matrix {} cannot be used", args.matrix.display());
    let hint = "docs/benchmarks.md has every field with an example";
    Failure::new(Exit::Usage, message).source(error).hint(hint).into()
}

fn run_failure(error: RunError) -> anyhow::Error {
    let (exit, hint) = match &error {
        RunError::Matrix(_) => (Exit::Usage, "`cargo belljar bench list MATRIX` lists its rows"),
        RunError::State(StateError::Exists(_)) => {
            (Exit::Usage, "`cargo belljar bench resume DIR` goes on with it")
        }
        RunError::State(StateError::Missing(_)) => {
            (Exit::Usage, "`cargo belljar bench run MATRIX` begins a run")
        }
        RunError::State(StateError::Corrupt { .. } | StateError::Format { .. }) => {
            (Exit::NotPublished, "")
        }
        RunError::State(StateError::Busy(_) | StateError::Occupied(_) | StateError::NotUtf8(_)) => {
            (Exit::Usage, "")
        }
        RunError::Program { .. } => {
            (Exit::Setup, "relative programs are looked for from the directory of the matrix")
        }
        RunError::Changed { .. } | RunError::Cpus { .. } => (Exit::Setup, ""),
        RunError::Interrupted => (Exit::Interrupted, ""),
        error if is_of_the_place(error) => (
            Exit::Setup,
            "a run needs two directories that it can write to and that have room: its own (`--out`) \
             and one for temporary files (TMPDIR, which must be there); `cargo belljar bench resume DIR` \
             goes on with one that has begun",
        ),
        _ => (Exit::Internal, ""),
    };
    let failure = Failure::new(exit, "the benchmark cannot be measured").source(error);
    if hint.is_empty() { failure.into() } else { failure.hint(hint).into() }
}

/// Whether an error comes from the directories that this was given, and not from this.
fn is_of_the_place(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind as Kind;
    let of_the_place = [
        Kind::AlreadyExists,
        Kind::DirectoryNotEmpty,
        Kind::NotADirectory,
        Kind::NotFound,
        Kind::PermissionDenied,
        Kind::QuotaExceeded,
        Kind::ReadOnlyFilesystem,
        Kind::StorageFull,
    ];
    let mut causes =
        anyhow::Chain::new(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| of_the_place.contains(&cause.kind()))
}

fn publish_failure(error: PublishError) -> anyhow::Error {
    let exit = if is_of_the_place(&error) { Exit::Setup } else { Exit::Internal };
    Failure::new(exit, "the reports cannot be put in order").source(error).into()
}

/// A run that cannot be trusted has no reports.
fn resume_failure(error: RunError, directory: &Path) -> anyhow::Error {
    if let RunError::State(StateError::Corrupt { .. }) = &error
        && let Err(error) = withdraw(directory)
    {
        return publish_failure(error);
    }
    run_failure(error)
}

fn run(args: &BenchRunArgs, style: Style) -> anyhow::Result<Exit> {
    let matrix = matrix(&args.matrix)?;
    let base = args.matrix.matrix.parent().filter(|parent| !parent.as_os_str().is_empty());
    let base = base.unwrap_or(Path::new("."));
    let selection = selection(&args.matrix)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let create =
        |directory: &Path| Run::create(directory, matrix.clone(), base, selection.clone(), seed);
    let (directory, run) = match &args.out {
        Some(directory) => (directory.clone(), create(directory).map_err(run_failure)?),
        None => first_free(default_directory(&args.matrix.matrix)?, create).map_err(run_failure)?,
    };
    measure(run, &directory, &args.view, style)
}

/// Begins a run in a directory, or beside it with a number where another run is there already.
fn first_free<R>(
    wanted: PathBuf,
    begin: impl Fn(&Path) -> Result<R, RunError>,
) -> Result<(PathBuf, R), RunError> {
    let (mut directory, mut number) = (wanted.clone(), 1);
    loop {
        match begin(&directory) {
            Err(RunError::State(StateError::Exists(_) | StateError::Busy(_))) => {}
            begun => return Ok((directory, begun?)),
        }
        number += 1;
        let mut numbered = wanted.clone().into_os_string();
        numbered.push(format!("-{number}"));
        directory = numbered.into();
    }
}

/// A directory for a run that nobody named: in the target directory that is next above, else here.
fn default_directory(matrix: &Path) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("cannot tell the working directory")?;
    let targets = here.ancestors().map(|directory| directory.join("target"));
    let target = { targets }.find(|target| is_target_directory(target));
    let root = target.map_or_else(|| here.join("belljar-bench"), |it| it.join("belljar/bench"));
    let stem = matrix.file_stem().unwrap_or_default().to_string_lossy();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(root.join(format!("{stem}-{seconds}")))
}

/// Measures what is left of a run, and publishes it.
fn measure(
    mut run: Run,
    directory: &Path,
    view: &BenchViewArgs,
    style: Style,
) -> anyhow::Result<Exit> {
    let cancel = Cancel::new().context("cannot make a switch")?;
    let switch = cancel.clone();
    interrupt::listen(move || switch.cancel(), || ())?;
    let mut screen = Screen::new(style, view.json);
    screen.begun(&run, directory);
    let measured = run.execute(&cancel, |event| screen.hear(&event, ""));
    screen.end_live();
    if let Err(error) = measured {
        if matches!(error, RunError::Interrupted) {
            let again = format!("cargo belljar bench resume {}", shorten(directory).display());
            screen.line(style.yellow(format_args!("{:>12}", "Interrupted")), again);
            return Ok(Exit::Interrupted);
        }
        return Err(run_failure(error));
    }
    if view.diagnose {
        let diagnoses = run.diagnose(&cancel, |event| screen.hear(&event, "once more alone: "));
        screen.end_live();
        if !diagnoses.map_err(run_failure)?.is_empty() {
            let path = directory.join("diagnosis.md");
            screen.line(format_args!("{:>12}", "Diagnosis"), shorten(&path).display());
        }
    }
    let exit = conclude(run.state(), directory, view.json, style)?;
    if exit == Exit::NotPublished && !view.diagnose {
        let resume =
            format!("cargo belljar bench resume --diagnose {}", shorten(directory).display());
        let text = format!("`{resume}` measures bad rows once more, alone");
        screen.line(format_args!("{:>12}", "Hint"), text);
    }
    Ok(exit)
}

fn report(directory: &Path, is_json: bool, style: Style) -> anyhow::Result<Exit> {
    let state = State::read(directory).map_err(|error| resume_failure(error.into(), directory))?;
    conclude(&state, directory, is_json, style)
}

/// Publishes a run, or says why not.
fn conclude(state: &State, directory: &Path, is_json: bool, style: Style) -> anyhow::Result<Exit> {
    match judge(state) {
        Ok(results) => published(&results, directory, is_json, style),
        Err(refusal) => {
            withdraw(directory).map_err(publish_failure)?;
            let assessment = assess(state);
            let is_selection = !state.begun.selection.0.is_empty();
            let is_good_selection = is_selection && assessment.problems.is_empty();
            if is_json {
                let rows = is_selection.then_some(&assessment.rows);
                tell(object!({
                    "event": "ended", "published": false, "run": directory.to_string_lossy(),
                    "problems": said(&refusal.problems), "rows": rows,
                }))?;
            } else {
                if is_selection {
                    assessment.rows.iter().try_for_each(tell)?;
                }
                let word = format!("{:>12}", "Refused");
                let word = if is_good_selection { style.yellow(word) } else { style.red(word) };
                let text = refusal.to_string();
                line(word, text.lines().next().unwrap_or_default());
                for problem in &refusal.problems {
                    say(format_args!("  {}", plain(problem)));
                }
                line(format_args!("{:>12}", "Run"), shorten(directory).display());
            }
            Ok(if is_good_selection { Exit::Fine } else { Exit::NotPublished })
        }
    }
}

fn published(
    results: &Results,
    directory: &Path,
    is_json: bool,
    style: Style,
) -> anyhow::Result<Exit> {
    let path = results.publish(directory).map_err(publish_failure)?;
    let missed: Vec<String> = results.missed().map(ToString::to_string).collect();
    let slow: Vec<String> = { results.rows.iter() }
        .flat_map(|row| row.notes.iter().map(move |note| (row, note)))
        .map(|(row, note)| format!("{}: {note}", row.key))
        .collect();
    if is_json {
        tell(object!({
            "event": "ended", "published": true, "passed": results.is_good(),
            "run": directory.to_string_lossy(), "report": path.to_string_lossy(),
            "missed": missed, "slower_than_their_rate": slow, "rows": results.rows.len(),
        }))?;
    } else {
        for text in &missed {
            line(style.red(format_args!("{:>12}", "Missed")), text);
        }
        if let [example, ..] = slow.as_slice() {
            let rows = count(slow.len(), "row");
            let text = format!("{rows} could not keep up with the declared rate, as {example}");
            line(style.yellow(format_args!("{:>12}", "Slow")), text);
        }
        let word = format!("{:>12}", "Published");
        let word = if missed.is_empty() { style.green(word) } else { style.red(word) };
        let rows = count(results.rows.len(), "row");
        let limits = match results.limits.len() {
            0 => String::new(),
            all => format!(", {} of {all} limits met", all - missed.len()),
        };
        line(word, format_args!("{rows}{limits}"));
        let page = path.join("report.html");
        line(format_args!("{:>12}", "Report"), shorten(&page).display());
    }
    Ok(if results.is_good() { Exit::Fine } else { Exit::LimitMissed })
}

/// Writes what a run came to as data. Whether anybody reads it or not, the exit code says it too.
fn tell(line: impl Display) -> anyhow::Result<()> {
    let cannot = |error| {
        let message = "cannot write what the run came to to standard output";
        let hint = "`cargo belljar bench report RUN` says it again";
        Failure::new(Exit::Setup, message).source(error).hint(hint).into()
    };
    match data(line) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(cannot(error)),
        _ => Ok(()),
    }
}

/// Problems as JSON, each with its words.
fn said(problems: &[belljar_bench::Problem]) -> Vec<Value> {
    let with_words = |problem: &belljar_bench::Problem| {
        let mut value = serde_json::to_value(problem).unwrap_or_default();
        value["message"] = problem.to_string().into();
        value
    };
    problems.iter().map(with_words).collect()
}

fn list(args: &BenchMatrixArgs, is_json: bool) -> anyhow::Result<Exit> {
    let matrix = matrix(args)?;
    let selection = selection(args)?;
    let cells = matrix.select(&selection).map_err(|error| matrix_failure(error, args))?;
    let policy = &matrix.policy;
    let each_s = policy.settle_ms as f64 / 1000.0;
    let seconds: f64 = cells.iter().map(|cell| cell.duration_s + each_s).sum();
    let seconds = seconds * f64::from(policy.samples);
    if is_json {
        let rows: Vec<_> = cells.iter().map(|cell| &cell.key).collect();
        json(&object!({ "title": matrix.title, "samples": policy.samples, "rows": rows,
            "duration_s": seconds }))?;
    } else {
        cells.iter().try_for_each(|cell| data(&cell.key))?;
        let samples = policy.samples;
        let rows = count(cells.len(), "row");
        say(format_args!("{rows} with {samples} samples each, at least {seconds:.0} s"));
    }
    Ok(Exit::Fine)
}

/// A run as people and programs see it.
struct Screen {
    style: Style,
    is_json: bool,
    is_live: bool,
    is_shown: bool,
    started: Instant,
}

impl Screen {
    fn new(style: Style, is_json: bool) -> Screen {
        let is_live = is_smart_terminal();
        Screen { style, is_json, is_live, is_shown: false, started: Instant::now() }
    }

    fn begun(&mut self, run: &Run, directory: &Path) {
        let begun = &run.state().begun;
        let progress = run.progress();
        let samples = count(progress.total - progress.done, "sample");
        let left = progress.left_text();
        let word = self.style.green(format_args!("{:>12}", "Measuring"));
        self.line(word, format_args!("{}: {samples}, about {left}", begun.matrix.title));
        self.line(format_args!("{:>12}", "Run"), shorten(directory).display());
        self.event(object!({
            "event": "begun", "run": directory.to_string_lossy(), "title": begun.matrix.title, "seed": begun.seed,
            "done": progress.done, "total": progress.total, "left_s": progress.left.as_secs_f64(),
        }));
    }

    /// Tells of a sample. `what` is said before its row.
    fn hear(&mut self, event: &Event<'_>, what: &str) {
        match event {
            Event::Started { cell, round, progress } => {
                let name = format!("{what}{cell} ({})", round + 1);
                self.live(progress, &name);
            }
            Event::Ended { cell, round, outcome, fault, progress } => {
                let fault = fault.map(ToString::to_string);
                self.event(object!({
                    "event": "sample", "cell": cell, "round": round, "outcome": outcome,
                    "fault": fault, "alone": !what.is_empty(), "done": progress.done,
                    "total": progress.total, "left_s": progress.left.as_secs_f64(),
                }));
                let place = format!("[{}/{}]", progress.done, progress.total);
                match fault {
                    Some(fault) => {
                        let word = self.style.red(format_args!("{:>12}", "Failed"));
                        self.line(word, format_args!("{place} {what}{cell}: {fault}"));
                    }
                    None if !self.is_live => {
                        let left = progress.left_text();
                        let name = format!("{what}{cell} ({})", round + 1);
                        let text = format!("{place} {name}, {left} left");
                        self.line(format_args!("{:>12}", "Measured"), text);
                    }
                    None => {}
                }
            }
        }
    }

    fn event(&self, event: Value) {
        if self.is_json {
            // That nobody reads it any more is no reason to stop measuring.
            let _ = data(event);
        }
    }

    /// Shows how far the run is, on a terminal. It is drawn between samples only: nothing here uses CPU
    /// time while something is measured.
    fn live(&mut self, progress: &Progress, name: &str) {
        if !self.is_live {
            return;
        }
        let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        // A terminal that does not know its width says 0.
        let width = if width == 0 { 80 } else { usize::from(width) };
        let text = live_text(progress, name, self.started.elapsed().as_secs_f64(), width);
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
        let _ = io::stderr().flush();
        self.is_shown = true;
    }

    fn end_live(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&mut self, word: impl Display, text: impl Display) {
        self.end_live();
        line(word, text);
    }
}

/// How far a run is, on a line that is not wrapped: what matters most where there is little room.
fn live_text(progress: &Progress, name: &str, seconds: f64, width: usize) -> String {
    let text = format!("{}/{}, {} left", progress.done, progress.total, progress.left_text());
    let text = match width {
        0..60 => text,
        _ => format!("{:>12} [{seconds:>6.1}s] {} {text}  {name}", "Running", progress.bar(20)),
    };
    text.chars().take(width - 1).collect()
}

/// A line for people, whose text may come from anywhere.
fn line(word: impl Display, text: impl Display) {
    say(format_args!("{word} {}", plain(text)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_time_left_is_seen_on_every_terminal() {
        let progress = Progress { done: 15, total: 20, left: Duration::from_secs(700) };
        let text = |width| live_text(&progress, "family=count", 1.5, width);
        assert_eq!((&*text(1), &*text(9), &*text(20)), ("", "15/20, 1", "15/20, 12 min left"));
        let wide = "     Running [   1.5s] [###############-----] 15/20, 12 min left  family=count";
        assert_eq!((&*text(60), &*text(300)), (&wide[..59], wide));
    }

    #[test]
    fn runs_of_the_same_second_have_directories_of_their_own() {
        let taken = ["one-7", "one-7-2"].map(PathBuf::from);
        let begin = |directory: &Path| match taken.iter().any(|taken| taken == directory) {
            true => Err(RunError::State(StateError::Exists(directory.to_owned()))),
            false => Ok(()),
        };
        let begun = first_free(PathBuf::from("one-7"), begin).expect("one is free");
        assert_eq!(begun.0, Path::new("one-7-3"));
        let other = |_: &Path| -> Result<(), RunError> { Err(RunError::Interrupted) };
        assert!(first_free(PathBuf::from("one-7"), other).is_err());
    }
}
