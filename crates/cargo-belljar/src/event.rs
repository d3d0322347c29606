//! What happens while tests run. The terminal, the JSON lines, the JUnit report and the
//! exit code are all made from these.

use crate::suite::Test;
use belljar::Spec;
use belljar::host::Finished;
use belljar_record::{Outcome, Reason, Record};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A test that is to be run, as it will be run.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its place among all of this run.
    pub(crate) index: usize,
    /// The test, with what the command line chose for it.
    pub(crate) test: Test,
    /// Mode, topology and what else tells it apart, as `det 1n1l2c1t seed 3`.
    pub(crate) setting: String,
}

impl Entry {
    /// What it declares, with what the command line chose for it.
    pub(crate) fn spec(&self) -> &Spec {
        &self.test.spec
    }

    /// Binary, name and setting, as `quickstart::quickstart name (tcg 1n1l4c1t)`.
    pub(crate) fn title(&self) -> String {
        let setting = match self.setting.as_str() {
            "" => String::new(),
            setting => format!(" ({setting})"),
        };
        format!("{} {}{setting}", self.test.binary.id, self.spec().name())
    }
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something takes longer than a fork: a line for people.
    Note(String),
    /// Everything is known that will be run.
    Begun {
        /// How many.
        tests: usize,
        /// In how many binaries.
        binaries: usize,
        /// How many at the same time.
        jobs: usize,
        /// What ties their records together.
        session: String,
    },
    /// A test has been started.
    Started(Arc<Entry>),
    /// It wrote something, and somebody wants to see that at once.
    Wrote(Vec<u8>),
    /// It has ended.
    Finished(Arc<Entry>, Box<Ended>),
    /// Somebody interrupts the run.
    Interrupted,
    /// No more will come.
    End,
}

/// How a test ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its record, where that is, and what the guest said.
    pub(crate) finished: Finished,
    /// Host time.
    pub(crate) took: Duration,
    /// The shortest beginning of its scenario that fails as well, where one was looked for.
    pub(crate) shortest: Option<Shortest>,
}

/// The shortest beginning of a scenario that fails.
#[derive(Debug)]
pub(crate) struct Shortest {
    /// How many steps it has.
    pub(crate) steps: u64,
    /// How many the scenario has.
    pub(crate) of: u64,
    /// The record of its run; of the whole scenario's, if it takes all steps.
    pub(crate) record: Option<PathBuf>,
}

impl Ended {
    /// What came of it.
    pub(crate) fn record(&self) -> &Record {
        &self.finished.record
    }

    /// One word in capitals.
    pub(crate) fn word(&self) -> &'static str {
        match (&self.record().reason, self.record().outcome) {
            (Reason::Interrupted, _) => "INTERRUPTED",
            (_, Outcome::Pass) => "PASS",
            (_, Outcome::Fail) => "FAIL",
            (_, Outcome::Inconclusive) => "INCONCLUSIVE",
            (_, Outcome::Skip) => "SKIP",
        }
    }
}

/// What a run comes to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// How many were to be run.
    pub(crate) total: usize,
    /// How many ended in each way.
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) inconclusive: usize,
    pub(crate) skipped: usize,
    /// Whether somebody interrupted it.
    pub(crate) interrupted: bool,
    /// The records of what has ended.
    pub(crate) records: Vec<(Option<PathBuf>, Record)>,
}

impl Summary {
    /// Takes an event in.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Begun { tests, .. } => self.total = *tests,
            Event::Interrupted => self.interrupted = true,
            Event::Finished(_, ended) => {
                *match ended.record().outcome {
                    Outcome::Pass => &mut self.passed,
                    Outcome::Fail => &mut self.failed,
                    Outcome::Inconclusive => &mut self.inconclusive,
                    Outcome::Skip => &mut self.skipped,
                } += 1;
                let path = ended.finished.written.as_ref().ok().cloned();
                self.records.push((path, ended.record().clone()));
            }
            _ => {}
        }
    }

    /// How many have ended.
    pub(crate) fn ended(&self) -> usize {
        self.records.len()
    }

    /// Whether every test that was to be run passed or was skipped.
    pub(crate) fn is_good(&self) -> bool {
        self.failed + self.inconclusive == 0 && self.ended() == self.total
    }

    /// The directories of the records.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let paths = self.records.iter().filter_map(|(path, _)| path.as_ref()?.parent());
        let mut directories: Vec<PathBuf> = paths.map(PathBuf::from).collect();
        directories.sort();
        directories.dedup();
        directories
    }
}
