//! [`ReadOnlyRegion`]: what others see of a region that one process alone can write.
//!
//! # Who may touch what
//!
//! | | the writer | everybody else |
//! |---|---|---|
//! | header, directory | before the descriptor is handed out | copies |
//! | payload | through its mapping, at any time | copies |
//!
//! | step of creation | killed behind it |
//! |---|---|
//! | the memfd gets its size and is sealed against any other | the memory goes with the process |
//! | mapped, filled | the same |
//! | sealed against every later writable mapping, every `write`, and further seals | the same; the descriptor is handed out only now |
//!
//! If the writer dies, its last values stay readable, and nobody can ever change them again.
//!
//! # Safety
//!
//! The mapping is readable only, so nothing but loads is done there: relaxed ones of at most eight bytes, which processors
//! with 64 bits have without writing. A reference into it lives for one load and is seen by nobody else. The writer may
//! change the values at any time: so they are atomics, or plain data copied by atomic words.
#![expect(unsafe_code, reason = "loads from a mapping that cannot be written")]

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use bytemuck::Pod;
use ipc_core::Shareable;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::attach::{self, Backing};
use super::view::{View, facts};
use super::{AttachError, PlaceError};
use crate::{Atomic, AtomicInteger, Place, Plan, RawValue};

/// A region as those see it who may not write to it; one process can, which made it by
/// [`Region::single_writer`](super::Region::single_writer).
///
/// Nobody else ever gets a writable mapping: the kernel refuses it, to hostile processes too, and also `write` and
/// punched holes. (A child that the writer forks has the writer's mapping, and so is a writer itself.) Those who read
/// need not trust the writer either: no access raises SIGBUS, and values come as copies. Each copy is of its own
/// moment: a value that is larger than eight bytes, or than its alignment, may be half old and half new, unless an atomic
/// says when it is whole.
///
/// It travels as a descriptor or, by the feature `serde`, inside an argument or a message.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use std::os::fd::AsFd;
/// use ipc_shm::{Atomic, AttachError, Plan, RawValue, ReadOnlyRegion, Region};
///
/// let mut plan = Plan::new();
/// let count = plan.one::<Atomic<AtomicU64>>()?;
/// let prices = plan.array::<RawValue<f64>>(3)?;
///
/// let writer = Region::single_writer(&plan)?;
/// writer.slice(prices)?[2].set(1.5);
/// writer.get(count)?.store(1, Ordering::Release);
///
/// // In another process:
/// let reader = ReadOnlyRegion::from_fd_for(writer.as_fd().try_clone_to_owned()?, &plan)?;
/// assert_eq!((reader.load(count)?, reader.load_at(prices, 2)?), (1, 1.5));
/// let mut all = [0.0; 3];
/// reader.load_slice(prices, 0, &mut all)?;
/// assert_eq!(all, [0.0, 0.0, 1.5]);
///
/// let refused = Region::from_fd(writer.as_fd().try_clone_to_owned()?);
/// assert_eq!(refused.unwrap_err(), AttachError::ReadOnly);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// It gives no reference, because a store through one would end the process:
///
/// ```compile_fail,E0599
/// # fn of(region: ipc_shm::ReadOnlyRegion, place: ipc_shm::Place<ipc_shm::RawValue<u64>>) {
/// let value = region.get(place);
/// # }
/// ```
pub struct ReadOnlyRegion {
    fd: OwnedFd,
    view: View,
}

static_assertions::assert_impl_all!(ReadOnlyRegion: Send, Sync);

