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
use ipc_core::{Result, baton};
use rustix::fd::BorrowedFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A whole file, mapped readable, writable and shared.
///
/// The memory behind it is sealed in size and reserved, so no access to it faults.
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
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no existing mapping is touched.
        let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, fd, 0) }?;
        // The kernel never chooses address 0 for anybody.
        let start = NonNull::new(start.cast()).ok_or(ipc_core::Errno::NOMEM)?;
        Ok(Self { start, length })
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
