//! What all rings have in common, for the tests that every one of them passes.
//!
//! A ring that is to be tested says by [`TestRing`] how its calls are named, and stands in the lists of
//! `tests/all_rings.rs` and of the fuzz targets. Nothing else needs to know it.

#![allow(dead_code, reason = "each program that includes this file uses its part of it")]

use core::cell::Cell;
use core::time::Duration;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use bytemuck::Pod;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_shm::AttachError;
use ipc_shm::ring::{
    Peer, PopError, PopWaitError, PushError, PushWaitError, RingError, RoleError, Trusted,
    Untrusted, bytes, indexed, mpmc, spsc,
};

/// What the tests send: any plain data.
pub trait Message: Pod + Send + Sync + PartialEq + core::fmt::Debug {}

impl<T: Pod + Send + Sync + PartialEq + core::fmt::Debug> Message for T {}

/// Message number `number`: every byte of it follows from that, so what is torn or old shows.
pub fn message<T: Message>(number: u64) -> T {
    let mut message = T::zeroed();
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
    for bytes in bytemuck::bytes_of_mut(&mut message).chunks_mut(8) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // The low byte is the number's: neighbours differ even as single bytes.
        let word = (random & !0xff) | (number & 0xff);
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
    message
}

/// Which of the calls that wait, and how long.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// Without end.
    Wait,
    /// `_timeout`.
    Timeout(Duration),
    /// `_deadline`.
    Deadline(Deadline),
    /// `_interruptible`.
    Interruptible(Deadline),
    /// `wait`, and then the call that does not, where there is such a `wait`.
    Before(Deadline),
}

/// A kind of ring for one producer and one consumer, and how its calls are named.
pub trait TestRing: Sized + 'static {
    /// As it stands in messages.
    const NAME: &'static str;

    /// A death in the middle of a slice leaves all of it or nothing.
    const WHOLE_SLICES: bool;

    /// Several may have each of its ends.
    const OF_MANY: bool = false;

    /// The ring, before its ends are claimed.
    type Ring<T: Message>: Send + Sync + 'static;
    /// The writing end.
    type Producer<T: Message>: Send + 'static;
    /// The reading end.
    type Consumer<T: Message>: Send + 'static;

    /// What `create` has to say about this capacity, whatever the messages are.
    fn refusal(capacity: usize) -> Option<RingError>;

    /// A ring in a region of its own, which begins where rings [begin](at_every_age).
    fn create<T: Message>(capacity: usize) -> Result<Self::Ring<T>, RingError>;

    /// A ring on the heap whose numbers have come to `start`, from where rings [begin](at_every_age).
    fn boxed_at<T: Message>(capacity: usize, start: u64) -> Result<Self::Ring<T>, RingError>;

    /// The ring behind a descriptor.
    fn from_fd<T: Message>(fd: OwnedFd) -> Result<Self::Ring<T>, AttachError>;

    /// A descriptor of a ring that has a region of its own.
    fn fd<T: Message>(ring: &Self::Ring<T>) -> OwnedFd;

    /// How many messages fit.
    fn capacity<T: Message>(ring: &Self::Ring<T>) -> usize;

    /// Claims the writing end.
    fn producer<T: Message>(ring: &Self::Ring<T>) -> Result<Self::Producer<T>, RoleError>;

    /// Claims the reading end.
    fn consumer<T: Message>(ring: &Self::Ring<T>) -> Result<Self::Consumer<T>, RoleError>;

    /// Pushes one message.
    fn push<T: Message>(producer: &mut Self::Producer<T>, message: T) -> Result<(), PushError<T>>;

    /// Pops one message.
    fn pop<T: Message>(consumer: &mut Self::Consumer<T>) -> Result<T, PopError>;

    /// Pushes one message, and waits for room.
    fn push_by<T: Message>(
        producer: &mut Self::Producer<T>,
        message: T,
        how: How,
    ) -> Result<(), PushWaitError<T>>;

    /// Pops one message, and waits for it.
    fn pop_by<T: Message>(consumer: &mut Self::Consumer<T>, how: How) -> Result<T, PopWaitError>;

    /// Waits for room, and pushes then. Rings that offer no `wait` do both at once.
    fn push_after_wait<T: Message>(
        producer: &mut Self::Producer<T>,
        message: T,
        deadline: Deadline,
    ) -> Result<(), PushWaitError<T>> {
        Self::push_by(producer, message, How::Deadline(deadline))
    }

    /// Waits for a message, and pops it then. Rings that offer no `wait` do both at once.
    fn pop_after_wait<T: Message>(
        consumer: &mut Self::Consumer<T>,
        deadline: Deadline,
    ) -> Result<T, PopWaitError> {
        Self::pop_by(consumer, How::Deadline(deadline))
    }

    /// Pushes a prefix.
    fn push_slice<T: Message>(
        producer: &mut Self::Producer<T>,
        messages: &[T],
    ) -> Result<usize, PushError<()>>;

    /// Pops what there is and fits.
    fn pop_slice<T: Message>(
        consumer: &mut Self::Consumer<T>,
        messages: &mut [T],
    ) -> Result<usize, PopError>;

    /// Reserves slots for `messages`, writes as many as there are, and commits `commit` of them, if there are so
    /// many. Says how many were reserved. `None`: this ring does not offer it.
    fn write_in_place<T: Message>(
        _producer: &mut Self::Producer<T>,
        _messages: &[T],
        _commit: usize,
    ) -> Option<Result<usize, PushError<()>>> {
        None
    }

    /// Looks at up to `most` messages, and releases `release` of them, if there are so many. Gives what was seen.
    /// `None`: this ring does not offer it.
    fn read_in_place<T: Message>(
        _consumer: &mut Self::Consumer<T>,
        _most: usize,
        _release: usize,
    ) -> Option<Result<Vec<T>, PopError>> {
        None
    }

    /// The other end, seen from this one.
    fn peer_of_producer<T: Message>(producer: &Self::Producer<T>) -> Peer;

    /// The other end, seen from this one.
    fn peer_of_consumer<T: Message>(consumer: &Self::Consumer<T>) -> Peer;

    /// Where in the file of a ring are the words that steer it, without the roles.
    fn words<T: Message>(capacity: usize) -> Vec<u64>;

    /// What all these words are when a ring's numbers have come to `start`, where they are all the same.
    fn word(start: u64) -> u64;

    /// Where these words are, and what they are when a ring's numbers have come to `start`.
    fn words_at<T: Message>(capacity: usize, start: u64) -> Vec<(u64, u64)> {
        let word = Self::word(start);
        Self::words::<T>(capacity).into_iter().map(|offset| (offset, word)).collect()
    }
}

