//! A scenario for people: a tree of what lives when, and what its words come to.

use std::fmt::Write as _;

use belljar_topology::Topology;

use crate::problem::{Item, Site};
use crate::{
    Affinity, Cgroup, Cpuset, Hold, MemoryPolicy, Op, Payload, Policy, Resolved, Scenario,
    Schedulers, Setup, Work, Workers, walk,
};

impl Scenario {
    /// A tree for people: backdrop and steps with their cgroups, workers, operations and holds, and
    /// the CPUs and numbers of workers that they come to on `topology`. What does not resolve is left
    /// as it is worded; [`Scenario::check`] says why.
    #[must_use]
    pub fn render(&self, topology: &Topology) -> String {
        let (resolved, _) = walk::walk(self, topology, Schedulers::default());
        let name = if self.name.is_empty() { "scenario" } else { &self.name };
        let colon = if self.about.is_empty() { "" } else { ": " };
        let cpus = topology.cpus();
        let mut root = Tree::leaf(format!(
            "{name}{colon}{}\n{:?} of guest time on {topology}, CPUs {cpus}",
            self.about,
            self.length()
        ));
        let place = Place { step: None, resolved: &resolved };
        let backdrop = &self.backdrop;
        let mut always = Tree::leaf("backdrop".into());
        always.children.extend(place.cgroups(&backdrop.cgroups));
        always.children.extend(place.operations(&backdrop.ops));
        always.children.extend(backdrop.payloads.iter().map(payload));
        if !always.children.is_empty() {
            root.children.push(always);
        }
        for (number, step) in (0u32..).zip(&self.steps) {
            let place = Place { step: Some(number), resolved: &resolved };
            let mut tree = Tree::leaf(format!("step {} `{}`", u64::from(number) + 1, step.name));
            tree.children.extend(place.cgroups(&step.cgroups));
            tree.children.extend(place.operations(&step.ops));
            let time = step.hold.time(self.duration);
            tree.children.push(Tree::leaf(match step.hold {
                Hold::Fraction { .. } | Hold::Fixed { .. } => format!("hold {time:?}"),
                Hold::Loop { interval, .. } => {
                    format!("hold {time:?}, operations again every {interval:?}")
                }
            }));
            root.children.push(tree);
        }
        let mut text = root.label.clone();
        root.write_children("", &mut text);
        text
    }
}

/// A line and what belongs to it.
struct Tree {
    label: String,
    children: Vec<Tree>,
}

impl Tree {
    fn leaf(label: String) -> Self {
        Self { label, children: Vec::new() }
    }

    fn write_children(&self, indent: &str, text: &mut String) {
        for (left, child) in (0..self.children.len()).rev().zip(&self.children) {
            let (branch, below) = if left == 0 { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            write!(text, "\n{indent}{branch}{}", child.label).expect("strings take all writes");
            child.write_children(&format!("{indent}{below}"), text);
        }
    }
}

/// The backdrop or a step.
struct Place<'a> {
    step: Option<u32>,
    resolved: &'a Resolved,
}

impl Place<'_> {
    fn setup(&self, item: Item) -> Option<&Setup> {
        self.resolved.sites.get(&Site { step: self.step, item })
    }

    fn cgroups(&self, cgroups: &[Cgroup]) -> impl Iterator<Item = Tree> {
        (0..).zip(cgroups).map(|(index, it)| cgroup(it, self.setup(Item::Cgroup(index)), "cgroup"))
    }

    fn operations(&self, ops: &[Op]) -> impl Iterator<Item = Tree> {
        (0..).zip(ops).map(|(index, op)| operation(op, self.setup(Item::Op(index))))
    }
}

/// `LLC 1 = CPUs 4-7`.
fn cpus(words: &Cpuset, setup: Option<&Setup>) -> String {
    match (words, setup) {
        (Cpuset::Exact { .. }, _) | (_, None) => words.to_string(),
        (_, Some(setup)) if setup.cpus.is_empty() => words.to_string(),
        (_, Some(setup)) => format!("{words} = CPUs {}", setup.cpus),
    }
}

