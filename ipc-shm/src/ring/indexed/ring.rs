//! [`Ring`]: the positions, the slots and the roles, wherever they are.

use core::fmt;

use bytemuck::Pod;
#[cfg(not(loom))]
use rustix::fd::{BorrowedFd, OwnedFd};

use super::{Consumer, Producer};
use crate::layout::{Indexes, Payload};
use crate::ring::error::check_power_of_two;
use crate::ring::pollable::Sockets;
use crate::ring::role::Party;
use crate::ring::{RingError, RoleError, Untrusted, home};
#[cfg(not(loom))]
use crate::{AttachError, Kind, PlaceError, Plan, Region};

#[cfg(any(feature = "alloc", loom))]
use ipc_core::primitive::UnsafeCell;

type Home<'r, T> = home::Home<'r, Indexes, Payload<T>>;

/// A ring for one producer and one consumer, before its roles are claimed.
///
/// `T` is plain data. The ring holds exactly `capacity` messages, a power of two.
///
/// [`producer`](Self::producer) and [`consumer`](Self::consumer) claim the two ends, in this process or in others,
/// once each. The ring itself can be dropped when both have been claimed, or kept to attach anew after a death.
///
/// # Examples
///
/// ```
/// use ipc_shm::ring::{PopError, indexed::Ring};
///
/// let ring = Ring::<u64>::create(4)?;
/// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
/// assert_eq!(producer.push_slice(&[1, 2, 3, 4, 5])?, 4);
/// let mut messages = [0; 8];
/// assert_eq!(consumer.pop_slice(&mut messages)?, 4);
/// assert_eq!(messages[..4], [1, 2, 3, 4]);
/// assert_eq!(consumer.pop(), Err(PopError::Empty));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Ring<'r, T: Pod + Send> {
    home: Home<'r, T>,
}

static_assertions::assert_impl_all!(Ring<'static, u64>: Send, Sync);

#[cfg(not(loom))]
impl<T: Pod + Send> Ring<'static, T> {
    /// A new ring in a region of its own, for `capacity` messages.
    ///
    /// # Errors
    ///
    /// [`RingError`]; [`NotAPowerOfTwo`](RingError::NotAPowerOfTwo) for such a capacity.
    pub fn create(capacity: usize) -> Result<Self, RingError> {
        check_power_of_two(capacity)?;
        Ok(Self { home: Home::create(Kind::Indexed, capacity)? })
    }

    /// The ring in a region that came from another process: see [`Region::from_fd`].
    ///
    /// # Errors
    ///
    /// [`AttachError`]: [`Kind`](AttachError::Kind) for another kind of region, [`Layout`](AttachError::Layout) for a
    /// ring of another type, [`Corrupt`](AttachError::Corrupt) if its capacity is not a power of two, else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{AttachError, ring::{indexed, spsc}};
    ///
    /// let ring = indexed::Ring::<u64>::create(8)?;
    /// let fd = || ring.as_fd().unwrap().try_clone_to_owned();
    /// assert_eq!(indexed::Ring::<u64>::from_fd(fd()?)?.capacity(), 8);
    /// let error = spsc::Ring::<u64>::from_fd(fd()?).unwrap_err();
    /// assert!(matches!(error, AttachError::Kind { .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        let home = Home::from_fd(Kind::Indexed, fd)?;
        if check_power_of_two(home.capacity()).is_err() {
            return Err(AttachError::Corrupt);
        }
        Ok(Self { home })
    }
}

#[cfg(any(feature = "alloc", loom))]
impl<T: Pod + Send> Ring<'static, T> {
    /// A new ring on the heap, for `capacity` messages between threads of this process.
    ///
    /// # Errors
    ///
    /// [`RingError::ZeroCapacity`], [`RingError::NotAPowerOfTwo`] or [`RingError::OutOfMemory`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::indexed::Ring;
    ///
    /// let ring = Ring::<u64>::boxed(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push(7)?;
    /// assert_eq!(consumer.pop()?, 7);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn boxed(capacity: usize) -> Result<Self, RingError> {
        Self::boxed_at(capacity, 0)
    }

    /// As [`boxed`](Self::boxed), as if `start` messages had gone through: for tests of very old rings.
    #[doc(hidden)]
    pub fn boxed_at(capacity: usize, start: u64) -> Result<Self, RingError> {
        check_power_of_two(capacity)?;
        let slots = (0..capacity).map(|_| Payload(UnsafeCell::new(T::zeroed())));
        Ok(Self { home: Home::boxed(Indexes::at(start), slots)? })
    }
}

