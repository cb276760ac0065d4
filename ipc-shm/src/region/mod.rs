//! [`Region`]: memory that processes share, reserved and sealed.
//!
//! | sort | who may write | for whom | references |
//! |---|---|---|---|
//! | [`Region`] without a name | whoever has the descriptor | processes that trust each other | to [`Shareable`] types |
//! | [`Region`] with a [name](RegionName), not sealed | whoever runs as the same user | the same | the same |
//! | [`ReadOnlyRegion`] | the process that made it | anybody | none: copies |
//! | [`FrozenRegion`] | nobody | anybody | to plain data |
//!
//! All have the same header and directory, are made by the same steps, and are checked in the same way.
//!
//! What a region does not offer: huge pages, because a header page and a reservation of 2 MiB each would be the least,
//! and the kernel gives them from a pool that an administrator must have filled; guard pages, because no safe access leaves
//! the mapping; a choice of NUMA node, which the process that touches a page first makes anyway.
//!
//! # Safety
//!
//! A reference into the mapping is bounded by the region's life, lies inside it, is aligned, and is
//! of a type that the region's directory has at that place. Types in shared memory are
//! [`Shareable`]: whatever bytes a peer has left there are a valid value, and nothing writes through a
//! shared reference without synchronisation. The header and the directory are written before
//! anybody else has the region, and never again.
#![expect(unsafe_code, reason = "turns bytes of a mapping into references")]

mod attach;
mod create;
mod fill;
mod frozen;
mod mapping;
mod named;
#[cfg(target_pointer_width = "64")]
mod read_only;
mod view;

use core::fmt;

use ipc_core::{Errno, Shareable};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;

pub use attach::AttachError;
pub(crate) use attach::{Backing, check_contents, check_file};
pub use create::{CreateError, Step};
pub use fill::Fill;
pub use frozen::FrozenRegion;
pub(crate) use mapping::Mapping;
pub use named::{NamedError, RegionName};
#[cfg(target_pointer_width = "64")]
pub use read_only::{Load, ReadOnlyRegion};
pub use view::PlaceError;

use view::{View, facts};

use crate::layout::PAYLOAD;
use crate::{Place, Plan};

/// Memory that processes share.
///
/// A region is a sealed `memfd`, unless it was given a [name](Self::named): then it has none, so it cannot be guessed,
/// removed or left behind, and it goes away with the last process that has it. All its pages are reserved when it is
/// created and its size can never change, so no access to it ever raises SIGBUS; where the machine
/// has not enough memory, creation says so (a cgroup's limit is enforced in another way: see
/// [`Step::Reserve`]).
///
/// It travels to another process as a file descriptor, inherited or sent over a Unix socket, and
/// [`from_fd`](Self::from_fd) maps it there; or inside an argument or a message, by the feature `serde`. A forked
/// child has it already.
///
/// # Trust
///
/// Hand the descriptor only to processes that you trust as much as yourself. A peer may die at any
/// instruction, and may be of another build of your program; but one that writes to the memory past
/// this crate (by `write` on the descriptor, say, or by punching holes, which no seal forbids to a
/// writer) can break whatever lives in it. What is read from the header is checked nevertheless. A ring alone in its
/// region may have an end that trusts nobody: see [`ring`](crate::ring#trust).
///
/// # What lies in it
///
/// Either the places of a [`Plan`], which are typed and checked, or plain bytes with
/// [`view`](Self::view), which is `unsafe`.
///
/// Dropping a region unmaps it. If a guard of a lock in it was forgotten (`mem::forget`), the
/// kernel still knows the lock's address, so the address range stays reserved, without memory
/// behind it.
///
/// # Examples
///
/// Two processes count together:
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Atomic, Plan, Region};
///
/// let mut plan = Plan::new();
/// let counter = plan.one::<Atomic<AtomicU64>>()?;
/// let region = Region::planned(&plan)?;
///
/// let count = || region.get(counter).map(|word| word.fetch_add(1, Ordering::Relaxed));
/// let mut child = fork_fn(|| i32::from(count().is_err()))?;
/// count()?;
/// assert!(child.wait()?.success());
/// assert_eq!(region.get(counter)?.load(Ordering::Relaxed), 2);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Region {
    fd: OwnedFd,
    view: View,
    is_sealed: bool,
}

static_assertions::assert_impl_all!(Region: Send, Sync);

impl Region {
    /// A new region of `size` bytes, all zero, without places.
    ///
    /// # Errors
    ///
    /// [`CreateError`], and nothing is left behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::Region;
    ///
    /// let region = Region::anonymous(1 << 16)?;
    /// assert_eq!(region.size(), 1 << 16);
    /// # Ok::<(), ipc_shm::CreateError>(())
    /// ```
    pub fn anonymous(size: usize) -> Result<Self, CreateError> {
        create::shared(&Plan::raw(size), |_| {})
    }

