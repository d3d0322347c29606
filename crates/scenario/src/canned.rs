//! Scenarios that are ready to play, by what they press on.
//!
//! Each is two seconds of guest time unless [`Scenario::duration`] says otherwise, and fits every
//! topology that its [`Canned::min`] accepts.
//!
//! ```
//! use belljar_scenario::canned;
//!
//! let wakeups = canned::all().iter().filter(|canned| canned.group == canned::Group::WakeUps);
//! assert!(wakeups.count() >= 5);
//! let shown = canned::cpuset_resize().render(&"1n2l4c1t".parse()?);
//! assert!(shown.contains("set-cpuset load: range 0 to 0.25 = CPUs 0-1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::time::Duration;

use belljar_topology::Constraints;

use crate::{
    Affinity, Cgroup, Cpuset, Futex, MemoryFlags, MemoryPolicy, Op, Policy, Scenario, Step, Work,
    Workers,
};

/// A scenario that is ready to play.
#[derive(Clone, Copy, Debug)]
pub struct Canned {
    /// Its name, which is its function's.
    pub name: &'static str,
    /// What it presses on.
    pub group: Group,
    /// What happens in it, in a line.
    pub about: &'static str,
    /// Makes it.
    pub make: fn() -> Scenario,
    /// The topologies that it fits.
    pub min: Constraints,
    /// Whether a scheduler must be attached when it begins.
    pub needs_scheduler: bool,
}

/// What a scenario presses on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Group {
    /// Load that stays as it is.
    Baseline,
    /// The CPUs of cgroups change.
    Cpusets,
    /// Cgroups come, go, freeze, and change their limits.
    Cgroups,
    /// Workers are bound to CPUs.
    Affinity,
    /// Workers wake one another.
    WakeUps,
    /// Nice values, policies and locks between them.
    Priority,
    /// Caches, page faults, NUMA nodes.
    Memory,
    /// Reads and writes.
    Io,
    /// Timers, idleness and interrupts.
    Timers,
    /// Tasks that come and go.
    Churn,
    /// Schedulers come and go.
    Schedulers,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Cpusets => "cpusets",
            Self::Cgroups => "cgroup lifecycle",
            Self::Affinity => "affinity",
            Self::WakeUps => "wake-ups",
            Self::Priority => "priority and policy",
            Self::Memory => "memory and NUMA",
            Self::Io => "I/O",
            Self::Timers => "interrupts and timers",
            Self::Churn => "churn",
            Self::Schedulers => "schedulers",
        })
    }
}

/// All of them, group by group.
#[must_use]
pub fn all() -> &'static [Canned] {
    ALL
}

const ANY: Constraints = Constraints::ANY;
/// Two CPUs: enough for two parts of a machine.
const TWO_CPUS: Constraints = Constraints { min_cpus: 2, ..ANY };
const FOUR_CPUS: Constraints = Constraints { min_cpus: 4, ..ANY };
const TWO_LLCS: Constraints = Constraints { min_llcs: 2, ..ANY };
const TWO_NODES: Constraints = Constraints { min_numa_nodes: 2, min_llcs: 2, ..ANY };
const SMT: Constraints = Constraints { requires_smt: Some(true), ..ANY };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A cgroup of spinners, half as many as there are CPUs for it.
fn half(name: &str) -> Cgroup {
    spinners(name, 50)
}

/// A cgroup of spinners, `percent` for each hundred CPUs that it has.
fn spinners(name: &str, percent: u32) -> Cgroup {
    Cgroup::new(name).group(Workers::percent_of_cpus(percent, Work::SpinWait)).swappable()
}

fn step(name: &str, fraction: f64) -> Step {
    Step::new(name).hold_fraction(fraction)
}

fn load() -> Scenario {
    Scenario::new()
}

fn set(cgroup: &str, cpus: Cpuset) -> Op {
    Op::SetCpuset { cgroup: cgroup.into(), cpus }
}

fn clear(cgroup: &str) -> Op {
    Op::ClearCpuset { cgroup: cgroup.into() }
}

fn swap(a: &str, b: &str) -> Op {
    Op::SwapCpusets { a: a.into(), b: b.into() }
}

fn add(cgroup: Cgroup) -> Op {
    Op::AddCgroup { cgroup: Box::new(cgroup) }
}

fn remove(cgroup: &str) -> Op {
    Op::RemoveCgroup { cgroup: cgroup.into() }
}

