//! The machine: nodes, LLCs, cores, threads, distances, and questions about them.

use serde::{Deserialize, Serialize};

use crate::cpuset::CpuSet;
use crate::id::{CoreId, CpuId, LlcId, NodeId};
use crate::memory::MemoryMib;
use crate::record::Record;

/// A machine that QEMU can build and Linux can boot on: every value of this type is valid.
///
/// CPUs are numbered in order of node, LLC, core and thread. Questions about an id that the
/// machine does not have are answered with `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct Topology {
    nodes: Vec<Node>,
    cores_per_llc: u32,
    threads_per_core: u32,
    distances: Vec<Vec<u8>>,
}

/// One NUMA node of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// How many LLCs, and with them cores, the node has. A node with none is memory only.
    pub llcs: u32,
    /// The node's memory, or `None` for an even share of what other nodes leave over.
    #[serde(rename = "memory_mib", default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryMib>,
}

/// Why a machine cannot be built as described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// A count that must be at least 1 is 0.
    #[error("{0} is 0: give at least 1")]
    Zero(&'static str),
    /// More nodes than [`Topology::NODES_MAX`].
    #[error("{nodes} nodes are too many: give at most {max}", max = Topology::NODES_MAX)]
    TooManyNodes {
        /// How many were asked for.
        nodes: usize,
    },
    /// More CPUs than [`Topology::CPUS_MAX`].
    #[error(
        "{llcs} LLCs of {cores_per_llc} cores with {threads_per_core} threads are too many CPUs: \
         give at most {max}", max = Topology::CPUS_MAX
    )]
    TooManyCpus {
        /// LLCs of the machine.
        llcs: u64,
        /// Cores in each LLC.
        cores_per_llc: u32,
        /// Threads in each core.
        threads_per_core: u32,
    },
    /// The LLCs cannot be divided evenly among the nodes.
    #[error(
        "{llcs} LLCs in total do not divide evenly among {nodes} nodes: \
         give a multiple of {nodes}, or name the LLCs of every node"
    )]
    UnevenLlcs {
        /// LLCs of the machine.
        llcs: u32,
        /// Nodes to divide them among.
        nodes: u32,
    },
    /// No node has an LLC, so the machine has no CPU.
    #[error("every node is memory only: give at least one node an LLC")]
    NoCpus,
    /// A memory-only node comes before one with LLCs.
    #[error(
        "node {memory_only} is memory only and node {with_llcs} is not: \
             put memory-only nodes last, as Linux numbers them"
    )]
    MemoryOnlyNotLast {
        /// The memory-only node.
        memory_only: NodeId,
        /// A later node that has LLCs.
        with_llcs: NodeId,
    },
    /// A node's explicit memory is outside of what the node can have.
    #[error("node {node} has {memory}: give it {least} to {max}", max = MemoryMib::NODE_MAX)]
    NodeMemory {
        /// The node.
        node: NodeId,
        /// What it was given.
        memory: MemoryMib,
        /// The least it can have.
        least: MemoryMib,
    },
    /// The distance matrix is not square, or not of the machine's size.
    #[error("row {row} of the distances has {columns} values: give {nodes} rows of {nodes}")]
    DistanceShape {
        /// The first row that is wrong or missing.
        row: usize,
        /// How many values it has, 0 if it is missing.
        columns: usize,
        /// Nodes of the machine.
        nodes: usize,
    },
    /// A distance that is out of range or differs from the one back.
    #[error("distance from node {from} to {to} is {distance}: give {right}")]
    Distance {
        /// Row.
        from: NodeId,
        /// Column.
        to: NodeId,
        /// The value found.
        distance: u8,
        /// What would be right, in words.
        right: String,
    },
}

impl Node {
    /// A node with CPUs.
    #[must_use]
    pub const fn with_llcs(llcs: u32) -> Self {
        Self { llcs, memory: None }
    }

    /// A node that has memory and no CPU, as CXL memory appears.
    #[must_use]
    pub const fn memory_only() -> Self {
        Self::with_llcs(0)
    }

    /// The same node with this much memory of its own.
    #[must_use]
    pub const fn memory(self, memory: MemoryMib) -> Self {
        Self { memory: Some(memory), ..self }
    }
}

