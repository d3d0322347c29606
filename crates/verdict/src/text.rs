//! Text that someone else wrote, made safe to print, and durations as people say them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` on one line of at most `chars_max` characters: lines are joined with `; `, control
/// characters escaped.
pub fn one_line(text: &str, chars_max: usize) -> String {
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
pub fn printable(text: &str) -> Cow<'_, str> {
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
pub fn duration_ns(ns: u64) -> String {
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
        fn nothing_printed_has_control_characters(text in any::<String>()) {
            let clean = printable(&text);
            prop_assert!(clean.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            prop_assert!(!one_line(&text, 50).contains('\n'));
        }
    }
}