fn cgroup(cgroup: &Cgroup, setup: Option<&Setup>, word: &str) -> Tree {
    let mut label = format!("{word} {}", cgroup.name);
    let mut add = |text: String| {
        label.push_str(", ");
        label.push_str(&text);
    };
    match (&cgroup.cpuset, setup) {
        (Some(words), setup) => add(cpus(words, setup)),
        (None, Some(setup)) => add(format!("CPUs {}", setup.cpus)),
        (None, None) => {}
    }
    for (word, value) in [
        ("nodes", cgroup.mems.clone()),
        ("weight", cgroup.weight.map(|weight| weight.to_string())),
        ("quota", cgroup.quota_pct.map(|percent| format!("{percent}%"))),
        ("memory max", cgroup.memory_max_bytes.map(bytes)),
        ("memory high", cgroup.memory_high_bytes.map(bytes)),
        ("memory low", cgroup.memory_low_bytes.map(bytes)),
        ("swap max", cgroup.swap_max_bytes.map(bytes)),
        ("io weight", cgroup.io_weight.map(|weight| weight.to_string())),
        ("pids max", cgroup.pids_max.map(|pids| pids.to_string())),
    ] {
        if let Some(value) = value {
            add(format!("{word} {value}"));
        }
    }
    if cgroup.swappable {
        add("swappable".into());
    }
    let counts = setup.map_or(&[][..], |setup| &setup.counts);
    let counts = counts.iter().map(|count| Some(*count)).chain(std::iter::repeat(None));
    let groups = cgroup.workers.iter().zip(counts);
    Tree { label, children: groups.map(|(group, count)| workers(group, count)).collect() }
}

fn bytes(bytes: u64) -> String {
    crate::Value::Bytes(bytes).to_string()
}

fn workers(workers: &Workers, count: Option<u32>) -> Tree {
    let count = count.map_or_else(|| workers.count.to_string(), |count| count.to_string());
    let mut label = format!("{count} x {}", workers.work.name());
    let parameters = workers.work.parameters();
    if !parameters.is_empty() {
        let parameters: Vec<String> = parameters.iter().map(ToString::to_string).collect();
        label.push_str(&format!(" ({})", parameters.join(", ")));
    }
    let own = |text: Option<&String>, word: &str| text.map(|text| format!("{word} {text}"));
    let differs = |differs: bool, text: String| differs.then_some(text);
    let pairs = workers.work == Work::SmtSiblingSpin && workers.affinity == Affinity::Inherit;
    let affinity = if pairs { &Affinity::SmtSiblingPair } else { &workers.affinity };
    for text in [
        own(workers.comm.as_ref(), "comm"),
        own(workers.process.as_ref(), "threads of"),
        differs(workers.nice != 0, format!("nice {}", workers.nice)),
        differs(workers.policy != Policy::Normal, format!("policy {}", workers.policy)),
        differs(*affinity != Affinity::Inherit, format!("bound {affinity}")),
        differs(workers.memory != MemoryPolicy::Default, format!("memory {}", workers.memory)),
        workers.uid.map(|uid| format!("uid {uid}")),
        workers.gid.map(|gid| format!("gid {gid}")),
    ]
    .into_iter()
    .flatten()
    {
        label.push_str(", ");
        label.push_str(&text);
    }
    Tree::leaf(label)
}

fn payload(payload: &Payload) -> Tree {
    let mut label = format!("payload {}: {}", payload.name, payload.program);
    for arg in &payload.args {
        label.push(' ');
        label.push_str(arg);
    }
    label.push_str(&format!(", in {}", root_or(&payload.cgroup)));
    if let Some(timeout) = payload.timeout {
        label.push_str(&format!(", at most {:?}", timeout.0));
    }
    Tree::leaf(label)
}

fn root_or(cgroup: &str) -> &str {
    if cgroup.is_empty() { "the scenario's root" } else { cgroup }
}

