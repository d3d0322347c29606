//! All findings together.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::text::one_line;
use crate::{CheckKind, Finding, Outcome};

/// What came of a run or a claim, with everything that was found.
///
/// Verdicts [merge](Self::merge) in any order and grouping to the same: the findings are a set, told
/// gravest first, and the gravest decides. The verdict without findings is neutral: a skip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!from))]
#[serde(from = "Findings")]
pub struct Verdict {
    /// What it comes to: the gravest outcome of the findings.
    outcome: Outcome,
    /// What was found, the gravest first.
    findings: Vec<Finding>,
}

/// A verdict as it is read: the outcome follows from the findings.
#[derive(Deserialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl From<Findings> for Verdict {
    fn from(read: Findings) -> Self {
        read.findings.into_iter().collect()
    }
}

impl From<Finding> for Verdict {
    fn from(finding: Finding) -> Self {
        [finding].into_iter().collect()
    }
}

impl FromIterator<Finding> for Verdict {
    fn from_iter<T: IntoIterator<Item = Finding>>(findings: T) -> Self {
        let mut findings: Vec<_> = findings.into_iter().collect();
        findings.sort_by(Finding::order);
        findings.dedup();
        let outcome = findings.first().map_or(Outcome::Skip, |gravest| gravest.outcome);
        Self { outcome, findings }
    }
}

impl FromIterator<Self> for Verdict {
    fn from_iter<T: IntoIterator<Item = Self>>(verdicts: T) -> Self {
        verdicts.into_iter().flat_map(|verdict| verdict.findings).collect()
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::new()
    }
}

/// Findings of one check that are told in full.
const SHOWN_PER_CHECK: usize = 3;
/// Names of further subjects that are listed.
const NAMES_SHOWN: usize = 8;

impl Verdict {
    /// Nothing was checked: neutral in a merge.
    #[must_use]
    pub const fn new() -> Self {
        Self { outcome: Outcome::Skip, findings: Vec::new() }
    }

    /// What it comes to.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What was found, the gravest first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings that failed, in the order in which they are told.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome == Outcome::Fail)
    }

    /// Both together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        [self, other].into_iter().collect()
    }

    /// Adds what else was found.
    pub fn push(&mut self, other: impl Into<Self>) {
        *self = std::mem::take(self).merge(other.into());
    }

    /// What decided, in one line.
    pub fn summary(&self) -> String {
        let count = |outcome| self.findings.iter().filter(|it| it.outcome == outcome).count();
        let others = |count: usize| {
            if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
        };
        match (self.outcome, self.findings.first()) {
            (Outcome::Pass, _) => format!("{} checks held", count(Outcome::Pass)),
            (_, None) => "nothing was checked".to_owned(),
            (_, Some(first)) => format!("{}{}", first.line(), others(count(self.outcome))),
        }
    }

    /// The whole for people: each failure with its place and the facts that explain it, then what stayed
    /// open, what was skipped and why, and what passed in a line each. Of one check at most three
    /// findings are told in full. Nothing the guest wrote can control the terminal.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        let mut rest = &self.findings[..];
        while let Some(first) = rest.first() {
            let same = |it: &&Finding| it.check == first.check && it.outcome == first.outcome;
            let (alike, others) = rest.split_at(rest.iter().take_while(same).count());
            rest = others;
            let shown = if is_told_in_full(first.check) { alike.len() } else { SHOWN_PER_CHECK };
            let (told, more) = alike.split_at(shown.min(alike.len()));
            for finding in told {
                explain_one(&mut out, finding);
            }
            explain_more(&mut out, more);
        }
        out
    }
}

/// Whether each finding of this kind says something of its own.
fn is_told_in_full(check: CheckKind) -> bool {
    matches!(
        check,
        CheckKind::Claim | CheckKind::Note | CheckKind::SchedulerLoads | CheckKind::SchedulerLives
    )
}

fn explain_one(out: &mut String, finding: &Finding) {
    let word = match (finding.outcome, finding.check) {
        (_, CheckKind::Note) => "",
        (Outcome::Fail, _) => "FAIL ",
        (Outcome::Inconclusive, _) => "INCONCLUSIVE ",
        (Outcome::Skip, _) => "skip ",
        (Outcome::Pass, _) => "pass ",
    };
    let _ = writeln!(out, "{word}{}", finding.line());
    if finding.outcome == Outcome::Skip {
        return;
    }
    let place = finding.place();
    if !place.is_empty() {
        let _ = writeln!(out, "  {place}");
    }
    for fact in &finding.facts {
        let _ = writeln!(out, "  - {}", one_line(fact, 300));
    }
}

fn explain_more(out: &mut String, more: &[Finding]) {
    let Some(first) = more.first() else { return };
    let mut names: Vec<_> = more.iter().take(NAMES_SHOWN).map(|it| it.subject.short()).collect();
    if more.len() > NAMES_SHOWN {
        names.push("…".to_owned());
    }
    let _ = writeln!(out, "  and {} more of {}: {}", more.len(), first.check, names.join(", "));
}
