//! Words for people: sizes, and what was probably meant.

/// Bytes for people, as `62.1 MB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

/// Whether `name` can be part of a path and stays where it is put.
pub(crate) fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.len() < 200
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~:-".contains(&byte))
}

/// Of `known`, the one with the fewest edits from `word`, if that is few enough to be a slip.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = &word[..word.floor_char_boundary(64)];
    known
        .into_iter()
        .map(|known| (edits(word, known), known))
        .min_by_key(|&(edits, _)| edits)
        .filter(|&(edits, known)| edits <= 1 + known.len() / 4)
        .map(|(_, known)| known)
}

/// `; did you mean `x`?`, or nothing.
pub(crate) fn did_you_mean(closest: Option<&str>) -> String {
    closest.map_or_else(String::new, |closest| format!("; did you mean `{closest}`?"))
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != *b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_a_slip_away_or_none() {
        let known = ["sched-ext", "btf", "psi"];
        assert_eq!(closest("shed-ext", known), Some("sched-ext"));
        assert_eq!(closest("btff", known), Some("btf"));
        assert_eq!(closest("something", known), None);
        assert_eq!(closest(&"é".repeat(99), known), None);
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(98), "98 bytes");
        assert_eq!(size(62_093_508), "62.0 MB");
    }
}
