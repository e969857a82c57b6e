//! What is going to run: cases x lanes, selected and put into an order.

use crate::case::Case;
use crate::catalog;
use crate::subject::Lane;

/// A run's units and the order in which they start.
pub struct Plan {
    /// The lanes.
    pub lanes: Vec<Lane>,
    /// Every unit, lane by lane in report order.
    pub units: Vec<Unit>,
    /// Indices of `units` in the order of running.
    pub order: Vec<usize>,
}

/// One case in one lane.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// The case.
    pub case: &'static Case,
    /// Index of the lane.
    pub lane: usize,
}

/// Which units are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Patterns of [`catalog::matches`]; empty selects all.
    pub filters: Vec<String>,
    /// `(k, n)`: only every n-th unit, beginning with the k-th, k within 1..=n.
    pub partition: Option<(usize, usize)>,
    /// Order of running; `None` is report order.
    pub shuffle_seed: Option<u64>,
}

impl Plan {
    /// Selects and orders.
    pub fn new(lanes: Vec<Lane>, selection: &Selection) -> Plan {
        Plan::of(catalog::all(), lanes, selection)
    }

    /// The same from other cases than the catalog's.
    pub fn of(cases: impl Iterator<Item = &'static Case>, lanes: Vec<Lane>, selection: &Selection) -> Plan {
        let cases: Vec<_> = cases.filter(|case| selection.selects(case)).collect();
        let mut units = Vec::new();
        for (lane, place) in lanes.iter().enumerate() {
            let here = cases.iter().filter(|case| place.takes(case));
            units.extend(here.map(|case| Unit { case, lane }));
        }
        if let Some((k, n)) = selection.partition {
            let mut number = 0;
            units.retain(|_| {
                number += 1;
                number % n == k % n
            });
        }
        let mut order: Vec<usize> = (0..units.len()).collect();
        if let Some(seed) = selection.shuffle_seed {
            shuffle(&mut order, seed);
        }
        Plan { lanes, units, order }
    }
}

impl Selection {
    /// Whether a case is wanted.
    pub fn selects(&self, case: &Case) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| catalog::matches(filter, case.id))
    }
}

/// Fisher and Yates' shuffle with the splitmix64 generator: the same seed gives the same order everywhere.
fn shuffle(order: &mut [usize], seed: u64) {
    let mut state = seed;
    for last in (1..order.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        order.swap(last, (mixed % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffle_is_a_permutation_that_the_seed_decides() {
        let shuffled = |seed| {
            let mut order: Vec<usize> = (0..100).collect();
            shuffle(&mut order, seed);
            order
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        let mut sorted = shuffled(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
