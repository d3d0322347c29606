//! Failures that a test declares.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, SchedulerEnd};
use crate::text::one_line;
use crate::{CheckKind, Finding, Outcome, Subject, Verdict};

/// A failure that a test declares: with it a failure that matches is a pass, and everything else that
/// could be taken for one is not.
///
/// | what came | what becomes of it |
/// | --- | --- |
/// | a skip | stays a skip |
/// | a scheduler that was not attached, a worker or program that was not started, a machine that broke | fails: it proves nothing |
/// | a pass, or an open question | fails, and says what was expected and what came |
/// | a failure that matches | passes, its findings marked as expected |
/// | a failure that does not match | fails, and names the nearest text |
///
/// ```
/// use belljar_verdict::evidence::Evidence;
/// use belljar_verdict::{CheckKind, Expect, Outcome, claim};
///
/// let expect = Expect::failure().of(CheckKind::Claim).containing("p99 wake")?;
/// let evidence = Evidence::default();
/// let failed = claim("p99 wake", 9).at_most(5);
/// assert_eq!(expect.apply(failed, &evidence).outcome(), Outcome::Pass);
/// let passed = claim("p99 wake", 4).at_most(5);
/// assert_eq!(expect.apply(passed, &evidence).outcome(), Outcome::Fail);
/// # Ok::<(), belljar_verdict::ExpectError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The check that fails; any if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckKind>,
    /// No other check fails.
    pub only: bool,
    /// Texts that all stand in what the finding says or in what its scheduler or program said.
    pub contains: Vec<String>,
    /// A regular expression that matches there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// Why an expectation cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    /// Every text contains it.
    #[error("the expected text is empty, which every failure contains: give a part of the message")]
    EmptyText,
    /// It matches everything.
    #[error(
        "the pattern `{0}` matches the empty text, and so every failure: make it match something"
    )]
    EmptyMatch(String),
    /// It is no regular expression.
    #[error("the pattern `{pattern}` is no regular expression: {why}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Expect {
    /// Any failure of the subject.
    #[must_use]
    pub fn failure() -> Self {
        Self::default()
    }

    /// A failure of this check.
    #[must_use]
    pub fn of(mut self, check: CheckKind) -> Self {
        self.check = Some(check);
        self
    }

    /// No other check may fail.
    #[must_use]
    pub fn only(mut self) -> Self {
        self.only = true;
        self
    }

    /// This text must be in what is said of the failure, with all others that are given.
    ///
    /// # Errors
    ///
    /// An empty text is refused.
    pub fn containing(mut self, text: &str) -> Result<Self, ExpectError> {
        self.contains.push(text.to_owned());
        self.compile().map(|_| self)
    }

    /// This regular expression must match what is said of the failure.
    ///
    /// # Errors
    ///
    /// A pattern that does not compile, or matches the empty text, is refused.
    pub fn matching(mut self, pattern: &str) -> Result<Self, ExpectError> {
        self.pattern = Some(pattern.to_owned());
        self.compile().map(|_| self)
    }

    /// The pattern, if all that was given can be used. Fields may have been read from a file.
    fn compile(&self) -> Result<Option<Regex>, ExpectError> {
        if self.contains.iter().any(String::is_empty) {
            return Err(ExpectError::EmptyText);
        }
        let Some(pattern) = &self.pattern else { return Ok(None) };
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match("") => Err(ExpectError::EmptyMatch(pattern.clone())),
            Ok(regex) => Ok(Some(regex)),
            Err(error) => {
                Err(ExpectError::Pattern { pattern: pattern.clone(), why: error.to_string() })
            }
        }
    }

    /// What becomes of a verdict under this expectation. The evidence has what schedulers and programs
    /// said at length.
    #[must_use]
    pub fn apply(&self, mut verdict: Verdict, evidence: &Evidence) -> Verdict {
        if verdict.outcome() == Outcome::Skip {
            return verdict;
        }
        let finding = match self.meet(&verdict, evidence) {
            Ok(met) => {
                verdict = verdict.findings().iter().cloned().map(as_expected).collect();
                let text = format!("{} was expected, and came", self.wanted());
                Finding::new(CheckKind::Expectation, Outcome::Pass, text).facts([met])
            }
            Err((text, facts)) => {
                Finding::new(CheckKind::Expectation, Outcome::Fail, text).facts(facts)
            }
        };
        verdict.push(finding);
        verdict
    }

    /// The line of the finding that is the expected failure; or why there is none, with facts.
    fn meet(
        &self,
        verdict: &Verdict,
        evidence: &Evidence,
    ) -> Result<String, (String, Vec<String>)> {
        let pattern = self.compile().map_err(|error| (error.to_string(), Vec::new()))?;
        let wanted = self.wanted();
        if let Some(setup) = verdict.failures().find(|finding| finding.check.is_setup()) {
            let text = format!("{wanted} was expected, but what was to fail never came about");
            return Err((text, vec![setup.line()]));
        }
        if verdict.outcome() != Outcome::Fail {
            let text = format!("{wanted} was expected; what came: {}", verdict.outcome());
            return Err((text, vec![verdict.summary()]));
        }
        let is_candidate =
            |finding: &&Finding| self.check.is_none_or(|check| finding.check == check);
        let candidates: Vec<_> = verdict.failures().filter(is_candidate).collect();
        if candidates.is_empty() {
            let text = format!("{wanted} was expected; what failed is another check");
            return Err((text, verdict.failures().take(2).map(Finding::line).collect()));
        }
        let texts: Vec<_> = candidates.iter().map(|finding| said(finding, evidence)).collect();
        let matches = |text: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
        let fits =
            |text: &String| self.contains.iter().all(|part| text.contains(part)) && matches(text);
        let Some(met) = texts.iter().position(fits).map(|at| candidates[at]) else {
            let text = format!("{wanted} was expected; nothing that failed says so");
            let is_missing = |part: &&String| !texts.iter().any(|text| text.contains(*part));
            let missing = self.contains.iter().filter(is_missing);
            let pattern = self.pattern.iter().filter(|_| !texts.iter().any(|text| matches(text)));
            let nearest = nearest(&texts, missing.chain(pattern));
            return Err((text, vec![format!("the nearest text is: {nearest}")]));
        };
        match verdict.failures().find(|finding| self.only && finding.check != met.check) {
            None => Ok(met.line()),
            Some(other) => {
                let text =
                    format!("{wanted} was expected, and no other; {} failed, too", other.check);
                Err((text, vec![other.line()]))
            }
        }
    }

    /// What is expected, in words.
    fn wanted(&self) -> String {
        let mut wanted = match self.check {
            Some(check) => format!("a failure of {check}"),
            None => "a failure".to_owned(),
        };
        let texts =
            self.contains.iter().map(|text| format!(" that says `{}`", one_line(text, 120)));
        let pattern = self
            .pattern
            .iter()
            .map(|pattern| format!(" that matches `{}`", one_line(pattern, 120)));
        wanted.extend(texts.chain(pattern));
        wanted
    }
}