fn with_message<T>(error: PushWaitError<()>, message: T) -> PushWaitError<T> {
    match error {
        PushWaitError::TimedOut(()) => PushWaitError::TimedOut(message),
        PushWaitError::Disconnected(()) => PushWaitError::Disconnected(message),
        PushWaitError::Corrupt(()) => PushWaitError::Corrupt(message),
        PushWaitError::Os((), errno) => PushWaitError::Os(message, errno),
        error => panic!("{error}"),
    }
}

/// What rings of this crate with slots for messages have in common: all but their names.
macro_rules! ring_of_slots {
    ($module:ident, $trust:ident, $producer:ident, $consumer:ident) => {
        type Ring<T: Message> = $module::Ring<'static, T>;
        type Producer<T: Message> = $module::Producer<'static, T, $trust>;
        type Consumer<T: Message> = $module::Consumer<'static, T, $trust>;

        fn create<T: Message>(capacity: usize) -> Result<Self::Ring<T>, RingError> {
            aged::<Self, T>($module::Ring::create(capacity), capacity)
        }

        fn boxed_at<T: Message>(capacity: usize, start: u64) -> Result<Self::Ring<T>, RingError> {
            $module::Ring::boxed_at(capacity, self::start(capacity, start))
        }

        fn from_fd<T: Message>(fd: OwnedFd) -> Result<Self::Ring<T>, AttachError> {
            $module::Ring::from_fd(fd)
        }

        fn fd<T: Message>(ring: &Self::Ring<T>) -> OwnedFd {
            ring.as_fd().expect("a region of its own").try_clone_to_owned().expect("descriptors")
        }

        fn capacity<T: Message>(ring: &Self::Ring<T>) -> usize {
            ring.capacity()
        }

        fn producer<T: Message>(ring: &Self::Ring<T>) -> Result<Self::Producer<T>, RoleError> {
            ring.$producer()
        }

        fn consumer<T: Message>(ring: &Self::Ring<T>) -> Result<Self::Consumer<T>, RoleError> {
            ring.$consumer()
        }

        fn push<T: Message>(
            producer: &mut Self::Producer<T>,
            message: T,
        ) -> Result<(), PushError<T>> {
            producer.push(message)
        }

        fn pop<T: Message>(consumer: &mut Self::Consumer<T>) -> Result<T, PopError> {
            consumer.pop()
        }

        fn push_by<T: Message>(
            producer: &mut Self::Producer<T>,
            message: T,
            how: How,
        ) -> Result<(), PushWaitError<T>> {
            match how {
                How::Wait => producer.push_wait(message),
                How::Timeout(timeout) => producer.push_timeout(message, timeout),
                How::Deadline(deadline) => producer.push_deadline(message, deadline),
                How::Interruptible(deadline) => producer.push_interruptible(message, deadline),
                How::Before(deadline) => Self::push_after_wait(producer, message, deadline),
            }
        }

        fn pop_by<T: Message>(
            consumer: &mut Self::Consumer<T>,
            how: How,
        ) -> Result<T, PopWaitError> {
            match how {
                How::Wait => consumer.pop_wait(),
                How::Timeout(timeout) => consumer.pop_timeout(timeout),
                How::Deadline(deadline) => consumer.pop_deadline(deadline),
                How::Interruptible(deadline) => consumer.pop_interruptible(deadline),
                How::Before(deadline) => Self::pop_after_wait(consumer, deadline),
            }
        }

        fn push_slice<T: Message>(
            producer: &mut Self::Producer<T>,
            messages: &[T],
        ) -> Result<usize, PushError<()>> {
            producer.push_slice(messages)
        }

        fn pop_slice<T: Message>(
            consumer: &mut Self::Consumer<T>,
            messages: &mut [T],
        ) -> Result<usize, PopError> {
            consumer.pop_slice(messages)
        }

        ring_of_slots!(@ $module);
    };
    (@ mpmc) => {
        fn peer_of_producer<T: Message>(producer: &Self::Producer<T>) -> Peer {
            one_of(producer.consumers())
        }

        fn peer_of_consumer<T: Message>(consumer: &Self::Consumer<T>) -> Peer {
            one_of(consumer.producers())
        }
    };
    (@ $one:ident) => {
        fn peer_of_producer<T: Message>(producer: &Self::Producer<T>) -> Peer {
            producer.peer()
        }

        fn peer_of_consumer<T: Message>(consumer: &Self::Consumer<T>) -> Peer {
            consumer.peer()
        }
    };
}

