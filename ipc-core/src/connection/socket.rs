//! What a connection runs on.

use std::os::fd::OwnedFd;

use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername, socketpair};

use crate::{Errno, Result};

/// Two connected sockets.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A descriptor that can be one end of a connection.
pub(super) fn checked(fd: OwnedFd) -> Result<OwnedFd> {
    let fits = socket_domain(&fd)? == AddressFamily::UNIX
        && socket_type(&fd)? == SocketType::SEQPACKET
        // One that only listens, or was never connected, has no peer.
        && getpeername(&fd).is_ok();
    if fits { Ok(fd) } else { Err(Errno::INVAL) }
}
