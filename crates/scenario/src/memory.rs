//! Memory policies.

use std::fmt;

use belljar_topology::{CpuId, CpuSet};
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

impl MemoryPolicy {
    /// Its name in the data model.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Bind { .. } => "bind",
            Self::Preferred { .. } => "preferred",
            Self::Interleave { .. } => "interleave",
            Self::Local => "local",
            Self::PreferredMany { .. } => "preferred-many",
            Self::WeightedInterleave { .. } => "weighted-interleave",
        }
    }

    /// The nodes that it names, as the numbers of a set; none for a policy that takes none.
    #[must_use]
    pub fn nodes(&self) -> Option<CpuSet> {
        match self {
            Self::Default | Self::Local => None,
            Self::Preferred { node, .. } => Some([CpuId(*node)].into_iter().collect()),
            Self::Bind { nodes, .. }
            | Self::Interleave { nodes, .. }
            | Self::PreferredMany { nodes, .. }
            | Self::WeightedInterleave { nodes, .. } => {
                Some(nodes.iter().copied().map(CpuId).collect())
            }
        }
    }

    /// How its nodes are understood.
    #[must_use]
    pub const fn flags(&self) -> MemoryFlags {
        match *self {
            Self::Default | Self::Local => MemoryFlags::None,
            Self::Bind { flags, .. }
            | Self::Preferred { flags, .. }
            | Self::Interleave { flags, .. }
            | Self::PreferredMany { flags, .. }
            | Self::WeightedInterleave { flags, .. } => flags,
        }
    }
}

impl fmt::Display for MemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(nodes) = self.nodes() {
            write!(f, " {nodes}")?;
        }
        f.write_str(match self.flags() {
            MemoryFlags::None => "",
            MemoryFlags::StaticNodes => " (static nodes)",
            MemoryFlags::RelativeNodes => " (relative nodes)",
            MemoryFlags::NumaBalancing => " (balancing)",
        })
    }
}
