//! Which test a record is of, and what makes two runs runs of the same variant.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which test, which variant of it, built into which binary, run in which session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Identity {
    /// The test's name as libtest has it, `module::name`.
    pub test: String,
    /// The variant's label, as in `2n4l8c2t`; empty for the only variant of a test.
    #[serde(default)]
    pub variant: String,
    /// The cargo package that the test is in.
    #[serde(default)]
    pub package: String,
    /// The test target's name, without the hash that cargo appends to the file's.
    #[serde(default)]
    pub binary: String,
    /// BLAKE3 of the test binary, in hex; empty when it was not computed.
    #[serde(default)]
    pub binary_hash: String,
    /// What makes this variant the one it is; see [`VariantInputs`].
    pub variant_hash: VariantHash,
    /// The session, one per `cargo belljar test` or `cargo test`, in which it ran.
    #[serde(default)]
    pub session: String,
}

impl Identity {
    /// `module::name`, or `module::name [variant]`.
    pub fn title(&self) -> String {
        match self.variant.as_str() {
            "" => self.test.clone(),
            variant => format!("{} [{variant}]", self.test),
        }
    }
}

/// What tells one variant from another: named texts, of which none may depend on the host, on the
/// commit, or on what was measured. A run of the same variant on another machine or after an edit
/// has the same hash.
///
/// The hash is the first 8 bytes of BLAKE3 over, in ascending order of names, the length of the
/// name (8 bytes, little endian), the name, the length of the value likewise, the value.
///
/// ```
/// use belljar_record::VariantInputs;
///
/// let inputs = VariantInputs::new("quickstart", "boot", "cpus::all_online")
///     .with("topology", "1n2l4c1t")
///     .with("kernel", "debian:sid")
///     .with("mode", "det");
/// assert_eq!(inputs.hash().to_string(), "b44833135bbfb557");
/// assert_ne!(inputs.clone().with("seed", 7).hash(), inputs.hash());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantInputs {
    values: BTreeMap<String, String>,
}

impl VariantInputs {
    /// Of a test, by `package`, `binary` (its target's name) and `test` (`module::name`).
    ///
    /// To be added with [`with`](Self::with): `topology`, `memory_mib`, `kernel` (its id), `mode`
    /// (the one used), `scheduler` where there is one, and `seed` only where the test or the user
    /// declares it.
    pub fn new(package: &str, binary: &str, test: &str) -> Self {
        let values = [("package", package), ("binary", binary), ("test", test)];
        Self { values: values.map(|(name, value)| (name.into(), value.into())).into() }
    }

    /// Adds an input, or replaces the one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.values.insert(name.to_string(), value.to_string());
        self
    }

    /// The hash over all inputs.
    pub fn hash(&self) -> VariantHash {
        let mut hasher = blake3::Hasher::new();
        for text in self.values.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let mut hash = [0; 8];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        VariantHash(u64::from_be_bytes(hash))
    }
}

/// The identity of a variant: 16 lower-case hex digits in records, file names and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[0-9a-f]{16}$")))]
#[serde(try_from = "String", into = "String")]
pub struct VariantHash(u64);

impl fmt::Display for VariantHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl From<VariantHash> for String {
    fn from(hash: VariantHash) -> Self {
        hash.to_string()
    }
}

/// A text that is no [`VariantHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 lower-case hex digits")]
pub struct VariantHashError;

impl FromStr for VariantHash {
    type Err = VariantHashError;

    fn from_str(text: &str) -> Result<Self, VariantHashError> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(VariantHashError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| VariantHashError)
    }
}

impl TryFrom<String> for VariantHash {
    type Error = VariantHashError;

    fn try_from(text: String) -> Result<Self, VariantHashError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn inputs_do_not_run_into_each_other() {
        let hash = |package, binary| VariantInputs::new(package, binary, "t").hash();
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        let inputs = VariantInputs::new("p", "b", "t");
        assert_ne!(inputs.clone().with("a", "bc").hash(), inputs.clone().with("ab", "c").hash());
        let (a, b) = (inputs.clone().with("x", 1).with("y", 2), inputs.with("y", 2).with("x", 1));
        assert_eq!(a.hash(), b.hash());
    }

    #[test]
    fn only_16_lower_case_hex_digits_are_a_hash() {
        for bad in ["", "123", "+123456789abcdef", "0123456789ABCDEF", "00123456789abcdef"] {
            assert_eq!(bad.parse::<VariantHash>(), Err(VariantHashError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hashes_come_back(bits in any::<u64>()) {
            let hash = VariantHash(bits);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
        }
    }
}
