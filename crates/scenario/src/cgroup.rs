//! Cgroups.

use serde::{Deserialize, Serialize};

use crate::{Count, Cpuset, MemoryPolicy, Work, Workers};

/// A cgroup with its limits and its workers.
///
/// Its name is a path below the scenario's own cgroup: `a`, or `a/inner`, whose parent `a` must be
/// defined before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The path.
    pub name: String,
    /// The CPUs that it may use; all of its parent's if not given.
    pub cpuset: Option<Cpuset>,
    /// The memory nodes that it may use, as in `0-1`; all of its parent's if not given.
    pub mems: Option<String>,
    /// `cpu.weight`, 1 to 10,000; the kernel's 100 if not given.
    pub weight: Option<u32>,
    /// `cpu.max`: CPU time in each period of 100 ms, as a percentage of one CPU.
    pub quota_pct: Option<u32>,
    /// `memory.max` in bytes.
    pub memory_max_bytes: Option<u64>,
    /// `memory.high` in bytes.
    pub memory_high_bytes: Option<u64>,
    /// `memory.low` in bytes.
    pub memory_low_bytes: Option<u64>,
    /// `memory.swap.max` in bytes.
    pub swap_max_bytes: Option<u64>,
    /// `io.weight`, 1 to 10,000.
    pub io_weight: Option<u32>,
    /// `pids.max`.
    pub pids_max: Option<u32>,
    /// Whether an override of the work type may replace its groups' work.
    pub swappable: bool,
    /// Groups of workers.
    pub workers: Vec<Workers>,
}

impl Cgroup {
    /// A cgroup without limits or workers.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds `count` workers that do `work`.
    #[must_use]
    pub fn workers(self, count: u32, work: Work) -> Self {
        self.group(Workers::new(Count::Exact(count), work))
    }

    /// Adds a group of workers.
    #[must_use]
    pub fn group(mut self, workers: Workers) -> Self {
        self.workers.push(workers);
        self
    }

    /// Confines it to CPUs.
    #[must_use]
    pub fn cpuset(mut self, cpuset: Cpuset) -> Self {
        self.cpuset = Some(cpuset);
        self
    }

    /// Confines it to memory nodes, as in `0-1`.
    #[must_use]
    pub fn mems(mut self, nodes: &str) -> Self {
        self.mems = Some(nodes.to_owned());
        self
    }

    /// Sets `cpu.weight`.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets `cpu.max`, in percent of one CPU.
    #[must_use]
    pub fn quota_pct(mut self, percent: u32) -> Self {
        self.quota_pct = Some(percent);
        self
    }

    /// Sets `memory.max`, in bytes.
    #[must_use]
    pub fn memory_max(mut self, bytes: u64) -> Self {
        self.memory_max_bytes = Some(bytes);
        self
    }

    /// Sets `memory.high`, in bytes.
    #[must_use]
    pub fn memory_high(mut self, bytes: u64) -> Self {
        self.memory_high_bytes = Some(bytes);
        self
    }

    /// Sets `memory.low`, in bytes.
    #[must_use]
    pub fn memory_low(mut self, bytes: u64) -> Self {
        self.memory_low_bytes = Some(bytes);
        self
    }

    /// Sets `memory.swap.max`, in bytes.
    #[must_use]
    pub fn swap_max(mut self, bytes: u64) -> Self {
        self.swap_max_bytes = Some(bytes);
        self
    }

    /// Sets `io.weight`.
    #[must_use]
    pub fn io_weight(mut self, weight: u32) -> Self {
        self.io_weight = Some(weight);
        self
    }

    /// Sets `pids.max`.
    #[must_use]
    pub fn pids_max(mut self, pids: u32) -> Self {
        self.pids_max = Some(pids);
        self
    }

    /// Lets an override of the work type replace its groups' work.
    #[must_use]
    pub fn swappable(mut self) -> Self {
        self.swappable = true;
        self
    }

    /// Sets the memory policy of the group that was added last.
    ///
    /// # Panics
    /// When it has no group yet.
    #[must_use]
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        let last = self.workers.last_mut().expect("a memory policy follows the workers it is for");
        last.memory = policy;
        self
    }
}
