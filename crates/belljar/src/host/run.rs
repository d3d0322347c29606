//! One run of one test, and its record.

use super::{Host, Plan};
use crate::case::Spec;
use crate::message::{Event, Outcome, Played, Request};
use belljar_guest::channel::{Code, Ending};
use belljar_record::{
    Directory, Identity, Metric, Phase, Project, Reason, Record, Said, Tail, Timestamp, Transcript,
    VariantInputs, WriteError, target_root,
};
use belljar_verdict::evidence::PayloadMetric;
use belljar_verdict::{CheckKind, Finding, Judge, Polarity, Verdict};
use belljar_vm::{KernelFault, Mode, Run, Stop, Watch, chain, is_stale_breakpoint};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// What came of it.
    pub record: Record,
    /// Where the record is, or why it could not be written.
    pub written: Result<PathBuf, WriteError>,
    /// What the guest said, for comparisons; only in `det`.
    pub said: Option<Said>,
    /// Host time from the request until the body began, if it did.
    pub to_body: Option<Duration>,
}

/// Why a test runs a second time.
const STALE_BREAKPOINT: &str = "QEMU has executed a breakpoint that the guest's kernel had taken out of its code \
    before, which is a fault of QEMU's translation on several threads and no one else's; the test was run again";

impl Host {
    /// Runs a test to its end and writes its record. `hear` is called with what the
    /// test writes to its standard output and error, as it does.
    pub fn run(&self, spec: &Spec, binary: &Path, hear: impl FnMut(Code, &[u8])) -> Finished {
        self.run_planned(spec, binary, self.plan(spec, binary), hear)
    }

    /// [`Host::run`] with what [`Host::plan`] has found before.
    pub fn run_planned(
        &self,
        spec: &Spec,
        binary: &Path,
        plan: Result<Plan, Reason>,
        mut hear: impl FnMut(Code, &[u8]),
    ) -> Finished {
        let plan = match plan {
            Ok(plan) => plan,
            Err(reason) => {
                let record = Record { reason, ..self.blank(spec, binary, 0) };
                return self.finish(record, spec, binary, None);
            }
        };
        let mut attempt = || {
            let started = Instant::now();
            let mut record = self.blank(spec, binary, plan.steps);
            describe(&mut record, &plan, self);
            let heard = self.run_plan(&plan, &mut record, started, &mut hear);
            (record, heard)
        };
        let (mut record, mut heard) = attempt();
        let is_stale = |run: &Run| is_stale_breakpoint(&String::from_utf8_lossy(&run.console));
        if plan.mode == Mode::Tcg && heard.as_ref().is_some_and(is_stale) {
            let note = format!("{}: {STALE_BREAKPOINT}", record.reason);
            (record, heard) = attempt();
            record.notes.push(note);
        }
        self.finish(record, spec, binary, heard)
    }

    /// What is asked of a fork for a run of this plan.
    #[must_use]
    pub fn request(&self, plan: &Plan) -> Vec<u8> {
        let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(ns);
        Request {
            test: plan.spec.test.clone(),
            topology: plan.topology.to_string(),
            mode: plan.mode.to_string(),
            scheduler: plan.spec.scheduler.as_ref().map(|one| one.id.clone()).unwrap_or_default(),
            seed: plan.seed,
            timeout_ns: ns(plan.timeout),
            wall_clock_ns: wall_clock.filter(|_| plan.mode != Mode::Det),
            steps: plan.steps,
        }
        .encode()
    }

    fn run_plan(
        &self,
        plan: &Plan,
        record: &mut Record,
        started: Instant,
        mut hear: impl FnMut(Code, &[u8]),
    ) -> Option<Run> {
        let mut last = started;
        let mut lap = || {
            let now = Instant::now();
            Some(ns(now - std::mem::replace(&mut last, now)))
        };
        record.durations.queue_ns = lap();
        let template = match self.prepare(plan) {
            Ok(template) => template,
            Err(reason) => {
                record.reason = reason;
                return None;
            }
        };
        record.durations.template_ns = lap();
        let fork = match self.take(&template) {
            Ok(fork) => fork,
            Err(reason) => {
                record.reason = reason;
                return None;
            }
        };
        record.durations.fork_ns = lap();
        let request = self.request(plan);
        let limit = watchdog(plan, self.options.grace);
        let watch = Watch { limit, cancelled: Some(Arc::clone(&self.options.cancelled)) };
        let run = fork.run(&request, &watch, |said| {
            if matches!(said.code, Code::Stdout | Code::Stderr) {
                hear(said.code, &said.body);
            }
        });
        record.durations.run_ns = lap();
        judge(record, plan, &run, limit);
        record.durations.collect_ns = lap();
        Some(run)
    }

