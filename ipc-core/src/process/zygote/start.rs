//! Making a zygote: by a fork of this moment, or by executing the program again.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::connection::Connection;
use super::message::Request;
use super::{MAX_BYTES, ZygoteBuilder, ZygoteError, descriptors, divert, server};
use crate::fdpass::send_with_fds;
use crate::process::signal_set::set_mask;
use crate::process::threads::is_single_threaded;
use crate::process::{Child, ForkFnError, SignalSet, Spawn, Stage, fork_fn};

/// The program of this very process, even if its file was replaced or removed.
const PROGRAM: &str = "/proc/self/exe";

/// How a zygote is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Auto,
    Fork,
    Exec,
}

impl Method {
    pub(super) fn start(self, how: &ZygoteBuilder) -> Result<Connection, ZygoteError> {
        let method = match self {
            // Whoever cannot say how many threads there are must not fork.
            Self::Auto if is_single_threaded() == Ok(true) => Self::Fork,
            Self::Auto => Self::Exec,
            method => method,
        };
        if method == Self::Exec && !divert::is_in_place() {
            return Err(ZygoteError::NoDiversion);
        }
        let (ours, theirs) = pair(&how.names()?)?;
        let zygote = if method == Self::Fork {
            // The child takes its end along; in this process it is closed with the closure.
            let serve = || server::after_fork(theirs);
            let mask = set_mask(SignalSet::ALL_BUT_LIBCS);
            let forked = fork_fn(serve);
            set_mask(mask);
            forked.map_err(|error| match error {
                ForkFnError::ManyThreads => ZygoteError::ManyThreads,
                ForkFnError::ThreadsUnknown(errno) => ZygoteError::ThreadsUnknown(errno),
                ForkFnError::Os(errno) => ZygoteError::Os(errno),
            })?
        } else {
            execute(&theirs)?
        };
        Connection::open(ours, zygote, how.limit())
    }
}

/// Both ends of the socket, with the first message on its way: this process's pidfd, and what the zygote
/// calls first.
fn pair(preloads: &[u8]) -> Result<(OwnedFd, OwnedFd), ZygoteError> {
    if preloads.len() > MAX_BYTES {
        return Err(ZygoteError::TooManyPreloads);
    }
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (ours, theirs) = (descriptors::lift(ours)?, descriptors::lift(theirs)?);
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    send_with_fds(&ours, &Request::Hello { preloads }.encode(0), &[own.as_fd()])
        .map_err(super::connection::not_sent)?;
    Ok((ours, theirs))
}

/// This program once more, as it was started, with the socket as its only descriptor beside the
/// standard streams.
fn execute(link: &OwnedFd) -> Result<Child, ZygoteError> {
    let mut program = Spawn::new(PROGRAM);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        program.arg0(name).args(arguments);
    }
    program
        .env(divert::MARKER, divert::marker(link)?)
        .pass(link.as_fd())
        .signal_mask(SignalSet::ALL)
        // Its children ignore what the application ignores, SIGPIPE included.
        .default_signals(SignalSet::EMPTY);
    program.spawn().map_err(|error| match error.stage {
        Stage::Exec => ZygoteError::Exec(error.errno),
        _ => ZygoteError::Os(error.errno),
    })
}
