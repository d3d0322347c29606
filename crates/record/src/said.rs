//! Everything the guest said, as a digest to compare and as lines to find a difference in.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// A fingerprint of everything the guest said. Two runs in `det` mode that are the same run have
/// equal digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Digest {
    /// How `total` was computed: `blake3`, over what [`Transcript`] says.
    pub algorithm: String,
    /// Over all frames and the console, in hex.
    pub total: String,
    /// Frames that the guest sent.
    pub frames: u64,
    /// Bytes on the serial console.
    pub console_bytes: u64,
}

/// Takes in what the guest says while it says it.
///
/// `total` is BLAKE3 over, for each frame in order, guest time (8 bytes, little endian), length of
/// kind and of payload (8 bytes each), kind, payload; then, for the console, 8 bytes of ones, its
/// length (8 bytes), its bytes.
///
/// ```
/// use belljar_record::{Said, Transcript, first_difference};
///
/// let run = |last: &[u8]| {
///     let mut transcript = Transcript::new();
///     transcript.frame(1_500, "stdout", b"hello\n");
///     transcript.frame(9_000, "result", last);
///     transcript.finish(b"[    0.1] Linux version 6.1\r\n")
/// };
/// let ((digest, recorded), (_, replayed)) = (run(b"ok"), run(b"no"));
/// assert_eq!((digest.frames, digest.console_bytes), (2, 29));
/// assert_eq!(recorded.to_string().parse::<Said>()?, recorded);
/// assert_eq!(first_difference(&recorded, &replayed).unwrap().line_index, 1);
/// # Ok::<(), belljar_record::SaidError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    hasher: blake3::Hasher,
    lines: Vec<Line>,
}

impl Transcript {
    /// Of a guest that has said nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one frame: when the guest sent it (nanoseconds of guest time), what kind it is (one
    /// word), and its payload.
    pub fn frame(&mut self, guest_ns: u64, kind: &str, payload: &[u8]) {
        self.hasher.update(&guest_ns.to_le_bytes());
        self.hasher.update(&(kind.len() as u64).to_le_bytes());
        self.hasher.update(&(payload.len() as u64).to_le_bytes());
        self.hasher.update(kind.as_bytes());
        self.hasher.update(payload);
        self.lines.push(Line::new(Some(guest_ns), kind, payload));
    }

    /// Adds the whole console, and ends the transcript.
    pub fn finish(mut self, console: &[u8]) -> (Digest, Said) {
        self.hasher.update(&u64::MAX.to_le_bytes());
        self.hasher.update(&(console.len() as u64).to_le_bytes());
        self.hasher.update(console);
        let total = self.hasher.finalize().to_hex().to_string();
        let digest = Digest {
            algorithm: "blake3".to_string(),
            total: total.clone(),
            frames: self.lines.len() as u64,
            console_bytes: console.len() as u64,
        };
        let console_lines = console.split_inclusive(|byte| *byte == b'\n');
        self.lines.extend(console_lines.map(|line| Line::new(None, "console", line)));
        (digest, Said { total, lines: self.lines })
    }
}

/// What the guest said, one line per frame and then one per line of the console: the text of the
/// `.said` file beside a record.
///
/// `Display` and `FromStr` are the file. Its first line is `belljar-said 1 blake3 TOTAL LINES`;
/// every other one is `GUEST_NS KIND BYTES HASH TEXT`, separated by one space: guest time in
/// nanoseconds or `-`, the frame's kind or `console`, the payload's length, the first 16 hex digits
/// of its BLAKE3, and where it is printable its text in quotes, cut at 160 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    total: String,
    lines: Vec<Line>,
}

impl Said {
    /// The [`Digest::total`] of the run that this belongs to.
    pub fn total(&self) -> &str {
        &self.total
    }

    /// The lines, frames first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "belljar-said 1 blake3 {} {}", self.total, self.lines.len())?;
        for Line { guest_ns, kind, payload_bytes, hash, text } in &self.lines {
            match guest_ns {
                Some(ns) => write!(out, "{ns}")?,
                None => out.write_char('-')?,
            }
            write!(out, " {kind} {payload_bytes} {hash:016x}")?;
            if !text.is_empty() {
                write!(out, " {text}")?;
            }
            out.write_char('\n')?;
        }
        Ok(())
    }
}

/// Why a `.said` file was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaidError {
    /// The first line is not that of a `.said` file of version 1.
    #[error("expected `belljar-said 1 blake3 TOTAL LINES` in line 1")]
    Header,
    /// A line is not `GUEST_NS KIND BYTES HASH TEXT`.
    #[error("expected `GUEST_NS KIND BYTES HASH TEXT` in line {line_number}")]
    Line {
        /// The line's number in the file, from 1.
        line_number: usize,
    },
    /// Lines are missing or too many.
    #[error(
        "expected {expected} lines after the first, found {found}: the file is cut or mixed up"
    )]
    Count {
        /// Lines announced in the first line.
        expected: u64,
        /// Lines that follow it.
        found: u64,
    },
}

