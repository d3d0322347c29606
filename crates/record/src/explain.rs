//! One record as text for people.

use std::fmt::Write as _;
use std::path::Path;

use belljar_verdict::Outcome;

use crate::reason::Reason;
use crate::record::Record;
use crate::text::{Tail, duration_ns, one_line, printable};

/// Lines of each output that are shown.
const OUTPUT_LINES: usize = 30;
const CONSOLE_LINES: usize = 15;

impl Record {
    /// What came of the run, for a terminal or a log: which test, why, where, the ends of its
    /// outputs and of the console, and how to run it again. `path` is the record's file.
    ///
    /// A run that passed or was skipped is told in two lines. Colour adds nothing that the text
    /// does not say. Nothing the guest wrote can control the terminal.
    pub fn explain(&self, path: &Path, colour: bool) -> String {
        let paint = Paint(colour);
        let mut out = String::new();
        self.explain_head(&mut out, paint);
        if self.outcome.is_good() {
            return out;
        }
        for played in &self.scenarios {
            let story = played.verdict.explain();
            if !story.is_empty() {
                out.push('\n');
                push_lines(&mut out, printable(&story).lines(), "  ");
            }
        }
        // On one line the reason has said it all.
        let message = self.reason.message_and_place();
        if let Some((message, at)) = message.filter(|(message, _)| !Reason::is_short(message)) {
            let place = at.map_or_else(|| "place unknown".to_string(), |at| format!("at {at}"));
            let _ = writeln!(out, "\n  {}", paint.bold(&place));
            push_lines(&mut out, printable(message).trim_matches('\n').lines(), "    ");
        }
        push_tail(&mut out, "stdout", &self.stdout, OUTPUT_LINES, paint);
        push_tail(&mut out, "stderr", &self.stderr, OUTPUT_LINES, paint);
        // What a check found is not on the console.
        if !matches!(self.reason, Reason::Check { .. }) {
            push_tail(&mut out, "console", &self.console, CONSOLE_LINES, paint);
        }
        let path = shell_word(&path.to_string_lossy());
        let _ = writeln!(out, "\n  replay: cargo belljar replay {path}");
        out
    }

    fn explain_head(&self, out: &mut String, paint: Paint) {
        let outcome = self.outcome.word().to_uppercase();
        let title = one_line(&self.identity.title(), 200);
        let _ = write!(out, "{} {}", paint.outcome(self.outcome, &outcome), paint.bold(&title));
        for part in [&self.identity.package, &self.identity.binary] {
            if !part.is_empty() {
                let sign = if std::ptr::eq(part, &self.identity.package) { " in " } else { "::" };
                let _ = write!(out, "{sign}{}", one_line(part, 100));
            }
        }
        let _ = writeln!(out, "{}", paint.dim(&self.setting()));
        let prefix = if self.outcome == Outcome::Fail { "test failed: " } else { "" };
        let _ = writeln!(out, "  {prefix}{}", self.reason);
    }

    /// Where it ran and for how long: ` (1n2l4c1t, 512 MiB, det, kernel debian:sid, seed 7, 1.5 s)`.
    fn setting(&self) -> String {
        let vm = &self.vm;
        let mode = if vm.mode.used.is_empty() { &vm.mode.requested } else { &vm.mode.used };
        let mut parts = Vec::new();
        if !vm.topology.is_empty() {
            parts.push(one_line(&vm.topology, 60));
        }
        if vm.memory_mib > 0 {
            parts.push(format!("{} MiB", vm.memory_mib));
        }
        if !mode.is_empty() {
            parts.push(one_line(mode, 20));
        }
        if !vm.kernel.id.is_empty() {
            parts.push(format!("kernel {}", one_line(&vm.kernel.id, 60)));
        }
        parts.extend(vm.scheduler.iter().map(|scheduler| one_line(&scheduler.name, 60)));
        parts.extend(vm.seed.map(|seed| format!("seed {seed}")));
        parts.extend(self.durations.run_ns.map(duration_ns));
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }
}

fn push_lines<'a>(out: &mut String, lines: impl Iterator<Item = &'a str>, indent: &str) {
    for line in lines {
        out.push_str(format!("{indent}{line}").trim_end());
        out.push('\n');
    }
}