impl ReadOnlyRegion {
    /// The region behind a descriptor that came from its writer, whatever it contains.
    ///
    /// # Errors
    ///
    /// [`AttachError::NotSealed`] if anybody but a writer that there is already could write to it, else as
    /// [`Region::from_fd`](super::Region::from_fd); the descriptor is closed.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        Self::attach(fd, None)
    }

    /// As [`from_fd`](Self::from_fd), for a region that must have been made from the same plan.
    ///
    /// # Errors
    ///
    /// [`AttachError::Layout`] if it was made from another one, else as there.
    pub fn from_fd_for(fd: OwnedFd, plan: &Plan) -> Result<Self, AttachError> {
        Self::attach(fd, Some(plan.hash()))
    }

    pub(super) fn attach(fd: OwnedFd, expected: Option<u64>) -> Result<Self, AttachError> {
        let view = attach::attach(fd.as_fd(), Backing::SingleWriter, expected)?;
        Ok(Self { fd, view })
    }

    /// A copy of the value at `place`.
    ///
    /// What the writer stored before it stored the value of an atomic with Release can be read afterwards.
    ///
    /// # Errors
    ///
    /// [`PlaceError::NotHere`] if the region was not made with this place.
    #[inline]
    pub fn load<T: Load>(&self, place: Place<T>) -> Result<T::Value, PlaceError> {
        self.load_at(place, 0)
    }

    /// A copy of value number `index` at `place`.
    ///
    /// # Errors
    ///
    /// [`PlaceError::OutOfBounds`] if there are not so many, else as [`load`](Self::load).
    pub fn load_at<T: Load>(&self, place: Place<T>, index: usize) -> Result<T::Value, PlaceError> {
        let mut value = [const { None }];
        self.each(place, index, &mut value, |slot, found| *slot = Some(found))?;
        let [value] = value;
        value.ok_or(PlaceError::OutOfBounds)
    }

    /// Copies as many values as `to` has room for, from number `start` at `place` on, one after the other.
    ///
    /// # Errors
    ///
    /// [`PlaceError::OutOfBounds`] if there are not so many, and `to` is as it was; else as [`load`](Self::load).
    pub fn load_slice<T: Load>(
        &self,
        place: Place<T>,
        start: usize,
        to: &mut [T::Value],
    ) -> Result<(), PlaceError> {
        self.each(place, start, to, |slot, found| *slot = found)
    }

    facts!();

    /// Loads as many values as there are slots.
    fn each<T: Load, S>(
        &self,
        place: Place<T>,
        start: usize,
        slots: &mut [S],
        mut put: impl FnMut(&mut S, T::Value),
    ) -> Result<(), PlaceError> {
        let first = self.view.locate(place)?;
        let end = start.checked_add(slots.len());
        if end.is_none_or(|end| end > place.count()) {
            return Err(PlaceError::OutOfBounds);
        }
        for (index, slot) in (start..).zip(slots) {
            // SAFETY: below the count of the place, all of which lies inside the mapping.
            let address = unsafe { first.add(index) };
            // SAFETY: aligned, any bytes are a `T`, and loading is all that is done with it.
            put(slot, unsafe { address.as_ref() }.load());
        }
        // What was stored before a value that was loaded here can be loaded from now on.
        fence(Ordering::Acquire);
        Ok(())
    }
}

impl AsFd for ReadOnlyRegion {
    /// The memfd, to be sent to another process, which can do no more with it than this one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<ReadOnlyRegion> for OwnedFd {
    /// Unmaps the region and keeps the memfd.
    fn from(region: ReadOnlyRegion) -> Self {
        region.fd
    }
}

impl fmt::Debug for ReadOnlyRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt("ReadOnlyRegion", f)
    }
}

/// What can be read where nothing can be written: a [`RawValue`], or an [`Atomic`] integer.
pub trait Load: Shareable + sealed::Sealed {
    /// What comes out.
    type Value: Copy;

    /// A copy, by relaxed loads of at most eight bytes.
    #[doc(hidden)]
    fn load(&self) -> Self::Value;
}

mod sealed {
    pub trait Sealed {}
}

impl<T: Pod + Send> sealed::Sealed for RawValue<T> {}
impl<T: Pod + Send> Load for RawValue<T> {
    type Value = T;

    #[inline]
    fn load(&self) -> T {
        self.get()
    }
}

impl<A: AtomicInteger> sealed::Sealed for Atomic<A> {}

macro_rules! loads {
    ($($atomic:ident: $plain:ty),*) => {$(
        impl Load for Atomic<core::sync::atomic::$atomic> {
            type Value = $plain;

            #[inline]
            fn load(&self) -> $plain {
                core::sync::atomic::$atomic::load(self, Ordering::Relaxed)
            }
        }
    )*};
}

loads! {
    AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64,
    AtomicI8: i8, AtomicI16: i16, AtomicI32: i32, AtomicI64: i64
}
