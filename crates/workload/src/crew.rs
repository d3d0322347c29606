//! The workers of one group, from their start to their reports.

use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use belljar_scenario::{Impossible, Work, Workers};
use belljar_topology::{CpuId, CpuSet, Topology};
use belljar_verdict::evidence::{Gap, Move, Slice, Stray, WorkerEnd, WorkerReport};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process_group, waitid,
    waitpid,
};
use snapwire::Endpoint;

use crate::hand::{Brief, Refusal, worker_seed};
use crate::histogram::Counts;
use crate::job::{self, Job};
use crate::memory::{GapCell, MOVES, Memory, STRAYS, Slot, state, stop};
use crate::report::{ByIndex, Inbox};
use crate::{start, sys};

/// How long a worker that is told to stop is left alone before it is nudged again.
const NUDGE_EVERY: Duration = Duration::from_millis(10);
/// How long a worker that was forked may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long processes that were killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// One group of workers to start.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The cgroup's name in the scenario; empty for its root.
    pub cgroup: &'a str,
    /// Which of the cgroup's groups of workers, from 0.
    pub group: u32,
    /// The step in which they are started; none for the backdrop.
    pub step: Option<u32>,
    /// What they are and do. How many is said by [`count`](Self::count).
    pub workers: &'a Workers,
    /// How many.
    pub count: u32,
    /// The CPUs that the cgroup allows now.
    pub allowed: &'a CpuSet,
    /// For each worker the CPUs that it is bound to; none for what the cgroup allows.
    pub affinity: &'a [Option<CpuSet>],
    /// The machine as it was declared.
    pub topology: &'a Topology,
    /// What the order of release, offsets and jitter follow from.
    pub seed: u64,
    /// A directory for files.
    pub scratch: &'a Path,
    /// The directory of the group's cgroup, for work that moves between cgroups.
    pub cgroup_dir: &'a Path,
    /// Whether the CPUs take turns on one thread of the host, so that workers should give theirs up
    /// after each round.
    pub takes_turns: bool,
}

/// Why a group of workers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A parameter is out of the question.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// Not that many workers can do it.
    #[error("`{work}` takes {takes}, and {count} were ordered: change their number")]
    Count {
        /// The kind of work.
        work: String,
        /// What it takes, in words.
        takes: String,
        /// How many were ordered.
        count: u32,
    },
    /// The work needs processes.
    #[error("`{work}` needs a process for each worker: leave out the name of a common process")]
    Threads {
        /// The kind of work.
        work: String,
    },
    /// There is no affinity for each worker.
    #[error("{count} workers were ordered with {given} affinities: give one for each")]
    Affinity {
        /// How many workers.
        count: u32,
        /// How many affinities.
        given: usize,
    },
    /// The system refused what all of them need.
    #[error("`{work}` in cgroup `{cgroup}`: {what}")]
    System {
        /// The kind of work.
        work: String,
        /// The cgroup.
        cgroup: String,
        /// What was tried and how it failed.
        what: String,
    },
}

/// A worker could not be bound to its CPUs.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind worker {index} of `{work}` (thread {thread}) to CPUs {cpus}: {error}")]
pub struct BindError {
    /// The worker's index in its group.
    pub index: u32,
    /// The kind of work.
    pub work: String,
    /// Its thread id.
    pub thread: u32,
    /// The CPUs.
    pub cpus: CpuSet,
    /// What the kernel said.
    #[source]
    pub error: std::io::Error,
}

/// The started workers of one group. Dropping it kills them.
pub struct Crew {
    // Before the memory, which it may look at no more once that is gone.
    job: Box<dyn Job>,
    memory: Memory,
    brief: Brief,
    step: Option<u32>,
    processes: Vec<Process>,
    affinity: Vec<Option<CpuSet>>,
    allowed: CpuSet,
    /// What was allowed in each epoch, from the first on.
    epochs: Vec<(Vec<CpuSet>, Option<u32>)>,
    hold: Option<Hold>,
    slices: Vec<Vec<Slice>>,
    removed: bool,
    released: bool,
    /// Takes what workers say at their ends, while they are told to stop.
    inbox: Option<Inbox>,
    /// What they said.
    arrived: ByIndex,
}

