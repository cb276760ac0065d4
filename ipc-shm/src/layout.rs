//! Every offset and every state word in shared memory: the one place that knows them.
//!
//! `docs/LAYOUT.md` of the repository says the same to programs in other languages, and is compared with this file by a
//! test.
//!
//! # A region
//!
//! ```text
//! offset  size  field      written by            all zeros mean
//! ------  ----  ---------  --------------------  -----------------------------------
//!      0     8  magic      creator               not a region: refused
//!      8     8  init       creator, last         not begun: refused
//!     16     2  major      creator               refused (there is no version 0)
//!     18     2  minor      creator
//!     20     4  arch       creator               refused
//!     24     8  hash       creator               refused (it is recomputed from the directory)
//!     32     4  kind       creator               refused
//!     36     4  page       creator               refused: bytes of a page
//!     40     8  total      creator               refused: smaller than the header
//!     48     8  payload    creator               refused: inside the header
//!     56     8  size       creator               refused: a region has a payload
//!     64     8  creator    creator               refused: nobody
//!     72     4  domain     creator               refused
//!     76     4  entries    creator               no typed places
//!     80     4  line       creator               refused: bytes between places
//!     84   940  reserved   nobody                as it is
//!   1024  3072  directory  creator               96 entries of 32 bytes, `entries` of them used
//!   4096     -  payload    whoever the places say
//! ```
//!
//! All numbers have the byte order of the machine. The creator stores its own id in `init`, then
//! everything else, and READY with Release as the very last: until then nobody else maps the
//! region. `magic` and `init` keep their offsets in every future version, so that an older program
//! can say what it found.
//!
//! `init` is one of
//!
//! | word | meaning |
//! |---|---|
//! | 0 | not begun |
//! | a `ProcessId` | that process is writing the header, or died doing so |
//! | [`READY`] | the header is complete and never changes again |
//!
//! # A directory entry
//!
//! ```text
//! offset  size  field    meaning
//!      0     8  offset   of the first element, from the start of the payload
//!      8     8  count    of elements
//!     16     4  size     of one element
//!     20     4  align    of one element
//!     24     8  type     FNV-1a of the type's name
//! ```
//!
//! # A stamped ring for one producer and one consumer
//!
//! A header of 128 bytes and an array of slots, two entries of the directory.
//!
//! ```text
//! offset  size  field      written by                        all zeros mean
//!      0     8  producer   who claims, closes or takes over  never claimed
//!      8     8  consumer   who claims, closes or takes over  never claimed
//!     16     4  domain     who claims (before it does)       nobody has claimed yet
//!     20     4  waiting    who waits: see below              as the bits say
//!     24     8  not_empty  who waits to pop, who wakes it    somebody may wait
//!     32     8  not_full   who waits to push, who wakes it   somebody may wait
//!     40    88  reserved
//! ```
//!
//! `not_empty` and `not_full` are event counts of `ipc-sync`: a number in the high half, which is
//! another after each notification of somebody, and in the low half bit 31, "surely nobody waits".
//! What `waiting` says of them:
//!
//! | bit | set by | meaning |
//! |---|---|---|
//! | [`MUST_FENCE`] | a waiter that has no `membarrier`; for ever | whoever publishes has to fence before it looks whether somebody waits |
//! | [`PLAIN`] | the first who claims an end, if it has no socket; for ever | nobody at this ring has sockets |
//! | [`POLLABLE`] | the first who claims an end, if it has a socket; for ever | everybody at this ring has one, and tells by it |
//! | [`PRODUCER_ARMED`] | the producer; whoever takes it back has to tell by the socket | the producer may sleep in an event loop |
//! | [`CONSUMER_ARMED`] | the consumer, likewise | the consumer may |
//!
//! ```text
//! slot:  | payload, padded to a multiple of 8 | sequence, 8 bytes | padding to a multiple of the alignment |
//!
//! sequence = 2 x lap + full        laps count from 0, modulo 2^63
//!
//!   2 x lap      free: the producer may write the message of this lap
//!   2 x lap + 1  full: the consumer may read it
//! ```
//!
//! The sequence says whose the payload is. The producer takes it from `2 x lap` to `2 x lap + 1`,
//! the consumer from there to `2 x (lap + 1)`; nobody else writes it, and neither moves it past the
//! other. All zeros are a ring that nothing has gone through; on any later lap a zero is a
//! sequence that neither side expects, which is reported as damage. A zero is never a message.
//!
//! # An indexed ring
//!
//! A head of 384 bytes and an array of messages, two entries of the directory. The number of messages is a power
//! of two.
//!
//! ```text
//! offset  size  field     written by        all zeros mean
//!      0   128  roles     as above          nobody has claimed yet
//!    128     8  tail      the producer      nothing has been pushed
//!    136   120  padding
//!    256     8  head      the consumer      nothing has been popped
//!    264   120  padding
//! ```
//!
//! `tail` counts the messages that were pushed and `head` those that were popped, modulo 2^64. Message number `n`
//! lies in slot `n` modulo the capacity. The slots from `head` to `tail` are the consumer's, all others the
//! producer's. All zeros are a ring that nothing has gone through.
//!
//! # A ring of bytes
//!
//! An indexed ring of words of 8 bytes; in a region of its own the words begin at a multiple of their number of bytes,
//! up to 4096, and are the last thing there. What lies from `head` to `tail` are whole records, one after the other:
//!
//! ```text
//! offset  size  field     written by        all zeros mean
//!      0     4  size      the producer      no record: it is 8 at least
//!      4     4  tag       the producer
//!      8     -  bytes     the producer
//!      -     -  padding to a multiple of 8
//! ```
//!
//! `size` counts the bytes from `size` itself to the last one of `bytes`. A record may begin at the last words of the
//! ring and go on at the first.
//!
//! # Safety
//!
//! The structures marked as plain data have no padding, which the assertions below show, and any
//! bytes are valid values of them. [`Slot`], [`Indexes`], [`Payload`] and [`Roles`] are atomics and
//! payload cells that their modules reach only as the sequence, or the positions, allow.
#![expect(unsafe_code, reason = "statements about the layout of shared types")]

