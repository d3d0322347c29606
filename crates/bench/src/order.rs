//! The order in which samples are measured.

use crate::cell::Cell;

/// A sample to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The row, by its place among the rows.
    pub(crate) cell: usize,
    /// Which of its samples.
    pub(crate) round: u32,
}

/// Every sample of every row, once.
///
/// All rows have a sample before any has the next, in another order each time, so that a machine that
/// gets slower or faster meanwhile does not favour some rows. Rows that differ in their build only are
/// measured one right after the other, and take turns in going first. The order follows from the seed.
pub(crate) fn order(cells: &[Cell], samples: u32, seed: u64) -> Vec<Turn> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut by_key = std::collections::HashMap::new();
    for (index, cell) in cells.iter().enumerate() {
        let group = *by_key.entry(cell.key.without_build()).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let firsts: Vec<usize> = groups.iter().map(|group| random.usize(0..group.len())).collect();
    let mut turns = Vec::with_capacity(cells.len() * samples as usize);
    for round in 0..samples {
        let mut shuffled: Vec<usize> = (0..groups.len()).collect();
        random.shuffle(&mut shuffled);
        for group in shuffled {
            let mut members = groups[group].clone();
            let first = (firsts[group] + round as usize) % members.len();
            members.rotate_left(first);
            turns.extend(members.into_iter().map(|cell| Turn { cell, round }));
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::built;

    proptest! {
        #[test]
        fn every_sample_has_its_turn_and_pairs_stay_together(
            seed: u64, samples in 5_u32..20, builds in 0_usize..4,
        ) {
            let matrix = built(&["b0", "b1", "b2"][..builds]);
            let (cells, group) = (matrix.cells(), matrix.builds.len().max(1));
            let turns = order(&cells, samples, seed);
            prop_assert_eq!(&turns, &order(&cells, samples, seed));
            let mut first = vec![0_u32; cells.len()];
            for (round, of_round) in turns.chunks(cells.len()).enumerate() {
                let mut seen: Vec<usize> = of_round.iter().map(|turn| turn.cell).collect();
                prop_assert!(of_round.iter().all(|turn| turn.round as usize == round));
                for members in seen.chunks(group) {
                    let key = |cell: usize| cells[cell].key.without_build();
                    prop_assert!(members.iter().all(|&member| key(member) == key(members[0])));
                    first[members[0]] += 1;
                }
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..cells.len()).collect::<Vec<_>>());
            }
            // Nobody goes first more than once more often than another.
            for (index, &times) in first.iter().enumerate() {
                prop_assert!(times.abs_diff(samples / group as u32) <= 1, "{index}: {times}");
            }
        }
    }
}
