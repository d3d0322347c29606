//! The short notation of a topology: `1n2l4c1t`.
//!
//! ```text
//! notation = nodes "n" llcs "l" cores "c" threads "t"
//! llcs     = total | llcs-of-node-0 "+" llcs-of-node-1 ...
//! ```
//!
//! LLCs are the machine's total and divide evenly among the nodes; cores are per LLC and threads
//! per core. Where nodes differ, the LLCs of each are joined with `+`, and 0 is a memory-only node
//! (those come last): `3n2+1+0l4c1t`. Explicit memory and distances have no notation. Upper case and surrounding space
//! are accepted; what is printed is canonical.

use std::fmt;
use std::str::FromStr;

use crate::topology::{Node, Topology, TopologyError};
use crate::word::clip;

/// Why a text is not the notation of a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// The text is not of that form.
    #[error("expected {expected} in `{notation}`, as in `1n2l4c1t`")]
    Malformed {
        /// The text, cut short if very long.
        notation: String,
        /// What should be there, and where.
        expected: String,
    },
    /// The text is well formed, but no such machine can be built.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        let llcs = if nodes.iter().all(|node| Some(node.llcs) == nodes.first().map(|n| n.llcs)) {
            self.llc_count().to_string()
        } else {
            nodes.iter().map(|node| node.llcs.to_string()).collect::<Vec<_>>().join("+")
        };
        let (nodes, cores, threads) = (nodes.len(), self.cores_per_llc(), self.threads_per_core());
        f.pad(&format!("{nodes}n{llcs}l{cores}c{threads}t"))
    }
}

impl FromStr for Topology {
    type Err = NotationError;

    fn from_str(notation: &str) -> Result<Self, NotationError> {
        let notation = notation.trim();
        let mut reader = Reader { notation, rest: notation };
        let nodes = reader.number('n')?;
        reader.letter('n')?;
        let mut llcs = vec![reader.number('l')?];
        while reader.take('+') {
            llcs.push(reader.number('l')?);
        }
        reader.letter('l')?;
        let cores = reader.number('c')?;
        reader.letter('c')?;
        let threads = reader.number('t')?;
        reader.letter('t')?;
        if !reader.rest.is_empty() {
            return Err(reader
                .expected(format!("nothing after the threads but found `{}`", clip(reader.rest))));
        }
        match llcs[..] {
            [total] => Ok(Self::new(nodes, total, cores, threads)?),
            _ if llcs.len() == nodes as usize => {
                let nodes: Vec<Node> = llcs.into_iter().map(Node::with_llcs).collect();
                Ok(Self::from_nodes(nodes, cores, threads)?)
            }
            _ => Err(reader.expected(format!("the LLCs of {nodes} nodes, not of {}", llcs.len()))),
        }
    }
}

/// Reads a notation from left to right; `rest` is what is still to be read.
struct Reader<'a> {
    notation: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    /// The number that belongs to `letter`.
    fn number(&mut self, letter: char) -> Result<u32, NotationError> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        if number.is_empty() {
            return Err(self.expected(format!("a number before `{letter}`")));
        }
        let count = number
            .parse()
            .map_err(|_| self.expected(format!("a smaller number than `{}`", clip(number))))?;
        self.rest = rest;
        Ok(count)
    }

    /// The letter itself, which follows its number.
    fn letter(&mut self, letter: char) -> Result<(), NotationError> {
        if self.take(letter) {
            return Ok(());
        }
        let read = &self.notation[..self.notation.len() - self.rest.len()];
        Err(self.expected(format!("`{letter}` after `{}`", clip(read))))
    }

    fn take(&mut self, letter: char) -> bool {
        let rest = self.rest.strip_prefix([letter, letter.to_ascii_uppercase()]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expected(&self, expected: String) -> NotationError {
        NotationError::Malformed { notation: clip(self.notation), expected }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::topologies;

    #[test]
    fn notation_is_read_and_printed_canonically() {
        for (text, canonical) in [
            ("1n2l4c1t", "1n2l4c1t"),
            (" 2N04L8c2T\n", "2n4l8c2t"),
            ("2n2+2l1c1t", "2n4l1c1t"),
            ("3n2+1+0l4c1t", "3n2+1+0l4c1t"),
        ] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), canonical, "{text:?}");
        }
        assert_eq!(format!("{:>10}|", "1n2l4c1t".parse::<Topology>().unwrap()), "  1n2l4c1t|");
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("", "a number before `n`"),
            ("1n2l", "a number before `c`"),
            ("1nl4c", "a number before `l`"),
            ("1n-2l4c1t", "a number before `l`"),
            ("2l4c", "`n` after `2`"),
            ("1n2l4", "`c` after `1n2l4`"),
            ("1n99999999999l1c1t", "a smaller number than `99999999999`"),
            ("1n2l4c1t8g", "nothing after the threads but found `8g`"),
            ("3n1+1l1c1t", "the LLCs of 3 nodes, not of 2"),
        ] {
            let message = format!("expected {expected} in `{text}`, as in `1n2l4c1t`");
            assert_eq!(text.parse::<Topology>().unwrap_err().to_string(), message);
        }
        assert_eq!(
            "1n2l4c0t".parse::<Topology>().unwrap_err().to_string(),
            "number of threads per core is 0: give at least 1"
        );
    }

    proptest! {
        #[test]
        fn notation_roundtrips(topology in topologies()) {
            let read: Topology = topology.to_string().parse().unwrap();
            prop_assert_eq!(read.to_string(), topology.to_string());
            prop_assert_eq!(
                read.nodes().iter().map(|node| node.llcs).collect::<Vec<_>>(),
                topology.nodes().iter().map(|node| node.llcs).collect::<Vec<_>>()
            );
            prop_assert_eq!(read.cpus(), topology.cpus());
        }

        #[test]
        fn hostile_notation_does_not_panic(text in "[0-9nlct+ ü]{0,24}|.{0,40}") {
            if let Err(error) = text.parse::<Topology>() {
                prop_assert!(error.to_string().len() < 1000);
            }
        }
    }
}
