//! Words for error messages: a user's text quoted safely, and the known word closest to it.
//!
//! Here because every crate that answers a misspelt word can reach this one.

/// The first characters of what a user wrote, with control characters escaped.
#[must_use]
pub fn clip(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut chars = text.chars();
    let mut clipped: String = chars.by_ref().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        clipped.push('…');
    }
    clipped
}

/// The candidate that takes the fewest edits to reach from `word`, unless all are far from it.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).flat_map(char::to_lowercase).collect();
    candidates
        .into_iter()
        .map(|candidate| (edits(&word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len() / 2)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn edits(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (to_index, to_char) in to.chars().enumerate() {
        let mut diagonal = to_index;
        let mut left = to_index + 1;
        for (from_char, cell) in from.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(*from_char != to_char);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        row[0] = to_index + 1;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            let from: Vec<char> = from.chars().collect();
            assert_eq!(edits(&from, to), expected, "{from:?} to {to}");
        }
    }

    #[test]
    fn long_and_strange_text_is_clipped() {
        assert_eq!(clip("1n\n2l"), r"1n\n2l");
        assert_eq!(clip(&"ü".repeat(1000)).chars().count(), 41);
    }
}
