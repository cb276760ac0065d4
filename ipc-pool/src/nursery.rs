//! Where workers come from: the zygote, and another one when that has died.

use ipc_core::process::{Child, Start, Zygote, ZygoteError};
use rustix::fd::BorrowedFd;

/// A source of worker processes that outlives its helper.
#[derive(Debug)]
pub(crate) struct Nursery(Zygote);

impl Nursery {
    pub(crate) fn start() -> Result<Self, ZygoteError> {
        Zygote::start().map(Self)
    }

    pub(crate) fn spawn(
        &self,
        entry: fn(Start) -> i32,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Child, ZygoteError> {
        match self.0.spawn(entry, bytes, fds) {
            // Somebody killed it, or it hung: its children go on, and a new one makes the next.
            Err(ZygoteError::Died | ZygoteError::Unresponsive) => {
                self.0.restart()?;
                self.0.spawn(entry, bytes, fds)
            }
            result => result,
        }
    }
}
