//! [`Ring`]: the slots and the roles, wherever they are.
//!
//! # Safety
//!
//! A [`RawRing`] points to roles and to slots that whoever made it keeps alive beside it: a
//! region of its own, a borrowed region, or an allocation.
#![expect(unsafe_code, reason = "turns places and allocations into slots")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::Pod;
use ipc_core::primitive::Ordering;
#[cfg(not(loom))]
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::{Consumer, Producer};
use crate::layout::{Roles, Slot};
#[cfg(not(loom))]
use crate::region::Mapping;
use crate::ring::{RingError, RoleError};
#[cfg(not(loom))]
use crate::{AttachError, Kind, Place, PlaceError, Plan, PlanError, Region};

#[cfg(any(feature = "alloc", loom))]
use {
    crate::layout::LAP,
    alloc::{sync::Arc, vec::Vec},
    ipc_core::identity::DomainCell,
    ipc_core::primitive::{AtomicU64, UnsafeCell},
};

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

/// Where a ring is.
enum Home<'r, T> {
    #[cfg(not(loom))]
    Own(Region, RingPlace<T>),
    #[cfg(not(loom))]
    In(RawRing<T>, PhantomData<&'r Roles>),
    #[cfg(any(feature = "alloc", loom))]
    Heap(Arc<Heap<T>>),
    #[cfg(loom)]
    #[expect(dead_code, reason = "the model has no regions")]
    Nowhere(PhantomData<&'r T>),
}

// SAFETY: regions and allocations can be shared and sent, and so can slots and roles.
unsafe impl<T: Pod + Send> Send for Home<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Pod + Send> Sync for Home<'_, T> {}

static_assertions::assert_impl_all!(Ring<'static, u64>: Send, Sync);

#[cfg(not(loom))]
impl<T: Pod + Send> Ring<'static, T> {
    /// A new ring in a region of its own, for `capacity` messages.
    ///
    /// # Errors
    ///
    /// [`RingError`].
    pub fn create(capacity: usize) -> Result<Self, RingError> {
        let mut plan = Plan::of_kind(Kind::Spsc);
        let place = RingPlace::plan(&mut plan, capacity)?;
        let region = Region::planned(&plan).map_err(RingError::Region)?;
        Ok(Self { home: Home::Own(region, place) })
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
        let region = Region::from_fd(fd)?;
        let (found, expected) = (region.kind(), Kind::Spsc);
        if found != expected {
            return Err(AttachError::Kind { found, expected });
        }
        match (region.place(0), region.place(1)) {
            (Ok(roles), Ok(slots)) => {
                Ok(Self { home: Home::Own(region, RingPlace { roles, slots }) })
            }
            _ => {
                let mut plan = Plan::of_kind(Kind::Spsc);
                // Which capacity we would have expected is unknown; the type is what differs.
                RingPlace::<T>::plan(&mut plan, 1).map_err(|_| AttachError::Corrupt)?;
                let (found, expected) = (region.layout_hash(), plan.hash());
                Err(AttachError::Layout { found, expected })
            }
        }
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
        if capacity == 0 {
            return Err(RingError::ZeroCapacity);
        }
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity).map_err(|_| RingError::OutOfMemory)?;
        slots.extend((0..capacity).map(|_| Slot {
            sequence: AtomicU64::new(laps.wrapping_mul(LAP)),
            payload: UnsafeCell::new(T::zeroed()),
        }));
        let roles = Roles {
            producer: AtomicU64::new(0),
            consumer: AtomicU64::new(0),
            domain: DomainCell::new(false),
        };
        Ok(Self { home: Home::Heap(Arc::new(Heap { roles, slots })) })
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
        let (roles, slots) = (region.get(place.roles)?, region.slice(place.slots)?);
        Ok(Self::of(roles, slots))
    }

    /// The ring made of `roles` and `slots`, of which there is at least one.
    #[cfg(not(loom))]
    pub(super) fn of(roles: &'r Roles, slots: &'r [Slot<T>]) -> Self {
        Self { home: Home::In(RawRing::new(roles, slots), PhantomData) }
    }

    /// Becomes the ring's producer, where the last one stopped.
    ///
    /// # Errors
    ///
    /// [`RoleError::Taken`] while a process that may be alive has this end, else see [`RoleError`].
    pub fn producer(&self) -> Result<Producer<'r, T>, RoleError> {
        let (ring, keep) = self.keep()?;
        Producer::claim(ring, keep)
    }

    /// Becomes the ring's consumer, where the last one stopped.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer).
    pub fn consumer(&self) -> Result<Consumer<'r, T>, RoleError> {
        let (ring, keep) = self.keep()?;
        Consumer::claim(ring, keep)
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match &self.home {
            #[cfg(not(loom))]
            Home::Own(_, place) => place.slots.count(),
            #[cfg(not(loom))]
            Home::In(ring, _) => ring.slots.len(),
            #[cfg(any(feature = "alloc", loom))]
            Home::Heap(heap) => heap.slots.len(),
            #[cfg(loom)]
            Home::Nowhere(_) => 0,
        }
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
        match &self.home {
            Home::Own(region, _) => Some(region.as_fd()),
            Home::In(..) => None,
            #[cfg(feature = "alloc")]
            Home::Heap(_) => None,
        }
    }

    /// The slots once more, and what keeps them alive, for a handle.
    fn keep(&self) -> Result<(RawRing<T>, Keep<'r, T>), RoleError> {
        match &self.home {
            #[cfg(not(loom))]
            Home::Own(region, place) => {
                let map = region.map_again().map_err(RoleError::Os)?;
                let at = |offset: usize| map.at(crate::layout::PAYLOAD + offset);
                let first = at(place.slots.offset()).cast();
                let slots = NonNull::slice_from_raw_parts(first, place.slots.count());
                let ring = RawRing { roles: at(place.roles.offset()).cast(), slots };
                Ok((ring, Keep::Own(map)))
            }
            #[cfg(not(loom))]
            Home::In(ring, _) => Ok((*ring, Keep::In(PhantomData))),
            #[cfg(any(feature = "alloc", loom))]
            Home::Heap(heap) => {
                Ok((RawRing::new(&heap.roles, &heap.slots), Keep::Heap(Arc::clone(heap))))
            }
            #[cfg(loom)]
            Home::Nowhere(_) => Err(RoleError::Corrupt),
        }
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
pub struct RingPlace<T> {
    pub(crate) roles: Place<Roles>,
    pub(crate) slots: Place<Slot<T>>,
}

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
        if capacity == 0 {
            return Err(RingError::ZeroCapacity);
        }
        let place = |plan: &mut Plan| -> Result<Self, PlanError> {
            Ok(Self { roles: plan.one()?, slots: plan.array(capacity)? })
        };
        place(plan).map_err(RingError::Plan)
    }
}

