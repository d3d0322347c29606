//! `cargo belljar test`: from binaries to outcomes.

use crate::args::{RunIgnored, TestArgs};
use crate::event::{Ended, Entry, Event, Shortest, Summary};
use crate::failure::{Exit, Failure};
use crate::filter::{Filter, Filtered};
use crate::output::{Style, count, data};
use crate::progress::Progress;
use crate::queue::{Queue, Task};
use crate::report::{JsonLines, write_junit};
use crate::suite::{self, Test};
use crate::{build, interrupt, select};
use anyhow::Context;
use belljar::Config;
use belljar::host::{Host, HostError, Options, Plan};
use belljar_record::{Outcome, Reason};
use belljar_vm::Mode;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Builds tests and runs them.
pub(crate) fn test(args: &TestArgs, style: Style) -> anyhow::Result<Exit> {
    let filter = Filter::new(args)?;
    let tests = suite::tests(build::build(&args.build, &args.targets)?)?;
    let ordinary = ordinary(&tests);
    let filtered = filter.apply(tests);
    if filtered.chosen.is_empty() {
        return Err(nothing_matches(args, &filtered));
    }
    if args.list {
        return list(args, &filtered.chosen);
    }
    let (events, inbox) = channel();
    let interrupted = events.clone();
    let cancelled = interrupt::listen(move || drop(interrupted.send(Event::Interrupted)), || ())?;
    let conductor = Conductor { args, cancelled: &cancelled, events, searched: Mutex::default() };
    let mut audience = Audience {
        progress: Progress::new(style),
        json: args.json.then(JsonLines::new),
        summary: Summary::default(),
    };
    let started = Instant::now();
    let chosen = filtered.chosen;
    let (played, heard) = thread::scope(|scope| {
        let conductor = scope.spawn(move || conductor.conduct(chosen));
        let heard = audience.listen(&inbox, &cancelled);
        (conductor.join(), heard)
    });
    let Audience { mut progress, json, summary } = audience;
    progress.clear();
    played.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    heard?;
    let exit = match &summary {
        summary if summary.interrupted => Exit::Interrupted,
        summary if summary.is_good() => Exit::Fine,
        _ => Exit::TestsFailed,
    };
    if args.plan {
        return Ok(Exit::Fine);
    }
    if let Some(path) = &args.junit {
        write_junit(path, &summary)?;
    }
    if let Some(mut json) = json {
        json.summary(&summary, started.elapsed(), exit)?;
    }
    let left_out = [
        (filtered.filtered_out, "filtered out"),
        (
            filtered.ignored,
            if args.run_ignored == RunIgnored::Only { "not ignored" } else { "ignored" },
        ),
    ];
    progress.end(&summary, started.elapsed(), &left_out, ordinary);
    Ok(exit)
}

/// How many tests of the same binaries are none of ours.
fn ordinary(tests: &[Test]) -> usize {
    let mut seen = BTreeSet::new();
    let binaries = tests.iter().map(|test| &test.binary);
    binaries.filter(|binary| seen.insert(&binary.id)).map(|binary| binary.ordinary).sum()
}

fn nothing_matches(args: &TestArgs, filtered: &Filtered) -> anyhow::Error {
    let failure = match (filtered.filtered_out, filtered.ignored) {
        (0, 0) => Failure::new(Exit::NoTests, "there is no belljar test in what was built")
            .hint("write one with #[belljar::test]; ordinary tests run with `cargo test`"),
        (0, ignored) => {
            let which = if args.run_ignored == RunIgnored::Only { "not " } else { "" };
            let text = format!("no test to run: {} {which}ignored", count(ignored, "test"));
            Failure::new(Exit::NoTests, text).hint("--run-ignored all runs all")
        }
        (out, _) => Failure::new(Exit::NoTests, format!("no test matches, of {out}"))
            .hint("--list without filters shows all names"),
    };
    failure.into()
}

fn list(args: &TestArgs, tests: &[Test]) -> anyhow::Result<Exit> {
    for Test { binary, spec } in tests {
        if args.json {
            let value = serde_json::json!({
                "binary_id": binary.id.as_str(),
                "executable": binary.artifact.executable,
                "name": spec.name(),
                "declared": spec,
            });
            data(value)?;
        } else {
            data(format_args!("{} {}", binary.id, spec.name()))?;
        }
    }
    Ok(Exit::Fine)
}

/// Everybody who hears what happens.
struct Audience {
    progress: Progress,
    json: Option<JsonLines>,
    summary: Summary,
}

