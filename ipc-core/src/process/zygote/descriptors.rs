//! The descriptor table of a zygote: the standard streams, its socket, and nothing of the
//! application's, whose peers would otherwise never see an end of file.
//!
//! # Safety
//!
//! A forked zygote is full of objects that own descriptors: statics, and the frames that it will
//! never return to. Closing their descriptors would let the next one that is opened take an owned
//! number. So each is *replaced* by one that refuses every operation; the number stays taken. One that
//! is too high for that is closed: no descriptor can be given such a number.
#![expect(unsafe_code, reason = "descriptors are known by their numbers")]

use alloc::vec::Vec;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::{fs, io};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::errno::last_errno;
use crate::{Errno, Result};

/// The first number behind the standard streams.
pub(super) const FIRST: i32 = 3;

/// Moves a descriptor behind the standard streams, in case one of these was closed.
pub(super) fn lift(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST { Ok(fd) } else { fcntl_dupfd_cloexec(&fd, FIRST) }
}

/// Opens the standard streams that are closed on `/dev/null`, as Rust does before `main`: no
/// descriptor of ours may take their place.
pub(super) fn open_standard_streams() -> Result<()> {
    for number in 0..FIRST {
        if !is_open(number) {
            // The lowest free number is this one: those below are open.
            let null = open("/dev/null", OFlags::RDWR, Mode::empty())?;
            debug_assert_eq!(null.as_raw_fd(), number);
            let _ = null.into_raw_fd();
        }
    }
    Ok(())
}

/// In a process that was forked: leaves the standard streams and `kept` alone and puts a dead
/// descriptor in place of every other: reading, writing and polling it says `EBADF`.
pub(super) fn replace_all_but(kept: &OwnedFd) -> Result<()> {
    let dead = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let spared = [kept.as_raw_fd(), dead.as_raw_fd()];
    let mut numbers = open_numbers()?;
    // The listing itself was open and no longer is.
    numbers.retain(|number| *number >= FIRST && !spared.contains(number) && is_open(*number));
    let Some(highest) = numbers.iter().max() else { return Ok(()) };
    let limit = getrlimit(Resource::Nofile);
    let raised = raise(limit, *highest as u64 + 1);
    let replaced = numbers.iter().try_for_each(|number| replace(*number, &dead));
    if raised { replaced.and(setrlimit(Resource::Nofile, limit)) } else { replaced }
}

/// Raises the limit of open files until `count` numbers are below it, or as far as this process may.
/// Such numbers are left from before somebody lowered it. Says whether the limit is another now.
fn raise(limit: Rlimit, count: u64) -> bool {
    if limit.current.is_none_or(|current| count <= current) {
        return false;
    }
    let enough = |most: u64| most.max(count);
    let wanted = Rlimit { current: Some(count), maximum: limit.maximum.map(enough) };
    setrlimit(Resource::Nofile, wanted).is_ok()
        || setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok()
}

fn replace(number: i32, dead: &OwnedFd) -> Result<()> {
    // SAFETY: whoever owns the number in this process keeps a valid descriptor.
    if unsafe { libc::dup3(dead.as_raw_fd(), number, libc::O_CLOEXEC) } >= 0 {
        return Ok(());
    }
    match last_errno() {
        // It is beyond the limit, which this process may not raise so far, now or later. So the number
        // is never given again, and whoever owns it is refused as well.
        Errno::BADF => {
            // SAFETY: see above. The descriptor is gone whatever the answer is.
            unsafe { libc::close(number) };
            Ok(())
        }
        errno => Err(errno),
    }
}

/// The open descriptor of this number, if it is one.
pub(super) fn borrow(number: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: it is open, and this process, which has one thread and just began, does not close it.
    is_open(number).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

fn is_open(number: i32) -> bool {
    // SAFETY: reads a flag; a number that is not open is refused.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

fn open_numbers() -> Result<Vec<i32>> {
    let entries = fs::read_dir("/proc/self/fd").and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}
