//! The turning before `main`: a program that was executed to be a zygote becomes one here.
//!
//! The application passes its socket's number and inode in [`MARKER`]. Only a variable that names an
//! open `SOCK_SEQPACKET` socket by its inode is taken for that; any other is left alone, and the
//! program runs as usual. A program that *was* meant never reaches its `main`: it serves, or ends
//! with [`NOT_PERMITTED`] if the application has died meanwhile, if the socket's creator is not its
//! parent or has another user, or if the program runs with more privileges than its caller: whoever
//! writes to the socket says which code is run.
//!
//! Only the copy of this crate inside the program diverts. A library that is loaded with the program
//! may contain another one, whose constructor runs first; it was compiled apart, with its own layouts
//! and its own allocator, so what the application asks for would mean something else to it.
//!
//! # Safety
//!
//! The constructor runs before `main`, when the program has one thread, after libc and Rust's own
//! constructor that keeps the arguments. It calls nothing else that `main` would have to set up.
#![expect(unsafe_code, reason = "a constructor is a link section, and environment is unsafe")]

use alloc::string::String;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::ffi::OsStr;
use std::format;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::geteuid;

use super::descriptors::{self, FIRST};
use super::server;
use crate::function::{is_in_program, program_was_executed};
use crate::process::fork::exit_now;
use crate::{Errno, Result};

/// The environment variable: the number of the socket, a colon, and its inode.
pub(super) const MARKER: &str = "IPC_ZYGOTE";

/// The exit code of a program that was meant to be a zygote and must not.
pub(super) const NOT_PERMITTED: i32 = 127;

/// Whether somebody called [`init`].
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Becomes the zygote if this process was started to be one, and returns otherwise.
///
/// With the feature `pre-main`, which is on by default, this has happened before `main` and the call
/// does nothing. Without it, a program that may start a zygote by `exec` calls this first in `main`:
/// whatever stands before it runs in the zygote too. It does nothing either in a shared library,
/// whose copy of this crate is not the program's.
///
/// # Examples
///
/// ```
/// // The first line of `main`.
/// ipc_core::process::init();
/// // Only the application comes here.
/// ```
pub fn init() {
    INITIALISED.store(true, Relaxed);
    divert();
}

/// Whether this program, executed again, would divert.
pub(super) fn is_in_place() -> bool {
    // A library diverts nothing, and under an explicit loader it is the loader that is executed.
    (INITIALISED.load(Relaxed) || before_main::has_run())
        && is_of_program()
        && program_was_executed()
}

/// Whether this copy of the crate is the program's own.
fn is_of_program() -> bool {
    is_in_program(divert as fn() as *const ())
}

/// The value of [`MARKER`] for this socket.
pub(super) fn marker(link: &OwnedFd) -> Result<String> {
    Ok(format!("{}:{}", link.as_raw_fd(), fstat(link)?.st_ino))
}

fn divert() {
    let Some(value) = std::env::var_os(MARKER) else { return };
    if !is_of_program() {
        return;
    }
    let Some(link) = meant(&value) else { return };
    if !is_permitted(link) {
        exit_now(NOT_PERMITTED);
    }
    // SAFETY: the program has one thread: it just began. Its children must not see the marker.
    unsafe { std::env::remove_var(MARKER) };
    // SAFETY: the descriptor came through `exec` for this purpose, so nobody else owns it.
    let link = unsafe { OwnedFd::from_raw_fd(link.as_raw_fd()) };
    exit_now(server::after_exec(link))
}

/// The socket, if the marker's value means this process.
fn meant(value: &OsStr) -> Option<BorrowedFd<'static>> {
    let (number, inode) = value.to_str()?.split_once(':')?;
    let number: i32 = number.parse().ok()?;
    if number < FIRST {
        return None;
    }
    let link = descriptors::borrow(number)?;
    let inode: u64 = inode.parse().ok()?;
    let fits = may_be(socket_domain(link), AddressFamily::UNIX)
        && may_be(socket_type(link), SocketType::SEQPACKET)
        && may_be(fstat(link).map(|stat| stat.st_ino), inode);
    fits.then_some(link)
}

/// Whether the answer is the right one, or cannot be had: a program that a sandbox keeps from asking
/// must not run its `main` for that. It is not permitted then, and ends.
fn may_be<T: PartialEq>(answer: Result<T>, right: T) -> bool {
    answer.map_or_else(|errno| errno != Errno::NOTSOCK, |found| found == right)
}

/// Whether the socket's creator may tell this process what to do.
fn is_permitted(link: BorrowedFd<'_>) -> bool {
    // SAFETY: reads a number that the kernel gave to the process.
    let elevated = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    !elevated && is_of_parent(link) && fcntl_setfd(link, FdFlags::CLOEXEC).is_ok()
}

/// Whether the parent created the socket, and is of this user. Both process ids are zero if it is
/// outside of this process's pid namespace.
fn is_of_parent(link: BorrowedFd<'_>) -> bool {
    let mut creator = libc::ucred { pid: -1, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (number, option) = (link.as_raw_fd(), libc::SO_PEERCRED);
    let out = (&raw mut creator).cast();
    // SAFETY: writes at most `len` bytes into `creator`.
    let done = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, option, out, &mut len) };
    // SAFETY: reads a number. It is not rustix's, whose type excludes zero.
    let parent = unsafe { libc::getppid() };
    done == 0 && creator.pid == parent && creator.uid == geteuid().as_raw()
}

#[cfg(feature = "pre-main")]
mod before_main {
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// That the linker kept the constructor, and that the loader ran it.
    static RAN: AtomicBool = AtomicBool::new(false);

    // The loader calls what stands in this section, as functions of this type.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = constructor;

    extern "C" fn constructor() {
        RAN.store(true, Relaxed);
        super::divert();
    }

    pub(super) fn has_run() -> bool {
        // Naming the constructor here makes the linker keep it.
        core::hint::black_box(&CONSTRUCTOR);
        RAN.load(Relaxed)
    }
}

#[cfg(not(feature = "pre-main"))]
mod before_main {
    pub(super) const fn has_run() -> bool {
        false
    }
}
