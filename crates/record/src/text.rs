//! The bounded ends of long outputs.

pub(crate) use belljar_verdict::text::{duration_ns, one_line, printable};
use serde::{Deserialize, Serialize};

/// The end of an output that may have been longer than what is worth keeping.
///
/// Bytes that are not UTF-8 are replaced by U+FFFD. A cut falls behind a line end where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    }
}