    fn finish(&self, mut record: Record, spec: &Spec, binary: &Path, run: Option<Run>) -> Finished {
        expect(&mut record, spec);
        record.outcome = record.reason.outcome();
        let mut said = None;
        if let Some(run) = run.as_ref().filter(|_| record.vm.mode.used == "det") {
            let mut transcript = Transcript::new();
            for one in &run.said {
                transcript.frame(one.time_ns, one.code.word(), &one.body);
            }
            let (digest, lines) = transcript.finish(&run.console);
            record.digest = Some(digest);
            said = Some(lines);
        }
        let root = match &self.options.records {
            Some(root) => root.clone(),
            None => target_root(binary).unwrap_or_else(|| PathBuf::from("belljar")),
        };
        let kernel = Some(record.vm.kernel.id.as_str()).filter(|id| !id.is_empty());
        let directory = Directory::new(&root, kernel, &record.project);
        let written = directory.write(&record, said.as_ref());
        Finished { record, written, said, to_body: run.and_then(|run| run.timings.begun) }
    }

    /// A record with what is known before anything is tried.
    fn blank(&self, spec: &Spec, binary: &Path, steps: u64) -> Record {
        let stem = binary.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = stem.rsplit_once('-').map_or(stem.as_str(), |(name, _)| name).to_owned();
        let mut inputs = VariantInputs::new(&spec.package, &name, &spec.test);
        let scheduler = spec.scheduler.as_ref().map(|one| one.command().join(" "));
        for (name, value) in [
            ("topology", &spec.topology),
            ("mode", &spec.mode),
            ("kernel", &spec.kernel),
            ("scheduler", &scheduler),
            ("seed", &spec.seed.map(|seed| seed.to_string())),
            ("memory_mib", &spec.memory_mib.map(|mib| mib.to_string())),
            // A scenario that is cut short has a record beside that of the whole one.
            ("steps", &Some(steps).filter(|steps| *steps > 0).map(|steps| steps.to_string())),
        ] {
            if let Some(value) = value {
                inputs = inputs.with(name, value);
            }
        }
        // What is chosen from outside tells records of different choices apart too.
        for (name, value) in
            [("with-mode", &self.options.mode), ("with-kernel", &self.options.kernel)]
        {
            if let Some(value) = value {
                inputs = inputs.with(name, value);
            }
        }
        let identity = Identity {
            test: spec.test.clone(),
            variant: spec.variant.clone(),
            package: spec.package.clone(),
            binary: name,
            binary_hash: self.binary_hash(binary),
            variant_hash: inputs.hash(),
            session: self.session.clone(),
        };
        let reason = Reason::Internal { detail: String::from("the run was never judged") };
        let mut record = Record::new(identity, Timestamp::now(), reason);
        record.host = belljar_record::Host::current();
        record.project = Project::of_directory(Path::new(&spec.manifest_dir));
        record
    }

    fn binary_hash(&self, binary: &Path) -> String {
        let mut known = self.binaries.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = known.entry(binary.to_owned()).or_insert_with(|| {
            let bytes = std::fs::read(binary);
            bytes.map_or_else(|_| String::new(), |bytes| blake3::hash(&bytes).to_hex().to_string())
        });
        hash.clone()
    }
}

/// Turns the reason of a test that is declared to fail around, unless it is not the failure that was
/// declared.
fn expect(record: &mut Record, spec: &Spec) {
    if spec.expect_fail.is_none() && spec.expect_check.is_none() {
        let is_open = matches!(record.reason, Reason::Inconclusive { .. });
        if is_open && spec.allow_inconclusive {
            record.notes.push(format!("{}, which the test allows", record.reason));
            record.reason = Reason::Passed;
        }
        return;
    }
    record.expected_fail = true;
    let text = record.reason.to_string();
    if record.reason.is_of_test() && record.reason.outcome() == belljar_record::Outcome::Fail {
        let wanted = spec.expect_fail.as_deref().unwrap_or_default();
        let check = spec.expect_check.as_deref();
        let failed = match &record.reason {
            Reason::Check { check, .. } => Some(check.as_str()),
            _ => None,
        };
        if !text.contains(wanted) {
            record.notes.push(format!("expected to fail with `{wanted}`, but: {text}"));
            return;
        }
        if check.is_some() && check != failed {
            let check = check.unwrap_or_default();
            record.notes.push(format!("expected the check `{check}` to fail, but: {text}"));
            return;
        }
    }
    record.reason = record.reason.clone().when_failure_expected();
}

