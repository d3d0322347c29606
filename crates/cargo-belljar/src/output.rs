//! Standard output is data; text for people goes to standard error.

use crate::args::Colour;
use serde::Serialize;
use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Whether text for people is coloured. Colour says nothing that the text does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether it is.
    pub(crate) colour: bool,
}

impl Style {
    /// What was asked for, for standard error.
    pub(crate) fn of(colour: Colour) -> Style {
        let no_colour = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => is_smart_terminal() && !no_colour(),
        };
        Style { colour }
    }

    /// No colour.
    #[cfg(test)]
    pub(crate) fn plain() -> Style {
        Style { colour: false }
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Something bad.
    pub(crate) fn red(self, text: impl Display) -> String {
        self.paint("31;1", text)
    }

    /// Something good.
    pub(crate) fn green(self, text: impl Display) -> String {
        self.paint("32;1", text)
    }

    /// Something to look at.
    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.paint("33;1", text)
    }

    /// Something to find.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// Something to overlook.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }
}

/// Whether standard error is a terminal that can redraw a line.
pub(crate) fn is_smart_terminal() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes a line of data.
pub(crate) fn data(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Writes data as pretty JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(data(serde_json::to_string_pretty(value)?)?)
}

/// Writes a line for people. That nobody reads it is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text from outside as it may stand in a line on a terminal, with control characters as `\u{1b}`.
pub(crate) fn plain(text: impl Display) -> String {
    let text = text.to_string();
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() && letter != '\t' {
            true => plain.extend(letter.escape_default()),
            false => plain.push(letter),
        }
    }
    plain
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1 << 10)),
        MIB..GIB => format!("{} MiB", bytes / MIB),
        _ => format!("{:.1} GiB", bytes as f64 / GIB as f64),
    }
}

/// `1 test`, `2 tests`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
