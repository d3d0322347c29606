//! What one check found.

use std::cmp::{Ordering, Reverse};
use std::fmt::{self, Write as _};

use belljar_topology::CpuId;
use serde::{Deserialize, Serialize};

use crate::evidence::WorkerReport;
use crate::text::{duration_ns, one_line};
use crate::{CheckKind, Origin, Outcome};

/// What one check found, about one subject.
///
/// A failure or an open question says who, where, when, what was measured, what the limit is and who
/// set it, and the facts that explain it. A pass says the worst that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// What was checked.
    pub check: CheckKind,
    /// What came of it.
    pub outcome: Outcome,
    /// Whom it is about.
    #[serde(default)]
    pub subject: Subject,
    /// On which CPU it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuId>,
    /// In which step it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// When it was seen, in nanoseconds of guest time from the scenario's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ns: Option<u64>,
    /// What was measured, in `unit`; `None` where nothing was, or no finite number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// What it was compared with, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// The unit of `measured` and `limit`.
    #[serde(default)]
    pub unit: Unit,
    /// Who set the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What was found, in one sentence.
    pub text: String,
    /// What explains it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
}

/// Whom a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Subject {
    /// The run as a whole.
    #[default]
    Run,
    /// A worker.
    Worker {
        /// Its cgroup; empty for the scenario's root.
        cgroup: String,
        /// Which of the cgroup's groups of workers.
        group: u32,
        /// Which of the group's workers.
        index: u32,
        /// Its work type.
        work: String,
        /// Its role in that; may be empty.
        role: String,
        /// Its thread id in the guest; 0 if it never had one.
        tid: u32,
    },
    /// The workers of one group that do the same.
    Group {
        /// Their cgroup; empty for the scenario's root.
        cgroup: String,
        /// Which of the cgroup's groups of workers.
        group: u32,
        /// Their role; may be empty.
        role: String,
    },
    /// A cgroup.
    Cgroup {
        /// Its name; empty for the scenario's root.
        name: String,
    },
    /// An external program.
    Payload {
        /// Its name.
        name: String,
        /// Its cgroup; empty for the scenario's root.
        cgroup: String,
    },
    /// A scheduler under test.
    Scheduler {
        /// Its name.
        name: String,
    },
    /// What a claim is about.
    Claimed {
        /// The claim's name for it.
        name: String,
    },
}

impl Subject {
    /// The worker that reported this.
    pub(crate) fn of(worker: &WorkerReport) -> Self {
        Self::Worker {
            cgroup: worker.cgroup.clone(),
            group: worker.group,
            index: worker.index,
            work: worker.work.clone(),
            role: worker.role.clone(),
            tid: worker.tid,
        }
    }

    /// Without what makes it long: `a/0.1`.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Run => "the run".to_owned(),
            Self::Worker { cgroup, group, index, .. } => {
                format!("{}/{group}.{index}", cgroup_name(cgroup))
            }
            Self::Group { cgroup, group, .. } => format!("{}/{group}", cgroup_name(cgroup)),
            Self::Cgroup { name } => cgroup_name(name),
            Self::Payload { name, .. } | Self::Scheduler { name } | Self::Claimed { name } => {
                one_line(name, 80)
            }
        }
    }
}

/// A cgroup as text has it: the root has a name, too.
pub(crate) fn cgroup_name(name: &str) -> String {
    if name.is_empty() { "(root)".to_owned() } else { one_line(name, 80) }
}

/// `a/0.1 (SpinWait, tid 71)`.
impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, short) = (self.word(), self.short());
        match self {
            Self::Run | Self::Claimed { .. } => out.write_str(&short),
            Self::Worker { work, role, tid, .. } => {
                let role = if role.is_empty() {
                    String::new()
                } else {
                    format!(" {}", one_line(role, 40))
                };
                write!(out, "{word} {short} ({}{role}", one_line(work, 40))?;
                if *tid > 0 { write!(out, ", tid {tid})") } else { out.write_str(")") }
            }
            Self::Group { role, .. } if !role.is_empty() => {
                write!(out, "{word} {short} ({})", one_line(role, 40))
            }
            _ => write!(out, "{word} {short}"),
        }
    }
}

impl Subject {
    fn word(&self) -> &'static str {
        match self {
            Self::Run | Self::Claimed { .. } => "",
            Self::Worker { .. } => "worker",
            Self::Group { .. } => "workers",
            Self::Cgroup { .. } => "cgroup",
            Self::Payload { .. } => "payload",
            Self::Scheduler { .. } => "scheduler",
        }
    }
}

