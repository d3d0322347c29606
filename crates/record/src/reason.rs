//! Why a run came to its outcome.

use std::fmt;

use belljar_verdict::Outcome;
use serde::{Deserialize, Serialize};

use crate::text::{duration_ns, one_line};

/// Why a run came to its outcome, with the facts as fields.
///
/// In JSON an object whose `kind` is the variant's name in kebab case. `Display` gives one line, a
/// lower-case fragment that completes "test failed: …":
///
/// ```
/// use belljar_record::{Outcome, Reason};
///
/// let reason = Reason::Timeout { limit_ms: 30_000 };
/// assert_eq!(format!("test failed: {reason}"), "test failed: still running at its time limit of 30 s");
/// assert_eq!(reason.outcome(), Outcome::Fail);
/// assert_eq!(serde_json::to_string(&reason)?, r#"{"kind":"timeout","limit_ms":30000}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The body returned and every check held.
    Passed,
    /// A check of belljar's did not hold.
    Assertion {
        /// What was wanted and what was seen, possibly on several lines.
        message: String,
        /// Where the check is written.
        at: Option<Place>,
    },
    /// A scenario was played, and what it showed does not keep a limit.
    Check {
        /// Which check, as in `isolation`.
        check: String,
        /// The finding: who, where, when, what was measured, and the limit.
        message: String,
    },
    /// The body panicked.
    Panic {
        /// The panic's message, possibly on several lines.
        message: String,
        /// Where it panicked.
        at: Option<Place>,
    },
    /// The body returned an error.
    Error {
        /// The error itself.
        message: String,
        /// Its sources, outermost first.
        chain: Vec<String>,
    },
    /// The body had not returned when its time was over.
    Timeout {
        /// The limit in milliseconds of guest time.
        limit_ms: u64,
    },
    /// The guest's kernel panicked.
    KernelPanic {
        /// The console line that says so.
        message: String,
    },
    /// The guest's kernel reported a bug and went on.
    KernelOops {
        /// The console line that says so.
        message: String,
    },
    /// The guest ran out of memory.
    OutOfMemory {
        /// The process that the kernel killed, where the console names it.
        victim: Option<String>,
    },
    /// The agent in the guest went away or stopped to answer.
    AgentLost {
        /// What was last heard of it.
        detail: String,
    },
    /// The guest stopped to make progress.
    GuestHung {
        /// How long nothing moved, in milliseconds of host time.
        watchdog_ms: u64,
    },
    /// QEMU ended when it should not have.
    QemuDied {
        /// How it ended, as in `exit status: 1`.
        status: String,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// No template could be made for the test to be forked from.
    TemplateFailed {
        /// Which step failed, and how.
        detail: String,
    },
    /// The test's scenario makes no sense on its topology; no VM was started.
    Scenario {
        /// What is wrong with which step.
        detail: String,
    },
    /// A scheduler under test could not be built or found; no VM was started.
    SchedulerBuild {
        /// Which, and what happened.
        detail: String,
    },
    /// A scheduler under test did not come to schedule.
    SchedulerNotLoaded {
        /// Which, and why.
        detail: String,
    },
    /// The guest said more than the channel holds.
    ChannelOverflow {
        /// Which log was full.
        log: String,
        /// What it holds, in bytes.
        limit_bytes: u64,
    },
    /// The guest wrote something into the channel that is no message.
    ChannelGarbage {
        /// What was wrong with it, and where.
        detail: String,
    },
    /// The body returned and left processes behind.
    Leaked {
        /// Their names, as in `sleep (pid 71)`.
        processes: Vec<String>,
    },
    /// The test process ended before it had reported a result.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// The test process was killed before it had reported a result.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// The test failed, as it is declared to.
    ExpectedFailure {
        /// The failure.
        reason: Box<Reason>,
    },
    /// The test passed, though it is declared to fail.
    UnexpectedPass,
    /// The test decided not to run, or was told not to.
    Skipped {
        /// Why.
        why: String,
    },
    /// The test could not decide.
    Inconclusive {
        /// Why.
        why: String,
    },
    /// The kernel lacks what the test needs; no VM was started.
    Refused {
        /// The abilities that are missing.
        missing: Vec<String>,
        /// Known kernels that have all of them.
        found_in: Vec<String>,
    },
    /// The run was stopped from outside, by a signal or by the user.
    Interrupted,
    /// belljar itself failed.
    Internal {
        /// What happened.
        detail: String,
    },
    /// A kind that this belljar does not know, from a record of a newer minor format. Never written.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Unknown,
}

