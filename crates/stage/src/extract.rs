//! Figures from the output of programs: every number of the JSON in it, by its path.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

/// Figures lie at most so deep.
pub const DEPTH_MAX: usize = 64;
/// At most so many figures are taken.
pub const FIGURES_MAX: usize = 10_000;

/// What was found in an output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extraction {
    /// Every number with its path, as in `jobs.0.read.iops`, in the order of the text.
    pub figures: Vec<(String, f64)>,
    /// What was left out, or why there is nothing.
    pub problem: Option<String>,
}

/// Takes the figures from an output: from all of it if it is JSON, else from the first object or
/// array in it that is. A list of plain values, such as the `[42]` of a log line, counts only where
/// there is nothing else.
///
/// ```
/// let found = belljar_stage::extract(b"done:\n{\"jobs\": [{\"iops\": 7.5}]}\nbye\n");
/// assert_eq!(found.figures, [("jobs.0.iops".to_owned(), 7.5)]);
/// assert_eq!(found.problem, None);
/// ```
#[must_use]
pub fn extract(output: &[u8]) -> Extraction {
    let mut found = find(output);
    if found.figures.is_empty() && found.problem.is_none() {
        found.problem = Some("the JSON in its output has no number".to_owned());
    }
    found
}

/// What the value to take figures from has, or why there is none.
fn find(output: &[u8]) -> Extraction {
    let mut json = Deserializer::from_slice(output);
    let whole = Collector::default();
    let whole = match whole.collect(&mut json).and_then(|found| json.end().map(|()| found)) {
        Ok(found) => return found.into_extraction(),
        Err(error) => error,
    };
    let lines = Lines::new(output);
    let (mut at, mut first_error, mut plain) = (0, None, None);
    // Each try may read to the end. What is made to have many costly ones is given up.
    let mut budget = output.len().saturating_mul(4).saturating_add(1 << 20);
    while let Some(start) = output[at..].iter().position(|byte| matches!(byte, b'{' | b'[')) {
        let start = at + start;
        at = start + 1;
        match Collector::default().collect(&mut Deserializer::from_slice(&output[start..])) {
            Ok(found) if found.is_plain_list() => {
                plain.get_or_insert(found);
            }
            Ok(found) => return found.into_extraction(),
            Err(error) => {
                let cost = lines.offset(start, error.line(), error.column()) - start;
                first_error.get_or_insert_with(|| (start, error.to_string()));
                if cost >= budget {
                    break;
                }
                budget -= cost;
            }
        }
    }
    let problem = match (plain, first_error) {
        (Some(plain), _) => return plain.into_extraction(),
        (None, Some((start, error))) => {
            format!("its output has no complete JSON: from byte {start} on it is broken: {error}")
        }
        (None, None) if output.iter().all(u8::is_ascii_whitespace) => "it wrote nothing".to_owned(),
        (None, None) => format!("its output has no JSON: {whole}"),
    };
    Extraction { figures: Vec::new(), problem: Some(problem) }
}

/// Takes the numbers from a value while it is read, without keeping the value.
#[derive(Default)]
struct Collector {
    figures: Vec<(String, f64)>,
    path: String,
    depth: usize,
    deepest: usize,
    has_object: bool,
    too_many: bool,
}

impl Collector {
    fn collect<'de>(
        mut self,
        json: &mut Deserializer<serde_json::de::SliceRead<'de>>,
    ) -> serde_json::Result<Self> {
        Part(&mut self).deserialize(json).map(|()| self)
    }

    /// A list with neither lists nor objects in it.
    const fn is_plain_list(&self) -> bool {
        self.deepest == 1 && !self.has_object
    }

    fn into_extraction(self) -> Extraction {
        let problem = if self.deepest > DEPTH_MAX {
            Some(format!("nested deeper than {DEPTH_MAX} levels: what is deeper is left out"))
        } else if self.too_many {
            Some(format!("more than {FIGURES_MAX} numbers: the rest is left out"))
        } else {
            None
        };
        Extraction { figures: self.figures, problem }
    }

    fn number(&mut self, number: f64) {
        if self.depth > DEPTH_MAX {
            return;
        }
        if self.figures.len() == FIGURES_MAX {
            self.too_many = true;
            return;
        }
        self.figures.push((self.path.clone(), number));
    }

    /// Does something one level deeper.
    fn within<E>(&mut self, inside: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let done = inside(self);
        self.depth -= 1;
        done
    }

    /// Does something with a name at the end of the path.
    fn at<T>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        // Beyond the depth that counts nothing is taken, and a path would only grow.
        if self.depth <= DEPTH_MAX {
            if self.depth > 1 {
                self.path.push('.');
            }
            self.path.push_str(name);
        }
        let done = inside(self);
        self.path.truncate(before);
        done
    }
}

