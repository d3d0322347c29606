//! Arbitrary topologies for property tests: nodes that differ, memory-only nodes, explicit memory
//! and distances, none of it always.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::memory::MemoryMib;
use crate::topology::{Node, Topology};

pub(crate) fn topologies() -> impl Strategy<Value = Topology> {
    let even =
        (1u32..=4, 1u32..=4, 1u32..=6, 1u32..=3).prop_map(|(nodes, llcs, cores, threads)| {
            Topology::new(nodes, nodes * llcs, cores, threads).expect("counts are within limits")
        });
    prop_oneof![even, uneven()]
}

fn uneven() -> impl Strategy<Value = Topology> {
    let memory = option::of((192u64..2000).prop_map(MemoryMib));
    let node = (0u32..=3, memory).prop_map(|(llcs, memory)| Node { llcs, memory });
    let far = option::of(vec(11u8..=254, 36));
    (vec(node, 1..=6), 1u32..=5, 1u32..=2, far).prop_map(|(mut nodes, cores, threads, far)| {
        if nodes.iter().all(|node| node.llcs == 0) {
            nodes[0].llcs = 1;
        }
        nodes.sort_by_key(|node| node.llcs == 0);
        let count = nodes.len();
        let topology =
            Topology::from_nodes(nodes, cores, threads).expect("counts are within limits");
        let Some(far) = far else { return topology };
        let distance = |from: usize, to: usize| {
            if from == to { 10 } else { far[from.min(to) * 6 + from.max(to)] }
        };
        let row = |from| (0..count).map(|to| distance(from, to)).collect();
        topology.with_distances((0..count).map(row).collect()).expect("distances are symmetric")
    })
}
