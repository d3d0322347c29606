//! Memory policies.

use serde::{Deserialize, Serialize};

/// A memory policy of `set_mempolicy(2)`. Nodes are numbers, and must be ones that the cgroup may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "memory", rename_all = "kebab-case")]
pub enum MemoryPolicy {
    /// The system's.
    #[default]
    Default,
    /// On these nodes alone.
    Bind {
        /// The nodes.
        nodes: Vec<u32>,
        /// How they are understood.
        flags: MemoryFlags,
    },
    /// On this node first.
    Preferred {
        /// The node.
        node: u32,
        /// How it is understood.
        flags: MemoryFlags,
    },
    /// On these nodes in turn.
    Interleave {
        /// The nodes.
        nodes: Vec<u32>,
        /// How they are understood.
        flags: MemoryFlags,
    },
    /// On the node of the CPU that asks.
    Local,
    /// On these nodes first (Linux 5.15).
    PreferredMany {
        /// The nodes.
        nodes: Vec<u32>,
        /// How they are understood.
        flags: MemoryFlags,
    },
    /// On these nodes in turn, by their weights in sysfs (Linux 6.9).
    WeightedInterleave {
        /// The nodes.
        nodes: Vec<u32>,
        /// How they are understood.
        flags: MemoryFlags,
    },
}

/// How the nodes of a memory policy are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryFlags {
    /// As they are, and remapped when the cpuset changes.
    #[default]
    None,
    /// As they are, never remapped.
    StaticNodes,
    /// As positions in the set of allowed nodes.
    RelativeNodes,
    /// With balancing between them (`Bind` only).
    NumaBalancing,
}
