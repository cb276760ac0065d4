//! Where workers come from: the zygote, and another one when that has died.

use ipc_core::process::{Spawning, Start, Zygote, ZygoteError};
use rustix::fd::BorrowedFd;

/// A source of worker processes that outlives its helper.
#[derive(Debug)]
pub(crate) struct Nursery(Zygote);

impl Nursery {
    pub(crate) fn start() -> Result<Self, ZygoteError> {
        Zygote::start().map(Self)
    }

    /// Asks for a process. [`Spawning::wait_until`] may say that the helper has died or hangs: then the next call
    /// makes a new one.
    pub(crate) fn begin(
        &self,
        entry: fn(Start) -> i32,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Spawning<'_>, ZygoteError> {
        match self.0.begin_spawn(entry, bytes, fds) {
            // Its children go on, and a new one makes the next.
            Err(ZygoteError::Died) => {
                self.0.restart()?;
                self.0.begin_spawn(entry, bytes, fds)
            }
            result => result,
        }
    }
}
