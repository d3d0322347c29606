//! How a scheduler ended, from what the kernel and the scheduler's program say of it.
//!
//! The kernel's log is the most reliable source and comes first: `kernel/sched/ext.c` writes `BPF
//! scheduler "NAME" disabled (REASON)` when a scheduler is out, and then its message. The dump stands in
//! the program's output alone. What prevents loading is known to the program alone, too: to libbpf, which
//! writes the verifier's log between two lines, and says what it does not find.

use belljar_verdict::evidence::SchedulerEnd;
use serde_json::Value;

use crate::fold::fold;
use crate::kmsg::LogLine;
use crate::process::Status;

/// At most so much of a verifier's log is kept after folding, from its end.
const LOG_MAX_BYTES: usize = 256 << 10;
/// At most so much of a dump is kept, from its beginning.
const DUMP_MAX_BYTES: usize = 256 << 10;

/// Everything that tells how a scheduler ended.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// What the kernel called it while it was attached; empty if it never was.
    pub(crate) ops: &'a str,
    /// Whether it was seen to be attached.
    pub(crate) attached: bool,
    /// Whether it was asked to go.
    pub(crate) asked: bool,
    /// Whether it had to be killed, for not going when it was asked to, or for not attaching in time.
    pub(crate) killed: bool,
    /// How long it was waited for until it was attached, if that was in vain.
    pub(crate) waited_ns: u64,
    /// How its process ended; none while it lives.
    pub(crate) status: Option<Status>,
    /// The kernel's log since it was started.
    pub(crate) log: &'a [LogLine],
    /// What its program wrote.
    pub(crate) output: &'a str,
}

/// What the kernel said when a scheduler was out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disabled {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Disabled {
    /// Reads it from the kernel's log. `ops` is the scheduler's name, or empty for any.
    pub(crate) fn find(ops: &str, log: &[LogLine]) -> Option<Self> {
        let at = log.iter().rposition(|line| disabled(&line.text, ops).is_some())?;
        let (name, reason) = disabled(&log[at].text, ops)?;
        // Lines of other origins, and a stack trace, may stand between and behind.
        let prefix = format!("sched_ext: {name}: ");
        let message = log[at + 1..].iter().find_map(|line| line.text.strip_prefix(prefix.as_str()));
        let message = message.unwrap_or_default().to_owned();
        Some(Self { reason: reason.to_owned(), message })
    }

    /// Reads it from the program's output: our own scheduler's line of JSON, or the line that the
    /// scx project's schedulers end with.
    fn find_in_output(output: &str) -> Option<Self> {
        if let Some(exit) = events(output, "scx_exit").last() {
            let word = |name: &str| exit[name].as_str().unwrap_or_default().to_owned();
            return Some(Self { reason: word("reason"), message: word("message") });
        }
        let line = output.lines().rev().find_map(|line| line.split_once("EXIT: "))?.1.trim();
        let (reason, message) = match line.split_once(" (") {
            Some((reason, message)) => (reason, message.trim_end_matches(')')),
            None => (line, ""),
        };
        Some(Self { reason: reason.to_owned(), message: message.to_owned() })
    }

    pub(crate) fn is_error(&self) -> bool {
        !(self.is_by_itself() || self.is_sysrq())
    }

    /// The scheduler has left: its program, or it by its own means.
    fn is_by_itself(&self) -> bool {
        const OWN: [&str; 3] = [
            "unregistered from user space",
            "unregistered from BPF",
            "unregistered from the main kernel",
        ];
        OWN.contains(&self.reason.as_str())
    }

    fn is_sysrq(&self) -> bool {
        self.reason == "disabled by sysrq-S"
    }
}

/// The name and the reason in a line that says that a scheduler is out.
fn disabled<'a>(line: &'a str, ops: &str) -> Option<(&'a str, &'a str)> {
    let rest = line.strip_prefix("sched_ext: BPF scheduler \"")?;
    let (name, reason) = rest.split_once("\" disabled (")?;
    (ops.is_empty() || name == ops).then_some((name, reason.strip_suffix(')')?))
}

