//! [`Ring`]: the slots and the roles, wherever they are.

use core::fmt;

use bytemuck::Pod;
use ipc_core::primitive::Ordering;
#[cfg(not(loom))]
use rustix::fd::{BorrowedFd, OwnedFd};

use super::{Consumer, Producer};
use crate::layout::{Roles, Slot};
use crate::ring::pollable::Sockets;
use crate::ring::role::Party;
use crate::ring::{RingError, RoleError, Untrusted, home};
#[cfg(not(loom))]
use crate::{AttachError, Kind, PlaceError, Plan, Region};

#[cfg(any(feature = "alloc", loom))]
use {
    crate::layout::LAP,
    ipc_core::primitive::{AtomicU64, UnsafeCell},
};

type Home<'r, T> = home::Home<'r, Roles, Slot<T>>;
pub(super) type Held<'r, T> = home::Held<'r, Roles, Slot<T>>;

/// A ring for one producer and one consumer, before its roles are claimed.
///
/// `T` is plain data, copied in and out. With `T` of 56 bytes a slot is one cache line; other sizes
/// work as well. The ring holds exactly `capacity` messages.
///
/// [`producer`](Self::producer) and [`consumer`](Self::consumer) claim the two ends, in this
/// process or in others, once each. The ring itself can be dropped when both have been claimed, or
/// kept to attach anew after a death.
///
/// # Examples
///
/// ```
/// use ipc_shm::ring::{PopError, spsc::Ring};
///
/// let ring = Ring::<u64>::create(2)?;
/// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
/// producer.push(1)?;
/// producer.push(2)?;
/// assert_eq!(producer.push(3).unwrap_err().into_inner(), 3);
/// assert_eq!((consumer.pop()?, consumer.pop()?), (1, 2));
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
    /// [`RingError`].
    pub fn create(capacity: usize) -> Result<Self, RingError> {
        Ok(Self { home: Home::create(Kind::Spsc, capacity)? })
    }

    /// The ring in a region that came from another process: see [`Region::from_fd`].
    ///
    /// # Errors
    ///
    /// [`AttachError`]: [`Kind`](AttachError::Kind) for another kind of region,
    /// [`Layout`](AttachError::Layout) for a ring of another type, else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{AttachError, ring::spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let fd = || ring.as_fd().unwrap().try_clone_to_owned();
    /// assert_eq!(Ring::<u64>::from_fd(fd()?)?.capacity(), 8);
    /// let error = Ring::<[u64; 2]>::from_fd(fd()?).unwrap_err();
    /// assert!(matches!(error, AttachError::Layout { .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        Ok(Self { home: Home::from_fd(Kind::Spsc, fd)? })
    }
}

#[cfg(any(feature = "alloc", loom))]
impl<T: Pod + Send> Ring<'static, T> {
    /// A new ring on the heap, for `capacity` messages between threads of this process.
    ///
    /// # Errors
    ///
    /// [`RingError::ZeroCapacity`] or [`RingError::OutOfMemory`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::spsc::Ring;
    ///
    /// let ring = Ring::<u64>::boxed(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// let sum = std::thread::spawn(move || {
    ///     (0..10).map(|_| loop { if let Ok(n) = consumer.pop() { break n } }).sum::<u64>()
    /// });
    /// (0..10).for_each(|n| producer.push(n).unwrap());
    /// assert_eq!(sum.join().unwrap(), 45);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn boxed(capacity: usize) -> Result<Self, RingError> {
        Self::boxed_at(capacity, 0)
    }

    /// As [`boxed`](Self::boxed), as if `laps` laps were over: for tests of very old rings.
    #[doc(hidden)]
    pub fn boxed_at(capacity: usize, laps: u64) -> Result<Self, RingError> {
        let slots = (0..capacity).map(|_| Slot {
            sequence: AtomicU64::new(laps.wrapping_mul(LAP)),
            payload: UnsafeCell::new(T::zeroed()),
        });
        Ok(Self { home: Home::boxed(Roles::new(), slots)? })
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
    /// use ipc_shm::{Plan, Region, ring::spsc::{Ring, RingPlace}};
    ///
    /// let mut plan = Plan::new();
    /// let there = RingPlace::<u64>::plan(&mut plan, 16)?;
    /// let back = RingPlace::<u32>::plan(&mut plan, 16)?;
    /// let region = Region::planned(&plan)?;
    /// let mut ask = Ring::in_region(&region, there)?.producer()?;
    /// let mut answer = Ring::in_region(&region, back)?.consumer()?;
    /// ask.push(7)?;
    /// assert!(answer.pop().is_err());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(not(loom))]
    pub fn in_region(region: &'r Region, place: RingPlace<T>) -> Result<Self, PlaceError> {
        Ok(Self { home: Home::in_region(region, place.0)? })
    }

    /// The ring made of `roles` and `slots`, of which there is at least one.
    #[cfg(not(loom))]
    pub(super) fn of(roles: &'r Roles, slots: &'r [Slot<T>]) -> Self {
        Self { home: Home::of(roles, slots) }
    }

    /// The ring, [pollable](crate::ring::pollable) by these: every process that takes an end of it needs them.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{RoleError, pollable::Sockets, spsc::Ring};
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
    /// use ipc_shm::ring::{Untrusted, spsc::{Consumer, Ring}};
    ///
    /// let ring = Ring::<[u8; 128]>::create(8)?;
    /// let mut consumer: Consumer<'_, _, Untrusted> = ring.untrusted_consumer()?;
    /// ring.untrusted_producer()?.push([7; 128])?;
    /// assert_eq!(consumer.pop()?, [7; 128]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
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
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::spsc::Ring;
    ///
    /// assert!(Ring::<u64>::create(1)?.as_fd().is_some());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
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
pub struct RingPlace<T>(pub(crate) home::Places<Roles, Slot<T>>);

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
    /// [`RingError::ZeroCapacity`], or [`RingError::Plan`].
    pub fn plan(plan: &mut Plan, capacity: usize) -> Result<Self, RingError> {
        home::Places::plan(plan, capacity).map(Self)
    }
}

/// Where one side stands: how many laps it has done, and the slots of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) lap: u64,
    pub(super) index: usize,
}

impl Position {
    /// The position of a side whose next lap in a slot is `lap_of(sequence)`; `None` if no history
    /// of a ring leads to these sequences.
    ///
    /// Only that side, or whoever has just become it, may ask: nobody else changes the answer.
    pub(super) fn find<T>(slots: &[Slot<T>], lap_of: impl Fn(u64) -> u64) -> Option<Self> {
        // SYNC: what the last owner did to the slots is seen through its end; this orders the rest.
        let mut laps = slots.iter().map(|slot| lap_of(slot.sequence.load(Ordering::Acquire)));
        let ahead = laps.next()?;
        // Laps are numbers of 63 bits.
        let behind = ahead.wrapping_sub(1) & (u64::MAX >> 1);
        let mut found = None;
        for (lap, index) in laps.zip(1..) {
            match found {
                None if lap == ahead => {}
                None if lap == behind => found = Some(Self { lap, index }),
                Some(_) if lap == behind => {}
                _ => return None,
            }
        }
        Some(found.unwrap_or(Self { lap: ahead, index: 0 }))
    }
}
