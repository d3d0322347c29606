//! How fast a client is to ask.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// How many operations a client starts in a second: as many as it can, or a fixed number.
///
/// In TOML and JSON `"max"` or a number; in commands (`{rate_per_s}`) 0 or the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Rate {
    /// The next starts when the one before has ended.
    Max,
    /// This many in a second, evenly spread.
    PerSecond(NonZeroU64),
}

impl Rate {
    /// The fixed rate, if it is one.
    pub fn per_second(self) -> Option<NonZeroU64> {
        match self {
            Self::Max => None,
            Self::PerSecond(rate) => Some(rate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => out.write_str("max"),
            Self::PerSecond(rate) => rate.fmt(out),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Number(u64),
}

impl TryFrom<Written> for Rate {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Word(word) if word == "max" => Ok(Self::Max),
            Written::Word(word) => Err(format!("a rate is \"max\" or a number, not \"{word}\"")),
            Written::Number(number) => {
                let rate = NonZeroU64::new(number).map(Self::PerSecond);
                rate.ok_or_else(|| String::from("a rate of 0 is written \"max\""))
            }
        }
    }
}

impl From<Rate> for Written {
    fn from(rate: Rate) -> Self {
        match rate {
            Rate::Max => Self::Word(String::from("max")),
            Rate::PerSecond(rate) => Self::Number(rate.get()),
        }
    }
}
