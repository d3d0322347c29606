//! Groups of workers.

use std::fmt;

use belljar_topology::{CpuSet, Topology};
use serde::{Deserialize, Serialize};

use crate::{Affinity, AffinityError, MemoryPolicy, Policy, Work};

/// A group of workers that do the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workers {
    /// How many.
    pub count: Count,
    /// What they do.
    pub work: Work,
    /// What the kernel calls them, at most 15 bytes; the work type in lower case if not given.
    pub comm: Option<String>,
    /// The name of a process that has these workers as its threads; if not given, each worker is a
    /// process of its own.
    pub process: Option<String>,
    /// The nice value, -20 to 19.
    pub nice: i32,
    /// The scheduling policy.
    pub policy: Policy,
    /// The CPUs that each is bound to.
    pub affinity: Affinity,
    /// Where their memory comes from.
    pub memory: MemoryPolicy,
    /// The user that they run as, if not root.
    pub uid: Option<u32>,
    /// The group that they run as, if not root.
    pub gid: Option<u32>,
}

/// How many workers a group has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    /// That many.
    Exact(u32),
    /// That many for each hundred usable CPUs, rounded up; may exceed 100.
    PercentOfCpus(u32),
}

impl Count {
    /// How many that is on a number of usable CPUs.
    #[must_use]
    pub fn resolve(self, usable: usize) -> u32 {
        match self {
            Self::Exact(count) => count,
            Self::PercentOfCpus(percent) => {
                let hundredths = (usable as u64).saturating_mul(u64::from(percent));
                u32::try_from(hundredths.div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(count) => write!(f, "{count}"),
            Self::PercentOfCpus(percent) => write!(f, "{percent}% of CPUs"),
        }
    }
}

impl Workers {
    /// The affinity of each of `count` workers, as [`Affinity::resolve`] has it; workers of
    /// [`Work::SmtSiblingSpin`] are SMT sibling pairs unless they are bound otherwise.
    ///
    /// # Errors
    ///
    /// As [`Affinity::resolve`].
    pub fn bound_to(
        &self,
        count: u32,
        cgroup: &CpuSet,
        topology: &Topology,
        seed: u64,
    ) -> Result<Vec<Option<CpuSet>>, AffinityError> {
        let affinity = match (&self.work, &self.affinity) {
            (Work::SmtSiblingSpin, Affinity::Inherit) => &Affinity::SmtSiblingPair,
            (_, affinity) => affinity,
        };
        affinity.resolve(count, cgroup, topology, seed)
    }

    /// A group with the kernel's defaults.
    #[must_use]
    pub fn new(count: Count, work: Work) -> Self {
        Self {
            count,
            work,
            comm: None,
            process: None,
            nice: 0,
            policy: Policy::Normal,
            affinity: Affinity::Inherit,
            memory: MemoryPolicy::default(),
            uid: None,
            gid: None,
        }
    }

    /// `count` workers.
    #[must_use]
    pub fn exactly(count: u32, work: Work) -> Self {
        Self::new(Count::Exact(count), work)
    }

    /// `percent` workers for each hundred usable CPUs.
    #[must_use]
    pub fn percent_of_cpus(percent: u32, work: Work) -> Self {
        Self::new(Count::PercentOfCpus(percent), work)
    }

    /// Names them.
    #[must_use]
    pub fn comm(mut self, comm: &str) -> Self {
        self.comm = Some(comm.to_owned());
        self
    }

    /// Makes them threads of one process of this name.
    #[must_use]
    pub fn threads_of(mut self, process: &str) -> Self {
        self.process = Some(process.to_owned());
        self
    }

    /// Sets the nice value.
    #[must_use]
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    /// Sets the scheduling policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Binds them to CPUs.
    #[must_use]
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = affinity;
        self
    }

    /// Sets the memory policy.
    #[must_use]
    pub fn memory(mut self, memory: MemoryPolicy) -> Self {
        self.memory = memory;
        self
    }

    /// Runs them as another user and group.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (Some(uid), Some(gid));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_up() {
        for (percent, cpus, count) in [(50, 4, 2), (50, 5, 3), (1, 4, 1), (150, 3, 5), (0, 4, 0)] {
            assert_eq!(Count::PercentOfCpus(percent).resolve(cpus), count);
        }
        assert_eq!(Count::PercentOfCpus(u32::MAX).resolve(usize::MAX), u32::MAX);
    }
}