    /// A new region for what `plan` contains, all zero.
    ///
    /// For a plan with a [`Mutex`](ipc_sync::Mutex) in it, [`planned_with`](Self::planned_with) is better: a zeroed
    /// lock is of the kind without the death baton, whose waiters look for a dead holder from time to time and find
    /// it within 64 ms, instead of being woken by the kernel at once.
    ///
    /// # Errors
    ///
    /// As [`anonymous`](Self::anonymous).
    pub fn planned(plan: &Plan) -> Result<Self, CreateError> {
        create::shared(plan, |_| {})
    }

    /// A new region for what `plan` contains, with the values that `fill` puts there before anybody
    /// else can see them.
    ///
    /// This is how a lock gets into a region such that the kernel wakes its waiters when its holder
    /// dies: see [`Fill::locks`].
    ///
    /// # Errors
    ///
    /// As [`anonymous`](Self::anonymous).
    ///
    /// # Panics
    ///
    /// If `fill` does, for example because it uses a place of another plan.
    pub fn planned_with(
        plan: &Plan,
        fill: impl FnOnce(&mut Fill<'_>),
    ) -> Result<Self, CreateError> {
        create::shared(plan, fill)
    }

    /// A new region that nobody can write to but this process, through what this returns.
    ///
    /// Others get its descriptor, and see it as a [`ReadOnlyRegion`]. A child that this process forks has its mapping and
    /// can write, too.
    ///
    /// # Errors
    ///
    /// As [`anonymous`](Self::anonymous); [`Step::Seal`] before Linux 5.1.
    #[cfg(target_pointer_width = "64")]
    pub fn single_writer(plan: &Plan) -> Result<Self, CreateError> {
        create::single_writer(plan, |_| {})
    }

    /// As [`single_writer`](Self::single_writer), with the values that `fill` puts there before anybody else can see
    /// them.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If `fill` does.
    #[cfg(target_pointer_width = "64")]
    pub fn single_writer_with(
        plan: &Plan,
        fill: impl FnOnce(&mut Fill<'_>),
    ) -> Result<Self, CreateError> {
        create::single_writer(plan, fill)
    }

    /// What others see of a region with a [single writer](Self::single_writer): to be given away.
    ///
    /// # Errors
    ///
    /// [`AttachError::NotSealed`] if others can write to it, [`AttachError::Os`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{AttachError, Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// let place = plan.one::<RawValue<u64>>()?;
    /// let writer = Region::single_writer(&plan)?;
    /// let reader = writer.reader()?;
    /// writer.get(place)?.set(5);
    /// assert_eq!(reader.load(place)?, 5);
    ///
    /// let anybodys = Region::planned(&plan)?;
    /// assert!(matches!(anybodys.reader(), Err(AttachError::NotSealed { .. })));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(target_pointer_width = "64")]
    pub fn reader(&self) -> Result<ReadOnlyRegion, AttachError> {
        let fd = fcntl_dupfd_cloexec(&self.fd, 0).map_err(AttachError::Os)?;
        ReadOnlyRegion::attach(fd, Some(self.view.hash))
    }

    /// The name of a region, by which other programs find it; to make one, or to open it, is for
    /// [`RegionName`].
    ///
    /// # Errors
    ///
    /// [`NamedError::BadName`] if it is empty, longer than [`RegionName::MAX`], `.` or `..`, or has a `/` or a zero
    /// byte in it.
    pub fn named(name: impl AsRef<[u8]>) -> Result<RegionName, NamedError> {
        RegionName::new(name.as_ref())
    }

    /// The region behind a descriptor that came from another process, whatever it contains.
    ///
    /// The descriptor is checked before anything is mapped, and the header before anything is used:
    /// see [`AttachError`] for what can be wrong. A region that grew by a newer version's
    /// fields is refused, never misread.
    ///
    /// # Errors
    ///
    /// [`AttachError`]; the descriptor is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use ipc_shm::{AttachError, Region};
    ///
    /// let region = Region::anonymous(100)?;
    /// let same = Region::from_fd(region.as_fd().try_clone_to_owned()?)?;
    /// assert_eq!(same.size(), 100);
    ///
    /// let file = std::fs::File::open("/dev/zero")?;
    /// assert_eq!(Region::from_fd(file.into()).unwrap_err(), AttachError::NotARegion);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        Self::attach(fd, Backing::Shared, None)
    }

    /// As [`from_fd`](Self::from_fd), for a region that must have been made from the same plan.
    ///
    /// # Errors
    ///
    /// [`AttachError::Layout`] if it was made from another one, else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use ipc_shm::{AttachError, Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// plan.array::<RawValue<u32>>(10)?;
    /// let region = Region::planned(&plan)?;
    ///
    /// plan.one::<RawValue<u32>>()?; // Our plan has changed since.
    /// let error = Region::from_fd_for(region.as_fd().try_clone_to_owned()?, &plan).unwrap_err();
    /// assert!(matches!(error, AttachError::Layout { .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd_for(fd: OwnedFd, plan: &Plan) -> Result<Self, AttachError> {
        Self::attach(fd, Backing::Shared, Some(plan.hash()))
    }

