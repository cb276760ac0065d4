//! [`Ring`]: the words, wherever they are.

use core::fmt;

#[cfg(not(loom))]
use rustix::fd::{BorrowedFd, OwnedFd};

use super::record::{self, WORD};
use super::{Consumer, Producer};
use crate::layout::{Indexes, Payload};
use crate::ring::indexed::end::Held;
use crate::ring::pollable::Sockets;
use crate::ring::role::Party;
use crate::ring::{RingError, RoleError, Untrusted, home};
#[cfg(not(loom))]
use crate::{
    AttachError, Kind, PlaceError, Plan, Region,
    layout::{LINE, MAX_ALIGN},
};

#[cfg(any(feature = "alloc", loom))]
use ipc_core::primitive::UnsafeCell;

type Home<'r> = home::Home<'r, Indexes, Payload<u64>>;

/// A ring of records, before its roles are claimed.
///
/// Its capacity is in bytes, a power of two from 8 on. A record takes 8 bytes of header, and its own bytes rounded up
/// to a multiple of 8; the longest one fills an empty ring.
///
/// [`producer`](Self::producer) and [`consumer`](Self::consumer) claim the two ends, in this process or in others,
/// once each. The ring itself can be dropped when both have been claimed, or kept to attach anew after a death.
///
/// # Examples
///
/// ```
/// use ipc_shm::ring::bytes::{PopError, Ring};
///
/// let ring = Ring::create(4096)?;
/// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
/// producer.push(1, b"a record")?;
/// producer.push(2, b"another, longer one")?;
/// assert_eq!(consumer.pop_vec()?, (1, b"a record".to_vec()));
/// assert_eq!(consumer.pop_vec()?, (2, b"another, longer one".to_vec()));
/// assert_eq!(consumer.pop_vec(), Err(PopError::Empty));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Ring<'r> {
    home: Home<'r>,
    /// Whether its ends map the words twice in a row.
    in_a_row: bool,
}

static_assertions::assert_impl_all!(Ring<'static>: Send, Sync);

#[cfg(not(loom))]
impl Ring<'static> {
    /// A new ring in a region of its own, of `capacity` bytes.
    ///
    /// # Errors
    ///
    /// [`RingError`]: [`ZeroCapacity`](RingError::ZeroCapacity), [`NotAPowerOfTwo`](RingError::NotAPowerOfTwo) also for
    /// fewer than 8 bytes, else as there.
    pub fn create(capacity: usize) -> Result<Self, RingError> {
        let words = words(capacity)?;
        // From a page on it may be mapped twice. Whole pages of 4096 bytes are that on most machines.
        let align = capacity.clamp(LINE, MAX_ALIGN);
        Ok(Self::new(Home::create_at(align, Kind::Bytes, words)?))
    }

    /// The ring in a region that came from another process: see [`Region::from_fd`].
    ///
    /// # Errors
    ///
    /// [`AttachError`]: [`Kind`](AttachError::Kind) for another kind of region, [`Corrupt`](AttachError::Corrupt) if its
    /// capacity is not a power of two, else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{AttachError, ring::{bytes, spsc}};
    ///
    /// let ring = bytes::Ring::create(4096)?;
    /// let fd = || ring.as_fd().unwrap().try_clone_to_owned();
    /// assert_eq!(bytes::Ring::from_fd(fd()?)?.capacity(), 4096);
    /// let error = spsc::Ring::<u64>::from_fd(fd()?).unwrap_err();
    /// assert!(matches!(error, AttachError::Kind { .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        let home = Home::from_fd(Kind::Bytes, fd)?;
        if !home.capacity().is_power_of_two() {
            return Err(AttachError::Corrupt);
        }
        Ok(Self::new(home))
    }
}