/// The verdict on a scenario, and the reason if it is not good.
fn judge_played(record: &mut Record, plan: &Plan, played: Played) -> Option<Reason> {
    let mode = match plan.mode {
        Mode::Kvm => belljar_verdict::Mode::Kvm,
        Mode::Tcg => belljar_verdict::Mode::Tcg,
        Mode::Det => belljar_verdict::Mode::Det,
    };
    let mut judge = Judge::new(mode, &plan.topology);
    if let Some(scheduler) = &plan.spec.scheduler {
        judge = judge.scheduler(&scheduler.name, &played.of_scheduler);
    }
    judge = judge.test(&played.of_test);
    for (index, (name, limits)) in (0..).zip(&played.of_steps) {
        judge = judge.step(index, name, limits);
    }
    let verdict = judge.judge(&played.evidence);
    let reason = reason_of_verdict(&verdict);
    for payload in &played.evidence.payloads {
        // What the test says nothing about is in the evidence alone: a program may say a lot.
        let said =
            |metric: &&PayloadMetric| !metric.unit.is_empty() || metric.polarity != Polarity::None;
        for metric in payload.metrics.iter().filter(said) {
            let name = format!("{}: {}", payload.name, metric.name);
            record.metrics.retain(|metric| metric.name != name);
            let (value, unit, polarity) = (metric.value, metric.unit.clone(), metric.polarity);
            record.metrics.push(Metric { name, value, unit, polarity });
        }
    }
    record.scenarios.push(belljar_record::Played { evidence: played.evidence, verdict });
    reason
}

/// The gravest of a verdict's findings as a reason; none if the verdict is good.
fn reason_of_verdict(verdict: &Verdict) -> Option<Reason> {
    let worst = verdict.failures().next();
    let finding = worst.or_else(|| {
        let open = |finding: &&Finding| finding.outcome == belljar_record::Outcome::Inconclusive;
        verdict.findings().iter().find(open)
    })?;
    let (check, message) = (finding.check, finding.line());
    Some(match (check, finding.outcome) {
        (_, belljar_record::Outcome::Inconclusive) => Reason::Inconclusive { why: message },
        (CheckKind::SchedulerLoads, _) => Reason::SchedulerNotLoaded { detail: message },
        (check, _) if check.is_setup() => Reason::Scenario { detail: message },
        (check, _) => {
            let (word, line) = (check.word(), &message);
            let said = line.strip_prefix(word).and_then(|line| line.strip_prefix(": "));
            Reason::Check { check: word.to_owned(), message: said.unwrap_or(line).to_owned() }
        }
    })
}

fn describe(record: &mut Record, plan: &Plan, host: &Host) {
    record.steps = Some(plan.steps).filter(|steps| *steps > 0);
    record.timeout_ms = Some(plan.timeout.as_millis() as u64);
    let vm = &mut record.vm;
    vm.mode.requested.clone_from(&plan.requested);
    vm.mode.used = plan.mode.to_string();
    vm.mode.why.clone_from(&plan.why);
    vm.kernel.id = plan.kernel.id().to_owned();
    vm.kernel.release = Some(plan.kernel.release().to_owned());
    vm.topology = plan.topology.to_string();
    vm.preset.clone_from(&plan.spec.preset);
    vm.memory_mib = plan.memory.0;
    vm.seed = Some(plan.seed);
    vm.scheduler = plan.scheduler();
    vm.qemu_version = Some(host.engine.qemu().version().to_string());
    let accelerator = if plan.mode == Mode::Kvm { "kvm" } else { "tcg" };
    vm.accelerator = Some(accelerator.to_owned());
}

/// How much host time a machine gets before it counts as hung. The guest enforces the
/// limit itself; this is for guests that no longer can. In `det` a second of a busy
/// guest with several CPUs takes several of the host.
fn watchdog(plan: &Plan, grace: Option<Duration>) -> Duration {
    let grace = grace.unwrap_or(Duration::from_secs(30));
    match plan.mode {
        Mode::Kvm | Mode::Tcg => plan.timeout + grace,
        Mode::Det => plan.timeout * (2 + 2 * plan.topology.cpu_count()) + grace,
    }
}

