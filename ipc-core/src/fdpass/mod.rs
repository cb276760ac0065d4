//! Passing file descriptors over Unix sockets: at most [`MAX_FDS`] beside the bytes of a message, all
//! or nothing.
//!
//! The kernel's own way of receiving descriptors is lossy. A receiver whose descriptor table is
//! nearly full gets as many as fit, the rest vanish, and one flag tells; a receiver with too small a
//! control buffer likewise. Here every receipt is complete or an error with a name, and after an
//! error no descriptor is left open: neither those that came nor those that were cut off. Each
//! received descriptor is close-on-exec from the moment it exists.
//!
//! [`send_with_fds`] and [`recv_with_fds`] move one message over a borrowed socket and keep no state.
//! [`Link`] owns its socket, sends whole messages over streams as well, and refuses to go on after a
//! message was lost.
//!
//! # Kinds of sockets
//!
//! `SOCK_SEQPACKET` is the natural one: messages, order, and an end. `SOCK_DGRAM` has no end: a
//! receiver does not learn that its peer has gone. On `SOCK_STREAM` bytes have no boundaries and
//! descriptors have only half of one: they arrive together with the bytes that the kernel returns in
//! one call, the last of which belong to the message that carried them. A reader that asks for no
//! more than the rest of the current frame always gets the right descriptors.
//!
//! # Examples
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use std::os::fd::{AsFd, OwnedFd};
//! use ipc_core::fdpass::{recv_with_fds, send_with_fds};
//!
//! let (ours, theirs) = UnixStream::pair()?;
//! let file = std::fs::File::open("/dev/null")?;
//! send_with_fds(&ours, b"take this", &[file.as_fd()])?;
//!
//! let mut buf = [0; 64];
//! let received = recv_with_fds(&theirs, &mut buf)?;
//! assert_eq!(&buf[..received.len], b"take this");
//! let [file]: [OwnedFd; 1] = received.fds.try_into().expect("one descriptor");
//! # drop(file);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # References
//!  - [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)
//!  - CVE-2014-3636 and CVE-2020-12049 of D-Bus: why the limit is 16, and why what came with a
//!    truncated message must be closed.

mod fds;
mod link;
mod message;
mod recv;
mod send;

pub use fds::Fds;
pub use link::Link;
pub use recv::{Received, RecvError, recv_with_fds};
pub use send::{SendError, send_with_fds};

#[cfg(feature = "std")]
pub(crate) use {recv::recv_parts, send::send_parts};

/// The most descriptors that one message may carry.
///
/// The kernel would take 253. A receiver pays for each one before it can look at the message, so a
/// small limit is a receiver's defence; D-Bus came to the same number.
pub const MAX_FDS: usize = 16;
