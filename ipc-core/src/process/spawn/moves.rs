//! Bringing descriptors to their numbers, when the numbers overlap.
//!
//! All at once, each target would get its source as it was before. One after the other, a target
//! may be the source of another, and such chains may close to a ring. So a target that nobody reads
//! any more is written first, and a ring is opened by saving one of its members.

use alloc::vec::Vec;

/// One step of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The descriptor stays where it is, and shall pass the `exec`.
    Keep(i32),
    /// `to` becomes a copy of `from`.
    Copy {
        /// An open number.
        from: i32,
        /// Another number.
        to: i32,
    },
    /// A copy of the descriptor is put aside at any free number.
    ///
    /// That number is no target that is still to be written: where this step stands, each of these
    /// is the source of another, and hence not free.
    Save(i32),
    /// `to` becomes a copy of what was put aside last.
    Restore {
        /// The number.
        to: i32,
    },
}

/// The steps for these pairs of source and target, in which no target occurs twice.
pub(super) fn order(pairs: &[(i32, i32)]) -> Vec<Move> {
    let kept = pairs.iter().filter(|(from, to)| from == to).map(|&(number, _)| Move::Keep(number));
    let mut moves: Vec<_> = kept.collect();
    // `None` is the one that was put aside.
    let mut pending: Vec<(Option<i32>, i32)> =
        pairs.iter().filter(|(from, to)| from != to).map(|&(from, to)| (Some(from), to)).collect();
    while let Some(&(_, first)) = pending.first() {
        let is_read = |number| pending.iter().any(|&(from, _)| from == Some(number));
        match pending.iter().position(|&(_, to)| !is_read(to)) {
            Some(free) => moves.push(match pending.remove(free) {
                (Some(from), to) => Move::Copy { from, to },
                (None, to) => Move::Restore { to },
            }),
            // Every target is read: only rings are left, and `first` is in one of them.
            None => {
                moves.push(Move::Save(first));
                for (from, _) in &mut pending {
                    *from = from.filter(|&from| from != first);
                }
            }
        }
    }
    // A number that was kept may be read by others, never written.
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    /// Runs the steps on a table of descriptors, each of which is called by its first number.
    fn run(pairs: &[(i32, i32)]) -> BTreeMap<i32, i32> {
        let mut table: BTreeMap<i32, i32> = pairs.iter().map(|&(from, _)| (from, from)).collect();
        let mut passing = BTreeMap::new();
        let mut aside = None;
        for step in order(pairs) {
            let (value, to) = match step {
                Move::Keep(number) => (table[&number], number),
                Move::Copy { from, to } => (table[&from], to),
                Move::Restore { to } => (table[&aside.expect("something was saved")], to),
                Move::Save(number) => {
                    // The kernel would choose the lowest free number, as here.
                    let free = (3..).find(|free| !table.contains_key(free)).expect("a number");
                    table.insert(free, table[&number]);
                    aside = Some(free);
                    continue;
                }
            };
            table.insert(to, value);
            passing.insert(to, value);
        }
        passing
    }

    #[test]
    fn every_target_gets_its_source() {
        // Every map of up to four targets to sources among five numbers.
        const NUMBERS: [i32; 5] = [0, 2, 3, 4, 5];
        for code in 0..6_u32.pow(5) {
            let source = |place: usize| (code / 6_u32.pow(place as u32) % 6) as usize;
            let pairs: Vec<_> = (0..5)
                .filter_map(|place| Some((*NUMBERS.get(source(place))?, NUMBERS[place])))
                .collect();
            let wanted: BTreeMap<_, _> = pairs.iter().map(|&(from, to)| (to, from)).collect();
            assert_eq!(run(&pairs), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn one_copy_for_each_target_and_one_more_for_each_ring() {
        assert_eq!(order(&[(3, 3)]), [Move::Keep(3)]);
        assert_eq!(order(&[(3, 4), (4, 5)]).len(), 2);
        assert_eq!(order(&[(3, 4), (4, 3)]).len(), 3);
        assert_eq!(order(&[(3, 4), (4, 5), (5, 3), (6, 7), (7, 6)]).len(), 7);
    }
}