impl Topology {
    /// The most nodes a machine can have.
    pub const NODES_MAX: u32 = 64;
    /// The most CPUs a machine can have.
    pub const CPUS_MAX: u32 = 4096;
    /// A node's distance to itself.
    pub const DISTANCE_LOCAL: u8 = 10;
    /// The distance between two nodes unless other distances are given.
    pub const DISTANCE_REMOTE: u8 = 20;

    /// A machine of `nodes` equal nodes. `llcs` is the **total** over the machine.
    ///
    /// # Errors
    ///
    /// If a count is 0 or above its limit, or the LLCs do not divide evenly among the nodes.
    pub fn new(
        nodes: u32,
        llcs: u32,
        cores_per_llc: u32,
        threads_per_core: u32,
    ) -> Result<Self, TopologyError> {
        if nodes == 0 {
            return Err(TopologyError::Zero("number of nodes"));
        }
        if llcs == 0 {
            return Err(TopologyError::Zero("number of LLCs"));
        }
        if nodes > Self::NODES_MAX {
            return Err(TopologyError::TooManyNodes { nodes: nodes as usize });
        }
        if !llcs.is_multiple_of(nodes) {
            return Err(TopologyError::UnevenLlcs { llcs, nodes });
        }
        let nodes = vec![Node::with_llcs(llcs / nodes); nodes as usize];
        Self::from_nodes(nodes, cores_per_llc, threads_per_core)
    }

    /// A machine whose nodes are given one by one.
    ///
    /// ```
    /// use belljar_topology::{MemoryMib, Node, Topology};
    ///
    /// // CPUs and fast memory on node 0, slow memory alone on node 1.
    /// let nodes = [Node::with_llcs(2), Node::memory_only().memory(MemoryMib(512))];
    /// let tiered = Topology::from_nodes(nodes, 4, 1)?
    ///     .with_distances(vec![vec![10, 30], vec![30, 10]])?;
    /// assert_eq!(tiered.to_string(), "2n2+0l4c1t");
    /// # Ok::<(), belljar_topology::TopologyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a count is 0 or above its limit, no node has an LLC, a memory-only node is not after all
    /// others (Linux numbers them last, wherever they are), or a node's explicit memory is less than
    /// [`MemoryMib::least_of`] or more than [`MemoryMib::NODE_MAX`].
    pub fn from_nodes(
        nodes: impl Into<Vec<Node>>,
        cores_per_llc: u32,
        threads_per_core: u32,
    ) -> Result<Self, TopologyError> {
        let nodes = nodes.into();
        for (count, what) in [
            (nodes.len(), "number of nodes"),
            (cores_per_llc as usize, "number of cores per LLC"),
            (threads_per_core as usize, "number of threads per core"),
        ] {
            if count == 0 {
                return Err(TopologyError::Zero(what));
            }
        }
        if nodes.len() > Self::NODES_MAX as usize {
            return Err(TopologyError::TooManyNodes { nodes: nodes.len() });
        }
        let llcs: u64 = nodes.iter().map(|node| u64::from(node.llcs)).sum();
        if llcs == 0 {
            return Err(TopologyError::NoCpus);
        }
        let cpus = llcs
            .saturating_mul(u64::from(cores_per_llc))
            .saturating_mul(u64::from(threads_per_core));
        if cpus > u64::from(Self::CPUS_MAX) {
            return Err(TopologyError::TooManyCpus { llcs, cores_per_llc, threads_per_core });
        }
        let mut memory_only = None;
        for (id, node) in (0..).map(NodeId).zip(&nodes) {
            let least = MemoryMib::least_of(id);
            if let Some(memory) = node.memory
                && !(least..=MemoryMib::NODE_MAX).contains(&memory)
            {
                return Err(TopologyError::NodeMemory { node: id, memory, least });
            }
            match memory_only {
                _ if node.llcs == 0 => memory_only = Some(id),
                Some(memory_only) => {
                    return Err(TopologyError::MemoryOnlyNotLast { memory_only, with_llcs: id });
                }
                None => {}
            }
        }
        Ok(Self::unchecked(nodes, cores_per_llc, threads_per_core))
    }

