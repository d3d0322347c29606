//! How the scheduler ended.

use crate::report::{Event, say};

/// `SCX_EXIT_UNREG_KERN`: up to here the scheduler, its loader or a coming and going of CPUs has
/// ended it. What is above nobody on this side has asked for.
const LAST_ASKED_FOR: u32 = 66;

/// How the scheduler ended, in the kernel's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The number of `enum scx_exit_kind`.
    pub(crate) kind: u32,
    /// The kernel's words for the kind.
    pub(crate) reason: String,
    /// What happened, if there is more to say.
    pub(crate) message: String,
    /// The scheduler's own exit code.
    pub(crate) code: i64,
    /// The state of the scheduler and of the CPUs, where the kernel wrote it down.
    pub(crate) dump: String,
}

impl Outcome {
    /// Whether the kernel threw the scheduler out: for an error, or because an administrator
    /// asked it to.
    pub(crate) fn is_forced(&self) -> bool {
        self.kind > LAST_ASKED_FOR
    }

    /// The line, and the dump in the form in which the scx project's schedulers show theirs.
    pub(crate) fn text(&self) -> String {
        let exit = Event::Exit {
            kind: self.kind,
            name: name(self.kind),
            reason: self.reason.clone(),
            message: self.message.clone(),
            code: self.code,
            dump_bytes: self.dump.len(),
        };
        let mut text = exit.line();
        if !self.dump.is_empty() {
            let rule = "=".repeat(80);
            text.push_str(&format!("\nDEBUG DUMP\n{rule}\n\n{}\n{rule}\n", self.dump));
        }
        text
    }

    /// Writes it to standard error.
    pub(crate) fn say(&self) {
        say(&self.text());
    }
}

/// What the kernel calls a kind.
fn name(kind: u32) -> &'static str {
    match kind {
        0 => "none",
        1 => "done",
        64 => "unreg",
        65 => "unreg_bpf",
        66 => "unreg_kern",
        67 => "sysrq",
        68 => "parent",
        1024 => "error",
        1025 => "error_bpf",
        1026 => "error_stall",
        _ => "unknown",
    }
}

/// The text in a C string's buffer, with what is not UTF-8 replaced.
pub(crate) fn text_of(buffer: &[i8]) -> String {
    let bytes: Vec<u8> = buffer.iter().take_while(|&&byte| byte != 0).map(|&b| b as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_without_a_dump_is_one_line() {
        let outcome = Outcome {
            kind: 64,
            reason: "unregistered from user space".into(),
            ..Outcome::default()
        };
        assert!(!outcome.is_forced());
        assert_eq!(
            outcome.text(),
            r#"{"scx_exit":{"kind":64,"name":"unreg","reason":"unregistered from user space","message":"","code":0,"dump_bytes":0}}"#
        );
    }

    #[test]
    fn an_error_has_its_dump_between_rules() {
        let outcome = Outcome {
            kind: 1026,
            reason: "runnable task stall".into(),
            message: "w[7] failed to run for 5.1s".into(),
            code: 0,
            dump: "CPU states\n".into(),
        };
        assert!(outcome.is_forced());
        let rule = "=".repeat(80);
        let line = r#"{"scx_exit":{"kind":1026,"name":"error_stall","reason":"runnable task stall","message":"w[7] failed to run for 5.1s","code":0,"dump_bytes":11}}"#;
        assert_eq!(outcome.text(), format!("{line}\nDEBUG DUMP\n{rule}\n\nCPU states\n\n{rule}\n"));
    }

    #[test]
    fn only_an_end_from_this_side_is_not_forced() {
        let forced = |kind| Outcome { kind, ..Outcome::default() }.is_forced();
        assert_eq!(
            [64, 65, 66, 67, 1024, 1025, 1026].map(forced),
            [false, false, false, true, true, true, true]
        );
    }

    #[test]
    fn text_ends_at_a_zero_byte_or_with_the_buffer() {
        assert_eq!(text_of(&[97, 0, 98]), "a");
        assert_eq!(text_of(&[97, -1]), "a\u{fffd}");
        assert_eq!(text_of(&[]), "");
    }
}
