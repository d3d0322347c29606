//! What a worker holds in its hand while it works: its place, its counters, its ways to wait.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use belljar_scenario::{GroupSize, Pace, Toil, Work, Worker, Workers};
use belljar_topology::{CpuSet, Topology};
use snapwire::Endpoint;

use crate::histogram::Histogram;
use crate::memory::{Board, Desk, GapCell, MOVES, Memory, STRAYS, Slot};
use crate::report::Report;
use crate::sys;

/// The time between two checkpoints that is aimed at: long against the cost of one, short against
/// what a scheduler decides.
const PACE_NS: u64 = 100_000;
/// Rounds between two checkpoints, at most.
const PACE_MAX: u64 = 1024;
/// How often CPU time and run delay are read from the kernel.
const LEDGER_NS: u64 = 20_000_000;
/// From here on a gap is worth asking the kernel what it consisted of.
const GAP_NS: u64 = 1_000_000;
/// Spins between two pause hints. A hint makes an emulated CPU give up its turn, which costs
/// hundreds of spins; one for each spin would leave little but hints.
const SPINS_PER_HINT: u64 = 1024;
/// Spins that are written out one after the other.
const SPINS_PER_BLOCK: u64 = 64;

/// What does not change while the workers of a group work.
pub(crate) struct Brief {
    pub(crate) workers: Workers,
    pub(crate) count: u32,
    pub(crate) seed: u64,
    /// The cgroup's name in the scenario.
    pub(crate) cgroup: String,
    pub(crate) group: u32,
    pub(crate) topology: Topology,
    pub(crate) node_of: Vec<u32>,
    pub(crate) scratch: PathBuf,
    pub(crate) cgroup_dir: PathBuf,
    /// Whether to give up the CPU's turn after each round: a pause hint has an emulator go on with the
    /// next CPU.
    pub(crate) takes_turns: bool,
    /// Where to report.
    pub(crate) endpoint: Endpoint,
}

/// The kernel refused what the work needs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

/// What a worker's body returns.
pub(crate) type Outcome = Result<(), Refusal>;

/// Says of an error what was tried, as in `cannot open /tmp/x: ...`.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Refusal>;
}

impl<T, E: std::fmt::Display> Tried<T> for Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Refusal> {
        self.map_err(|error| Refusal(format!("cannot {}: {error}", what())))
    }
}

/// CPU time, run delay and runs so far, as the kernel counts them.
#[derive(Clone, Copy, Default)]
struct Ledger {
    at_ns: u64,
    cpu_ns: u64,
    run_delay_ns: u64,
    runs: u64,
}

/// A worker's tools.
pub(crate) struct Hand<'a> {
    pub(crate) brief: &'a Brief,
    memory: &'a Memory,
    board: &'a Board,
    slot: &'a Slot,
    pub(crate) index: u32,
    pub(crate) rng: fastrand::Rng,
    /// `schedstat` of the thread, and of those that it started.
    statistics: Vec<File>,
    pace: Pace,
    /// Spins that do not make a unit yet.
    spins: u64,
    /// Rounds from the last checkpoint to the next.
    stride: u64,
    /// The last checkpoint; the rounds at that time.
    checked_ns: u64,
    checked_rounds: u64,
    /// From when on the present gap counts: the last checkpoint, or the end of a wait.
    last_ns: u64,
    /// When the last wait began; the end of time if there was none for what is there now.
    waited_from_ns: u64,
    gap_ns: u64,
    hold: u32,
    hold_gap_ns: u64,
    cpu: u32,
    first: Ledger,
    ledger: Ledger,
    switches: (u64, u64),
    /// Pages of the working set by node.
    node_pages: Vec<u64>,
}