    /// For presets, whose counts are constants that a test validates.
    pub(crate) fn unchecked(nodes: Vec<Node>, cores_per_llc: u32, threads_per_core: u32) -> Self {
        let distances = distances_default(nodes.len());
        Self { nodes, cores_per_llc, threads_per_core, distances }
    }

    /// The same machine with these distances: row by row, from node 0 on.
    ///
    /// # Errors
    ///
    /// If the matrix is not n by n, its diagonal is not 10, another value is not in 11 to 254, or
    /// it is not symmetric.
    pub fn with_distances(mut self, distances: Vec<Vec<u8>>) -> Result<Self, TopologyError> {
        let nodes = self.nodes.len();
        for row in 0..nodes.max(distances.len()) {
            let columns = distances.get(row).map_or(0, Vec::len);
            if row >= nodes || columns != nodes {
                return Err(TopologyError::DistanceShape { row, columns, nodes });
            }
        }
        for (from, row) in (0..).map(NodeId).zip(&distances) {
            for ((to, &there), column) in (0..).map(NodeId).zip(row).zip(&distances) {
                let back = column[from.0 as usize];
                let right = match there {
                    10 if from == to => continue,
                    11..=254 if from != to && there == back => continue,
                    11..=254 if from != to => format!("the same both ways, not {back} back"),
                    _ if from != to => "11 to 254".to_string(),
                    _ => "10, a node's distance to itself".to_string(),
                };
                return Err(TopologyError::Distance { from, to, distance: there, right });
            }
        }
        self.distances = distances;
        Ok(self)
    }

    /// The nodes, in order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Cores in every LLC.
    #[must_use]
    pub fn cores_per_llc(&self) -> u32 {
        self.cores_per_llc
    }

    /// Threads in every core.
    #[must_use]
    pub fn threads_per_core(&self) -> u32 {
        self.threads_per_core
    }

    /// Whether cores have more than one thread.
    #[must_use]
    pub fn has_smt(&self) -> bool {
        self.threads_per_core > 1
    }

    /// Nodes of the machine, those without CPUs included.
    #[must_use]
    pub fn node_count(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// LLCs of the machine.
    #[must_use]
    pub fn llc_count(&self) -> u32 {
        self.nodes.iter().map(|node| node.llcs).sum()
    }

    /// Cores of the machine.
    #[must_use]
    pub fn core_count(&self) -> u32 {
        self.llc_count() * self.cores_per_llc
    }

    /// CPUs of the machine.
    #[must_use]
    pub fn cpu_count(&self) -> u32 {
        self.core_count() * self.threads_per_core
    }

    /// All node ids, in order.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.node_count()).map(NodeId)
    }

    /// All LLC ids, in order.
    pub fn llc_ids(&self) -> impl DoubleEndedIterator<Item = LlcId> + use<> {
        (0..self.llc_count()).map(LlcId)
    }

    /// All core ids, in order.
    pub fn core_ids(&self) -> impl DoubleEndedIterator<Item = CoreId> + use<> {
        (0..self.core_count()).map(CoreId)
    }

    /// All CPU ids, in order.
    pub fn cpu_ids(&self) -> impl DoubleEndedIterator<Item = CpuId> + use<> {
        (0..self.cpu_count()).map(CpuId)
    }

