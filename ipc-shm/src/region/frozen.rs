//! [`FrozenRegion`]: written once, and then the same for everybody for ever.
//!
//! | step of creation | who can write | killed behind it |
//! |---|---|---|
//! | the memfd gets its size and is sealed against any other | the creator | the memory goes with the process |
//! | mapped so that no forked child has it, filled | the creator | the same |
//! | unmapped | nobody has it mapped | the same |
//! | sealed against writing, and against further seals | nobody | the same; the descriptor is handed out only now |
//!
//! # Safety
//!
//! The kernel gives the seal only while nobody has a writable mapping, and refuses every later one, `write`, and
//! punched holes. So the bytes never change again while the mapping lives, and a shared reference to plain data is what it
//! says: that is checked by asking the kernel for the seals, and not by trusting anybody.
#![expect(unsafe_code, reason = "turns bytes of a mapping into references")]

use core::fmt;

use bytemuck::Pod;
use ipc_core::Shareable;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::attach::{self, Backing};
use super::view::{View, facts};
use super::{AttachError, CreateError, Fill, PlaceError, create};
use crate::{Place, Plan};

/// Plain data that was written once, and that nobody can change any more, whoever has it.
///
/// It is made for tables, models, programs' texts: as many processes as want read them in place, as slices, without
/// copies and without trusting one another. Not even its creator can write to it any more, and no access raises SIGBUS.
///
/// It travels as a descriptor or, by the feature `serde`, inside an argument or a message.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use ipc_shm::{FrozenRegion, Plan};
///
/// let mut plan = Plan::new();
/// let squares = plan.array::<u64>(100)?;
/// let region = FrozenRegion::new(&plan, |fill| fill.values(squares, |i| (i * i) as u64))?;
///
/// // In another process:
/// let same = FrozenRegion::from_fd_for(region.as_fd().try_clone_to_owned()?, &plan)?;
/// assert_eq!(same.slice(squares)?[12], 144);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// What could be stored to through a shared reference has no place here:
///
/// ```compile_fail,E0277
/// # fn of(region: ipc_shm::FrozenRegion, place: ipc_shm::Place<ipc_shm::RawValue<u64>>) {
/// let value = region.get(place);
/// # }
/// ```
pub struct FrozenRegion {
    fd: OwnedFd,
    view: View,
}

static_assertions::assert_impl_all!(FrozenRegion: Send, Sync);

impl FrozenRegion {
    /// A new region for what `plan` contains, with the values that `fill` puts there, which are the last ones.
    ///
    /// A child that `fill` forks must not touch what it was given.
    ///
    /// # Errors
    ///
    /// [`CreateError`], and nothing is left behind.
    ///
    /// # Panics
    ///
    /// If `fill` does, for example because it uses a place of another plan.
    pub fn new(plan: &Plan, fill: impl FnOnce(&mut Fill<'_>)) -> Result<Self, CreateError> {
        let (fd, view) = create::frozen(plan, fill)?;
        Ok(Self { fd, view })
    }

    /// The region behind a descriptor that came from another process, whatever it contains.
    ///
    /// # Errors
    ///
    /// [`AttachError::NotSealed`] if anybody could still write to it, else as
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

    fn attach(fd: OwnedFd, expected: Option<u64>) -> Result<Self, AttachError> {
        let view = attach::attach(fd.as_fd(), Backing::Frozen, expected)?;
        Ok(Self { fd, view })
    }

    /// The value at `place`.
    ///
    /// # Errors
    ///
    /// [`PlaceError::NotHere`] if the region was not made with this place.
    #[inline]
    pub fn get<T: Shareable + Pod>(&self, place: Place<T>) -> Result<&T, PlaceError> {
        // A place is never empty.
        self.slice(place)?.first().ok_or(PlaceError::OutOfBounds)
    }

    /// The values at `place`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn slice<T: Shareable + Pod>(&self, place: Place<T>) -> Result<&[T], PlaceError> {
        let first = self.view.locate(place)?;
        // SAFETY: so many values lie inside the mapping, aligned; any bytes are a `T`, and they never change.
        Ok(unsafe { core::slice::from_raw_parts(first.as_ptr(), place.count()) })
    }

    facts!();
}

impl AsFd for FrozenRegion {
    /// The memfd, to be sent to another process, which can do no more with it than this one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<FrozenRegion> for OwnedFd {
    /// Unmaps the region and keeps the memfd.
    fn from(region: FrozenRegion) -> Self {
        region.fd
    }
}

impl fmt::Debug for FrozenRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt("FrozenRegion", f)
    }
}