impl<'r, T: Pod + Send> Ring<'r, T> {
    /// The ring at `place` of a larger region.
    ///
    /// # Errors
    ///
    /// [`PlaceError::NotHere`] if the region was not made with this place.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, Region, ring::indexed::{Ring, RingPlace}};
    ///
    /// let mut plan = Plan::new();
    /// let place = RingPlace::<u64>::plan(&mut plan, 16)?;
    /// let region = Region::planned(&plan)?;
    /// let mut producer = Ring::in_region(&region, place)?.producer()?;
    /// assert_eq!(producer.push_slice(&[1, 2, 3])?, 3);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(not(loom))]
    pub fn in_region(region: &'r Region, place: RingPlace<T>) -> Result<Self, PlaceError> {
        let home = Home::in_region(region, place.0)?;
        // No plan of ours is like this.
        if check_power_of_two(home.capacity()).is_err() {
            return Err(PlaceError::NotHere);
        }
        Ok(Self { home })
    }

    /// The ring made of `indexes` and `slots`, whose number is a power of two.
    #[cfg(not(loom))]
    pub(super) fn of(indexes: &'r Indexes, slots: &'r [Payload<T>]) -> Self {
        Self { home: Home::of(indexes, slots) }
    }

    /// The ring, [pollable](crate::ring::pollable) by these: every process that takes an end of it needs them.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{RoleError, pollable::Sockets, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let fd = || ring.as_fd().unwrap().try_clone_to_owned();
    /// let with = Ring::<u64>::from_fd(fd()?)?.with_sockets(Sockets::pair()?);
    /// let producer = with.producer()?;
    /// assert_eq!(ring.consumer().unwrap_err(), RoleError::NoSocket);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_sockets(self, sockets: Sockets) -> Self {
        Self { home: self.home.with_sockets(sockets) }
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
    pub fn producer(&self) -> Result<Producer<'r, T>, RoleError> {
        Producer::claim(self.home.hold()?, self.home.line(Party::Producer)?)
    }

    /// Becomes the ring's consumer, where the last one stopped.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer).
    pub fn consumer(&self) -> Result<Consumer<'r, T>, RoleError> {
        Consumer::claim(self.home.hold()?, self.home.line(Party::Consumer)?)
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
    /// ```
    /// use ipc_shm::ring::indexed::Ring;
    ///
    /// let ring = Ring::<u32>::create(8)?;
    /// let mut consumer = ring.untrusted_consumer()?;
    /// ring.untrusted_producer()?.push_slice(&[7, 8])?;
    /// let mut messages = [0; 8];
    /// assert_eq!((consumer.pop_slice(&mut messages)?, &messages[..2]), (2, &[7, 8][..]));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// It lends nothing out of the ring, for the peer could change it at any time:
    ///
    /// ```compile_fail,E0599
    /// let ring = ipc_shm::ring::indexed::Ring::<u32>::create(8).unwrap();
    /// let mut producer = ring.untrusted_producer().unwrap();
    /// let slots = producer.reserve(1);
    /// ```
    ///
    /// ```compile_fail,E0599
    /// let ring = ipc_shm::ring::indexed::Ring::<u32>::create(8).unwrap();
    /// let mut consumer = ring.untrusted_consumer().unwrap();
    /// let messages = consumer.peek(1);
    /// ```
    pub fn untrusted_producer(&self) -> Result<Producer<'r, T, Untrusted>, RoleError> {
        Producer::claim(self.home.hold_sealed()?, self.home.line(Party::Producer)?)
    }

    /// Becomes the ring's consumer, and believes nothing that the other side may have written.
    ///
    /// # Errors
    ///
    /// As [`untrusted_producer`](Self::untrusted_producer).
    pub fn untrusted_consumer(&self) -> Result<Consumer<'r, T, Untrusted>, RoleError> {
        Consumer::claim(self.home.hold_sealed()?, self.home.line(Party::Consumer)?)
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.home.capacity()
    }

    /// The memfd of a ring that has a region of its own, to be sent to another process.
    #[cfg(not(loom))]
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.home.as_fd()
    }
}

impl<T: Pod + Send> fmt::Debug for Ring<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// A ring as a part of a larger region: see [`Ring::in_region`].
#[cfg(not(loom))]
#[derive(Debug)]
pub struct RingPlace<T>(pub(crate) home::Places<Indexes, Payload<T>>);

#[cfg(not(loom))]
impl<T> Clone for RingPlace<T> {
    fn clone(&self) -> Self {
        *self
    }
}

#[cfg(not(loom))]
impl<T> Copy for RingPlace<T> {}

#[cfg(not(loom))]
static_assertions::assert_impl_all!(RingPlace<u64>: Send, Sync, Copy);

#[cfg(not(loom))]
impl<T: Pod + Send> RingPlace<T> {
    /// Plans a ring for `capacity` messages. It takes two of the plan's places.
    ///
    /// # Errors
    ///
    /// As [`Ring::create`], without those of a region.
    pub fn plan(plan: &mut Plan, capacity: usize) -> Result<Self, RingError> {
        check_power_of_two(capacity)?;
        home::Places::plan(plan, capacity).map(Self)
    }
}
