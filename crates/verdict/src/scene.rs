//! The evidence as checks look at it: parts of it, and what surrounds a moment, a CPU or a worker.

use belljar_topology::{CpuId, CpuSet, Topology};

use crate::evidence::{
    CgroupEvidence, Evidence, Gap, Latency, SchedulerReport, WorkerEnd, WorkerReport,
};
use crate::finding::cgroup_name;
use crate::judge::Mode;
use crate::text::{duration_ns, one_line};
use crate::{StepName, Subject};

/// The evidence and the machine it comes from.
pub(crate) struct Scene<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) mode: Mode,
    pub(crate) topology: &'a Topology,
}

/// The part of a run that a limit holds for.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All of it but the holds of these steps.
    Run { except: Vec<u32> },
    /// The hold of a step.
    Step(StepName),
}

impl Scope {
    /// The step's number.
    pub(crate) fn step(&self) -> Option<u32> {
        match self {
            Self::Run { .. } => None,
            Self::Step(step) => Some(step.index),
        }
    }

    /// Whether something that happened in this step, or outside of all, is in the scope.
    pub(crate) fn has(&self, step: Option<u32>) -> bool {
        match self {
            Self::Run { except } => step.is_none_or(|step| !except.contains(&step)),
            Self::Step(own) => step == Some(own.index),
        }
    }
}

/// What one worker did in a scope.
pub(crate) struct Part<'a> {
    pub(crate) worker: &'a WorkerReport,
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) run_delay_ns: u64,
    pub(crate) units: u64,
    pub(crate) iterations: u64,
    pub(crate) migrations: u64,
    pub(crate) node_migrations: u64,
    pub(crate) gap: Gap,
    /// Summaries of wake latency: one, or one for each step.
    pub(crate) wakes: Vec<&'a Latency>,
    /// The worker's whole life is in the scope, so figures that are kept for a life mean it.
    pub(crate) is_whole: bool,
}

impl<'a> Part<'a> {
    /// The part of the worker's life that is in the scope; `None` if it did not live in it.
    fn new(worker: &'a WorkerReport, scope: &Scope) -> Option<Self> {
        let life_ns = worker.ended_ns.saturating_sub(worker.began_ns);
        let mut part = Self {
            worker,
            wall_ns: life_ns,
            cpu_ns: worker.cpu_ns,
            run_delay_ns: worker.run_delay_ns,
            units: worker.units,
            iterations: worker.iterations,
            migrations: worker.migrations,
            node_migrations: worker.node_migrations,
            gap: worker.gap.clone(),
            wakes: vec![&worker.wake],
            is_whole: true,
        };
        match scope {
            Scope::Run { except } => {
                if worker.step.is_some_and(|step| except.contains(&step)) {
                    return None;
                }
                let (out, kept): (Vec<_>, Vec<_>) =
                    worker.slices.iter().partition(|slice| except.contains(&slice.step));
                for slice in &out {
                    part.is_whole = false;
                    part.wall_ns = part.wall_ns.saturating_sub(slice.wall_ns);
                    part.cpu_ns = part.cpu_ns.saturating_sub(slice.cpu_ns);
                    part.run_delay_ns = part.run_delay_ns.saturating_sub(slice.run_delay_ns);
                    part.units = part.units.saturating_sub(slice.units);
                    part.iterations = part.iterations.saturating_sub(slice.iterations);
                    part.migrations = part.migrations.saturating_sub(slice.migrations);
                    part.node_migrations =
                        part.node_migrations.saturating_sub(slice.node_migrations);
                }
                if !scope.has(part.gap.step) {
                    let longest = kept.iter().map(|slice| &slice.gap).max_by_key(|gap| gap.wall_ns);
                    part.gap = longest.cloned().unwrap_or_default();
                }
                if !part.is_whole {
                    part.wakes = kept.iter().filter_map(|slice| slice.wake.as_ref()).collect();
                }
            }
            Scope::Step(step) => {
                let slice = worker.slices.iter().find(|slice| slice.step == step.index)?;
                part.is_whole = worker.step == Some(step.index);
                part.wall_ns = slice.wall_ns;
                part.cpu_ns = slice.cpu_ns;
                part.run_delay_ns = slice.run_delay_ns;
                part.units = slice.units;
                part.iterations = slice.iterations;
                part.migrations = slice.migrations;
                part.node_migrations = slice.node_migrations;
                part.gap = slice.gap.clone();
                part.wakes = match &slice.wake {
                    Some(wake) => vec![wake],
                    None if part.is_whole => vec![&worker.wake],
                    None => Vec::new(),
                };
            }
        }
        Some(part)
    }

