//! How alike the workers of one group fared.

use super::{Sense, Tally};
use crate::finding::number;
use crate::judge::Mode;
use crate::scene::{Part, Scene, Scope, cpus};
use crate::text::duration_ns;
use crate::{CheckKind, Finding, Sourced, Subject, Unit};

/// Why figures of several CPUs together are not judged in `det`.
pub(super) const TURNS: &str = "in det the CPUs take turns on one thread of the host, so how much work they get done \
                                in guest time means nothing";

/// Whether throughput means nothing in this machine.
pub(super) fn takes_turns(scene: &Scene<'_>) -> bool {
    scene.mode == Mode::Det && scene.topology.cpu_count() > 1
}

/// The spread of the share of time off the CPU. Compared are the workers of one group, in one role: other
/// groups may have another weight, work or set of CPUs by declaration.
pub(crate) fn spread(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<f64>) -> Vec<Finding> {
    let mut tally = Tally::new(CheckKind::Spread, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit.value,
        Unit::Points,
    );
    let parts = scene.parts(scope);
    for cohort in Scene::grouped(&parts, Part::cohort).into_iter().filter(|cohort| cohort.len() > 1)
    {
        let off = |part: &Part<'_>| 100.0 * (1.0 - part.cpu_ns as f64 / part.wall_ns as f64);
        if let Some(part) = cohort.iter().find(|part| part.wall_ns == 0) {
            tally.open(
                Subject::of(part.worker),
                "it lived for no time, so there is nothing to divide by".to_owned(),
            );
            continue;
        }
        let by_share = |a: &&&Part<'_>, b: &&&Part<'_>| off(a).total_cmp(&off(b));
        let (Some(most), Some(least)) =
            (cohort.iter().max_by(by_share), cohort.iter().min_by(by_share))
        else {
            continue;
        };
        tally.measure(group(&cohort), off(most) - off(least), "time off the CPU differs by", |finding| {
            let worker = most.worker;
            finding.at_ns = Some(scene.after(worker.ended_ns));
            finding.cpu = worker.cpus_used.iter().next_back();
            finding.step = finding.step.take().or_else(|| scene.step(worker.step));
            for (word, part) in [("least", most), ("most", least)] {
                finding.facts.push(format!(
                    "{} got the {word}: it ran {} of {} ({} % off the CPU), was runnable without running for {}, \
                     on {}",
                    Subject::of(part.worker).short(),
                    duration_ns(part.cpu_ns),
                    duration_ns(part.wall_ns),
                    number((off(part) * 10.0).round() / 10.0),
                    duration_ns(part.run_delay_ns),
                    cpus(&part.worker.cpus_used),
                ));
            }
            finding.facts.extend(scene.crowd(worker));
            finding.facts.extend(scene.quota(worker));
            finding.facts.extend(scene.who_scheduled(worker.ended_ns));
        });
    }
    tally.end("no group has two workers to compare")
}

/// The variation of units per second.
pub(crate) fn throughput_cv(
    scene: &Scene<'_>,
    scope: &Scope,
    limit: &Sourced<f64>,
) -> Vec<Finding> {
    let mut tally = Tally::new(CheckKind::ThroughputCv, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit.value,
        Unit::Plain,
    );
    if takes_turns(scene) {
        return tally.meaningless(TURNS);
    }
    let parts = scene.parts(scope);
    for cohort in Scene::grouped(&parts, Part::cohort).into_iter().filter(|cohort| cohort.len() > 1)
    {
        if let Some(part) = cohort.iter().find(|part| part.wall_ns == 0) {
            tally.open(
                Subject::of(part.worker),
                "it lived for no time, so there is nothing to divide by".to_owned(),
            );
            continue;
        }
        if cohort.iter().all(|part| part.units == 0) {
            tally.nothing_to_divide(cohort[0], "no worker of its group did a unit of work");
            continue;
        }
        let rate = |part: &Part<'_>| part.units as f64 * 1e9 / part.wall_ns as f64;
        let count = cohort.len() as f64;
        let mean = cohort.iter().map(|part| rate(part)).sum::<f64>() / count;
        let variance = cohort.iter().map(|part| (rate(part) - mean).powi(2)).sum::<f64>() / count;
        tally.measure(group(&cohort), variance.sqrt() / mean, "throughput varies by", |finding| {
            let by_rate = |a: &&&Part<'_>, b: &&&Part<'_>| rate(a).total_cmp(&rate(b));
            let slowest = cohort.iter().min_by(by_rate);
            for (word, part) in [("slowest", slowest), ("fastest", cohort.iter().max_by(by_rate))] {
                finding.facts.extend(part.map(|part| {
                    let name = Subject::of(part.worker).short();
                    let rate = number(rate(part).round());
                    format!("{name} was the {word} with {rate} units/s: {}", part.time_spent())
                }));
            }
            let ended_ns = slowest.map_or(0, |part| part.worker.ended_ns);
            finding.at_ns = Some(scene.after(ended_ns));
            finding.facts.push(format!(
                "the mean of {} workers is {} units/s",
                cohort.len(),
                number(mean.round())
            ));
            finding.facts.extend(scene.who_scheduled(ended_ns));
        });
    }
    tally.end("no group has two workers to compare")
}

fn group(cohort: &[&Part<'_>]) -> Subject {
    let (cgroup, _, group, role) = cohort.first().map_or(("", None, 0, ""), |part| part.cohort());
    Subject::Group { cgroup: cgroup.to_owned(), group, role: role.to_owned() }
}
