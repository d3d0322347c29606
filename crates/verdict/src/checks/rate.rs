//! Work per second of CPU time.

use super::fairness::{TURNS, takes_turns};
use super::{Sense, Tally};
use crate::scene::{Part, Scene, Scope};
use crate::text::duration_ns;
use crate::{CheckKind, Finding, Sourced, Subject, Unit};

pub(crate) fn work_rate(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<f64>) -> Vec<Finding> {
    rate(CheckKind::WorkRate, "units", |part| part.units, scene, scope, limit)
}

pub(crate) fn iteration_rate(
    scene: &Scene<'_>,
    scope: &Scope,
    limit: &Sourced<f64>,
) -> Vec<Finding> {
    rate(CheckKind::IterationRate, "rounds", |part| part.iterations, scene, scope, limit)
}

fn rate(
    check: CheckKind,
    what: &str,
    count: fn(&Part<'_>) -> u64,
    scene: &Scene<'_>,
    scope: &Scope,
    limit: &Sourced<f64>,
) -> Vec<Finding> {
    let mut tally = Tally::new(check, scene, scope, &limit.origin).limit(
        Sense::AtLeast,
        limit.value,
        Unit::PerSecond,
    );
    if takes_turns(scene) {
        return tally.meaningless(TURNS);
    }
    let parts = scene.parts(scope);
    for part in &parts {
        if part.cpu_ns == 0 {
            tally.nothing_to_divide(part, "it used no CPU time");
            continue;
        }
        let of = |part: &Part<'_>| count(part) as f64 * 1e9 / part.cpu_ns as f64;
        let said = format!("{what} per second of CPU time:");
        tally.measure(Subject::of(part.worker), of(part), &said, |finding| {
            finding.at_ns = Some(scene.after(part.worker.ended_ns));
            finding.cpu = part.worker.cpus_used.iter().next_back();
            finding.facts.push(format!(
                "{} {what} in {} of CPU time",
                count(part),
                duration_ns(part.cpu_ns)
            ));
            let is_alike = |it: &&Part<'_>| it.cohort() == part.cohort() && it.cpu_ns > 0;
            let best = parts.iter().filter(is_alike).map(of).fold(0.0, f64::max);
            finding.facts.push(format!("the best of its group had {}", Unit::PerSecond.show(best)));
            let worker = part.worker;
            finding.facts.push(format!(
                "it was switched out {} times by force and {} times waiting, and migrated {} times",
                worker.involuntary_switches, worker.voluntary_switches, worker.migrations
            ));
            finding.facts.extend(scene.who_scheduled(worker.ended_ns));
        });
    }
    tally.end("no worker took part")
}