impl<'a> Hand<'a> {
    pub(crate) fn new(brief: &'a Brief, memory: &'a Memory, index: u32) -> std::io::Result<Self> {
        Ok(Self {
            brief,
            memory,
            board: memory.board(),
            slot: &memory.slots()[index as usize],
            index,
            rng: fastrand::Rng::with_seed(worker_seed(brief.seed, index)),
            statistics: vec![File::open("/proc/thread-self/schedstat")?],
            pace: Pace {
                left: 1,
                rounds: 0,
                // Spins come with hints of their own.
                hints: brief.takes_turns && brief.workers.work != Work::SpinWait,
            },
            spins: 0,
            stride: 1,
            checked_ns: 0,
            checked_rounds: 0,
            last_ns: 0,
            waited_from_ns: u64::MAX,
            gap_ns: 0,
            hold: 0,
            hold_gap_ns: 0,
            cpu: 0,
            first: Ledger::default(),
            ledger: Ledger::default(),
            switches: (0, 0),
            node_pages: Vec::new(),
        })
    }

    /// Starts the clocks.
    pub(crate) fn begin(&mut self) {
        let now = sys::now_ns();
        (self.checked_ns, self.last_ns) = (now, now);
        self.cpu = sys::current_cpu();
        self.first = self.read_ledger(now);
        self.ledger = self.first;
        self.switches = self.read_switches();
        self.slot.first_cpu_ns.store(self.first.cpu_ns, Relaxed);
        self.slot.first_run_delay_ns.store(self.first.run_delay_ns, Relaxed);
        self.slot.last_ns.store(now, Relaxed);
        self.slot.began_ns.store(now, Release);
        // Workers that were let go together do not all stay in step.
        let spins = self.rng.u64(0..4096);
        self.spin(spins);
        self.spins = 0;
    }

    /// Stops the clocks. What is not for all to see while it works is in the report.
    pub(crate) fn end(mut self) -> Report {
        self.look_around();
        let (voluntary, involuntary) = self.read_switches();
        Report {
            index: self.index,
            runs: self.ledger.runs.saturating_sub(self.first.runs),
            voluntary: voluntary.saturating_sub(self.switches.0),
            involuntary: involuntary.saturating_sub(self.switches.1),
            node_pages: self.node_pages,
            text: String::new(),
        }
    }

    /// Whether to begin another round. Now and then this is a checkpoint.
    #[inline]
    pub(crate) fn goes_on(&mut self) -> bool {
        if self.pace.hints {
            std::hint::spin_loop();
        }
        self.pace.left -= 1;
        self.pace.left > 0 || self.arrives()
    }

    /// A checkpoint that was due; whether to go on.
    fn arrives(&mut self) -> bool {
        self.checkpoint();
        let goes_on = !self.is_told_to_stop();
        if !goes_on {
            // Whoever asks next, in an outer loop, shall hear it too.
            self.pace.left = 1;
        }
        goes_on
    }

    /// Has the test's own function do the work.
    pub(crate) fn toil(&mut self, run: fn(&mut Toil<'_>)) {
        let (pace, slot) = (self.pace, self.slot);
        let mut toil = Toil::new(self, &slot.units, pace);
        run(&mut toil);
        self.pace = toil.into_pace();
    }

    /// Whether to stop; to be asked before each wait and after each wait that a signal may have ended.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.board.stop.load(Relaxed) != 0
    }

    /// Counts units of work, and a round.
    #[inline]
    pub(crate) fn did(&mut self, units: u64) {
        self.did_part(units);
        self.pace.rounds += 1;
    }

    /// Counts units of work within a round.
    #[inline]
    pub(crate) fn did_part(&mut self, units: u64) {
        // Nobody else writes it.
        let so_far = self.slot.units.load(Relaxed);
        self.slot.units.store(so_far.wrapping_add(units), Relaxed);
    }

    /// Spins, and tells how many units of `per_unit` spins that made, with what was left over before.
    #[inline]
    pub(crate) fn spin_units(&mut self, spins: u64, per_unit: u64) -> u64 {
        self.spin(spins);
        self.spins += spins;
        let units = self.spins / per_unit;
        self.spins %= per_unit;
        units
    }

    /// Spins, and counts a unit for each 1024.
    pub(crate) fn spin_and_count(&mut self, mut spins: u64) {
        while spins > 0 && self.goes_on() {
            let part = spins.min(1024);
            let units = self.spin_units(part, 1024);
            self.did_part(units);
            spins -= part;
        }
    }

