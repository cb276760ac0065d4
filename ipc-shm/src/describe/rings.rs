//! The rings of a region: who has their ends, and how much is in them.
//!
//! A ring in use changes between two reads. So its words are read in passes, until two passes in a row have read
//! the same: nothing moved between them, for sequences and positions only ever go on. A ring that is never still gets
//! a number that was right within a pass or so.

use ipc_core::Errno;
use ipc_core::identity::DomainCell;
use ipc_core::primitive::AtomicU64;
use rustix::fd::BorrowedFd;

use super::known::is_roles;
use crate::Kind;
use crate::layout::{Entry, FULL, LAP, PAYLOAD, Roles, Slot};
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
    /// How many messages it can hold.
    pub capacity: u64,
    /// Bytes of a message, with what its alignment adds.
    pub message_size: u32,
    /// The producer's end, as far as this process may judge; `None` if the word is none that an end has.
    pub producer: Option<Peer>,
    /// The consumer's end, likewise.
    pub consumer: Option<Peer>,
    /// How many messages lie in it.
    pub messages: Messages,
}

static_assertions::assert_impl_all!(RingDescription: Send, Sync);

/// The layouts of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingLayout {
    /// A sequence in every slot: [`ring::spsc`](crate::ring::spsc).
    Stamped,
}

/// How many messages lie in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Messages {
    /// So many: nothing moved while they were counted.
    Exactly(u64),
    /// So many or a few more or less: the ring is in use.
    About(u64),
    /// The ring is in use, and too small or too fast to be counted.
    Moving,
    /// Nothing moves, and no history of a ring leads to these words.
    Damaged,
}

static_assertions::assert_impl_all!(Messages: Send, Sync);

impl Messages {
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
        let is_ring = match kind {
            Kind::Spsc => place == 0,
            _ => is_roles(&pair[0]),
        };
        if !is_ring {
            continue;
        }
        let (Some(ring), Some(free)) = (Stamped::new(fd, pair), found.next()) else { continue };
        *free = Some(ring.describe(place)?);
    }
    Ok(())
}

/// A stamped ring, by two entries of the directory.
struct Stamped<'a> {
    fd: BorrowedFd<'a>,
    roles: u64,
    slots: &'a Entry,
}

/// What one pass has seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pass {
    /// All words that were read.
    words: u64,
    /// Messages; `None` if that cannot be.
    count: Option<u64>,
}

impl<'a> Stamped<'a> {
    /// `None` if these are no roles and slots.
    fn new(fd: BorrowedFd<'a>, pair: &'a [Entry]) -> Option<Self> {
        let [roles, slots] = pair else { return None };
        let of_roles = roles.count == 1 && roles.size as usize == size_of::<Roles>();
        let of_slots =
            slots.size as usize >= size_of::<Slot<u8>>() && slots.size % 8 == 0 && slots.align >= 8;
        (of_roles && of_slots).then_some(Self { fd, roles: roles.offset, slots })
    }

    fn describe(&self, place: usize) -> Result<RingDescription, Errno> {
        let mut last = None;
        let mut messages = Messages::Moving;
        for _ in 0..PASSES {
            let pass = self.pass()?;
            if last == Some(pass) {
                messages = pass.count.map_or(Messages::Damaged, Messages::Exactly);
                break;
            }
            messages = pass.count.map_or(messages, Messages::About);
            last = Some(pass);
        }
        let head = self.slots.align.max(8);
        let ends = roles(self.fd, self.roles)?;
        Ok(RingDescription {
            place,
            layout: RingLayout::Stamped,
            capacity: self.slots.count,
            message_size: self.slots.size - head,
            producer: ends[0],
            consumer: ends[1],
            messages,
        })
    }

    fn pass(&self) -> Result<Pass, Errno> {
        let mut words = Fnv::new();
        // The consumer first: it never overtakes the producer.
        let consumer = self.position(&mut words, |sequence| sequence / LAP)?;
        let producer = self.position(&mut words, |sequence| sequence.wrapping_add(FULL) / LAP)?;
        let count = match (consumer, producer) {
            (Some(consumer), Some(producer)) => self.between(consumer, producer),
            _ => None,
        };
        Ok(Pass { words: words.0, count })
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
            let sequence = word(self.fd, self.slots.offset + index * u64::from(self.slots.size))?;
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
        let capacity = i128::from(self.slots.count);
        let laps = match producer.0 {
            lap if lap == consumer.0 => 0,
            lap if before(lap) == consumer.0 => 1,
            _ => return None,
        };
        let count = laps * capacity + i128::from(producer.1) - i128::from(consumer.1);
        u64::try_from(count).ok().filter(|&count| count <= self.slots.count)
    }
}

/// Laps are numbers of 63 bits.
fn before(lap: u64) -> u64 {
    lap.wrapping_sub(1) & (u64::MAX >> 1)
}

/// The producer and the consumer that the roles at `offset` of the payload name.
fn roles(fd: BorrowedFd<'_>, offset: u64) -> Result<[Option<Peer>; 2], Errno> {
    use core::mem::offset_of;
    let at = |field: usize| word(fd, offset + field as u64);
    // The claims first: their admission was there before them.
    let claims = [at(offset_of!(Roles, producer))?, at(offset_of!(Roles, consumer))?];
    let mut domain = [0; 4];
    let field = offset_of!(Roles, domain) as u64;
    super::read(fd, &mut domain, PAYLOAD as u64 + offset + field)?;
    let domain = DomainCell::from_bits(u32::from_ne_bytes(domain));
    Ok(claims.map(|claim| Role { word: &AtomicU64::new(claim), domain: &domain }.described()))
}

/// The word at `offset` of the payload; 0 behind the end of the file.
fn word(fd: BorrowedFd<'_>, offset: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    super::read(fd, &mut bytes, PAYLOAD as u64 + offset)?;
    Ok(u64::from_ne_bytes(bytes))
}