use bytemuck::{Pod, Zeroable};
use ipc_core::identity::DomainCell;
use ipc_core::primitive::{AtomicU32, AtomicU64, UnsafeCell};
use ipc_core::{Padded, Shareable};
use ipc_sync::EventCount;

/// `ipc-shm` as the bytes of a little-endian machine.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ipc-shm\0");

/// Changes when a program of the other version would misread the region.
pub(crate) const MAJOR: u16 = 1;
/// Changes when something is added that an older program must know to take part; newer programs
/// read older regions.
pub(crate) const MINOR: u16 = 0;

/// What must be the same in both programs although no type says so: byte order and word size.
pub(crate) const ARCH: u32 =
    if cfg!(target_endian = "little") { 0x4c45_0000 } else { 0x4245_0000 } | usize::BITS;

/// The header is complete. No `ProcessId` has this bit.
pub(crate) const READY: u64 = ipc_core::identity::ProcessId::FREE_BIT;

/// Offset of the payload in the file.
pub(crate) const PAYLOAD: usize = 4096;
/// Offset of the directory in the file.
pub(crate) const DIRECTORY: usize = 1024;
/// How many entries the directory has room for.
pub(crate) const ENTRIES: usize = (PAYLOAD - DIRECTORY) / size_of::<Entry>();
/// The largest alignment that a place in the payload can have: mappings begin on a page, and no
/// page is smaller.
pub(crate) const MAX_ALIGN: usize = 4096;
/// Where structures that different processors write begin, so that they share no cache line, and no
/// pair of lines that is fetched together.
pub(crate) const LINE: usize = 128;

/// The head of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: u64,
    pub(crate) init: u64,
    pub(crate) major: u16,
    pub(crate) minor: u16,
    pub(crate) arch: u32,
    pub(crate) hash: u64,
    pub(crate) kind: u32,
    pub(crate) page: u32,
    pub(crate) total: u64,
    pub(crate) payload: u64,
    pub(crate) size: u64,
    pub(crate) creator: u64,
    pub(crate) domain: u32,
    pub(crate) entries: u32,
    pub(crate) line: u32,
    pub(crate) reserved: u32,
}

/// Offset of [`Header::init`], the only word of the header that is accessed as an atomic.
pub(crate) const INIT: usize = core::mem::offset_of!(Header, init);

/// What lies at one place of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) count: u64,
    pub(crate) size: u32,
    pub(crate) align: u32,
    pub(crate) type_hash: u64,
}

// SAFETY: integers only, and zeros are valid integers.
unsafe impl Zeroable for Header {}
// SAFETY: integers without padding: the offsets and the size are asserted below.
unsafe impl Pod for Header {}
// SAFETY: integers only, and zeros are valid integers.
unsafe impl Zeroable for Entry {}
// SAFETY: integers without padding: the size is asserted below.
unsafe impl Pod for Entry {}

/// What the ends of any ring have in common. Fast paths read one of the event counts.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Commons {
    /// Whose deaths can be told here.
    pub(crate) domain: DomainCell,
    pub(crate) waiting: AtomicU32,
    /// Where the consumer waits.
    pub(crate) not_empty: EventCount,
    /// Where the producer waits.
    pub(crate) not_full: EventCount,
}