    /// All CPUs, as a set.
    #[must_use]
    pub fn cpus(&self) -> CpuSet {
        self.cpu_ids().collect()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node.0 as usize)
    }

    /// The CPUs of a node; none for a memory-only node.
    #[must_use]
    pub fn cpus_of_node(&self, node: NodeId) -> Option<CpuSet> {
        let (before, rest) = self.nodes.split_at_checked(node.0 as usize)?;
        let llcs_before: u32 = before.iter().map(|node| node.llcs).sum();
        Some(self.slice(llcs_before, rest.first()?.llcs, self.cpus_per_llc()))
    }

    /// The CPUs that share an LLC.
    #[must_use]
    pub fn cpus_of_llc(&self, llc: LlcId) -> Option<CpuSet> {
        (llc.0 < self.llc_count()).then(|| self.slice(llc.0, 1, self.cpus_per_llc()))
    }

    /// The CPUs that share a core.
    #[must_use]
    pub fn cpus_of_core(&self, core: CoreId) -> Option<CpuSet> {
        (core.0 < self.core_count()).then(|| self.slice(core.0, 1, self.threads_per_core))
    }

    /// The CPUs that share a core with this one, itself included.
    #[must_use]
    pub fn siblings_of(&self, cpu: CpuId) -> Option<CpuSet> {
        self.cpus_of_core(self.core_of(cpu)?)
    }

    /// The core a CPU belongs to.
    #[must_use]
    pub fn core_of(&self, cpu: CpuId) -> Option<CoreId> {
        (cpu.0 < self.cpu_count()).then_some(CoreId(cpu.0 / self.threads_per_core))
    }

    /// The LLC a CPU uses.
    #[must_use]
    pub fn llc_of(&self, cpu: CpuId) -> Option<LlcId> {
        (cpu.0 < self.cpu_count()).then_some(LlcId(cpu.0 / self.cpus_per_llc()))
    }

    /// The node a CPU belongs to.
    #[must_use]
    pub fn node_of(&self, cpu: CpuId) -> Option<NodeId> {
        self.node_of_llc(self.llc_of(cpu)?)
    }

    /// The node an LLC belongs to.
    #[must_use]
    pub fn node_of_llc(&self, llc: LlcId) -> Option<NodeId> {
        let mut end = 0;
        self.node_ids().zip(&self.nodes).find_map(|(id, node)| {
            end += node.llcs;
            (llc.0 < end).then_some(id)
        })
    }

    /// How far apart two nodes are, in the units of ACPI's SLIT: 10 is local.
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> Option<u8> {
        self.distances.get(from.0 as usize)?.get(to.0 as usize).copied()
    }

    /// The distances, row by row.
    #[must_use]
    pub fn distances(&self) -> &[Vec<u8>] {
        &self.distances
    }

    /// Whether all distances are 10 and 20.
    #[must_use]
    pub fn has_default_distances(&self) -> bool {
        self.distances == distances_default(self.nodes.len())
    }

    fn cpus_per_llc(&self) -> u32 {
        self.cores_per_llc * self.threads_per_core
    }

    /// The CPUs of `count` parts from part `first` on, where each has `width` CPUs.
    fn slice(&self, first: u32, count: u32, width: u32) -> CpuSet {
        (first * width..(first + count) * width).map(CpuId).collect()
    }
}