impl Ending<'_> {
    /// How it ended.
    pub(crate) fn classify(&self) -> SchedulerEnd {
        let said = Disabled::find(self.ops, self.log);
        let said = said.or_else(|| Disabled::find_in_output(self.output));
        if let Some(Disabled { reason, message }) = said.filter(Disabled::is_error) {
            let dump = dump(self.output);
            return if reason == "runnable task stall" {
                SchedulerEnd::Stalled { message, dump }
            } else {
                SchedulerEnd::KernelError { reason, message, dump }
            };
        }
        if self.attached { self.after_attaching() } else { self.before_attaching() }
    }

    fn after_attaching(&self) -> SchedulerEnd {
        match self.status {
            Some(Status::Exited(0)) if self.asked => SchedulerEnd::Detached,
            // It does not handle the signal, and the kernel has let go of it with its process.
            Some(Status::Signaled(libc::SIGINT | libc::SIGTERM)) if self.asked && !self.killed => {
                SchedulerEnd::Detached
            }
            _ if self.killed => SchedulerEnd::Unresponsive,
            Some(Status::Exited(0)) => SchedulerEnd::ExitedCleanly,
            Some(status) => SchedulerEnd::Died { status: status.to_string() },
            None => SchedulerEnd::Died { status: "it lives, and is not attached any more".into() },
        }
    }

    fn before_attaching(&self) -> SchedulerEnd {
        let failed = events(self.output, "scx_load_failed").last();
        let word = |name: &str| failed.as_ref().and_then(|failed| failed[name].as_str());
        if word("cause") == Some("missing") {
            let missing = word("what").or(word("message")).unwrap_or_default().to_owned();
            return SchedulerEnd::Unsupported { missing };
        }
        if let Some(log) = verifier_log(self.output) {
            return SchedulerEnd::Rejected { log: end_of(&fold(&log), LOG_MAX_BYTES).to_owned() };
        }
        if word("cause") == Some("verifier") {
            let log = word("message").unwrap_or_default().to_owned();
            return SchedulerEnd::Rejected { log };
        }
        if let Some(missing) = self.output.lines().find_map(missing) {
            return SchedulerEnd::Unsupported { missing };
        }
        match self.status {
            Some(status) if !self.killed => {
                let why =
                    word("message").map_or_else(String::new, |message| format!(": {message}"));
                SchedulerEnd::NotLoaded { status: format!("{status}{why}") }
            }
            _ => SchedulerEnd::NeverAttached { waited_ns: self.waited_ns },
        }
    }
}

/// The values of the lines `{"NAME":...}` in an output.
fn events<'a>(output: &'a str, name: &'a str) -> impl Iterator<Item = Value> + 'a {
    let lines = output.lines().filter(|line| line.starts_with("{\"scx_"));
    let values = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter_map(move |mut value| Some(value.get_mut(name)?.take()))
}

/// The kernel's dump, which the scx project's schedulers and our own write between two rules.
fn dump(output: &str) -> String {
    let Some((_, rest)) = output.rsplit_once("DEBUG DUMP\n") else { return String::new() };
    let rule = |line: &str| line.len() >= 40 && line.bytes().all(|byte| byte == b'=');
    let mut offset = 0;
    let mut begin = None;
    let mut end = rest.len();
    for line in rest.split_inclusive('\n') {
        if rule(line.trim_end()) {
            if begin.is_some() {
                end = offset;
                break;
            }
            begin = Some(offset + line.len());
        }
        offset += line.len();
    }
    let dump = rest[begin.unwrap_or(0)..end].trim_matches('\n');
    dump[..dump.floor_char_boundary(DUMP_MAX_BYTES)].to_owned()
}

/// The verifier's logs, with the names of the programs, as libbpf writes them.
fn verifier_log(output: &str) -> Option<String> {
    let begins = output.find("BEGIN PROG LOAD LOG")?;
    let line = |at: usize| output[..at].rfind('\n').map_or(0, |end| end + 1);
    let log = &output[line(begins)..];
    let ends = log.rfind("END PROG LOAD LOG");
    let end =
        ends.map_or(log.len(), |at| log[at..].find('\n').map_or(log.len(), |end| at + end + 1));
    Some(log[..end].to_owned())
}

