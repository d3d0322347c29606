//! What is always asked: that everything declared was there, and ended as it should.

use super::scheduler;
use crate::evidence::{PayloadEnd, PayloadReport, WorkerEnd, WorkerReport};
use crate::scene::Scene;
use crate::text::{duration_ns, one_line};
use crate::{CheckKind, Finding, Outcome, Subject};

/// The most characters of what something said.
const CHARS_MAX: usize = 240;

/// Starts and ends of schedulers, workers and payloads.
pub(crate) fn all(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = scheduler::loads(scene);
    findings.extend(all_well(
        [CheckKind::WorkerStarts, CheckKind::WorkerEnds],
        scene.evidence.workers.iter().map(|it| worker(scene, it)),
    ));
    findings.extend(all_well(
        [CheckKind::PayloadStarts, CheckKind::Payload],
        scene.evidence.payloads.iter().map(|it| payload(scene, it)),
    ));
    findings
}

/// The failures; and for each kind without one a pass, if there was anything to look at.
fn all_well(kinds: [CheckKind; 2], of_each: impl Iterator<Item = Option<Finding>>) -> Vec<Finding> {
    let of_each: Vec<_> = of_each.collect();
    let count = of_each.len();
    let mut findings: Vec<_> = of_each.into_iter().flatten().collect();
    if count > 0 {
        let is_clean = |kind: &CheckKind| findings.iter().all(|it| it.check != *kind);
        let clean: Vec<_> = kinds.into_iter().filter(is_clean).collect();
        findings.extend(
            clean
                .into_iter()
                .map(|kind| Finding::new(kind, Outcome::Pass, format!("all well ({count})"))),
        );
    }
    findings
}

fn worker(scene: &Scene<'_>, it: &WorkerReport) -> Option<Finding> {
    let said = |text: &str| one_line(text, CHARS_MAX);
    let (check, text) = match &it.end {
        WorkerEnd::Stopped | WorkerEnd::Completed | WorkerEnd::Removed => return None,
        WorkerEnd::NotStarted { error } => (
            CheckKind::WorkerStarts,
            format!("it could not be started as declared: {}", said(error)),
        ),
        WorkerEnd::Failed { error } => (
            CheckKind::WorkerStarts,
            format!("the kernel refused what its work needs: {}", said(error)),
        ),
        WorkerEnd::Exited { code } => (
            CheckKind::WorkerEnds,
            format!("it exited by itself with code {code} before it was told to stop"),
        ),
        WorkerEnd::Signaled { signal } => {
            (CheckKind::WorkerEnds, format!("signal {signal} ended it"))
        }
        WorkerEnd::Panicked { message } => {
            (CheckKind::WorkerEnds, format!("it panicked: {}", said(message)))
        }
        WorkerEnd::Unresponsive => (
            CheckKind::WorkerEnds,
            "it did not stop when it was told to, and was killed".to_owned(),
        ),
    };
    let mut finding = Finding::new(check, Outcome::Fail, text).about(Subject::of(it));
    finding.step = scene.step(it.step);
    if check == CheckKind::WorkerEnds {
        finding.step = scene.step(scene.step_at(it.ended_ns)).or(finding.step);
        finding.at_ns = Some(scene.after(it.ended_ns));
        finding.cpu = it.cpus_used.iter().next_back();
        finding.facts.push(format!(
            "it had done {} units in {} of CPU time, and been runnable without running for {}",
            it.units,
            duration_ns(it.cpu_ns),
            duration_ns(it.run_delay_ns)
        ));
        finding.facts.extend(scene.quota(it));
        finding.facts.extend(scene.who_scheduled(it.ended_ns));
    }
    Some(finding)
}

fn payload(scene: &Scene<'_>, it: &PayloadReport) -> Option<Finding> {
    let ran_ns = it.ended_ns.saturating_sub(it.began_ns);
    let (check, text) = match &it.end {
        PayloadEnd::NotStarted { error } => (
            CheckKind::PayloadStarts,
            format!("it could not be started: {}", one_line(error, CHARS_MAX)),
        ),
        PayloadEnd::Signaled { signal } => {
            (CheckKind::Payload, format!("signal {signal} ended it"))
        }
        PayloadEnd::TimedOut => (
            CheckKind::Payload,
            format!("it was still running after {}, and was killed", duration_ns(ran_ns)),
        ),
        PayloadEnd::Exited { .. } | PayloadEnd::Stopped => match it.problems.first() {
            None => return None,
            Some(first) => (CheckKind::Payload, one_line(first, CHARS_MAX)),
        },
    };
    let subject = Subject::Payload { name: it.name.clone(), cgroup: it.cgroup.clone() };
    let mut finding = Finding::new(check, Outcome::Fail, text.clone()).about(subject);
    finding.at_ns = Some(scene.after(it.ended_ns));
    finding.step = scene.step(scene.step_at(it.ended_ns));
    let problems = it.problems.iter().map(|problem| one_line(problem, CHARS_MAX));
    finding.facts.extend(problems.filter(|problem| *problem != text).take(3));
    if let PayloadEnd::Exited { code } = it.end {
        finding.facts.push(format!("it exited with code {code} after {}", duration_ns(ran_ns)));
    }
    finding.facts.push(format!(
        "it used {} of CPU time in {}",
        duration_ns(it.cpu_ns),
        duration_ns(ran_ns)
    ));
    let errors: Vec<_> =
        it.stderr_tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    finding.facts.extend(
        errors
            .last()
            .map(|line| format!("the last line of its errors: {}", one_line(line, CHARS_MAX))),
    );
    Some(finding)
}
