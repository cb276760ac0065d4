//! What is written where, and when.

use core::fmt;
use core::sync::atomic::Ordering;

use super::arena::Arena;

/// A word that becomes something else, or a page that becomes zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The word at this offset.
    Word(usize, Value),
    /// The page at this offset: a hole is punched there.
    Hole(usize),
}

/// Values at which comparisons, masks and sums turn over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Be(u64),
    Plus(u64),
    Flip(u32),
}

/// A change before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attack {
    /// Which of the instructions at which the memory can be seen.
    pub(super) point: usize,
    pub(super) change: Change,
    /// It is as before at the next such instruction.
    pub(super) back: bool,
}

impl Change {
    /// Makes the change; what was there, to be given to [`undo`](Self::undo).
    pub(super) fn make(self, arena: &Arena) -> u64 {
        match self {
            Self::Word(offset, value) => {
                let word = arena.word(offset);
                let old = word.load(Ordering::Relaxed);
                word.store(value.of(old), Ordering::Relaxed);
                old
            }
            Self::Hole(page) => {
                arena.punch(page);
                0
            }
        }
    }

    /// Takes the change of one word back.
    pub(super) fn undo(self, arena: &Arena, old: u64) {
        if let Self::Word(offset, _) = self {
            arena.word(offset).store(old, Ordering::Relaxed);
        }
    }

    /// Whether the bytes of the word at `offset` may be other than they were.
    pub(super) fn covers(self, offset: usize) -> bool {
        match self {
            Self::Word(word, _) => word == offset,
            Self::Hole(page) => (page..page + 4096).contains(&offset),
        }
    }
}

impl Value {
    fn of(self, old: u64) -> u64 {
        match self {
            Self::Be(value) => value,
            Self::Plus(value) => old.wrapping_add(value),
            Self::Flip(bit) => old ^ 1 << bit,
        }
    }

    /// For a structure of `capacity` places, with some of its own.
    pub(super) fn all(capacity: u64, own: &[u64], random: &mut Random) -> Vec<Self> {
        let fixed = [0, 1, u64::MAX, u64::MAX - 1, capacity, 1 << 31, 1 << 63];
        let mut values: Vec<_> = fixed.into_iter().map(Self::Be).collect();
        let steps = [1, 2, capacity, 2 * capacity, 1 << 32];
        values.extend(steps.into_iter().flat_map(|by| [by, by.wrapping_neg()]).map(Self::Plus));
        values.extend([0, 31, 32, 63].map(Self::Flip));
        values.extend(own.iter().copied().map(Self::Be));
        values.push(Self::Be(random.next()));
        values.dedup();
        values
    }
}

/// Every change of `words`, each of them every value, and of the pages that they are on; before each of `points`
/// instructions, for good or until the next one.
pub(super) fn attacks(points: usize, words: &[usize], values: &[Value]) -> Vec<Attack> {
    let mut pages: Vec<_> = words.iter().map(|word| word / 4096 * 4096).collect();
    pages.sort_unstable();
    pages.dedup();
    let of_words =
        words.iter().flat_map(|word| values.iter().map(move |value| Change::Word(*word, *value)));
    let words: Vec<_> = of_words.collect();
    let mut attacks = Vec::new();
    for point in 0..points {
        for back in [false, true] {
            attacks.extend(words.iter().map(|change| Attack { point, change: *change, back }));
        }
        let hole = |page: &usize| Attack { point, change: Change::Hole(*page), back: false };
        attacks.extend(pages.iter().map(hole));
    }
    attacks
}

/// Changes that are made again before every instruction: each half of `words` counts, or shows the one state and the other.
pub(super) fn restless(words: &[usize]) -> Vec<Change> {
    let values = [Value::Plus(1), Value::Plus(1 << 32), Value::Flip(0), Value::Flip(63)];
    words.iter().flat_map(|word| values.map(|value| Change::Word(*word, value))).collect()
}

/// Numbers that look random and are the same each time (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(offset, Value::Be(value)) => write!(f, "{value:#x} at offset {offset:#x}"),
            Self::Word(offset, Value::Plus(value)) if *value > 1 << 63 => {
                write!(f, "{:#x} less at offset {offset:#x}", value.wrapping_neg())
            }
            Self::Word(offset, Value::Plus(value)) => {
                write!(f, "{value:#x} more at offset {offset:#x}")
            }
            Self::Word(offset, Value::Flip(bit)) => {
                write!(f, "bit {bit} flipped at offset {offset:#x}")
            }
            Self::Hole(page) => write!(f, "a hole at offset {page:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_becomes_every_value_before_every_point() {
        let values = Value::all(4, &[77], &mut Random::new(1));
        assert!(values.contains(&Value::Be(77)) && values.contains(&Value::Plus(1)));
        let attacks = attacks(3, &[4096, 4104], &values);
        assert_eq!(attacks.len(), 3 * (2 * 2 * values.len() + 1));
        for (i, attack) in attacks.iter().enumerate() {
            assert!(!attacks[..i].contains(attack), "{attack:?} twice");
        }
    }
}
