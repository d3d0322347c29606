//! CPU affinity of workers.

use belljar_topology::CpuSet;
use serde::{Deserialize, Serialize};

use crate::Cpuset;

/// The CPUs that the workers of a group are bound to, within their cgroup's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "affinity", rename_all = "kebab-case")]
pub enum Affinity {
    /// Not bound: whatever the cgroup allows.
    #[default]
    Inherit,
    /// Each to `count` CPUs of `from`, drawn from the seed.
    RandomSubset {
        /// To draw from; the cgroup's if not given.
        from: Option<Cpuset>,
        /// How many.
        count: u32,
    },
    /// Each to the CPUs of one last-level cache, in turn.
    LlcAligned,
    /// All to the CPUs of the whole machine, whatever the cgroup has: the kernel must keep them in.
    CrossCgroup,
    /// Each to one CPU, in turn.
    SingleCpu,
    /// All to these.
    Exact {
        /// The CPUs.
        set: CpuSet,
    },
    /// Two by two to the hardware threads of one core; an error without SMT.
    SmtSiblingPair,
}