impl Commons {
    ipc_core::const_unless_loom! {
        /// Nobody has come, and nobody waits.
        pub(crate) fn new() -> Self {
            Self {
                domain: DomainCell::new(false),
                waiting: AtomicU32::new(0),
                not_empty: EventCount::new(),
                not_full: EventCount::new(),
            }
        }
    }
}

/// Who has the two ends of a ring, and who waits there.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Roles {
    pub(crate) producer: AtomicU64,
    pub(crate) consumer: AtomicU64,
    pub(crate) commons: Commons,
}

/// In [`Commons::waiting`]: whoever publishes has to fence before it looks whether somebody waits.
pub(crate) const MUST_FENCE: u32 = 1;
/// In [`Commons::waiting`]: nobody at this ring has sockets.
pub(crate) const PLAIN: u32 = 2;
/// In [`Commons::waiting`]: everybody at this ring has a socket.
pub(crate) const POLLABLE: u32 = 4;
/// In [`Commons::waiting`]: the producer is to be told by its socket of room, once.
pub(crate) const PRODUCER_ARMED: u32 = 8;
/// In [`Commons::waiting`]: the consumer is to be told by its socket of a message, once.
pub(crate) const CONSUMER_ARMED: u32 = 16;

// SAFETY: atomics of which every pattern is a state; the padding is never read.
unsafe impl Shareable for Roles {}

impl Roles {
    ipc_core::const_unless_loom! {
        /// Nobody has an end, and nobody waits.
        pub(crate) fn new() -> Self {
            Self {
                producer: AtomicU64::new(0),
                consumer: AtomicU64::new(0),
                commons: Commons::new(),
            }
        }
    }
}

/// One message of a ring, and whose it is.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slot<T> {
    pub(crate) payload: UnsafeCell<T>,
    /// Behind the payload: of a message of more than one line it is the last one that the producer writes, and the one
    /// that the consumer watches. In front, that line would go back and forth once more for each message.
    pub(crate) sequence: AtomicU64,
}

// SAFETY: the sequence gives the payload to one side at a time, with Release and Acquire.
unsafe impl<T: Pod + Send> Sync for Slot<T> {}
// SAFETY: an atomic, and plain data that is reached by copies only; zeros are an empty slot.
unsafe impl<T: Pod + Send> Shareable for Slot<T> {}

/// The low bit of a sequence: the payload is a message for the consumer.
pub(crate) const FULL: u64 = 1;
/// What a lap adds to a sequence.
pub(crate) const LAP: u64 = 2;

/// Who has the ends of an indexed ring, and how far they have come.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Indexes {
    pub(crate) roles: Roles,
    /// The next position to write.
    pub(crate) tail: Padded<AtomicU64>,
    /// The next position to read.
    pub(crate) head: Padded<AtomicU64>,
}

// SAFETY: atomics of which every pattern is a state; the padding is never read.
unsafe impl Shareable for Indexes {}

impl Indexes {
    ipc_core::const_unless_loom! {
        /// Both ends vacant, and both positions at `start`.
        pub(crate) fn at(start: u64) -> Self {
            Self {
                roles: Roles::new(),
                tail: Padded::new(AtomicU64::new(start)),
                head: Padded::new(AtomicU64::new(start)),
            }
        }
    }
}

/// Who takes part in a ring of many producers and many consumers, and how far they have come, about.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Crowd {
    pub(crate) commons: Padded<Commons>,
    /// A position up to which all have been claimed by producers.
    pub(crate) tail: Padded<AtomicU64>,
    /// A position up to which all have been claimed by consumers.
    pub(crate) head: Padded<AtomicU64>,
    pub(crate) producers: [Record; PARTICIPANTS],
    pub(crate) consumers: [Record; PARTICIPANTS],
    /// For each consumer the position that it was the last to be about to claim.
    pub(crate) trails: [Padded<AtomicU64>; PARTICIPANTS],
}

/// How many producers and how many consumers a ring of many can have at a time.
pub(crate) const PARTICIPANTS: usize = if cfg!(loom) { 4 } else { 128 };

/// One of those who take part.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    pub(crate) owner: AtomicU64,
    pub(crate) generation: AtomicU64,
}

// SAFETY: atomics of which every pattern is a state; the padding is never read.
unsafe impl Shareable for Crowd {}

impl Record {
    ipc_core::const_unless_loom! {
        fn new() -> Self {
            Self { owner: AtomicU64::new(0), generation: AtomicU64::new(0) }
        }
    }
}

