//! `ioctl(pidfd, PIDFD_GET_INFO)`: the exit status of a process that somebody else reaped.
//!
//! # Safety
//!
//! The one unsafe act is the ioctl. Its number carries the size of [`PidfdInfo`], and the kernel
//! writes no more than that.
#![expect(unsafe_code, reason = "the ioctl has no safe wrapper")]

use rustix::fd::BorrowedFd;
use rustix::ioctl::{Updater, ioctl, opcode};

use super::ExitStatus;
use crate::{Errno, Result};

/// The kernel's `struct pidfd_info` in its first published size (`linux/pidfd.h`). Later kernels
/// append to it and still serve this size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    /// In: what is asked for. Out: what was filled in.
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    /// Real, effective, saved and filesystem uid and gid.
    credentials: [u32; 8],
    /// A wait status as `wait(2)` reports it.
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// The bit of [`PidfdInfo::mask`] that stands for the exit status (Linux 6.15).
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO` of `linux/pidfd.h`.
const PIDFD_GET_INFO: rustix::ioctl::Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

/// The exit status of the process, or `None` as long as nobody has reaped it.
///
/// # Errors
///
/// `ENOTTY` or `EINVAL` from a kernel without the ioctl (before 6.13), `ESRCH` from one that keeps
/// no status after the reap (before 6.15).
pub(super) fn exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<ExitStatus>> {
    match ask(pidfd) {
        // The kernel looks for the status first and for the process second, and a reap stores the
        // one before it removes the other. A reap between the two looks leaves neither; after it
        // the status is there, where it is kept at all.
        Err(Errno::SRCH) => ask(pidfd),
        answer => answer,
    }
}

fn ask(pidfd: BorrowedFd<'_>) -> Result<Option<ExitStatus>> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: `PidfdInfo` is the structure that this number stands for.
    let request = unsafe { Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info) };
    // SAFETY: the kernel writes into `info`, which lives until the call returns, and nowhere else.
    unsafe { ioctl(pidfd, request) }?;
    let known = info.mask & PIDFD_INFO_EXIT != 0;
    Ok(known.then(|| ExitStatus::from_wait_status(info.exit_code)))
}