/// What is said of many, where there is one at most, of this process.
fn one_of(peers: mpmc::Peers) -> Peer {
    match peers {
        mpmc::Peers::Absent => Peer::Absent,
        mpmc::Peers::Gone => Peer::Closed,
        _ => Peer::Alive(ProcessId::current().expect("a Linux with /proc")),
    }
}

/// Where the payload of a region begins, and how long the roles are.
const PAYLOAD: u64 = 4096;
const LINE: u64 = 128;

/// `ring::spsc`.
pub enum Stamped {}

impl TestRing for Stamped {
    const NAME: &'static str = "stamped";
    const WHOLE_SLICES: bool = false;

    ring_of_slots!(spsc, Trusted, producer, consumer);

    fn refusal(capacity: usize) -> Option<RingError> {
        (capacity == 0).then_some(RingError::ZeroCapacity)
    }

    fn words<T: Message>(capacity: usize) -> Vec<u64> {
        let align = align_of::<T>().max(8);
        let slot = (size_of::<T>().next_multiple_of(align) + align) as u64;
        (1..=capacity as u64).map(|index| PAYLOAD + LINE + index * slot - align as u64).collect()
    }

    /// Two for each lap.
    fn word(start: u64) -> u64 {
        start.wrapping_mul(2)
    }
}