    /// The workers that it is fair to compare it with have the same key: they were started in the same
    /// place at the same time to do the same.
    pub(crate) fn cohort(&self) -> (&'a str, Option<u32>, u32, &'a str) {
        let worker = self.worker;
        (&worker.cgroup, worker.step, worker.group, &worker.role)
    }

    /// It could have run and never did: whatever has nothing to divide by is the policy's doing.
    pub(crate) fn is_starved(&self) -> bool {
        self.cpu_ns == 0 && self.run_delay_ns > 0
    }

    /// How its time was spent.
    pub(crate) fn time_spent(&self) -> String {
        format!(
            "in {} it ran {} and was runnable without running for {}",
            duration_ns(self.wall_ns),
            duration_ns(self.cpu_ns),
            duration_ns(self.run_delay_ns)
        )
    }
}

/// A sum of counts that come from a guest, which may have written anything.
pub(crate) fn sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// A count with its noun: `1 worker`, `2 workers`.
pub(crate) fn counted_as(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// CPUs as text has them, also none.
pub(crate) fn cpus(set: &CpuSet) -> String {
    match set.len() {
        0 => "no CPU".to_owned(),
        1 => format!("CPU {set}"),
        _ => format!("CPUs {set}"),
    }
}

/// Neighbours of a worker on a CPU that are named.
const NEIGHBOURS_SHOWN: usize = 2;

impl<'a> Scene<'a> {
    /// What the workers that were started did in a scope.
    pub(crate) fn parts(&self, scope: &Scope) -> Vec<Part<'a>> {
        let started = |worker: &&WorkerReport| {
            !matches!(worker.end, WorkerEnd::NotStarted { .. } | WorkerEnd::Failed { .. })
        };
        let workers = self.evidence.workers.iter().filter(started);
        workers.filter_map(|worker| Part::new(worker, scope)).collect()
    }

    /// Parts by cohort or another key, in order of first appearance.
    pub(crate) fn grouped<'p, K: PartialEq>(
        parts: &'p [Part<'a>],
        key: impl Fn(&Part<'a>) -> K,
    ) -> Vec<Vec<&'p Part<'a>>> {
        let mut groups: Vec<(K, Vec<&Part<'_>>)> = Vec::new();
        for part in parts {
            let key = key(part);
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, group)) => group.push(part),
                None => groups.push((key, vec![part])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// A moment as findings have it: from the scenario's beginning.
    pub(crate) fn after(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.evidence.began_ns)
    }

    /// The step with this number.
    pub(crate) fn step(&self, index: Option<u32>) -> Option<StepName> {
        let index = index?;
        let name = self.evidence.steps.get(index as usize).map_or("", |step| &step.name);
        Some(StepName { index, name: name.to_owned() })
    }

    /// The step that was played at this moment.
    pub(crate) fn step_at(&self, at_ns: u64) -> Option<u32> {
        let is_in = |step: &&crate::evidence::StepEvidence| {
            (step.began_ns..=step.ended_ns).contains(&at_ns)
        };
        let at = self.evidence.steps.iter().rev().find(is_in)?;
        self.evidence.steps.iter().position(|step| std::ptr::eq(step, at)).map(|index| index as u32)
    }

    /// The scheduler that was in charge at this moment, and since when.
    pub(crate) fn who_scheduled(&self, at_ns: u64) -> Option<String> {
        let attached = |it: &&SchedulerReport| {
            it.attached_ns.is_some_and(|from| from <= at_ns)
                && it.ended_ns.is_none_or(|to| to >= at_ns)
        };
        let schedulers = &self.evidence.schedulers;
        if schedulers.is_empty() {
            return None;
        }
        Some(match schedulers.iter().rev().find(attached) {
            Some(it) => {
                format!("the scheduler {} was attached {}", one_line(&it.name, 60), self.since(it))
            }
            None => "no scheduler under test was attached then".to_owned(),
        })
    }

    /// Since when a scheduler was attached.
    pub(crate) fn since(&self, scheduler: &SchedulerReport) -> String {
        match scheduler.attached_ns {
            Some(at_ns) if at_ns > self.evidence.began_ns => {
                format!("since {}", duration_ns(self.after(at_ns)))
            }
            _ => "since before the start".to_owned(),
        }
    }

    /// How many workers share how many CPUs with a worker in its cgroup.
    pub(crate) fn crowd(&self, worker: &WorkerReport) -> Option<String> {
        let (name, step) = (&worker.cgroup, worker.step);
        let cgroup = self.evidence.cgroups.iter().find(|it| (&it.name, it.step) == (name, step))?;
        let of_cgroup = |it: &&WorkerReport| (&it.cgroup, it.step) == (name, step);
        let workers = self.evidence.workers.iter().filter(of_cgroup).count();
        let (name, cpus) = (cgroup_name(name), &cgroup.cpus);
        let (has, on) = (counted_as(workers, "worker"), counted_as(cpus.len(), "CPU"));
        (!cpus.is_empty()).then(|| format!("{name} has {has} on {on} ({cpus})"))
    }

    /// Who else used a CPU, those with the most CPU time first.
    pub(crate) fn neighbours(&self, worker: &WorkerReport, cpu: CpuId) -> String {
        let is_other =
            |it: &&WorkerReport| !std::ptr::eq(*it, worker) && it.cpus_used.contains(cpu);
        let mut others: Vec<_> = self.evidence.workers.iter().filter(is_other).collect();
        others.sort_by_key(|it| std::cmp::Reverse(it.cpu_ns));
        if others.is_empty() {
            return format!("no other worker was seen on CPU {cpu}");
        }
        let named = others.iter().take(NEIGHBOURS_SHOWN);
        let mut named: Vec<_> = named
            .map(|it| {
                format!(
                    "{} ({} of CPU time in all)",
                    Subject::of(it).short(),
                    duration_ns(it.cpu_ns)
                )
            })
            .collect();
        if others.len() > NEIGHBOURS_SHOWN {
            named.push(format!("{} more", others.len() - NEIGHBOURS_SHOWN));
        }
        format!("CPU {cpu} was also used by {}", named.join(", "))
    }

    /// What the others in the same cgroup got.
    pub(crate) fn peers(&self, part: &Part<'a>, parts: &[Part<'a>]) -> Option<String> {
        let own = part.worker;
        let is_peer = |it: &&Part<'_>| {
            !std::ptr::eq(it.worker, own)
                && (&it.worker.cgroup, it.worker.step) == (&own.cgroup, own.step)
        };
        let mut times: Vec<u64> = parts.iter().filter(is_peer).map(|it| it.cpu_ns).collect();
        times.sort_unstable();
        let range = match &times[..] {
            [] => return None,
            [only] => {
                format!("its peer in {} got {}", cgroup_name(&own.cgroup), duration_ns(*only))
            }
            [least, .., most] => format!(
                "its {} peers in {} got {} to {}",
                times.len(),
                cgroup_name(&own.cgroup),
                duration_ns(*least),
                duration_ns(*most)
            ),
        };
        Some(format!("{range} of CPU time"))
    }

    /// Whether a quota held the worker's cgroup back, or one that it is in.
    pub(crate) fn quota(&self, worker: &WorkerReport) -> Option<String> {
        let is_around = |it: &&CgroupEvidence| {
            let rest = worker.cgroup.strip_prefix(&it.name);
            it.throttled > 0
                && it.step.is_none_or(|step| worker.step == Some(step))
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let cgroup = self.evidence.cgroups.iter().find(is_around)?;
        Some(format!(
            "the quota of {} held it back {} times, for {} of CPU time",
            cgroup_name(&cgroup.name),
            cgroup.throttled,
            duration_ns(cgroup.throttled_ns)
        ))
    }
}