fn distances_default(nodes: usize) -> Vec<Vec<u8>> {
    let mut distances = vec![vec![Topology::DISTANCE_REMOTE; nodes]; nodes];
    for (node, row) in distances.iter_mut().enumerate() {
        row[node] = Topology::DISTANCE_LOCAL;
    }
    distances
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::topologies;

    #[test]
    fn counts_are_validated() {
        for ((nodes, llcs, cores, threads), message) in [
            ((0, 1, 1, 1), "number of nodes is 0: give at least 1"),
            ((1, 0, 1, 1), "number of LLCs is 0: give at least 1"),
            ((1, 1, 0, 1), "number of cores per LLC is 0: give at least 1"),
            ((1, 1, 1, 0), "number of threads per core is 0: give at least 1"),
            ((65, 65, 1, 1), "65 nodes are too many: give at most 64"),
            (
                (2, 3, 1, 1),
                "3 LLCs in total do not divide evenly among 2 nodes: give a multiple of 2, \
                 or name the LLCs of every node",
            ),
            (
                (1, 2, 2049, 1),
                "2 LLCs of 2049 cores with 1 threads are too many CPUs: give at most 4096",
            ),
        ] {
            let error = Topology::new(nodes, llcs, cores, threads).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        assert_eq!(Topology::new(64, 64, 64, 1).unwrap().cpu_count(), 4096);
        assert!(Topology::new(1, u32::MAX, u32::MAX, u32::MAX).is_err());
    }

    #[test]
    fn nodes_are_validated() {
        let build = |nodes: &[Node]| Topology::from_nodes(nodes, 1, 1).map_err(|e| e.to_string());
        assert_eq!(
            build(&[Node::memory_only()]),
            Err("every node is memory only: give at least one node an LLC".into())
        );
        assert_eq!(
            build(&[Node::with_llcs(1), Node::memory_only(), Node::with_llcs(1)]),
            Err("node 1 is memory only and node 2 is not: put memory-only nodes last, \
                 as Linux numbers them"
                .into())
        );
        assert_eq!(
            build(&[Node::with_llcs(1).memory(MemoryMib(191))]),
            Err("node 0 has 191 MiB: give it 192 MiB to 16777216 MiB".into())
        );
        assert_eq!(
            build(&[Node::with_llcs(1), Node::memory_only().memory(MemoryMib(u64::MAX))]),
            Err("node 1 has 18446744073709551615 MiB: give it 64 MiB to 16777216 MiB".into())
        );
    }

    #[test]
    fn distances_are_validated() {
        let build = |distances: &[&[u8]]| {
            Topology::new(2, 2, 1, 1)
                .unwrap()
                .with_distances(distances.iter().map(|row| row.to_vec()).collect())
                .map(|topology| topology.distance(NodeId(0), NodeId(1)))
                .map_err(|error| error.to_string())
        };
        let shape = |row: &str| Err(format!("{row}: give 2 rows of 2"));
        assert_eq!(build(&[&[10, 254], &[254, 10]]), Ok(Some(254)));
        assert_eq!(build(&[&[10, 20]]), shape("row 1 of the distances has 0 values"));
        assert_eq!(build(&[&[10], &[20, 10]]), shape("row 0 of the distances has 1 values"));
        assert_eq!(
            build(&[&[10, 20], &[20, 10], &[]]),
            shape("row 2 of the distances has 0 values")
        );
        assert_eq!(
            build(&[&[10, 255], &[255, 10]]),
            Err("distance from node 0 to 1 is 255: give 11 to 254".into())
        );
        assert_eq!(
            build(&[&[10, 20], &[20, 11]]),
            Err("distance from node 1 to 1 is 11: give 10, a node's distance to itself".into())
        );
        assert_eq!(
            build(&[&[10, 20], &[21, 10]]),
            Err("distance from node 0 to 1 is 20: give the same both ways, not 21 back".into())
        );
    }

    /// Each CPU lies in exactly one of the sets, and that is the one it says it lies in.
    fn assert_partition<Id: Copy + PartialEq + std::fmt::Debug>(
        topology: &Topology,
        parts: impl Iterator<Item = Id>,
        cpus_of: impl Fn(Id) -> Option<CpuSet>,
        part_of: impl Fn(CpuId) -> Option<Id>,
    ) {
        let mut seen = CpuSet::new();
        for part in parts {
            for cpu in cpus_of(part).unwrap().iter() {
                assert!(seen.insert(cpu), "{topology}: cpu {cpu} is in two parts");
                assert_eq!(part_of(cpu), Some(part), "{topology}: cpu {cpu}");
            }
        }
        assert_eq!(seen, topology.cpus());
        assert_eq!(part_of(CpuId(topology.cpu_count())), None);
        assert_eq!(part_of(CpuId(u32::MAX)), None);
    }

    proptest! {
        #[test]
        fn every_cpu_has_one_node_llc_and_core(t in topologies()) {
            assert_partition(&t, t.node_ids(), |id| t.cpus_of_node(id), |cpu| t.node_of(cpu));
            assert_partition(&t, t.llc_ids(), |id| t.cpus_of_llc(id), |cpu| t.llc_of(cpu));
            assert_partition(&t, t.core_ids(), |id| t.cpus_of_core(id), |cpu| t.core_of(cpu));
            for id in [u32::MAX, t.cpu_count()] {
                prop_assert_eq!(t.cpus_of_node(NodeId(id.max(64))), None);
                prop_assert_eq!(t.cpus_of_llc(LlcId(id)), None);
                prop_assert_eq!(t.cpus_of_core(CoreId(id)), None);
            }
        }

        #[test]
        fn parts_nest(t in topologies()) {
            for cpu in t.cpu_ids() {
                let core = t.siblings_of(cpu).unwrap();
                let llc = t.cpus_of_llc(t.llc_of(cpu).unwrap()).unwrap();
                let node = t.cpus_of_node(t.node_of(cpu).unwrap()).unwrap();
                prop_assert!(core.contains(cpu) && core.is_subset(&llc) && llc.is_subset(&node));
                prop_assert_eq!(core.len(), t.threads_per_core() as usize);
            }
        }
    }
}
