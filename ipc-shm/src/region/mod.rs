//! [`Region`]: memory that processes share, without a name, reserved and sealed.
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
mod mapping;

use core::fmt;

use ipc_core::Shareable;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::{AtomicU64, Ordering};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use attach::AttachError;
pub(crate) use attach::{check_contents, check_file};
pub use create::{CreateError, Fill, Step};
pub(crate) use mapping::Mapping;

use crate::layout::{DIRECTORY, Entry, PAYLOAD};
use crate::{Kind, Place, Plan};

/// Memory that processes share.
///
/// A region is a sealed `memfd`: it has no name, so it cannot be guessed, removed or left behind,
/// and it goes away with the last process that has it. All its pages are reserved when it is
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
    map: Mapping,
    kind: Kind,
    /// Bytes of payload.
    size: usize,
    /// How many entries the directory has.
    entries: usize,
    hash: u64,
    creator: ProcessId,
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
        create::create(&Plan::raw(size), |_| {})
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
        create::create(plan, |_| {})
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
        create::create(plan, fill)
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
        attach::attach(fd, None)
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
        attach::attach(fd, Some(plan.hash()))
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
        if self.entry(place.index()) != place.entry() {
            return Err(PlaceError::NotHere);
        }
        // SAFETY: the directory has values of type `T` here and nothing else; plans do not overlap.
        unsafe { self.view_slice(place.offset(), place.count()) }
    }

    /// Place number `index` of the region's own plan, for a region whose sizes are not known
    /// beforehand.
    ///
    /// # Errors
    ///
    /// [`PlaceError::NotHere`] if there is no such place, or its type is not `T`; another one only if
    /// somebody has damaged the directory.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// plan.array::<RawValue<u32>>(10)?;
    /// let region = Region::planned(&plan)?;
    /// assert_eq!(region.place::<RawValue<u32>>(0)?.count(), 10);
    /// assert!(region.place::<RawValue<f32>>(0).is_err());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn place<T: Shareable>(&self, index: usize) -> Result<Place<T>, PlaceError> {
        let entry = self.entry(index).ok_or(PlaceError::NotHere)?;
        let place = Place::<T>::from_entry(index, &entry).ok_or(PlaceError::NotHere)?;
        // The directory was checked when we attached, but it lies where a peer could write since.
        self.address_of::<T>(place.offset(), place.count())?;
        Ok(place)
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
        let address = self.address_of::<T>(offset, 1)?;
        // SAFETY: inside the mapping and aligned; any bytes are a `T`; the caller says that it is
        // one.
        Ok(unsafe { &*address })
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
        let address = self.address_of::<T>(offset, count)?;
        // SAFETY: inside the mapping and aligned; any bytes are a `T`; the caller says that they
        // are.
        Ok(unsafe { core::slice::from_raw_parts(address, count) })
    }

    /// Bytes of payload, as they were asked for.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What the region is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who made it. It may be dead by now, which changes nothing.
    ///
    /// Whether it lives can be asked only in its own pid namespace.
    #[must_use]
    pub fn creator(&self) -> ProcessId {
        self.creator
    }

    /// The hash of its plan, as both sides compute it.
    #[must_use]
    pub fn layout_hash(&self) -> u64 {
        self.hash
    }

    /// A second mapping of the same memory.
    pub(crate) fn map_again(&self) -> ipc_core::Result<Mapping> {
        Mapping::new(self.fd.as_fd(), self.map.length())
    }

    /// Whether the payload from `offset` to its end can be mapped twice in a row: whole pages.
    pub(crate) fn mirrors(&self, offset: usize) -> bool {
        let page = rustix::param::page_size();
        let end = PAYLOAD + self.size;
        offset < self.size && (PAYLOAD + offset) % page == 0 && end % page == 0
    }

    /// As [`map_again`](Self::map_again), and behind the last byte of the payload all from `offset` on once more.
    ///
    /// Only if it [mirrors](Self::mirrors), or the kernel says `EINVAL`.
    pub(crate) fn map_mirrored(&self, offset: usize) -> ipc_core::Result<Mapping> {
        Mapping::mirrored(self.fd.as_fd(), PAYLOAD + self.size, PAYLOAD + offset)
    }

    /// Entry `index` of the directory.
    fn entry(&self, index: usize) -> Option<Entry> {
        if index >= self.entries {
            return None;
        }
        let start = DIRECTORY + index * size_of::<Entry>();
        let word = |number: usize| {
            let address = self.map.at(start + number * 8).cast::<AtomicU64>();
            // SAFETY: the directory lies inside the header page, aligned to 8, and outlives `self`.
            unsafe { address.as_ref() }.load(Ordering::Relaxed)
        };
        let words: [u64; size_of::<Entry>() / 8] = core::array::from_fn(word);
        Some(bytemuck::cast(words))
    }

    fn address_of<T>(&self, offset: usize, count: usize) -> Result<*const T, PlaceError> {
        let bytes = size_of::<T>().checked_mul(count).ok_or(PlaceError::OutOfBounds)?;
        let end = offset.checked_add(bytes).ok_or(PlaceError::OutOfBounds)?;
        if end > self.size || offset >= self.size {
            return Err(PlaceError::OutOfBounds);
        }
        let address = self.map.at(PAYLOAD + offset).cast::<T>().as_ptr();
        if address.is_aligned() { Ok(address) } else { Err(PlaceError::Misaligned) }
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
        f.debug_struct("Region")
            .field("kind", &self.kind)
            .field("size", &self.size)
            .field("places", &self.entries)
            .field("creator", &self.creator)
            .finish_non_exhaustive()
    }
}

/// Why a region gave no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// The region was made by a plan without this place, or with another type there.
    NotHere,
    /// The bytes are not all inside the payload.
    OutOfBounds,
    /// The type cannot lie at this offset.
    Misaligned,
}

static_assertions::assert_impl_all!(PlaceError: Send, Sync);

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHere => "the region was not made with this place",
            Self::OutOfBounds => "not inside the region",
            Self::Misaligned => "not aligned for the type",
        })
    }
}

impl core::error::Error for PlaceError {}
