//! In which direction a figure gets better.

use serde::{Deserialize, Serialize};

/// In which direction a figure gets better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Polarity {
    /// More is better, as with throughput.
    Higher,
    /// Less is better, as with latency.
    Lower,
    /// Neither.
    #[default]
    None,
}