fn push_tail(out: &mut String, name: &str, tail: &Tail, lines_max: usize, paint: Paint) {
    if tail.is_empty() {
        return;
    }
    let text = printable(&tail.text);
    let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
    let hidden = lines.len().saturating_sub(lines_max);
    let cut = match (hidden, tail.dropped_bytes) {
        (0, 0) => String::new(),
        (hidden, 0) => format!(", last {lines_max} of {} lines", hidden + lines_max),
        _ => ", last lines".to_string(),
    };
    let _ = writeln!(out, "\n  {}{cut}:", paint.bold(name));
    push_lines(out, lines[hidden..].iter().copied(), &paint.dim("  | "));
}

/// `word` so that a shell takes it as one, and no terminal as a command.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=,@:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_string()
    } else {
        format!("'{}'", printable(word).replace('\'', r"'\''"))
    }
}

#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn outcome(self, outcome: Outcome, text: &str) -> String {
        let code = match outcome {
            Outcome::Skip => "1;36",
            Outcome::Pass => "1;32",
            Outcome::Inconclusive => "1;33",
            Outcome::Fail => "1;31",
        };
        self.with(code, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn explain(change: impl FnOnce(&mut Record)) -> String {
        let mut record = testing::failed();
        change(&mut record);
        record.outcome = record.reason.outcome();
        record.explain("target/belljar/debian_sid/cpus.json".as_ref(), false)
    }

    #[test]
    fn a_failed_assertion() {
        insta::assert_snapshot!(explain(|_| ()));
    }

    #[test]
    fn a_failed_assertion_in_colour() {
        let text = testing::failed().explain("cpus.json".as_ref(), true);
        insta::assert_snapshot!(text.replace('\x1b', "^"));
    }

    #[test]
    fn a_failed_check_on_one_line() {
        insta::assert_snapshot!(explain(|record| {
            let message = "worker 3 in /busy waited 1.2 s, limit 1 s".to_string();
            let at = record.reason.message_and_place().and_then(|(_, at)| at.cloned());
            record.reason = Reason::Assertion { message, at };
            record.stdout = Tail { text: "end\n\n\n".to_string(), dropped_bytes: 70_000 };
            (record.stderr, record.console) = (Tail::default(), Tail::default());
        }));
    }

    #[test]
    fn a_kernel_panic_with_a_long_console() {
        insta::assert_snapshot!(explain(|record| {
            record.reason = Reason::KernelPanic { message: "VFS: Unable to mount root".into() };
            let console: String = (1..40).map(|n| format!("[    {n}.0] line {n}\r\n")).collect();
            record.console = Tail::with_limit(console.as_bytes(), 400);
            record.stdout = Tail::new("word\n".repeat(40).as_bytes());
            record.stderr = Tail::default();
        }));
    }

    #[test]
    fn a_refusal_before_any_vm() {
        insta::assert_snapshot!(explain(|record| {
            let (missing, found_in) = (vec!["sched_ext".into()], vec!["debian:sid".into()]);
            *record = Record::new(
                record.identity.clone(),
                record.started_at,
                Reason::Refused { missing, found_in },
            );
        }));
    }

    #[test]
    fn an_inconclusive_run() {
        insta::assert_snapshot!(explain(|record| {
            record.reason = Reason::Inconclusive { why: "no wakeups were counted".into() };
            (record.stdout, record.stderr) = (Tail::default(), Tail::default());
            record.console = Tail::default();
        }));
    }

    #[test]
    fn a_pass_and_a_skip_are_told_in_two_lines() {
        insta::assert_snapshot!(explain(|record| record.reason = Reason::Passed));
        insta::assert_snapshot!(explain(|record| {
            record.reason = Reason::Skipped { why: "needs 2 nodes".into() };
            record.identity.variant.clear();
        }));
    }

    #[test]
    fn paths_are_quoted_where_a_shell_wants_it() {
        let words = ["a/b.json", "", "it's here"].map(shell_word);
        assert_eq!(words, ["a/b.json", "''", r"'it'\''s here'"]);
    }
}
