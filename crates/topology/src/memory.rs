//! Memory in MiB, and how a machine's memory is split over its nodes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::topology::Topology;

/// An amount of memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemoryMib(pub u64);

impl fmt::Display for MemoryMib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

impl MemoryMib {
    /// The least a node can have.
    pub const NODE_LEAST: Self = Self(64);
    /// The least node 0 can have: the channel to the host lives at physical address 128 MiB.
    pub const NODE_0_LEAST: Self = Self(192);
    /// The most a node can be given explicitly: 16 TiB.
    pub const NODE_MAX: Self = Self(16 << 20);

    /// The least that this node can have.
    #[must_use]
    pub const fn least_of(node: NodeId) -> Self {
        if node.0 == 0 { Self::NODE_0_LEAST } else { Self::NODE_LEAST }
    }
}

/// Why an amount of memory cannot be split over the nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// A node would get less than it can work with.
    #[error("{total} leave {gets} for node {node}, which needs {needs}: give at least {least}")]
    TooLittle {
        /// What was to be split.
        total: MemoryMib,
        /// The first node that is short.
        node: NodeId,
        /// What it would get.
        gets: MemoryMib,
        /// What it needs.
        needs: MemoryMib,
        /// [`Topology::memory_least`].
        least: MemoryMib,
    },
    /// Every node's memory is explicit, and the total is another.
    #[error("{total} cannot be split: the nodes' own memory adds up to {sum}, give that")]
    NotTheSum {
        /// What was to be split.
        total: MemoryMib,
        /// What the nodes add up to.
        sum: MemoryMib,
    },
}

impl Topology {
    /// The smallest total that fits, from which on every larger one does too.
    ///
    /// Where every node's memory is explicit, it is their sum, and only that fits.
    #[must_use]
    pub fn memory_least(&self) -> MemoryMib {
        let (explicit, sharing) = self.memory_explicit();
        // Shares are even, so where node 0 shares, the others get as much as it needs.
        let share = match self.nodes().first() {
            Some(node) if node.memory.is_none() => MemoryMib::NODE_0_LEAST,
            _ => MemoryMib::NODE_LEAST,
        };
        MemoryMib(explicit + sharing * share.0)
    }

    /// Splits the machine's memory over its nodes, one amount per node.
    ///
    /// Nodes with explicit memory get that. The others share what is left in whole MiB, evenly;
    /// the first of them, node 0 unless its memory is explicit, gets the remainder as well.
    ///
    /// # Errors
    ///
    /// If a node would get less than [`MemoryMib::least_of`] it, with the total that would fit; or
    /// if all memory is explicit and `total` is not its sum.
    pub fn memory_per_node(&self, total: MemoryMib) -> Result<Vec<MemoryMib>, MemoryError> {
        let (explicit, sharing) = self.memory_explicit();
        if sharing == 0 && total.0 != explicit {
            return Err(MemoryError::NotTheSum { total, sum: MemoryMib(explicit) });
        }
        let shared = total.0.saturating_sub(explicit);
        let share = shared.checked_div(sharing).unwrap_or(0);
        let mut remainder = shared.checked_rem(sharing).unwrap_or(0);
        let mut split = Vec::with_capacity(self.nodes().len());
        for (id, node) in self.node_ids().zip(self.nodes()) {
            let gets =
                node.memory.unwrap_or_else(|| MemoryMib(share + std::mem::take(&mut remainder)));
            let needs = MemoryMib::least_of(id);
            if gets < needs {
                let least = self.memory_least();
                return Err(MemoryError::TooLittle { total, node: id, gets, needs, least });
            }
            split.push(gets);
        }
        Ok(split)
    }

    /// The sum of the explicit memory in MiB, and how many nodes have none.
    fn memory_explicit(&self) -> (u64, u64) {
        self.nodes().iter().fold((0, 0), |(explicit, sharing), node| match node.memory {
            Some(memory) => (explicit + memory.0, sharing),
            None => (explicit, sharing + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::topologies;
    use crate::topology::Node;

    fn split(topology: &Topology, total: u64) -> Result<Vec<u64>, String> {
        let split = topology.memory_per_node(MemoryMib(total)).map_err(|e| e.to_string())?;
        Ok(split.into_iter().map(|memory| memory.0).collect())
    }

    #[test]
    fn memory_is_split_evenly() {
        let three: Topology = "3n3l1c1t".parse().unwrap();
        assert_eq!(split(&three, 1000), Ok(vec![334, 333, 333]));
        assert_eq!(
            split(&three, 400),
            Err("400 MiB leave 134 MiB for node 0, which needs 192 MiB: give at least 576 MiB"
                .into())
        );
        assert_eq!(split(&"1n1l1c1t".parse().unwrap(), 192), Ok(vec![192]));
    }

    #[test]
    fn explicit_memory_comes_first() {
        let cpus = Node::with_llcs(1);
        let build = |nodes: &[Node]| Topology::from_nodes(nodes, 1, 1).unwrap();
        let some = build(&[cpus.memory(MemoryMib(500)), cpus, Node::memory_only()]);
        assert_eq!(split(&some, 801), Ok(vec![500, 151, 150]));
        assert_eq!(
            split(&some, 400),
            Err("400 MiB leave 0 MiB for node 1, which needs 64 MiB: give at least 628 MiB".into())
        );
        let all = build(&[cpus.memory(MemoryMib(500))]);
        assert_eq!(split(&all, 500), Ok(vec![500]));
        assert_eq!(
            split(&all, 512),
            Err("512 MiB cannot be split: the nodes' own memory adds up to 500 MiB, give that"
                .into())
        );
    }

    proptest! {
        #[test]
        fn a_split_adds_up_from_the_least_on(topology in topologies(), more in 0u64..2000) {
            let least = topology.memory_least();
            let all_explicit = topology.nodes().iter().all(|node| node.memory.is_some());
            let total = MemoryMib(least.0 + if all_explicit { 0 } else { more });
            let split = topology.memory_per_node(total).unwrap();
            prop_assert_eq!(split.iter().map(|memory| memory.0).sum::<u64>(), total.0);
            prop_assert!(topology.memory_per_node(MemoryMib(u64::MAX)).is_ok() != all_explicit);
            prop_assert!(topology.memory_per_node(MemoryMib(0)).is_err());
        }
    }
}