impl Reason {
    /// Whether [`Reason`]'s one line shows `message` as it is.
    pub(crate) fn is_short(message: &str) -> bool {
        one_line(message, CHARS_MAX) == message.trim()
    }

    /// The outcome that follows from this reason.
    ///
    /// Whatever kept a run from its answer by breaking is a failure, so that a suite is never green
    /// by accident; only [`Reason::Inconclusive`], [`Reason::Interrupted`] and a kind that is not
    /// known are without a verdict.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Passed | Self::ExpectedFailure { .. } => Outcome::Pass,
            Self::Skipped { .. } => Outcome::Skip,
            Self::Inconclusive { .. } | Self::Interrupted | Self::Unknown => Outcome::Inconclusive,
            _ => Outcome::Fail,
        }
    }

    /// Whether the test itself brought this about, rather than the harness, the host or the user.
    /// Only such a failure can be an expected one: a VM that did not start proves nothing.
    pub fn is_of_test(&self) -> bool {
        !matches!(
            self,
            Self::AgentLost { .. }
                | Self::QemuDied { .. }
                | Self::TemplateFailed { .. }
                | Self::Scenario { .. }
                | Self::SchedulerBuild { .. }
                | Self::SchedulerNotLoaded { .. }
                | Self::ChannelOverflow { .. }
                | Self::ChannelGarbage { .. }
                | Self::Refused { .. }
                | Self::Interrupted
                | Self::Internal { .. }
                | Self::Unknown
        )
    }

    /// The reason for a test that is declared to fail: a failure of the test becomes
    /// [`Reason::ExpectedFailure`], a pass [`Reason::UnexpectedPass`]; anything else stays.
    #[must_use]
    pub fn when_failure_expected(self) -> Self {
        match self {
            Self::Passed => Self::UnexpectedPass,
            Self::ExpectedFailure { .. } | Self::UnexpectedPass => self,
            _ if self.outcome() == Outcome::Fail && self.is_of_test() => {
                Self::ExpectedFailure { reason: Box::new(self) }
            }
            _ => self,
        }
    }

    /// The message in full and where it arose, for the reasons that have a place in the test.
    pub(crate) fn message_and_place(&self) -> Option<(&str, Option<&Place>)> {
        match self {
            Self::Assertion { message, at } | Self::Panic { message, at } => {
                Some((message, at.as_ref()))
            }
            Self::ExpectedFailure { reason } => reason.message_and_place(),
            _ => None,
        }
    }
}

