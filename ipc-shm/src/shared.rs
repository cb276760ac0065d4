//! [`Shared`]: one value in a region of its own.
//!
//! # Safety
//!
//! The pointer is what the region's directory has at its only place, checked when the region was made or
//! attached; the region is kept beside it, and its mapping stays where it is when the structure moves.
#![expect(unsafe_code, reason = "keeps a reference into the region beside it")]

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

use ipc_core::Shareable;
use ipc_sync::InRegion;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;

use crate::layout::MAX_ALIGN;
use crate::{AttachError, CreateError, Fill, Place, PlaceError, Plan, Region};

/// One value that processes share: a lock, an event, a number.
///
/// It has a [`Region`] of its own, which costs a descriptor and two pages, and a parcel carries 16 descriptors at most:
/// for many values make a region with a [`Plan`]. A forked child has it already; other processes get it inside an argument or a message (feature
/// `serde`), or by its [descriptor](Self::as_fd). What is said of trust there holds here.
///
/// What is nothing, or has 4 GiB or more, is no such value:
///
/// ```compile_fail,E0080
/// type FourGiB = [[[u8; 4096]; 4096]; 256];
/// # fn from(fd: std::os::fd::OwnedFd) {
/// let _ = ipc_shm::Shared::<FourGiB>::from_fd(fd);
/// # }
/// # let _: fn(_) = from;
/// ```
///
/// # Examples
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Shared, ipc_sync::Mutex};
///
/// let total = Shared::<Mutex<u64>>::in_region(0)?;
/// let mut child = fork_fn(|| {
///     *total.lock().expect("nobody died") += 1;
///     0
/// })?;
/// assert!(child.wait()?.success());
/// assert_eq!(*total.lock().unwrap(), 1);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// What has no size has no place either:
///
/// ```compile_fail
/// let nothing = ipc_shm::Shared::new(()); // a value has room
/// ```
pub struct Shared<T: Shareable> {
    region: Region,
    value: NonNull<T>,
}

// SAFETY: it gives out shared references to the value, in every process anyway.
unsafe impl<T: Shareable + Sync> Send for Shared<T> {}
// SAFETY: likewise.
unsafe impl<T: Shareable + Sync> Sync for Shared<T> {}

static_assertions::assert_impl_all!(Shared<ipc_sync::Mutex<u64>>: Send, Sync);
static_assertions::assert_impl_all!(Shared<ipc_sync::Event>: Send, Sync);

impl<T: Shareable> Shared<T> {
    /// `value`, where other processes can have it too.
    ///
    /// For locks [`in_region`](Shared::in_region) is better: their waiters are woken at once when a holder dies.
    ///
    /// # Errors
    ///
    /// [`CreateError`], and nothing is left behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::fork_fn;
    /// use ipc_shm::{Shared, ipc_sync::Event};
    ///
    /// let ready = Shared::new(Event::new())?;
    /// let mut child = fork_fn(|| {
    ///     ready.set();
    ///     0
    /// })?;
    /// ready.wait()?;
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn new(value: T) -> Result<Self, CreateError> {
        let mut value = Some(value);
        Self::filled(|fill, place| {
            // A place of one value is filled once.
            fill.values(place, |_| value.take().expect("one value"));
        })
    }

    /// The value behind a descriptor that came from another process.
    ///
    /// # Errors
    ///
    /// [`AttachError::Layout`] if it is not one `T`, else as [`Region::from_fd`]; the descriptor is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use ipc_shm::{AttachError, Shared, ipc_sync::{Event, Semaphore}};
    ///
    /// let here = Shared::new(Event::new())?;
    /// let there = Shared::<Event>::from_fd(here.as_fd().try_clone_to_owned()?)?;
    /// here.set();
    /// assert!(there.is_set());
    ///
    /// let wrong = Shared::<Semaphore>::from_fd(here.as_fd().try_clone_to_owned()?);
    /// assert!(matches!(wrong, Err(AttachError::Layout { .. })));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        let (plan, place) = Self::plan();
        let region = Region::from_fd_for(fd, &plan)?;
        // Between the check and this a peer may have damaged the directory.
        Self::at(region, place).map_err(|_| AttachError::Corrupt)
    }

    /// Another handle of the same value, to be given away: a descriptor and a mapping more.
    ///
    /// To be given away, because in one process it is the same lock at another address: a thread that has it by one
    /// handle and wants it by the other waits for itself, and is not told (a `ReentrantMutex` it has once more).
    ///
    /// # Errors
    ///
    /// [`AttachError::Os`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::Process;
    /// use ipc_shm::{Shared, ipc_sync::Semaphore};
    ///
    /// fn give(permits: Shared<Semaphore>) {
    ///     permits.release().expect("few permits");
    /// }
    ///
    /// let permits = Shared::new(Semaphore::new(0))?;
    /// let mut child = Process::new(give, permits.try_clone()?).start()?;
    /// permits.acquire()?;
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        let fd = fcntl_dupfd_cloexec(self.as_fd(), 0).map_err(AttachError::Os)?;
        Self::from_fd(fd)
    }

    /// The region that the value lies in.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    fn filled(fill: impl FnOnce(&mut Fill<'_>, Place<T>)) -> Result<Self, CreateError> {
        let (plan, place) = Self::plan();
        let region = Region::planned_with(&plan, |all| fill(all, place))?;
        Ok(Self::at(region, place).expect("nobody else has the region yet"))
    }

    fn plan() -> (Plan, Place<T>) {
        // A directory entry has 32 bits for a size.
        const {
            let has_room = size_of::<T>() > 0 && size_of::<T>() as u64 <= u32::MAX as u64;
            assert!(has_room && align_of::<T>() <= MAX_ALIGN, "a value has room");
        }
        let mut plan = Plan::new();
        let place = plan.one().expect("it was checked that one fits");
        (plan, place)
    }

    fn at(region: Region, place: Place<T>) -> Result<Self, PlaceError> {
        let value = NonNull::from(region.get(place)?);
        Ok(Self { region, value })
    }
}

impl<L: InRegion> Shared<L> {
    /// A new lock around `value`, where other processes can have it too, of the kind whose waiters are woken at
    /// once when its holder dies.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// See [`Shared`].
    pub fn in_region(value: L::Value) -> Result<Self, CreateError> {
        let mut value = Some(value);
        Self::filled(|fill, place| fill.locks(place, |_| value.take().expect("one value")))
    }
}

impl<T: Shareable> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: see the head of this file.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Shareable> AsFd for Shared<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.as_fd()
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&**self).finish()
    }
}
