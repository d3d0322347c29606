//! The run as people see it, on standard error.

use crate::event::{Ended, Entry, Event, Summary};
use crate::output::{Style, count, is_smart_terminal, say};
use belljar_record::{Outcome, Reason};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shows a run: a line for each test that has ended, and on a terminal one more that
/// says what goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    is_live: bool,
    /// Whether the live line is there now.
    is_shown: bool,
    started: Instant,
    running: Vec<Arc<Entry>>,
    /// What takes long, if something does.
    note: Option<String>,
    /// Whether a test is in the middle of a line of its own.
    is_mid_line: bool,
}

impl Progress {
    /// Nothing yet.
    pub(crate) fn new(style: Style) -> Progress {
        Progress {
            style,
            is_live: is_smart_terminal(),
            is_shown: false,
            started: Instant::now(),
            running: Vec::new(),
            note: None,
            is_mid_line: false,
        }
    }

    /// Shows an event.
    pub(crate) fn hear(&mut self, event: &Event, summary: &Summary) {
        let style = self.style;
        match event {
            Event::Note(note) if self.is_live => self.note = Some(note.clone()),
            Event::Note(note) => self.line(style.dim(format_args!("{:>12} {note}", "Set-up"))),
            Event::Begun { tests, binaries, jobs, .. } => {
                let binaries = match binaries {
                    1 => String::from("1 binary"),
                    binaries => format!("{binaries} binaries"),
                };
                let tests = count(*tests, "test");
                let start = style.green(format_args!("{:>12}", "Starting"));
                self.line(format!("{start} {tests} in {binaries}, {jobs} at a time"));
            }
            Event::Started(entry) => {
                self.running.push(Arc::clone(entry));
                self.note = None;
            }
            Event::Wrote(bytes) => {
                self.clear();
                let _ = io::stderr().write_all(bytes);
                self.is_mid_line = bytes.last().is_some_and(|byte| *byte != b'\n');
            }
            Event::Finished(entry, ended) => {
                self.running.retain(|running| running.index != entry.index);
                self.finished(entry, ended);
            }
            Event::Interrupted => {
                let word = style.yellow(format_args!("{:>12}", "Interrupt"));
                self.line(format!("{word} ending the runs; once more ends everything at once"));
            }
            Event::End => {}
        }
        self.tick(summary);
    }

    fn finished(&mut self, entry: &Entry, ended: &Ended) {
        let style = self.style;
        let word = format!("{:>12}", ended.word());
        let word = match ended.record().outcome {
            Outcome::Pass => style.green(word),
            Outcome::Fail => style.red(word),
            Outcome::Skip | Outcome::Inconclusive => style.yellow(word),
        };
        let seconds = ended.took.as_secs_f64();
        let mut line = format!("{word} [{seconds:>7.3}s] {}", entry.title());
        if ended.record().outcome == Outcome::Skip {
            line.push_str(&format!(": {}", ended.record().reason));
        }
        self.line(line);
        let is_interrupted = matches!(ended.record().reason, Reason::Interrupted);
        if !ended.record().outcome.is_good() && !is_interrupted {
            self.line(format_args!("\n{}", ended.finished.explain(style.colour)));
            if let Some(shortest) = &ended.shortest {
                let steps = count(shortest.steps as usize, "step");
                let text = match shortest.steps == shortest.of {
                    true => format!("it takes all {steps} to fail"),
                    false => format!("its first {steps} of {} fail already", shortest.of),
                };
                let replay = shortest.record.as_deref().map(shorten);
                let replay =
                    replay.map(|path| format!(": cargo belljar replay {}", path.display()));
                self.line(format_args!("  {text}{}\n", replay.unwrap_or_default()));
            }
        } else if let Err(error) = &ended.finished.written {
            let text = format!("the record was not written: {error}");
            self.line(format_args!("{} {text}", style.red("error:")));
        }
    }

