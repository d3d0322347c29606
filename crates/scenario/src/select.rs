//! Which cells of a matrix are worth their time.
//!
//! A cell is one variant of one test: on a topology, a kernel, under a scheduler, in a mode, with a
//! seed. What a cell covers are its values along these axes, and its pairs of values along two of
//! them: most faults need one setting or two to come together. Cells are taken in the order of what
//! they newly cover in a second of their estimated time, for as long as the budget lasts.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use belljar_topology::Topology;

/// A cell of a matrix of tests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// The test.
    pub test: String,
    /// The machine; none where it cannot be told.
    pub topology: Option<Topology>,
    /// The kernel.
    pub kernel: String,
    /// The scheduler; empty for the kernel's own.
    pub scheduler: String,
    /// The way the machine is run.
    pub mode: String,
    /// The seed.
    pub seed: u64,
    /// Whether the test must fail.
    pub expects_failure: bool,
    /// How long it is likely to take.
    pub seconds: f64,
}

/// Cells that were chosen within a budget. Shown, it says what they cover, and what came of a budget
/// that is too small.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Positions of the chosen cells, in the order in which they were chosen.
    pub chosen: Vec<usize>,
    /// What they are likely to take in all.
    pub seconds: f64,
    /// How many values and pairs of values they cover.
    pub covered: usize,
    /// How many values and pairs of values all cells cover.
    pub of: usize,
    /// How many cells there are.
    pub cells: usize,
    /// The position and the seconds of the cell that is next in order, and for which the budget does
    /// not last; none if all were chosen.
    pub next: Option<(usize, f64)>,
}

impl Selection {
    /// Chooses cells for `budget` seconds. The same cells give the same order whatever the budget is,
    /// so a larger budget chooses the same cells and more. A time that is not a number above 0 counts
    /// as the least or, if infinite, never fits.
    #[must_use]
    pub fn within(cells: &[Cell], budget: f64) -> Self {
        let features = features(cells);
        let mut selection = Self {
            of: features.iter().flatten().collect::<HashSet<_>>().len(),
            cells: cells.len(),
            ..Self::default()
        };
        let mut seen: HashSet<u64> = HashSet::new();
        let mut left: Vec<usize> = (0..cells.len()).collect();
        // Of what was new at the last look: it only ever gets less.
        let mut new: Vec<usize> = features.iter().map(Vec::len).collect();
        while !left.is_empty() {
            let worth = |at: usize, new: usize| new as f64 / seconds(&cells[at]);
            let mut best: Option<(f64, usize)> = None;
            for (place, &at) in left.iter().enumerate() {
                let beats = |new| best.is_none_or(|(most, _)| worth(at, new) > most);
                if beats(new[at]) {
                    new[at] =
                        features[at].iter().filter(|feature| !seen.contains(*feature)).count();
                    if beats(new[at]) {
                        best = Some((worth(at, new[at]), place));
                    }
                }
            }
            let place = match best {
                Some((worth, place)) if worth > 0.0 => place,
                // Nothing is new any more: the shortest first.
                _ => {
                    let shortest = |a: &usize, b: &usize| {
                        seconds(&cells[left[*a]]).total_cmp(&seconds(&cells[left[*b]]))
                    };
                    (0..left.len()).min_by(shortest).unwrap_or_default()
                }
            };
            let at = left[place];
            let total = selection.seconds + seconds(&cells[at]);
            if total.is_nan() || total > budget || total.is_infinite() {
                selection.next = Some((at, seconds(&cells[at])));
                break;
            }
            left.remove(place);
            seen.extend(&features[at]);
            selection.chosen.push(at);
            selection.seconds = total;
        }
        selection.covered = seen.len();
        selection
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chosen, seconds, covered, of, cells, next } = self;
        write!(f, "{} of {cells} variants, {seconds:.0} s, ", chosen.len())?;
        write!(f, "cover {covered} of {of} settings and pairs of settings")?;
        match next {
            Some((_, seconds)) if chosen.is_empty() => {
                write!(f, "; the first takes {seconds:.0} s, more than the budget")
            }
            Some((_, seconds)) => write!(f, "; the next takes {seconds:.0} s more"),
            None => Ok(()),
        }
    }
}

fn seconds(cell: &Cell) -> f64 {
    /// Nothing is for nothing.
    const LEAST: f64 = 0.001;
    // `max` turns what is not a number into the least, too.
    cell.seconds.max(LEAST)
}

/// What each cell covers, as numbers that are the same for the same value or pair of values.
fn features(cells: &[Cell]) -> Vec<Vec<u64>> {
    let mut numbers = BTreeMap::new();
    cells
        .iter()
        .map(|cell| {
            let values: Vec<u64> = (0u8..)
                .zip(cell.values())
                .map(|value| {
                    let next = numbers.len() as u64 + 1;
                    *numbers.entry(value).or_insert(next)
                })
                .collect();
            let pairs = values.iter().enumerate().flat_map(|(place, one)| {
                values[..place].iter().map(move |other| one << 32 | other)
            });
            values.iter().copied().chain(pairs).collect()
        })
        .collect()
}