/// The line of the texts that has the most words of what is missing; of equals the first.
fn nearest<'m>(texts: &[String], missing: impl Iterator<Item = &'m String>) -> String {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let wanted: Vec<_> = missing.flat_map(|text| words(text)).collect();
    let lines: Vec<_> = texts.iter().flat_map(|text| text.lines()).collect();
    let common = |line: &&str| words(line).iter().filter(|word| wanted.contains(word)).count();
    one_line(lines.into_iter().rev().max_by_key(common).unwrap_or_default(), 240)
}

/// A finding of a run that failed as it should.
fn as_expected(mut finding: Finding) -> Finding {
    if finding.outcome >= Outcome::Inconclusive {
        finding.text = format!("{} as expected: {}", finding.outcome, finding.text);
        finding.outcome = Outcome::Pass;
    }
    finding
}

/// All that is said of a finding: its own lines, and at length what its scheduler or program said.
fn said(finding: &Finding, evidence: &Evidence) -> String {
    let mut lines = vec![finding.line(), finding.place()];
    lines.extend(finding.facts.iter().cloned());
    match &finding.subject {
        Subject::Scheduler { name } => {
            for it in evidence.schedulers.iter().filter(|it| it.name == *name) {
                match &it.end {
                    SchedulerEnd::KernelError { reason, message, dump } => {
                        lines.extend([reason, message, dump].map(Clone::clone));
                    }
                    SchedulerEnd::Stalled { message, dump } => {
                        lines.extend([message, dump].map(Clone::clone));
                    }
                    _ => {}
                }
                lines.push(it.output_tail.clone());
            }
        }
        Subject::Payload { name, cgroup } => {
            for it in evidence.payloads.iter().filter(|it| (&it.name, &it.cgroup) == (name, cgroup))
            {
                lines.extend([it.stdout_tail.clone(), it.stderr_tail.clone()]);
            }
        }
        _ => {}
    }
    lines.extend((finding.check == CheckKind::CleanLog).then(|| evidence.kernel_log.join("\n")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::SchedulerReport;

    fn failed(check: CheckKind, text: &str) -> Verdict {
        Finding::new(check, Outcome::Fail, text).into()
    }

    fn apply(expect: &Expect, verdict: Verdict) -> (Outcome, String) {
        let verdict = expect.apply(verdict, &Evidence::default());
        (verdict.outcome(), verdict.explain())
    }

    #[test]
    fn a_matching_failure_passes_and_says_what_it_was() {
        let expect = Expect::failure().of(CheckKind::Gap).containing("no checkpoint").unwrap();
        let both = failed(CheckKind::Gap, "no checkpoint for 3 s")
            .merge(failed(CheckKind::Spread, "by 60 points"));
        let (outcome, said) = apply(&expect, both.clone());
        assert_eq!(outcome, Outcome::Pass);
        insta::assert_snapshot!(said, @"
        pass expectation: a failure of gap that says `no checkpoint` was expected, and came
          - gap: no checkpoint for 3 s
        pass gap: fail as expected: no checkpoint for 3 s
        pass spread: fail as expected: by 60 points
        ");
        let (outcome, said) = apply(&expect.only(), both);
        assert_eq!(outcome, Outcome::Fail);
        assert!(said.contains("and no other; spread failed, too"), "{said}");
    }

    #[test]
    fn nothing_else_satisfies_it() {
        let expect = Expect::failure().of(CheckKind::Gap);
        let pass = Verdict::from(Finding::new(CheckKind::Gap, Outcome::Pass, "at most 3 ms"));
        let open =
            Verdict::from(Finding::new(CheckKind::Gap, Outcome::Inconclusive, "no checkpoint"));
        for (verdict, why) in [
            (pass, "was expected; what came: pass"),
            (open, "was expected; what came: inconclusive"),
            (
                failed(CheckKind::Spread, "by 60 points"),
                "what failed is another check\n  - spread: by 60 points",
            ),
        ] {
            let (outcome, said) = apply(&expect, verdict);
            assert_eq!(outcome, Outcome::Fail, "{said}");
            assert!(said.starts_with("FAIL expectation: a failure of gap "), "{said}");
            assert!(said.contains(why), "{said}");
        }
        for setup in CheckKind::ALL.iter().copied().filter(|check| check.is_setup()) {
            // Even where it is the very check that is expected, or what is expected failed as well.
            for expect in [Expect::failure(), Expect::failure().of(setup), expect.clone()] {
                let verdict = failed(setup, "it never came").merge(failed(CheckKind::Gap, "3 s"));
                assert_eq!(apply(&expect, verdict).0, Outcome::Fail);
            }
        }
        let skip = Verdict::from(Finding::new(CheckKind::Gap, Outcome::Skip, "no worker"));
        assert_eq!(expect.apply(skip.clone(), &Evidence::default()), skip);
    }

    #[test]
    fn a_text_that_is_not_there_is_answered_with_the_nearest() {
        let name = "scx_mine".to_owned();
        let end = SchedulerEnd::KernelError {
            reason: "runtime error".into(),
            message: "invalid CPU -3 from scx_bpf_kick_cpu".into(),
            dump: "CPU 0: nr_run=3\nCPU 1: nr_run=0".into(),
        };
        let report = SchedulerReport { name: name.clone(), end, ..SchedulerReport::default() };
        let evidence = Evidence { schedulers: vec![report], ..Evidence::default() };
        let verdict = || {
            let finding =
                Finding::new(CheckKind::SchedulerLives, Outcome::Fail, "the kernel threw it out");
            Verdict::from(finding.about(Subject::Scheduler { name: name.clone() }))
        };
        let expect =
            Expect::failure().containing("invalid DSQ").unwrap().matching("nr_run=[0-9]").unwrap();
        let came = expect.apply(verdict(), &evidence);
        assert_eq!(came.outcome(), Outcome::Fail);
        insta::assert_snapshot!(came.explain(), @"
        FAIL expectation: a failure that says `invalid DSQ` that matches `nr_run=[0-9]` was expected; nothing that failed says so
          - the nearest text is: invalid CPU -3 from scx_bpf_kick_cpu
        FAIL scheduler-lives: scheduler scx_mine: the kernel threw it out
        ");
        // The kernel's dump counts as said.
        let expect =
            Expect::failure().containing("invalid CPU").unwrap().matching("nr_run=[0-9]").unwrap();
        assert_eq!(expect.apply(verdict(), &evidence).outcome(), Outcome::Pass);
    }

    #[test]
    fn what_would_match_everything_is_refused() {
        assert_eq!(Expect::failure().containing(""), Err(ExpectError::EmptyText));
        assert_eq!(Expect::failure().matching("a*"), Err(ExpectError::EmptyMatch("a*".into())));
        assert!(matches!(Expect::failure().matching("(a"), Err(ExpectError::Pattern { .. })));
        // Read from a file it is found out when it is used, and satisfies nothing.
        let read: Expect = serde_json::from_str(r#"{"check": "gap", "pattern": "a*"}"#).unwrap();
        assert_eq!(apply(&read, failed(CheckKind::Gap, "3 s")).0, Outcome::Fail);
    }
}