/// A process of the crew.
struct Process {
    pid: Pid,
    status: Option<WaitStatus>,
    unresponsive: bool,
}

/// The counters of all workers when a hold began.
struct Hold {
    began_ns: u64,
    before: Vec<Snapshot>,
}

/// The counters of one worker.
#[derive(Default)]
struct Snapshot {
    cpu_ns: u64,
    run_delay_ns: u64,
    units: u64,
    iterations: u64,
    migrations: u64,
    node_migrations: u64,
    wake: Counts,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew")
            .field("work", &self.brief.workers.work.name())
            .field("cgroup", &self.brief.cgroup)
            .field("count", &self.brief.count)
            .finish_non_exhaustive()
    }
}

impl Crew {
    /// Starts the workers, who make themselves what the order says and wait to be released;
    /// [`wait_until_ready`](Self::wait_until_ready) waits for that. A failure of one is in its report
    /// ([`WorkerEnd::NotStarted`]).
    ///
    /// The calling process should have a single thread, as it is forked. The workers die with the
    /// thread that calls this.
    ///
    /// # Errors
    ///
    /// If the order is impossible, or the system refuses memory, processes or what the kind of work
    /// needs in common.
    pub fn start(order: &Order<'_>) -> Result<Self, StartError> {
        let work = &order.workers.work;
        check(order)?;
        let system = |what: String| StartError::System {
            work: work.name().to_owned(),
            cgroup: order.cgroup.to_owned(),
            what,
        };
        let endpoint = Endpoint::new(order.scratch, endpoint_name())
            .map_err(|error| system(format!("workers could not report: {error}")))?;
        let brief = Brief::new(order, endpoint);
        let job = job::prepare(&brief).map_err(|Refusal(what)| system(what))?;
        let pool = job::pool(work, order.count);
        let memory = Memory::new(order.count as usize, pool)
            .map_err(|error| system(format!("cannot map memory for the workers: {error}")))?;
        let mut crew = Self {
            job,
            memory,
            brief,
            step: order.step,
            processes: Vec::new(),
            affinity: order.affinity.to_vec(),
            allowed: CpuSet::new(),
            epochs: Vec::new(),
            hold: None,
            slices: vec![Vec::new(); order.count as usize],
            removed: false,
            released: false,
            inbox: None,
            arrived: ByIndex::new(),
        };
        crew.affinity.resize(order.count as usize, None);
        crew.forbid();
        crew.allow(order.allowed, order.step);
        let workers: Vec<Option<u32>> = match order.workers.process {
            Some(_) => vec![None],
            None => (0..order.count).map(Some).collect(),
        };
        for worker in workers {
            match sys::fork() {
                Ok(sys::Forked::Child) => {
                    start::live(&crew.brief, &crew.memory, crew.job.as_ref(), worker)
                }
                Ok(sys::Forked::Parent(pid)) => {
                    crew.processes.push(Process { pid, status: None, unresponsive: false });
                }
                // What was started so far goes with the crew.
                Err(error) => return Err(system(format!("cannot fork a worker: {error}"))),
            }
        }
        Ok(crew)
    }

    /// Waits until each worker is ready to be released, or has failed to get there.
    pub fn wait_until_ready(&mut self) {
        self.wait_for(|slot| slot.state.load(Acquire) >= state::READY, READY_WITHIN, false);
    }

