//! A topology as QEMU arguments.
//!
//! A socket is a node and a die is an LLC: QEMU shares the L3 per die. Where nodes have different
//! numbers of LLCs, which `-smp` cannot say, every LLC is a socket of its own instead: LLCs and
//! nodes come out the same, and only Linux's packages differ. QEMU numbers CPUs in order of socket,
//! die, core and thread, which is our order, and Linux keeps it.
//!
//! The CPU model has to play its part: see [`QemuTopology::cpu_properties`].

use std::fmt;

use crate::cpuset::CpuSet;
use crate::id::NodeId;
use crate::memory::{MemoryError, MemoryMib};
use crate::topology::Topology;

/// What QEMU must be told to build a topology; [`QemuTopology::args`] is the same as arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuTopology {
    /// `-smp`.
    pub smp: Smp,
    /// Every node, in order of ids. Each needs a memory backend of this size and name, which is
    /// for the caller to make (`-object memory-backend-...,id=MEMDEV,size=...M`).
    pub nodes: Vec<QemuNode>,
    /// From one node to another and how far; each pair once, as QEMU takes it both ways.
    pub distances: Vec<(NodeId, NodeId, u8)>,
}

/// The value of `-smp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smp {
    /// CPUs in all.
    pub cpus: u32,
    /// Sockets: nodes with CPUs, or LLCs if those nodes differ.
    pub sockets: u32,
    /// Dies in every socket: LLCs of a node, or 1.
    pub dies: u32,
    /// Cores in every die.
    pub cores: u32,
    /// Threads in every core.
    pub threads: u32,
}

/// One node, for `-numa node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuNode {
    /// The node.
    pub node: NodeId,
    /// Its CPUs: one range, or none.
    pub cpus: CpuSet,
    /// Its memory.
    pub memory: MemoryMib,
    /// The id of its memory backend.
    pub memdev: String,
}

impl fmt::Display for Smp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpus, sockets, dies, cores, threads } = self;
        write!(
            f,
            "cpus={cpus},sockets={sockets},dies={dies},cores={cores},threads={threads},maxcpus={cpus}"
        )
    }
}

impl fmt::Display for QemuNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, cpus, memory: _, memdev } = self;
        write!(f, "node,nodeid={node}")?;
        if !cpus.is_empty() {
            write!(f, ",cpus={cpus}")?;
        }
        write!(f, ",memdev={memdev}")
    }
}

impl Topology {
    /// What QEMU must be told, with `total` memory and memory backends called `memdev_prefix` and
    /// the node's number: `ram0`, `ram1`. The prefix must be an id to QEMU: a letter, then
    /// letters, digits, `-`, `.` and `_`.
    ///
    /// # Errors
    ///
    /// As [`Topology::memory_per_node`].
    pub fn qemu(&self, total: MemoryMib, memdev_prefix: &str) -> Result<QemuTopology, MemoryError> {
        let nodes = self.node_ids().zip(self.memory_per_node(total)?).map(|(node, memory)| {
            let cpus = self.cpus_of_node(node).unwrap_or_default();
            QemuNode { node, cpus, memory, memdev: format!("{memdev_prefix}{node}") }
        });
        let distances = self.node_ids().flat_map(|src| {
            (src.0 + 1..self.node_count())
                .map(NodeId)
                .filter_map(move |dst| Some((src, dst, self.distance(src, dst)?)))
        });
        Ok(QemuTopology { smp: self.smp(), nodes: nodes.collect(), distances: distances.collect() })
    }

    fn smp(&self) -> Smp {
        let mut llcs = self.nodes().iter().map(|node| node.llcs).filter(|llcs| *llcs > 0);
        let dies = llcs.next().filter(|first| llcs.all(|next| next == *first)).unwrap_or(1);
        Smp {
            cpus: self.cpu_count(),
            sockets: self.llc_count() / dies,
            dies,
            cores: self.cores_per_llc(),
            threads: self.threads_per_core(),
        }
    }
}

