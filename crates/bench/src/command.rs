//! A command line with placeholders.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What placeholders stand for, by name.
pub(crate) type Words = IndexMap<String, String>;

/// A program and its arguments, in which `{name}` stands for something, and `{{` and `}}` for braces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CommandLine(pub(crate) Vec<String>);

impl CommandLine {
    /// The command with everything put in; what is wrong when that cannot be done.
    pub(crate) fn expand(&self, words: &Words) -> Result<Vec<String>, String> {
        let expanded: Vec<String> =
            self.0.iter().map(|text| expand(text, words)).collect::<Result<_, _>>()?;
        match expanded.first() {
            Some(program) if !program.is_empty() => Ok(expanded),
            _ => Err(String::from("it names no program")),
        }
    }

    /// Whether it says `{name}` or `{name.value}`, given words that it can be expanded with.
    pub(crate) fn uses(&self, name: &str, words: &Words) -> bool {
        let is_other = |word: &str| word != name && word.strip_suffix(".value") != Some(name);
        let others = words.iter().filter(|(word, _)| is_other(word));
        let others = others.map(|(word, text)| (word.clone(), text.clone())).collect();
        self.expand(&others).is_err()
    }
}

/// One text with everything put in.
pub(crate) fn expand(text: &str, words: &Words) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        expanded.push_str(&rest[..at]);
        let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
        if let Some(after) = after.strip_prefix(brace) {
            expanded.push_str(brace);
            rest = after;
            continue;
        }
        let end = after.find('}').filter(|_| brace == "{");
        let Some(end) = end else {
            return Err(format!("`{brace}` in `{text}` stands alone; write `{brace}{brace}`"));
        };
        let name = &after[..end];
        let word = words.get(name).ok_or_else(|| {
            let known: Vec<String> = words.keys().map(|name| format!("{{{name}}}")).collect();
            format!("`{{{name}}}` in `{text}` is not known; known are {}", known.join(", "))
        })?;
        expanded.push_str(word);
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let words = Words::from([("a".into(), "{b}".into()), ("b.value".into(), "x".into())]);
        let line = CommandLine(vec!["{a}".into(), "-{b.value}{{}}".into()]);
        assert_eq!(line.expand(&words).unwrap(), ["{b}", "-x{}"]);
        assert_eq!(CommandLine(Vec::new()).expand(&words).unwrap_err(), "it names no program");
        let wrong = expand("x{c}", &words).unwrap_err();
        assert_eq!(wrong, "`{c}` in `x{c}` is not known; known are {a}, {b.value}");
        assert_eq!(expand("a{", &words).unwrap_err(), "`{` in `a{` stands alone; write `{{`");
    }

    #[test]
    fn what_is_used_is_known() {
        let words = ["a", "a.value", "b", "b.value"].map(|word| (word.into(), String::from("x")));
        let words = Words::from(words);
        for (text, name, is_used) in [
            ("-{a}", "a", true),
            ("-{a.value}", "a", true),
            ("-{b}", "a", false),
            ("{{a}}", "a", false),
        ] {
            let line = CommandLine(vec!["x".into(), text.into()]);
            assert_eq!(line.uses(name, &words), is_used, "{text} {name}");
        }
    }

    proptest! {
        #[test]
        fn doubled_braces_come_out_as_they_went_in(text: String) {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(expand(&doubled, &Words::new()), Ok(text.clone()));
            let _ = expand(&text, &Words::new());
        }
    }
}