    /// The processes, to be placed into a cgroup. With threads this is the one that has them all.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        self.processes
            .iter()
            .filter(|process| process.status.is_none())
            .map(|process| process.pid)
            .collect()
    }

    /// Binds each worker to the CPUs that the order gives it. To be called after the processes were
    /// placed, as a cpuset resets affinities.
    ///
    /// # Errors
    ///
    /// The first worker that could not be bound; those after it are not.
    pub fn bind(&mut self) -> Result<(), BindError> {
        let affinity = self.affinity.clone();
        for (index, cpus) in affinity.iter().enumerate() {
            if let Some(cpus) = cpus {
                self.bind_one(index, cpus)?;
            }
        }
        Ok(())
    }

    /// Binds each worker to other CPUs. Sightings are judged by them from now on.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn set_affinity(&mut self, per_worker: &[CpuSet]) -> Result<(), BindError> {
        let step = self.epochs.last().and_then(|epoch| epoch.1);
        self.forbid();
        let mut result = Ok(());
        for (index, cpus) in per_worker.iter().enumerate().take(self.affinity.len()) {
            result = self.bind_one(index, cpus);
            if result.is_err() {
                break;
            }
            self.affinity[index] = Some(cpus.clone());
        }
        let allowed = self.allowed.clone();
        self.allow(&allowed, step);
        result
    }

    fn bind_one(&self, index: usize, cpus: &CpuSet) -> Result<(), BindError> {
        let slot = &self.memory.slots()[index];
        let thread = slot.tid.load(Relaxed);
        // Who is gone need not be bound; that it is gone is in its report.
        if thread == 0 || slot.has_ended() {
            return Ok(());
        }
        match sys::set_affinity(Some(thread), cpus) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result.map_err(|error| BindError {
                index: index as u32,
                work: self.brief.workers.work.name().to_owned(),
                thread,
                cpus: cpus.clone(),
                error,
            }),
        }
    }

    /// Lets all workers begin, once all are ready, one after another in an order that the seed gives.
    pub fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        self.wait_until_ready();
        let mut order: Vec<usize> = (0..self.memory.workers()).collect();
        fastrand::Rng::with_seed(self.brief.seed).shuffle(&mut order);
        for index in order {
            let slot = &self.memory.slots()[index];
            slot.gate.store(1, Release);
            sys::futex_wake(&slot.gate, 1);
        }
    }

    /// From now on nobody is judged by the CPU that he runs on, as this is being changed.
    pub fn forbid(&self) {
        let epoch = &self.memory.board().epoch;
        epoch.store(epoch.load(Relaxed) | 1, Release);
    }

    /// From now on, in this step, the cgroup allows these CPUs, and whoever is found elsewhere is a
    /// stray. A worker that is bound is held to those of them that it is bound to, if there are any.
    pub fn allow(&mut self, cpus: &CpuSet, step: Option<u32>) {
        self.forbid();
        self.allowed = cpus.clone();
        let changes_itself = job::changes_affinity(&self.brief.workers.work);
        let each: Vec<CpuSet> = self
            .affinity
            .iter()
            .map(|own| {
                let own = own.as_ref().filter(|_| !changes_itself);
                let both = own.map(|own| own.intersection(cpus));
                both.filter(|both| !both.is_empty()).unwrap_or_else(|| cpus.clone())
            })
            .collect();
        for (slot, cpus) in self.memory.slots().iter().zip(&each) {
            slot.allowed.set(cpus);
        }
        self.epochs.push((each, step));
        let board = self.memory.board();
        board.step.store(step.map_or(0, |step| step + 1), Relaxed);
        board.epoch.store(2 * self.epochs.len() as u32, Release);
    }

    /// The hold of a step begins: what each worker does until it ends is a [`Slice`] of its report.
    pub fn begin_slice(&mut self, step: u32) {
        let began_ns = self.new_hold(Some(step));
        let before = self.snapshots();
        self.hold = Some(Hold { began_ns, before });
    }

    /// The hold of a step ends.
    pub fn end_slice(&mut self, step: u32) {
        let Some(hold) = self.hold.take() else { return };
        let number = self.memory.board().hold.load(Relaxed);
        let ended_ns = sys::now_ns();
        let after = self.snapshots();
        let slots = self.memory.slots().iter().zip(hold.before.iter().zip(&after));
        for ((slot, (before, now)), slices) in slots.zip(&mut self.slices) {
            let began_ns = slot.began_ns.load(Acquire).max(hold.began_ns);
            let last_ns = slot.last_ns.load(Acquire);
            let until_ns = if slot.has_ended() { last_ns } else { ended_ns };
            let mut gap = if slot.hold.load(Acquire) == number {
                slot.hold_gap.get(Some(step))
            } else {
                Gap::default()
            };
            // The end of the hold counts as a checkpoint.
            let open = until_ns.saturating_sub(last_ns.max(began_ns));
            if open > gap.wall_ns && !slot.waits.load(Relaxed) && began_ns > 0 {
                let cpu_ns = now.cpu_ns.saturating_sub(slot.cpu_ns.load(Relaxed)).min(open);
                gap = Gap {
                    wall_ns: open,
                    cpu_ns,
                    run_delay_ns: now
                        .run_delay_ns
                        .saturating_sub(slot.run_delay_ns.load(Relaxed))
                        .min(open - cpu_ns),
                    at_ns: until_ns,
                    cpu: gap.cpu,
                    step: Some(step),
                };
            }
            // The worker may have been at a checkpoint just now.
            let wall_ns = until_ns.saturating_sub(began_ns);
            gap.wall_ns = gap.wall_ns.min(wall_ns);
            gap.cpu_ns = gap.cpu_ns.min(wall_ns);
            gap.run_delay_ns = gap.run_delay_ns.min(wall_ns - gap.cpu_ns);
            slices.push(Slice {
                step,
                wall_ns,
                cpu_ns: now.cpu_ns.saturating_sub(before.cpu_ns),
                run_delay_ns: now.run_delay_ns.saturating_sub(before.run_delay_ns),
                units: now.units - before.units,
                iterations: now.iterations - before.iterations,
                migrations: now.migrations - before.migrations,
                node_migrations: now.node_migrations - before.node_migrations,
                gap,
                wake: Some(now.wake.since(&before.wake).latency()).filter(|wake| wake.count > 0),
            });
        }
        self.new_hold(None);
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        let of_threads = self.brief.workers.process.is_some();
        let process =
            |index| self.processes.get(index).filter(|_| !of_threads).map(|it: &Process| it.pid);
        self.memory
            .slots()
            .iter()
            .enumerate()
            .map(|(index, slot)| Snapshot::of(slot, process(index)))
            .collect()
    }

    fn new_hold(&self, step: Option<u32>) -> u64 {
        let (board, now) = (self.memory.board(), sys::now_ns());
        if let Some(step) = step {
            board.step.store(step + 1, Relaxed);
        }
        board.hold_ns.store(now, Relaxed);
        board.hold.fetch_add(1, Release);
        now
    }

    /// Notices processes that have ended, without waiting, and tells how many have.
    pub fn reap(&mut self) -> usize {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        for process in self.processes.iter_mut().filter(|process| process.status.is_none()) {
            if !matches!(waitid(WaitId::Pid(process.pid), ended), Ok(Some(_))) {
                continue;
            }
            // What it has left behind goes first, while its id is still its own.
            let _ = kill_process_group(process.pid, Signal::KILL);
            if let Ok(Some((_, status))) = waitpid(Some(process.pid), WaitOptions::NOHANG) {
                process.status = Some(status);
            }
        }
        self.processes.iter().filter(|process| process.status.is_some()).count()
    }

    /// Whether all workers live, as far as [`reap`](Self::reap) has seen.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.processes.iter().all(|process| process.status.is_none())
            && self.memory.slots().iter().all(|slot| !slot.has_ended())
    }

    /// Units done so far, by worker.
    #[must_use]
    pub fn units(&self) -> Vec<u64> {
        self.memory.slots().iter().map(|slot| slot.units.load(Relaxed)).collect()
    }

    /// Tells all workers to stop, waits until they have and have reported, and kills those that have
    /// not when `deadline` is over. `removed` says that this is what the scenario wanted, and not its
    /// end.
    pub fn stop(&mut self, removed: bool, deadline: Duration) {
        self.removed |= removed;
        self.tell_to_stop(deadline);
        self.release();
        self.wait_for(|slot| slot.is_through.load(Acquire), deadline, true);
        self.arrived.extend(self.inbox.take().map(Inbox::close).unwrap_or_default());
        for index in 0..self.processes.len() {
            if self.processes[index].status.is_none() {
                self.processes[index].unresponsive = !self.has_ended(index);
                let _ = kill_process_group(self.processes[index].pid, Signal::KILL);
            }
        }
        self.wait_until_gone();
        self.job.clean();
    }

    /// Tells the workers to stop and takes their reports from now on, without waiting for them: where
    /// several crews are to stop, those that are told last should not be in the way of the first. They
    /// have until `deadline` is over, which [`stop`](Self::stop) sees to.
    pub fn tell_to_stop(&mut self, deadline: Duration) {
        let word = &self.memory.board().stop;
        if word.load(Relaxed) != 0 {
            return;
        }
        self.inbox = self.open_inbox(deadline);
        word.store(if self.inbox.is_some() { stop::REPORT } else { stop::GO }, Release);
        sys::futex_wake(word, u32::MAX >> 1);
    }

    /// Workers that have no time have none to report, either.
    fn open_inbox(&self, deadline: Duration) -> Option<Inbox> {
        if deadline.is_zero() || self.processes.iter().all(|process| process.status.is_some()) {
            return None;
        }
        let Brief { endpoint, count, workers, cgroup, .. } = &self.brief;
        let inbox = Inbox::open(endpoint, *count, workers.uid);
        let refused = |error| eprintln!("workers of cgroup `{cgroup}` cannot report: {error}");
        inbox.map_err(refused).ok()
    }

    /// Whether the workers of a process have ended, which may itself not be gone yet.
    fn has_ended(&self, process: usize) -> bool {
        let slots = self.memory.slots();
        let slots =
            if self.brief.workers.process.is_some() { slots } else { &slots[process..=process] };
        slots.iter().all(Slot::has_ended)
    }

    fn wait_until_gone(&mut self) {
        let until = sys::now_ns() + sys::ns(GONE_WITHIN);
        while self.reap() < self.processes.len() && sys::now_ns() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all workers have come that far or are dead; nudges those that wait.
    fn wait_for(&mut self, so_far: impl Fn(&Slot) -> bool, at_most: Duration, nudge: bool) {
        let until = sys::now_ns().saturating_add(sys::ns(at_most));
        loop {
            let news = self.memory.board().news.load(Acquire);
            self.reap();
            let is_done = |index: usize, process: &Process| {
                process.status.is_some()
                    || if self.brief.workers.process.is_some() {
                        self.memory.slots().iter().all(&so_far)
                    } else {
                        so_far(&self.memory.slots()[index])
                    }
            };
            let all = self.processes.iter().enumerate().all(|(index, it)| is_done(index, it));
            if all || sys::now_ns() >= until {
                return;
            }
            if nudge {
                self.nudge();
            }
            sys::futex_wait(&self.memory.board().news, news, Some(NUDGE_EVERY));
        }
    }

    fn nudge(&self) {
        for (index, slot) in self.memory.slots().iter().enumerate() {
            let process = self.processes.get(index).or(self.processes.first());
            if let Some(process) = process.filter(|it| it.status.is_none())
                && !slot.has_ended()
            {
                let pid = process.pid.as_raw_nonzero().get() as u32;
                sys::signal_thread(pid, slot.tid.load(Relaxed), sys::NUDGE);
            }
        }
    }

    /// What became of each worker. Those that still live are killed.
    #[must_use]
    pub fn reports(mut self) -> Vec<WorkerReport> {
        self.kill();
        (0..self.brief.count).map(|index| self.report(index)).collect()
    }

    fn report(&mut self, index: u32) -> WorkerReport {
        let slot = &self.memory.slots()[index as usize];
        let work = &self.brief.workers.work;
        let strays = &slot.strays[..(slot.stray_count.load(Acquire) as usize).min(STRAYS)];
        let moves = &slot.moves[..(slot.migrations.load(Relaxed) as usize).min(MOVES)];
        let end = self.end(index);
        let said = self.arrived.remove(&index).unwrap_or_default();
        WorkerReport {
            cgroup: self.brief.cgroup.clone(),
            group: self.brief.group,
            index,
            step: self.step,
            work: work.name().to_owned(),
            role: work.role(index).to_owned(),
            comm: start::comm(&self.brief.workers),
            tid: slot.tid.load(Relaxed),
            began_ns: slot.began_ns.load(Relaxed),
            ended_ns: slot.last_ns.load(Relaxed),
            units: slot.units.load(Relaxed),
            iterations: slot.iterations.load(Relaxed),
            cpu_ns: slot.cpu_ns.load(Relaxed),
            run_delay_ns: slot.run_delay_ns.load(Relaxed),
            runs: said.runs,
            voluntary_switches: said.voluntary,
            involuntary_switches: said.involuntary,
            migrations: slot.migrations.load(Relaxed),
            node_migrations: slot.node_migrations.load(Relaxed),
            moves: moves
                .iter()
                .map(|cell| Move {
                    at_ns: cell.at_ns.load(Relaxed),
                    from: CpuId(cell.from.load(Relaxed)),
                    to: CpuId(cell.to.load(Relaxed)),
                })
                .collect(),
            cpus_used: slot.used.get(),
            strays: strays
                .iter()
                .map(|cell| {
                    let epoch = cell.epoch.load(Relaxed) as usize / 2;
                    let (allowed, step) = &self.epochs[epoch.clamp(1, self.epochs.len()) - 1];
                    Stray {
                        at_ns: cell.at_ns.load(Relaxed),
                        cpu: CpuId(cell.cpu.load(Relaxed)),
                        allowed: allowed[index as usize].clone(),
                        step: *step,
                    }
                })
                .collect(),
            gap: slot.gap.get(None),
            wake: slot.wake.latency(),
            timer: slot.timer.latency(),
            cost: slot.cost.latency(),
            node_pages: said.node_pages,
            slices: std::mem::take(&mut self.slices[index as usize]),
            end,
        }
    }

    fn end(&self, index: u32) -> WorkerEnd {
        let slot = &self.memory.slots()[index as usize];
        let said = || match self.arrived.get(&index) {
            Some(report) => report.text.clone(),
            None => "it could not report why".to_owned(),
        };
        let process = match self.brief.workers.process {
            Some(_) => self.processes.first(),
            None => self.processes.get(index as usize),
        };
        match slot.state.load(Acquire) {
            state::STOPPED if self.removed => WorkerEnd::Removed,
            state::STOPPED => WorkerEnd::Stopped,
            state::COMPLETED => WorkerEnd::Completed,
            state::NOT_STARTED => WorkerEnd::NotStarted { error: said() },
            state::FAILED => WorkerEnd::Failed { error: said() },
            state::PANICKED => WorkerEnd::Panicked { message: said() },
            _ => match process {
                Some(Process { unresponsive: false, status: Some(status), .. }) => {
                    match status.terminating_signal() {
                        Some(signal) => WorkerEnd::Signaled { signal },
                        None => WorkerEnd::Exited { code: status.exit_status().unwrap_or(-1) },
                    }
                }
                _ => WorkerEnd::Unresponsive,
            },
        }
    }

    fn kill(&mut self) {
        if self.reap() < self.processes.len() {
            self.stop(false, Duration::ZERO);
        }
        self.job.clean();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Brief {
    fn new(order: &Order<'_>, endpoint: Endpoint) -> Self {
        let topology = order.topology;
        let node = |cpu| topology.node_of(cpu).map_or(0, |node| node.0);
        let name_seed = order.cgroup.bytes().fold(0, |seed, byte| worker_seed(seed, byte.into()));
        Self {
            workers: order.workers.clone(),
            count: order.count,
            seed: worker_seed(order.seed ^ name_seed, order.group),
            cgroup: order.cgroup.to_owned(),
            group: order.group,
            topology: topology.clone(),
            node_of: topology.cpu_ids().map(node).collect(),
            scratch: order.scratch.to_owned(),
            cgroup_dir: order.cgroup_dir.to_owned(),
            takes_turns: order.takes_turns,
            endpoint,
        }
    }
}

/// A name that no other crew has that is there now, whatever directory they share.
fn endpoint_name() -> String {
    static CREWS: AtomicU32 = AtomicU32::new(0);
    format!("crew-{}-{}", std::process::id(), CREWS.fetch_add(1, Relaxed))
}

/// Whether the order can be carried out at all.
fn check(order: &Order<'_>) -> Result<(), StartError> {
    let (work, count): (&Work, u32) = (&order.workers.work, order.count);
    work.validate()?;
    if !work.group_size().fits(count) {
        let takes = work.group_size().to_string();
        return Err(StartError::Count { work: work.name().to_owned(), takes, count });
    }
    if work.needs_processes() && order.workers.process.is_some() {
        return Err(StartError::Threads { work: work.name().to_owned() });
    }
    if !order.affinity.is_empty() && order.affinity.len() != count as usize {
        return Err(StartError::Affinity { count, given: order.affinity.len() });
    }
    Ok(())
}

impl Snapshot {
    /// The counters now. CPU time and run delay are asked of the kernel while the worker lives,
    /// since one that does not get to run does not count them.
    fn of(slot: &Slot, process: Option<Pid>) -> Self {
        let mut snapshot = Self {
            cpu_ns: slot.cpu_ns.load(Relaxed),
            run_delay_ns: slot.run_delay_ns.load(Relaxed),
            units: slot.units.load(Relaxed),
            iterations: slot.iterations.load(Relaxed),
            migrations: slot.migrations.load(Relaxed),
            node_migrations: slot.node_migrations.load(Relaxed),
            wake: slot.wake.counts(),
        };
        if slot.began_ns.load(Acquire) == 0 || slot.has_ended() {
            return snapshot;
        }
        let raise = |counter: &mut u64, total: u64, first: &AtomicU64| {
            *counter = (*counter).max(total.saturating_sub(first.load(Relaxed)));
        };
        let thread = slot.tid.load(Relaxed);
        if let Some((cpu_ns, run_delay_ns)) = sys::schedstat(thread) {
            raise(&mut snapshot.cpu_ns, cpu_ns, &slot.first_cpu_ns);
            raise(&mut snapshot.run_delay_ns, run_delay_ns, &slot.first_run_delay_ns);
        }
        // This is up to date, and `schedstat` is as of the last tick.
        if let Some(cpu_ns) = process.and_then(sys::cpu_ns_of) {
            raise(&mut snapshot.cpu_ns, cpu_ns, &slot.first_cpu_ns);
        }
        snapshot
    }
}

impl GapCell {
    fn get(&self, step: Option<u32>) -> Gap {
        Gap {
            wall_ns: self.wall_ns.load(Relaxed),
            cpu_ns: self.cpu_ns.load(Relaxed),
            run_delay_ns: self.run_delay_ns.load(Relaxed),
            at_ns: self.at_ns.load(Relaxed),
            cpu: CpuId(self.cpu.load(Relaxed)),
            step: step.or_else(|| self.step.load(Relaxed).checked_sub(1)),
        }
    }
}
