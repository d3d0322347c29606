//! What a test VM's machine looks like: NUMA nodes, last-level caches (LLCs), cores, threads,
//! distances and memory, and everything that follows from them.
//!
//! One [`Topology`] is written by a test author, becomes QEMU arguments on the host, and is
//! compared with what Linux shows in the guest:
//!
//! ```
//! use belljar_topology::{CpuId, LlcId, MemoryMib, NodeId, Topology};
//!
//! // Two nodes, four LLCs in the whole machine, two cores in each, one thread per core.
//! let topology: Topology = "2n4l2c1t".parse()?;
//! assert_eq!(topology.cpu_count(), 8);
//! assert_eq!(topology.llc_of(CpuId(5)), Some(LlcId(2)));
//! assert_eq!(topology.cpus_of_node(NodeId(1)).unwrap().to_string(), "4-7");
//!
//! let qemu = topology.qemu(MemoryMib(1024), "ram")?;
//! assert_eq!(qemu.smp.to_string(), "cpus=8,sockets=2,dies=2,cores=2,threads=1,maxcpus=8");
//! assert!(qemu.args().contains(&"node,nodeid=1,cpus=4-7,memdev=ram1".to_string()));
//!
//! // A mistake is answered with the word that is wrong and what would be right.
//! let error = "1nl4c1t".parse::<Topology>().unwrap_err();
//! assert_eq!(error.to_string(), "expected a number before `l` in `1nl4c1t`, as in `1n2l4c1t`");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`Topology`], [`Node`] | the machine, its limits, and questions about it |
//! | notation (`impl FromStr`, `Display`) | `1n2l4c1t` and its errors |
//! | record (`impl Serialize`, `Deserialize`) | the form in JSON records |
//! | [`CpuSet`] | CPU lists as Linux writes them, `0-3,8` |
//! | [`Preset`] | named machines to run a test on |
//! | [`Constraints`] | which machines a test accepts, and why not |
//! | [`MemoryMib`] | memory, and its split over nodes |
//! | [`QemuTopology`] | `-smp`, `-m` and `-numa` |
//! | [`Sysfs`] | what Linux must show in the guest |
//! | [`word`] | "did you mean" for this crate and those above it |
//!
//! # What this crate must never depend on
//!
//! Nothing here reads a file, starts a process, or looks at the machine it runs on; the crate
//! depends on serde and thiserror only, and on no other crate of the workspace. The test macros
//! use it inside the compiler, and the guest agent inside the VM. For the same reason no input may
//! make it panic.
//!
//! # Limits
//!
//! * Memory-only nodes come last: Linux numbers them so.
//! * Every LLC has the same number of cores, and every core the same number of threads.
//! * At most [`Topology::NODES_MAX`] nodes and [`Topology::CPUS_MAX`] CPUs. QEMU may take fewer:
//!   APIC ids above 254 need an interrupt controller that emulation does not always offer.
#![forbid(unsafe_code)]

mod constraint;
mod cpuset;
mod id;
mod memory;
mod notation;
mod preset;
mod qemu;
mod record;
mod sysfs;
#[cfg(test)]
mod testing;
mod topology;
pub mod word;

pub use constraint::{Constraints, Contradiction, Rejection};
pub use cpuset::{CpuSet, CpuSetError};
pub use id::{CoreId, CpuId, LlcId, NodeId};
pub use memory::{MemoryError, MemoryMib};
pub use notation::NotationError;
pub use preset::{Preset, UnknownPreset};
pub use qemu::{QemuNode, QemuTopology, Smp};
pub use sysfs::{CpuSysfs, NodeSysfs, Sysfs};
pub use topology::{Node, Topology, TopologyError};
