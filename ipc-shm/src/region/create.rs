//! Making a region.
//!
//! # Safety
//!
//! Until the header is published, the mapping belongs to the creator alone: the descriptor is in
//! nobody else's hands, and no reference into the payload exists.
#![expect(unsafe_code, reason = "writes the header and the first values")]

use core::fmt;

use ipc_core::identity::{Identity, NoIdentity};
use ipc_core::os::check_file_size;
use ipc_core::primitive::{AtomicU64, Ordering};
use ipc_core::{Errno, Shareable};
use ipc_sync::InRegion;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::system::sysinfo;

use super::{Mapping, Region};
use crate::layout::{ARCH, DIRECTORY, Header, INIT, MAGIC, MAJOR, MINOR, PAYLOAD, READY};
use crate::{Place, Plan};

/// The size can never change again, and nobody can add a seal that would hinder others from mapping
/// the region.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

pub(super) fn create(plan: &Plan, fill: impl FnOnce(&mut Fill<'_>)) -> Result<Region, CreateError> {
    let me = Identity::current().map_err(CreateError::NoIdentity)?;
    let size = plan.size();
    let page = rustix::param::page_size();
    let total = total(size, page)?;
    let fd = memfd().map_err(at(Step::Open))?;
    resize(fd.as_fd(), total as u64).map_err(at(Step::Resize))?;
    reserve(fd.as_fd(), total, page).map_err(at(Step::Reserve))?;
    fcntl_add_seals(&fd, SEALS).map_err(at(Step::Seal))?;
    let map = Mapping::new(fd.as_fd(), total).map_err(at(Step::Map))?;

    let header = Header {
        magic: MAGIC,
        init: me.id.to_bits(),
        major: MAJOR,
        minor: MINOR,
        arch: ARCH,
        hash: plan.hash(),
        kind: plan.kind().to_bits(),
        page: page as u32,
        total: total as u64,
        payload: PAYLOAD as u64,
        size: size as u64,
        creator: me.id.to_bits(),
        domain: me.domain.to_bits(),
        entries: plan.entries().len() as u32,
    };
    // SAFETY: the init word lies in the header page, aligned to 8.
    let init = unsafe { map.at(INIT).cast::<AtomicU64>().as_ref() };
    init.store(me.id.to_bits(), Ordering::Relaxed);
    // SAFETY: nobody else has the region, and a header fits into its page.
    unsafe { map.at(0).cast::<Header>().write(header) };
    for (index, entry) in plan.entries().iter().enumerate() {
        let address = map.at(DIRECTORY + index * size_of_val(entry)).cast();
        // SAFETY: as for the header; a plan has no more entries than the directory has room for.
        unsafe { address.write(*entry) };
    }
    fill(&mut Fill { map: &map, plan });
    // SAFETY: as above.
    let init = unsafe { map.at(INIT).cast::<AtomicU64>().as_ref() };
    // SYNC: header complete (Acquire in `attach`).
    init.store(READY, Ordering::Release);
    Ok(Region {
        fd,
        map,
        kind: plan.kind(),
        size,
        entries: plan.entries().len(),
        hash: plan.hash(),
        creator: me.id,
    })
}

/// The bytes of the whole file.
fn total(size: usize, page: usize) -> Result<usize, CreateError> {
    if size == 0 {
        return Err(CreateError::ZeroSize);
    }
    // Reserving page after page, the kernel would notice only when there is nothing left for
    // anybody.
    let info = sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    let most = (info.totalram as u64).saturating_add(info.totalswap as u64).saturating_mul(unit);
    let too_large = CreateError::TooLarge { asked: size, most };
    let bytes = size.checked_add(PAYLOAD).and_then(|bytes| bytes.checked_next_multiple_of(page));
    bytes.filter(|&bytes| bytes as u64 <= most && isize::try_from(bytes).is_ok()).ok_or(too_large)
}

/// A memfd that can be sealed and, where the kernel knows how to (Linux 6.3), can never be
/// executed.
fn memfd() -> Result<OwnedFd, Errno> {
    let name = c"ipc-shm";
    match memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING),
        result => result,
    }
}

fn resize(fd: BorrowedFd<'_>, total: u64) -> Result<(), Errno> {
    check_file_size(total)?;
    ftruncate(fd, total)
}