    /// Spins until a moment, and counts a unit for each `per_unit` spins.
    pub(crate) fn spin_until(&mut self, end_ns: u64, per_unit: u64) {
        while sys::now_ns() < end_ns && self.goes_on() {
            let units = self.spin_units(256, per_unit);
            self.did_part(units);
        }
    }

    /// Spins: four instructions each, and a pause hint after each 1024.
    #[inline]
    pub(crate) fn spin(&self, spins: u64) {
        spin(spins);
    }

    pub(crate) fn now_ns(&self) -> u64 {
        sys::now_ns()
    }

    pub(crate) fn topology(&self) -> &'a Topology {
        &self.brief.topology
    }

    /// The CPUs that the worker is allowed now.
    pub(crate) fn allowed(&self) -> CpuSet {
        self.slot.allowed.get()
    }

    /// The desk of a worker of the group.
    pub(crate) fn desk(&self, worker: u32) -> &'a Desk {
        &self.memory.desks()[worker as usize]
    }

    /// The thread of a worker of the group.
    pub(crate) fn thread(&self, worker: u32) -> u32 {
        self.memory.slots()[worker as usize].tid.load(Relaxed)
    }

    /// The numbers that the group shares.
    pub(crate) fn pool(&self) -> &'a [std::sync::atomic::AtomicU64] {
        self.memory.pool()
    }

    /// The first of the workers that this one works together with, and how many they are.
    pub(crate) fn team(&self) -> Team {
        let size = match self.brief.workers.work.group_size() {
            GroupSize::Any | GroupSize::One => 1,
            size => size.together(self.brief.count).max(1),
        };
        let position = self.index % size;
        Team { first: self.index - position, size, position }
    }

    /// Waits of the worker's own accord: the time counts towards no gap.
    pub(crate) fn wait<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let before = sys::now_ns();
        self.note_gap(before, None);
        self.waited_from_ns = before;
        self.slot.waits.store(true, Relaxed);
        let result = wait();
        self.last_ns = sys::now_ns();
        self.slot.last_ns.store(self.last_ns, Relaxed);
        self.slot.waits.store(false, Relaxed);
        if self.last_ns - self.checked_ns >= PACE_NS {
            self.pace.left = 1;
        }
        result
    }

    /// Waits until `word` is no longer `seen`; false when told to stop.
    pub(crate) fn wait_word(&mut self, word: &AtomicU32, seen: u32) -> bool {
        self.waited_from_ns = u64::MAX;
        while word.load(Acquire) == seen {
            if self.is_told_to_stop() {
                return false;
            }
            self.wait(|| sys::futex_wait(word, seen, None));
        }
        true
    }

    /// Notes that a wake-up was sent at that moment, and that the last wait ended with it. What was
    /// sent before that wait woke nobody.
    pub(crate) fn woke(&mut self, sent_ns: u64) {
        if sent_ns < self.waited_from_ns {
            return;
        }
        let late = self.last_ns.saturating_sub(sent_ns);
        self.slot.wake.record(late);
        self.count_gap_from(sent_ns);
    }

    /// Notes a wake-up latency that was measured otherwise.
    pub(crate) fn woke_late(&mut self, late_ns: u64) {
        self.slot.wake.record(late_ns);
    }

    fn count_gap_from(&mut self, ns: u64) {
        self.last_ns = self.last_ns.min(ns);
        self.slot.last_ns.store(self.last_ns, Relaxed);
    }

    /// Sleeps until a moment, and notes how late it woke; not when told to stop.
    pub(crate) fn sleep_until(&mut self, at_ns: u64) {
        loop {
            if self.is_told_to_stop() {
                return;
            }
            let at = sys::timespec(at_ns);
            let clock = rustix::thread::ClockId::Monotonic;
            let slept = self.wait(|| rustix::thread::clock_nanosleep_absolute(clock, &at));
            if slept.is_ok() {
                break;
            }
        }
        self.slot.timer.record(self.last_ns.saturating_sub(at_ns));
        self.count_gap_from(at_ns);
    }

    /// Sleeps for so long, which is no measurement; a signal ends it.
    pub(crate) fn rest(&mut self, time: Duration) {
        let at = sys::timespec(sys::now_ns().saturating_add(sys::ns(time)));
        let clock = rustix::thread::ClockId::Monotonic;
        let _ = self.wait(|| rustix::thread::clock_nanosleep_absolute(clock, &at));
    }

    /// A checkpoint, and what the kernel has counted by now.
    pub(crate) fn look_around(&mut self) {
        self.checkpoint();
        self.ledger = self.read_ledger(sys::now_ns());
        self.publish_ledger();
    }

    /// Sleeps for about as long: up to a 32nd longer, drawn from the seed.
    pub(crate) fn nap(&mut self, time: Duration) {
        let time = sys::ns(time);
        let jitter = self.rng.u64(0..=time / 32);
        self.sleep_until(sys::now_ns().saturating_add(time + jitter));
    }

    /// Pages of the working set by node.
    pub(crate) fn set_node_pages(&mut self, nodes: Vec<u64>) {
        self.node_pages = nodes;
    }

    /// The latencies: wake-up and cost of a round.
    pub(crate) fn histograms(&self) -> (&'a Histogram, &'a Histogram) {
        (&self.slot.wake, &self.slot.cost)
    }

    /// Counts a thread that this worker has started as part of it.
    pub(crate) fn adopt(&mut self, thread: u32) -> std::io::Result<()> {
        self.statistics.push(File::open(format!("/proc/self/task/{thread}/schedstat"))?);
        Ok(())
    }

    /// Counts units that the worker's own threads have done so far, and has them seen.
    pub(crate) fn threads_did(&mut self, units: u64) {
        self.pace.rounds = units;
        self.slot.units.store(units, Relaxed);
    }

    fn has_threads(&self) -> bool {
        self.brief.workers.work.group_size() == GroupSize::One
    }

    fn read_switches(&self) -> (u64, u64) {
        sys::switches(self.has_threads())
    }

    /// What the kernel counts. Costs two system calls.
    fn read_ledger(&self, at_ns: u64) -> Ledger {
        let cpu_ns = if self.has_threads() { sys::process_cpu_ns() } else { sys::thread_cpu_ns() };
        let mut ledger = Ledger { at_ns, cpu_ns, run_delay_ns: 0, runs: 0 };
        for file in &self.statistics {
            let mut line = [0; 96];
            let Ok(read) = file.read_at(&mut line, 0) else {
                // A thread of its own is gone: what was known last has all of it.
                return Ledger { at_ns, cpu_ns, ..self.ledger };
            };
            let words = std::str::from_utf8(&line[..read]).unwrap_or("").split_ascii_whitespace();
            let mut numbers = words.map(|word| word.parse::<u64>().unwrap_or(0)).skip(1);
            ledger.run_delay_ns += numbers.next().unwrap_or(0);
            ledger.runs += numbers.next().unwrap_or(0);
        }
        ledger
    }

    fn publish_ledger(&self) {
        let (slot, now, first) = (self.slot, &self.ledger, &self.first);
        slot.cpu_ns.store(now.cpu_ns - first.cpu_ns, Relaxed);
        slot.run_delay_ns.store(now.run_delay_ns.saturating_sub(first.run_delay_ns), Relaxed);
    }

    fn checkpoint(&mut self) {
        let slot = self.slot;
        let cpu = self.sighting().look();
        let now = sys::now_ns();
        self.note_gap(now, Some(cpu));
        if cpu != self.cpu {
            self.moved(cpu, now);
        }
        slot.last_ns.store(now, Relaxed);
        slot.iterations.store(self.pace.rounds, Relaxed);
        let (took, rounds) = (now - self.checked_ns, self.pace.rounds - self.checked_rounds);
        if let Some(cost) = took.checked_div(rounds)
            && !self.has_threads()
        {
            slot.cost.record(cost);
        }
        if now - self.ledger.at_ns >= LEDGER_NS {
            self.ledger = self.read_ledger(now);
            self.publish_ledger();
        }
        let fitting = self.stride.saturating_mul(PACE_NS) / took.max(1);
        self.stride = fitting.clamp(1, (self.stride * 2).min(PACE_MAX));
        self.pace.left = self.stride;
        (self.checked_ns, self.checked_rounds, self.last_ns) = (now, self.pace.rounds, now);
    }

    /// A gap ended now: keeps it if it is the longest, or the longest in this hold.
    fn note_gap(&mut self, now: u64, cpu: Option<u32>) {
        let hold = self.board.hold.load(Acquire);
        let mut hold_from = self.last_ns;
        if hold != self.hold {
            (self.hold, self.hold_gap_ns) = (hold, 0);
            hold_from = hold_from.max(self.board.hold_ns.load(Relaxed));
            self.slot.hold_gap.store(0, 0, &Ledger::default(), 0, 0);
            self.slot.hold.store(hold, Release);
        }
        let wall = now.saturating_sub(self.last_ns);
        let hold_wall = now.saturating_sub(hold_from);
        if wall <= self.gap_ns && hold_wall <= self.hold_gap_ns {
            return;
        }
        let mut spent = Ledger { at_ns: now, cpu_ns: wall, run_delay_ns: 0, runs: 0 };
        if wall >= GAP_NS {
            let read = self.read_ledger(now);
            // What was spent before the gap began, since the last reading: that time without the
            // run delay in it is taken to have been CPU time.
            let before = self.last_ns.saturating_sub(self.ledger.at_ns);
            spent.cpu_ns = (read.cpu_ns - self.ledger.cpu_ns).saturating_sub(before).min(wall);
            spent.run_delay_ns =
                read.run_delay_ns.saturating_sub(self.ledger.run_delay_ns).min(wall - spent.cpu_ns);
            self.ledger = read;
            self.publish_ledger();
        }
        let step = self.board.step.load(Relaxed);
        let cpu = cpu.unwrap_or_else(sys::current_cpu);
        if wall > self.gap_ns {
            self.gap_ns = wall;
            self.slot.gap.store(now, wall, &spent, cpu, step);
        }
        if hold_wall > self.hold_gap_ns {
            self.hold_gap_ns = hold_wall;
            self.slot.hold_gap.store(now, hold_wall, &spent, cpu, step);
        }
    }

    fn moved(&mut self, cpu: u32, now: u64) {
        let slot = self.slot;
        let at = slot.migrations.load(Relaxed);
        slot.migrations.store(at + 1, Relaxed);
        let node = |cpu: u32| self.brief.node_of.get(cpu as usize);
        if node(cpu) != node(self.cpu) {
            slot.node_migrations.store(slot.node_migrations.load(Relaxed) + 1, Relaxed);
        }
        if at < MOVES as u64 {
            let cell = &slot.moves[at as usize];
            cell.at_ns.store(now, Relaxed);
            cell.from.store(self.cpu, Relaxed);
            cell.to.store(cpu, Relaxed);
        }
        self.cpu = cpu;
    }

    /// What looks where threads of this worker run.
    pub(crate) fn sighting(&self) -> Sighting<'a> {
        Sighting { board: self.board, slot: self.slot }
    }
}

