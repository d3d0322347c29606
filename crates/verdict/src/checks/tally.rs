//! One check over many subjects: what exceeds the limit, what stays open, and the worst that does not.

use crate::finding::number;
use crate::scene::{Part, Scene, Scope};
use crate::{CheckKind, Finding, Origin, Outcome, Subject, Unit};

/// On which side of the limit it is good.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sense {
    AtMost,
    AtLeast,
}

pub(super) struct Tally<'s, 'a> {
    scene: &'s Scene<'a>,
    scope: &'s Scope,
    check: CheckKind,
    limit: Option<f64>,
    unit: Unit,
    sense: Sense,
    origin: Origin,
    worst: Option<(f64, Subject)>,
    findings: Vec<Finding>,
}

impl<'s, 'a> Tally<'s, 'a> {
    /// For a check that is on or off.
    pub(super) fn new(
        check: CheckKind,
        scene: &'s Scene<'a>,
        scope: &'s Scope,
        origin: &Origin,
    ) -> Self {
        let (worst, findings, origin) = (None, Vec::new(), origin.clone());
        let (limit, unit, sense) = (None, Unit::Plain, Sense::AtMost);
        Self { scene, scope, check, limit, unit, sense, origin, worst, findings }
    }

    /// Values are compared with a limit.
    pub(super) fn limit(mut self, sense: Sense, limit: f64, unit: Unit) -> Self {
        (self.limit, self.unit, self.sense) = (Some(limit), unit, sense);
        self
    }

    /// A finding of this check about a subject, with all that does not depend on what was found.
    fn finding(&self, outcome: Outcome, subject: Subject, text: String) -> Finding {
        Finding {
            step: match self.scope {
                Scope::Step(step) => Some(step.clone()),
                Scope::Run { .. } => None,
            },
            limit: self.limit.filter(|limit| limit.is_finite()),
            unit: self.unit,
            origin: Some(self.origin.clone()),
            ..Finding::new(self.check, outcome, text).about(subject)
        }
    }

    /// Compares a value with the limit. `explain` completes the finding when it does not hold. What is
    /// not a number holds no limit.
    pub(super) fn measure(
        &mut self,
        subject: Subject,
        measured: f64,
        what: &str,
        explain: impl FnOnce(&mut Finding),
    ) {
        let limit = self.limit.unwrap_or_default();
        let (holds, is_worse): (bool, fn(f64, f64) -> bool) = match self.sense {
            Sense::AtMost => (measured <= limit, |a, b| a > b),
            Sense::AtLeast => (measured >= limit, |a, b| a < b),
        };
        if !holds {
            let text = format!("{what} {}", self.unit.show(measured));
            let mut finding = self.finding(Outcome::Fail, subject, text);
            finding.measured = Some(measured).filter(|value| value.is_finite());
            explain(&mut finding);
            self.findings.push(finding);
        } else if self.worst.as_ref().is_none_or(|(worst, _)| is_worse(measured, *worst)) {
            self.worst = Some((measured, subject));
        }
    }

    /// What was looked at is well, without a figure.
    pub(super) fn good(&mut self, subject: Subject) {
        self.worst.get_or_insert((0.0, subject));
    }

    /// What was looked at is not well. The facts are added by the caller.
    pub(super) fn bad(&mut self, subject: Subject, text: String) -> &mut Finding {
        let finding = self.finding(Outcome::Fail, subject, text);
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// A figure with nothing to divide by: a failure where the worker could have run and never did, for
    /// then the policy caused it; open otherwise.
    pub(super) fn nothing_to_divide(&mut self, part: &Part<'a>, why: &str) {
        let subject = Subject::of(part.worker);
        if part.is_starved() {
            let text = format!("{why}: it was runnable and never ran");
            let quota = self.scene.quota(part.worker);
            let who = self.scene.who_scheduled(part.worker.ended_ns);
            let at_ns = self.scene.after(part.worker.ended_ns);
            let step = self.scene.step(part.worker.step);
            let finding = self.bad(subject, text);
            finding.at_ns = Some(at_ns);
            finding.step = finding.step.take().or(step);
            finding.facts.extend([Some(part.time_spent()), quota, who].into_iter().flatten());
        } else {
            self.open(subject, format!("{why}, so there is nothing to divide by"));
        }
    }

    /// What was looked at says neither.
    pub(super) fn open(&mut self, subject: Subject, why: String) {
        let finding = self.finding(Outcome::Inconclusive, subject, why);
        self.findings.push(finding);
    }

    /// Whether anything was looked at so far.
    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.worst.is_none()
    }

    /// All findings; a single one with the worst value when all is well. `nothing` says why there may have
    /// been nothing to look at.
    pub(super) fn end(mut self, nothing: &str) -> Vec<Finding> {
        if !self.findings.is_empty() {
            return self.findings;
        }
        let finding = match self.worst.take() {
            Some((worst, subject)) => {
                let word = if self.sense == Sense::AtMost { "at most" } else { "at least" };
                let value = match self.unit {
                    Unit::Plain => number(worst),
                    unit => unit.show(worst),
                };
                match self.limit {
                    Some(_) => Finding {
                        measured: Some(worst),
                        ..self.finding(
                            Outcome::Pass,
                            Subject::Run,
                            format!("{word} {value}, {}", subject.short()),
                        )
                    },
                    None => self.finding(Outcome::Pass, Subject::Run, "all well".to_owned()),
                }
            }
            None => self.skip_or_open(nothing),
        };
        vec![finding]
    }

    /// Nothing to look at: open where the test or a step asks for this very check.
    fn skip_or_open(&self, why: &str) -> Finding {
        let is_asked =
            matches!(self.origin, Origin::Test | Origin::Step(_)) && self.limit.is_some();
        let outcome = if is_asked { Outcome::Inconclusive } else { Outcome::Skip };
        self.finding(outcome, Subject::Run, why.to_owned())
    }

    /// The check has no meaning here.
    pub(super) fn meaningless(self, why: &str) -> Vec<Finding> {
        vec![self.finding(Outcome::Skip, Subject::Run, why.to_owned())]
    }
}