/// Fills a record with what the guest said, and finds the reason.
fn judge(record: &mut Record, plan: &Plan, run: &Run, watchdog: Duration) {
    let mut outcome = None;
    let (mut began_ns, mut stdout, mut stderr) = (None, Vec::new(), Vec::new());
    let mut leaked = Vec::new();
    let mut garbage = None;
    let mut verdict = None;
    for said in &run.said {
        match said.code {
            Code::Stdout => stdout.extend_from_slice(&said.body),
            Code::Stderr => stderr.extend_from_slice(&said.body),
            Code::Note => record.notes.push(String::from_utf8_lossy(&said.body).into_owned()),
            Code::Leaked => {
                leaked.extend(String::from_utf8_lossy(&said.body).lines().map(str::to_owned));
            }
            Code::Begin => began_ns = Some(said.time_ns),
            Code::Event => match serde_json::from_slice(&said.body) {
                Ok(Event::Outcome(ended)) => {
                    record.guest_time_ns = began_ns.map(|began| said.time_ns.saturating_sub(began));
                    outcome = Some(ended);
                }
                Ok(Event::Played(played)) => {
                    let reason = judge_played(record, plan, *played);
                    verdict = verdict.or(reason);
                }
                Ok(event) => note_event(record, event, said.time_ns),
                Err(error) => garbage = Some(format!("an event is no JSON of ours: {error}")),
            },
            _ => {}
        }
    }
    record.stdout = Tail::new(&stdout);
    record.stderr = Tail::new(&stderr);
    record.console = Tail::new(&run.console);
    let reason = match &run.stop {
        Stop::Ended(ending) => match (ending, outcome) {
            _ if garbage.is_some() => {
                Reason::ChannelGarbage { detail: garbage.unwrap_or_default() }
            }
            (Ending::TimedOut, _) => Reason::Timeout { limit_ms: plan.timeout.as_millis() as u64 },
            (_, Some(outcome)) => reason_of(outcome),
            (Ending::Done, None) => {
                Reason::AgentLost { detail: String::from("the test process gave no result") }
            }
            (Ending::Exited(code), None) => Reason::Exited { code: *code },
            (Ending::Signaled(signal), None) => Reason::Signaled { signal: *signal },
        },
        stop => {
            match stop {
                Stop::ChannelFull { log, dropped_bytes, .. } => {
                    record.notes.push(format!("{dropped_bytes} bytes of {log} did not fit"));
                }
                Stop::Hung(places) => record.notes.push(places.clone()),
                _ => {}
            }
            why_stopped(stop, watchdog)
        }
    };
    record.reason = match reason {
        Reason::Passed if !leaked.is_empty() => Reason::Leaked { processes: leaked },
        // A body that did not fail may still have played a scenario that did.
        Reason::Passed => verdict.unwrap_or(Reason::Passed),
        reason => reason,
    };
}

/// Why a machine stopped before its process had ended; `watchdog` is what a machine that hangs had.
pub fn why_stopped(stop: &Stop, watchdog: Duration) -> Reason {
    match stop.clone() {
        Stop::AgentFailed(detail) | Stop::AgentLost(detail) => Reason::AgentLost { detail },
        Stop::Kernel(KernelFault::Panic(message)) => Reason::KernelPanic { message },
        Stop::Kernel(KernelFault::Oops(message)) => Reason::KernelOops { message },
        Stop::Kernel(KernelFault::OutOfMemory(victim)) => Reason::OutOfMemory { victim },
        Stop::ChannelBroken(detail) => Reason::ChannelGarbage { detail },
        Stop::ChannelFull { log, limit_bytes, .. } => {
            Reason::ChannelOverflow { log: log.to_owned(), limit_bytes }
        }
        Stop::ConsoleFull { limit_bytes } => {
            Reason::ChannelOverflow { log: String::from("console"), limit_bytes }
        }
        Stop::Hung(_) => Reason::GuestHung { watchdog_ms: watchdog.as_millis() as u64 },
        Stop::Cancelled => Reason::Interrupted,
        Stop::QemuDied { status, stderr } => Reason::QemuDied { status, stderr },
        Stop::Failed(detail) => Reason::Internal { detail },
        stop => Reason::Internal { detail: format!("{stop:?}") },
    }
}

fn note_event(record: &mut Record, event: Event, time_ns: u64) {
    match event {
        Event::Metric { name, value, unit, polarity } => {
            record.metrics.retain(|metric| metric.name != name);
            record.metrics.push(Metric { name, value, unit, polarity });
        }
        Event::Note { text } => record.notes.push(text),
        Event::PhaseBegin { name } => {
            record.phases.push(Phase { name, start_ns: time_ns, ..Phase::default() });
        }
        Event::PhaseEnd { name } => {
            let open = record.phases.iter_mut().rev();
            if let Some(phase) = { open }.find(|p| p.name == name && p.end_ns.is_none()) {
                phase.end_ns = Some(time_ns);
            }
        }
        Event::Played(_) | Event::Outcome(_) => {}
    }
}

fn reason_of(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Passed => Reason::Passed,
        Outcome::Failed { message, chain } => Reason::Error { message, chain },
        Outcome::Panicked { message, at } if message.starts_with("assertion ") => {
            Reason::Assertion { message, at }
        }
        Outcome::Panicked { message, at } => Reason::Panic { message, at },
        Outcome::Skipped { why } => Reason::Skipped { why },
        Outcome::Inconclusive { why } => Reason::Inconclusive { why },
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Finished {
    /// The whole story for people, and where to read on.
    pub fn explain(&self, colour: bool) -> String {
        match &self.written {
            Ok(path) => self.record.explain(path, colour),
            Err(error) => {
                let text = self.record.explain(Path::new("(not written)"), colour);
                format!("{text}\nthe record was not written: {}\n", chain(error))
            }
        }
    }
}