/// Looks where a thread of a worker runs, and judges it.
#[derive(Clone, Copy)]
pub(crate) struct Sighting<'a> {
    board: &'a Board,
    slot: &'a Slot,
}

impl Sighting<'_> {
    /// Notes the CPU of the calling thread. It is judged by what was allowed both before and after
    /// it was looked at.
    pub(crate) fn look(self) -> u32 {
        let epoch = self.board.epoch.load(Acquire);
        let cpu = sys::current_cpu();
        if epoch.is_multiple_of(2)
            && !self.slot.allowed.has(cpu)
            && self.board.epoch.load(Acquire) == epoch
        {
            self.stray(cpu, epoch);
        }
        self.slot.used.insert(cpu);
        cpu
    }

    #[cold]
    fn stray(self, cpu: u32, epoch: u32) {
        let (strays, count) = (&self.slot.strays, &self.slot.stray_count);
        let known = &strays[..(count.load(Acquire) as usize).min(STRAYS)];
        if known.iter().any(|stray| stray.cpu.load(Relaxed) == cpu) {
            return;
        }
        let at = count.fetch_add(1, Release) as usize;
        let Some(cell) = strays.get(at) else {
            count.store(STRAYS as u32, Release);
            return;
        };
        cell.at_ns.store(sys::now_ns(), Relaxed);
        cell.cpu.store(cpu, Relaxed);
        cell.epoch.store(epoch, Relaxed);
    }
}

