//! From the moment a wake-up was sent to the moment the woken ran.

use super::{Sense, Tally};
use crate::evidence::Latency;
use crate::finding::number;
use crate::scene::{Part, Scene, Scope, sum};
use crate::text::duration_ns;
use crate::{CheckKind, Finding, Sourced, Subject, Unit};

pub(crate) fn p99(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<u64>) -> Vec<Finding> {
    let tally = Tally::new(CheckKind::P99Wake, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit.value as f64,
        Unit::Ns,
    );
    wakes(tally, scene, scope, "99 of 100 wake-ups took at most", |wake| wake.p99_ns as f64)
}

pub(crate) fn cv(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<f64>) -> Vec<Finding> {
    let tally = Tally::new(CheckKind::WakeCv, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit.value,
        Unit::Plain,
    );
    wakes(tally, scene, scope, "wake latency varies by", |wake| wake.cv)
}

fn wakes<'a>(
    mut tally: Tally<'_, 'a>,
    scene: &Scene<'a>,
    scope: &Scope,
    what: &str,
    value: fn(&Latency) -> f64,
) -> Vec<Finding> {
    let parts = scene.parts(scope);
    let sampled = |wake: &&&Latency| wake.count > 0;
    for part in &parts {
        let by_value = |a: &&&Latency, b: &&&Latency| value(a).total_cmp(&value(b));
        let Some(worst) = part.wakes.iter().filter(sampled).max_by(by_value) else {
            // Its work may time no wake-ups; but what its like timed, it should have timed, too.
            let is_alike = |it: &&Part<'_>| it.cohort() == part.cohort();
            let alike = parts.iter().filter(is_alike).flat_map(|it| &it.wakes);
            let others = sum(alike.map(|wake| wake.count));
            if others > 0 {
                tally.nothing_to_divide(
                    part,
                    &format!("it timed no wake-up, the others of its group {others}"),
                );
            }
            continue;
        };
        let worker = part.worker;
        tally.measure(Subject::of(worker), value(worst), what, |finding| {
            finding.at_ns = Some(scene.after(worker.ended_ns));
            finding.cpu = worker.cpus_used.iter().next_back();
            finding.facts.push(format!(
                "of {} wake-ups half took at most {}, the longest {}; the mean is {}, the coefficient of variation {}",
                worst.count,
                duration_ns(worst.p50_ns),
                duration_ns(worst.max_ns),
                duration_ns(worst.mean_ns),
                number(worst.cv)
            ));
            finding.facts.push(part.time_spent());
            finding.facts.extend(worker.cpus_used.iter().next_back().map(|cpu| scene.neighbours(worker, cpu)));
            finding.facts.extend(scene.who_scheduled(worker.ended_ns));
        });
    }
    let by_life = tally.is_empty() && parts.iter().any(|part| part.worker.wake.count > 0);
    tally.end(if by_life {
        "no wake-up was timed for this part of the run alone"
    } else {
        "no worker timed a wake-up"
    })
}
