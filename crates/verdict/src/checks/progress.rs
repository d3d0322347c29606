//! Every worker did at least one unit of work.

use super::Tally;
use crate::evidence::WorkerEnd;
use crate::scene::{Scene, Scope};
use crate::text::duration_ns;
use crate::{CheckKind, Finding, Sourced, Subject};

/// Workers that died are told of by their end, and not again here.
pub(crate) fn progress(scene: &Scene<'_>, scope: &Scope, on: &Sourced<bool>) -> Vec<Finding> {
    if !on.value {
        return Vec::new();
    }
    let mut tally = Tally::new(CheckKind::Progress, scene, scope, &on.origin);
    let parts = scene.parts(scope);
    for part in &parts {
        let worker = part.worker;
        let subject = Subject::of(worker);
        match worker.end {
            WorkerEnd::Signaled { .. } | WorkerEnd::Panicked { .. } | WorkerEnd::Exited { .. } => {
                continue;
            }
            _ if part.units > 0 => tally.good(subject),
            _ if part.wall_ns == 0 => {
                tally.open(
                    subject,
                    "it had no time to work: it ended when it was released".to_owned(),
                );
            }
            _ => {
                let text = match part.cpu_ns {
                    0 => {
                        format!("no CPU time and no unit of work in {}", duration_ns(part.wall_ns))
                    }
                    ran => format!("no unit of work in {} of CPU time", duration_ns(ran)),
                };
                let finding = tally.bad(subject, text);
                finding.measured = Some(0.0);
                finding.at_ns = Some(scene.after(worker.ended_ns));
                finding.step = finding.step.take().or_else(|| scene.step(worker.step));
                finding.cpu = worker.cpus_used.iter().next_back();
                let waited = match part.run_delay_ns {
                    0 => "it counted no time of waiting for a CPU: it slept, waited for a wake-up that did \
                          not come, or has not come to count since"
                        .to_owned(),
                    _ => part.time_spent(),
                };
                let around = [
                    scene.quota(worker),
                    scene.peers(part, &parts),
                    scene.crowd(worker),
                    scene.who_scheduled(worker.ended_ns),
                ];
                finding.facts.push(waited);
                finding.facts.extend(around.into_iter().flatten());
            }
        }
    }
    tally.end("no worker took part")
}
