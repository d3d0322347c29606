//! Schedulers under test: that they were attached, and that they lived.

use super::Tally;
use crate::evidence::{SchedulerEnd, SchedulerReport};
use crate::scene::{Scene, Scope};
use crate::text::{duration_ns, one_line};
use crate::{CheckKind, Finding, Outcome, Sourced, Subject};

/// Lines of a log or output that are shown, and the most characters of each.
const LINES_SHOWN: usize = 3;
const CHARS_MAX: usize = 240;

/// Whether each was attached; always asked.
pub(crate) fn loads(scene: &Scene<'_>) -> Vec<Finding> {
    let finding = |it: &SchedulerReport| {
        let (outcome, text) = match &it.end {
            SchedulerEnd::Rejected { .. } => {
                (Outcome::Fail, "the kernel's verifier refused it".to_owned())
            }
            SchedulerEnd::Unsupported { missing } => (
                Outcome::Fail,
                format!("the kernel cannot do what it needs: {}", one_line(missing, CHARS_MAX)),
            ),
            SchedulerEnd::NeverAttached { waited_ns } => {
                (Outcome::Fail, format!("it was not attached within {}", duration_ns(*waited_ns)))
            }
            SchedulerEnd::NotLoaded { status } => (
                Outcome::Fail,
                format!("it ended before it was attached ({})", one_line(status, CHARS_MAX)),
            ),
            SchedulerEnd::NotStarted { error } => {
                (Outcome::Fail, format!("it could not be started: {}", one_line(error, CHARS_MAX)))
            }
            _ if it.attached_ns.is_some() => (Outcome::Pass, "attached".to_owned()),
            SchedulerEnd::Detached => (
                Outcome::Inconclusive,
                "it was asked to go before it was seen to be attached".to_owned(),
            ),
            SchedulerEnd::ExitedCleanly => {
                (Outcome::Fail, "it exited with code 0 and was never attached".to_owned())
            }
            SchedulerEnd::Died { status } => (
                Outcome::Fail,
                format!("it died before it was attached ({})", one_line(status, CHARS_MAX)),
            ),
            SchedulerEnd::Unresponsive => (
                Outcome::Fail,
                "it was never attached, and killed because it did not go".to_owned(),
            ),
            end @ (SchedulerEnd::KernelError { .. } | SchedulerEnd::Stalled { .. }) => {
                (Outcome::Fail, format!("before it was seen to be attached {}", died(end)))
            }
        };
        let facts = if outcome == Outcome::Pass { Vec::new() } else { facts(it) };
        Finding {
            at_ns: it.ended_ns.map(|at_ns| scene.after(at_ns)).filter(|_| outcome != Outcome::Pass),
            step: scene
                .step(it.ended_ns.and_then(|at| scene.step_at(at)))
                .filter(|_| outcome != Outcome::Pass),
            ..Finding::new(CheckKind::SchedulerLoads, outcome, text)
                .about(Subject::Scheduler { name: it.name.clone() })
                .facts(facts)
        }
    };
    scene.evidence.schedulers.iter().map(finding).collect()
}

/// Whether those that were attached lived until they were asked to go, and went.
pub(crate) fn lives(scene: &Scene<'_>, scope: &Scope, on: &Sourced<bool>) -> Vec<Finding> {
    if !on.value {
        return Vec::new();
    }
    let mut tally = Tally::new(CheckKind::SchedulerLives, scene, scope, &on.origin);
    for it in &scene.evidence.schedulers {
        // A scheduler ends at the very moment at which a step ends as a part of that step.
        let in_step = it.ended_ns.and_then(|at| scene.step_at(at));
        let Some(attached_ns) = it.attached_ns else { continue };
        let subject = Subject::Scheduler { name: it.name.clone() };
        match &it.end {
            SchedulerEnd::Rejected { .. }
            | SchedulerEnd::Unsupported { .. }
            | SchedulerEnd::NeverAttached { .. }
            | SchedulerEnd::NotLoaded { .. }
            | SchedulerEnd::NotStarted { .. } => continue,
            SchedulerEnd::Detached => tally.good(subject),
            _ if !scope.has(in_step) => tally.good(subject),
            end => {
                let finding = tally.bad(subject, died(end));
                finding.at_ns = it.ended_ns.map(|at_ns| scene.after(at_ns));
                finding.step = scene.step(in_step);
                finding.facts = facts(it);
                let mut life = format!("it was attached {}", scene.since(it));
                if let Some(ended_ns) = it.ended_ns {
                    let lived_ns = ended_ns.saturating_sub(attached_ns);
                    life.push_str(&format!(" and lived for {}", duration_ns(lived_ns)));
                }
                finding.facts.push(life);
            }
        }
    }
    tally.end("no scheduler under test was attached: the kernel's own scheduled")
}

