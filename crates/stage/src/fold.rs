//! Logs of the BPF verifier, which repeat a loop's instructions as often as it goes through them.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A loop of the log has at most so many lines.
const PERIOD_MAX: usize = 2048;
/// At most so many places where a line comes again are tried as the beginning of the next round.
const TRIES_MAX: usize = 32;

/// Shows blocks of lines that follow each other several times once, with the number of times.
///
/// What the verifier adds to an instruction (` ; R1=...`) or to a jump (`from 7 to 3: R1=...`), the
/// registers as it knows them, differs from round to round and does not count: the first round is shown.
///
/// ```
/// let log = "1: (07) r1 += 1 ; R1=1\n2: (a5) if r1 < 9 goto 1\n\
///            1: (07) r1 += 1 ; R1=2\n2: (a5) if r1 < 9 goto 1\n\
///            1: (07) r1 += 1 ; R1=3\n2: (a5) if r1 < 9 goto 1\n3: (95) exit\n";
/// assert_eq!(
///     belljar_stage::fold(log),
///     "1: (07) r1 += 1 ; R1=1\n2: (a5) if r1 < 9 goto 1\n\
///      (the 2 lines above, repeated 3 times)\n3: (95) exit\n"
/// );
/// ```
#[must_use]
pub fn fold(log: &str) -> String {
    let mut names = Names::default();
    let mut lines: Vec<Line> = log
        .lines()
        .map(|line| Line { name: names.of(key(line)), about: 0, text: line.into() })
        .collect();
    // An inner loop goes round twice at least, so that it is found before the outer one is.
    for period_max in std::iter::successors(Some(1), |period| Some(period * 2)) {
        lines = fold_periods(lines, period_max, &mut names);
        if period_max >= PERIOD_MAX {
            break;
        }
    }
    let mut text = lines.iter().map(|line| line.text.as_ref()).collect::<Vec<_>>().join("\n");
    if log.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A line of the log, or a note.
#[derive(Clone)]
struct Line<'a> {
    /// Lines with the same name count as the same.
    name: usize,
    /// How many lines above it a note is about; 0 for a line of the log.
    about: usize,
    text: Cow<'a, str>,
}

#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn of(&mut self, key: &str) -> usize {
        if let Some(name) = self.0.get(key) {
            return *name;
        }
        let name = self.0.len();
        self.0.insert(key.to_owned(), name);
        name
    }
}

/// Folds the blocks of at most so many lines.
fn fold_periods<'a>(lines: Vec<Line<'a>>, period_max: usize, names: &mut Names) -> Vec<Line<'a>> {
    let keys: Vec<usize> = lines.iter().map(|line| line.name).collect();
    // For each line the next one like it.
    let mut next = vec![usize::MAX; keys.len()];
    let mut last = vec![usize::MAX; names.0.len()];
    for at in (0..keys.len()).rev() {
        next[at] = last[keys[at]];
        last[keys[at]] = at;
    }
    // For each line the first that it, or a note below it, is about.
    let mut reach = vec![usize::MAX; lines.len() + 1];
    for at in (0..lines.len()).rev() {
        reach[at] = reach[at + 1].min(at - lines[at].about);
    }
    let mut folded = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some((period, times)) = repetition(&lines, &keys, &next, at, &reach, period_max) else {
            folded.push(lines[at].clone());
            at += 1;
            continue;
        };
        folded.extend_from_slice(&lines[at..at + period]);
        let what = if period == 1 { "line".to_owned() } else { format!("{period} lines") };
        let text = format!("(the {what} above, repeated {times} times)");
        folded.push(Line { name: names.of(&text), about: period, text: text.into() });
        at += period * times;
    }
    folded
}

