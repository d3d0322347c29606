//! Text that someone else wrote, made safe to print, and the bounded ends of long outputs.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The end of an output that may have been longer than what is worth keeping.
///
/// Bytes that are not UTF-8 are replaced by U+FFFD. A cut falls behind a line end where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tail {
    /// What was kept.
    pub text: String,
    /// Bytes of the output that came before `text` and were dropped.
    pub dropped_bytes: u64,
}

impl Tail {
    /// The most bytes that [`Tail::new`] keeps.
    pub const LIMIT_BYTES: usize = 64 << 10;

    /// The last [`Tail::LIMIT_BYTES`] bytes of `output`.
    pub fn new(output: &[u8]) -> Self {
        Self::with_limit(output, Self::LIMIT_BYTES)
    }

    /// The last `limit_bytes` bytes of `output`, or somewhat fewer so that whole lines are kept.
    pub fn with_limit(output: &[u8], limit_bytes: usize) -> Self {
        let mut start = output.len().saturating_sub(limit_bytes);
        if start > 0 && output[start - 1] != b'\n' {
            let rest = &output[start..];
            let is_continuation = |byte: &&u8| **byte & 0xC0 == 0x80;
            start += match rest.iter().position(|byte| *byte == b'\n') {
                Some(line_end) if line_end + 1 < rest.len() => line_end + 1,
                _ => rest.iter().take(3).take_while(is_continuation).count(),
            };
        }
        Self {
            text: String::from_utf8_lossy(&output[start..]).into_owned(),
            dropped_bytes: start as u64,
        }
    }

    /// Whether the output was empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.dropped_bytes == 0
    }
}

/// `text` on one line of at most `chars_max` characters: lines are joined with `; `, control
/// characters escaped.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let text = printable(text);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// `text` without anything that could move a terminal's cursor or change its state: colours are
/// dropped, other control characters escaped, line ends and tabs kept.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\r' if after.starts_with(['\n', '\r']) => after,
            '\x1b' if colour_len(after).is_some() => &after[colour_len(after).unwrap_or(0)..],
            _ => {
                if is_harmless(c) {
                    clean.push(c);
                } else {
                    let _ = write!(clean, "{}", c.escape_default());
                }
                after
            }
        };
    }
    Cow::Owned(clean)
}

/// Length of the rest of a colour sequence (`[`, digits and semicolons, `m`) that `text` starts with.
fn colour_len(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix('[')?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..].starts_with('m').then_some(end + 2)
}

/// A duration in the unit in which people would say it.
pub(crate) fn duration_ns(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1e3, "us"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let number = format!("{:.3}", ns as f64 / unit);
    format!("{} {name}", number.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_falls_between_lines_or_at_least_between_characters() {
        let tail = |text: &str, limit| {
            let tail = Tail::with_limit(text.as_bytes(), limit);
            (tail.text, tail.dropped_bytes)
        };
        assert_eq!(tail("one\ntwo\n", 8), ("one\ntwo\n".into(), 0));
        assert_eq!(tail("one\ntwo\n", 6), ("two\n".into(), 4));
        assert_eq!(tail("one\ntwo\n", 4), ("two\n".into(), 4));
        assert_eq!(tail("one two\n", 5), (" two\n".into(), 3));
        assert_eq!(tail("üüüü", 3), ("ü".into(), 6));
        assert_eq!(tail("", 3), (String::new(), 0));
    }

    #[test]
    fn terminals_are_protected() {
        assert_eq!(printable("a\r\n\x1b[1;31mred\x1b[0m\tb"), "a\nred\tb");
        assert_eq!(printable("\x1b]0;title\x07\x1b[2J"), "\\u{1b}]0;title\\u{7}\\u{1b}[2J");
        assert_eq!(one_line("\n  left: 1\n right: 2\n", 99), "left: 1; right: 2");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }

    #[test]
    fn durations_are_said_in_their_unit() {
        let said = [0, 1_500, 30_000_000, 30_000_000_000].map(duration_ns);
        assert_eq!(said, ["0 ns", "1.5 us", "30 ms", "30 s"]);
    }

    proptest! {
        #[test]
        fn tails_are_bounded_and_account_for_every_byte(
            output in proptest::collection::vec(any::<u8>(), 0..200),
            limit in 0usize..220,
        ) {
            let tail = Tail::with_limit(&output, limit);
            let kept = &output[tail.dropped_bytes as usize..];
            prop_assert!(kept.len() <= limit);
            prop_assert_eq!(String::from_utf8_lossy(kept), tail.text);
        }

        #[test]
        fn nothing_printed_has_control_characters(text in any::<String>()) {
            let clean = printable(&text);
            prop_assert!(clean.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            prop_assert!(!one_line(&text, 50).contains('\n'));
        }
    }
}
