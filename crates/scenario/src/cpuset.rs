//! Sets of CPUs as a scenario words them: without knowing the topology.

use std::fmt;

use belljar_topology::{CpuSet, LlcId, NodeId, Topology};
use serde::{Deserialize, Serialize};

/// CPUs, in words that fit any topology. "Usable" are the CPUs of the parent cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cpus", rename_all = "kebab-case")]
pub enum Cpuset {
    /// The CPUs of a last-level cache, from 0.
    Llc {
        /// Which.
        index: u32,
    },
    /// The CPUs of a NUMA node, from 0.
    Node {
        /// Which.
        index: u32,
    },
    /// A run of the usable CPUs, in order.
    Range {
        /// Where it begins, as a fraction of the usable CPUs.
        start: f64,
        /// Where it ends, as a fraction of the usable CPUs.
        end: f64,
    },
    /// One of `of` parts that share no CPU.
    Disjoint {
        /// Which, from 0.
        index: u32,
        /// How many parts there are.
        of: u32,
    },
    /// One of `of` parts, each of which shares a fraction of its CPUs with the next.
    Overlap {
        /// Which, from 0.
        index: u32,
        /// How many parts there are.
        of: u32,
        /// The fraction that is shared, below 1.
        fraction: f64,
    },
    /// Just these.
    Exact {
        /// The CPUs.
        set: CpuSet,
    },
}

impl Cpuset {
    /// The CPUs of last-level cache `index`.
    #[must_use]
    pub const fn llc(index: u32) -> Self {
        Self::Llc { index }
    }

    /// The CPUs of NUMA node `index`.
    #[must_use]
    pub const fn node(index: u32) -> Self {
        Self::Node { index }
    }

    /// The usable CPUs from `start` to `end`, as fractions.
    #[must_use]
    pub const fn range(start: f64, end: f64) -> Self {
        Self::Range { start, end }
    }

    /// Part `index` of `of` that share no CPU.
    #[must_use]
    pub const fn disjoint(index: u32, of: u32) -> Self {
        Self::Disjoint { index, of }
    }

    /// Part `index` of `of` that share `fraction` of their CPUs with the next.
    #[must_use]
    pub const fn overlap(index: u32, of: u32, fraction: f64) -> Self {
        Self::Overlap { index, of, fraction }
    }

    /// Just these.
    #[must_use]
    pub const fn exact(set: CpuSet) -> Self {
        Self::Exact { set }
    }
}

/// Why a [`Cpuset`] is not possible where it is used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CpusetError {
    /// An index that is out of range.
    #[error("`{cpuset}` does not exist: give {what} from 0 to {most}")]
    Index {
        /// What was asked for.
        cpuset: Cpuset,
        /// `an LLC`, `a node`, `a part`.
        what: &'static str,
        /// The highest.
        most: u32,
    },
    /// None of its CPUs is usable.
    #[error("`{cpuset}` has no CPU here: there are the CPUs {usable}")]
    Empty {
        /// What was asked for.
        cpuset: Cpuset,
        /// What is usable.
        usable: CpuSet,
    },
    /// CPUs that are not usable.
    #[error(
        "`{cpuset}` has CPUs {outside}, which are not usable here: there are the CPUs {usable}"
    )]
    Outside {
        /// What was asked for.
        cpuset: Cpuset,
        /// Those that are not usable.
        outside: CpuSet,
        /// What is usable.
        usable: CpuSet,
    },
    /// More parts than CPUs.
    #[error("`{cpuset}` asks for more parts than there are CPUs: give 1 to {usable} parts")]
    Parts {
        /// What was asked for.
        cpuset: Cpuset,
        /// How many CPUs are usable.
        usable: usize,
    },
    /// A fraction that is out of range.
    #[error("`{cpuset}` is not possible: give {allowed}")]
    Fraction {
        /// What was asked for.
        cpuset: Cpuset,
        /// What is possible, in words.
        allowed: &'static str,
    },
}