fn freeze(cgroup: &str) -> Op {
    Op::Freeze { cgroup: cgroup.into() }
}

fn unfreeze(cgroup: &str) -> Op {
    Op::Unfreeze { cgroup: cgroup.into() }
}

fn move_tasks(from: &str, to: &str) -> Op {
    Op::MoveAllTasks { from: from.into(), to: to.into() }
}

fn weight(cgroup: &str, weight: u32) -> Op {
    Op::SetWeight { cgroup: cgroup.into(), weight }
}

fn quota(cgroup: &str, percent: Option<u32>) -> Op {
    Op::SetQuota { cgroup: cgroup.into(), percent }
}

fn bind(cgroup: &str, affinity: Affinity) -> Op {
    Op::SetAffinity { cgroup: cgroup.into(), affinity }
}

fn spawn(workers: Workers) -> Op {
    Op::Spawn { cgroup: String::new(), workers: Box::new(workers) }
}

/// Defines each scenario once: its function, its documentation, and its line in the table.
macro_rules! canned {
    ($( $group:ident $(($needs:ident))? $name:ident [$min:expr] $about:literal $scenario:expr; )*) => {
        $(
            #[doc = concat!("The scenario `", stringify!($name), "`: ", $about, ".")]
            #[must_use]
            pub fn $name() -> Scenario {
                $scenario.named(stringify!($name)).about($about)
            }
        )*
        static ALL: &[Canned] = &[$(
            Canned {
                name: stringify!($name),
                group: Group::$group,
                about: $about,
                make: $name,
                min: $min,
                needs_scheduler: canned!(@ $($needs)?),
            },
        )*];
    };
    (@) => { false };
    (@ attached) => { true };
}