/// A step, by number and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepName {
    /// Its number, from 0.
    pub index: u32,
    /// Its name; may be empty.
    pub name: String,
}

impl fmt::Display for StepName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(out, "step {}", u64::from(self.index) + 1),
            name => write!(out, "step {} `{}`", u64::from(self.index) + 1, one_line(name, 60)),
        }
    }
}

/// The unit of a measured value and its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A plain number: a count or a ratio.
    #[default]
    Plain,
    /// Nanoseconds.
    Ns,
    /// Percentage points.
    Points,
    /// Per second.
    PerSecond,
}

impl Unit {
    /// A value as people write it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Ns => duration_ns(value as u64),
            Self::Plain => number(value),
            Self::Points => format!("{} points", number(value)),
            Self::PerSecond => format!("{}/s", number(value)),
        }
    }
}

/// A number with about four digits.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if !(1e-4..1e15).contains(&size) && size != 0.0 && value.is_finite() => {
            return format!("{value:.3e}");
        }
        size if size >= 1000.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 3,
        _ => 6,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

impl Finding {
    /// A finding about the run as a whole.
    #[must_use]
    pub fn new(check: CheckKind, outcome: Outcome, text: impl Into<String>) -> Self {
        Self {
            check,
            outcome,
            subject: Subject::Run,
            cpu: None,
            step: None,
            at_ns: None,
            measured: None,
            limit: None,
            unit: Unit::Plain,
            origin: None,
            text: text.into(),
            facts: Vec::new(),
        }
    }

    /// Whom it is about.
    #[must_use]
    pub fn about(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// What explains it.
    #[must_use]
    pub fn facts(mut self, facts: impl IntoIterator<Item = String>) -> Self {
        self.facts.extend(facts);
        self
    }

    /// The first line: check, subject, what was found, and the limit.
    pub fn line(&self) -> String {
        let mut line = format!("{}: ", self.check);
        if self.subject != Subject::Run {
            let _ = write!(line, "{}: ", self.subject);
        }
        line.push_str(&one_line(&self.text, 400));
        match (self.limit, &self.origin) {
            (Some(limit), Some(origin)) => {
                let _ = write!(line, "; limit {} ({origin})", self.unit.show(limit));
            }
            (None, Some(origin)) if self.outcome == Outcome::Fail => {
                let _ = write!(line, " ({origin})");
            }
            _ => {}
        }
        line
    }

    /// Where and when: `in step 1 `squeeze`, on CPU 3, 3.12 s after the start`.
    pub fn place(&self) -> String {
        let step = self.step.as_ref().map(|step| format!("in {step}"));
        let cpu = self.cpu.map(|cpu| format!("on CPU {cpu}"));
        let at = self.at_ns.map(|at_ns| format!("{} after the start", duration_ns(at_ns)));
        [step, cpu, at].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// How many times the limit is exceeded, to tell the worst first.
    fn excess(&self) -> f64 {
        match (self.measured, self.limit) {
            (Some(measured), Some(limit)) if measured > 0.0 && limit > 0.0 => {
                (measured / limit).max(limit / measured)
            }
            (Some(_), Some(_)) => f64::INFINITY,
            _ => 0.0,
        }
    }

    /// The order in which findings are told: the gravest first, then by check and step, the worst first.
    /// Total: only equal findings compare equal.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (Reverse(it.outcome), it.check, it.step.clone());
        let rest = |it: &Self| {
            (
                it.subject.clone(),
                it.at_ns,
                it.cpu,
                it.unit,
                it.origin.clone(),
                it.text.clone(),
                it.facts.clone(),
            )
        };
        let bits = |it: &Self| (it.measured.map(f64::to_bits), it.limit.map(f64::to_bits));
        key(self)
            .cmp(&key(other))
            .then_with(|| other.excess().total_cmp(&self.excess()))
            .then_with(|| rest(self).cmp(&rest(other)))
            .then_with(|| bits(self).cmp(&bits(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let said =
            [0.0, -0.5, 0.041_25, 1.234_56, 15.0, 31.26, 1234.5, 2e-9, 3e20, f64::NAN].map(number);
        let want =
            ["0", "-0.5", "0.04125", "1.235", "15", "31.3", "1234", "2.000e-9", "3.000e20", "NaN"];
        assert_eq!(said, want);
    }
}
