//! Text for people, and JSON for programs.

use crate::failure::Failure;
use serde::{Serialize, Serializer};
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Writes a line. What other processes chose is in it only after [`printable`].
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Writes data as pretty JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Writes data as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value)?)
}

/// Bytes of other processes as text that does nothing to a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || reorders(letter) {
            printable.extend(letter.escape_default());
        } else {
            printable.push(letter);
        }
    }
    printable
}

/// Whether it changes the order in which a terminal shows what is beside it, or breaks the line.
fn reorders(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

/// What other processes chose, byte for byte: shown as [`printable`], and in JSON a string where it
/// is UTF-8, otherwise `{"bytes": "ff00"}`, which no other value is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Raw(Vec<u8>);

impl From<&[u8]> for Raw {
    fn from(bytes: &[u8]) -> Raw {
        Raw(bytes.into())
    }
}

impl From<&OsStr> for Raw {
    fn from(text: &OsStr) -> Raw {
        text.as_bytes().into()
    }
}

impl Raw {
    /// As one side of a label in a list: what separates labels has a backslash before it.
    pub(crate) fn in_list(&self) -> String {
        let mut escaped = Vec::with_capacity(self.0.len());
        for &byte in &self.0 {
            if matches!(byte, b'\\' | b',' | b'=') {
                escaped.push(b'\\');
            }
            escaped.push(byte);
        }
        printable(&escaped)
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut hex = String::with_capacity(self.0.len() * 2);
        for byte in &self.0 {
            write!(hex, "{byte:02x}").map_err(serde::ser::Error::custom)?;
        }
        serializer.collect_map([("bytes", hex)])
    }
}

/// Rows under a heading, in columns as wide as they need to be.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(heading: [&str; N]) -> Table<N> {
        Table { rows: vec![heading.map(String::from)] }
    }

    pub(crate) fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        let length = |text: &String| text.chars().count();
        let width = |column: usize| self.rows.iter().map(|row| length(&row[column])).max();
        let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for row in &self.rows {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(widths) {
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', width + 2 - length(cell)));
            }
            line(text.trim_end())?;
        }
        Ok(())
    }
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        MIB..GIB => format!("{} MiB", bytes / MIB),
        _ => format!("{:.1} GiB", bytes as f64 / GIB as f64),
    }
}

/// `1 region`, `2 regions`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_nothing_to_a_terminal() {
        assert_eq!(printable(b"a\x1b[31mb\n\xff"), "a\\u{1b}[31mb\\n\u{fffd}");
        assert_eq!(printable("né".as_bytes()), "né");
        let turned = "a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{2028}f";
        let escaped = "a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}e\\u{2028}f";
        assert_eq!(printable(turned.as_bytes()), escaped);
    }

    #[test]
    fn json_has_every_byte() {
        let json = |bytes: &[u8]| serde_json::to_string(&Raw::from(bytes)).unwrap();
        assert_eq!(json(b"a\n"), r#""a\n""#);
        assert_eq!(json(br"a\n"), r#""a\\n""#);
        assert_eq!(json("\u{fffd}".as_bytes()), "\"\u{fffd}\"");
        assert_eq!(json(b"a\x0f\xff"), r#"{"bytes":"610fff"}"#);
    }

    #[test]
    fn labels_do_not_run_into_each_other() {
        let shown = |text: &str| Raw::from(text.as_bytes()).in_list();
        assert_eq!(shown("a=b,c=d"), r"a\=b\,c\=d");
        assert_ne!(shown("a\n"), shown(r"a\n"));
    }
}
