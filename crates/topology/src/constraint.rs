//! Which machines a test accepts, and in words why not.

use serde::{Deserialize, Serialize};

use crate::preset::Preset;
use crate::topology::Topology;

/// Bounds on a topology, each inclusive.
///
/// The default accepts one node, up to 12 LLCs and up to 192 CPUs: a test that can run on several
/// nodes says so. [`Constraints::ANY`] accepts everything.
///
/// ```
/// use belljar_topology::{Constraints, Preset};
///
/// let constraints = Constraints { min_llcs: 2, max_cpus: 8, ..Constraints::default() };
/// let names: Vec<_> = constraints.presets()?.iter().map(|preset| preset.name).collect();
/// assert_eq!(names, ["4cpu-2llc-nosmt", "8cpu-2llc-smt"]);
///
/// let single = Preset::find("4cpu-1llc-nosmt")?.topology();
/// let rejection = constraints.accepts(&single).unwrap_err();
/// assert_eq!(rejection.to_string(), "number of LLCs is 1, and min_llcs is 2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constraints {
    /// Fewest CPUs.
    pub min_cpus: u32,
    /// Most CPUs.
    pub max_cpus: u32,
    /// Fewest LLCs, over the machine.
    pub min_llcs: u32,
    /// Most LLCs, over the machine.
    pub max_llcs: u32,
    /// Fewest NUMA nodes, memory-only ones included.
    pub min_numa_nodes: u32,
    /// Most NUMA nodes, memory-only ones included.
    pub max_numa_nodes: u32,
    /// `Some(true)`: cores must have several threads. `Some(false)`: they must not.
    pub requires_smt: Option<bool>,
}

/// Why a topology is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Too few or too many of something.
    #[error("number of {what} is {count}, and {bound} is {limit}")]
    Count {
        /// What is counted, in words.
        what: &'static str,
        /// How many the machine has.
        count: u32,
        /// The bound it does not meet, such as `min_cpus`.
        bound: &'static str,
        /// That bound's value.
        limit: u32,
    },
    /// Cores have one thread, or several, against [`Constraints::requires_smt`].
    #[error("number of threads per core is {threads_per_core}, and requires_smt is {}", *threads_per_core == 1)]
    Smt {
        /// How many threads every core has.
        threads_per_core: u32,
    },
}