impl Audience {
    /// Until the end. When nobody reads the data any more the run is called off.
    fn listen(&mut self, inbox: &Receiver<Event>, cancelled: &AtomicBool) -> anyhow::Result<()> {
        let mut result = Ok(());
        loop {
            let event = match inbox.recv_timeout(Duration::from_millis(100)) {
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return result,
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    self.progress.tick(&self.summary);
                    continue;
                }
            };
            self.summary.hear(&event);
            self.progress.hear(&event, &self.summary);
            if let (Some(json), Ok(())) = (&mut self.json, &result) {
                result = json.hear(&event);
                if result.is_err() {
                    cancelled.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}

/// Runs the tests and tells what happens.
struct Conductor<'a> {
    args: &'a TestArgs,
    cancelled: &'a Arc<AtomicBool>,
    events: Sender<Event>,
    /// Tests whose shortest failing scenario has been looked for.
    searched: Mutex<BTreeSet<(String, String)>>,
}

impl Conductor<'_> {
    fn say(&self, event: Event) {
        // Nobody hears it any more when the command is about to end.
        let _ = self.events.send(event);
    }

    fn conduct(&self, tests: Vec<Test>) -> anyhow::Result<()> {
        let result = self.run_all(tests);
        self.say(Event::End);
        result
    }

    fn run_all(&self, tests: Vec<Test>) -> anyhow::Result<()> {
        let directory = Path::new(&tests[0].spec.manifest_dir).to_owned();
        let config = Config::of_package(&directory)?;
        let environment = Options::from_environment();
        let options = Options {
            records: self.args.records.clone().or(environment.records.clone()),
            cancelled: Arc::clone(self.cancelled),
            ..environment
        };
        let events = self.events.clone();
        let say = move |line: &str| drop(events.send(Event::Note(line.to_owned())));
        let host = Host::open(options.clone(), &config, say).map_err(no_host)?;
        let is_given = !self.args.kernel.is_empty() || options.kernel.is_some();
        if !is_given && tests.iter().any(|test| test.spec.kernel.is_none()) {
            default_kernel(&host, &config)?;
        }
        for word in self.args.kernel.iter().chain(&options.kernel) {
            host.kernel(word).map_err(|error| no_kernel(word, error))?;
        }
        let mut expanded = self.expand(tests, &host);
        if self.args.plan || self.args.budget.is_some() {
            select::select(self.args, &mut expanded, &|line| self.say(Event::Note(line)))?;
        }
        if self.args.plan {
            return Ok(());
        }
        let (entries, plans): (Vec<_>, Vec<_>) = expanded.into_iter().unzip();
        let jobs = if self.args.nocapture { 1 } else { jobs(self.args, entries.len()) };
        let binaries: BTreeSet<_> = entries.iter().map(|entry| &entry.test.binary.id).collect();
        self.say(Event::Begun {
            tests: entries.len(),
            binaries: binaries.len(),
            jobs,
            session: host.session().to_owned(),
        });
        let queue = Queue::new(plans.iter());
        thread::scope(|scope| {
            for number in 0..jobs {
                let work = || self.work(&host, &queue, &entries, &plans);
                let named = thread::Builder::new().name(format!("runner-{number}"));
                named.spawn_scoped(scope, work).context("cannot start a thread")?;
            }
            anyhow::Ok(())
        })
    }

    /// What the command line chooses for each test, and the plan for that.
    fn expand(&self, tests: Vec<Test>, host: &Host) -> Vec<(Arc<Entry>, Result<Plan, Reason>)> {
        let args = self.args;
        let choices = |declared: &Option<String>, given: &[String]| match declared {
            None if !given.is_empty() => given.iter().cloned().map(Some).collect(),
            declared => vec![declared.clone()],
        };
        let mut expanded = Vec::new();
        for Test { binary, spec } in tests {
            for kernel in choices(&spec.kernel, &args.kernel) {
                for mode in choices(&spec.mode, &args.mode) {
                    let spec = belljar::Spec { kernel: kernel.clone(), mode, ..spec.clone() };
                    let plan = host.plan(&spec, &binary.artifact.executable);
                    let is_det = plan.as_ref().is_ok_and(|plan| plan.mode == Mode::Det);
                    let seeds = match &args.seeds {
                        Some(seeds) if is_det && spec.seed.is_none() => {
                            seeds.0.clone().map(Some).collect()
                        }
                        _ => vec![spec.seed],
                    };
                    for seed in seeds {
                        let test = Test {
                            binary: Arc::clone(&binary),
                            spec: belljar::Spec { seed, ..spec.clone() },
                        };
                        let mut plan = plan.clone();
                        if let (Ok(plan), Some(seed)) = (&mut plan, seed) {
                            plan.seed = seed;
                        }
                        let setting =
                            plan.as_ref().map_or_else(|_| String::new(), |p| self.setting(p));
                        let index = expanded.len();
                        expanded.push((Arc::new(Entry { index, test, setting }), plan));
                    }
                }
            }
        }
        expanded
    }

    /// What tells a run apart from the test's others.
    fn setting(&self, plan: &Plan) -> String {
        let mut text = format!("{} {}", plan.mode, plan.topology);
        if plan.mode == Mode::Det {
            text.push_str(&format!(" seed {}", plan.seed));
        }
        if let Some(scheduler) = &plan.spec.scheduler {
            text.push_str(&format!(" {}", scheduler.name));
        }
        if self.args.kernel.len() > 1 {
            text.push_str(&format!(" {}", plan.kernel.release()));
        }
        text
    }

    fn work(
        &self,
        host: &Host,
        queue: &Queue,
        entries: &[Arc<Entry>],
        plans: &[Result<Plan, Reason>],
    ) {
        while !self.cancelled.load(Ordering::SeqCst)
            && let Some(task) = queue.next()
        {
            match task {
                Task::Prepare(group, plan) => {
                    // What goes wrong comes up again in each of the group's tests.
                    let template = host.prepare(&plan).ok();
                    let waiting = queue.prepared(group);
                    for _ in 1..waiting {
                        template.iter().for_each(|template| host.expect(template));
                    }
                }
                Task::Run(index) => {
                    let entry = Arc::clone(&entries[index]);
                    self.say(Event::Started(Arc::clone(&entry)));
                    let mut ended = self.run_one(host, &entry, plans[index].clone());
                    ended.shortest = self.shortest(host, &entry, &plans[index], &ended);
                    let good = ended.record().outcome.is_good();
                    self.say(Event::Finished(entry, Box::new(ended)));
                    if self.args.fail_fast && !good {
                        queue.close();
                    }
                }
            }
        }
        queue.close();
    }

    fn run_one(&self, host: &Host, entry: &Entry, plan: Result<Plan, Reason>) -> Ended {
        let started = Instant::now();
        let binary = &entry.test.binary.artifact.executable;
        let finished = host.run_planned(entry.spec(), binary, plan, |_, bytes| {
            if self.args.nocapture {
                self.say(Event::Wrote(bytes.to_vec()));
            }
        });
        Ended { finished, took: started.elapsed(), shortest: None }
    }

    /// Looks for the shortest beginning of a scenario that fails, for the first run of a test that
    /// does, in `det`: there, a run that is cut short is the same run up to the cut.
    fn shortest(
        &self,
        host: &Host,
        entry: &Entry,
        plan: &Result<Plan, Reason>,
        ended: &Ended,
    ) -> Option<Shortest> {
        let plan = plan.as_ref().ok().filter(|plan| plan.mode == Mode::Det)?;
        let of = plan.spec.scenario.as_ref()?.steps;
        let reason = &ended.record().reason;
        if of < 2 || ended.record().outcome != Outcome::Fail || !reason.is_of_test() {
            return None;
        }
        let test = (entry.test.binary.id.to_string(), entry.spec().test.clone());
        let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        if !searched.insert(test) {
            return None;
        }
        drop(searched);
        for steps in 1..of {
            if self.cancelled.load(Ordering::SeqCst) {
                return None;
            }
            let text = format!("{}: do its first {steps} of {of} steps fail?", entry.spec().name());
            self.say(Event::Note(text));
            let mut plan = plan.clone();
            plan.steps = steps;
            let again = self.run_one(host, entry, Ok(plan));
            if std::mem::discriminant(&again.record().reason) == std::mem::discriminant(reason) {
                return Some(Shortest { steps, of, record: again.finished.written.ok() });
            }
        }
        Some(Shortest { steps: of, of, record: ended.finished.written.as_ref().ok().cloned() })
    }
}

fn jobs(args: &TestArgs, tests: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    args.jobs.map_or(cores, std::num::NonZero::get).min(tests)
}

/// The kernel of tests that declare none, fetched if need be.
pub(crate) fn default_kernel(
    host: &Host,
    config: &Config,
) -> anyhow::Result<belljar_kernel::Kernel> {
    match host.kernels().default_kernel() {
        Ok(Some(kernel)) => Ok(kernel),
        Ok(None) => host.kernel(&config.kernel).map_err(|error| no_kernel(&config.kernel, error)),
        Err(error) => Err(no_kernel("the default", error)),
    }
}

/// The error for a kernel that is not to be had.
pub(crate) fn no_kernel(word: &str, error: belljar_kernel::Error) -> anyhow::Error {
    Failure::new(Exit::Setup, format!("cannot get the kernel {word}"))
        .source(error)
        .hint("`cargo belljar kernel list` shows what is there, `kernel fetch SOURCE` gets one")
        .into()
}

/// The error for a machine on which nothing can be run.
pub(crate) fn no_host(error: HostError) -> anyhow::Error {
    Failure::new(Exit::Setup, "cannot run virtual machines here")
        .source(error)
        .hint("`cargo belljar doctor` shows what is missing and how to get it")
        .into()
}