/// The roles and the slots of a ring that somebody else keeps alive.
#[derive(Debug)]
pub(super) struct RawRing<T> {
    roles: NonNull<Roles>,
    slots: NonNull<[Slot<T>]>,
}

/// Where one side stands: how many laps it has done, and the slots of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) lap: u64,
    pub(super) index: usize,
}

impl<T> RawRing<T> {
    fn new(roles: &Roles, slots: &[Slot<T>]) -> Self {
        Self { roles: roles.into(), slots: slots.into() }
    }

    pub(super) fn roles(&self) -> &Roles {
        // SAFETY: alive beside this, see the head of the file.
        unsafe { self.roles.as_ref() }
    }

    #[inline(always)]
    pub(super) fn slots(&self) -> NonNull<[Slot<T>]> {
        self.slots
    }

    /// The position of a side whose next lap in a slot is `lap_of(sequence)`; `None` if no history
    /// of a ring leads to these sequences.
    ///
    /// Only that side, or whoever has just become it, may ask: nobody else changes the answer.
    pub(super) fn position(&self, lap_of: impl Fn(u64) -> u64) -> Option<Position> {
        // SAFETY: alive beside this, see the head of the file.
        let slots = unsafe { self.slots.as_ref() };
        // SYNC: what the last owner did to the slots is seen through its end; this orders the rest.
        let mut laps = slots.iter().map(|slot| lap_of(slot.sequence.load(Ordering::Acquire)));
        let ahead = laps.next()?;
        // Laps are numbers of 63 bits.
        let behind = ahead.wrapping_sub(1) & (u64::MAX >> 1);
        let mut found = None;
        for (lap, index) in laps.zip(1..) {
            match found {
                None if lap == ahead => {}
                None if lap == behind => found = Some(Position { lap, index }),
                Some(_) if lap == behind => {}
                _ => return None,
            }
        }
        Some(found.unwrap_or(Position { lap: ahead, index: 0 }))
    }
}

impl<T> Clone for RawRing<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RawRing<T> {}

/// What keeps the slots of a handle alive.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
pub(super) enum Keep<'r, T> {
    #[cfg(not(loom))]
    Own(Mapping),
    In(PhantomData<&'r T>),
    #[cfg(any(feature = "alloc", loom))]
    Heap(Arc<Heap<T>>),
}

/// A ring on the heap.
#[cfg(any(feature = "alloc", loom))]
#[derive(Debug)]
pub(super) struct Heap<T> {
    roles: Roles,
    slots: Vec<Slot<T>>,
}
