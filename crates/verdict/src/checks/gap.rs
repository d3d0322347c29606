//! The longest time between two checkpoints of a worker.

use super::{Sense, Tally};
use crate::scene::{Scene, Scope};
use crate::text::duration_ns;
use crate::{CheckKind, Finding, Sourced, Subject, Unit};

pub(crate) fn gap(scene: &Scene<'_>, scope: &Scope, limit: &Sourced<u64>) -> Vec<Finding> {
    let limit_ns = limit.value.saturating_mul(1_000_000) as f64;
    let mut tally = Tally::new(CheckKind::Gap, scene, scope, &limit.origin).limit(
        Sense::AtMost,
        limit_ns,
        Unit::Ns,
    );
    let parts = scene.parts(scope);
    for part in &parts {
        let (worker, gap) = (part.worker, &part.gap);
        let subject = Subject::of(worker);
        if gap.wall_ns == 0 && part.is_starved() {
            // It never came to a first checkpoint: the gap is as long as it lived.
            tally.measure(subject, part.wall_ns as f64, "no checkpoint at all in", |finding| {
                finding.at_ns = Some(scene.after(worker.ended_ns));
                let around = [
                    scene.quota(worker),
                    scene.peers(part, &parts),
                    scene.who_scheduled(worker.ended_ns),
                ];
                finding.facts.push(part.time_spent());
                finding.facts.extend(around.into_iter().flatten());
            });
            continue;
        }
        if gap.wall_ns == 0 {
            tally.open(subject, "it came to no two checkpoints, so no gap was measured".to_owned());
            continue;
        }
        tally.measure(subject, gap.wall_ns as f64, "no checkpoint for", |finding| {
            finding.cpu = Some(gap.cpu);
            finding.at_ns = Some(scene.after(gap.at_ns));
            finding.step = scene.step(gap.step).or_else(|| finding.step.take());
            let slept_ns = gap.wall_ns.saturating_sub(gap.cpu_ns).saturating_sub(gap.run_delay_ns);
            let mut spent = format!(
                "it was runnable for {} of it and ran {}",
                duration_ns(gap.run_delay_ns),
                duration_ns(gap.cpu_ns)
            );
            if slept_ns > gap.wall_ns / 20 {
                spent.push_str(&format!("; the remaining {} it slept", duration_ns(slept_ns)));
            }
            let around =
                [scene.quota(worker), scene.peers(part, &parts), scene.who_scheduled(gap.at_ns)];
            finding.facts.extend([spent, scene.neighbours(worker, gap.cpu)]);
            finding.facts.extend(around.into_iter().flatten());
        });
    }
    tally.end("no worker took part")
}