#[cfg(any(feature = "alloc", loom))]
impl Ring<'static> {
    /// A new ring of `capacity` bytes on the heap, between threads of this process. It is never
    /// [contiguous](Self::is_contiguous).
    ///
    /// # Errors
    ///
    /// [`RingError::ZeroCapacity`], [`RingError::NotAPowerOfTwo`] or [`RingError::OutOfMemory`].
    pub fn boxed(capacity: usize) -> Result<Self, RingError> {
        Self::boxed_at(capacity, 0)
    }

    /// As [`boxed`](Self::boxed), as if `start` words had gone through: for tests of very old rings.
    #[doc(hidden)]
    pub fn boxed_at(capacity: usize, start: u64) -> Result<Self, RingError> {
        let words = (0..words(capacity)?).map(|_| Payload(UnsafeCell::new(0)));
        Ok(Self::new(Home::boxed(Indexes::at(start), words)?))
    }
}

impl<'r> Ring<'r> {
    /// The ring at `place` of a larger region. It is never [contiguous](Self::is_contiguous).
    ///
    /// # Errors
    ///
    /// [`PlaceError::NotHere`] if the region was not made with this place.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, Region, ring::bytes::{Ring, RingPlace}};
    ///
    /// let mut plan = Plan::new();
    /// let there = RingPlace::plan(&mut plan, 1024)?;
    /// let back = RingPlace::plan(&mut plan, 64)?;
    /// let region = Region::planned(&plan)?;
    /// let mut ask = Ring::in_region(&region, there)?.producer()?;
    /// let mut answer = Ring::in_region(&region, back)?.consumer()?;
    /// ask.push(7, b"what is the time?")?;
    /// assert!(answer.pop_vec().is_err());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(not(loom))]
    pub fn in_region(region: &'r Region, place: RingPlace) -> Result<Self, PlaceError> {
        let home = Home::in_region(region, place.0)?;
        // No plan of ours is like this.
        if !home.capacity().is_power_of_two() {
            return Err(PlaceError::NotHere);
        }
        Ok(Self::new(home))
    }

    /// The ring made of `indexes` and `words`, whose number is a power of two.
    #[cfg(not(loom))]
    pub(super) fn of(indexes: &'r Indexes, words: &'r [Payload<u64>]) -> Self {
        Self::new(Home::of(indexes, words))
    }

    fn new(home: Home<'r>) -> Self {
        let in_a_row = home.can_be_in_a_row();
        Self { home, in_a_row }
    }

    /// The same as if the pages of this machine were too large: for tests of such a peer.
    #[doc(hidden)]
    #[must_use]
    pub fn split(self) -> Self {
        Self { in_a_row: false, ..self }
    }