/// A value, or a value in it.
struct Part<'a>(&'a mut Collector);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.number(number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.number(number as f64);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.number(number as f64);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        self.0.within(|collector| {
            for index in 0usize.. {
                let value = |collector: &mut Collector| values.next_element_seed(Part(collector));
                if collector.at(&index.to_string(), value)?.is_none() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.has_object = true;
        self.0.within(|collector| {
            while let Some(name) = members.next_key::<Cow<'_, str>>()? {
                collector.at(&name, |collector| members.next_value_seed(Part(collector)))?;
            }
            Ok(())
        })
    }
}

/// Where the lines of a text begin: errors of the JSON reader are by line and column.
struct Lines {
    starts: Vec<usize>,
    len: usize,
}

impl Lines {
    fn new(text: &[u8]) -> Self {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        Self { starts: ends.map(|(at, _)| at + 1).collect(), len: text.len() }
    }

    /// The offset in the text of a line and a column that were counted, from 1, from `from`.
    fn offset(&self, from: usize, line: usize, column: usize) -> usize {
        let start = match line {
            0 | 1 => from,
            _ => {
                let next = self.starts.partition_point(|start| *start <= from);
                self.starts.get(next + line - 2).copied().unwrap_or(self.len)
            }
        };
        start.saturating_add(column).clamp(from, self.len.max(from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures(output: &str) -> Vec<(String, f64)> {
        extract(output.as_bytes()).figures
    }

    fn problem(output: &str) -> String {
        extract(output.as_bytes()).problem.unwrap_or_default()
    }

    #[test]
    fn numbers_are_found_by_path_in_all_or_in_a_part() {
        let pairs = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
            pairs.iter().map(|(path, value)| ((*path).to_owned(), *value)).collect()
        };
        let json = r#"{"b": {"x": -1, "s": "7"}, "a": [1.5, [null, 2e3]], "t": true}"#;
        let leaves = pairs(&[("b.x", -1.0), ("a.0", 1.5), ("a.1.1", 2000.0)]);
        assert_eq!(figures(json), leaves);
        assert_eq!(figures(&format!("it's {{done}} [12] at \"x\n{json}\ntrailing {{")), leaves);
        assert_eq!(figures("7"), pairs(&[("", 7.0)]));
        assert_eq!(figures("a [1, 2] b [3]"), pairs(&[("0", 1.0), ("1", 2.0)]));
        assert_eq!(figures("x [{\"a\": 1}]"), pairs(&[("0.a", 1.0)]));
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert_eq!(problem(" \n"), "it wrote nothing");
        assert_eq!(problem("{}"), "the JSON in its output has no number");
        assert!(problem("hello").starts_with("its output has no JSON: expected value at line 1"));
        assert!(problem("ok {\"a\": 1, ").starts_with(
            "its output has no complete JSON: from byte 3 on it is broken: EOF while parsing"
        ));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |levels: usize| format!("{}7{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(figures(&nested(DEPTH_MAX)).len(), 1);
        let deeper = extract(nested(DEPTH_MAX + 1).as_bytes());
        assert!(deeper.figures.is_empty() && deeper.problem.unwrap().starts_with("nested deeper"));
        // Too deep for the reader: what can be read lies inside, below a path that is not the right one.
        let much = extract(nested(100_000).as_bytes());
        assert!(much.problem.is_some(), "{much:?}");
        let many = format!("[{}0]", "0,".repeat(FIGURES_MAX));
        let many = extract(many.as_bytes());
        assert_eq!(many.figures.len(), FIGURES_MAX);
        assert!(many.problem.unwrap().starts_with("more than"));
    }

    #[test]
    fn an_error_is_placed_in_the_whole_text() {
        let text = b"ab\n[1,\n2,\n x]";
        let lines = Lines::new(text);
        assert_eq!(lines.offset(3, 1, 1), 4);
        assert_eq!(lines.offset(3, 3, 2), 12);
        assert_eq!(lines.offset(3, 99, 2), text.len());
    }

    /// A program that means harm is not worth more than a few passes over what it wrote.
    #[test]
    fn hostile_outputs_are_given_up() {
        let hostile = "[0,".repeat(1 << 17);
        assert!(problem(&hostile).starts_with("its output has no complete JSON"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(output in proptest::collection::vec(any::<u8>(), 0..300)) {
            let found = extract(&output);
            prop_assert_eq!(found.figures.is_empty() && found.problem.is_none(), false);
        }

        #[test]
        fn any_text_like_json_ends_without_panic(output in "[\\[\\]{}\",:0-9a \\n.e\\\\-]{0,200}") {
            let found = extract(output.as_bytes());
            prop_assert!(found.figures.iter().all(|(_, value)| value.is_finite()));
        }

        #[test]
        fn json_is_found_behind_any_line(
            before in "[^{\\[]{0,60}",
            quarters in -1_000_000i32..1_000_000,
        ) {
            let value = f64::from(quarters) / 4.0;
            let found = extract(format!("{before}\n{{\"a\":{{\"b\":[{value}]}}}} tail").as_bytes());
            prop_assert_eq!(found.figures, vec![("a.b.0".to_owned(), value)]);
        }
    }
}
