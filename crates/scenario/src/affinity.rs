//! CPU affinity of workers.

use std::fmt;

use belljar_topology::{CpuSet, Topology};
use serde::{Deserialize, Serialize};

use crate::{Cpuset, CpusetError};

/// The CPUs that the workers of a group are bound to, within their cgroup's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "affinity", rename_all = "kebab-case")]
pub enum Affinity {
    /// Not bound: whatever the cgroup allows.
    #[default]
    Inherit,
    /// Each to `count` CPUs of `from`, drawn from the seed.
    RandomSubset {
        /// To draw from; the cgroup's if not given.
        from: Option<Cpuset>,
        /// How many.
        count: u32,
    },
    /// Each to the CPUs of one last-level cache, in turn.
    LlcAligned,
    /// All to the CPUs of the whole machine, whatever the cgroup has: the kernel must keep them in.
    CrossCgroup,
    /// Each to one CPU, in turn.
    SingleCpu,
    /// All to these.
    Exact {
        /// The CPUs.
        set: CpuSet,
    },
    /// Two by two to the hardware threads of one core, one each; an error without SMT.
    SmtSiblingPair,
}

/// Why an [`Affinity`] is not possible where it is used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AffinityError {
    /// The CPUs that it is made of are not possible.
    #[error(transparent)]
    Cpus(#[from] CpusetError),
    /// A random subset of none, or of more than there are.
    #[error("a random subset of {count} CPUs of {from} is not possible: give 1 to {}", from.len())]
    Subset {
        /// How many were asked for.
        count: u32,
        /// To draw from.
        from: CpuSet,
    },
    /// No core has two threads here.
    #[error(
        "no core has two threads among the CPUs {cgroup} of `{topology}`: an SMT sibling pair needs \
         a topology such as `1n1l2c2t`"
    )]
    NoSmt {
        /// The cgroup's CPUs.
        cgroup: CpuSet,
        /// The machine.
        topology: String,
    },
    /// An odd number of workers in pairs.
    #[error("{count} workers do not make SMT sibling pairs: give an even number")]
    Odd {
        /// How many.
        count: u32,
    },
}

