//! The stage: what is there at a moment of play, and how it is set up, held and taken down.

mod ops;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use belljar_scenario::{Cgroup, Hold, Op, Payload, Step, Workers};
use belljar_topology::CpuSet;
use belljar_verdict::evidence::{CgroupEvidence, Evidence, PayloadReport, StepEvidence};
use belljar_workload::{Crew, Order};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::cgroup::{Controller, Tree, is_below, parent};
use crate::clock::{self, Wants};
use crate::error::in_words;
use crate::kmsg::{KernelLog, trouble};
use crate::payload::Running;
use crate::precedence::Precedence;
use crate::{Attached, Event, PlayError, SchedulerSpec, Setting, Trouble};

/// How long workers that are told to stop may take, all of a step together.
const STOP: Duration = Duration::from_secs(5);
/// Each group is waited for at least so long.
const STOP_LEAST: Duration = Duration::from_millis(100);
/// Deaths of at most so many processes are noticed when they happen; of the others, when a hold ends.
const WATCHED_MAX: usize = 256;
/// `cpu.weight` where none is set.
const WEIGHT: u32 = 100;

/// A scenario that is being played, one cgroup, operation or step at a time. For tests that do
/// something of their own in between; [`play`](crate::play) plays a whole scenario with it.
///
/// Whatever becomes of it, when it is gone so are all its processes, cgroups, payloads and schedulers.
///
/// While it lives the calling thread runs under `SCHED_FIFO`, and what it starts does not. The process
/// should have no other thread: workers are forked from it, without being executed.
pub struct Stage<'a> {
    // Processes go before the cgroups that they are in, and before the scheduler that they need to end.
    troupes: Vec<Troupe>,
    payloads: Vec<Act>,
    scheduler: Option<Attached>,
    tree: Tree,
    cgroups: Vec<Group>,
    log: KernelLog,
    setting: &'a Setting<'a>,
    on_event: &'a mut dyn FnMut(Event),
    evidence: Evidence,
    duration: Duration,
    step: Option<u32>,
    /// The step whose hold lasts.
    held: Option<u32>,
    began: bool,
    drawn: u64,
    /// What was attached last: a restart needs no more.
    restarted: Option<SchedulerSpec>,
    _precedence: Precedence,
}

/// A group of workers.
struct Troupe {
    crew: Crew,
    /// Where it is; its reports say where it was started.
    cgroup: String,
    /// The step that it ends with.
    step: Option<u32>,
    count: u32,
    /// Its processes that live.
    pidfds: Vec<OwnedFd>,
    ended: usize,
}

/// A cgroup.
struct Group {
    name: String,
    /// The step that it ends with.
    step: Option<u32>,
    /// The CPUs that it is confined to, if it is.
    cpus: Option<CpuSet>,
    frozen: bool,
    /// How many groups of workers were started in it.
    groups: u32,
    /// Where it is in the evidence.
    at: usize,
}

/// A payload, and where it is in the evidence.
struct Act {
    running: Running,
    at: usize,
}

impl<'a> Stage<'a> {
    /// An empty stage.
    ///
    /// # Errors
    /// If there is no cgroup v2 with a CPU controller, no access to the kernel's log, or no right to
    /// take precedence.
    pub fn new(
        setting: &'a Setting<'a>,
        on_event: &'a mut dyn FnMut(Event),
    ) -> Result<Self, PlayError> {
        let failed = |trouble| PlayError::new("the stage", trouble);
        let precedence = Precedence::take().map_err(|error| failed(Trouble::Precedence(error)))?;
        let kmsg = "/dev/kmsg";
        let log = KernelLog::open(kmsg.as_ref())
            .map_err(|source| failed(Trouble::File { path: kmsg.to_owned(), source }))?;
        let tree = Tree::create(setting.cgroups).map_err(|error| failed(error.into()))?;
        let root = Group {
            name: String::new(),
            step: None,
            cpus: None,
            frozen: false,
            groups: 0,
            at: usize::MAX,
        };
        Ok(Self {
            troupes: Vec::new(),
            payloads: Vec::new(),
            scheduler: None,
            tree,
            cgroups: vec![root],
            log,
            setting,
            on_event,
            evidence: Evidence { began_ns: clock::now_ns(), ..Evidence::default() },
            duration: Duration::from_secs(2),
            step: None,
            held: None,
            began: false,
            drawn: 0,
            restarted: None,
            _precedence: precedence,
        })
    }