#[cfg(not(loom))]
impl Crowd {
    /// Nobody has come, and nothing has gone through.
    pub(crate) const fn new() -> Self {
        Self::at(0)
    }

    /// Nobody has come, and all positions before `start` are over.
    pub(crate) const fn at(start: u64) -> Self {
        Self {
            commons: Padded::new(Commons::new()),
            tail: Padded::new(AtomicU64::new(start)),
            head: Padded::new(AtomicU64::new(start)),
            producers: [const { Record::new() }; PARTICIPANTS],
            consumers: [const { Record::new() }; PARTICIPANTS],
            trails: [const { Padded::new(AtomicU64::new(0)) }; PARTICIPANTS],
        }
    }
}

#[cfg(loom)]
impl Crowd {
    pub(crate) fn at(start: u64) -> Self {
        use core::array::from_fn;
        Self {
            commons: Padded::new(Commons::new()),
            tail: Padded::new(AtomicU64::new(start)),
            head: Padded::new(AtomicU64::new(start)),
            producers: from_fn(|_| Record::new()),
            consumers: from_fn(|_| Record::new()),
            trails: from_fn(|_| Padded::new(AtomicU64::new(0))),
        }
    }
}

/// One message of an indexed ring.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Payload<T>(pub(crate) UnsafeCell<T>);

// SAFETY: the positions give the payload to one side at a time, with Release and Acquire.
unsafe impl<T: Pod + Send> Sync for Payload<T> {}
// SAFETY: plain data that is reached by copies, or by its owner only.
unsafe impl<T: Pod + Send> Shareable for Payload<T> {}

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Header, magic) == 0 && offset_of!(Header, init) == 8);
    assert!(offset_of!(Header, major) == 16 && offset_of!(Header, minor) == 18);
    assert!(offset_of!(Header, arch) == 20 && offset_of!(Header, hash) == 24);
    assert!(offset_of!(Header, kind) == 32 && offset_of!(Header, page) == 36);
    assert!(offset_of!(Header, total) == 40 && offset_of!(Header, payload) == 48);
    assert!(offset_of!(Header, size) == 56 && offset_of!(Header, creator) == 64);
    assert!(offset_of!(Header, domain) == 72 && offset_of!(Header, entries) == 76);
    assert!(offset_of!(Header, line) == 80 && offset_of!(Header, reserved) == 84);
    assert!(size_of::<Header>() == 88 && size_of::<Header>() <= DIRECTORY);
    assert!(size_of::<Entry>() == 32 && ENTRIES == 96);
    assert!(offset_of!(Roles, producer) == 0 && offset_of!(Roles, consumer) == 8);
    assert!(offset_of!(Roles, commons) == 16 && size_of::<Commons>() == 24);
    assert!(offset_of!(Commons, domain) == 0 && offset_of!(Commons, waiting) == 4);
    assert!(offset_of!(Commons, not_empty) == 8 && offset_of!(Commons, not_full) == 16);
    assert!(size_of::<Roles>() == LINE);
    assert!(size_of::<Slot<u8>>() == 16 && size_of::<Slot<u64>>() == 16);
    assert!(size_of::<Slot<[u64; 7]>>() == 64 && offset_of!(Slot<[u64; 7]>, sequence) == 56);
    assert!(offset_of!(Crowd, tail) == LINE && offset_of!(Crowd, head) == 2 * LINE);
    assert!(offset_of!(Crowd, producers) == 3 * LINE && size_of::<Record>() == 16);
    assert!(offset_of!(Crowd, consumers) == 3 * LINE + 16 * PARTICIPANTS);
    assert!(offset_of!(Crowd, trails) == 3 * LINE + 32 * PARTICIPANTS);
    assert!(size_of::<Crowd>() == 3 * LINE + (32 + LINE) * PARTICIPANTS);
    assert!(offset_of!(Indexes, tail) == LINE && offset_of!(Indexes, head) == 2 * LINE);
    assert!(size_of::<Indexes>() == 3 * LINE && size_of::<Payload<u64>>() == 8);
    assert!(MAX_ALIGN <= PAYLOAD && PAYLOAD % MAX_ALIGN == 0);
};

#[cfg(all(test, not(loom)))]
mod document;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use ipc_core::identity::ProcessId;

    #[test]
    fn zeros_are_no_region() {
        let header: Header = Zeroable::zeroed();
        assert!(header.magic != MAGIC && header.init != READY && header.arch != ARCH);
        assert!(header.major != MAJOR);
    }

    #[test]
    fn ready_is_nobody() {
        assert_eq!(ProcessId::from_bits(READY), None);
        assert_eq!(ProcessId::from_bits(0), None);
    }
}