/// What the kernel lacks, if a line of libbpf's says so.
fn missing(line: &str) -> Option<String> {
    const SIGNS: [(&str, &str); 7] = [
        ("not found in kernel or module BTFs", ""),
        ("not found in kernel BTF", ""),
        ("is not found in kernel BTF", ""),
        ("(strong): not resolved", ""),
        ("failed to find valid kernel BTF", "the kernel's BTF (CONFIG_DEBUG_INFO_BTF)"),
        ("Error loading vmlinux BTF", "the kernel's BTF (CONFIG_DEBUG_INFO_BTF)"),
        ("/sys/kernel/sched_ext", "sched_ext (CONFIG_SCHED_CLASS_EXT)"),
    ];
    let is_absent = |line: &str| line.contains("o such file") || line.contains("not exist");
    let (sign, what) = SIGNS.iter().find(|(sign, _)| line.contains(sign))?;
    if sign.starts_with('/') && !is_absent(line) {
        return None;
    }
    Some(if what.is_empty() {
        line.trim().trim_start_matches("libbpf: ").to_owned()
    } else {
        (*what).to_owned()
    })
}

/// The end of a text, from the beginning of a line on.
fn end_of(text: &str, bytes_max: usize) -> &str {
    let from = text.ceil_char_boundary(text.len().saturating_sub(bytes_max));
    if from == 0 {
        return text;
    }
    text[from..].split_once('\n').map_or(&text[from..], |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Ending<'static> = Ending {
        ops: "bell",
        attached: true,
        asked: false,
        killed: false,
        waited_ns: 7,
        status: None,
        log: &[],
        output: "",
    };

    fn log(lines: &[&str]) -> Vec<LogLine> {
        lines.iter().map(|text| LogLine { level: 3, at_us: 0, text: (*text).to_owned() }).collect()
    }

    #[test]
    fn the_kernels_log_comes_first() {
        let log = log(&[
            "sched_ext: BPF scheduler \"bell\" enabled",
            "sched_ext: BPF scheduler \"other\" disabled (scx_bpf_error)",
            "sched_ext: BPF scheduler \"bell\" disabled (runnable task stall)",
            "something else",
            "sched_ext: bell: w[71] failed to run for 5.020s",
            "   scx_watchdog_workfn+0x154/0x1e0",
        ]);
        let rule = "=".repeat(80);
        let output = format!(
            "DEBUG DUMP\n{rule}\n\nw[71] triggered exit kind 1026:\nCPU states\n\n{rule}\n\n\
             Error: EXIT: runnable task stall (other words)\n"
        );
        let ending =
            Ending { log: &log, output: &output, status: Some(Status::Exited(1)), ..NOTHING };
        assert_eq!(
            ending.classify(),
            SchedulerEnd::Stalled {
                message: "w[71] failed to run for 5.020s".into(),
                dump: "w[71] triggered exit kind 1026:\nCPU states".into(),
            }
        );
        // Without the log its program is believed, of either kind.
        let stalled = |message: &str, dump: &str| SchedulerEnd::Stalled {
            message: message.into(),
            dump: dump.into(),
        };
        let ending = Ending { log: &[], ..ending };
        assert_eq!(
            ending.classify(),
            stalled("other words", "w[71] triggered exit kind 1026:\nCPU states")
        );
        let output = "{\"scx_exit\":{\"kind\":1026,\"name\":\"error_stall\",\"reason\":\"runnable task \
                      stall\",\"message\":\"m\",\"code\":0,\"dump_bytes\":0}}\n";
        assert_eq!(Ending { output, ..ending }.classify(), stalled("m", ""));
    }

    #[test]
    fn an_error_is_not_a_stall() {
        let log = log(&[
            "sched_ext: BPF scheduler \"bell\" disabled (scx_bpf_error)",
            "sched_ext: bell: scx_bpf_error (as asked)",
        ]);
        assert_eq!(
            Ending { log: &log, ..NOTHING }.classify(),
            SchedulerEnd::KernelError {
                reason: "scx_bpf_error".into(),
                message: "scx_bpf_error (as asked)".into(),
                dump: String::new(),
            }
        );
    }

    #[test]
    fn ends_without_an_error_are_told_apart() {
        let log =
            log(&["sched_ext: BPF scheduler \"bell\" disabled (unregistered from user space)"]);
        let end = |asked, killed, status| {
            Ending { log: &log, asked, killed, status: Some(status), ..NOTHING }.classify()
        };
        let died = |status: &str| SchedulerEnd::Died { status: status.into() };
        assert_eq!(end(true, false, Status::Exited(0)), SchedulerEnd::Detached);
        assert_eq!(end(true, false, Status::Signaled(2)), SchedulerEnd::Detached);
        assert_eq!(end(true, true, Status::Signaled(9)), SchedulerEnd::Unresponsive);
        assert_eq!(end(true, false, Status::Exited(3)), died("it exited with code 3"));
        assert_eq!(end(false, false, Status::Exited(0)), SchedulerEnd::ExitedCleanly);
        assert_eq!(end(false, false, Status::Signaled(11)), died("signal 11 ended it"));
    }

    #[test]
    fn what_prevents_loading_is_told_apart() {
        let never = Ending { attached: false, ops: "", status: Some(Status::Exited(3)), ..NOTHING };
        let end = |output: &str| Ending { output, ..never }.classify();
        let unsupported = |missing: &str| SchedulerEnd::Unsupported { missing: missing.into() };
        let log = "libbpf: prog 'belljar_dispatch': -- BEGIN PROG LOAD LOG --\n\
                   1: (07) r1 += 1 ; R1=1\n1: (07) r1 += 1 ; R1=2\n1: (07) r1 += 1 ; R1=3\n\
                   infinite loop detected\nlibbpf: prog 'belljar_dispatch': -- END PROG LOAD LOG --\n";
        assert_eq!(
            end(&format!("before\n{log}after\n")),
            SchedulerEnd::Rejected { log: fold(log) }
        );
        assert_eq!(
            end(
                "{\"scx_load_failed\":{\"stage\":\"probe\",\"cause\":\"missing\",\"what\":\"btf\",\
                 \"message\":\"m\"}}\n"
            ),
            unsupported("btf")
        );
        assert_eq!(
            end("libbpf: extern (func ksym) 'scx_bpf_x': not found in kernel or module BTFs\n"),
            unsupported("extern (func ksym) 'scx_bpf_x': not found in kernel or module BTFs")
        );
        assert_eq!(
            end("libbpf: failed to find valid kernel BTF\n"),
            unsupported("the kernel's BTF (CONFIG_DEBUG_INFO_BTF)")
        );
        assert_eq!(end("no\n"), SchedulerEnd::NotLoaded { status: "it exited with code 3".into() });
        let in_vain = Ending { killed: true, status: Some(Status::Signaled(9)), ..never };
        assert_eq!(in_vain.classify(), SchedulerEnd::NeverAttached { waited_ns: 7 });
    }

    proptest! {
        #[test]
        fn any_output_ends_without_panic(
            output in "(DEBUG DUMP\n|={40,50}\n|EXIT: |[a(]{0,3}\\)|\\{\"scx_exit\":[0-9]*\\}\n|\
                       BEGIN PROG LOAD LOG|END PROG LOAD LOG|ü|\n|x){0,20}",
            attached in any::<bool>(),
        ) {
            let _ = Ending { output: &output, attached, ..NOTHING }.classify();
        }

        #[test]
        fn the_end_of_a_text_is_within_bounds(text in any::<String>(), bytes_max in 0usize..40) {
            let end = end_of(&text, bytes_max);
            prop_assert!(end.len() <= bytes_max);
            prop_assert!(text.ends_with(end));
        }
    }
}
