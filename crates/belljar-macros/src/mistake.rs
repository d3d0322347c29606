//! What an author got wrong: all of it at once, each at its word.

use proc_macro2::Span;

/// Compile errors, in the order they were found.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    /// Adds one that points at `span`.
    pub(crate) fn add(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// The value of a result; its error is added.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// `value`, unless there was a mistake.
    pub(crate) fn or<T>(self, value: T) -> syn::Result<T> {
        self.0.map_or(Ok(value), Err)
    }

    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }
}

/// ``did you mean `x`?``, or every known word where none is close.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let closest = known.iter().min_by_key(|known| edits(word, known));
    match closest {
        Some(closest) if edits(word, closest) <= closest.len() / 2 => {
            format!("did you mean `{closest}`?")
        }
        _ => format!("there are {}", known.join(", ")),
    }
}

/// Levenshtein distance, one row at a time.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (above, to) in to.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (index, from) in from.iter().enumerate() {
            let replaced = diagonal + usize::from(*from != to);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_proposed_and_far_ones_answered_with_all() {
        let known = ["tools", "timeout"];
        assert_eq!(did_you_mean("tool", &known), "did you mean `tools`?");
        assert_eq!(did_you_mean("time_out", &known), "did you mean `timeout`?");
        assert_eq!(did_you_mean("scheduler", &known), "there are tools, timeout");
    }
}