    /// Names the evidence.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.evidence.name);
        self
    }

    /// Sets the time that holds which are fractions are fractions of; 2 s if not given.
    #[must_use]
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Takes over a scheduler that is attached already.
    ///
    /// # Errors
    /// If there is one.
    pub fn adopt(&mut self, scheduler: Attached) -> Result<(), PlayError> {
        if let Some(other) = &self.scheduler {
            let trouble = Trouble::SchedulerAttached(other.name().to_owned());
            return Err(PlayError::new("the stage", trouble));
        }
        self.scheduler = Some(scheduler);
        Ok(())
    }

    /// The scheduler that is attached, if any. It may have ended since.
    #[must_use]
    pub const fn scheduler(&self) -> Option<&Attached> {
        self.scheduler.as_ref()
    }

    /// The directory of a cgroup in the file system; that of the scenario's root for an empty name.
    #[must_use]
    pub fn path(&self, cgroup: &str) -> PathBuf {
        self.tree.path(cgroup)
    }

    /// What was found so far. Workers, payloads and cgroups are added as they end.
    #[must_use]
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Makes a cgroup, and starts and releases its workers. It lives to the end.
    ///
    /// # Errors
    /// If it cannot be made as it is defined.
    pub fn cgroup(&mut self, cgroup: &Cgroup) -> Result<(), PlayError> {
        self.set_up(std::slice::from_ref(cgroup))
            .map_err(|trouble| PlayError::new(format!("cgroup `{}`", cgroup.name), trouble))
    }

    /// Makes cgroups, and starts and releases the workers of all of them together. They live to the end.
    ///
    /// # Errors
    /// If one of them cannot be made as it is defined.
    pub fn backdrop(&mut self, cgroups: &[Cgroup]) -> Result<(), PlayError> {
        self.set_up(cgroups).map_err(|trouble| PlayError::new("backdrop", trouble))
    }

    /// Starts a payload that lives to the end. One that cannot be started is in the evidence.
    ///
    /// # Errors
    /// If there is no such cgroup.
    pub fn payload(&mut self, payload: &Payload) -> Result<(), PlayError> {
        let place = || format!("payload `{}`", payload.name);
        self.run_payload(payload).map_err(|trouble| PlayError::new(place(), trouble))
    }

    /// Does an operation. What it makes lives to the end.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn op(&mut self, op: &Op) -> Result<(), PlayError> {
        self.act(op).map_err(|trouble| PlayError::new(in_words(op), trouble))
    }

    /// Holds for a time: a step without anything of its own.
    pub fn hold(&mut self, time: Duration) {
        let step = Step::new(&format!("hold {}", self.evidence.steps.len() + 1)).hold(time);
        self.step(&step).expect("nothing is done that could fail");
    }

    /// Plays a step: its cgroups and workers, its operations, its hold, and the end of what it made.
    ///
    /// # Errors
    /// If it cannot be played.
    pub fn step(&mut self, step: &Step) -> Result<(), PlayError> {
        let number = self.evidence.steps.len() as u32;
        let place = format!("step {} `{}`", u64::from(number) + 1, step.name);
        let at = |trouble| PlayError::new(place.as_str(), trouble);
        self.begin();
        self.tell(Event::StepBegan { step: number, name: step.name.clone() });
        let began_ns = clock::now_ns();
        self.step = Some(number);
        let begun = StepEvidence { name: step.name.clone(), began_ns, ..StepEvidence::default() };
        self.evidence.steps.push(begun);
        self.set_up(&step.cgroups).map_err(at)?;
        self.operations(&step.ops, &place)?;

        let held_ns = clock::now_ns();
        self.troupes.iter_mut().for_each(|troupe| troupe.crew.begin_slice(number));
        self.held = Some(number);
        if let Some(evidence) = self.evidence.steps.last_mut() {
            (evidence.held_ns, evidence.rounds) = (held_ns, 1);
        }
        self.tell(Event::Held { step: number });
        let until_ns = held_ns.saturating_add(clock::ns(step.hold.time(self.duration)));
        let mut rounds = 1;
        if let Hold::Loop { interval, .. } = step.hold {
            let interval = clock::ns(interval).max(1);
            let nth = |rounds: u32| held_ns.saturating_add(interval.saturating_mul(rounds.into()));
            while nth(rounds) < until_ns {
                self.wait_until(nth(rounds));
                self.operations(&step.ops, &place)?;
                rounds += 1;
            }
        }
        self.wait_until(until_ns);
        let ended_ns = clock::now_ns();
        self.troupes.iter_mut().for_each(|troupe| troupe.crew.end_slice(number));
        self.held = None;
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.count_events();
        }
        if let Some(evidence) = self.evidence.steps.last_mut() {
            (evidence.ended_ns, evidence.rounds) = (ended_ns, rounds);
        }
        self.take_down(Some(number)).map_err(at)?;
        self.step = None;
        self.tell(Event::StepEnded { step: number });
        Ok(())
    }

    /// Ends everything, and gives the evidence.
    ///
    /// # Errors
    /// If a cgroup cannot be removed.
    pub fn finish(mut self) -> Result<Evidence, PlayError> {
        let failed = |trouble: Trouble| PlayError::new("the end", trouble);
        self.end_troupes(|_| true, false);
        self.end_payloads(|_| true);
        self.evidence.ended_ns = clock::now_ns();
        if let Some(cut) = self.evidence.steps.last_mut().filter(|step| step.ended_ns == 0) {
            // Something ended play before the end of its hold.
            cut.ended_ns = self.evidence.ended_ns;
            cut.held_ns = if self.held.is_some() { cut.held_ns } else { cut.ended_ns };
        }
        // A scheduler that lets nobody run keeps what was killed from ending: it goes first.
        self.end_scheduler();
        self.remove_groups(|_| true).map_err(failed)?;
        self.log.read();
        self.evidence.kernel_log = trouble(self.log.lines());
        self.evidence
            .workers
            .sort_by(|a, b| (&a.cgroup, a.group, a.index).cmp(&(&b.cgroup, b.group, b.index)));
        Ok(std::mem::take(&mut self.evidence))
    }

    fn tell(&mut self, event: Event) {
        (self.on_event)(event);
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.began, true) {
            self.evidence.began_ns = clock::now_ns();
        }
    }

    /// The next number that is drawn from the seed.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        fastrand::Rng::with_seed(self.setting.seed.wrapping_add(self.drawn << 32)).u64(..)
    }

    pub(crate) fn operations(&mut self, ops: &[Op], place: &str) -> Result<(), PlayError> {
        for (index, op) in ops.iter().enumerate() {
            self.act(op).map_err(|trouble| {
                PlayError::new(
                    format!("{place}, operation {}, {}", index + 1, in_words(op)),
                    trouble,
                )
            })?;
        }
        Ok(())
    }

    /// Makes cgroups; starts all workers, places and binds them; and then releases them together.
    fn set_up(&mut self, cgroups: &[Cgroup]) -> Result<(), Trouble> {
        self.begin();
        for cgroup in cgroups {
            self.make_group(cgroup)?;
        }
        let mut started = VecDeque::new();
        for cgroup in cgroups {
            for workers in &cgroup.workers {
                started.push_back(self.start(&cgroup.name, workers)?);
            }
        }
        self.release(started)
    }

    fn make_group(&mut self, cgroup: &Cgroup) -> Result<(), Trouble> {
        let name = cgroup.name.as_str();
        self.tree.make(name)?;
        let evidence = CgroupEvidence {
            name: name.to_owned(),
            step: self.step,
            weight: cgroup.weight.unwrap_or(WEIGHT),
            ..CgroupEvidence::default()
        };
        let group = Group {
            name: name.to_owned(),
            step: self.step,
            cpus: None,
            frozen: false,
            groups: 0,
            at: self.evidence.cgroups.len(),
        };
        self.evidence.cgroups.push(evidence);
        self.cgroups.push(group);
        if let Some(cpus) = &cgroup.cpuset {
            let cpus = cpus
                .resolve(self.setting.topology, &self.allowed(parent(name)))
                .map_err(|source| Trouble::Cpus { cgroup: name.to_owned(), source })?;
            self.confine(vec![(name.to_owned(), Some(cpus))])?;
        }
        let quota = cgroup.quota_pct.map(quota);
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let io_weight = cgroup.io_weight.map(|weight| format!("default {weight}"));
        let limits = [
            (Controller::Cpuset, "cpuset.mems", cgroup.mems.clone()),
            (Controller::Cpu, "cpu.weight", number(cgroup.weight.map(u64::from))),
            (Controller::Cpu, "cpu.max", quota),
            (Controller::Memory, "memory.max", number(cgroup.memory_max_bytes)),
            (Controller::Memory, "memory.high", number(cgroup.memory_high_bytes)),
            (Controller::Memory, "memory.low", number(cgroup.memory_low_bytes)),
            (Controller::Memory, "memory.swap.max", number(cgroup.swap_max_bytes)),
            (Controller::Io, "io.weight", io_weight),
            (Controller::Pids, "pids.max", number(cgroup.pids_max.map(u64::from))),
        ];
        for (controller, file, value) in limits {
            if let Some(value) = value {
                self.tree.set(name, controller, file, &value)?;
            }
        }
        Ok(())
    }

    /// Starts a group of workers, who wait to be released.
    fn start(&mut self, cgroup: &str, workers: &Workers) -> Result<Troupe, Trouble> {
        let at = self.group(cgroup)?;
        let allowed = self.allowed(cgroup);
        let topology = self.setting.topology;
        let count = workers.count.resolve(allowed.len());
        let affinity = workers
            .bound_to(count, &allowed, topology, self.draw())
            .map_err(|source| Trouble::Affinity { cgroup: cgroup.to_owned(), source })?;
        let group = self.cgroups[at].groups;
        self.cgroups[at].groups += 1;
        let crew = Crew::start(&Order {
            cgroup,
            group,
            step: self.step,
            workers,
            count,
            allowed: &allowed,
            affinity: &affinity,
            topology,
            seed: self.setting.seed,
            scratch: self.setting.scratch,
            cgroup_dir: &self.tree.path(cgroup),
            takes_turns: self.setting.takes_turns,
        })?;
        let (cgroup, step) = (cgroup.to_owned(), self.step);
        Ok(Troupe { crew, cgroup, step, count, pidfds: Vec::new(), ended: 0 })
    }

    /// Places and binds workers, and releases all of them, in an order that the seed gives.
    fn release(&mut self, mut started: VecDeque<Troupe>) -> Result<(), Trouble> {
        let first = self.troupes.len();
        let mut workers = 0;
        // From now on they are ended with the stage, whatever fails.
        self.troupes.extend(started.drain(..));
        for troupe in &mut self.troupes[first..] {
            troupe.crew.wait_until_ready();
            let processes = troupe.crew.processes();
            self.tree.place(&troupe.cgroup, &processes)?;
            troupe.crew.bind()?;
            workers += troupe.count;
        }
        if workers == 0 {
            return Ok(());
        }
        let mut order: Vec<usize> = (first..self.troupes.len()).collect();
        fastrand::Rng::with_seed(self.draw()).shuffle(&mut order);
        for at in order {
            self.troupes[at].crew.release();
        }
        let after_ns = clock::now_ns() - self.evidence.began_ns;
        self.evidence.released_after_ns.get_or_insert(after_ns);
        let watched: usize = self.troupes.iter().map(|troupe| troupe.pidfds.len()).sum();
        let mut left = WATCHED_MAX.saturating_sub(watched);
        for troupe in &mut self.troupes[first..] {
            if let Some(step) = self.held {
                troupe.crew.begin_slice(step);
            }
            let processes = troupe.crew.processes();
            let pidfds = processes.into_iter().take(left);
            // One that is gone already is noticed with the others.
            troupe.pidfds =
                pidfds.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect();
            left -= troupe.pidfds.len();
        }
        self.tell(Event::Released { workers });
        Ok(())
    }

    /// The CPUs that a cgroup allows: what was declared, whatever the kernel says by now.
    fn allowed(&self, cgroup: &str) -> CpuSet {
        let own = |name: &str| {
            let group = self.cgroups.iter().find(|group| group.name == name);
            group.and_then(|group| group.cpus.clone())
        };
        let mut allowed = self.setting.topology.cpus();
        let mut name = cgroup;
        while !name.is_empty() {
            if let Some(cpus) = own(name) {
                allowed = allowed.intersection(&cpus);
            }
            name = parent(name);
        }
        allowed
    }

    /// Gives cgroups other CPUs, or all of their parents'. Workers are not judged while this is done.
    fn confine(&mut self, changes: Vec<(String, Option<CpuSet>)>) -> Result<(), Trouble> {
        let is_touched =
            |cgroup: &str| changes.iter().any(|(name, _)| name == cgroup || is_below(cgroup, name));
        let touched = (0..self.troupes.len()).filter(|at| is_touched(&self.troupes[*at].cgroup));
        let touched: Vec<usize> = touched.collect();
        touched.iter().for_each(|at| self.troupes[*at].crew.forbid());
        for (name, cpus) in changes {
            let at = self.group(&name)?;
            let list = cpus.as_ref().map_or_else(|| "\n".to_owned(), ToString::to_string);
            self.tree.set(&name, Controller::Cpuset, "cpuset.cpus", &list)?;
            self.cgroups[at].cpus = cpus;
        }
        for at in touched {
            let allowed = self.allowed(&self.troupes[at].cgroup);
            self.troupes[at].crew.allow(&allowed, self.step);
        }
        Ok(())
    }

    fn group(&self, name: &str) -> Result<usize, Trouble> {
        let at = self.cgroups.iter().position(|group| group.name == name);
        at.ok_or_else(|| Trouble::Unknown { what: "cgroup", name: name.to_owned() })
    }

    /// Waits for a moment, seeing to everybody's output, ends and time limits.
    fn wait_until(&mut self, until_ns: u64) {
        self.wait_for(until_ns, |_| false);
    }

    /// The same, or until something has come about.
    fn wait_for(&mut self, until_ns: u64, is_over: impl Fn(&Self) -> bool) {
        loop {
            self.pump();
            if is_over(self) || clock::now_ns() >= until_ns {
                return;
            }
            let running = self.payloads.iter().map(|act| &act.running).filter(|it| !it.has_ended());
            let limit = running.map(Running::limit_ns).min().unwrap_or(u64::MAX);
            let mut files = vec![(self.log.as_fd(), Wants::Read)];
            files.extend(self.scheduler.iter().flat_map(Attached::files));
            files.extend(self.payloads.iter().flat_map(|act| act.running.files()));
            let pidfds = self.troupes.iter().flat_map(|troupe| &troupe.pidfds);
            files.extend(pidfds.map(|pidfd| (pidfd.as_fd(), Wants::Read)));
            clock::wait(&files, until_ns.min(limit));
        }
    }

    /// Takes what was written, and notices what has ended.
    fn pump(&mut self) {
        let mut events = Vec::new();
        self.log.read();
        pump_payloads(&mut self.payloads, &mut events);
        if let Some(scheduler) = &mut self.scheduler
            && scheduler.ended_ns().is_none()
            && scheduler.pump()
        {
            events.push(Event::SchedulerEnded { scheduler: scheduler.name().to_owned() });
        }
        for troupe in &mut self.troupes {
            let is_readable = |pidfd: &OwnedFd| clock::wait(&[(pidfd.as_fd(), Wants::Read)], 0);
            let watched = troupe.pidfds.len();
            troupe.pidfds.retain(|pidfd| !is_readable(pidfd));
            if troupe.pidfds.len() == watched {
                continue;
            }
            troupe.ended = troupe.crew.reap();
            let (cgroup, processes) = (troupe.cgroup.clone(), troupe.ended as u32);
            events.push(Event::WorkersEnded { cgroup, processes });
        }
        events.into_iter().for_each(|event| (self.on_event)(event));
    }

    /// Ends what lives to the end of a step.
    fn take_down(&mut self, step: Option<u32>) -> Result<(), Trouble> {
        self.end_troupes(|troupe| troupe.step == step, false);
        self.end_payloads(|payload| payload.step == step);
        self.remove_groups(|group| group.step == step)
    }

    /// Stops workers, and takes their reports.
    fn end_troupes(&mut self, which: impl Fn(&Troupe) -> bool, removed: bool) {
        // Who is frozen cannot stop.
        for at in 0..self.cgroups.len() {
            let Group { name, frozen, .. } = &self.cgroups[at];
            let is_in = |troupe: &Troupe| troupe.cgroup == *name || is_below(&troupe.cgroup, name);
            if *frozen && self.troupes.iter().any(|troupe| which(troupe) && is_in(troupe)) {
                // One that stays frozen has its workers killed: SIGKILL ends frozen ones, too.
                self.cgroups[at].frozen = self.tree.freeze(name, false).is_err();
            }
        }
        let until = clock::after(STOP);
        let troupes = std::mem::take(&mut self.troupes);
        let (mut leaving, staying) = troupes.into_iter().partition::<Vec<_>, _>(which);
        self.troupes = staying;
        for troupe in &mut leaving {
            if let Some(step) = self.held {
                troupe.crew.end_slice(step);
            }
            troupe.crew.tell_to_stop(STOP);
        }
        for mut troupe in leaving {
            let left = Duration::from_nanos(until.saturating_sub(clock::now_ns()));
            troupe.crew.stop(removed, left.max(STOP_LEAST));
            self.evidence.workers.extend(troupe.crew.reports());
        }
    }

    fn end_payloads(&mut self, which: impl Fn(&Running) -> bool) {
        let mut at = 0;
        while at < self.payloads.len() {
            if which(&self.payloads[at].running) {
                self.end_payload(at);
            } else {
                at += 1;
            }
        }
    }

    /// Ends a payload, and takes its report.
    fn end_payload(&mut self, at: usize) {
        let Act { running, at } = self.payloads.remove(at);
        let ends_now = !running.has_ended();
        let report = running.report();
        if ends_now {
            self.tell(Event::PayloadEnded { payload: report.name.clone() });
        }
        self.evidence.payloads[at] = report;
    }

    fn run_payload(&mut self, payload: &Payload) -> Result<(), Trouble> {
        self.begin();
        self.group(&payload.cgroup)?;
        let holder = self.tree.holder(&payload.cgroup)?;
        let running = Running::start(payload, self.step, &holder, self.setting.programs);
        let at = self.evidence.payloads.len();
        self.evidence.payloads.push(PayloadReport::default());
        self.payloads.push(Act { running, at });
        self.tell(Event::PayloadBegan { payload: payload.name.clone() });
        Ok(())
    }

    /// Takes down cgroups, the deepest first.
    fn remove_groups(&mut self, which: impl Fn(&Group) -> bool) -> Result<(), Trouble> {
        while let Some(at) =
            self.cgroups.iter().rposition(|group| !group.name.is_empty() && which(group))
        {
            let name = self.cgroups[at].name.clone();
            self.note_group(at)?;
            self.tree.remove(&name)?;
            self.cgroups.remove(at);
        }
        Ok(())
    }

    /// Puts what a cgroup has used into the evidence.
    fn note_group(&mut self, at: usize) -> Result<(), Trouble> {
        let Group { name, at, .. } = &self.cgroups[at];
        let (stat, cpus) = (self.tree.cpu_stat(name)?, self.allowed(name));
        if let Some(evidence) = self.evidence.cgroups.get_mut(*at) {
            evidence.cpus = cpus;
            evidence.usage_ns = stat.usage_ns;
            (evidence.throttled, evidence.throttled_ns) = (stat.throttled, stat.throttled_ns);
        }
        Ok(())
    }

    /// Detaches the scheduler, if one is attached, and takes its report.
    fn end_scheduler(&mut self) {
        let Some(scheduler) = self.scheduler.take() else { return };
        let was_out = scheduler.ended_ns().is_some();
        let report = scheduler.detach();
        if !was_out {
            self.tell(Event::SchedulerEnded { scheduler: report.name.clone() });
        }
        self.evidence.schedulers.push(report);
    }
}

fn pump_payloads(payloads: &mut [Act], events: &mut Vec<Event>) {
    for Act { running, .. } in payloads {
        if running.pump() {
            events.push(Event::PayloadEnded { payload: running.name().to_owned() });
        }
    }
}

/// `cpu.max` for a percentage of one CPU, in the kernel's default period.
fn quota(percent: u32) -> String {
    format!("{} 100000", u64::from(percent) * 1000)
}
