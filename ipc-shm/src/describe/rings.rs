//! The rings of a region: who has their ends, and how much is in them.
//!
//! A ring in use changes between two reads. So its words are read in passes, until two passes in a row have read
//! the same: nothing moved between them, for sequences and positions only ever go on. A ring that is never still gets
//! a number that was right within a pass or so.

use core::mem::offset_of;

use ipc_core::Errno;
use ipc_core::identity::DomainCell;
use ipc_core::primitive::AtomicU64;
use rustix::fd::BorrowedFd;

use super::known::is_named;
use crate::Kind;
use crate::layout::{Entry, FULL, Indexes, LAP, PAYLOAD, Roles, Slot};
use crate::plan::Fnv;
use crate::ring::{Peer, Role};

/// A ring in a region, as it was at the moment of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingDescription {
    /// The place in the directory at which it begins.
    pub place: usize,
    /// How it is laid out.
    pub layout: RingLayout,
    /// How many messages it can hold; of a ring of bytes, how many bytes.
    pub capacity: u64,
    /// Bytes of a message, with what its alignment adds; `None` in a ring of bytes, whose records are of any length.
    pub message_size: Option<u32>,
    /// The producer's end, as far as this process may judge; `None` if the word is none that an end has.
    pub producer: Option<Peer>,
    /// The consumer's end, likewise.
    pub consumer: Option<Peer>,
    /// How many messages lie in it; of a ring of bytes, how many bytes of records, with their headers.
    pub filled: Filled,
}

static_assertions::assert_impl_all!(RingDescription: Send, Sync);

/// The layouts of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingLayout {
    /// A sequence in every slot: [`ring::spsc`](crate::ring::spsc).
    Stamped,
    /// Two positions: [`ring::indexed`](crate::ring::indexed). A ring of bytes among other things is described as one
    /// of words of 8 bytes, for it is that.
    Indexed,
    /// Records in words, in a region of their own: [`ring::bytes`](crate::ring::bytes).
    Bytes,
}

/// How much there is in a ring, in the units of its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filled {
    /// So much: nothing moved while it was counted.
    Exactly(u64),
    /// So much or a little more or less: the ring is in use.
    About(u64),
    /// The ring is in use, and too small or too fast to be counted.
    Moving,
    /// Nothing moves, and no history of a ring leads to these words.
    Damaged,
}

static_assertions::assert_impl_all!(Filled: Send, Sync);

impl Filled {
    /// The number, if there is one.
    #[must_use]
    pub fn count(self) -> Option<u64> {
        match self {
            Self::Exactly(count) | Self::About(count) => Some(count),
            Self::Moving | Self::Damaged => None,
        }
    }
}

/// So often a ring that moves is looked at again.
const PASSES: u32 = 8;

/// Describes what rings there are among `entries`, which have been checked.
pub(super) fn read_all(
    fd: BorrowedFd<'_>,
    kind: Kind,
    entries: &[Entry],
    found: &mut [Option<RingDescription>],
) -> Result<(), Errno> {
    let mut found = found.iter_mut();
    for (place, pair) in entries.windows(2).enumerate() {
        // In a region that is a ring the kind says so, in whatever way the types are named there.
        let layout = match kind {
            Kind::Spsc if place == 0 => RingLayout::Stamped,
            Kind::Indexed if place == 0 => RingLayout::Indexed,
            Kind::Bytes if place == 0 => RingLayout::Bytes,
            Kind::Planned if is_named::<Roles>(&pair[0]) => RingLayout::Stamped,
            Kind::Planned if is_named::<Indexes>(&pair[0]) => RingLayout::Indexed,
            _ => continue,
        };
        let (Some(ring), Some(free)) = (Ring::new(fd, layout, pair), found.next()) else {
            continue;
        };
        *free = Some(ring.describe(place)?);
    }
    Ok(())
}

/// A ring, by two entries of the directory.
struct Ring<'a> {
    fd: BorrowedFd<'a>,
    layout: RingLayout,
    head: u64,
    slots: &'a Entry,
}

/// What one pass has seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pass {
    /// All words that were read.
    words: u64,
    /// Slots that are filled; `None` if that cannot be.
    count: Option<u64>,
}

impl<'a> Ring<'a> {
    /// `None` if these are no head and slots of such a ring.
    fn new(fd: BorrowedFd<'a>, layout: RingLayout, pair: &'a [Entry]) -> Option<Self> {
        let [head, slots] = pair else { return None };
        let (head_size, fits) = match layout {
            RingLayout::Stamped => {
                let least = size_of::<Slot<u8>>() as u32;
                let fits = slots.size >= least && slots.size % 8 == 0 && slots.align >= 8;
                (size_of::<Roles>(), fits && slots.size > slots.align)
            }
            RingLayout::Indexed => (size_of::<Indexes>(), slots.count.is_power_of_two()),
            RingLayout::Bytes => {
                (size_of::<Indexes>(), slots.count.is_power_of_two() && slots.size == 8)
            }
        };
        let fits = fits && head.count == 1 && head.size as usize == head_size;
        fits.then_some(Self { fd, layout, head: head.offset, slots })
    }