/// `ring::spsc`, by ends that trust nobody.
pub enum UntrustedStamped {}

impl TestRing for UntrustedStamped {
    const NAME: &'static str = "untrusted stamped";
    const WHOLE_SLICES: bool = Stamped::WHOLE_SLICES;

    ring_of_slots!(spsc, Untrusted, untrusted_producer, untrusted_consumer);

    fn refusal(capacity: usize) -> Option<RingError> {
        Stamped::refusal(capacity)
    }

    fn words<T: Message>(capacity: usize) -> Vec<u64> {
        Stamped::words::<T>(capacity)
    }

    fn word(start: u64) -> u64 {
        Stamped::word(start)
    }
}

/// `ring::indexed`.
pub enum Indexed {}

impl TestRing for Indexed {
    const NAME: &'static str = "indexed";
    const WHOLE_SLICES: bool = true;

    ring_of_slots!(indexed, Trusted, producer, consumer);

    fn refusal(capacity: usize) -> Option<RingError> {
        match capacity {
            0 => Some(RingError::ZeroCapacity),
            _ if capacity.is_power_of_two() => None,
            _ => Some(RingError::NotAPowerOfTwo { capacity }),
        }
    }

    fn push_after_wait<T: Message>(
        producer: &mut Self::Producer<T>,
        message: T,
        deadline: Deadline,
    ) -> Result<(), PushWaitError<T>> {
        producer.wait(deadline).map_err(|error| with_message(error, message))?;
        Ok(producer.push(message)?)
    }

    fn pop_after_wait<T: Message>(
        consumer: &mut Self::Consumer<T>,
        deadline: Deadline,
    ) -> Result<T, PopWaitError> {
        consumer.wait(deadline)?;
        Ok(consumer.pop()?)
    }

    fn write_in_place<T: Message>(
        producer: &mut Self::Producer<T>,
        messages: &[T],
        commit: usize,
    ) -> Option<Result<usize, PushError<()>>> {
        Some(producer.reserve(messages.len()).map(|mut slots| {
            let reserved = slots.len();
            let (first, second) = slots.as_mut_slices();
            assert_eq!(first.len() + second.len(), reserved, "two slices for all");
            let (before, after) = messages[..reserved].split_at(first.len());
            first.copy_from_slice(before);
            second.copy_from_slice(after);
            slots.commit(commit.min(reserved));
            reserved
        }))
    }

    fn read_in_place<T: Message>(
        consumer: &mut Self::Consumer<T>,
        most: usize,
        release: usize,
    ) -> Option<Result<Vec<T>, PopError>> {
        Some(consumer.peek(most).map(|messages| {
            let (first, second) = messages.as_slices();
            let seen = [first, second].concat();
            assert_eq!(seen.len(), messages.len(), "two slices for all");
            assert!(seen.iter().enumerate().all(|(i, &one)| messages.get(i) == Some(one)));
            assert_eq!(messages.get(seen.len()), None);
            messages.release(release.min(seen.len()));
            seen
        }))
    }

    fn words<T: Message>(_: usize) -> Vec<u64> {
        vec![PAYLOAD + LINE, PAYLOAD + 2 * LINE]
    }

    fn word(start: u64) -> u64 {
        start
    }
}

/// `ring::indexed`, by ends that trust nobody, and so borrow nothing.
pub enum UntrustedIndexed {}

impl TestRing for UntrustedIndexed {
    const NAME: &'static str = "untrusted indexed";
    const WHOLE_SLICES: bool = Indexed::WHOLE_SLICES;

    ring_of_slots!(indexed, Untrusted, untrusted_producer, untrusted_consumer);

    fn refusal(capacity: usize) -> Option<RingError> {
        Indexed::refusal(capacity)
    }

    fn words<T: Message>(capacity: usize) -> Vec<u64> {
        Indexed::words::<T>(capacity)
    }

    fn word(start: u64) -> u64 {
        Indexed::word(start)
    }
}

/// `ring::mpmc`.
pub enum Many {}

/// `ring::mpmc`, by ends that trust nobody.
pub enum UntrustedMany {}

/// How long the head of a ring of many is.
const CROWD: u64 = 20_864;