impl Cpuset {
    /// The CPUs, given those that are usable: the parent cgroup's.
    ///
    /// Of an LLC and of a node it is those that are usable. Ranges that touch share no CPU, and parts
    /// that share no CPU leave none out. Parts that overlap are rounded outwards, so that neighbours
    /// share at least one CPU.
    ///
    /// # Errors
    ///
    /// If it names what is not there, comes out empty, or leaves the usable CPUs.
    pub fn resolve(&self, topology: &Topology, usable: &CpuSet) -> Result<CpuSet, CpusetError> {
        let index = |what, count: u32| CpusetError::Index {
            cpuset: self.clone(),
            what,
            most: count.saturating_sub(1),
        };
        let fraction = |allowed| CpusetError::Fraction { cpuset: self.clone(), allowed };
        let count = usable.len() as f64;
        let run = |from: f64, to: f64| -> CpuSet {
            let (from, to) = (from as usize, to as usize);
            usable.iter().take(to).skip(from).collect()
        };
        let cpus = match *self {
            Self::Llc { index: llc } => topology
                .cpus_of_llc(LlcId(llc))
                .ok_or_else(|| index("an LLC", topology.llc_count()))?
                .intersection(usable),
            Self::Node { index: node } => topology
                .cpus_of_node(NodeId(node))
                .ok_or_else(|| index("a node", topology.node_count()))?
                .intersection(usable),
            Self::Range { start, end } => {
                if !(0.0 <= start && start < end && end <= 1.0) {
                    return Err(fraction("0 <= start < end <= 1"));
                }
                run((start * count).round(), (end * count).round())
            }
            Self::Disjoint { index: part, of } | Self::Overlap { index: part, of, .. }
                if part >= of =>
            {
                return Err(index("a part", of));
            }
            Self::Disjoint { of, .. } if of as usize > usable.len() => {
                return Err(CpusetError::Parts { cpuset: self.clone(), usable: usable.len() });
            }
            Self::Disjoint { index: part, of } => {
                let bound = |part: u32| (f64::from(part) * count / f64::from(of)).round();
                run(bound(part), bound(part + 1))
            }
            Self::Overlap { index: part, of, fraction: shared } => {
                if !(0.0..1.0).contains(&shared) {
                    return Err(fraction("a fraction of at least 0 and below 1"));
                }
                // Parts of `length` begin every `length * own`; the last ends with the last CPU.
                let own = 1.0 - shared;
                let length = count / (1.0 + f64::from(of - 1) * own);
                let begin = f64::from(part) * length * own;
                /// Far above what floating point is off by, far below a CPU.
                const SLACK: f64 = 1e-6;
                run((begin + SLACK).floor(), (begin + length - SLACK).ceil())
            }
            Self::Exact { ref set } => {
                let outside = set.difference(usable);
                if !outside.is_empty() {
                    let (cpuset, usable) = (self.clone(), usable.clone());
                    return Err(CpusetError::Outside { cpuset, outside, usable });
                }
                set.clone()
            }
        };
        if cpus.is_empty() {
            return Err(CpusetError::Empty { cpuset: self.clone(), usable: usable.clone() });
        }
        Ok(cpus)
    }
}