/// The shortest block that begins at a line and follows itself, with how often it is there, where
/// showing it once is shorter. Notes stay with the lines that they are about.
fn repetition(
    lines: &[Line<'_>],
    keys: &[usize],
    next: &[usize],
    at: usize,
    reach: &[usize],
    period_max: usize,
) -> Option<(usize, usize)> {
    let starts = std::iter::successors(Some(next[at]), |at| next.get(*at).copied());
    starts
        .take_while(|start| *start < keys.len() && start - at <= period_max)
        .take(TRIES_MAX)
        .find_map(|start| {
            let period = start - at;
            let block = &keys[at..start];
            let whole = (0..).zip(&lines[at..start]).all(|(offset, line)| line.about <= offset);
            let times = keys[at..].chunks_exact(period).take_while(|round| *round == block).count();
            // The last round is left alone if a note that follows is about lines of it.
            let is_alone = |times: &usize| reach[at + period * times] >= at + period * times;
            let times = (2..=times).rev().find(is_alone).unwrap_or(1);
            (whole && times > 1 && period * (times - 1) >= 2).then_some((period, times))
        })
}

/// What of a line counts.
fn key(line: &str) -> &str {
    if line.starts_with("from ") {
        return line.split_once(": ").map_or(line, |(jump, _)| jump);
    }
    let is_instruction = line.split_once(": (").is_some_and(|(at, _)| at.parse::<u32>().is_ok());
    if is_instruction { line.split(" ;").next().unwrap_or(line).trim_end() } else { line }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loops_in_loops_are_folded() {
        let inner = "2: (07) r2 += 1\n3: (a5) if r2 < 3 goto 2\n";
        let outer = format!("1: (b7) r2 = 0\n{}4: (a5) if r1 < 2 goto 1\n", inner.repeat(3));
        assert_eq!(
            fold(&outer.repeat(5)),
            format!(
                "1: (b7) r2 = 0\n{inner}(the 2 lines above, repeated 3 times)\n\
                 4: (a5) if r1 < 2 goto 1\n(the 5 lines above, repeated 5 times)\n"
            )
        );
    }

    #[test]
    fn what_the_registers_hold_does_not_count() {
        let round = |n: u32| format!("from 9 to 4: R0={n} R1=ctx()\n4: (bf) r3 = r{n}\n");
        let log = format!("{}{}{}", round(1), round(1).replace("R0=1", "R0=2"), round(2));
        let once = format!("{}(the 2 lines above, repeated 2 times)\n", round(1));
        assert_eq!(fold(&log), format!("{once}{}", round(2)));
        // A line that only looks alike is another.
        assert_eq!(fold("say: 1 ;a\nsay: 1 ;b\nsay: 1 ;c\n"), "say: 1 ;a\nsay: 1 ;b\nsay: 1 ;c\n");
    }

    #[test]
    fn what_would_not_get_shorter_stays() {
        for log in ["", "\n", "a", "a\na\n", "a\nb\nc\n"] {
            assert_eq!(fold(log), log, "{log:?}");
        }
        assert_eq!(fold("a\na\na\n"), "a\n(the line above, repeated 3 times)\n");
    }

    #[test]
    fn long_loops_are_folded() {
        let log: String =
            (0..50_000).map(|n| format!("7: (07) r1 += 1 ; R1={n}\n8: (05) goto -2\n")).collect();
        assert_eq!(fold(&log).lines().count(), 3);
        let different: String = (0..10_000).map(|n| format!("a\nb{n}\n")).collect();
        assert_eq!(fold(&different), different);
    }

    /// What a folded log stands for: a note stands for the rounds that are not shown.
    fn unfold(folded: &str) -> Vec<String> {
        let mut stands_for: Vec<Vec<String>> = Vec::new();
        for line in folded.lines() {
            let Some(note) = line.strip_prefix("(the ") else {
                stands_for.push(vec![line.to_owned()]);
                continue;
            };
            let words: Vec<&str> = note.split(' ').collect();
            let shown = words[0].parse().unwrap_or(1);
            let times: usize = words[words.len() - 2].parse().unwrap();
            let round = stands_for[stands_for.len() - shown..].concat();
            stands_for.push(vec![round; times - 1].concat());
        }
        stands_for.concat()
    }

    proptest! {
        #[test]
        fn folding_loses_no_line(log in proptest::collection::vec(0u8..3, 0..80)) {
            let log: Vec<String> = log.iter().map(|line| format!("line {line}")).collect();
            let folded = fold(&log.join("\n"));
            prop_assert!(folded.lines().count() <= log.len());
            prop_assert_eq!(unfold(&folded), log);
        }
    }
}
