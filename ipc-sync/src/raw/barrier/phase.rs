//! [`Phase`]: the state word of a barrier.
//!
//! ```text
//!  63       62 ...... 60   59 ...... 55   54 .......... 32   31 ............. 0
//! +--------+-------------+--------------+-----------------+------------------+
//! | turn   | cause       | place        | renewals        | arrived          |
//! +--------+-------------+--------------+-----------------+------------------+
//!  the high half: what sleepers compare                    one bit for each place
//! ```
//!
//! The *turn* alternates with each opening. One bit suffices: a barrier does not open without the member that still
//! looks at the turn before. A *cause* other than 0 says why the barrier is broken, and the *place* whose death it
//! was. Resets count as *renewals*, so that whoever is about to sleep or to change the word notices them.

/// What the state word says. Every pattern says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Phase(u64);

/// Why a barrier is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The member at this place.
    Died(u32),
    Left,
    TimedOut,
    Aborted,
    Reset,
    Panicked,
    Corrupt,
}

const TURN: u64 = 1 << 63;
const ARRIVED: u64 = u32::MAX as u64;
const CAUSE_SHIFT: u32 = 60;
const PLACE_SHIFT: u32 = 55;
const CAUSE: u64 = 7 << CAUSE_SHIFT;
const PLACE: u64 = 31 << PLACE_SHIFT;
const RENEWAL: u64 = 1 << 32;
const RENEWALS: u64 = (1 << PLACE_SHIFT) - RENEWAL;

impl Cause {
    fn to_bits(self) -> u64 {
        let code = match self {
            Self::Died(_) => 1,
            Self::Left => 2,
            Self::TimedOut => 3,
            Self::Aborted => 4,
            Self::Reset => 5,
            Self::Panicked => 6,
            Self::Corrupt => 7,
        };
        let place = if let Self::Died(place) = self { u64::from(place) << PLACE_SHIFT } else { 0 };
        code << CAUSE_SHIFT | place & PLACE
    }
}

impl Phase {
    /// The most places that there are bits for.
    pub(crate) const MOST_PLACES: usize = u32::BITS as usize;

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// What a sleeper's futex entry compares: everything but the arrivals.
    pub(crate) const fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// 0 or 1: which of the two gates belongs to it.
    pub(crate) const fn turn(self) -> usize {
        (self.0 >> 63) as usize
    }

    pub(crate) const fn arrived(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn cause(self) -> Option<Cause> {
        let place = (self.0 & PLACE) >> PLACE_SHIFT;
        Some(match (self.0 & CAUSE) >> CAUSE_SHIFT {
            0 => return None,
            1 => Cause::Died(place as u32),
            2 => Cause::Left,
            3 => Cause::TimedOut,
            4 => Cause::Aborted,
            5 => Cause::Reset,
            6 => Cause::Panicked,
            _ => Cause::Corrupt,
        })
    }

    /// One more has arrived.
    pub(crate) const fn with(self, bit: u32) -> Self {
        Self(self.0 | bit as u64)
    }

    /// All have: the next turn begins, at which nobody has arrived.
    pub(crate) const fn open(self) -> Self {
        Self((self.0 ^ TURN) & !ARRIVED)
    }

    pub(crate) fn broken(self, cause: Cause) -> Self {
        Self(self.0 & (TURN | RENEWALS) | cause.to_bits())
    }

    /// The same, and different to all who have seen it.
    pub(crate) const fn renewed(self) -> Self {
        Self(self.0 & !RENEWALS | self.0.wrapping_add(RENEWAL) & RENEWALS)
    }

    /// Not broken, and nobody has arrived.
    pub(crate) const fn whole(self) -> Self {
        Self(self.0 & (TURN | RENEWALS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [Cause; 8] = [
        Cause::Died(0),
        Cause::Died(31),
        Cause::Left,
        Cause::TimedOut,
        Cause::Aborted,
        Cause::Reset,
        Cause::Panicked,
        Cause::Corrupt,
    ];

    #[test]
    fn a_cause_is_what_it_was_and_leaves_the_turn_alone() {
        for bits in [0, 5, TURN | 7 << 32, u64::MAX, 0x8123_4567_89ab_cdef] {
            let phase = Phase(bits);
            for cause in CAUSES {
                let broken = phase.broken(cause);
                assert_eq!(broken.cause(), Some(cause), "{bits:#x}");
                assert_eq!((broken.turn(), broken.arrived()), (phase.turn(), 0));
                assert_eq!(broken.whole(), phase.whole());
            }
        }
    }

    #[test]
    fn an_opening_changes_the_turn_and_nothing_else_that_is_slept_on() {
        let phase = Phase(9 << 32).with(1).with(4);
        assert_eq!((phase.arrived(), phase.high(), phase.cause()), (5, 9, None));
        let next = phase.open();
        assert_eq!((next.turn(), next.arrived(), next.high()), (1, 0, 9 | 1 << 31));
        assert_eq!(next.open().whole(), phase.whole());
    }

    #[test]
    fn renewals_wrap_within_their_field() {
        let last = Phase(TURN | CAUSE | PLACE | RENEWALS | ARRIVED);
        assert_eq!(last.renewed(), Phase(TURN | CAUSE | PLACE | ARRIVED));
        assert_eq!(Phase(3).renewed(), Phase(RENEWAL | 3));
    }
}
