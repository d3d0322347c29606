//! The kinds of checks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::one_line;

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident $word:literal)*) => {
        /// What was checked. `Display`, `FromStr` and JSON have the same words, as in `p99-wake`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum CheckKind {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl CheckKind {
            /// All kinds, in the order in which findings of the same outcome are told.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

checks! {
    /// The machine, the harness or the host worked. Set-up: never satisfies an expected failure.
    Machine "machine"
    /// Schedulers under test were attached. Set-up: never satisfies an expected failure.
    SchedulerLoads "scheduler-loads"
    /// Workers were started and placed as declared, and the kernel gave them what their work needs.
    /// Set-up: never satisfies an expected failure.
    WorkerStarts "worker-starts"
    /// External programs were started. Set-up: never satisfies an expected failure.
    PayloadStarts "payload-starts"
    /// A declared failure came.
    Expectation "expectation"
    /// The test's body returned without an error.
    Body "body"
    /// Schedulers under test lived until they were asked to go, and went.
    SchedulerLives "scheduler-lives"
    /// The kernel's log is clean.
    CleanLog "clean-log"
    /// Workers ended when they were told to.
    WorkerEnds "worker-ends"
    /// External programs ended well and their figures are as declared.
    Payload "payload"
    /// Every worker did at least one unit of work.
    Progress "progress"
    /// Workers stayed on the CPUs they were allowed.
    Isolation "isolation"
    /// The longest time between two checkpoints of a worker.
    Gap "gap"
    /// The difference in the share of time off the CPU between the workers of one group that do the same.
    /// Other groups of the cgroup may have another weight, work or affinity by declaration.
    Spread "spread"
    /// The coefficient of variation of units per second between the workers of one group.
    ThroughputCv "throughput-cv"
    /// Units per second of CPU time.
    WorkRate "work-rate"
    /// Rounds per second of CPU time.
    IterationRate "iteration-rate"
    /// The 99th percentile of wake latency.
    P99Wake "p99-wake"
    /// The coefficient of variation of wake latency.
    WakeCv "wake-cv"
    /// Migrations per round.
    MigrationRatio "migration-ratio"
    /// Migrations to another node as a share of migrations.
    CrossNodeRatio "cross-node-ratio"
    /// The share of pages on the nodes of the worker's CPUs.
    PageLocality "page-locality"
    /// A claim of the test's body.
    Claim "claim"
    /// Something that the test's body wants to be told; no check.
    Note "note"
}

impl CheckKind {
    /// Whether its failure means that what was to be tested never came about. Such a failure proves
    /// nothing about the subject, so no expected failure is satisfied by it.
    #[must_use]
    pub const fn is_setup(self) -> bool {
        matches!(
            self,
            Self::Machine | Self::SchedulerLoads | Self::WorkerStarts | Self::PayloadStarts
        )
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.word())
    }
}

/// There is no check of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no check `{}`; there are {}", one_line(.0, 60), words())]
pub struct UnknownCheck(pub String);

fn words() -> String {
    CheckKind::ALL.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(", ")
}

impl FromStr for CheckKind {
    type Err = UnknownCheck;

    fn from_str(word: &str) -> Result<Self, UnknownCheck> {
        let found = Self::ALL.iter().find(|kind| kind.word() == word);
        found.copied().ok_or_else(|| UnknownCheck(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_word() {
        for kind in CheckKind::ALL {
            assert_eq!(kind.word().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert!(CheckKind::ALL.is_sorted());
        let error = "fairness".parse::<CheckKind>().unwrap_err().to_string();
        assert!(error.starts_with("there is no check `fairness`; there are machine, "), "{error}");
    }
}
