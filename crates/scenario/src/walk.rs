//! The order of play, walked through on paper: what is there at each point, and what it comes to.

mod act;

use std::collections::{BTreeMap, BTreeSet};

use belljar_topology::{CpuId, CpuSet, Topology, word};

use crate::fault::{self, Fault, fault};
use crate::problem::{Item, Problem, Site};
use crate::{Hold, Op, Resolved, Scenario, Schedulers, Setup, Step};

/// Plays a scenario on paper: what it comes to as far as it could be resolved, and what is wrong.
pub(crate) fn walk(
    scenario: &Scenario,
    topology: &Topology,
    schedulers: Schedulers<'_>,
) -> (Resolved, Vec<Problem>) {
    let root = Live {
        at: None,
        life: None,
        cpus: Some(topology.cpus()),
        nodes: Some(topology.node_ids().map(|node| CpuId(node.0)).collect()),
        pids_max: None,
        crews: Vec::new(),
    };
    let mut walk = Walk {
        scenario,
        topology,
        schedulers,
        attached: schedulers.attached.is_some(),
        cgroups: BTreeMap::from([(String::new(), root)]),
        payloads: BTreeMap::new(),
        gone: BTreeMap::new(),
        here: Here::default(),
        problems: Vec::new(),
        sites: BTreeMap::new(),
    };
    walk.play();
    (Resolved { sites: walk.sites }, walk.problems)
}

/// Until the end of which step something lives; none for that of the scenario.
type Life = Option<u32>;

struct Live {
    at: Option<Site>,
    life: Life,
    /// The CPUs it was confined to, if it was.
    cpus: Option<CpuSet>,
    /// The memory nodes it was confined to, if it was.
    nodes: Option<CpuSet>,
    pids_max: Option<u32>,
    crews: Vec<Crew>,
}

/// A group of workers.
struct Crew {
    life: Life,
    count: u32,
    deadline: bool,
    churns_siblings: bool,
}

struct Running {
    cgroup: String,
    life: Life,
    at: Site,
}

/// Where the walk is: what problems say about themselves.
#[derive(Default)]
struct Here {
    site: Option<Site>,
    operation: &'static str,
    cgroup: String,
    group: Option<u32>,
    repeated: bool,
}

struct Walk<'a> {
    scenario: &'a Scenario,
    topology: &'a Topology,
    schedulers: Schedulers<'a>,
    attached: bool,
    /// By path; the root's is empty.
    cgroups: BTreeMap<String, Live>,
    payloads: BTreeMap<String, Running>,
    /// What became of names that are no more.
    gone: BTreeMap<Name, String>,
    here: Here,
    problems: Vec<Problem>,
    sites: BTreeMap<Site, Setup>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Cgroup(String),
    Payload(String),
}