/// Gives every page of the file its memory.
///
/// Where a signal comes, older kernels (6.18 does not) stop with `EINTR` and take back what the call
/// has reserved. A process that has a profiler's timer would never get many pages in one call, so
/// the calls become smaller until they end between two signals.
fn reserve(fd: BorrowedFd<'_>, total: usize, page: usize) -> Result<(), Errno> {
    let (mut done, mut most) = (0, total);
    while done < total {
        let length = most.min(total - done);
        match fallocate(fd, FallocateFlags::empty(), done as u64, length as u64) {
            Ok(()) => done += length,
            Err(Errno::INTR) => most = (length / 2).next_multiple_of(page),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn at(step: Step) -> impl Fn(Errno) -> CreateError {
    move |errno| CreateError::Os { step, errno }
}

/// Puts values into a region before anybody else can see them: see [`Region::planned_with`].
///
/// What is not filled is zero.
pub struct Fill<'a> {
    map: &'a Mapping,
    plan: &'a Plan,
}

static_assertions::assert_impl_all!(Fill<'static>: Send, Sync);

impl Fill<'_> {
    /// Puts `value(index)` at every index of `place`.
    ///
    /// # Panics
    ///
    /// If `place` is not of the region's plan. Nobody else has the region then, and it goes away.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// let squares = plan.array::<RawValue<u64>>(4)?;
    /// let region = Region::planned_with(&plan, |fill| {
    ///     fill.values(squares, |i| RawValue::new((i * i) as u64));
    /// })?;
    /// assert_eq!(region.slice(squares)?[3].get(), 9);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn values<T: Shareable>(&mut self, place: Place<T>, mut value: impl FnMut(usize) -> T) {
        let planned = self.plan.entries().get(place.index()).copied();
        assert!(planned.is_some() && planned == place.entry(), "a place of the region's own plan");
        let first = self.map.at(PAYLOAD + place.offset()).cast::<T>();
        for index in 0..place.count() {
            // SAFETY: the plan, and so the payload, has room for `count` values from `first` on.
            let address = unsafe { first.add(index) };
            // SAFETY: nobody else has the region; places are aligned for their type.
            unsafe { address.write(value(index)) };
        }
    }

    /// Puts a lock that starts with `value(index)` at every index of `place`, of the kind whose waiters are woken
    /// at once when its holder dies.
    ///
    /// [`InRegion::in_region`] is `unsafe`, because the lock's memory must not be used for anything
    /// else while somebody holds the lock, forgotten guards included. A region keeps that
    /// promise: see [`Region`].
    ///
    /// # Panics
    ///
    /// As [`values`](Self::values).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, Region, ipc_sync::Mutex};
    ///
    /// let mut plan = Plan::new();
    /// let totals = plan.array::<Mutex<u64>>(2)?;
    /// let region = Region::planned_with(&plan, |fill| fill.locks(totals, |i| i as u64))?;
    /// assert_eq!(*region.slice(totals)?[1].lock().unwrap(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn locks<L: InRegion>(
        &mut self,
        place: Place<L>,
        mut value: impl FnMut(usize) -> L::Value,
    ) {
        // SAFETY: when a region is dropped while a gate in it is armed, its addresses stay
        // reserved.
        self.values(place, |index| unsafe { L::in_region(value(index)) });
    }
}

impl fmt::Debug for Fill<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A step in the creation of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `memfd_create`: out of descriptors, or forbidden.
    Open,
    /// `ftruncate`: beyond the largest file that this process may make (`EFBIG`).
    Resize,
    /// `fallocate`: not enough memory (`ENOSPC` or `ENOMEM`). Where a limit of the process's
    /// cgroup is what is reached, or memory is overcommitted, the kernel may rather end a process:
    /// this one, for example.
    Reserve,
    /// `fcntl(F_ADD_SEALS)`.
    Seal,
    /// `mmap`: beyond the address space that this process may use.
    Map,
}

static_assertions::assert_impl_all!(Step: Send, Sync);

/// Why there is no new region. Nothing is left of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// A region of no bytes.
    ZeroSize,
    /// More bytes than the machine has memory and swap for.
    TooLarge {
        /// The payload asked for, in bytes.
        asked: usize,
        /// All memory and swap of the machine, in bytes.
        most: u64,
    },
    /// The operating system refused a step.
    Os {
        /// Which step.
        step: Step,
        /// What it said.
        errno: Errno,
    },
    /// This process has no identity that could be written into the region.
    NoIdentity(NoIdentity),
}

static_assertions::assert_impl_all!(CreateError: Send, Sync);

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroSize => f.write_str("a region of 0 bytes"),
            Self::TooLarge { asked, most } => {
                write!(f, "{asked} bytes asked for, on a machine with {most} bytes of memory")
            }
            Self::Os { step, errno } => {
                let step = match step {
                    Step::Open => "make a memfd",
                    Step::Resize => "set the size",
                    Step::Reserve => "reserve the memory",
                    Step::Seal => "seal the size",
                    Step::Map => "map the region",
                };
                write!(f, "cannot {step}: {errno}")
            }
            Self::NoIdentity(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CreateError {}
