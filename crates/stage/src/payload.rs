//! External programs as load: started in a cgroup, watched, and judged by what they say.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use belljar_scenario::{Check, Output, Payload};
use belljar_verdict::Polarity;
use belljar_verdict::evidence::{PayloadEnd, PayloadMetric, PayloadReport};
use rustix::process::Signal;

use crate::capture::Capture;
use crate::clock::{self, Wants};
use crate::extract::{Extraction, extract};
use crate::process::{End, Process, Status};

/// So much of each stream is kept to be read; what is beyond is drained and dropped.
pub const OUTPUT_MAX_BYTES: usize = 16 << 20;
/// So much of the end of each stream is put into the report.
const TAIL_BYTES: usize = 16 << 10;
/// How long a program that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// A payload that was started, or could not be. What runs is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    payload: Payload,
    /// The step that it ends with; none for the scenario.
    pub(crate) step: Option<u32>,
    command: Vec<String>,
    began_ns: u64,
    limit_ns: u64,
    process: Result<Process, String>,
    /// How it is to be called that it was ended from here.
    forced: Option<PayloadEnd>,
    ended_ns: Option<u64>,
}

impl Running {
    /// Starts a payload in the cgroup whose directory is given. A program that lies in `programs`
    /// is taken from there, whatever its path on the host.
    pub(crate) fn start(
        payload: &Payload,
        step: Option<u32>,
        cgroup: &Path,
        programs: Option<&Path>,
    ) -> Self {
        let name = Path::new(&payload.program).file_name();
        let shipped = programs.zip(name).map(|(dir, name)| dir.join(name));
        let program = match shipped.filter(|path| path.is_file()) {
            Some(path) => path.display().to_string(),
            None => payload.program.clone(),
        };
        let command: Vec<String> = [program].into_iter().chain(payload.args.clone()).collect();
        let capture = || Capture::new(OUTPUT_MAX_BYTES, TAIL_BYTES);
        let began_ns = clock::now_ns();
        let process = Process::start(&command, Some(cgroup), vec![capture(), capture()]);
        let process = process.map_err(|error| format!("cannot start {}: {error}", command[0]));
        let limit = payload.timeout.map(|timeout| clock::ns(timeout.0));
        Self {
            payload: payload.clone(),
            step,
            command,
            began_ns,
            limit_ns: limit.map_or(u64::MAX, |limit| began_ns.saturating_add(limit)),
            ended_ns: process.is_err().then_some(began_ns),
            process,
            forced: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.payload.name
    }

    pub(crate) fn cgroup(&self) -> &str {
        &self.payload.cgroup
    }

    /// It was moved, with its cgroup's other tasks.
    pub(crate) fn moved(&mut self, to: &str) {
        to.clone_into(&mut self.payload.cgroup);
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended_ns.is_some()
    }

    /// Limits its time to a moment, if it has no limit of its own.
    pub(crate) const fn limit(&mut self, until_ns: u64) {
        if self.limit_ns == u64::MAX {
            self.limit_ns = until_ns;
        }
    }

    /// Its time limit; the end of time where it has none.
    pub(crate) const fn limit_ns(&self) -> u64 {
        self.limit_ns
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Wants)> {
        self.process
            .as_ref()
            .ok()
            .filter(|_| !self.has_ended())
            .into_iter()
            .flat_map(Process::files)
    }

    /// Takes its output, notices its end, and ends it at its time limit. True when it ends now.
    pub(crate) fn pump(&mut self) -> bool {
        if self.has_ended() {
            return false;
        }
        let Ok(process) = &mut self.process else { return false };
        if process.pump().is_none() && clock::now_ns() >= self.limit_ns {
            self.forced = Some(PayloadEnd::TimedOut);
            process.kill();
        }
        self.note_end()
    }

    fn note_end(&mut self) -> bool {
        let Ok(process) = &self.process else { return false };
        self.ended_ns = match process.end() {
            Some(End { at_ns, .. }) => Some(at_ns),
            // Not even SIGKILL ends it: the kernel has it, and nobody waits for it any more.
            None if self.forced.is_some() => Some(clock::now_ns()),
            None => None,
        };
        self.has_ended()
    }

    /// Ends it, politely if there is time for it.
    pub(crate) fn stop(&mut self, politely: bool) {
        if self.pump() || self.has_ended() {
            return;
        }
        self.forced = Some(PayloadEnd::Stopped);
        if let Ok(process) = &mut self.process {
            if politely {
                process.signal(Signal::TERM);
                process.wait(clock::after(GRACE));
            }
            process.kill();
        }
        self.note_end();
    }

    /// What came of it. What still runs is stopped.
    pub(crate) fn report(mut self) -> PayloadReport {
        self.stop(true);
        let mut report = PayloadReport {
            name: std::mem::take(&mut self.payload.name),
            cgroup: std::mem::take(&mut self.payload.cgroup),
            command: self.command,
            began_ns: self.began_ns,
            ended_ns: self.ended_ns.unwrap_or(self.began_ns),
            ..PayloadReport::default()
        };
        let process = match &self.process {
            Ok(process) => process,
            Err(error) => {
                report.problems = vec![error.clone()];
                report.end = PayloadEnd::NotStarted { error: error.clone() };
                return report;
            }
        };
        let (out, err) = (process.captured(0), process.captured(1));
        report.cpu_ns = process.end().map_or(0, |end| end.cpu_ns);
        report.stdout_tail = out.end(TAIL_BYTES);
        report.stderr_tail = err.end(TAIL_BYTES);
        report.end = self.forced.unwrap_or_else(|| match process.end().map(|end| end.status) {
            Some(Status::Exited(code)) => PayloadEnd::Exited { code },
            Some(Status::Signaled(signal)) => PayloadEnd::Signaled { signal },
            Some(Status::Unknown) | None => PayloadEnd::Stopped,
        });
        for (stream, capture) in [("standard output", out), ("standard error", err)] {
            if capture.exceeds_head() {
                report.problems.push(format!(
                    "it wrote {} bytes to its {stream}: only the first {OUTPUT_MAX_BYTES} count",
                    capture.total()
                ));
            }
        }
        let found = match self.payload.output {
            Output::Json => extract(out.head()),
            Output::ExitCode => Extraction::default(),
        };
        let life = Duration::from_nanos(report.ended_ns - report.began_ns);
        report.problems.extend(problems(&self.payload, &report.end, life, &found));
        report.metrics = metrics(&self.payload, found);
        report
    }
}

/// The figures, with what the declaration says of them.
fn metrics(payload: &Payload, found: Extraction) -> Vec<PayloadMetric> {
    let metric = |(name, value): (String, f64)| {
        let hint = payload.metrics.iter().find(|hint| hint.path == name);
        let (unit, polarity) = match hint {
            Some(hint) => (hint.unit.clone(), hint.polarity),
            None => (String::new(), Polarity::None),
        };
        PayloadMetric { name, value, unit, polarity }
    };
    found.figures.into_iter().map(metric).collect()
}

/// What is wrong with a payload's end and its figures; its exit code comes first.
fn problems(
    payload: &Payload,
    end: &PayloadEnd,
    life: Duration,
    found: &Extraction,
) -> Vec<String> {
    let mut problems = Vec::new();
    let codes = payload.checks.iter().filter_map(|check| match check {
        Check::ExitCode { code } => Some(*code),
        _ => None,
    });
    let codes: Vec<i32> = codes.collect();
    match end {
        PayloadEnd::Exited { code } if codes.is_empty() && *code != 0 => {
            problems.push(format!("it exited with code {code}, and should with 0"));
        }
        PayloadEnd::Exited { code } => {
            let others = codes.iter().filter(|wanted| *wanted != code);
            problems.extend(
                others
                    .map(|wanted| format!("it exited with code {code}, and should with {wanted}")),
            );
        }
        PayloadEnd::Signaled { signal } => problems.push(format!("signal {signal} ended it")),
        PayloadEnd::TimedOut => {
            problems.push(format!("it was still running after {life:?} and was killed"));
        }
        // Background load is ended by the scenario: there is no code to check.
        PayloadEnd::Stopped => {}
        PayloadEnd::NotStarted { error } => problems.push(error.clone()),
    }
    if payload.output == Output::Json && *end != PayloadEnd::Stopped {
        problems.extend(found.problem.clone());
    }
    let figure =
        |path: &str| found.figures.iter().find(|(name, _)| name == path).map(|(_, value)| *value);
    for check in &payload.checks {
        let (path, least, most) = match check {
            Check::Min { path, least } => (path, Some(*least), None),
            Check::Max { path, most } => (path, None, Some(*most)),
            Check::Range { path, least, most } => (path, Some(*least), Some(*most)),
            Check::Exists { path } => (path, None, None),
            Check::ExitCode { .. } => continue,
        };
        let Some(value) = figure(path) else {
            problems.push(format!("`{path}` is not in its output"));
            continue;
        };
        // A limit that is no number holds nothing.
        if least.is_some_and(|least| !(least..).contains(&value)) {
            problems.push(format!("`{path}` is {value}, below {}", least.unwrap_or_default()));
        }
        if most.is_some_and(|most| !(..=most).contains(&value)) {
            problems.push(format!("`{path}` is {value}, above {}", most.unwrap_or_default()));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that passes for a cgroup: what is written into it is nothing to the kernel.
    fn cgroup() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        dir
    }

    fn start(payload: &Payload) -> Running {
        Running::start(payload, None, cgroup().path(), None)
    }

    /// Lets it run to its end.
    fn run(payload: &Payload) -> PayloadReport {
        let mut running = start(payload);
        while !running.has_ended() {
            let files: Vec<_> = running.files().collect();
            clock::wait(&files, running.limit_ns());
            running.pump();
        }
        running.report()
    }

    fn shell(script: &str) -> Payload {
        Payload::new("/bin/sh").args(&["-c", script])
    }

    #[test]
    fn figures_and_checks_are_reported() {
        let payload = shell("echo 'x: {\"a\": {\"b\": [1, 2.5]}}'; echo e >&2")
            .json()
            .metric("a.b.1", "us", Polarity::Lower)
            .check(Check::Max { path: "a.b.1".into(), most: 2.0 })
            .check(Check::Min { path: "a.b.0".into(), least: 1.0 })
            .check(Check::Exists { path: "a.c".into() })
            .check(Check::ExitCode { code: 3 });
        let report = run(&payload);
        assert_eq!(report.end, PayloadEnd::Exited { code: 0 });
        let metric = |name: &str, value, unit: &str, polarity| PayloadMetric {
            name: name.into(),
            value,
            unit: unit.into(),
            polarity,
        };
        let metrics =
            [metric("a.b.0", 1.0, "", Polarity::None), metric("a.b.1", 2.5, "us", Polarity::Lower)];
        assert_eq!(report.metrics, metrics);
        let problems = [
            "it exited with code 0, and should with 3",
            "`a.b.1` is 2.5, above 2",
            "`a.c` is not in its output",
        ];
        assert_eq!(report.problems, problems);
        assert_eq!(report.stderr_tail, "e\n");
        assert!(report.ended_ns > report.began_ns);
    }

    #[test]
    fn bad_programs_end_in_their_reports() {
        let missing = run(&Payload::new("/nowhere/at/all"));
        let error = "cannot start /nowhere/at/all: No such file or directory (os error 2)";
        assert_eq!(missing.end, PayloadEnd::NotStarted { error: error.into() });
        assert_eq!(missing.problems, [error]);

        let hangs = run(&shell("sleep 1000").timeout(Duration::from_millis(20)));
        assert_eq!(hangs.end, PayloadEnd::TimedOut);
        assert!(hangs.problems[0].starts_with("it was still running after "), "{hangs:?}");

        let broken = run(&shell("echo '{\"a\": 1, \"b\":'").json());
        assert!(broken.problems[0].starts_with("its output has no complete JSON"), "{broken:?}");

        let dies = run(&shell("kill -9 $$"));
        assert_eq!(
            (dies.end, dies.problems),
            (PayloadEnd::Signaled { signal: 9 }, vec!["signal 9 ended it".to_owned()],)
        );
    }

    #[test]
    fn a_hundred_megabytes_are_drained() {
        let much = run(&shell("head -c 100000000 /dev/zero | tr '\\0' 7; echo; echo end").json());
        assert_eq!(much.end, PayloadEnd::Exited { code: 0 });
        assert_eq!(
            much.problems[0],
            "it wrote 100000005 bytes to its standard output: only the first 16777216 count"
        );
        assert!(much.stdout_tail.len() <= TAIL_BYTES && much.stdout_tail.ends_with("end\n"));
    }

    #[test]
    fn background_load_is_stopped_and_not_blamed() {
        let script =
            "trap 'echo {\\\"n\\\": 7}; exit 5' TERM; echo up >&2; while :; do sleep 0.01; done";
        let mut running = start(&shell(script).json());
        while running.process.as_ref().unwrap().captured(1).total() == 0 {
            assert!(!running.pump());
        }
        running.stop(true);
        let report = running.report();
        assert_eq!((report.end, report.problems), (PayloadEnd::Stopped, Vec::new()));
        assert_eq!(report.metrics[0].value, 7.0);
    }
}