    /// The value at `place`.
    ///
    /// # Errors
    ///
    /// [`PlaceError::NotHere`] if the region was not made with this place.
    #[inline]
    pub fn get<T: Shareable>(&self, place: Place<T>) -> Result<&T, PlaceError> {
        let all = self.slice(place)?;
        // A place is never empty.
        all.first().ok_or(PlaceError::OutOfBounds)
    }

    /// The values at `place`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn slice<T: Shareable>(&self, place: Place<T>) -> Result<&[T], PlaceError> {
        let first = self.view.locate(place)?;
        // SAFETY: so many values lie inside the mapping, aligned. The directory has values of type `T` here and
        // nothing else, plans do not overlap, and any bytes are a `T`.
        Ok(unsafe { core::slice::from_raw_parts(first.as_ptr(), place.count()) })
    }

    /// The value `offset` bytes into the payload.
    ///
    /// # Errors
    ///
    /// [`PlaceError::Misaligned`] or [`PlaceError::OutOfBounds`].
    ///
    /// # Safety
    ///
    /// Everybody who has the region, in every process, uses these bytes as a `T`, or only while
    /// nobody uses this reference.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::sync::atomic::{AtomicU64, Ordering};
    /// use ipc_shm::{Atomic, Region};
    ///
    /// let region = Region::anonymous(4096)?;
    /// // SAFETY: nobody uses the first word of this region as anything else.
    /// let word = unsafe { region.view::<Atomic<AtomicU64>>(0)? };
    /// word.store(1, Ordering::Relaxed);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub unsafe fn view<T: Shareable>(&self, offset: usize) -> Result<&T, PlaceError> {
        let address = self.view.address_of::<T>(offset, 1)?;
        // SAFETY: inside the mapping and aligned; any bytes are a `T`; the caller says that it is
        // one.
        Ok(unsafe { address.as_ref() })
    }

    /// `count` values from `offset` bytes into the payload.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    ///
    /// # Safety
    ///
    /// As for [`view`](Self::view).
    pub unsafe fn view_slice<T: Shareable>(
        &self,
        offset: usize,
        count: usize,
    ) -> Result<&[T], PlaceError> {
        let first = self.view.address_of::<T>(offset, count)?;
        // SAFETY: inside the mapping and aligned; any bytes are a `T`; the caller says that they
        // are.
        Ok(unsafe { core::slice::from_raw_parts(first.as_ptr(), count) })
    }

    facts!();

    /// Makes this process's first access to each page as fast as any later one, at the cost of one long call now.
    ///
    /// The memory is there in any case; what a first access costs is the entry in this process's page table. A ring's
    /// handles have mappings of their own, which this does not reach.
    ///
    /// # Errors
    ///
    /// `EINVAL` before Linux 5.14, `ENOMEM`.
    pub fn populate(&self) -> Result<(), Errno> {
        self.view.map.populate()
    }

    /// Keeps the memory from being swapped out for as long as this region is mapped here, and populates it.
    ///
    /// Once one process has locked it, it stays in memory for all.
    ///
    /// # Errors
    ///
    /// `ENOMEM` or `EPERM` beyond what this process may lock (`RLIMIT_MEMLOCK`).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::Region;
    ///
    /// let region = Region::anonymous(1 << 14)?;
    /// region.lock_in_memory()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn lock_in_memory(&self) -> Result<(), Errno> {
        self.view.map.lock()
    }

    /// Whether the size of its memory can never change, so that no access to it ever raises SIGBUS.
    ///
    /// So it is, unless the region has a [name](RegionName).
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    fn attach(fd: OwnedFd, backing: Backing, expected: Option<u64>) -> Result<Self, AttachError> {
        let view = attach::attach(fd.as_fd(), backing, expected)?;
        Ok(Self { fd, view, is_sealed: backing != Backing::Named })
    }

    /// A second mapping of the same memory.
    pub(crate) fn map_again(&self) -> ipc_core::Result<Mapping> {
        Mapping::new(self.fd.as_fd(), self.view.map.length())
    }

    /// Whether the payload from `offset` to its end can be mapped twice in a row: whole pages.
    pub(crate) fn mirrors(&self, offset: usize) -> bool {
        let page = rustix::param::page_size();
        let end = PAYLOAD + self.view.size;
        offset < self.view.size && (PAYLOAD + offset) % page == 0 && end % page == 0
    }

    /// As [`map_again`](Self::map_again), and behind the last byte of the payload all from `offset` on once more.
    ///
    /// Only if it [mirrors](Self::mirrors), or the kernel says `EINVAL`.
    pub(crate) fn map_mirrored(&self, offset: usize) -> ipc_core::Result<Mapping> {
        Mapping::mirrored(self.fd.as_fd(), PAYLOAD + self.view.size, PAYLOAD + offset)
    }
}

impl AsFd for Region {
    /// The memfd, to be sent to another process. Close-on-exec, like every descriptor of this
    /// crate.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Region> for OwnedFd {
    /// Unmaps the region and keeps the memfd.
    fn from(region: Region) -> Self {
        region.fd
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt("Region", f)
    }
}