impl Cell {
    /// Its values along each axis: numbers of CPUs, LLCs and nodes in classes, and the order of
    /// magnitude of its time.
    fn values(&self) -> [String; 11] {
        let of = |count: fn(&Topology) -> u32| self.topology.as_ref().map_or(0, count);
        let class = |count: u32| count.next_power_of_two().trailing_zeros().to_string();
        let cpus = match of(Topology::cpu_count) {
            0..=8 => "8",
            9..=16 => "16",
            17..=64 => "64",
            65..=128 => "128",
            _ => "more",
        };
        [
            self.test.clone(),
            cpus.to_owned(),
            class(of(Topology::llc_count)),
            class(of(Topology::node_count)),
            of(Topology::threads_per_core).to_string(),
            self.kernel.clone(),
            self.scheduler.clone(),
            self.mode.clone(),
            self.seed.to_string(),
            self.expects_failure.to_string(),
            seconds(self).log2().floor().to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(test: &str, topology: &str, seconds: f64) -> Cell {
        Cell {
            test: test.into(),
            topology: topology.parse().ok(),
            kernel: "7.2".into(),
            scheduler: String::new(),
            mode: "det".into(),
            seed: 0,
            expects_failure: false,
            seconds,
        }
    }

    #[test]
    fn the_most_new_per_second_comes_first() {
        let cells = [
            cell("steady", "1n1l4c1t", 4.0),
            cell("steady", "1n1l6c1t", 4.0),
            cell("steady", "2n4l4c1t", 16.0),
            cell("churn", "1n1l4c1t", 4.0),
        ];
        let all = Selection::within(&cells, 100.0);
        // The second differs from the first in nothing that counts, so it comes last.
        assert_eq!((all.chosen, all.covered), (vec![0, 3, 2, 1], all.of));
        let some = Selection::within(&cells, 8.5);
        assert_eq!(
            (&some.chosen[..], some.seconds, some.next),
            (&[0, 3][..], 8.0, Some((2, 16.0)))
        );
        insta::assert_snapshot!(some, @"2 of 4 variants, 8 s, cover 77 of 115 settings and pairs of settings; the next takes 16 s more");
        insta::assert_snapshot!(Selection::within(&cells, 3.0), @"0 of 4 variants, 0 s, cover 0 of 115 settings and pairs of settings; the first takes 4 s, more than the budget");
        assert!(Selection::within(&[], 3.0).chosen.is_empty());
    }

    fn cells() -> impl Strategy<Value = Vec<Cell>> {
        let time = prop_oneof![8 => 0.0..30.0f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
        let topology = prop::sample::select(vec!["1n1l4c1t", "1n2l2c2t", "2n4l4c1t", "4n8l4c1t"]);
        let cell = (topology, 0u8..4, 0u8..2, 0u8..3, 0u64..3, any::<bool>(), time).prop_map(
            |(topology, test, kernel, scheduler, seed, expects_failure, seconds)| Cell {
                kernel: kernel.to_string(),
                scheduler: scheduler.to_string(),
                seed,
                expects_failure,
                ..cell(&test.to_string(), topology, seconds)
            },
        );
        prop::collection::vec(cell, 0..16)
    }

    proptest! {
        #[test]
        fn budgets_are_kept_and_more_budget_never_covers_less(
            cells in cells(), less in 0.0..200.0f64, more in 0.0..200.0f64,
        ) {
            let small = Selection::within(&cells, less);
            let large = Selection::within(&cells, less + more);
            for (selection, budget) in [(&small, less), (&large, less + more)] {
                prop_assert!(selection.seconds <= budget);
                let sum: f64 = selection.chosen.iter().map(|&at| seconds(&cells[at])).sum();
                prop_assert!((sum - selection.seconds).abs() < 1e-6);
                let once: HashSet<_> = selection.chosen.iter().collect();
                prop_assert_eq!(once.len(), selection.chosen.len());
                prop_assert_eq!(selection.next.is_none(), once.len() == cells.len());
            }
            prop_assert!(large.chosen.starts_with(&small.chosen));
            prop_assert!(small.covered <= large.covered && large.covered <= large.of);
            if let Some((next, time)) = small.next {
                prop_assert!(!small.chosen.contains(&next) && small.seconds + time > less);
            }
        }

        #[test]
        fn each_choice_is_the_best_at_that_point(cells in cells()) {
            let features = features(&cells);
            let mut seen = HashSet::new();
            let chosen = Selection::within(&cells, f64::MAX).chosen;
            for (done, &at) in chosen.iter().enumerate() {
                let worth = |at: usize| {
                    let new = features[at].iter().filter(|feature| !seen.contains(*feature)).count();
                    new as f64 / seconds(&cells[at])
                };
                let best = (0..cells.len()).filter(|at| !chosen[..done].contains(at)).map(worth);
                prop_assert_eq!(worth(at), best.fold(0.0, f64::max));
                seen.extend(features[at].iter().copied());
            }
        }
    }
}