impl Affinity {
    /// The CPUs that each of `count` workers is bound to; none where a worker is not bound.
    ///
    /// `cgroup` are the CPUs of the workers' cgroup. The same seed draws the same subsets.
    ///
    /// # Errors
    ///
    /// If it names CPUs that the cgroup has not, or the topology does not offer it.
    pub fn resolve(
        &self,
        count: u32,
        cgroup: &CpuSet,
        topology: &Topology,
        seed: u64,
    ) -> Result<Vec<Option<CpuSet>>, AffinityError> {
        let in_turn = |choices: Vec<CpuSet>| {
            let workers = choices.into_iter().map(Some).cycle();
            Ok(workers.take(count as usize).collect())
        };
        match self {
            Self::Inherit => Ok(vec![None; count as usize]),
            Self::RandomSubset { from, count: size } => {
                let from = from.as_ref().map(|from| from.resolve(topology, cgroup)).transpose()?;
                let from = from.as_ref().unwrap_or(cgroup);
                if *size == 0 || *size as usize > from.len() {
                    return Err(AffinityError::Subset { count: *size, from: from.clone() });
                }
                let mut random = fastrand::Rng::with_seed(seed);
                let mut draw = || random.choose_multiple(from.iter(), *size as usize);
                Ok((0..count).map(|_| Some(draw().into_iter().collect())).collect())
            }
            Self::LlcAligned => {
                let llcs = topology.llc_ids().filter_map(|llc| topology.cpus_of_llc(llc));
                let here = llcs.map(|cpus| cpus.intersection(cgroup));
                in_turn(here.filter(|cpus| !cpus.is_empty()).collect())
            }
            Self::CrossCgroup => in_turn(vec![topology.cpus()]),
            Self::SingleCpu => {
                in_turn(cgroup.iter().map(|cpu| [cpu].into_iter().collect()).collect())
            }
            Self::Exact { set } => {
                in_turn(vec![Cpuset::exact(set.clone()).resolve(topology, cgroup)?])
            }
            Self::SmtSiblingPair => {
                if !count.is_multiple_of(2) {
                    return Err(AffinityError::Odd { count });
                }
                let cores = topology.core_ids().filter_map(|core| topology.cpus_of_core(core));
                let here = cores.map(|cpus| cpus.intersection(cgroup));
                let pairs = here.filter(|threads| threads.len() >= 2);
                let threads = pairs.flat_map(|threads| threads.iter().take(2).collect::<Vec<_>>());
                let threads: Vec<CpuSet> = threads.map(|cpu| [cpu].into_iter().collect()).collect();
                if threads.is_empty() {
                    let topology = topology.to_string();
                    return Err(AffinityError::NoSmt { cgroup: cgroup.clone(), topology });
                }
                in_turn(threads)
            }
        }
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherit => f.write_str("not bound"),
            Self::RandomSubset { from: Some(from), count } => {
                write!(f, "each to {count} random CPUs of {from}")
            }
            Self::RandomSubset { from: None, count } => write!(f, "each to {count} random CPUs"),
            Self::LlcAligned => f.write_str("each to an LLC in turn"),
            Self::CrossCgroup => f.write_str("to all CPUs of the machine"),
            Self::SingleCpu => f.write_str("each to a CPU in turn"),
            Self::Exact { set } => write!(f, "to CPUs {set}"),
            Self::SmtSiblingPair => f.write_str("in pairs to the threads of a core"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(affinity: &Affinity, count: u32, cgroup: &str) -> String {
        let topology = "1n2l2c2t".parse().unwrap();
        match affinity.resolve(count, &cgroup.parse().unwrap(), &topology, 7) {
            Ok(workers) => {
                let cpus =
                    |worker: Option<CpuSet>| worker.map_or("*".into(), |cpus| cpus.to_string());
                workers.into_iter().map(cpus).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn words_become_cpus_of_each_worker() {
        let exact = |set: &str| Affinity::Exact { set: set.parse().unwrap() };
        for (affinity, count, cgroup, cpus) in [
            (Affinity::Inherit, 2, "0-7", "* *"),
            (Affinity::LlcAligned, 3, "0-7", "0-3 4-7 0-3"),
            (Affinity::LlcAligned, 2, "2-3", "2-3 2-3"),
            (Affinity::CrossCgroup, 1, "2-3", "0-7"),
            (Affinity::SingleCpu, 3, "2,5", "2 5 2"),
            (exact("2-3"), 2, "0-3", "2-3 2-3"),
            (Affinity::SmtSiblingPair, 6, "1-5", "2 3 4 5 2 3"),
        ] {
            assert_eq!(resolve(&affinity, count, cgroup), cpus, "{affinity}");
        }
    }

    #[test]
    fn what_is_not_possible_says_what_is() {
        let errors = [
            resolve(&Affinity::RandomSubset { from: None, count: 3 }, 1, "0-1"),
            resolve(&Affinity::RandomSubset { from: Some(Cpuset::llc(1)), count: 1 }, 1, "0-1"),
            resolve(&Affinity::SmtSiblingPair, 3, "0-7"),
            resolve(&Affinity::SmtSiblingPair, 2, "0,2"),
        ];
        insta::assert_snapshot!(errors.join("\n"), @r"
        a random subset of 3 CPUs of 0-1 is not possible: give 1 to 2
        `LLC 1` has no CPU here: there are the CPUs 0-1
        3 workers do not make SMT sibling pairs: give an even number
        no core has two threads among the CPUs 0,2 of `1n2l2c2t`: an SMT sibling pair needs a topology such as `1n1l2c2t`
        ");
    }

    proptest! {
        #[test]
        fn random_subsets_follow_from_the_seed(seed: u64, count in 1u32..9, workers in 1u32..6) {
            let topology: Topology = "1n2l4c1t".parse().unwrap();
            let affinity = Affinity::RandomSubset { from: None, count };
            let draw = || affinity.resolve(workers, &topology.cpus(), &topology, seed);
            if count > 8 {
                prop_assert!(draw().is_err());
            } else {
                let drawn = draw().unwrap();
                prop_assert_eq!(drawn.len(), workers as usize);
                prop_assert!(drawn.iter().flatten().all(|cpus| cpus.len() == count as usize));
                prop_assert_eq!(drawn, draw().unwrap());
            }
        }
    }
}