canned! {
    Baseline steady [ANY] "two cgroups of spinners, a worker for each CPU in all"
        load().step(step("load", 1.0).cgroup(half("left")).cgroup(half("right")));
    Baseline steady_llc [TWO_LLCS] "a cgroup of spinners on each of two LLCs, a worker for each CPU"
        load().step(
            step("load", 1.0)
                .cgroup(spinners("first", 100).cpuset(Cpuset::llc(0)))
                .cgroup(spinners("second", 100).cpuset(Cpuset::llc(1))),
        );
    Baseline nested_steady [ANY] "spinners in cgroups within cgroups of different weights"
        load()
            .backdrop(Cgroup::new("outer").weight(200))
            .backdrop(Cgroup::new("outer/middle").weight(50))
            .step(
                step("load", 1.0)
                    .cgroup(half("outer/middle/inner"))
                    .cgroup(half("outer/beside"))
                    .cgroup(half("alone")),
            );
    Baseline oversubscribed [ANY] "32 workers of four kinds in two cgroups, whatever the machine"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("busy").workers(8, Work::SpinWait).workers(8, Work::Mixed))
                .cgroup(
                    Cgroup::new("changing")
                        .workers(8, Work::bursty())
                        .workers(8, Work::pipe_io()),
                ),
        );
    Baseline mixed_workloads [ANY] "a cgroup each that spins, that sleeps, that talks, and that forks"
        load().step(
            step("load", 1.0)
                .cgroup(half("spins"))
                .cgroup(Cgroup::new("sleeps").workers(4, Work::bursty()))
                .cgroup(Cgroup::new("talks").workers(4, Work::pipe_io()))
                .cgroup(Cgroup::new("forks").workers(1, Work::ForkExit)),
        );
    Baseline host_contention [ANY] "spinners in a cgroup against as many outside of any cgroup"
        load()
            .backdrop(spinners("load", 100))
            .step(step("alone", 0.5))
            .step(
                step("contended", 0.5)
                    .op(spawn(Workers::percent_of_cpus(100, Work::SpinWait))),
            );

    Cpusets cpuset_apply [TWO_CPUS] "a busy cgroup is confined to half of the CPUs while it runs"
        load()
            .backdrop(spinners("load", 100))
            .backdrop(half("beside"))
            .step(step("free", 0.5))
            .step(step("confined", 0.5).op(set("load", Cpuset::range(0.0, 0.5))));
    Cpusets cpuset_clear [TWO_CPUS] "a confined cgroup is given all CPUs while it runs"
        load()
            .backdrop(spinners("load", 200).cpuset(Cpuset::range(0.0, 0.5)))
            .backdrop(half("beside"))
            .step(step("confined", 0.5))
            .step(step("free", 0.5).op(clear("load")));
    Cpusets cpuset_resize [FOUR_CPUS] "the CPUs of a busy cgroup shrink, move and grow"
        load()
            .backdrop(half("load").cpuset(Cpuset::range(0.0, 0.5)))
            .step(step("half", 0.25))
            .step(step("shrunk", 0.25).op(set("load", Cpuset::range(0.0, 0.25))))
            .step(step("moved", 0.25).op(set("load", Cpuset::range(0.5, 0.75))))
            .step(step("grown", 0.25).op(set("load", Cpuset::range(0.0, 1.0))));
    Cpusets cpuset_swap [TWO_CPUS] "two busy cgroups swap their CPUs again and again"
        load()
            .backdrop(spinners("left", 100).cpuset(Cpuset::disjoint(0, 2)))
            .backdrop(spinners("right", 100).cpuset(Cpuset::disjoint(1, 2)))
            .step(Step::new("swap").op(swap("left", "right")).hold_loop(ms(100), 1.0));
    Cpusets cpuset_overlap [FOUR_CPUS] "three cgroups whose CPUs overlap by half, all of them busy"
        load().step(
            step("load", 1.0)
                .cgroup(spinners("first", 100).cpuset(Cpuset::overlap(0, 3, 0.5)))
                .cgroup(spinners("second", 100).cpuset(Cpuset::overlap(1, 3, 0.5)))
                .cgroup(spinners("third", 100).cpuset(Cpuset::overlap(2, 3, 0.5))),
        );

    Cgroups cgroup_add [ANY] "cgroups with workers come while others run"
        load()
            .backdrop(half("always"))
            .step(step("before", 0.25))
            .step(step("one more", 0.375).op(add(half("new"))))
            .step(step("two more", 0.375).op(add(half("new"))).op(add(half("newer"))));
    Cgroups cgroup_remove [ANY] "busy cgroups are removed while others run"
        load()
            .backdrop(half("always"))
            .backdrop(half("first"))
            .backdrop(half("second"))
            .step(step("all", 0.25))
            .step(step("one less", 0.375).op(remove("first")))
            .step(step("two less", 0.375).op(remove("second")));
    Cgroups cgroup_churn [ANY] "a cgroup with workers is made and removed again and again"
        load().backdrop(half("always")).step(
            Step::new("churn")
                .op(add(Cgroup::new("brief").workers(2, Work::Mixed)))
                .op(remove("brief"))
                .hold_loop(ms(100), 1.0),
        );
    Cgroups nested_task_move [ANY] "tasks move to and fro between cgroups within different parents"
        load()
            .backdrop(Cgroup::new("left").weight(50))
            .backdrop(Cgroup::new("right").weight(200))
            .backdrop(half("left/leaf"))
            .backdrop(Cgroup::new("right/leaf"))
            .backdrop(half("beside"))
            .step(
                Step::new("move")
                    .op(move_tasks("left/leaf", "right/leaf"))
                    .op(move_tasks("right/leaf", "left/leaf"))
                    .hold_loop(ms(100), 1.0),
            );
    Cgroups freeze_thaw [ANY] "a busy cgroup is frozen and thawed while another runs"
        load()
            .backdrop(half("frozen"))
            .backdrop(half("always"))
            .step(step("before", 0.25))
            .step(step("frozen", 0.375).op(freeze("frozen")))
            .step(step("thawed", 0.375).op(unfreeze("frozen")));
    Cgroups weights [ANY] "two busy cgroups share the CPUs by weight, and their weights change"
        load()
            .backdrop(spinners("heavy", 100).weight(300))
            .backdrop(spinners("light", 100).weight(100))
            .step(step("three to one", 0.5))
            .step(step("turned", 0.5).op(weight("heavy", 100)).op(weight("light", 300)));
    Cgroups quotas [ANY] "a cgroup with a quota below what it wants, beside one without"
        load()
            .backdrop(half("held").quota_pct(50))
            .backdrop(half("free"))
            .step(step("half a CPU", 0.5))
            .step(step("no quota", 0.5).op(quota("held", None)));

    Affinity affinity_change [TWO_CPUS] "the affinity of busy workers changes while they run"
        load()
            .backdrop(spinners("load", 100))
            .step(step("free", 0.25))
            .step(step("one CPU each", 0.25).op(bind("load", Affinity::SingleCpu)))
            .step(step("an LLC each", 0.25).op(bind("load", Affinity::LlcAligned)))
            .step(
                step("random", 0.25)
                    .op(bind("load", Affinity::RandomSubset { from: None, count: 2 })),
            );
    Affinity affinity_pinned [TWO_CPUS] "two workers bound to each CPU beside as many that are free"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("pinned").group(
                    Workers::percent_of_cpus(200, Work::SpinWait).affinity(Affinity::SingleCpu),
                ))
                .cgroup(spinners("free", 100)),
        );
    Affinity affinity_outside [TWO_CPUS] "workers ask for all CPUs from within a cgroup that has half"
        load().step(
            step("load", 1.0)
                .cgroup(
                    Cgroup::new("confined").cpuset(Cpuset::range(0.0, 0.5)).group(
                        Workers::percent_of_cpus(100, Work::SpinWait)
                            .affinity(Affinity::CrossCgroup),
                    ),
                )
                .cgroup(half("free")),
        );
    Affinity affinity_churn [ANY] "workers that bind themselves, and workers that bind one another"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("selves").workers(2, Work::affinity_churn()))
                .cgroup(Cgroup::new("others").workers(3, Work::cross_affinity_churn()))
                .cgroup(half("free")),
        );
    Affinity smt_siblings [SMT] "pairs that spin on the two threads of a core, beside workers that are free"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("pairs").workers(4, Work::SmtSiblingSpin))
                .cgroup(half("free")),
        );

    WakeUps ping_pong [ANY] "pairs that wake one another through pipes and futexes, beside spinners"
        load()
            .backdrop(
                Cgroup::new("pairs").workers(4, Work::pipe_io()).workers(4, Work::futex_ping_pong()),
            )
            .step(step("alone", 0.5))
            .step(step("beside load", 0.5).cgroup(spinners("load", 100)));
    WakeUps wake_chain [ANY] "rings in which each wakes the next, by pipe and by futex"
        load().step(
            step("load", 1.0)
                .cgroup(
                    Cgroup::new("rings")
                        .workers(4, Work::wake_chain())
                        .workers(4, Work::WakeChain { depth: 4, futex: true, hop: ms(1) }),
                )
                .cgroup(half("load")),
        );
    WakeUps thundering_herd [ANY] "one wakes seven at once, again and again, beside spinners"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("herd").workers(8, Work::thundering_herd()))
                .cgroup(half("load")),
        );
    WakeUps fan_out [ANY] "one wakes four, and a messenger feeds four that compute"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("futexes").workers(5, Work::futex_fan_out()))
                .cgroup(Cgroup::new("messages").workers(5, Work::fan_out_compute())),
        );
    WakeUps producers_consumers [ANY] "more items than the consumers take, through a queue and through epoll"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("queue").workers(3, Work::producer_consumer_imbalance()))
                .cgroup(Cgroup::new("events").workers(3, Work::epoll_storm())),
        );
    WakeUps schbench [ANY] "messengers and workers as in schbench, beside a few spinners"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("bench").workers(1, Work::schbench()))
                .cgroup(half("load").weight(50)),
        );

    Priority nice_levels [ANY] "workers of three nice values that want more CPUs than there are"
        load().step(step("load", 1.0).cgroup(
            [-10, 0, 10].into_iter().fold(Cgroup::new("load"), |cgroup, nice| {
                cgroup.group(Workers::percent_of_cpus(100, Work::SpinWait).nice(nice))
            }),
        ));
    Priority rt_preempts [ANY] "real-time bursts preempt fair workers"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("bursts").workers(3, Work::preempt_storm()))
                .cgroup(spinners("fair", 100)),
        );
    Priority policies [ANY] "workers of every fair policy and of FIFO, and some that change theirs"
        load().step(
            step("load", 1.0).cgroup(
                Cgroup::new("load")
                    .workers(2, Work::SpinWait)
                    .group(Workers::exactly(2, Work::SpinWait).policy(Policy::Batch))
                    .group(Workers::exactly(2, Work::SpinWait).policy(Policy::Idle))
                    .group(
                        Workers::exactly(1, Work::bursty()).policy(Policy::Fifo { priority: 10 }),
                    )
                    .workers(2, Work::policy_churn()),
            ),
        );
    Priority deadlines [TWO_CPUS] "a deadline task of a tenth of a CPU beside more fair work than there are CPUs"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("deadline").group(
                    Workers::exactly(1, Work::SpinWait).policy(Policy::Deadline {
                        runtime: ms(2),
                        deadline: ms(20),
                        period: ms(20),
                    }),
                ))
                .cgroup(spinners("fair", 150)),
        );
    Priority inversion [ANY] "locks between three priorities, with and without inheritance"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("plain").workers(3, Work::priority_inversion()))
                .cgroup(Cgroup::new("inherits").workers(
                    3,
                    Work::PriorityInversion {
                        high: 1,
                        medium: 1,
                        low: 1,
                        hold: 4096,
                        work: 1024,
                        futex: Futex::Pi,
                    },
                ))
                .cgroup(Cgroup::new("convoy").workers(4, Work::mutex_contention())),
        );

    Memory cache_pressure [ANY] "footprints that push one another out of the caches"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("reads").workers(4, Work::cache_pressure()))
                .cgroup(Cgroup::new("yields").workers(2, Work::cache_yield()))
                .cgroup(Cgroup::new("passes").workers(2, Work::cache_pipe())),
        );
    Memory page_faults [ANY] "page faults under a memory limit, beside spinners"
        load().step(
            step("load", 1.0)
                .cgroup(
                    Cgroup::new("faults")
                        .memory_max(64 << 20)
                        .workers(4, Work::page_fault_churn()),
                )
                .cgroup(half("load")),
        );
    Memory numa_bound [TWO_NODES] "a cgroup on each of two nodes, with its memory there or far away"
        load().step(
            step("load", 1.0)
                .cgroup(
                    Cgroup::new("near")
                        .cpuset(Cpuset::node(0))
                        .mems("0")
                        .workers(2, Work::cache_pressure()),
                )
                .cgroup(
                    Cgroup::new("far").cpuset(Cpuset::node(0)).workers(2, Work::cache_pressure())
                        .memory_policy(MemoryPolicy::Bind {
                            nodes: vec![1],
                            flags: MemoryFlags::StaticNodes,
                        }),
                ),
        );
    Memory numa_moves [TWO_NODES] "working sets and workers that move from node to node"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("sets").workers(2, Work::numa_working_set_sweep()))
                .cgroup(Cgroup::new("workers").workers(2, Work::numa_migration_churn()))
                .cgroup(half("load")),
        );

    Io io_beside_cpu [ANY] "synchronous writes and random reads beside spinners"
        load().step(
            step("load", 1.0)
                .cgroup(
                    Cgroup::new("io")
                        .workers(2, Work::IoSyncWrite)
                        .workers(2, Work::IoRandRead),
                )
                .cgroup(spinners("load", 100)),
        );
    Io io_convoy [ANY] "writers and readers that wait for one another's syncs"
        load().step(step("load", 1.0).cgroup(Cgroup::new("io").workers(6, Work::IoConvoy)));

    Timers timer_latency [ANY] "absolute timers on a machine that is idle, then busy"
        load()
            .backdrop(Cgroup::new("timers").workers(2, Work::timer_latency()))
            .step(step("idle", 0.5))
            .step(step("busy", 0.5).cgroup(spinners("load", 100)));
    Timers idle_churn [ANY] "workers that go in and out of idle, with precise timers and without"
        load().step(
            step("load", 1.0).cgroup(
                Cgroup::new("idle").workers(2, Work::idle_churn()).workers(
                    2,
                    Work::IdleChurn { busy: ms(1), sleep: ms(5), precise: true },
                ),
            ),
        );
    Timers soft_interrupts [ANY] "datagrams whose soft interrupts wake workers, beside spinners"
        load().step(
            step("load", 1.0)
                .cgroup(
                    Cgroup::new("net")
                        .workers(1, Work::NetTraffic { interval: ms(1), bytes: 60 })
                        .workers(2, Work::irq_wake()),
                )
                .cgroup(half("load")),
        );

    Churn fork_storm [ANY] "processes that come and go in a small cgroup, and signals between them"
        load().step(
            step("load", 1.0)
                .cgroup(Cgroup::new("forks").pids_max(64).workers(4, Work::ForkExit))
                .cgroup(Cgroup::new("signals").workers(2, Work::signal_storm()))
                .cgroup(half("load")),
        );
    Churn attach_storm [ANY] "children that are forked into another cgroup, and tasks that move themselves"
        load().backdrop(Cgroup::new("target")).step(
            step("load", 1.0)
                .cgroup(Cgroup::new("source").workers(
                    2,
                    Work::CgroupAttachStorm { destination: "target".into(), reap: Default::default() },
                ))
                .cgroup(Cgroup::new("wanderers").workers(2, Work::cgroup_churn()))
                .cgroup(half("load")),
        );
    Churn attribute_churn [ANY] "nice values, policies and affinities that change all the time"
        load().step(
            step("load", 1.0).cgroup(
                Cgroup::new("load")
                    .workers(2, Work::NiceSweep)
                    .workers(2, Work::policy_churn())
                    .workers(2, Work::affinity_churn())
                    .workers(2, Work::YieldHeavy),
            ),
        );

    Schedulers (attached) scheduler_leaves [ANY] "the scheduler is detached under load, and the kernel's own takes over"
        load()
            .backdrop(half("spins"))
            .backdrop(Cgroup::new("talks").workers(4, Work::pipe_io()))
            .step(step("attached", 0.5))
            .step(step("detached", 0.5).op(Op::DetachScheduler));
    Schedulers (attached) scheduler_restart [ANY] "the scheduler is stopped and started again under load"
        load()
            .backdrop(half("spins"))
            .backdrop(Cgroup::new("sleeps").workers(4, Work::bursty()))
            .step(step("before", 0.25))
            .step(step("restarted", 0.375).op(Op::RestartScheduler))
            .step(step("restarted again", 0.375).op(Op::RestartScheduler));
}

