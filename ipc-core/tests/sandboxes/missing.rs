//! Kernels and sandboxes.
//!
//! # Safety
//!
//! Namespaces and mounts of the calling process alone, which is one cell's.
#![expect(unsafe_code, reason = "a mount namespace without /proc")]

use std::io;

use ipc_testkit::cases::seccomp::{When, answer};

/// Something that is not there, from now on, for this process and all that it starts.
pub(crate) struct Missing {
    pub(crate) name: &'static str,
    /// What the kernel answers instead.
    pub(crate) errno: i32,
    pub(crate) take_away: fn(i32) -> io::Result<()>,
}

macro_rules! missing {
    ($($name:literal, $errno:ident, $take_away:expr;)*) => {
        pub(crate) const ALL: [Missing; [$($name),*].len()] = [$(
            Missing { name: $name, errno: libc::$errno, take_away: $take_away },
        )*];
    };
}

missing! {
    "with_everything", ENOENT, |_| Ok(());
    // Linux 5.3.
    "without_pidfd_open", ENOSYS, pidfd_open;
    "forbidden_pidfd_open", EPERM, pidfd_open;
    // Linux 5.1.
    "without_pidfd_send_signal", ENOSYS, pidfd_send_signal;
    "forbidden_pidfd_send_signal", EPERM, pidfd_send_signal;
    // Linux 5.4; a kernel before it does not know this kind of id.
    "without_waitid_by_pidfd", EINVAL, waitid_pidfd;
    "forbidden_waitid_by_pidfd", EPERM, waitid_pidfd;
    // Linux 6.13, and 6.15 for the exit status.
    "without_pidfd_get_info", ENOTTY, pidfd_get_info;
    "unknown_pidfd_get_info", ENOSYS, pidfd_get_info;
    "forbidden_pidfd_get_info", EPERM, pidfd_get_info;
    // Linux 5.3.
    "without_clone3", ENOSYS, clone3;
    "forbidden_clone3", EPERM, clone3;
    // Linux 5.9.
    "without_close_range", ENOSYS, close_range;
    "forbidden_close_range", EPERM, close_range;
    // Linux 6.9.
    "without_pidfs", ENOSYS, pidfs;
    "forbidden_pidfs", EPERM, pidfs;
    "without_proc", ENOENT, proc;
    "as_linux_5_5", ENOSYS, |_| since_5_5();
    "as_linux_5_5_without_proc", ENOENT, |errno| { since_5_5()?; proc(errno) };
    "forbidden_pidfd_open_without_proc", EPERM, |errno| { pidfd_open(errno)?; proc(errno) };
}

fn refuse(call: libc::c_long, when: When, errno: i32) -> io::Result<()> {
    answer(call, &when, libc::SECCOMP_RET_ERRNO | errno as u32);
    Ok(())
}

fn pidfd_open(errno: i32) -> io::Result<()> {
    refuse(libc::SYS_pidfd_open, When::Always, errno)
}

fn pidfd_send_signal(errno: i32) -> io::Result<()> {
    refuse(libc::SYS_pidfd_send_signal, When::Always, errno)
}

fn waitid_pidfd(errno: i32) -> io::Result<()> {
    refuse(libc::SYS_waitid, When::Equal(0, libc::P_PIDFD), errno)
}

fn pidfd_get_info(errno: i32) -> io::Result<()> {
    /// `_IOWR(0xff, 11, struct pidfd_info)` with the 64 bytes of its first form.
    const PIDFD_GET_INFO: u32 = 3 << 30 | 64 << 16 | 0xff << 8 | 11;
    refuse(libc::SYS_ioctl, When::Equal(1, PIDFD_GET_INFO), errno)
}

fn clone3(errno: i32) -> io::Result<()> {
    refuse(libc::SYS_clone3, When::Always, errno)
}

fn close_range(errno: i32) -> io::Result<()> {
    refuse(libc::SYS_close_range, When::Always, errno)
}

fn pidfs(errno: i32) -> io::Result<()> {
    // By this the file system of a pidfd is recognised.
    refuse(libc::SYS_fstatfs, When::Always, errno)
}

fn since_5_5() -> io::Result<()> {
    pidfd_get_info(libc::ENOTTY)?;
    close_range(libc::ENOSYS)?;
    pidfs(libc::ENOSYS)
}

/// Nothing is mounted at `/proc`.
fn proc(_: i32) -> io::Result<()> {
    // SAFETY: asks for a number.
    let user = if unsafe { libc::geteuid() } == 0 { 0 } else { libc::CLONE_NEWUSER };
    // SAFETY: a namespace of this process, which has one thread.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS | user) })?;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    // SAFETY: the strings are static, and what is not given is null.
    done(unsafe { libc::mount(none, root, core::ptr::null(), private, core::ptr::null()) })?;
    let (proc, tmpfs) = (c"/proc".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: as above.
    done(unsafe { libc::mount(none, proc, tmpfs, libc::MS_RDONLY, core::ptr::null()) })
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