impl FromStr for Said {
    type Err = SaidError;

    fn from_str(text: &str) -> Result<Self, SaidError> {
        let mut file_lines = text.lines();
        let header = file_lines.next().ok_or(SaidError::Header)?;
        let (total, expected) = parse_header(header).ok_or(SaidError::Header)?;
        let lines = file_lines
            .enumerate()
            .map(|(index, line)| {
                Line::parse(line).ok_or(SaidError::Line { line_number: index + 2 })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let found = lines.len() as u64;
        if found != expected {
            return Err(SaidError::Count { expected, found });
        }
        Ok(Self { total, lines })
    }
}

fn parse_header(line: &str) -> Option<(String, u64)> {
    let (total, count) = line.strip_prefix("belljar-said 1 blake3 ")?.split_once(' ')?;
    let is_hash = total.len() == 64 && total.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(())?;
    Some((total.to_string(), count.parse().ok()?))
}

/// One frame, or one line of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When the guest sent it, in nanoseconds of guest time; `None` for the console.
    pub guest_ns: Option<u64>,
    /// The frame's kind, or `console`.
    pub kind: String,
    /// Length of the payload in bytes.
    pub payload_bytes: u64,
    /// The first 8 bytes of the payload's BLAKE3, as a big-endian number.
    pub hash: u64,
    /// The payload in quotes, escaped, where it is text, cut at 160 bytes; otherwise empty.
    pub text: String,
}

impl Line {
    fn new(guest_ns: Option<u64>, kind: &str, payload: &[u8]) -> Self {
        let mut hash = [0; 8];
        hash.copy_from_slice(&blake3::hash(payload).as_bytes()[..8]);
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        let kind = if kind.is_empty() { "-".to_string() } else { kind.replace(is_odd, "_") };
        Self {
            guest_ns,
            kind,
            payload_bytes: payload.len() as u64,
            hash: u64::from_be_bytes(hash),
            text: quote(payload).unwrap_or_default(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let guest_ns = match words.next()? {
            "-" => None,
            ns => Some(ns.parse().ok()?),
        };
        let kind = words.next().filter(|kind| !kind.is_empty())?.to_string();
        let payload_bytes = words.next()?.parse().ok()?;
        let hash = words.next().filter(|hash| hash.len() == 16)?;
        let hash = u64::from_str_radix(hash, 16).ok()?;
        let text = words.next().unwrap_or_default().to_string();
        Some(Self { guest_ns, kind, payload_bytes, hash, text })
    }

    /// Text is for people and its escapes may change with the compiler, so it does not count.
    fn is_same(&self, other: &Self) -> bool {
        let facts = |line: &Self| (line.guest_ns, line.payload_bytes, line.hash);
        facts(self) == facts(other) && self.kind == other.kind
    }
}

/// As it stands in a message: `0.001500000 s  stdout  6 bytes  c0ffee00c0ffee00  "hello\n"`.
impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ns) = self.guest_ns {
            write!(out, "{}.{:09} s  ", ns / 1_000_000_000, ns % 1_000_000_000)?;
        }
        let (kind, text) = (printable(&self.kind), printable(&self.text));
        write!(out, "{kind}  {} bytes  {:016x}", self.payload_bytes, self.hash)?;
        if text.is_empty() { Ok(()) } else { write!(out, "  {text}") }
    }
}

/// The payload in quotes, when it is text; with `…` behind the quotes when it was cut.
fn quote(payload: &[u8]) -> Option<String> {
    const BYTES_MAX: usize = 160;
    let text = std::str::from_utf8(payload).ok()?;
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x1b');
    if text.is_empty() || !text.chars().all(is_text) {
        return None;
    }
    let end = text.floor_char_boundary(BYTES_MAX);
    let more = if end < text.len() { "…" } else { "" };
    Some(format!("{:?}{more}", &text[..end]))
}

/// Where two runs first differ in what the guest said.
///
/// `Display` shows the lines before it, and the line as recorded (`-`) and as replayed (`+`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How many lines both have in common before it.
    pub line_index: usize,
    /// Up to three lines that both have, right before.
    pub before: Vec<Line>,
    /// What the recorded run has there; `None` when it had ended.
    pub recorded: Option<Line>,
    /// What the replayed run has there; `None` when it had ended.
    pub replayed: Option<Line>,
}

