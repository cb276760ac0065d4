//! [`Word`]: what a slot says of itself, and [`Laps`]: how positions become slots and words.
//!
//! ```text
//!  63                                  20 19        11 10         3 2     0
//! +--------------------------------------+------------+------------+-------+
//! | lap                                  | generation | participant| state |
//! +--------------------------------------+------------+------------+-------+
//! ```
//!
//! A position counts messages from 0, modulo 2^64. With a capacity of 2^c it is that of the slot which its low c bits name, and
//! the others are its lap, of which a word keeps 44 bits, or all that there are.

/// What a slot's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

/// Whose a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's: a producer may claim it for this lap.
    Free,
    /// The producer's that has claimed it.
    Writing,
    /// Nobody's: a consumer may claim the message.
    Ready,
    /// The consumer's that has claimed it.
    Reading,
}

/// Who has claimed a slot: the number of a record, and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(u64);

const STATE_BITS: u32 = 3;
const OWNER_BITS: u32 = 8;
const GENERATION_BITS: u32 = 9;
const LAP_SHIFT: u32 = STATE_BITS + OWNER_BITS + GENERATION_BITS;
const LAP_BITS: u32 = u64::BITS - LAP_SHIFT;

/// How many participants can be told apart.
pub(super) const OWNERS: usize = 1 << OWNER_BITS;

impl Owner {
    pub(super) const fn new(number: usize, generation: u64) -> Self {
        let generation = generation & ((1 << GENERATION_BITS) - 1);
        Self(generation << (STATE_BITS + OWNER_BITS) | (number as u64) << STATE_BITS)
    }

    pub(super) const fn number(self) -> usize {
        (self.0 >> STATE_BITS) as usize & (OWNERS - 1)
    }
}

impl Word {
    /// `None`: no slot has such a word.
    #[inline(always)]
    pub(super) const fn state(self) -> Option<State> {
        match self.0 & ((1 << STATE_BITS) - 1) {
            0 => Some(State::Free),
            1 => Some(State::Writing),
            2 => Some(State::Ready),
            3 => Some(State::Reading),
            _ => None,
        }
    }

    pub(super) const fn owner(self) -> Owner {
        Owner(self.0 & ((1 << LAP_SHIFT) - (1 << STATE_BITS)))
    }
}

/// The capacity of a ring, as what it takes to compute with positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laps {
    /// Bits of a slot's index.
    shift: u32,
    /// Bits by which a word's lap is shorter than 64.
    spare: u32,
}

impl Laps {
    /// `capacity` is a power of two.
    pub(super) const fn new(capacity: usize) -> Self {
        let shift = capacity.trailing_zeros();
        let bits = u64::BITS - shift;
        Self { shift, spare: u64::BITS - if bits < LAP_BITS { bits } else { LAP_BITS } }
    }

    pub(super) const fn capacity(self) -> u64 {
        1 << self.shift
    }

    /// The slot of a position.
    #[inline(always)]
    pub(super) const fn index(self, position: u64) -> usize {
        (position & (self.capacity() - 1)) as usize
    }

    /// The word of a slot that nobody has claimed yet for `position`.
    #[inline(always)]
    pub(super) const fn free(self, position: u64) -> Word {
        Word((position >> self.shift) << LAP_SHIFT)
    }

    /// The word of a slot that has the message of `position`.
    #[inline(always)]
    pub(super) const fn ready(self, position: u64) -> Word {
        Word(self.free(position).0 | 2)
    }

    #[inline(always)]
    pub(super) const fn writing(self, position: u64, owner: Owner) -> Word {
        Word(self.free(position).0 | owner.0 | 1)
    }

    #[inline(always)]
    pub(super) const fn reading(self, position: u64, owner: Owner) -> Word {
        Word(self.free(position).0 | owner.0 | 3)
    }

    /// The word of the slot of `position` once all that concerns this position is over.
    #[inline(always)]
    pub(super) const fn over(self, position: u64) -> Word {
        self.free(position.wrapping_add(self.capacity()))
    }

    /// How many laps `word`, of the slot of `position`, is ahead of it.
    pub(super) const fn ahead(self, word: Word, position: u64) -> i64 {
        let laps = (word.0 >> LAP_SHIFT).wrapping_sub(position >> self.shift);
        (laps << self.spare) as i64 >> self.spare
    }

    /// The position `laps` later in the same slot.
    pub(super) const fn later(self, position: u64, laps: i64) -> u64 {
        position.wrapping_add((laps as u64) << self.shift)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_put_into_them() {
        let laps = Laps::new(8);
        for (number, generation) in [(0, 0), (5, 1), (OWNERS - 1, 511)] {
            let owner = Owner::new(number, generation);
            for position in [0, 7, 8, 1 << 40, u64::MAX] {
                let word = laps.writing(position, owner);
                assert_eq!((word.state(), word.owner()), (Some(State::Writing), owner));
                let word = laps.reading(position, owner);
                assert_eq!((word.state(), word.owner()), (Some(State::Reading), owner));
                assert_eq!((word.owner().number(), laps.ahead(word, position)), (number, 0));
                assert_eq!(laps.ready(position).state(), Some(State::Ready));
                assert_eq!(laps.free(position).state(), Some(State::Free));
            }
        }
        assert_eq!(Owner::new(3, 512), Owner::new(3, 0), "generations are numbers of 9 bits");
        assert!((4..8).all(|bits| Word(bits).state().is_none()));
    }

    #[test]
    fn laps_are_compared_across_the_end_of_all_positions() {
        for shift in [0, 1, 2, 19, 20, 21, 32] {
            let laps = Laps::new(1 << shift);
            let capacity = laps.capacity();
            for start in [0, 5, (1 << 44) - 1, (1 << 44) << shift, u64::MAX - 1, u64::MAX] {
                for ahead in -3..=3 {
                    let position = laps.later(start, ahead);
                    assert_eq!(laps.index(position), laps.index(start));
                    assert_eq!(laps.ahead(laps.free(position), start), ahead, "{shift} {start}");
                }
                assert_eq!(laps.over(start), laps.free(start.wrapping_add(capacity)));
                assert_eq!(laps.ahead(laps.over(start), start), 1);
            }
        }
    }
}
