//! What Linux must show in the guest, if QEMU and the kernel built what was asked for.

use crate::cpuset::CpuSet;
use crate::id::{CpuId, NodeId};
use crate::topology::Topology;

/// The parts of `/sys/devices/system` that a topology determines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysfs {
    /// Every CPU, in order.
    pub cpus: Vec<CpuSysfs>,
    /// Every node, in order.
    pub nodes: Vec<NodeSysfs>,
}

/// What Linux shows for a CPU, in `cpu/cpuN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSysfs {
    /// The CPU.
    pub cpu: CpuId,
    /// `topology/core_cpus_list`, and the same under its older name
    /// `topology/thread_siblings_list`.
    pub core_cpus_list: CpuSet,
    /// `cache/index3/shared_cpu_list`. Index 3 is the L3 of the CPU models used here.
    pub l3_shared_cpu_list: CpuSet,
}

/// What Linux shows for a node, in `node/nodeN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSysfs {
    /// The node.
    pub node: NodeId,
    /// `cpulist`, empty for a memory-only node.
    pub cpulist: CpuSet,
    /// `distance`, to every node.
    pub distance: Vec<u8>,
}

impl Topology {
    /// What Linux must show for this machine.
    #[must_use]
    pub fn sysfs(&self) -> Sysfs {
        let cpus = self.cpu_ids().filter_map(|cpu| {
            Some(CpuSysfs {
                cpu,
                core_cpus_list: self.siblings_of(cpu)?,
                l3_shared_cpu_list: self.cpus_of_llc(self.llc_of(cpu)?)?,
            })
        });
        let nodes = self.node_ids().zip(self.distances()).filter_map(|(node, distance)| {
            let cpulist = self.cpus_of_node(node)?;
            Some(NodeSysfs { node, cpulist, distance: distance.clone() })
        });
        Sysfs { cpus: cpus.collect(), nodes: nodes.collect() }
    }
}

impl Sysfs {
    /// The same as files: path below `/sys/devices/system`, and content without its newline.
    ///
    /// ```
    /// use belljar_topology::Topology;
    ///
    /// let topology: Topology = "1n2l2c2t".parse()?;
    /// let files = topology.sysfs().files();
    /// let l3 = "cpu/cpu5/cache/index3/shared_cpu_list".to_string();
    /// assert!(files.contains(&(l3, "4-7".to_string())));
    /// # Ok::<(), belljar_topology::NotationError>(())
    /// ```
    #[must_use]
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for CpuSysfs { cpu, core_cpus_list, l3_shared_cpu_list } in &self.cpus {
            for (file, cpus) in [
                ("topology/core_cpus_list", core_cpus_list),
                ("topology/thread_siblings_list", core_cpus_list),
                ("cache/index3/shared_cpu_list", l3_shared_cpu_list),
            ] {
                files.push((format!("cpu/cpu{cpu}/{file}"), cpus.to_string()));
            }
        }
        for NodeSysfs { node, cpulist, distance } in &self.nodes {
            let distance: Vec<String> = distance.iter().map(u8::to_string).collect();
            files.push((format!("node/node{node}/cpulist"), cpulist.to_string()));
            files.push((format!("node/node{node}/distance"), distance.join(" ")));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::topologies;

    #[test]
    fn files_are_as_linux_writes_them() {
        let topology: Topology = "2n1+0l1c2t".parse().unwrap();
        let files: Vec<String> = topology
            .sysfs()
            .files()
            .into_iter()
            .map(|(path, content)| format!("{path}: {content}"))
            .collect();
        assert_eq!(
            files,
            [
                "cpu/cpu0/topology/core_cpus_list: 0-1",
                "cpu/cpu0/topology/thread_siblings_list: 0-1",
                "cpu/cpu0/cache/index3/shared_cpu_list: 0-1",
                "cpu/cpu1/topology/core_cpus_list: 0-1",
                "cpu/cpu1/topology/thread_siblings_list: 0-1",
                "cpu/cpu1/cache/index3/shared_cpu_list: 0-1",
                "node/node0/cpulist: 0-1",
                "node/node0/distance: 10 20",
                "node/node1/cpulist: ",
                "node/node1/distance: 20 10",
            ]
        );
    }

    proptest! {
        #[test]
        fn every_cpu_and_node_is_shown(t in topologies()) {
            let sysfs = t.sysfs();
            prop_assert_eq!(sysfs.cpus.len() as u32, t.cpu_count());
            prop_assert_eq!(sysfs.nodes.len() as u32, t.node_count());
            for cpu in &sysfs.cpus {
                prop_assert!(cpu.core_cpus_list.contains(cpu.cpu));
                prop_assert!(cpu.core_cpus_list.is_subset(&cpu.l3_shared_cpu_list));
            }
        }
    }
}