/// A pair of bounds that no topology can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} = {min} is above {} = {max}: no machine meets both", bounds[0], bounds[1])]
pub struct Contradiction {
    /// Names of the lower and the upper bound, such as `min_cpus` and `max_cpus`.
    pub bounds: [&'static str; 2],
    /// The lower bound.
    pub min: u32,
    /// The upper bound.
    pub max: u32,
}

type Bounds = ([(&'static str, u32); 2], &'static str, fn(&Topology) -> u32);

impl Default for Constraints {
    fn default() -> Self {
        Self { max_cpus: 192, max_llcs: 12, max_numa_nodes: 1, ..Self::ANY }
    }
}

impl Constraints {
    /// Accepts every topology.
    pub const ANY: Self = Self {
        min_cpus: 1,
        max_cpus: u32::MAX,
        min_llcs: 1,
        max_llcs: u32::MAX,
        min_numa_nodes: 1,
        max_numa_nodes: u32::MAX,
        requires_smt: None,
    };

    /// Whether the bounds can be met at all.
    ///
    /// # Errors
    ///
    /// If a lower bound is above its upper bound.
    pub fn validate(&self) -> Result<(), Contradiction> {
        for ([(min_name, min), (max_name, max)], _, _) in self.bounds() {
            if min > max {
                return Err(Contradiction { bounds: [min_name, max_name], min, max });
            }
        }
        Ok(())
    }

    /// Whether a topology meets every bound.
    ///
    /// # Errors
    ///
    /// The first bound that it does not meet.
    pub fn accepts(&self, topology: &Topology) -> Result<(), Rejection> {
        for ([(min_name, min), (max_name, max)], what, count_of) in self.bounds() {
            let count = count_of(topology);
            if count < min {
                return Err(Rejection::Count { what, count, bound: min_name, limit: min });
            }
            if count > max {
                return Err(Rejection::Count { what, count, bound: max_name, limit: max });
            }
        }
        if self.requires_smt.is_some_and(|required| required != topology.has_smt()) {
            return Err(Rejection::Smt { threads_per_core: topology.threads_per_core() });
        }
        Ok(())
    }

    /// The presets that meet every bound, in their order. There may be none.
    ///
    /// # Errors
    ///
    /// If the bounds contradict each other.
    pub fn presets(&self) -> Result<Vec<&'static Preset>, Contradiction> {
        self.validate()?;
        Ok(Preset::ALL.iter().filter(|preset| self.accepts(&preset.topology()).is_ok()).collect())
    }

    /// Each pair of bounds by name and value, what it is about, and how to count that.
    fn bounds(&self) -> [Bounds; 3] {
        [
            (
                [("min_cpus", self.min_cpus), ("max_cpus", self.max_cpus)],
                "CPUs",
                Topology::cpu_count,
            ),
            (
                [("min_llcs", self.min_llcs), ("max_llcs", self.max_llcs)],
                "LLCs",
                Topology::llc_count,
            ),
            (
                [("min_numa_nodes", self.min_numa_nodes), ("max_numa_nodes", self.max_numa_nodes)],
                "NUMA nodes",
                Topology::node_count,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::topologies;

    #[test]
    fn every_rejection_says_why() {
        let any = Constraints::ANY;
        for (constraints, message) in [
            (Constraints { min_cpus: 17, ..any }, "number of CPUs is 16, and min_cpus is 17"),
            (Constraints { max_llcs: 3, ..any }, "number of LLCs is 4, and max_llcs is 3"),
            (Constraints::default(), "number of NUMA nodes is 2, and max_numa_nodes is 1"),
            (
                Constraints { requires_smt: Some(false), ..any },
                "number of threads per core is 2, and requires_smt is false",
            ),
        ] {
            let topology = "2n4l2c2t".parse().unwrap();
            assert_eq!(constraints.accepts(&topology).unwrap_err().to_string(), message);
        }
        let smt = Constraints { requires_smt: Some(true), ..any };
        assert_eq!(
            smt.accepts(&"1n1l1c1t".parse().unwrap()).unwrap_err().to_string(),
            "number of threads per core is 1, and requires_smt is true"
        );
    }

    #[test]
    fn contradictions_name_both_bounds() {
        let constraints = Constraints { min_llcs: 13, ..Constraints::default() };
        assert_eq!(
            constraints.presets().unwrap_err().to_string(),
            "min_llcs = 13 is above max_llcs = 12: no machine meets both"
        );
    }

    #[test]
    fn presets_are_filtered() {
        let count = |constraints: Constraints| constraints.presets().unwrap().len();
        assert_eq!(count(Constraints::default()), 11);
        assert_eq!(count(Constraints::ANY), Preset::ALL.len());
        assert_eq!(count(Constraints { requires_smt: Some(true), ..Constraints::ANY }), 5);
    }

    proptest! {
        #[test]
        fn any_accepts_all_and_exact_bounds_accept_their_own(t in topologies()) {
            prop_assert_eq!(Constraints::ANY.accepts(&t), Ok(()));
            let exact = Constraints {
                min_cpus: t.cpu_count(),
                max_cpus: t.cpu_count(),
                min_llcs: t.llc_count(),
                max_llcs: t.llc_count(),
                min_numa_nodes: t.node_count(),
                max_numa_nodes: t.node_count(),
                requires_smt: Some(t.has_smt()),
            };
            prop_assert_eq!(exact.accepts(&t), Ok(()));
            let more = Constraints { min_cpus: t.cpu_count() + 1, ..exact };
            prop_assert!(more.accepts(&t).is_err());
        }
    }
}