macro_rules! ring_of_many {
    ($name:literal, $trust:ident, $producer:ident, $consumer:ident) => {
        const NAME: &'static str = $name;
        const WHOLE_SLICES: bool = false;
        const OF_MANY: bool = true;

        ring_of_slots!(mpmc, $trust, $producer, $consumer);

        fn refusal(capacity: usize) -> Option<RingError> {
            Indexed::refusal(capacity)
        }

        fn words<T: Message>(capacity: usize) -> Vec<u64> {
            let hints = [PAYLOAD + LINE, PAYLOAD + 2 * LINE].into_iter();
            let slots = Stamped::words::<T>(capacity).into_iter();
            hints.chain(slots.map(|offset| offset - LINE + CROWD)).collect()
        }

        fn word(start: u64) -> u64 {
            unreachable!("words of several sorts, at {start}")
        }

        /// Two positions, and in each slot the lap of the position that comes to it next.
        fn words_at<T: Message>(capacity: usize, start: u64) -> Vec<(u64, u64)> {
            let shift = capacity.trailing_zeros();
            let laps = (0..capacity as u64).map(|index| {
                let next = start.wrapping_add(index.wrapping_sub(start) % capacity as u64);
                (next >> shift) << 20
            });
            let words = [start; 2].into_iter().chain(laps);
            Self::words::<T>(capacity).into_iter().zip(words).collect()
        }
    };
}

impl TestRing for Many {
    ring_of_many!("many", Trusted, producer, consumer);
}

impl TestRing for UntrustedMany {
    ring_of_many!("untrusted many", Untrusted, untrusted_producer, untrusted_consumer);
}

/// `ring::bytes`, with one record for each message.
pub enum Bytes {}

/// `ring::bytes`, by ends that trust nobody.
pub enum UntrustedBytes {}

/// How many bytes of a ring a record with one message takes.
fn record<T>() -> usize {
    8 + size_of::<T>().next_multiple_of(8)
}

/// A ring that holds `capacity` records, and more if that is no power of two. Too much stays too much.
fn bytes_for<T>(capacity: usize) -> usize {
    let bytes = capacity.checked_mul(record::<T>()).and_then(usize::checked_next_power_of_two);
    bytes.unwrap_or(1 << (usize::BITS - 1))
}

/// What the ring of bytes says, to somebody who only ever sends messages that fit.
fn not_pushed<T>(error: bytes::PushError, message: T) -> PushError<T> {
    match error {
        bytes::PushError::Full => PushError::Full(message),
        bytes::PushError::Disconnected => PushError::Disconnected(message),
        bytes::PushError::Corrupt => PushError::Corrupt(message),
        error => panic!("{error}"),
    }
}

/// The same, to somebody who only ever gets what was sent so.
fn not_popped(error: bytes::PopError) -> PopError {
    match error {
        bytes::PopError::Empty => PopError::Empty,
        bytes::PopError::Disconnected => PopError::Disconnected,
        bytes::PopError::Corrupt => PopError::Corrupt,
        error => panic!("{error}"),
    }
}

/// What the ring of bytes says when it has waited.
fn not_pushed_in_time<T>(error: bytes::PushWaitError, message: T) -> PushWaitError<T> {
    match error {
        bytes::PushWaitError::TimedOut => PushWaitError::TimedOut(message),
        bytes::PushWaitError::Disconnected => PushWaitError::Disconnected(message),
        bytes::PushWaitError::Corrupt => PushWaitError::Corrupt(message),
        bytes::PushWaitError::Os(errno) => PushWaitError::Os(message, errno),
        error => panic!("{error}"),
    }
}

/// The same of the other end.
fn not_popped_in_time(error: bytes::PopWaitError) -> PopWaitError {
    match error {
        bytes::PopWaitError::TimedOut => PopWaitError::TimedOut,
        bytes::PopWaitError::Disconnected => PopWaitError::Disconnected,
        bytes::PopWaitError::Corrupt => PopWaitError::Corrupt,
        bytes::PopWaitError::Os(errno) => PopWaitError::Os(errno),
        error => panic!("{error}"),
    }
}