impl GapCell {
    fn store(&self, at: u64, wall: u64, spent: &Ledger, cpu: u32, step: u32) {
        self.wall_ns.store(wall, Relaxed);
        self.cpu_ns.store(spent.cpu_ns.min(wall), Relaxed);
        self.run_delay_ns.store(spent.run_delay_ns.min(wall), Relaxed);
        self.at_ns.store(at, Relaxed);
        self.cpu.store(cpu, Relaxed);
        self.step.store(step, Relaxed);
    }
}

/// Those who work together.
#[derive(Clone, Copy)]
pub(crate) struct Team {
    /// The first one's index in the group.
    pub(crate) first: u32,
    pub(crate) size: u32,
    /// Which of them this worker is.
    pub(crate) position: u32,
}

impl Team {
    /// The other one of a pair.
    pub(crate) fn partner(self) -> u32 {
        self.first + (1 - self.position.min(1))
    }

    /// The index in the group of one of them.
    pub(crate) fn member(self, position: u32) -> u32 {
        self.first + position % self.size
    }
}

impl Worker for Hand<'_> {
    fn arrive(&mut self, pace: &mut Pace) -> bool {
        self.pace = *pace;
        let goes_on = self.arrives();
        *pace = self.pace;
        goes_on
    }

    fn woke_after_ns(&mut self, latency_ns: u64) {
        self.woke_late(latency_ns);
    }

    fn now_ns(&self) -> u64 {
        sys::now_ns()
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn count(&self) -> u32 {
        self.brief.count
    }

    fn seed(&self) -> u64 {
        worker_seed(self.brief.seed, self.index)
    }
}