    fn hold(&self) -> Result<Held<'r, u64>, RoleError> {
        if self.in_a_row { self.home.hold_in_a_row() } else { self.home.hold() }
    }

    /// The ring, [pollable](crate::ring::pollable) by these: every process that takes an end of it needs them.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{RoleError, pollable::Sockets, bytes::Ring};
    ///
    /// let ring = Ring::create(64)?;
    /// let fd = || ring.as_fd().unwrap().try_clone_to_owned();
    /// let with = Ring::from_fd(fd()?)?.with_sockets(Sockets::pair()?);
    /// let producer = with.producer()?;
    /// assert_eq!(ring.consumer().unwrap_err(), RoleError::NoSocket);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_sockets(self, sockets: Sockets) -> Self {
        Self { home: self.home.with_sockets(sockets), ..self }
    }

    /// The sockets of a pollable ring, to be sent to another process beside [`as_fd`](Self::as_fd).
    #[cfg(not(loom))]
    #[must_use]
    pub fn sockets(&self) -> &Sockets {
        self.home.sockets()
    }

    /// Becomes the ring's producer, where the last one stopped.
    ///
    /// # Errors
    ///
    /// [`RoleError::Taken`] while a process that may be alive has this end, else see [`RoleError`].
    pub fn producer(&self) -> Result<Producer<'r>, RoleError> {
        Producer::claim(self.hold()?, self.home.line(Party::Producer)?)
    }

    /// Becomes the ring's consumer, where the last one stopped.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer).
    pub fn consumer(&self) -> Result<Consumer<'r>, RoleError> {
        Consumer::claim(self.hold()?, self.home.line(Party::Consumer)?)
    }

    /// Becomes the ring's producer, and believes nothing that the other side may have written: see
    /// [the module](crate::ring#trust).
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer), and [`RoleError::NotSealed`] if the memory of the ring could be taken away.
    ///
    /// # Examples
    ///
    /// A host and the plugin that it does not trust:
    ///
    /// ```
    /// use ipc_shm::ring::bytes::{PopError, Ring};
    ///
    /// let ring = Ring::create(4096)?;
    /// let mut from_plugin = ring.untrusted_consumer()?;
    /// ring.producer()?.push(1, b"draw")?; // In the plugin's process.
    /// let mut message = [0; 256];
    /// match from_plugin.pop(&mut message) {
    ///     Ok((1, len)) => assert_eq!(&message[..len], b"draw"), // Ours now: it cannot change any more.
    ///     Ok((tag, _)) => println!("no such command: {tag}"),
    ///     Err(PopError::BufferTooSmall { len }) => println!("end it: it sends {len} bytes at once"),
    ///     Err(error) => println!("end it: {error}"),
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// It lends nothing out of the ring, for the peer could change it at any time:
    ///
    /// ```compile_fail,E0599
    /// let ring = ipc_shm::ring::bytes::Ring::create(64).unwrap();
    /// let mut producer = ring.untrusted_producer().unwrap();
    /// let room = producer.reserve(1);
    /// ```
    ///
    /// ```compile_fail,E0599
    /// let ring = ipc_shm::ring::bytes::Ring::create(64).unwrap();
    /// let mut consumer = ring.untrusted_consumer().unwrap();
    /// let record = consumer.peek();
    /// ```
    ///
    /// ```compile_fail,E0599
    /// let ring = ipc_shm::ring::bytes::Ring::create(64).unwrap();
    /// let mut consumer = ring.untrusted_consumer().unwrap();
    /// let mut batch = consumer.batch().unwrap();
    /// let record = batch.next_record();
    /// ```
    pub fn untrusted_producer(&self) -> Result<Producer<'r, Untrusted>, RoleError> {
        self.home.check_sealed()?;
        Producer::claim(self.hold()?, self.home.line(Party::Producer)?)
    }

    /// Becomes the ring's consumer, and believes nothing that the other side may have written.
    ///
    /// # Errors
    ///
    /// As [`untrusted_producer`](Self::untrusted_producer).
    pub fn untrusted_consumer(&self) -> Result<Consumer<'r, Untrusted>, RoleError> {
        self.home.check_sealed()?;
        Consumer::claim(self.hold()?, self.home.line(Party::Consumer)?)
    }

    /// How many bytes the ring has for records and their headers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.home.capacity() * WORD
    }

    /// How many bytes a record can have.
    #[must_use]
    pub fn max_record(&self) -> usize {
        record::max_len(self.home.capacity())
    }

    /// Whether each record is one slice to the ends that are claimed here: if the ring has a region of its own, and
    /// its words are whole pages of this machine.
    ///
    /// An end of it takes twice the addresses, and no more memory.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.in_a_row
    }

    /// The memfd of a ring that has a region of its own, to be sent to another process.
    #[cfg(not(loom))]
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.home.as_fd()
    }
}

impl fmt::Debug for Ring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// A ring as a part of a larger region: see [`Ring::in_region`].
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub struct RingPlace(pub(crate) home::Places<Indexes, Payload<u64>>);

#[cfg(not(loom))]
static_assertions::assert_impl_all!(RingPlace: Send, Sync, Copy);

#[cfg(not(loom))]
impl RingPlace {
    /// Plans a ring of `capacity` bytes. It takes two of the plan's places.
    ///
    /// # Errors
    ///
    /// As [`Ring::create`], without those of a region.
    pub fn plan(plan: &mut Plan, capacity: usize) -> Result<Self, RingError> {
        home::Places::plan(plan, words(capacity)?).map(Self)
    }
}

/// How many words `capacity` bytes are.
fn words(capacity: usize) -> Result<usize, RingError> {
    match capacity {
        0 => Err(RingError::ZeroCapacity),
        _ if !capacity.is_power_of_two() || capacity < WORD => {
            Err(RingError::NotAPowerOfTwo { capacity })
        }
        _ => Ok(capacity / WORD),
    }
}