/// What says which records are messages of the tests.
const TAG: u32 = 0x7461_6721;

macro_rules! ring_of_records {
    ($name:literal, $trust:ident, $producer:ident, $consumer:ident) => {
        const NAME: &'static str = $name;
        const WHOLE_SLICES: bool = false;

        type Ring<T: Message> = bytes::Ring<'static>;
        type Producer<T: Message> = bytes::Producer<'static, $trust>;
        type Consumer<T: Message> = bytes::Consumer<'static, $trust>;

        fn refusal(capacity: usize) -> Option<RingError> {
            Indexed::refusal(capacity)
        }

        fn create<T: Message>(capacity: usize) -> Result<Self::Ring<T>, RingError> {
            Self::refusal(capacity).map_or(Ok(()), Err)?;
            aged::<Self, T>(bytes::Ring::create(bytes_for::<T>(capacity)), capacity)
        }

        fn boxed_at<T: Message>(capacity: usize, start: u64) -> Result<Self::Ring<T>, RingError> {
            Self::refusal(capacity).map_or(Ok(()), Err)?;
            bytes::Ring::boxed_at(bytes_for::<T>(capacity), self::start(capacity, start))
        }

        fn from_fd<T: Message>(fd: OwnedFd) -> Result<Self::Ring<T>, AttachError> {
            bytes::Ring::from_fd(fd)
        }

        fn fd<T: Message>(ring: &Self::Ring<T>) -> OwnedFd {
            ring.as_fd().expect("a region of its own").try_clone_to_owned().expect("descriptors")
        }

        fn capacity<T: Message>(ring: &Self::Ring<T>) -> usize {
            ring.capacity() / record::<T>()
        }

        fn producer<T: Message>(ring: &Self::Ring<T>) -> Result<Self::Producer<T>, RoleError> {
            ring.$producer()
        }

        fn consumer<T: Message>(ring: &Self::Ring<T>) -> Result<Self::Consumer<T>, RoleError> {
            ring.$consumer()
        }

        fn push<T: Message>(
            producer: &mut Self::Producer<T>,
            message: T,
        ) -> Result<(), PushError<T>> {
            producer
                .push(TAG, bytemuck::bytes_of(&message))
                .map_err(|error| not_pushed(error, message))
        }

        fn pop<T: Message>(consumer: &mut Self::Consumer<T>) -> Result<T, PopError> {
            let mut message = T::zeroed();
            let found = consumer.pop(bytemuck::bytes_of_mut(&mut message)).map_err(not_popped)?;
            assert_eq!(found, (TAG, size_of::<T>()));
            Ok(message)
        }

        fn push_by<T: Message>(
            producer: &mut Self::Producer<T>,
            message: T,
            how: How,
        ) -> Result<(), PushWaitError<T>> {
            let record = bytemuck::bytes_of(&message);
            let pushed = match how {
                How::Wait => producer.push_wait(TAG, record),
                How::Timeout(timeout) => producer.push_timeout(TAG, record, timeout),
                How::Deadline(deadline) => producer.push_deadline(TAG, record, deadline),
                How::Interruptible(deadline) => producer.push_interruptible(TAG, record, deadline),
                How::Before(deadline) => producer
                    .wait(record.len(), deadline)
                    .and_then(|()| Ok(producer.push(TAG, record)?)),
            };
            pushed.map_err(|error| not_pushed_in_time(error, message))
        }

        fn pop_by<T: Message>(
            consumer: &mut Self::Consumer<T>,
            how: How,
        ) -> Result<T, PopWaitError> {
            let mut message = T::zeroed();
            let record = bytemuck::bytes_of_mut(&mut message);
            let popped = match how {
                How::Wait => consumer.pop_wait(record),
                How::Timeout(timeout) => consumer.pop_timeout(record, timeout),
                How::Deadline(deadline) => consumer.pop_deadline(record, deadline),
                How::Interruptible(deadline) => consumer.pop_interruptible(record, deadline),
                How::Before(deadline) => {
                    consumer.wait(deadline).and_then(|()| Ok(consumer.pop(record)?))
                }
            };
            assert_eq!(popped.map_err(not_popped_in_time)?, (TAG, size_of::<T>()));
            Ok(message)
        }

        /// One record after the other.
        fn push_slice<T: Message>(
            producer: &mut Self::Producer<T>,
            messages: &[T],
        ) -> Result<usize, PushError<()>> {
            for (pushed, &message) in messages.iter().enumerate() {
                match Self::push(producer, message) {
                    Ok(()) => {}
                    Err(PushError::Full(_)) if pushed > 0 => return Ok(pushed),
                    Err(PushError::Disconnected(_)) if pushed > 0 => return Ok(pushed),
                    Err(PushError::Full(_)) => return Err(PushError::Full(())),
                    Err(PushError::Disconnected(_)) => return Err(PushError::Disconnected(())),
                    Err(PushError::Corrupt(_)) => return Err(PushError::Corrupt(())),
                }
            }
            Ok(messages.len())
        }

        /// A batch.
        fn pop_slice<T: Message>(
            consumer: &mut Self::Consumer<T>,
            messages: &mut [T],
        ) -> Result<usize, PopError> {
            if messages.is_empty() {
                return Ok(0);
            }
            let mut batch = consumer.batch().map_err(not_popped)?;
            for message in messages {
                match batch.copy_next(bytemuck::bytes_of_mut(message)).map_err(not_popped)? {
                    Some(found) => assert_eq!(found, (TAG, size_of::<T>())),
                    None => break,
                }
            }
            let count = batch.count();
            batch.release();
            Ok(count)
        }

        fn peer_of_producer<T: Message>(producer: &Self::Producer<T>) -> Peer {
            producer.peer()
        }

        fn peer_of_consumer<T: Message>(consumer: &Self::Consumer<T>) -> Peer {
            consumer.peer()
        }

        fn words<T: Message>(capacity: usize) -> Vec<u64> {
            Indexed::words::<T>(capacity)
        }

        fn word(start: u64) -> u64 {
            Indexed::word(start)
        }
    };
}