impl fmt::Display for Cpuset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Llc { index } => write!(f, "LLC {index}"),
            Self::Node { index } => write!(f, "node {index}"),
            Self::Range { start, end } => write!(f, "range {start} to {end}"),
            Self::Disjoint { index, of } => write!(f, "part {index} of {of}"),
            Self::Overlap { index, of, fraction } => {
                write!(f, "part {index} of {of}, {fraction} shared")
            }
            Self::Exact { set } => write!(f, "CPUs {set}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(cpuset: &Cpuset, usable: &str) -> Result<String, String> {
        let topology = "2n4l2c1t".parse().unwrap();
        let cpus = cpuset.resolve(&topology, &usable.parse().unwrap());
        cpus.map(|cpus| cpus.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn words_become_cpus() {
        for (cpuset, usable, cpus) in [
            (Cpuset::llc(3), "0-7", "6-7"),
            (Cpuset::llc(1), "0-2", "2"),
            (Cpuset::node(1), "0-7", "4-7"),
            (Cpuset::range(0.0, 0.5), "1-6", "1-3"),
            (Cpuset::range(0.5, 1.0), "1-6", "4-6"),
            (Cpuset::disjoint(1, 3), "0-7", "3-4"),
            (Cpuset::overlap(0, 2, 0.5), "0-2", "0-1"),
            (Cpuset::overlap(1, 2, 0.5), "0-2", "1-2"),
            (Cpuset::exact("2,4".parse().unwrap()), "0-7", "2,4"),
        ] {
            assert_eq!(resolve(&cpuset, usable).as_deref(), Ok(cpus), "{cpuset} of {usable}");
        }
    }

    #[test]
    fn what_is_not_possible_says_what_is() {
        let errors: Vec<String> = [
            (Cpuset::llc(4), "0-7"),
            (Cpuset::node(1), "0-3"),
            (Cpuset::range(0.5, 0.5), "0-7"),
            (Cpuset::range(0.5, 0.55), "0-7"),
            (Cpuset::disjoint(2, 2), "0-7"),
            (Cpuset::disjoint(2, 3), "0-1"),
            (Cpuset::overlap(0, 2, 1.0), "0-7"),
            (Cpuset::exact("2,9".parse().unwrap()), "0-7"),
            (Cpuset::exact(CpuSet::new()), "0-7"),
        ]
        .map(|(cpuset, usable)| resolve(&cpuset, usable).unwrap_err())
        .into();
        insta::assert_snapshot!(errors.join("\n"), @r"
        `LLC 4` does not exist: give an LLC from 0 to 3
        `node 1` has no CPU here: there are the CPUs 0-3
        `range 0.5 to 0.5` is not possible: give 0 <= start < end <= 1
        `range 0.5 to 0.55` has no CPU here: there are the CPUs 0-7
        `part 2 of 2` does not exist: give a part from 0 to 1
        `part 2 of 3` asks for more parts than there are CPUs: give 1 to 2 parts
        `part 0 of 2, 1 shared` is not possible: give a fraction of at least 0 and below 1
        `CPUs 2,9` has CPUs 9, which are not usable here: there are the CPUs 0-7
        `CPUs ` has no CPU here: there are the CPUs 0-7
        ");
    }

    proptest! {
        #[test]
        fn disjoint_parts_tile_and_overlapping_ones_share(
            cpus in proptest::collection::btree_set(0u32..64, 1..64), of in 1u32..9, shared in 0.0f64..0.95,
        ) {
            let usable: CpuSet = cpus.into_iter().map(belljar_topology::CpuId).collect();
            let topology = Topology::new(1, 1, 64, 1).unwrap();
            let parts = |cpuset: fn(u32, u32, f64) -> Cpuset| -> Vec<CpuSet> {
                let part = |i| cpuset(i, of, shared).resolve(&topology, &usable);
                (0..of).map(part).map(Result::unwrap).collect()
            };
            let overlapping = parts(Cpuset::overlap);
            let all = overlapping.iter().fold(CpuSet::new(), |all, part| all.union(part));
            prop_assert_eq!(&all, &usable);
            for two in overlapping.windows(2) {
                prop_assert!(shared < 0.01 || !two[0].intersection(&two[1]).is_empty());
            }
            if of as usize <= usable.len() {
                let disjoint = parts(|i, of, _| Cpuset::disjoint(i, of));
                let sum: usize = disjoint.iter().map(CpuSet::len).sum();
                let all = disjoint.iter().fold(CpuSet::new(), |all, part| all.union(part));
                prop_assert_eq!((&all, sum), (&usable, usable.len()));
            }
        }

        #[test]
        fn no_cpuset_panics_or_leaves_what_is_usable(
            a in any::<f64>(), b in any::<f64>(), index: u32, of: u32, usable in 0u32..9,
        ) {
            let usable: CpuSet = (0..usable).map(belljar_topology::CpuId).collect();
            let topology = "2n4l2c1t".parse().unwrap();
            for cpuset in [
                Cpuset::llc(index), Cpuset::node(index), Cpuset::range(a, b),
                Cpuset::disjoint(index, of), Cpuset::overlap(index, of, a),
            ] {
                if let Ok(cpus) = cpuset.resolve(&topology, &usable) {
                    prop_assert!(!cpus.is_empty() && cpus.is_subset(&usable), "{}", cpuset);
                }
            }
        }
    }
}
