//! The ways to run a machine.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a machine is run, and with that what its results can be trusted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Hardware virtualisation: behaviour and speed of the real machine.
    Kvm,
    /// Software emulation with a host thread for each CPU: real concurrency, anywhere.
    Tcg,
    /// Software emulation with a clock that counts instructions: a run repeats bit for
    /// bit. The CPUs take turns on one host thread.
    Det,
}

impl Mode {
    /// The mode's name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Kvm => "kvm",
            Mode::Tcg => "tcg",
            Mode::Det => "det",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a mode; there are `kvm`, `tcg`, `det`, and `auto` for the best of the first two"
)]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Mode, UnknownMode> {
        [Mode::Kvm, Mode::Tcg, Mode::Det]
            .into_iter()
            .find(|mode| mode.name() == word)
            .ok_or_else(|| UnknownMode(word.to_owned()))
    }
}
