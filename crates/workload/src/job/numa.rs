//! Memory and tasks that change their node: `migrate_pages`, `task_numa_fault`, and balancing between
//! nodes.

use std::time::Duration;

use belljar_topology::{CpuSet, NodeId};

use super::Job;
use crate::hand::{Hand, Outcome, Refusal, Tried};
use crate::sys;

/// A footprint that is moved to the next node at each interval (`mbind(2)`), and touched in between.
pub(super) struct Sweep {
    pub(super) bytes: u64,
    pub(super) interval: Duration,
}

impl Job for Sweep {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let pages = (self.bytes as usize / sys::PAGE).max(1);
        let mut mapping =
            sys::Mapping::new(pages * sys::PAGE).tried(|| format!("map {} bytes", self.bytes))?;
        let mut nodes: Vec<NodeId> = hand.topology().node_ids().collect();
        let mut at = hand.rng.usize(0..nodes.len());
        while hand.goes_on() {
            let node = nodes[at % nodes.len()];
            match sys::move_to_node(mapping.bytes_mut(), node.0) {
                Ok(()) => {}
                // A node that this cpuset may not use, or that has no memory.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) && nodes.len() > 1 => {
                    nodes.retain(|other| *other != node);
                    continue;
                }
                // Pages that are in use elsewhere stay where they are.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
                Err(error) => {
                    return Err(Refusal(format!("cannot move memory to node {node}: {error}")));
                }
            }
            at += 1;
            let until = hand.now_ns().saturating_add(sys::ns(self.interval));
            let mut page = 0;
            while hand.now_ns() < until && hand.goes_on() {
                for _ in 0..64 {
                    let byte = &mut mapping.bytes_mut()[page * sys::PAGE];
                    *byte = std::hint::black_box(byte.wrapping_add(1));
                    page = (page + 1) % pages;
                }
                hand.did_part(64);
            }
            hand.did(0);
        }
        let found = sys::nodes_of_pages(mapping.bytes_mut());
        let mut counts = vec![0; hand.topology().node_count() as usize];
        for node in found.tried(|| "ask where pages are".into())?.into_iter().flatten() {
            if let Some(count) = counts.get_mut(node as usize) {
                *count += 1;
            }
        }
        hand.set_node_pages(counts);
        Ok(())
    }
}

/// A task that binds itself to the CPUs of the next node at each interval. With one node it stays.
pub(super) struct Migration {
    pub(super) interval: Duration,
}

impl Job for Migration {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut at = hand.rng.usize(0..hand.topology().node_count().max(1) as usize);
        while hand.goes_on() {
            let allowed: CpuSet = super::churn::online(hand)?.into_iter().collect();
            let nodes = hand.topology().node_ids().filter_map(|node| {
                let cpus = hand.topology().cpus_of_node(node)?.intersection(&allowed);
                (!cpus.is_empty()).then_some(cpus)
            });
            let nodes: Vec<CpuSet> = nodes.collect();
            if let Some(cpus) = nodes.get(at % nodes.len().max(1)) {
                match sys::set_affinity(None, cpus) {
                    // The cpuset has just changed.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                    result => result.tried(|| format!("bind itself to CPUs {cpus}"))?,
                }
            }
            at += 1;
            let until = hand.now_ns().saturating_add(sys::ns(self.interval));
            hand.spin_until(until, 256);
            hand.did(0);
        }
        Ok(())
    }
}

/// Pairs, each pair on the hardware threads of one core; without SMT they share the core's one CPU.
pub(super) struct Siblings;

impl Job for Siblings {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let allowed: CpuSet = super::churn::online(hand)?.into_iter().collect();
        let topology = hand.topology();
        let cores = topology.core_ids().filter_map(|core| topology.cpus_of_core(core));
        let mut cores: Vec<CpuSet> =
            cores.map(|cpus| cpus.intersection(&allowed)).filter(|cpus| !cpus.is_empty()).collect();
        // Cores of which both threads may be used come first.
        cores.sort_by_key(|cpus| std::cmp::Reverse(cpus.len()));
        let whole = cores.iter().filter(|cpus| cpus.len() >= 2).count().max(1);
        if let Some(core) = cores.get((team.first / 2) as usize % whole) {
            let cpus: Vec<_> = core.iter().collect();
            let cpu = cpus[team.position as usize % cpus.len()];
            sys::set_affinity(None, &std::iter::once(cpu).collect())
                .tried(|| format!("bind itself to CPU {cpu}"))?;
        }
        while hand.goes_on() {
            hand.spin(1024);
            hand.did(1);
        }
        Ok(())
    }
}
