//! A shared mapping, and how it ends.
//!
//! # Safety
//!
//! A [`Mapping`] is a range of addresses that belongs to it from the `mmap` until its drop. Nothing
//! that points into it outlives it: whoever hands out references bounds them by the mapping's own
//! life.
#![expect(unsafe_code, reason = "mmap and munmap")]

use core::ops::Range;
use core::ptr::{self, NonNull};

use ipc_core::identity::ProcessId;
use ipc_core::{Errno, Result, baton};
use rustix::fd::BorrowedFd;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};

/// A whole file, mapped readable and shared, and mostly writable; of a [mirrored](Self::mirrored) one, the end twice in a
/// row.
///
/// The memory behind it is reserved and, unless the file has a name, sealed in size: no access to it faults.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the addresses are valid in every thread of the process; what lies there is synchronised
// by whoever hands out references to it.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; the mapping itself is never changed.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of `fd`, which are all of it.
    pub(super) fn new(fd: BorrowedFd<'_>, length: usize) -> Result<Self> {
        Self::with(fd, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    /// As [`new`](Self::new), for memory that whoever has this mapping does not write to.
    pub(super) fn read_only(fd: BorrowedFd<'_>, length: usize) -> Result<Self> {
        Self::with(fd, length, ProtFlags::READ, MapFlags::SHARED)
    }

    /// As [`read_only`](Self::read_only), for memory that nobody writes to any more.
    ///
    /// Private: before Linux 6.7 a shared mapping counted as one that may be written to, and was refused. It is the same
    /// memory; only a write would make a copy of it.
    pub(super) fn frozen(fd: BorrowedFd<'_>, length: usize) -> Result<Self> {
        Self::with(fd, length, ProtFlags::READ, MapFlags::PRIVATE)
    }

    fn with(fd: BorrowedFd<'_>, length: usize, access: ProtFlags, flags: MapFlags) -> Result<Self> {
        // SAFETY: the kernel chooses the address, so no existing mapping is touched.
        let start = unsafe { mmap(ptr::null_mut(), length, access, flags, fd, 0) }?;
        // The kernel never chooses address 0 for anybody.
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, length })
    }

    /// As [`new`](Self::new), and behind the last byte follows byte `from` again, and all after it: whatever lies
    /// there in a circle is then contiguous from any point on.
    ///
    /// `from` and `length` must be multiples of the page, else the kernel says `EINVAL`.
    pub(super) fn mirrored(fd: BorrowedFd<'_>, length: usize, from: usize) -> Result<Self> {
        let mirror = length.checked_sub(from).filter(|&mirror| mirror > 0).ok_or(Errno::INVAL)?;
        let all = length.checked_add(mirror).ok_or(Errno::NOMEM)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses the address, so no existing mapping is touched.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), all, ProtFlags::empty(), flags) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        // From here on its drop gives back the whole range, whatever has been mapped into it by then.
        let map = Self { start, length: all };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        for (at, offset, length) in [(0, 0, length), (length, from, mirror)] {
            let (at, flags) = (map.at(at).as_ptr().cast(), MapFlags::SHARED | MapFlags::FIXED);
            // SAFETY: what it replaces is a part of the range reserved above, into which nothing points yet.
            unsafe { mmap(at, length, access, flags, fd, offset as u64) }?;
        }
        Ok(map)
    }

    /// Keeps the mapping from children that are forked from now on: touching it there raises SIGSEGV.
    pub(super) fn keep_from_children(&self) -> Result<()> {
        // SAFETY: the range is our own mapping, whose contents stay as they are.
        unsafe { madvise(self.start.as_ptr().cast(), self.length, Advice::LinuxDontFork) }
    }

    /// Maps every page now, for writing.
    pub(super) fn populate(&self) -> Result<()> {
        // SAFETY: the range is our own mapping, whose contents stay as they are.
        unsafe { madvise(self.start.as_ptr().cast(), self.length, Advice::LinuxPopulateWrite) }
    }

    /// Keeps every page in memory.
    pub(super) fn lock(&self) -> Result<()> {
        // SAFETY: the range is our own mapping, whose contents stay as they are.
        unsafe { mlock(self.start.as_ptr().cast(), self.length) }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The address of byte `offset`. The bytes from there to the end of the mapping are valid.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.length, "inside the mapping");
        // SAFETY: every caller stays within the length it was given or has checked.
        unsafe { self.start.add(offset) }
    }

    fn addresses(&self) -> Range<usize> {
        let start = self.start.as_ptr().addr();
        start..start + self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = self.start.as_ptr().cast();
        // Without an identity no lock can have been taken, here or elsewhere in this process.
        let armed = ProcessId::current().is_ok_and(|me| baton::is_armed_in(&self.addresses(), me));
        let result = if armed {
            // A guard was forgotten in here, and the kernel knows its address. The memory goes
            // back, the addresses stay ours for ever.
            let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
            // SAFETY: the range is our own mapping, and nothing points into it any more.
            unsafe { mmap_anonymous(start, self.length, ProtFlags::empty(), flags) }.map(drop)
        } else {
            // SAFETY: the range is our own mapping, and nothing points into it any more.
            unsafe { munmap(start, self.length) }
        };
        // The kernel refuses if the mapping has been sealed (`mseal`), or if this process has as
        // many mappings as it may. The old one then stays: harmless, and nobody is there to
        // be told.
        let _ = result;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::fs;

    use rustix::fd::{AsFd as _, OwnedFd};
    use rustix::fs::{MemfdFlags, OFlags, ftruncate, memfd_create, open};

    use super::*;

    fn page() -> usize {
        rustix::param::page_size()
    }

    fn file(pages: usize) -> OwnedFd {
        let fd = memfd_create(c"mirrored", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, (pages * page()) as u64).unwrap();
        fd
    }

    fn write(map: &Mapping, at: usize, byte: u8) {
        // SAFETY: nobody else has the memory.
        unsafe { map.at(at).write_volatile(byte) };
    }

    fn read(map: &Mapping, at: usize) -> u8 {
        // SAFETY: nobody else has the memory.
        unsafe { map.at(at).read_volatile() }
    }

    /// What this process has mapped of the files of this module; other tests run beside it.
    fn lines(fd: &OwnedFd) -> usize {
        let inode = std::format!(" {} ", rustix::fs::fstat(fd).unwrap().st_ino);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(&inode)).count()
    }

    #[test]
    fn the_end_of_a_mirrored_file_is_there_twice() {
        let (fd, page) = (file(3), page());
        let map = Mapping::mirrored(fd.as_fd(), 3 * page, page).unwrap();
        assert_eq!((map.length(), lines(&fd)), (5 * page, 2));
        for at in 0..3 * page {
            write(&map, at, (at % 251) as u8);
        }
        for at in 0..2 * page {
            assert_eq!(read(&map, 3 * page + at), ((at + page) % 251) as u8);
        }
        write(&map, 5 * page - 1, 255);
        assert_eq!(read(&map, 3 * page - 1), 255);
        drop(map);
        assert_eq!(lines(&fd), 0);
    }

    #[test]
    fn t06_a_mirror_that_cannot_be_leaves_nothing() {
        let (fd, page) = (file(2), page());
        let mirrored =
            |fd: &OwnedFd, length, from| Mapping::mirrored(fd.as_fd(), length, from).map(drop);
        // The second part is not a part, begins in the middle of a page, or behind the end.
        assert_eq!(mirrored(&fd, 2 * page, 2 * page), Err(Errno::INVAL));
        assert_eq!(mirrored(&fd, 2 * page, 8), Err(Errno::INVAL));
        assert_eq!(mirrored(&fd, page, 2 * page), Err(Errno::INVAL));
        assert_eq!(mirrored(&fd, usize::MAX, page), Err(Errno::NOMEM));
        // The first one fails.
        let path = std::format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&fd));
        let read_only =
            open(path, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(mirrored(&read_only, 2 * page, page), Err(Errno::ACCESS));
        assert_eq!(lines(&fd), 0);
    }

    /// A lock of a thread that has forgotten it: the kernel goes there when the thread ends.
    #[test]
    #[cfg(feature = "std")]
    fn a_mirror_with_an_armed_lock_in_it_keeps_its_addresses() {
        use core::sync::atomic::AtomicU32;

        let (fd, page) = (file(2), page());
        let me = ProcessId::current().unwrap();
        let map = Mapping::mirrored(fd.as_fd(), 2 * page, page).unwrap();
        let addresses = map.addresses();
        // In the mirror.
        // SAFETY: aligned, and inside; only this thread uses it, while the mapping is there.
        let gate = unsafe { map.at(2 * page).cast::<AtomicU32>().as_ref() };
        // SAFETY: the addresses stay ours: that is what is tested; the word is never changed.
        assert!(unsafe { baton::arm(gate, me) });
        drop(map);
        assert_eq!(lines(&fd), 0, "the memory is given back");
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let still = std::format!("{:x}-{:x} ---p", addresses.start, addresses.end);
        assert!(maps.contains(&still), "the addresses are kept: {still} in {maps}");
    }
}