/// Where `replayed` first differs from `recorded`; `None` where both said the same.
pub fn first_difference(recorded: &Said, replayed: &Said) -> Option<Difference> {
    const CONTEXT_LINES: usize = 3;
    let (old, new) = (&recorded.lines, &replayed.lines);
    let line_index = old.iter().zip(new).take_while(|(old, new)| old.is_same(new)).count();
    if line_index == old.len() && line_index == new.len() {
        return None;
    }
    Some(Difference {
        line_index,
        before: old[line_index.saturating_sub(CONTEXT_LINES)..line_index].to_vec(),
        recorded: old.get(line_index).cloned(),
        replayed: new.get(line_index).cloned(),
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line_index + 1;
        writeln!(
            out,
            "what the guest said first differs in line {number} (- recorded, + replayed):"
        )?;
        for (line, number) in self.before.iter().zip(number - self.before.len()..) {
            writeln!(out, "  {number:>6}  {line}")?;
        }
        let show = |line: &Option<Line>| {
            line.as_ref().map_or_else(|| "(nothing more)".to_string(), Line::to_string)
        };
        writeln!(out, "- {number:>6}  {}", show(&self.recorded))?;
        write!(out, "+ {number:>6}  {}", show(&self.replayed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn said(frames: &[(u64, &str, &[u8])], console: &str) -> Said {
        let mut transcript = Transcript::new();
        for (guest_ns, kind, payload) in frames {
            transcript.frame(*guest_ns, kind, payload);
        }
        transcript.finish(console.as_bytes()).1
    }

    #[test]
    fn the_file_is_readable_by_people() {
        let long = "x".repeat(200);
        let frames: [(u64, &str, &[u8]); 4] = [
            (0, "hello", b""),
            (1_500_000, "stdout", "grüß\n\"dich\"\n".as_bytes()),
            (2_000_000, "two words", &[0, 1, 2]),
            (3_000_000, "note", long.as_bytes()),
        ];
        insta::assert_snapshot!(said(&frames, "[ 0.1] Linux\r\n[ 0.2] cut"));
    }

    #[test]
    fn a_difference_is_shown_with_what_came_before() {
        let frames: [(u64, &str, &[u8]); 5] = [
            (1_000, "stdout", b"one\n"),
            (2_000, "stdout", b"two\n"),
            (3_000, "stdout", b"three\n"),
            (4_000, "stdout", b"four\n"),
            (1_000_005_000, "metric", b"latency 17"),
        ];
        let recorded = said(&frames, "");
        let mut later = frames;
        later[4] = (1_000_005_128, "metric", b"latency 18");
        let difference = first_difference(&recorded, &said(&later, "")).unwrap();
        insta::assert_snapshot!(difference);
        let difference = first_difference(&recorded, &said(&frames[..1], "")).unwrap();
        insta::assert_snapshot!(difference);
    }

    #[test]
    fn a_cut_file_is_noticed() {
        let whole = said(&[(1, "a", b"x"), (2, "b", b"y")], "").to_string();
        let cut = whole.lines().take(2).collect::<Vec<_>>().join("\n");
        let error = SaidError::Count { expected: 2, found: 1 };
        assert_eq!(cut.parse::<Said>(), Err(error));
        assert_eq!("".parse::<Said>(), Err(SaidError::Header));
        let bad = whole.replace(" b ", " ");
        assert_eq!(bad.parse::<Said>(), Err(SaidError::Line { line_number: 3 }));
    }

    proptest! {
        #[test]
        fn files_come_back_as_they_were(
            frames in vec((any::<u64>(), any::<String>(), vec(any::<u8>(), 0..40)), 0..8),
            console in vec(any::<u8>(), 0..60),
        ) {
            let mut transcript = Transcript::new();
            for (guest_ns, kind, payload) in &frames {
                transcript.frame(*guest_ns, kind, payload);
            }
            let (digest, said) = transcript.finish(&console);
            prop_assert_eq!(digest.frames, frames.len() as u64);
            prop_assert_eq!(&digest.total, said.total());
            let again: Said = said.to_string().parse().unwrap();
            prop_assert_eq!(first_difference(&said, &again), None);
            prop_assert_eq!(again, said);
        }

        #[test]
        fn one_changed_byte_is_found_in_its_line(
            payloads in vec(vec(any::<u8>(), 1..20), 1..10),
            which in any::<prop::sample::Index>(),
        ) {
            let run = |payloads: &[Vec<u8>]| {
                let mut transcript = Transcript::new();
                payloads.iter().for_each(|payload| transcript.frame(7, "frame", payload));
                transcript.finish(b"")
            };
            let mut changed = payloads.clone();
            let index = which.index(payloads.len());
            changed[index][0] ^= 1;
            let ((digest, recorded), (other, replayed)) = (run(&payloads), run(&changed));
            prop_assert_ne!(digest.total, other.total);
            let difference = first_difference(&recorded, &replayed).unwrap();
            prop_assert_eq!(difference.line_index, index);
        }

        #[test]
        fn hostile_files_are_refused_without_panic(
            text in any::<String>(),
            lines in "([0-9 -]{0,9} [a-z \u{1b}]{0,5} [0-9]{0,30} [0-9a-fü]{0,17}.{0,9}\n?){0,4}",
        ) {
            let _ = text.parse::<Said>();
            let file = format!("belljar-said 1 blake3 {} 2\n{lines}", "0".repeat(64));
            if let Ok(said) = file.parse::<Said>() {
                let _ = first_difference(&said, &Transcript::new().finish(b"").1).unwrap().to_string();
            }
        }
    }
}
