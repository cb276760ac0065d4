//! Making a region.
//!
//! # Safety
//!
//! Until the header is published, the mapping belongs to the creator alone: the descriptor is in
//! nobody else's hands, and no reference into the payload exists.
#![expect(unsafe_code, reason = "writes the header")]

use core::fmt;

use ipc_core::Errno;
use ipc_core::identity::{Identity, NoIdentity};
use ipc_core::os::check_file_size;
use ipc_core::primitive::{AtomicU64, Ordering};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::retry_on_intr;
use rustix::param::page_size;
use rustix::system::sysinfo;

use super::view::View;
use super::{Fill, Mapping, Region};
use crate::Plan;
use crate::layout::{ARCH, DIRECTORY, Header, INIT, LINE, MAGIC, MAJOR, MINOR, PAYLOAD, READY};

/// The size can never change again.
const SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A region that everybody may write to who has its descriptor.
pub(super) fn shared(plan: &Plan, fill: impl FnOnce(&mut Fill<'_>)) -> Result<Region, CreateError> {
    let draft = Draft::new(plan)?;
    let fd = draft.file(memfd)?;
    // Nobody can add a seal that would hinder others from mapping the region.
    seal(&fd, SIZE | SealFlags::SEAL)?;
    let view = draft.publish(draft.map(fd.as_fd())?, fill);
    Ok(Region { fd, view, is_sealed: true })
}

/// A region of which this mapping is the only one that can be written.
pub(super) fn single_writer(
    plan: &Plan,
    fill: impl FnOnce(&mut Fill<'_>),
) -> Result<Region, CreateError> {
    let draft = Draft::new(plan)?;
    let fd = draft.file(memfd)?;
    seal(&fd, SIZE)?;
    let view = draft.publish(draft.map(fd.as_fd())?, fill);
    // Last, for it refuses every writable mapping that is made later.
    seal(&fd, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
    Ok(Region { fd, view, is_sealed: true })
}

/// A region that nobody can write to any more, not even its creator.
pub(super) fn frozen(
    plan: &Plan,
    fill: impl FnOnce(&mut Fill<'_>),
) -> Result<(OwnedFd, View), CreateError> {
    let draft = Draft::new(plan)?;
    let fd = draft.file(memfd)?;
    seal(&fd, SIZE)?;
    let map = draft.map(fd.as_fd())?;
    // Or a child that another thread forks now could write for as long as it lives.
    map.keep_from_children().map_err(at(Step::Map))?;
    let View { map, kind, size, entries, hash, creator } = draft.publish(map, fill);
    let length = map.length();
    drop(map);
    // The kernel refuses this while anybody could still write.
    seal(&fd, SealFlags::WRITE | SealFlags::SEAL)?;
    let map = Mapping::frozen(fd.as_fd(), length).map_err(at(Step::Map))?;
    Ok((fd, View { map, kind, size, entries, hash, creator }))
}

/// A region in a file that `open` gives, empty and in nobody else's hands.
pub(super) fn in_file(
    draft: &Draft<'_>,
    open: impl FnOnce() -> Result<OwnedFd, Errno>,
    fill: impl FnOnce(&mut Fill<'_>),
) -> Result<Region, CreateError> {
    let fd = draft.file(open)?;
    let view = draft.publish(draft.map(fd.as_fd())?, fill);
    Ok(Region { fd, view, is_sealed: false })
}

/// A region that can be made, as far as that can be told beforehand.
pub(super) struct Draft<'a> {
    plan: &'a Plan,
    me: Identity,
    /// Bytes of the whole file.
    total: usize,
    page: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(plan: &'a Plan) -> Result<Self, CreateError> {
        let me = Identity::current().map_err(CreateError::NoIdentity)?;
        let page = page_size();
        Ok(Self { plan, me, total: total(plan.size(), page)?, page })
    }

    /// The file that `open` gives, with the size and the memory that it needs.
    fn file(&self, open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, CreateError> {
        let fd = open().map_err(at(Step::Open))?;
        resize(fd.as_fd(), self.total as u64).map_err(at(Step::Resize))?;
        reserve(fd.as_fd(), self.total, self.page).map_err(at(Step::Reserve))?;
        Ok(fd)
    }

    fn map(&self, fd: BorrowedFd<'_>) -> Result<Mapping, CreateError> {
        Mapping::new(fd, self.total).map_err(at(Step::Map))
    }

    /// Writes everything: the header, the first values, and that it is ready.
    fn publish(&self, map: Mapping, fill: impl FnOnce(&mut Fill<'_>)) -> View {
        let Self { plan, me, total, page } = *self;
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
            size: plan.size() as u64,
            creator: me.id.to_bits(),
            domain: me.domain.to_bits(),
            entries: plan.entries().len() as u32,
            line: LINE as u32,
            reserved: 0,
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
        let (size, entries, hash) = (plan.size(), plan.entries().len(), plan.hash());
        View { map, kind: plan.kind(), size, entries, hash, creator: me.id }
    }
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
    retry_on_intr(|| ftruncate(fd, total))
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

fn seal(fd: &OwnedFd, seals: SealFlags) -> Result<(), CreateError> {
    fcntl_add_seals(fd, seals).map_err(at(Step::Seal))
}

fn at(step: Step) -> impl Fn(Errno) -> CreateError {
    move |errno| CreateError::Os { step, errno }
}

/// A step in the creation of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `memfd_create`, or `openat` for a region with a name: out of descriptors, or forbidden.
    Open,
    /// `ftruncate`: beyond the largest file that this process may make (`EFBIG`).
    Resize,
    /// `fallocate`: not enough memory (`ENOSPC` or `ENOMEM`). Where a limit of the process's
    /// cgroup is what is reached, or memory is overcommitted, the kernel may rather end a process:
    /// this one, for example.
    Reserve,
    /// `fcntl(F_ADD_SEALS)`. `EINVAL` for a region with a single writer before Linux 5.1; `EBUSY` for a frozen one
    /// if somebody could still write to it, such as a child that was forked meanwhile.
    Seal,
    /// `mmap`: beyond the address space that this process may use.
    Map,
    /// `linkat`: the region is complete, and cannot be given its name.
    Link,
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
                    Step::Open => "make a file in memory",
                    Step::Resize => "set the size",
                    Step::Reserve => "reserve the memory",
                    Step::Seal => "seal the region",
                    Step::Map => "map the region",
                    Step::Link => "give the region its name",
                };
                write!(f, "cannot {step}: {errno}")
            }
            Self::NoIdentity(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CreateError {}
