//! What this program says of itself: lines of JSON on standard error, for programs to read.

use serde::Serialize;
use std::io::{self, Write};

/// Something that happened. Each is one line, an object with one member named as here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Event {
    /// The programs are in the kernel, and `--never-attach` leaves it at that.
    #[serde(rename = "scx_loaded")]
    Loaded {
        /// From the start of the loading.
        load_us: u64,
    },
    /// The scheduler schedules.
    #[serde(rename = "scx_attached")]
    Attached {
        /// What `/sys/kernel/sched_ext/root/ops` says.
        ops: &'static str,
        /// From the start of the loading to the last program's verification.
        load_us: u64,
        /// From there until all tasks were switched.
        attach_us: u64,
    },
    /// The scheduler could not be loaded or attached.
    #[serde(rename = "scx_load_failed")]
    LoadFailed {
        /// How far it came.
        stage: Stage,
        /// Why it came no further.
        cause: Cause,
        /// The program that the verifier rejected, or what the kernel lacks.
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<String>,
        /// For people.
        message: String,
    },
    /// Cpusets were taken away from cgroups.
    #[serde(rename = "scx_cpusets_ignored")]
    CpusetsIgnored {
        /// The cgroups, by their paths.
        cgroups: Vec<String>,
    },
    /// Counters since the start.
    #[serde(rename = "scx_stats")]
    Stats {
        /// Tasks that went to a CPU without waiting in a queue.
        direct: u64,
        /// Tasks that went into the queue.
        queued: u64,
        /// Tasks that a fault held back.
        parked: u64,
        /// Tasks that it let go again.
        released: u64,
        /// Tasks that a fault chose a CPU for.
        steered: u64,
    },
    /// The scheduler is out of the kernel.
    #[serde(rename = "scx_exit")]
    Exit {
        /// The number of `enum scx_exit_kind`.
        kind: u32,
        /// What it is called there, without `SCX_EXIT_` and in small letters.
        name: &'static str,
        /// The kernel's words for the kind.
        reason: String,
        /// What happened, if there is more to say.
        message: String,
        /// The scheduler's exit code, as `scx_bpf_exit` has it; 0 where there is none.
        code: i64,
        /// The length of the dump that follows; 0 for none.
        dump_bytes: usize,
    },
}

/// How far loading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Looking at what is there.
    Probe,
    /// Reading our own object.
    Open,
    /// Verification.
    Load,
    /// Taking over.
    Attach,
}

/// Why it came no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cause {
    /// The verifier rejected a program; libbpf's log of that is above.
    Verifier,
    /// The kernel lacks what `what` says.
    Missing,
    /// Another scheduler is attached.
    Busy,
    /// Something else.
    Other,
}

impl Stage {
    /// What was being done.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Stage::Probe => "probe",
            Stage::Open => "open",
            Stage::Load => "load",
            Stage::Attach => "attach",
        }
    }
}

impl Event {
    /// The line, without its end.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("its members are numbers and text")
    }

    /// Writes the line to standard error.
    pub(crate) fn say(&self) {
        say(&self.line());
    }
}

/// Writes a line, or several, to standard error.
pub(crate) fn say(text: &str) {
    // Where nobody can read it there is nobody to tell that either.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_one_line_with_its_name_first() {
        let failed = Event::LoadFailed {
            stage: Stage::Load,
            cause: Cause::Verifier,
            what: Some("belljar_dispatch".into()),
            message: "Permission denied\n(os error 13)".into(),
        };
        assert_eq!(
            failed.line(),
            r#"{"scx_load_failed":{"stage":"load","cause":"verifier","what":"belljar_dispatch","message":"Permission denied\n(os error 13)"}}"#
        );
        let attached = Event::Attached { ops: "belljar", load_us: 7, attach_us: 8 };
        assert_eq!(
            attached.line(),
            r#"{"scx_attached":{"ops":"belljar","load_us":7,"attach_us":8}}"#
        );
    }
}