    fn describe(&self, place: usize) -> Result<RingDescription, Errno> {
        let mut last = None;
        let mut filled = Filled::Moving;
        for _ in 0..PASSES {
            let pass = self.pass()?;
            if last == Some(pass) {
                filled = pass.count.map_or(Filled::Damaged, Filled::Exactly);
                break;
            }
            filled = pass.count.map_or(filled, Filled::About);
            last = Some(pass);
        }
        let (slot, align) = (self.slots.size, self.slots.align);
        let (unit, message_size) = match self.layout {
            // Behind it are the sequence and the padding of the slot, which are one alignment together.
            RingLayout::Stamped => (1, Some(slot - align)),
            RingLayout::Indexed => (1, Some(slot)),
            RingLayout::Bytes => (u64::from(slot), None),
        };
        let [producer, consumer] = self.ends()?;
        Ok(RingDescription {
            place,
            layout: self.layout,
            // All of it lies in the file.
            capacity: self.slots.count * unit,
            message_size,
            producer,
            consumer,
            filled: match filled {
                Filled::Exactly(count) => Filled::Exactly(count * unit),
                Filled::About(count) => Filled::About(count * unit),
                other => other,
            },
        })
    }

    fn pass(&self) -> Result<Pass, Errno> {
        let mut words = Fnv::new();
        let count = match self.layout {
            RingLayout::Stamped => self.by_sequences(&mut words)?,
            RingLayout::Indexed | RingLayout::Bytes => self.by_positions(&mut words)?,
        };
        let count = count.filter(|&count| count <= self.slots.count);
        Ok(Pass { words: words.0, count })
    }

    fn by_positions(&self, words: &mut Fnv) -> Result<Option<u64>, Errno> {
        let mut position = |field: usize| {
            let word = word(self.fd, self.head + field as u64)?;
            *words = words.number(word);
            Ok(word)
        };
        // The consumer first: it never overtakes the producer.
        let head = position(offset_of!(Indexes, head))?;
        let tail = position(offset_of!(Indexes, tail))?;
        Ok(Some(tail.wrapping_sub(head)))
    }

    fn by_sequences(&self, words: &mut Fnv) -> Result<Option<u64>, Errno> {
        // The consumer first: it never overtakes the producer.
        let consumer = self.position(words, |sequence| sequence / LAP)?;
        let producer = self.position(words, |sequence| sequence.wrapping_add(FULL) / LAP)?;
        Ok(match (consumer, producer) {
            (Some(consumer), Some(producer)) => self.between(consumer, producer),
            _ => None,
        })
    }

    /// Where a side is whose lap in a slot is `lap_of(sequence)`: its lap, and the index of its next slot.
    ///
    /// The slots before that are one lap ahead of it and of those behind. `None` if the border is none.
    fn position(
        &self,
        words: &mut Fnv,
        lap_of: impl Fn(u64) -> u64,
    ) -> Result<Option<(u64, u64)>, Errno> {
        let mut lap = |index| {
            let behind = (index + 1) * u64::from(self.slots.size);
            let sequence = self.slots.offset + behind - u64::from(self.slots.align);
            let sequence = word(self.fd, sequence)?;
            *words = words.number(sequence);
            Ok(lap_of(sequence))
        };
        let ahead = lap(0)?;
        // The first slot of another lap is in here.
        let (mut low, mut high) = (1, self.slots.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if lap(middle)? == ahead { low = middle + 1 } else { high = middle }
        }
        if low == self.slots.count {
            return Ok(Some((ahead, 0)));
        }
        let behind = before(ahead);
        let sound = lap(low)? == behind && lap(self.slots.count - 1)? == behind;
        Ok(sound.then_some((behind, low)))
    }

    fn between(&self, consumer: (u64, u64), producer: (u64, u64)) -> Option<u64> {
        let laps = match producer.0 {
            lap if lap == consumer.0 => 0,
            lap if before(lap) == consumer.0 => self.slots.count,
            _ => return None,
        };
        (laps + producer.1).checked_sub(consumer.1)
    }

    /// The producer and the consumer that the roles name.
    fn ends(&self) -> Result<[Option<Peer>; 2], Errno> {
        // Every head begins with the roles.
        let at = |field: usize| self.head + field as u64;
        // The claims first: their admission was there before them.
        let claims = [offset_of!(Roles, producer), offset_of!(Roles, consumer)];
        let [producer, consumer] = claims.map(|field| word(self.fd, at(field)));
        let mut domain = [0; 4];
        let place = PAYLOAD as u64 + at(offset_of!(Roles, commons.domain));
        super::read(self.fd, &mut domain, place)?;
        let domain = DomainCell::from_bits(u32::from_ne_bytes(domain));
        let peer = |claim| Role { word: &AtomicU64::new(claim), domain: &domain }.described();
        Ok([peer(producer?), peer(consumer?)])
    }
}

/// Laps are numbers of 63 bits.
fn before(lap: u64) -> u64 {
    lap.wrapping_sub(1) & (u64::MAX >> 1)
}

/// The word at `offset` of the payload; 0 behind the end of the file.
fn word(fd: BorrowedFd<'_>, offset: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    super::read(fd, &mut bytes, PAYLOAD as u64 + offset)?;
    Ok(u64::from_ne_bytes(bytes))
}
