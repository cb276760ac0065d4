//! The way of an operation, instruction by instruction, and which points of it are worth a kill.

use std::collections::{HashMap, HashSet};

/// What was recorded of one operation that nobody disturbed.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The state before each instruction, and one more at the end.
    pub(crate) visits: Vec<Visit>,
    /// Which instructions are system calls.
    pub(crate) calls: Vec<usize>,
    /// Whether it ended, rather than falling asleep for good or being cut off.
    pub(crate) ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Visit {
    pub(crate) pc: u64,
    pub(crate) image: u64,
}

/// A run to a breakpoint costs about as much as this many steps.
const WORTH_A_JUMP: usize = 8;

impl Course {
    /// Instructions of the operation.
    pub(crate) fn len(&self) -> usize {
        self.visits.len().saturating_sub(1)
    }

    /// All points, without more than `repeats` of those that only private memory tells apart.
    pub(crate) fn every(&self, repeats: usize) -> Vec<usize> {
        let mut count = HashMap::new();
        (0..self.visits.len())
            .filter(|k| {
                let seen: &mut usize = count.entry(self.visits[*k]).or_default();
                *seen += 1;
                *seen <= repeats
            })
            .collect()
    }

    /// The first point of each distinct image of the shared bytes.
    pub(crate) fn images(&self) -> Vec<usize> {
        let mut seen = HashSet::new();
        (0..self.visits.len()).filter(|k| seen.insert(self.visits[*k].image)).collect()
    }

    /// [`images`](Self::images), and both ends of each system call, and the end of the operation.
    pub(crate) fn images_and_calls(&self) -> Vec<usize> {
        let mut points = self.images();
        points.extend(self.calls.iter().flat_map(|k| [*k, k + 1]));
        points.push(self.len());
        points.sort_unstable();
        points.dedup();
        points
    }

    /// The last point up to `k` that a breakpoint finds, because its instruction is executed there for the first time.
    pub(crate) fn waypoint(&self, k: usize) -> Option<(usize, u64)> {
        let mut seen = HashSet::new();
        let firsts = self.visits.iter().take(k + 1).enumerate().filter(|(_, v)| seen.insert(v.pc));
        firsts.last().map(|(at, v)| (at, v.pc)).filter(|(at, _)| *at >= WORTH_A_JUMP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(visits: &[(u64, u64)]) -> Course {
        let visits = visits.iter().map(|(pc, image)| Visit { pc: *pc, image: *image }).collect();
        Course { visits, ..Course::default() }
    }

    #[test]
    fn prunes_only_what_repeats_in_place_and_image() {
        let spin = course(&[(1, 0), (2, 0), (1, 0), (2, 0), (1, 7), (2, 7), (3, 7)]);
        assert_eq!(spin.every(1), [0, 1, 4, 5, 6]);
        assert_eq!(spin.every(usize::MAX).len(), 7);
        assert_eq!(spin.images(), [0, 4]);
    }

    #[test]
    fn jumps_only_to_first_visits() {
        let straight: Vec<_> = (0..20).map(|pc| (pc, 0)).collect();
        assert_eq!(course(&straight).waypoint(15), Some((15, 15)));
        assert_eq!(course(&straight).waypoint(5), None);
        let mut looped = straight;
        looped.extend_from_slice(&[(3, 0), (4, 0)]);
        assert_eq!(course(&looped).waypoint(21), Some((19, 19)));
    }
}
