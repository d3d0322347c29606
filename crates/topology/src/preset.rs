//! Machines with a name, to run a test on one after another.

use crate::topology::{Node, Topology};
use crate::word::{clip, closest};

/// A named topology. Its memory is for the caller to choose.
///
/// ```
/// use belljar_topology::Preset;
///
/// let preset = Preset::find("2numa-16cpu-4llc-nosmt")?;
/// assert_eq!(preset.topology().to_string(), "2n4l4c1t");
/// assert_eq!(
///     Preset::find("4cpu-3llc-nosmt").unwrap_err().to_string(),
///     "no preset is called `4cpu-3llc-nosmt`; did you mean `4cpu-1llc-nosmt`?"
/// );
/// # Ok::<(), belljar_topology::UnknownPreset>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Preset {
    /// Says nodes if more than one, CPUs, LLCs, and whether cores have two threads.
    pub name: &'static str,
    nodes: u32,
    llcs: u32,
    cores_per_llc: u32,
    threads_per_core: u32,
}

/// No preset has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no preset is called `{name}`; {}", advice(*closest))]
pub struct UnknownPreset {
    /// The name that was asked for, cut short if very long.
    pub name: String,
    /// The known name closest to it, if any is close.
    pub closest: Option<&'static str>,
}

fn advice(closest: Option<&str>) -> String {
    closest.map_or_else(
        || {
            let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name).collect();
            format!("there are {}", names.join(", "))
        },
        |closest| format!("did you mean `{closest}`?"),
    )
}

const fn preset(name: &'static str, [nodes, llcs, cores, threads]: [u32; 4]) -> Preset {
    Preset { name, nodes, llcs, cores_per_llc: cores, threads_per_core: threads }
}

impl Preset {
    /// All presets: one node first, then more, by number of CPUs.
    pub const ALL: &'static [Self] = &[
        preset("4cpu-1llc-nosmt", [1, 1, 4, 1]),
        preset("4cpu-2llc-nosmt", [1, 2, 2, 1]),
        preset("8cpu-2llc-smt", [1, 2, 2, 2]),
        preset("9cpu-3llc-nosmt", [1, 3, 3, 1]),
        preset("12cpu-3llc-smt", [1, 3, 2, 2]),
        preset("14cpu-7llc-nosmt", [1, 7, 2, 1]),
        preset("15cpu-5llc-nosmt", [1, 5, 3, 1]),
        preset("32cpu-4llc-nosmt", [1, 4, 8, 1]),
        preset("32cpu-4llc-smt", [1, 4, 4, 2]),
        preset("64cpu-8llc-nosmt", [1, 8, 8, 1]),
        preset("64cpu-8llc-smt", [1, 8, 4, 2]),
        preset("2numa-16cpu-4llc-nosmt", [2, 4, 4, 1]),
        preset("2numa-32cpu-2llc-smt", [2, 2, 8, 2]),
        preset("4numa-32cpu-8llc-nosmt", [4, 8, 4, 1]),
    ];

    /// The preset of that name.
    ///
    /// # Errors
    ///
    /// If there is none, with the closest name or all of them.
    pub fn find(name: &str) -> Result<&'static Self, UnknownPreset> {
        Self::ALL.iter().find(|preset| preset.name == name).ok_or_else(|| UnknownPreset {
            name: clip(name),
            closest: closest(name, Self::ALL.iter().map(|preset| preset.name)),
        })
    }

    /// The machine.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let node = Node::with_llcs(self.llcs / self.nodes);
        let nodes = vec![node; self.nodes as usize];
        Topology::unchecked(nodes, self.cores_per_llc, self.threads_per_core)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_preset_is_valid_and_named_for_what_it_is() {
        for preset in Preset::ALL {
            let Preset { name, nodes, llcs, cores_per_llc, threads_per_core } = *preset;
            let topology = Topology::new(nodes, llcs, cores_per_llc, threads_per_core).unwrap();
            assert_eq!(preset.topology(), topology);
            let numa = if nodes > 1 { format!("{nodes}numa-") } else { String::new() };
            let smt = if topology.has_smt() { "smt" } else { "nosmt" };
            assert_eq!(name, format!("{numa}{}cpu-{llcs}llc-{smt}", topology.cpu_count()));
            assert!(topology.cpu_count() <= 64);
            assert_eq!(Preset::find(name), Ok(preset));
        }
        let names: BTreeSet<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), 14);
    }

    #[test]
    fn unknown_names_are_answered_with_a_known_one() {
        let closest = |name| Preset::find(name).unwrap_err().closest;
        assert_eq!(closest("8cpu-2llc"), Some("8cpu-2llc-smt"));
        assert_eq!(closest("2NUMA-16cpu-4llc-nosmt"), Some("2numa-16cpu-4llc-nosmt"));
        assert_eq!(closest("16cpu-4llc-nosmt"), Some("14cpu-7llc-nosmt"));
        assert_eq!(closest(&"x".repeat(10_000)), None);
        let message = Preset::find("large").unwrap_err().to_string();
        assert!(message.starts_with("no preset is called `large`; there are 4cpu-1llc-nosmt, "));
    }
}
