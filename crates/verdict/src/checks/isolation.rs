//! Workers stayed on the CPUs they were allowed.

use super::Tally;
use crate::scene::{Scene, Scope, cpus};
use crate::{CheckKind, Finding, Sourced, Subject};

pub(crate) fn isolation(scene: &Scene<'_>, scope: &Scope, on: &Sourced<bool>) -> Vec<Finding> {
    if !on.value {
        return Vec::new();
    }
    let mut tally = Tally::new(CheckKind::Isolation, scene, scope, &on.origin);
    for part in scene.parts(scope) {
        let worker = part.worker;
        let mut strays = worker.strays.iter().filter(|stray| scope.has(stray.step));
        let Some(first) = strays.next() else {
            tally.good(Subject::of(worker));
            continue;
        };
        let text = format!("ran on CPU {}, allowed: {}", first.cpu, cpus(&first.allowed));
        let finding = tally.bad(Subject::of(worker), text);
        finding.cpu = Some(first.cpu);
        finding.at_ns = Some(scene.after(first.at_ns));
        finding.step = scene.step(first.step).or_else(|| finding.step.take());
        let more: Vec<_> = strays.map(|stray| stray.cpu.to_string()).collect();
        finding.measured = Some(1.0 + more.len() as f64);
        if !more.is_empty() {
            finding.facts.push(format!("it was later found on CPUs {} as well", more.join(", ")));
        }
        finding.facts.push(format!(
            "checkpoints found it on {} and saw {} migrations",
            cpus(&worker.cpus_used),
            worker.migrations
        ));
        finding.facts.extend(scene.who_scheduled(first.at_ns));
    }
    tally.end("no worker took part")
}