/// How it ended.
fn died(end: &SchedulerEnd) -> String {
    match end {
        SchedulerEnd::KernelError { reason, message, .. } => {
            let said: Vec<_> = [reason, message]
                .into_iter()
                .filter(|it| !it.is_empty())
                .map(String::as_str)
                .collect();
            format!(
                "the kernel threw it out for an error: {}",
                one_line(&said.join(": "), CHARS_MAX)
            )
        }
        SchedulerEnd::Stalled { message, .. } => {
            format!("the kernel's watchdog threw it out: {}", one_line(message, CHARS_MAX))
        }
        SchedulerEnd::ExitedCleanly => {
            "it exited by itself, with code 0, while it was needed".to_owned()
        }
        SchedulerEnd::Died { status } => {
            format!(
                "its process ended ({}) while it was needed; the kernel told of no error",
                one_line(status, CHARS_MAX)
            )
        }
        SchedulerEnd::Unresponsive => {
            "it did not go when it was asked to, and was killed".to_owned()
        }
        _ => "it was asked to go".to_owned(),
    }
}

/// What the kernel or it itself said last.
fn facts(it: &SchedulerReport) -> Vec<String> {
    let tail = |word: &str, text: &str| {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        (!last.is_empty()).then(|| format!("{word}: {}", one_line(&last.join("\n"), CHARS_MAX)))
    };
    let mut facts = Vec::new();
    match &it.end {
        SchedulerEnd::KernelError { dump, .. } | SchedulerEnd::Stalled { dump, .. }
            if !dump.is_empty() =>
        {
            let cpus = cpus_of_dump(dump);
            if !cpus.is_empty() {
                facts.push(format!("then {}", one_line(&cpus.join("; "), CHARS_MAX)));
            }
            let lines = dump.lines().count();
            facts.push(format!("the kernel wrote a dump of {lines} lines, kept with the evidence"));
        }
        SchedulerEnd::Rejected { log } => facts.extend(tail("the verifier's last words", log)),
        _ => {}
    }
    // Loaders print the kernel's dump, and what programs read; neither says more than is known here.
    let said = it.output_tail.split("DEBUG DUMP").next().unwrap_or_default();
    let said: Vec<_> = said.lines().filter(|line| !line.starts_with("{\"scx_")).collect();
    facts.extend(tail("its last words", &said.join("\n")));
    facts
}

/// What each CPU of a sched_ext dump was at: "CPU 1 ran spinwait\[113\], with 5 runnable".
fn cpus_of_dump(dump: &str) -> Vec<String> {
    let mut lines = dump.lines().map(str::trim).peekable();
    let mut cpus = Vec::new();
    while let Some(line) = lines.next() {
        let Some((cpu, state)) = line.strip_prefix("CPU ").and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        let runnable = state.split_whitespace().find_map(|word| word.strip_prefix("nr_run="));
        let current = lines.peek().and_then(|next| next.strip_prefix("curr="));
        if let (Some(runnable), Some(current)) = (runnable, current) {
            let task = current.split(" class=").next().unwrap_or(current);
            cpus.push(format!("CPU {} ran {task}, with {runnable} runnable", cpu.trim()));
        }
    }
    cpus
}