impl TestRing for Bytes {
    ring_of_records!("bytes", Trusted, producer, consumer);
}

impl TestRing for UntrustedBytes {
    ring_of_records!("untrusted bytes", Untrusted, untrusted_producer, untrusted_consumer);
}

/// Where rings begin: their numbers wrap around at 32, 63 and 64 bits.
pub fn starts(capacity: usize) -> [u64; 4] {
    [0, (1 << 32) - 2, (1 << 63) - 2, u64::MAX - capacity as u64]
}

thread_local! {
    static AGE: Cell<usize> = const { Cell::new(0) };
}

/// Runs `test` on rings that begin at each of the [`starts`], instead of at 0.
pub fn at_every_age(test: impl Fn()) {
    let mut ran = 0;
    for age in 0..starts(1).len() {
        AGE.set(age);
        test();
        ran += 1;
    }
    AGE.set(0);
    assert_eq!(ran, 4, "at 0, and before 32, 63 and 64 bits are over");
}

/// Whether rings begin where their numbers are about to wrap around.
pub fn is_old() -> bool {
    AGE.get() > 0
}

/// Where a ring of this capacity begins now, `later` than it would.
fn start(capacity: usize, later: u64) -> u64 {
    starts(capacity)[AGE.get()].wrapping_add(later)
}

/// Makes a new ring as old as rings are now: as if so many messages had gone through.
fn aged<R: TestRing, T: Message>(
    ring: Result<R::Ring<T>, RingError>,
    capacity: usize,
) -> Result<R::Ring<T>, RingError> {
    let ring = ring?;
    if is_old() {
        let file = File::from(R::fd(&ring));
        let words = R::words_at::<T>(R::capacity(&ring), start(capacity, 0));
        // All at once, for a large ring has a million of them.
        let (first, last) = (words[0].0, words[words.len() - 1].0);
        let mut bytes = vec![1; (last - first) as usize + 8];
        file.read_exact_at(&mut bytes, first).expect("the words of the ring");
        for (offset, word) in words {
            let bytes = &mut bytes[(offset - first) as usize..][..8];
            assert_eq!(bytes, [0; 8], "where a new ring's numbers are");
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        file.write_all_at(&bytes, first).expect("the words of the ring");
    }
    Ok(ring)
}
