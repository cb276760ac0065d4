//! [`Ring`]: the slots, and who takes part, wherever they are.

use core::fmt;

use bytemuck::Pod;
#[cfg(not(loom))]
use rustix::fd::{BorrowedFd, OwnedFd};

use super::{Consumer, Producer};
use crate::layout::{Crowd, Slot};
use crate::ring::error::check_power_of_two;
use crate::ring::{RingError, RoleError, Untrusted, home};
#[cfg(not(loom))]
use crate::{AttachError, Kind, PlaceError, Plan, Region};

#[cfg(any(feature = "alloc", loom))]
use {
    super::word::Laps,
    ipc_core::primitive::{AtomicU64, UnsafeCell},
};

type Home<'r, T> = home::Home<'r, Crowd, Slot<T>>;
pub(super) type Held<'r, T> = home::Held<'r, Crowd, Slot<T>>;

/// A ring for many producers and many consumers, before they come.
///
/// `T` is plain data, copied in and out. The ring holds exactly `capacity` messages, a power of two.
///
/// [`producer`](Self::producer) and [`consumer`](Self::consumer) give ends, in this process or in others, to 128 of each at a
/// time. One thread uses one end.
///
/// # Examples
///
/// Four processes share out the work:
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::ring::mpmc::Ring;
///
/// let (tasks, results) = (Ring::<u64>::create(64)?, Ring::<u64>::create(64)?);
/// let mut producer = tasks.producer()?;
/// let mut workers = Vec::new();
/// for _ in 0..4 {
///     workers.push(fork_fn(|| {
///         let mut results = results.producer().expect("a place");
///         for task in tasks.consumer().expect("a place").messages() {
///             results.push_wait(task.expect("a task").pow(2)).expect("somebody reads");
///         }
///         0
///     })?);
/// }
/// let mut consumer = results.consumer()?;
/// for task in 1..=10 {
///     producer.push_wait(task)?;
/// }
/// drop(producer); // The workers end when nothing is left.
/// let sum = (1..=10).map(|_| consumer.pop_wait()).sum::<Result<u64, _>>()?;
/// assert_eq!(sum, 385);
/// for mut worker in workers {
///     assert!(worker.wait()?.success());
/// }
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
        Ok(Self { home: Home::create(Kind::Mpmc, capacity)? })
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
    /// use ipc_shm::{AttachError, ring::{mpmc, spsc}};
    ///
    /// let ring = mpmc::Ring::<u64>::create(8)?;
    /// let fd = || ring.as_fd().unwrap().try_clone_to_owned();
    /// assert_eq!(mpmc::Ring::<u64>::from_fd(fd()?)?.capacity(), 8);
    /// let error = spsc::Ring::<u64>::from_fd(fd()?).unwrap_err();
    /// assert!(matches!(error, AttachError::Kind { .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        let home = Home::from_fd(Kind::Mpmc, fd)?;
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
    /// use ipc_shm::ring::mpmc::Ring;
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
        let laps = Laps::new(capacity);
        let slots = (0..capacity).map(|index| {
            // Of the positions from the start on, the one that is this slot's.
            let ahead = (index as u64).wrapping_sub(start) & (laps.capacity() - 1);
            Slot {
                sequence: AtomicU64::new(laps.free(start.wrapping_add(ahead)).0),
                payload: UnsafeCell::new(T::zeroed()),
            }
        });
        Ok(Self { home: Home::boxed(Crowd::at(start), slots)? })
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
    /// use ipc_shm::{Plan, Region, ring::mpmc::{Ring, RingPlace}};
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

    /// The ring made of `crowd` and `slots`, whose number is a power of two.
    #[cfg(not(loom))]
    pub(super) fn of(crowd: &'r Crowd, slots: &'r [Slot<T>]) -> Self {
        Self { home: Home::of(crowd, slots) }
    }

    /// Becomes one of the ring's producers.
    ///
    /// # Errors
    ///
    /// [`RoleError::Crowded`] while all places are those of processes that may live, else see [`RoleError`].
    pub fn producer(&self) -> Result<Producer<'r, T>, RoleError> {
        Producer::join(self.home.hold()?)
    }

    /// Becomes one of the ring's consumers.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer).
    pub fn consumer(&self) -> Result<Consumer<'r, T>, RoleError> {
        Consumer::join(self.home.hold()?)
    }

    /// Becomes one of the ring's producers, and believes nothing that the others may have written: see
    /// [the module](crate::ring#trust).
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer), and [`RoleError::NotSealed`] if the memory of the ring could be taken away.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::mpmc::Ring;
    ///
    /// let ring = Ring::<u32>::create(8)?;
    /// let mut consumer = ring.untrusted_consumer()?;
    /// ring.untrusted_producer()?.push(7)?;
    /// assert_eq!(consumer.pop()?, 7);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// It lends nothing out of the ring, for a peer could change it at any time:
    ///
    /// ```compile_fail,E0599
    /// let ring = ipc_shm::ring::mpmc::Ring::<u32>::create(8).unwrap();
    /// let mut consumer = ring.untrusted_consumer().unwrap();
    /// let message = consumer.lease();
    /// ```
    pub fn untrusted_producer(&self) -> Result<Producer<'r, T, Untrusted>, RoleError> {
        Producer::join(self.home.hold_sealed()?)
    }

    /// Becomes one of the ring's consumers, and believes nothing that the others may have written.
    ///
    /// # Errors
    ///
    /// As [`untrusted_producer`](Self::untrusted_producer).
    pub fn untrusted_consumer(&self) -> Result<Consumer<'r, T, Untrusted>, RoleError> {
        Consumer::join(self.home.hold_sealed()?)
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
pub struct RingPlace<T>(pub(crate) home::Places<Crowd, Slot<T>>);

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