    /// Shows what goes on.
    pub(crate) fn tick(&mut self, summary: &Summary) {
        if !self.is_live || self.is_mid_line || summary.total == 0 && self.note.is_none() {
            return;
        }
        let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        // A terminal that does not know its width says 0.
        let width = if width == 0 { 80 } else { width };
        let text = self.status(summary);
        let cut: String = text.chars().take(usize::from(width.max(20)) - 1).collect();
        let _ = write!(io::stderr(), "\r\x1b[K{cut}");
        let _ = io::stderr().flush();
        self.is_shown = true;
    }

    fn status(&self, summary: &Summary) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut text = format!("{:>12} [{seconds:>6.1}s] ", "Running");
        if summary.total > 0 {
            text.push_str(&format!("{}/{}", summary.ended(), summary.total));
        }
        if summary.failed > 0 {
            text.push_str(&format!(", {} failed", summary.failed));
        }
        let names = self.running.iter().map(|entry| entry.spec().name());
        for name in names.chain(self.note.clone()) {
            text.push_str("  ");
            text.push_str(&name);
        }
        text
    }

    /// Takes the live line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&mut self, text: impl std::fmt::Display) {
        self.clear();
        if std::mem::take(&mut self.is_mid_line) {
            say("");
        }
        say(text);
    }

    /// Says what the run came to, where its records are and what to do next.
    pub(crate) fn end(
        &mut self,
        summary: &Summary,
        took: Duration,
        left_out: &[(usize, &str)],
        ordinary: usize,
    ) {
        let style = self.style;
        self.line(format_args!("{:>12}", "------------"));
        let word = format!("{:>12}", "Summary");
        let word = if summary.is_good() { style.green(word) } else { style.red(word) };
        let ended = summary.ended();
        let of = if ended == summary.total { String::new() } else { format!("/{}", summary.total) };
        let noun = if summary.total == 1 { "test" } else { "tests" };
        let mut text = format!("{ended}{of} {noun} run: {} passed", summary.passed);
        for (number, what) in [
            (summary.failed, "failed"),
            (summary.inconclusive, "inconclusive"),
            (summary.skipped, "skipped"),
        ] {
            if number > 0 {
                text.push_str(&format!(", {number} {what}"));
            }
        }
        let left_out: Vec<String> = left_out
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, why)| format!("{number} {why}"))
            .collect();
        if !left_out.is_empty() {
            text.push_str(&format!("; {}", left_out.join(", ")));
        }
        self.line(format_args!("{word} [{:>7.3}s] {text}", took.as_secs_f64()));
        for directory in summary.directories() {
            self.line(format_args!("{:>12} {}", "Records", shorten(&directory).display()));
        }
        let failed: Vec<_> = { summary.records.iter() }
            .filter(|(_, record)| !record.outcome.is_good())
            .filter(|(_, record)| !matches!(record.reason, Reason::Interrupted))
            .filter_map(|(path, _)| path.as_deref())
            .collect();
        match (failed.as_slice(), summary.directories().as_slice()) {
            ([], _) => {}
            ([one], _) => {
                let path = shorten(one);
                self.line(format_args!("{:>12} cargo belljar replay {}", "Replay", path.display()));
            }
            (_, directories) => {
                for directory in directories {
                    let path = shorten(directory);
                    let text = format!("cargo belljar replay --failed {}", path.display());
                    self.line(format_args!("{:>12} {text}", "Replay"));
                }
            }
        }
        if ordinary > 0 {
            let them = if ordinary == 1 { "it" } else { "them" };
            let text = format!("{} in the same binaries", count(ordinary, "ordinary test"));
            let text = format!("{text}: `cargo test` runs {them}");
            self.line(format_args!("{:>12} {text}", "Not run"));
        }
    }
}

/// A path as seen from the working directory, where that is shorter.
pub(crate) fn shorten(path: &std::path::Path) -> &std::path::Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}