/// The attached scheduler gives way to `other` under load: one that the test stages.
#[must_use]
pub fn scheduler_replace(other: &str) -> Scenario {
    Scenario::new()
        .named("scheduler_replace")
        .about("the scheduler gives way to another under load")
        .backdrop(half("spins"))
        .backdrop(Cgroup::new("talks").workers(4, Work::pipe_io()))
        .step(step("one", 0.5))
        .step(step("other", 0.5).op(Op::ReplaceScheduler { scheduler: other.to_owned() }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use belljar_topology::{Preset, Topology};

    use super::*;
    use crate::Schedulers;

    /// From one CPU to 36.
    fn small_topologies() -> impl Iterator<Item = Topology> {
        let counts = (0..36).map(|n| (n % 2 + 1, n / 2 % 3 + 1, n / 6 % 3 + 1, n / 18 + 1));
        counts.map(|(nodes, llcs, cores, threads)| {
            Topology::new(nodes, nodes * llcs, cores, threads).unwrap()
        })
    }

    #[test]
    fn every_scenario_fits_every_preset_that_it_accepts() {
        let mut fits = 0;
        for canned in all() {
            let scenario = (canned.make)();
            assert_eq!(
                (scenario.name.as_str(), scenario.about.as_str()),
                (canned.name, canned.about)
            );
            assert_eq!(scenario.length(), scenario.duration, "{}", canned.name);
            let attached = canned.needs_scheduler.then_some("mine");
            let schedulers = Schedulers { attached, ..Schedulers::default() };
            for preset in canned.min.presets().unwrap() {
                scenario.check(&preset.topology(), schedulers).unwrap();
                fits += 1;
            }
            for topology in small_topologies() {
                if canned.min.accepts(&topology).is_ok() {
                    scenario.check(&topology, schedulers).unwrap();
                    fits += 1;
                }
            }
        }
        assert!(fits > 20 * all().len(), "{fits}");
    }

    #[test]
    fn names_are_apart_and_groups_together() {
        let names: BTreeSet<_> = all().iter().map(|canned| canned.name).collect();
        assert_eq!(names.len(), all().len());
        assert!(all().is_sorted_by_key(|canned| canned.group));
        let groups: BTreeSet<_> = all().iter().map(|canned| canned.group).collect();
        assert_eq!(groups.len(), 11);
    }

    #[test]
    fn another_scheduler_must_be_staged() {
        let scenario = scheduler_replace("other");
        let topology = Preset::ALL[0].topology();
        let staged = Schedulers { attached: Some("mine"), staged: &["other"] };
        assert!(scenario.check(&topology, staged).is_ok());
        assert!(scenario.check(&topology, Schedulers::default()).is_err());
        assert_eq!(scenario.schedulers(), ["other"]);
    }
}
