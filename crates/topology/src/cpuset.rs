//! Sets of CPUs in the list format of Linux: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::CpuId;
use crate::word::clip;

/// An ordered set of CPUs, written and read as Linux writes cpulists in sysfs and cgroups.
///
/// Reading takes what Linux takes: ranges in any order, overlapping or repeated, and a line's
/// newline; the empty set is the empty string. Strides (`0-7:2/4`) are refused. In records a set
/// is that string.
///
/// ```
/// use belljar_topology::CpuSet;
///
/// let cpus: CpuSet = "8,0-2,3\n".parse()?;
/// assert_eq!(cpus.to_string(), "0-3,8");
/// assert_eq!(cpus.len(), 5);
/// # Ok::<(), belljar_topology::CpuSetError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$")))]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(BTreeSet<CpuId>);

/// Why a text is not a CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuSetError {
    /// A comma-separated part is neither a number nor a range.
    #[error("expected a CPU or a range but found `{0}`, in a list such as `0-3,8`")]
    Part(String),
    /// A range's first CPU is above its last.
    #[error("range `{0}-{1}` runs backwards: write `{1}-{0}`")]
    Backwards(CpuId, CpuId),
    /// A CPU number that no kernel uses.
    #[error("CPU {0} is above {max}, the highest that Linux can be built for", max = CpuSet::CPU_MAX)]
    TooHigh(String),
}

impl CpuSet {
    /// The highest CPU a list may name: x86 kernels are built for at most 8192.
    pub const CPU_MAX: CpuId = CpuId(8191);

    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Adds a CPU, and says whether it was missing.
    pub fn insert(&mut self, cpu: CpuId) -> bool {
        self.0.insert(cpu)
    }

    /// Whether the CPU is in the set.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0.contains(&cpu)
    }

    /// How many CPUs the set holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set holds no CPU.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = CpuId> + '_ {
        self.0.iter().copied()
    }

    /// Whether `other` holds every CPU of this set.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The CPUs of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.union(&other.0).copied().collect()
    }

    /// The CPUs of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.0.intersection(&other.0).copied().collect()
    }

    /// The CPUs of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.0.difference(&other.0).copied().collect()
    }
}

impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|next| next.0 - last.0 == 1) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(list: &str) -> Result<Self, CpuSetError> {
        let mut cpus = Self::new();
        let list = list.trim();
        if list.is_empty() {
            return Ok(cpus);
        }
        for part in list.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (cpu(first, part)?, cpu(last, part)?);
            if first > last {
                return Err(CpuSetError::Backwards(first, last));
            }
            cpus.0.extend((first.0..=last.0).map(CpuId));
        }
        Ok(cpus)
    }
}

fn cpu(word: &str, part: &str) -> Result<CpuId, CpuSetError> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuSetError::Part(clip(part)));
    }
    match word.parse().map(CpuId) {
        Ok(cpu) if cpu <= CpuSet::CPU_MAX => Ok(cpu),
        _ => Err(CpuSetError::TooHigh(clip(word))),
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuSetError;

    fn try_from(list: String) -> Result<Self, CpuSetError> {
        list.parse()
    }
}

impl From<CpuSet> for String {
    fn from(cpus: CpuSet) -> Self {
        cpus.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read_as_linux_writes_them() {
        for (list, canonical) in [
            ("", ""),
            ("\n", ""),
            ("0", "0"),
            ("0-0", "0"),
            ("1,0,2", "0-2"),
            ("0-3,2-5, 9\n", "0-5,9"),
            ("0,2,4-5", "0,2,4-5"),
            ("8191", "8191"),
        ] {
            assert_eq!(list.parse::<CpuSet>().unwrap().to_string(), canonical, "{list:?}");
        }
    }

    #[test]
    fn errors_name_the_word() {
        for (list, message) in [
            ("0-3,x", "expected a CPU or a range but found `x`, in a list such as `0-3,8`"),
            ("0,,1", "expected a CPU or a range but found ``, in a list such as `0-3,8`"),
            ("-1", "expected a CPU or a range but found `-1`, in a list such as `0-3,8`"),
            ("+1", "expected a CPU or a range but found `+1`, in a list such as `0-3,8`"),
            ("3-1", "range `3-1` runs backwards: write `1-3`"),
            ("0-8192", "CPU 8192 is above 8191, the highest that Linux can be built for"),
        ] {
            assert_eq!(list.parse::<CpuSet>().unwrap_err().to_string(), message, "{list:?}");
        }
    }

    #[test]
    fn the_highest_id_is_written() {
        let cpus = CpuSet::from_iter([CpuId(u32::MAX), CpuId(u32::MAX - 1)]);
        assert_eq!(cpus.to_string(), "4294967294-4294967295");
    }

    proptest! {
        #[test]
        fn lists_roundtrip(cpus in proptest::collection::btree_set(0u32..300, 0..80)) {
            let cpus: CpuSet = cpus.into_iter().map(CpuId).collect();
            prop_assert_eq!(&cpus.to_string().parse::<CpuSet>().unwrap(), &cpus);
            let json = serde_json::to_string(&cpus).unwrap();
            prop_assert_eq!(serde_json::from_str::<CpuSet>(&json).unwrap(), cpus);
        }

        #[test]
        fn hostile_lists_do_not_panic(list in "[-0-9,+ x\n]{0,30}|.{0,30}") {
            if let Ok(cpus) = list.parse::<CpuSet>() {
                prop_assert_eq!(cpus.to_string().parse::<CpuSet>().unwrap(), cpus);
            }
        }
    }
}