fn operation(op: &Op, setup: Option<&Setup>) -> Tree {
    let name = op.name();
    let now = |setup: &Setup| format!(": CPUs {}", setup.cpus);
    let text = match op {
        Op::AddCgroup { cgroup: added } => return cgroup(added, setup, name),
        Op::Spawn { cgroup, workers: group } => {
            let count = setup.and_then(|setup| setup.counts.first().copied());
            let label = format!("{name} in {}", root_or(cgroup));
            return Tree { label, children: vec![workers(group, count)] };
        }
        Op::RunPayload { payload: run } => {
            return Tree { label: name.into(), children: vec![payload(run)] };
        }
        Op::RemoveCgroup { cgroup }
        | Op::StopCgroup { cgroup }
        | Op::Freeze { cgroup }
        | Op::Unfreeze { cgroup } => cgroup.clone(),
        Op::ClearCpuset { cgroup } => {
            format!("{cgroup}{}", setup.map_or_else(String::new, now))
        }
        Op::SetCpuset { cgroup, cpus: words } => format!("{cgroup}: {}", cpus(words, setup)),
        Op::SwapCpusets { a, b } => format!("{a} and {b}"),
        Op::SetWeight { cgroup, weight } => format!("{cgroup}: {weight}"),
        Op::SetQuota { cgroup, percent: Some(percent) } => format!("{cgroup}: {percent}%"),
        Op::SetQuota { cgroup, percent: None } => format!("{cgroup}: none"),
        Op::MoveAllTasks { from, to } => format!("{from} to {}", root_or(to)),
        Op::SetAffinity { cgroup, affinity } => format!("{cgroup}: {affinity}"),
        Op::WaitPayload { payload } | Op::KillPayload { payload } => payload.clone(),
        Op::AttachScheduler { scheduler } | Op::ReplaceScheduler { scheduler } => scheduler.clone(),
        Op::DetachScheduler | Op::RestartScheduler => return Tree::leaf(name.into()),
        Op::CaptureProcs { cgroup, tag } => format!("{cgroup} as {tag}"),
        Op::CaptureFile { path, tag } => format!("{path} as {tag}"),
    };
    Tree::leaf(format!("{name} {text}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{MemoryFlags, Step};

    #[test]
    fn everything_is_shown() {
        let ms = Duration::from_millis;
        let bind = MemoryPolicy::Bind { nodes: vec![0], flags: MemoryFlags::StaticNodes };
        let scenario = Scenario::new()
            .named("squeeze")
            .about("a cgroup loses its CPUs under load")
            .backdrop(
                Cgroup::new("load")
                    .cpuset(Cpuset::node(0))
                    .mems("0")
                    .weight(200)
                    .quota_pct(150)
                    .memory_max(64 << 20)
                    .pids_max(100)
                    .swappable()
                    .group(Workers::percent_of_cpus(150, Work::SpinWait).nice(5).user(1, 2))
                    .group(
                        Workers::exactly(5, Work::futex_fan_out())
                            .comm("fan")
                            .threads_of("fans")
                            .affinity(Affinity::LlcAligned)
                            .memory(bind),
                    ),
            )
            .backdrop_payload(Payload::new("fio").args(&["--version"]).timeout(ms(300)))
            .step(Step::new("wide").cgroup(Cgroup::new("beside")).hold(ms(500)))
            .step(
                Step::new("narrow")
                    .op(Op::SetCpuset { cgroup: "load".into(), cpus: Cpuset::llc(1) })
                    .op(Op::SetAffinity { cgroup: "load".into(), affinity: Affinity::SingleCpu })
                    .op(Op::Spawn {
                        cgroup: String::new(),
                        workers: Box::new(
                            Workers::exactly(1, Work::SpinWait)
                                .policy(Policy::Fifo { priority: 1 }),
                        ),
                    })
                    .op(Op::ClearCpuset { cgroup: "load".into() })
                    .op(Op::RestartScheduler)
                    .op(Op::MoveAllTasks { from: "load".into(), to: String::new() })
                    .hold_loop(ms(100), 0.25),
            )
            .step(Step::new("wrong").cgroup(Cgroup::new("none").cpuset(Cpuset::llc(9))));
        let text = scenario.render(&"2n4l2c1t".parse().unwrap());
        insta::assert_snapshot!(text, @r"
        squeeze: a cgroup loses its CPUs under load
        3s of guest time on 2n4l2c1t, CPUs 0-7
        ├─ backdrop
        │  ├─ cgroup load, node 0 = CPUs 0-3, nodes 0, weight 200, quota 150%, memory max 64 MiB, pids max 100, swappable
        │  │  ├─ 6 x SpinWait, nice 5, uid 1, gid 2
        │  │  └─ 5 x FutexFanOut (fan_out 4, spin 1024), comm fan, threads of fans, bound each to an LLC in turn, memory bind 0 (static nodes)
        │  └─ payload fio: fio --version, in the scenario's root, at most 300ms
        ├─ step 1 `wide`
        │  ├─ cgroup beside, CPUs 0-7
        │  └─ hold 500ms
        ├─ step 2 `narrow`
        │  ├─ set-cpuset load: LLC 1 = CPUs 2-3
        │  ├─ set-affinity load: each to a CPU in turn
        │  ├─ spawn in the scenario's root
        │  │  └─ 1 x SpinWait, policy fifo 1
        │  ├─ clear-cpuset load: CPUs 0-7
        │  ├─ restart-scheduler
        │  ├─ move-all-tasks load to the scenario's root
        │  └─ hold 500ms, operations again every 100ms
        └─ step 3 `wrong`
           ├─ cgroup none, LLC 9
           └─ hold 2s
        ");
    }
}