/// A seed of a worker's own (the finaliser of SplitMix64).
pub(crate) fn worker_seed(seed: u64, index: u32) -> u64 {
    let mut x = seed ^ (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// So many spins, and a pause hint after each 1024.
#[inline]
pub(crate) fn spin(spins: u64) {
    let mut left = spins;
    while left > 0 {
        let part = left.min(SPINS_PER_HINT);
        spin_some(part / SPINS_PER_BLOCK, part % SPINS_PER_BLOCK);
        std::hint::spin_loop();
        left -= part;
    }
}

/// So many blocks of spins and spins beside; the same instructions however the crate is compiled. They
/// set no flags and have no branch among them, which an emulator translates well.
#[inline]
fn spin_some(blocks: u64, spins: u64) {
    // SAFETY: the code changes the registers that it says it does, and its loops end when the counts
    // are 0.
    unsafe {
        std::arch::asm!(
            "test {blocks}, {blocks}",
            "jz 3f",
            "2:",
            ".rept 256",
            "lea {x}, [{x} + {y}]",
            ".endr",
            "dec {blocks}",
            "jnz 2b",
            "3:",
            "test {spins}, {spins}",
            "jz 5f",
            "4:",
            ".rept 4",
            "lea {x}, [{x} + {y}]",
            ".endr",
            "dec {spins}",
            "jnz 4b",
            "5:",
            blocks = inout(reg) blocks => _,
            spins = inout(reg) spins => _,
            x = inout(reg) blocks => _,
            y = in(reg) spins,
            options(nomem, nostack)
        );
    }
}
