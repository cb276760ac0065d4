//! Making a zygote: by a fork of this moment, or by executing the program again.
//!
//! # Safety
//!
//! Between the fork and the `exec` the child makes system calls and nothing else: all that `exec`
//! needs was prepared before.
#![expect(unsafe_code, reason = "fork and execve")]

use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::connection::Connection;
use super::message::{Reply, Request};
use super::{ZygoteError, descriptors, divert, server, signals};
use crate::fdpass::send_with_fds;
use crate::process::fork::{exit_now, last_errno};
use crate::process::threads::is_single_threaded;
use crate::process::{Fork, ForkFnError, fork, fork_fn};
use crate::{Errno, Result};

/// The program of this very process, even if its file was replaced or removed.
const PROGRAM: &CStr = c"/proc/self/exe";

/// How a zygote is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Auto,
    Fork,
    Exec,
}

impl Method {
    pub(super) fn start(self) -> Result<Connection, ZygoteError> {
        let method = match self {
            // Whoever cannot say how many threads there are must not fork.
            Self::Auto if is_single_threaded() == Ok(true) => Self::Fork,
            Self::Auto => Self::Exec,
            method => method,
        };
        if method == Self::Exec && !divert::is_in_place() {
            return Err(ZygoteError::NoDiversion);
        }
        let (ours, theirs) = pair()?;
        let zygote = if method == Self::Fork {
            // The child takes its end along; in this process it is closed with the closure.
            let serve = || server::after_fork(theirs);
            let mask = signals::block_all();
            let forked = fork_fn(serve);
            mask.restore();
            forked.map_err(|error| match error {
                ForkFnError::ManyThreads => ZygoteError::ManyThreads,
                ForkFnError::ThreadsUnknown(errno) => ZygoteError::ThreadsUnknown(errno),
                ForkFnError::Os(errno) => ZygoteError::Os(errno),
            })?
        } else {
            let program = Program::new(&theirs)?;
            let mask = signals::block_all();
            // SAFETY: the child calls `execute` alone, which makes system calls.
            let forked = unsafe { fork() };
            if matches!(forked, Ok(Fork::Child)) {
                program.execute(&theirs);
            }
            mask.restore();
            match forked? {
                Fork::Parent(zygote) => zygote,
                Fork::Child => unreachable!("it executes or ends"),
            }
        };
        Connection::open(ours, zygote)
    }
}

/// Both ends of the socket, with the first message on its way: this process's pidfd.
fn pair() -> Result<(OwnedFd, OwnedFd), ZygoteError> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (ours, theirs) = (descriptors::lift(ours)?, descriptors::lift(theirs)?);
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    send_with_fds(&ours, &Request::Hello.encode(0), &[own.as_fd()])
        .map_err(super::connection::not_sent)?;
    Ok((ours, theirs))
}

/// Arguments and environment, as `execve` wants them.
struct Program {
    /// What the pointers point into.
    _strings: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Program {
    fn new(link: &OwnedFd) -> Result<Self> {
        let arguments: Vec<_> = std::env::args_os().map(c_string).collect::<Result<_>>()?;
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os().filter(|(name, _)| name != divert::MARKER) {
            environment.push(c_string(assignment(name, value))?);
        }
        environment
            .push(c_string(assignment(divert::MARKER.into(), divert::marker(link)?.into()))?);

        let point = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, environment, strings) = {
            let pointers = (point(&arguments), point(&environment));
            // Moving a `CString` leaves its bytes where they are.
            (pointers.0, pointers.1, arguments.into_iter().chain(environment).collect())
        };
        Ok(Self { _strings: strings, arguments, environment })
    }

    /// In a forked child: becomes the program.
    fn execute(&self, link: &OwnedFd) -> ! {
        let errno = match descriptors::pass_only(link) {
            Ok(()) => {
                let (arguments, environment) = (&self.arguments, &self.environment);
                // SAFETY: both lists end with a null pointer and point to strings that `self` owns.
                unsafe { libc::execve(PROGRAM.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
                last_errno()
            }
            Err(errno) => errno,
        };
        // If the application does not hear it, it sees this process end.
        let _ = send_with_fds(link, &Reply::Exec(errno).encode(0), &[]);
        exit_now(divert::NOT_PERMITTED)
    }
}

fn assignment(name: OsString, value: OsString) -> OsString {
    let mut assignment = name;
    assignment.push("=");
    assignment.push(value);
    assignment
}

fn c_string(string: OsString) -> Result<CString> {
    // What the kernel gave to this process had no zero inside.
    CString::new(string.into_vec()).map_err(|_| Errno::INVAL)
}
