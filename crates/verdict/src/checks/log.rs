//! The kernel's log is clean.

use super::Tally;
use crate::scene::{Scene, Scope};
use crate::text::one_line;
use crate::{CheckKind, Finding, Sourced, Subject};

/// Lines that are shown.
const LINES_SHOWN: usize = 3;

pub(crate) fn clean(scene: &Scene<'_>, scope: &Scope, on: &Sourced<bool>) -> Vec<Finding> {
    let mut tally = Tally::new(CheckKind::CleanLog, scene, scope, &on.origin);
    if let Scope::Step(_) = scope {
        tally.open(
            Subject::Run,
            "the kernel's log is not kept by step: set `clean_log` for the test".to_owned(),
        );
        return tally.end("");
    }
    if !on.value {
        return Vec::new();
    }
    let lines = &scene.evidence.kernel_log;
    if lines.is_empty() {
        tally.good(Subject::Run);
    } else {
        let text = match lines.len() {
            1 => "the kernel's log has a line of trouble".to_owned(),
            count => format!("the kernel's log has {count} lines of trouble"),
        };
        let finding = tally.bad(Subject::Run, text);
        finding.measured = Some(lines.len() as f64);
        finding.facts.extend(lines.iter().take(LINES_SHOWN).map(|line| one_line(line, 240)));
        if lines.len() > LINES_SHOWN {
            finding.facts.push(format!("and {} more", lines.len() - LINES_SHOWN));
        }
    }
    tally.end("")
}