impl QemuTopology {
    /// `-smp`, `-m`, and for more than one node `-numa` for every node and distance.
    ///
    /// A machine of one node needs no `-numa`: see [`QemuTopology::machine_memory_backend`].
    /// `-object` is the caller's, and must come with these in one command line.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let memory: u64 = self.nodes.iter().map(|node| node.memory.0).sum();
        let mut args =
            vec!["-smp".to_string(), self.smp.to_string(), "-m".to_string(), format!("{memory}M")];
        if self.nodes.len() > 1 {
            let nodes = self.nodes.iter().map(QemuNode::to_string);
            let distances = self
                .distances
                .iter()
                .map(|(src, dst, val)| format!("dist,src={src},dst={dst},val={val}"));
            for value in nodes.chain(distances) {
                args.extend(["-numa".to_string(), value]);
            }
        }
        args
    }

    /// What `-cpu MODEL,` must be followed by for Linux to see these LLCs.
    ///
    /// * `vendor=GenuineIntel` makes the L2 follow the core, `l3-cache=on` gives an L3 per die.
    /// * `level=0x1e`, for several dies, hides CPUID leaf 0x1f, which aborts QEMU 10.0 under emulation
    ///   if it is read with ECX above 5 (`encode_topo_cpuid1f: Assertion`). SeaBIOS does so at boot:
    ///   it asks for leaf 0x40000100, which is answered as the highest one, and that is 0x1f.
    ///   Linux finds the same LLCs and packages without that leaf, but no dies.
    #[must_use]
    pub fn cpu_properties(&self) -> &'static str {
        if self.smp.dies > 1 {
            "vendor=GenuineIntel,l3-cache=on,level=0x1e"
        } else {
            "vendor=GenuineIntel,l3-cache=on"
        }
    }

    /// The backend for `-machine memory-backend=`, for a machine of one node.
    ///
    /// `None` for more nodes: their memory is named by `-numa`, and QEMU refuses both at once.
    #[must_use]
    pub fn machine_memory_backend(&self) -> Option<&str> {
        match &self.nodes[..] {
            [only] => Some(&only.memdev),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::topologies;

    fn qemu(notation: &str, total: u64) -> QemuTopology {
        notation.parse::<Topology>().unwrap().qemu(MemoryMib(total), "ram").unwrap()
    }

    #[test]
    fn one_node_needs_no_numa() {
        let qemu = qemu("1n2l4c2t", 512);
        assert_eq!(
            qemu.args(),
            ["-smp", "cpus=16,sockets=1,dies=2,cores=4,threads=2,maxcpus=16", "-m", "512M"]
        );
        assert_eq!(qemu.machine_memory_backend(), Some("ram0"));
        assert_eq!(qemu.cpu_properties(), "vendor=GenuineIntel,l3-cache=on,level=0x1e");
    }

    #[test]
    fn nodes_that_differ_make_every_llc_a_socket() {
        let qemu = qemu("3n2+1+0l2c1t", 1000);
        assert_eq!(
            qemu.args().join(" "),
            "-smp cpus=6,sockets=3,dies=1,cores=2,threads=1,maxcpus=6 -m 1000M \
             -numa node,nodeid=0,cpus=0-3,memdev=ram0 \
             -numa node,nodeid=1,cpus=4-5,memdev=ram1 \
             -numa node,nodeid=2,memdev=ram2 \
             -numa dist,src=0,dst=1,val=20 \
             -numa dist,src=0,dst=2,val=20 \
             -numa dist,src=1,dst=2,val=20"
        );
        assert_eq!(qemu.machine_memory_backend(), None);
        assert_eq!(qemu.cpu_properties(), "vendor=GenuineIntel,l3-cache=on");
    }

    #[test]
    fn memory_only_nodes_are_no_sockets() {
        let smp = qemu("3n2+2+0l4c1t", 1000).smp;
        assert_eq!(smp, Smp { cpus: 16, sockets: 2, dies: 2, cores: 4, threads: 1 });
    }

    proptest! {
        #[test]
        fn arguments_agree_with_the_model(t in topologies()) {
            let qemu = t.qemu(t.memory_least(), "m").unwrap();
            let Smp { cpus, sockets, dies, cores, threads } = qemu.smp;
            prop_assert_eq!(sockets * dies * cores * threads, cpus);
            // Every die of QEMU's sequential order is one of our LLCs, and lies in one node.
            prop_assert_eq!(cores * threads * t.llc_count(), t.cpu_count());
            let mut seen = CpuSet::new();
            for node in &qemu.nodes {
                prop_assert_eq!(&Some(node.cpus.clone()), &t.cpus_of_node(node.node));
                prop_assert!(!node.cpus.to_string().contains(','));
                // No socket spans two nodes.
                prop_assert_eq!(node.cpus.len() as u32 % (dies * cores * threads), 0);
                seen = seen.union(&node.cpus);
            }
            prop_assert_eq!(seen, t.cpus());
            let pairs = t.node_count() * (t.node_count() - 1) / 2;
            prop_assert_eq!(qemu.distances.len() as u32, pairs);
            let numa = qemu.args().iter().filter(|arg| *arg == "-numa").count() as u32;
            prop_assert_eq!(numa, if t.node_count() == 1 { 0 } else { pairs + t.node_count() });
        }
    }
}
