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
    /// `(k, n)`: only the cases of part k of n, k within 1..=n. A case's id alone decides.
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
            units.retain(|unit| part_of(unit.case.id, n) == k);
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

/// The part, 1..=`parts`, that a case belongs to: its id alone decides, so that it stays there whatever else is
/// selected, added or removed. (FNV-1a over the id, folded.)
fn part_of(id: &str, parts: usize) -> usize {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    ((hash ^ (hash >> 32)) % parts as u64) as usize + 1
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
    fn part_depends_on_the_id_alone_and_every_case_is_in_one() {
        // Known answers: another function would move cases between machines.
        assert_eq!(part_of("", 4), 2);
        let wanted = |k| {
            let selection = Selection {
                partition: Some((k, 4)),
                ..Selection::default()
            };
            let plan = Plan::new(vec![lane()], &selection);
            plan.units.iter().map(|unit| unit.case.id).collect::<Vec<_>>()
        };
        let parts: Vec<_> = (1..=4).map(wanted).collect();
        let all = catalog::all().filter(|case| lane().takes(case)).count();
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), all);
        assert!(parts.iter().all(|part| all / 8 < part.len()), "{parts:?}");
        let filtered = Selection {
            filters: vec!["rtc".to_owned()],
            partition: Some((2, 4)),
            ..Selection::default()
        };
        let plan = Plan::new(vec![lane(), lane()], &filtered);
        assert!(plan.units.iter().all(|unit| parts[1].contains(&unit.case.id)));
    }

    fn lane() -> Lane {
        Lane {
            subject: "null".to_owned(),
            depth: crate::machine::Depth::Bus,
            layout: &crate::layout::MICROVM_2019,
            areas: Vec::new(),
            ways: Vec::new(),
        }
    }

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
