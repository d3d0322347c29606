//! The share of pages on the nodes of the worker's CPUs.

use std::collections::BTreeSet;

use belljar_topology::NodeId;

use super::{Sense, Tally};
use crate::scene::{Scene, Scope, cpus, sum};
use crate::{CheckKind, Finding, Sourced, Subject, Unit};

/// Pages are counted once, when a worker ends: a step's own limit holds for the workers of that step.
pub(crate) fn locality(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<f64>) -> Vec<Finding> {
    let mut tally = Tally::new(CheckKind::PageLocality, scene, scope, &limit.origin).limit(
        Sense::AtLeast,
        limit.value,
        Unit::Plain,
    );
    if scene.topology.node_count() < 2 {
        return tally.meaningless("the machine has one node");
    }
    for part in scene.parts(scope).iter().filter(|part| part.is_whole) {
        let worker = part.worker;
        let subject = Subject::of(worker);
        let total = sum(worker.node_pages.iter().copied());
        if worker.node_pages.is_empty() {
            continue;
        }
        if total == 0 {
            tally.nothing_to_divide(part, "it had no resident page");
            continue;
        }
        let own: BTreeSet<NodeId> =
            worker.cpus_used.iter().filter_map(|cpu| scene.topology.node_of(cpu)).collect();
        if own.is_empty() {
            tally.nothing_to_divide(part, "no checkpoint found it on a CPU");
            continue;
        }
        let pages = |node: &NodeId| worker.node_pages.get(node.0 as usize).copied().unwrap_or(0);
        let local = sum(own.iter().map(pages));
        tally.measure(
            subject,
            local as f64 / total as f64,
            "share of pages on its own nodes:",
            |finding| {
                finding.at_ns = Some(scene.after(worker.ended_ns));
                finding.cpu = worker.cpus_used.iter().next_back();
                let nodes = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                finding
                    .facts
                    .push(format!("it ran on {}, of node {nodes}", cpus(&worker.cpus_used)));
                let by_node = worker.node_pages.iter().enumerate();
                let by_node: Vec<_> =
                    by_node.map(|(node, pages)| format!("{pages} on node {node}")).collect();
                finding.facts.push(format!("of its {total} pages were {}", by_node.join(", ")));
                finding.facts.push(format!(
                    "{} of its {} migrations went to another node",
                    worker.node_migrations, worker.migrations
                ));
                finding.facts.extend(scene.who_scheduled(worker.ended_ns));
            },
        );
    }
    tally.end("no worker has a working set that is counted")
}
