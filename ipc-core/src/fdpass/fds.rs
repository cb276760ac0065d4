//! The descriptors that came with a message.

use core::iter::FusedIterator;

use rustix::fd::OwnedFd;

use super::MAX_FDS;

/// The descriptors that came with a message, in the order in which they were sent.
///
/// It is an iterator; what is not taken out of it is closed when it is dropped. A receiver that
/// knows how many must have come converts it into an array of that length, which gives the whole
/// back when the number differs.
///
/// # Examples
///
/// ```
/// use std::os::unix::net::UnixDatagram;
/// use std::os::fd::{AsFd, OwnedFd};
/// use ipc_core::fdpass::{recv_with_fds, send_with_fds};
///
/// let (a, b) = UnixDatagram::pair()?;
/// send_with_fds(&a, b"two", &[a.as_fd(), b.as_fd()])?;
///
/// let fds = recv_with_fds(&b, &mut [0; 8])?.fds;
/// assert_eq!(fds.len(), 2);
/// let fds = <[OwnedFd; 3]>::try_from(fds).expect_err("not three");
/// let [_first, _second] = <[OwnedFd; 2]>::try_from(fds).expect("two");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Fds {
    /// `Some` from `next` to `end` and nowhere else.
    slots: [Option<OwnedFd>; MAX_FDS],
    next: usize,
    end: usize,
}

impl Fds {
    /// Appends a descriptor, or gives it back when [`MAX_FDS`] are there.
    pub(super) fn push(&mut self, fd: OwnedFd) -> Result<(), OwnedFd> {
        match self.slots.get_mut(self.end) {
            Some(slot) => {
                *slot = Some(fd);
                self.end += 1;
                Ok(())
            }
            None => Err(fd),
        }
    }

    /// Whether none is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next == self.end
    }
}

impl Iterator for Fds {
    type Item = OwnedFd;

    fn next(&mut self) -> Option<OwnedFd> {
        let fd = self.slots.get_mut(self.next)?.take()?;
        self.next += 1;
        Some(fd)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Fds {}
impl FusedIterator for Fds {}

impl<const N: usize> TryFrom<Fds> for [OwnedFd; N] {
    type Error = Fds;

    fn try_from(mut fds: Fds) -> Result<Self, Fds> {
        if fds.len() != N {
            return Err(fds);
        }
        Ok(core::array::from_fn(|_| fds.next().expect("as many as were counted")))
    }
}

static_assertions::assert_impl_all!(Fds: Send, Sync);