/// Characters of a message that fit on the one line of a reason.
const CHARS_MAX: usize = 240;

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| one_line(text, CHARS_MAX);
        let list = |texts: &[String]| line(&texts.join(", "));
        match self {
            Self::Passed => write!(out, "passed"),
            Self::Assertion { message, at } => {
                let is_named = message.starts_with("assertion");
                let prefix = if is_named { "" } else { "assertion failed: " };
                write!(out, "{prefix}{}{}", line(message), AtPlace(at.as_ref()))
            }
            Self::Check { check, message } => write!(out, "{}: {}", line(check), line(message)),
            Self::Panic { message, at } => {
                write!(out, "panicked: {}{}", line(message), AtPlace(at.as_ref()))
            }
            Self::Error { message, chain } => {
                let whole: Vec<&str> =
                    [message].into_iter().chain(chain).map(String::as_str).collect();
                write!(out, "returned an error: {}", line(&whole.join(": ")))
            }
            Self::Timeout { limit_ms } => {
                write!(out, "still running at its time limit of {}", milliseconds(*limit_ms))
            }
            Self::KernelPanic { message } => {
                write!(out, "guest kernel panicked: {}", line(message))
            }
            Self::KernelOops { message } => {
                write!(out, "guest kernel reported a bug: {}", line(message))
            }
            Self::OutOfMemory { victim: Some(victim) } => {
                write!(out, "guest ran out of memory: its kernel killed {}", line(victim))
            }
            Self::OutOfMemory { victim: None } => write!(out, "guest ran out of memory"),
            Self::AgentLost { detail } => write!(out, "guest agent was lost: {}", line(detail)),
            Self::GuestHung { watchdog_ms } => {
                write!(out, "guest hung: nothing moved for {}", milliseconds(*watchdog_ms))
            }
            Self::QemuDied { status, stderr } if stderr.trim().is_empty() => {
                write!(out, "QEMU ended ({}) and said nothing", line(status))
            }
            Self::QemuDied { status, stderr } => {
                write!(out, "QEMU ended ({}): {}", line(status), line(stderr))
            }
            Self::TemplateFailed { detail } => {
                write!(out, "template could not be made: {}", line(detail))
            }
            Self::Scenario { detail } => {
                write!(out, "scenario cannot be played: {}", line(detail))
            }
            Self::SchedulerBuild { detail } => {
                write!(out, "scheduler is not there: {}", line(detail))
            }
            Self::SchedulerNotLoaded { detail } => {
                write!(out, "scheduler did not load: {}", line(detail))
            }
            Self::ChannelOverflow { log, limit_bytes } => {
                write!(out, "guest said more than the {} log's {limit_bytes} bytes", line(log))
            }
            Self::ChannelGarbage { detail } => {
                write!(out, "guest wrote no valid message into the channel: {}", line(detail))
            }
            Self::Leaked { processes } => {
                write!(out, "left processes running: {}", list(processes))
            }
            Self::Exited { code } => {
                write!(out, "test process exited with code {code} before it reported a result")
            }
            Self::Signaled { signal } => {
                let name =
                    signal_name(*signal).map(|name| format!(" ({name})")).unwrap_or_default();
                write!(out, "test process was killed by signal {signal}{name}")
            }
            Self::ExpectedFailure { reason } => write!(out, "failed as expected: {reason}"),
            Self::UnexpectedPass => write!(out, "passed, but is declared to fail"),
            Self::Skipped { why } => write!(out, "skipped: {}", line(why)),
            Self::Inconclusive { why } => write!(out, "inconclusive: {}", line(why)),
            Self::Refused { missing, found_in } if found_in.is_empty() => {
                write!(out, "kernel lacks {}; no known kernel has it", list(missing))
            }
            Self::Refused { missing, found_in } => {
                write!(out, "kernel lacks {}, found in {}", list(missing), list(found_in))
            }
            Self::Interrupted => write!(out, "interrupted"),
            Self::Internal { detail } => write!(out, "belljar itself failed: {}", line(detail)),
            Self::Unknown => write!(out, "for a reason that this belljar does not know"),
        }
    }
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// The file as the compiler was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl From<&std::panic::Location<'_>> for Place {
    fn from(location: &std::panic::Location<'_>) -> Self {
        let (line, column) = (location.line(), location.column());
        Self { file: location.file().to_string(), line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", one_line(&self.file, CHARS_MAX), self.line, self.column)
    }
}

struct AtPlace<'a>(Option<&'a Place>);

impl fmt::Display for AtPlace<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |place| write!(out, ", at {place}"))
    }
}

fn milliseconds(ms: u64) -> String {
    duration_ns(ms.saturating_mul(1_000_000))
}

