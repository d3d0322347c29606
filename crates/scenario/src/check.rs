//! What is wrong with a scenario is found before anything starts: it is walked through in the order
//! of play, on paper.

use std::collections::BTreeMap;

use belljar_topology::{CpuSet, Topology};

use crate::problem::{Problem, Site};
use crate::{Scenario, walk};

/// The schedulers that a test brings along.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedulers<'a> {
    /// The one that is attached when the scenario begins; none for the kernel's own.
    pub attached: Option<&'a str>,
    /// Those that operations may attach, beside it.
    pub staged: &'a [&'a str],
}

/// What the words of a scenario come to on a topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// By place: cgroups, and operations that make a cgroup, set its CPUs, or start workers.
    pub sites: BTreeMap<Site, Setup>,
}

/// What one place of a scenario comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The CPUs of the cgroup that is made, changed, or given workers.
    pub cpus: CpuSet,
    /// The number of workers of each group that is started.
    pub counts: Vec<u32>,
}

impl Scenario {
    /// Walks through the scenario as it would be played on `topology`: backdrop, then each step's
    /// set-up, operations (twice where a loop does them again) and hold, and what is taken down at its
    /// end.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order in which it would happen.
    pub fn check(
        &self,
        topology: &Topology,
        schedulers: Schedulers<'_>,
    ) -> Result<Resolved, Vec<Problem>> {
        let (resolved, problems) = walk::walk(self, topology, schedulers);
        if problems.is_empty() { Ok(resolved) } else { Err(problems) }
    }
}
