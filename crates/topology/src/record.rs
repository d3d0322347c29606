//! A topology in records (JSON and other self-describing formats).
//!
//! Where the notation says everything, the record is that string. A topology with explicit memory
//! or distances is an object instead, with members left out where they are the default:
//!
//! ```json
//! "1n2l4c1t"
//! {"nodes": [{"llcs": 2}, {"llcs": 0, "memory_mib": 512}], "cores_per_llc": 4,
//!  "threads_per_core": 1, "distances": [[10, 30], [30, 10]]}
//! ```
//!
//! Both forms are always read, and validated as the constructors do.

use serde::{Deserialize, Serialize};

use crate::notation::NotationError;
use crate::topology::{Node, Topology};

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a topology such as \"1n2l4c1t\", or an object of nodes, cores_per_llc, \
                 threads_per_core and, optionally, distances"
)]
pub(crate) enum Record {
    Notation(String),
    Full(Full),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Full {
    nodes: Vec<Node>,
    cores_per_llc: u32,
    threads_per_core: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distances: Option<Vec<Vec<u8>>>,
}

impl From<Topology> for Record {
    fn from(topology: Topology) -> Self {
        let default_distances = topology.has_default_distances();
        if default_distances && topology.nodes().iter().all(|node| node.memory.is_none()) {
            return Self::Notation(topology.to_string());
        }
        Self::Full(Full {
            nodes: topology.nodes().to_vec(),
            cores_per_llc: topology.cores_per_llc(),
            threads_per_core: topology.threads_per_core(),
            distances: (!default_distances).then(|| topology.distances().to_vec()),
        })
    }
}

impl TryFrom<Record> for Topology {
    type Error = NotationError;

    fn try_from(record: Record) -> Result<Self, NotationError> {
        match record {
            Record::Notation(notation) => notation.parse(),
            Record::Full(Full { nodes, cores_per_llc, threads_per_core, distances }) => {
                let topology = Self::from_nodes(nodes, cores_per_llc, threads_per_core)?;
                Ok(match distances {
                    Some(distances) => topology.with_distances(distances)?,
                    None => topology,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryMib;
    use crate::testing::topologies;

    #[test]
    fn the_form_is_stable() {
        let json = |topology: &Topology| serde_json::to_string(topology).unwrap();
        assert_eq!(json(&"1n2l4c1t".parse().unwrap()), r#""1n2l4c1t""#);
        assert_eq!(json(&"2n2+0l4c1t".parse().unwrap()), r#""2n2+0l4c1t""#);
        let nodes = [Node::with_llcs(2), Node::memory_only().memory(MemoryMib(512))];
        let tiered = Topology::from_nodes(nodes, 4, 1).unwrap();
        assert_eq!(
            json(&tiered),
            r#"{"nodes":[{"llcs":2},{"llcs":0,"memory_mib":512}],"cores_per_llc":4,"threads_per_core":1}"#
        );
        let far = Topology::new(2, 2, 1, 1).unwrap();
        let far = far.with_distances(vec![vec![10, 30], vec![30, 10]]).unwrap();
        assert_eq!(
            json(&far),
            r#"{"nodes":[{"llcs":1},{"llcs":1}],"cores_per_llc":1,"threads_per_core":1,"distances":[[10,30],[30,10]]}"#
        );
    }

    #[test]
    fn what_is_read_is_validated() {
        for (json, message) in [
            (r#""1nl4c""#, "expected a number before `l` in `1nl4c`, as in `1n2l4c1t`"),
            (
                r#"{"nodes":[{"llcs":1}],"cores_per_llc":1,"threads_per_core":0}"#,
                "number of threads per core is 0: give at least 1",
            ),
            (
                r#"{"nodes":[{"llcs":1}],"cores_per_llc":1,"threads_per_core":1,"distances":[]}"#,
                "row 0 of the distances has 0 values: give 1 rows of 1",
            ),
            (
                "7",
                "expected a topology such as \"1n2l4c1t\", or an object of nodes, cores_per_llc, \
                 threads_per_core and, optionally, distances",
            ),
        ] {
            assert_eq!(serde_json::from_str::<Topology>(json).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn records_roundtrip(topology in topologies()) {
            let json = serde_json::to_string(&topology).unwrap();
            prop_assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), topology);
        }
    }
}