impl Walk<'_> {
    fn play(&mut self) {
        let Scenario { backdrop, steps, duration, .. } = self.scenario;
        if steps.is_empty() {
            self.wrong(fault(
                "steps",
                "it has no step: add one, as in `Step::new(\"load\")`".into(),
            ));
        } else if backdrop == &crate::Backdrop::default()
            && steps.iter().all(|step| step.cgroups.is_empty() && step.ops.is_empty())
        {
            let message = "it is empty: give a step a cgroup with workers, or an operation";
            self.wrong(fault("steps", message.into()));
        }
        if duration.is_zero() {
            self.wrong(fault("duration", "its duration is 0: give more".into()));
        }
        for (index, cgroup) in (0..).zip(&backdrop.cgroups) {
            self.at(None, Item::Cgroup(index), "");
            self.define(cgroup, None);
        }
        self.operations(&backdrop.ops, None);
        for (index, payload) in (0..).zip(&backdrop.payloads) {
            self.at(None, Item::Payload(index), "");
            self.run(payload, None);
        }
        let mut names = BTreeSet::new();
        for (number, step) in (0..).zip(steps) {
            self.at(Some(number), Item::Whole, "");
            if step.name.is_empty() {
                self.wrong(fault("name", "its name is empty: give one".into()));
            } else if !names.insert(&step.name) {
                let message = format!("another step is called `{}`: name them apart", step.name);
                self.wrong(fault(&step.name, message));
            }
            self.step(step, number);
        }
    }

    fn step(&mut self, step: &Step, number: u32) {
        let life = Some(number);
        for (index, cgroup) in (0..).zip(&step.cgroups) {
            self.at(life, Item::Cgroup(index), "");
            self.define(cgroup, life);
        }
        self.operations(&step.ops, life);
        self.at(life, Item::Hold, "");
        self.wrong_all(fault::hold(&step.hold, self.scenario.duration));
        if let Hold::Loop { .. } = step.hold {
            self.here.repeated = true;
            self.operations(&step.ops, life);
            self.here.repeated = false;
        }
        let how = format!("it lives in {} alone", site(life, Item::Whole).in_words(&step.name));
        for (name, _) in self.cgroups.extract_if(.., |_, cgroup| cgroup.life == life) {
            self.gone.insert(Name::Cgroup(name), how.clone());
        }
        for cgroup in self.cgroups.values_mut() {
            cgroup.crews.retain(|crew| crew.life != life);
        }
        for (name, _) in self.payloads.extract_if(.., |_, payload| payload.life == life) {
            self.gone.insert(Name::Payload(name), how.clone());
        }
    }

    fn operations(&mut self, ops: &[Op], life: Life) {
        for (index, op) in (0..).zip(ops) {
            self.at(life, Item::Op(index), op.name());
            self.op(op, life);
        }
    }

    fn at(&mut self, step: Life, item: Item, operation: &'static str) {
        let site = Some(site(step, item));
        let repeated = self.here.repeated;
        self.here = Here { site, operation, repeated, ..Here::default() };
    }

    fn words(&self, site: Site) -> String {
        let step = site.step.and_then(|step| self.scenario.steps.get(step as usize));
        site.in_words(step.map_or("", |step| &step.name))
    }

    fn here_in_words(&self) -> String {
        self.here.site.map_or_else(|| "the scenario".into(), |site| self.words(site))
    }

    fn wrong(&mut self, Fault { word, message }: Fault) {
        let Here { site, operation, ref cgroup, group, repeated } = self.here;
        // What is wrong the first time is told once.
        if repeated && self.problems.iter().any(|problem| problem.site == site) {
            return;
        }
        let step = site.and_then(|site| self.scenario.steps.get(site.step? as usize));
        let step = step.map_or_else(String::new, |step| step.name.clone());
        let cgroup = cgroup.clone();
        self.problems.push(Problem {
            site,
            step,
            operation,
            cgroup,
            group,
            word,
            message,
            repeated,
        });
    }

    fn wrong_all(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.wrong(fault);
        }
    }

    /// ``did you mean `x`?``, or all that there are.
    fn advice<'n>(word: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
        if let Some(closest) = word::closest(word, known.clone()) {
            return format!("did you mean `{closest}`?");
        }
        match known.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "there is none here".into(),
            all => format!("there are {all}"),
        }
    }

    /// Whether there is a cgroup of that name; the root, too, only where it is said.
    fn knows(&mut self, name: &str, root: bool) -> bool {
        if self.cgroups.contains_key(name) && (root || !name.is_empty()) {
            return true;
        }
        let message = if name.is_empty() {
            "the scenario's root cannot be used here: name a cgroup".into()
        } else if let Some(how) = self.gone.get(&Name::Cgroup(name.to_owned())) {
            format!("there is no cgroup `{name}` any more: {how}")
        } else {
            let known = self.cgroups.keys().map(String::as_str).filter(|known| !known.is_empty());
            format!("no cgroup is called `{}`; {}", word::clip(name), Self::advice(name, known))
        };
        self.wrong(fault(name, message));
        false
    }

    /// The CPUs that a cgroup really has: the kernel takes away what its ancestors have not.
    fn effective(&self, name: &str, of: fn(&Live) -> Option<&CpuSet>) -> CpuSet {
        let own = self.cgroups.get(name).and_then(of);
        if name.is_empty() {
            return own.cloned().unwrap_or_default();
        }
        let parents = self.effective(parent(name), of);
        own.map_or_else(|| parents.clone(), |own| own.intersection(&parents))
    }

    fn cpus(&self, name: &str) -> CpuSet {
        self.effective(name, |cgroup| cgroup.cpus.as_ref())
    }

    fn nodes(&self, name: &str) -> CpuSet {
        self.effective(name, |cgroup| cgroup.nodes.as_ref())
    }

    fn below<'n>(&'n self, name: &'n str) -> impl Iterator<Item = (&'n String, &'n Live)> {
        self.cgroups.iter().filter(move |(other, _)| is_below(other, name))
    }

    fn has_tasks(&self, name: &str) -> bool {
        self.cgroups.get(name).is_some_and(|cgroup| !cgroup.crews.is_empty())
            || self.payloads.values().any(|payload| payload.cgroup == name)
    }

    /// That no cgroup has more tasks than it may.
    fn count_tasks(&mut self, name: &str) {
        for limited in ancestors(name) {
            let Some(most) = self.cgroups.get(limited).and_then(|cgroup| cgroup.pids_max) else {
                continue;
            };
            let within = |other: &str| other == limited || is_below(other, limited);
            let crews = self.cgroups.iter().filter(|(other, _)| within(other));
            let crews = crews.flat_map(|(_, cgroup)| &cgroup.crews);
            let workers: u64 = crews.map(|crew| u64::from(crew.count)).sum();
            let payloads = self.payloads.values().filter(|payload| within(&payload.cgroup)).count();
            let tasks = workers + payloads as u64;
            if tasks > u64::from(most) {
                let message = format!(
                    "`{limited}` comes to {tasks} tasks with pids_max {most}: give fewer, or pids_max \
                     {tasks} or more"
                );
                self.wrong(fault("pids_max", message));
            }
        }
    }

    /// That every cgroup below has a CPU left.
    fn leave_cpus_to_children(&mut self, name: &str) {
        let cpus = self.cpus(name);
        let bare = self.below(name).find(|(child, _)| self.cpus(child).is_empty());
        if let Some((child, confined)) = bare {
            let message = format!(
                "CPUs {cpus} leave none to the child `{child}`, which is confined to {}: change the \
                 child first",
                confined.cpus.clone().unwrap_or_default()
            );
            let child = child.clone();
            self.wrong(fault(child, message));
        }
    }
}

fn site(step: Life, item: Item) -> Site {
    Site { step, item }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_below(name: &str, ancestor: &str) -> bool {
    if ancestor.is_empty() {
        return !name.is_empty();
    }
    name.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('/'))
}

/// A cgroup and those that it is in, up to the one below the root.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| Some(parent(name))).take_while(|name| !name.is_empty())
}