/// The usual names, for x86-64 and every other architecture that counts as it does.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// One of each kind, in the order of declaration.
    fn one_of_each() -> Vec<Reason> {
        let text = String::from;
        let at = Some(Place { file: text("tests/boot.rs"), line: 7, column: 5 });
        vec![
            Reason::Passed,
            Reason::Assertion { message: text("4 CPUs wanted, 2 seen"), at: at.clone() },
            Reason::Panic { message: text("assertion failed\n  left: 1\n right: 2"), at },
            Reason::Error { message: text("no cgroup"), chain: vec![text("mount"), text("EPERM")] },
            Reason::Timeout { limit_ms: 1500 },
            Reason::KernelPanic { message: text("VFS: Unable to mount root") },
            Reason::KernelOops { message: text("BUG: unable to handle page fault") },
            Reason::OutOfMemory { victim: Some(text("stress")) },
            Reason::OutOfMemory { victim: None },
            Reason::AgentLost { detail: text("no hello in 5 s") },
            Reason::GuestHung { watchdog_ms: 10_000 },
            Reason::QemuDied { status: text("signal: 9"), stderr: String::new() },
            Reason::QemuDied { status: text("exit status: 1"), stderr: text("no such CPU\n") },
            Reason::TemplateFailed { detail: text("boot took 60 s") },
            Reason::ChannelOverflow { log: text("reply"), limit_bytes: 1 << 20 },
            Reason::ChannelGarbage { detail: text("length 9999 at offset 64") },
            Reason::Leaked { processes: vec![text("sleep (pid 71)"), text("sh (pid 70)")] },
            Reason::Exited { code: 3 },
            Reason::Signaled { signal: 11 },
            Reason::Signaled { signal: 40 },
            Reason::ExpectedFailure { reason: Box::new(Reason::Exited { code: 3 }) },
            Reason::UnexpectedPass,
            Reason::Skipped { why: text("needs 2 nodes") },
            Reason::Inconclusive { why: text("no wakeups were counted") },
            Reason::Refused {
                missing: vec![text("sched_ext")],
                found_in: vec![text("debian:sid")],
            },
            Reason::Refused { missing: vec![text("sched_ext"), text("BTF")], found_in: vec![] },
            Reason::Interrupted,
            Reason::Internal { detail: text("record thread is gone") },
            Reason::Unknown,
        ]
    }

    #[test]
    fn each_kind_reads_as_one_line() {
        let lines: Vec<_> = one_of_each()
            .iter()
            .map(|reason| format!("{:12} {reason}", reason.outcome()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_kind_of_a_newer_format_is_kept_apart() {
        let json = r#"{"kind":"scheduler-stalled","task":"worker-1"}"#;
        assert_eq!(serde_json::from_str::<Reason>(json).unwrap(), Reason::Unknown);
    }

    #[test]
    fn only_a_failure_of_the_test_can_be_expected() {
        for reason in one_of_each() {
            let before = (reason.outcome(), reason.is_of_test());
            let after = reason.clone().when_failure_expected();
            match (reason, before) {
                (Reason::Passed, _) => assert_eq!(after, Reason::UnexpectedPass),
                (Reason::UnexpectedPass, _) => assert_eq!(after, Reason::UnexpectedPass),
                (reason, (Outcome::Fail, true)) => {
                    assert_eq!(after, Reason::ExpectedFailure { reason: Box::new(reason) });
                    assert_eq!(after.outcome(), Outcome::Pass);
                }
                (reason, _) => assert_eq!(after, reason),
            }
        }
    }

    proptest! {
        #[test]
        fn expecting_failure_twice_is_expecting_it_once(reason in testing::reasons()) {
            let once = reason.when_failure_expected();
            prop_assert!(!once.to_string().contains('\n'));
            prop_assert_eq!(once.clone().when_failure_expected(), once);
        }
    }
}
