//! Migrations of the workers of a cgroup.

use super::{Sense, Tally};
use crate::scene::{Part, Scene, Scope, counted_as, cpus, sum};
use crate::text::duration_ns;
use crate::{CheckKind, Finding, Sourced, Subject, Unit};

/// Migrations per round.
pub(crate) fn ratio(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<f64>) -> Vec<Finding> {
    let tally = Tally::new(CheckKind::MigrationRatio, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit.value,
        Unit::Plain,
    );
    share(
        tally,
        scene,
        scope,
        "migrations per round:",
        ("rounds", |it| it.iterations),
        ("migrations", |it| it.migrations),
    )
}

/// Migrations to another node among all.
pub(crate) fn cross_node(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<f64>) -> Vec<Finding> {
    let tally = Tally::new(CheckKind::CrossNodeRatio, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit.value,
        Unit::Plain,
    );
    if scene.topology.node_count() < 2 {
        return tally.meaningless("the machine has one node");
    }
    let what = "share of migrations that went to another node:";
    share(
        tally,
        scene,
        scope,
        what,
        ("migrations", |it| it.migrations),
        ("migrations to another node", |it| it.node_migrations),
    )
}

/// What is counted, and how.
type Count = (&'static str, fn(&Part<'_>) -> u64);

fn share<'a>(
    mut tally: Tally<'_, 'a>,
    scene: &Scene<'a>,
    scope: &Scope,
    what: &str,
    (among, all): Count,
    (counted, some): Count,
) -> Vec<Finding> {
    let parts = scene.parts(scope);
    for cgroup in Scene::grouped(&parts, |part| (&part.worker.cgroup, part.worker.step)) {
        let Some(worst) = cgroup.iter().max_by_key(|part| some(part)) else { continue };
        let subject = Subject::Cgroup { name: worst.worker.cgroup.clone() };
        let (total, part) =
            (sum(cgroup.iter().map(|it| all(it))), sum(cgroup.iter().map(|it| some(it))));
        if total == 0 {
            match cgroup.iter().find(|part| part.is_starved()) {
                Some(starved) => {
                    tally.nothing_to_divide(starved, &format!("its cgroup saw no {among}"));
                }
                None => tally.open(
                    subject,
                    format!("its workers saw no {among}, so there is nothing to divide by"),
                ),
            }
            continue;
        }
        tally.measure(subject, part as f64 / total as f64, what, |finding| {
            let worker = worst.worker;
            let name = Subject::of(worker).short();
            finding.facts.push(format!(
                "its {} saw {part} {counted} among {total} {among}",
                counted_as(cgroup.len(), "worker")
            ));
            finding.facts.push(format!(
                "{name} had the most, {}, on {}",
                some(worst),
                cpus(&worker.cpus_used)
            ));
            if let Some(first) = worker.moves.first() {
                finding.at_ns = Some(scene.after(first.at_ns));
                finding.cpu = Some(first.to);
                let moves: Vec<_> = worker
                    .moves
                    .iter()
                    .take(3)
                    .map(|it| {
                        format!(
                            "{} to {} at {}",
                            it.from,
                            it.to,
                            duration_ns(scene.after(it.at_ns))
                        )
                    })
                    .collect();
                finding.facts.push(format!("the first moves of {name}: {}", moves.join(", ")));
            }
            finding.facts.extend(scene.who_scheduled(worker.ended_ns));
        });
    }
    tally.end("no worker took part")
}
