//! `recvmsg` on a connected socket, and every descriptor that came.
//!
//! rustix's leaves a descriptor open that comes in a control message of a kind that it does not know,
//! such as the pidfd that a socket adds once its option `SO_PASSPIDFD` is set. And it asks for the
//! sender's address each time, which a connected socket does not need and which costs a tenth of
//! a small message.
//!
//! # Safety
//!
//! The kernel writes into the buffers of the caller and into a control buffer of the length that it
//! is told, and says how much of that it filled; libc's macros walk no further. Each descriptor in a
//! message is new in this process and belongs to whoever reads it there: it is read once.
#![expect(unsafe_code, reason = "the message header is made of pointers")]

use core::mem::{self, MaybeUninit};

use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::IoSliceMut;
use rustix::net::RecvFlags;

use super::{Fds, MAX_FDS};
use crate::Result;
use crate::errno::last_errno;

/// A message that carries the sender's pidfd (`linux/socket.h`, from Linux 6.5 on).
const SCM_PIDFD: i32 = 4;

/// Room for one descriptor more than allowed tells a message with too many from one that was cut off.
const ROOM: usize = {
    // SAFETY: computes a number.
    unsafe { libc::CMSG_SPACE(((MAX_FDS + 1) * size_of::<RawFd>()) as u32) as usize }
};

/// Aligned as the headers in it.
#[repr(C)]
union Control {
    bytes: [u8; ROOM],
    header: libc::cmsghdr,
}

/// What came, before it is judged. Every descriptor has an owner, here or already closed.
pub(super) struct Came {
    pub(super) len: usize,
    pub(super) fds: Fds,
    /// There were more descriptors than [`MAX_FDS`].
    pub(super) too_many: bool,
    /// There were control messages of another kind.
    pub(super) unexpected: bool,
    /// The kernel dropped control messages.
    pub(super) is_control_cut: bool,
    /// The kernel dropped bytes.
    pub(super) is_cut: bool,
}

impl Came {
    /// An empty packet, or the end.
    pub(super) fn is_nothing(&self) -> bool {
        let was_more = self.too_many || self.unexpected || self.is_control_cut || self.is_cut;
        self.len == 0 && self.fds.is_empty() && !was_more
    }
}

#[allow(clippy::unnecessary_cast, reason = "lengths have 32 bits in musl")]
pub(super) fn recvmsg(
    socket: impl AsFd,
    bufs: &mut [IoSliceMut<'_>],
    flags: RecvFlags,
) -> Result<Came> {
    let mut control = MaybeUninit::<Control>::uninit();
    // SAFETY: all zeros is a header without buffers.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    // An `IoSliceMut` has the form of an `iovec`.
    header.msg_iov = bufs.as_mut_ptr().cast();
    header.msg_iovlen = bufs.len() as _;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = ROOM as _;
    let socket = socket.as_fd().as_raw_fd();
    let flags = flags.bits() as i32 | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header describes buffers that live until the call returns.
    let len = unsafe { libc::recvmsg(socket, &mut header, flags) };
    let len = usize::try_from(len).map_err(|_| last_errno())?;
    let mut came = Came {
        len,
        fds: Fds::default(),
        too_many: false,
        unexpected: false,
        is_control_cut: header.msg_flags & libc::MSG_CTRUNC != 0,
        is_cut: header.msg_flags & libc::MSG_TRUNC != 0,
    };
    // SAFETY: the kernel filled as much of the buffer as the header says.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&header) };
    // SAFETY: a pointer from these macros is null or points to a whole header in the buffer.
    while let Some(part) = unsafe { at.as_ref() } {
        let kind = (part.cmsg_level, part.cmsg_type);
        let is_rights = kind == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        came.unexpected |= !is_rights;
        if is_rights || kind == (libc::SOL_SOCKET, SCM_PIDFD) {
            // SAFETY: computes a number.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = (part.cmsg_len as usize).saturating_sub(empty) / size_of::<RawFd>();
            // SAFETY: what follows the header.
            let numbers = unsafe { libc::CMSG_DATA(at) }.cast::<RawFd>();
            for place in 0..count {
                // SAFETY: the header says that so many are there.
                let number = unsafe { numbers.add(place) };
                // SAFETY: the same, and the kernel wrote it.
                let number = unsafe { number.read_unaligned() };
                // The kernel could not make a pidfd, and says so in its place.
                if number < 0 {
                    continue;
                }
                // SAFETY: new in this process, and read once.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                if is_rights {
                    came.too_many |= came.fds.push(fd).is_err();
                }
            }
        }
        // SAFETY: as for the first.
        at = unsafe { libc::CMSG_NXTHDR(&header, at) };
    }
    Ok(came)
}
