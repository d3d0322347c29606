//! Sets of CPUs as a scenario words them: without knowing the topology.

use belljar_topology::CpuSet;
use serde::{Deserialize, Serialize};

/// CPUs, in words that fit any topology. "Usable" are the CPUs of the parent cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cpus", rename_all = "kebab-case")]
pub enum Cpuset {
    /// The CPUs of a last-level cache, from 0.
    Llc {
        /// Which.
        index: u32,
    },
    /// The CPUs of a NUMA node, from 0.
    Node {
        /// Which.
        index: u32,
    },
    /// A run of the usable CPUs, in order.
    Range {
        /// Where it begins, as a fraction of the usable CPUs.
        start: f64,
        /// Where it ends, as a fraction of the usable CPUs.
        end: f64,
    },
    /// One of `of` parts that share no CPU.
    Disjoint {
        /// Which, from 0.
        index: u32,
        /// How many parts there are.
        of: u32,
    },
    /// One of `of` parts, each of which shares a fraction of its CPUs with the next.
    Overlap {
        /// Which, from 0.
        index: u32,
        /// How many parts there are.
        of: u32,
        /// The fraction that is shared, below 1.
        fraction: f64,
    },
    /// Just these.
    Exact {
        /// The CPUs.
        set: CpuSet,
    },
}

impl Cpuset {
    /// The CPUs of last-level cache `index`.
    #[must_use]
    pub const fn llc(index: u32) -> Self {
        Self::Llc { index }
    }

    /// The CPUs of NUMA node `index`.
    #[must_use]
    pub const fn node(index: u32) -> Self {
        Self::Node { index }
    }

    /// The usable CPUs from `start` to `end`, as fractions.
    #[must_use]
    pub const fn range(start: f64, end: f64) -> Self {
        Self::Range { start, end }
    }

    /// Part `index` of `of` that share no CPU.
    #[must_use]
    pub const fn disjoint(index: u32, of: u32) -> Self {
        Self::Disjoint { index, of }
    }

    /// Part `index` of `of` that share `fraction` of their CPUs with the next.
    #[must_use]
    pub const fn overlap(index: u32, of: u32, fraction: f64) -> Self {
        Self::Overlap { index, of, fraction }
    }

    /// Just these.
    #[must_use]
    pub const fn exact(set: CpuSet) -> Self {
        Self::Exact { set }
    }
}
