//! A child that was asked for: the half of a spawn that takes time.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::MutexGuard;

use super::connection::Connection;
use super::{Zygote, ZygoteError};
use crate::clock::Deadline;
use crate::process::Child;

/// How long a zygote may take for a request before it is killed. This is no judgement on whether it
/// lives: it owns nothing, so that replacing one which is merely stopped loses nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A child on its way, from [`Zygote::begin_spawn`].
///
/// The zygote serves one request at a time: until this is dropped, other threads that ask it for
/// something wait. Dropping it before it has come to an end ends the zygote, and no child runs:
/// [`Zygote::restart`] makes another. It stays on its thread.
#[derive(Debug)]
#[must_use = "dropping it ends the zygote"]
pub struct Spawning<'a> {
    zygote: &'a Zygote,
    connection: MutexGuard<'a, Option<Connection>>,
    /// When the zygote is given up.
    patience: Deadline,
    /// Whether the child or an error has come.
    over: bool,
}

static_assertions::assert_impl_all!(Spawning<'static>: Sync);
static_assertions::assert_not_impl_any!(Spawning<'static>: Send);

impl<'a> Spawning<'a> {
    pub(super) fn new(zygote: &'a Zygote, connection: MutexGuard<'a, Option<Connection>>) -> Self {
        Self { zygote, connection, patience: Deadline::after(PATIENCE), over: false }
    }

    /// The child; `None` if it is not there by `until`, and then the call may be repeated.
    ///
    /// # Errors
    ///
    /// As [`Zygote::spawn`]. After an error, and after the child, there is nothing more to come, and
    /// a further call says [`ZygoteError::Died`].
    pub fn wait_until(&mut self, until: Deadline) -> Result<Option<Child>, ZygoteError> {
        let Some(connection) = self.connection.as_mut().filter(|_| !self.over) else {
            return Err(ZygoteError::Died);
        };
        let result = match connection.child(until.min(self.patience)) {
            Ok(None) if !self.patience.has_passed() => return Ok(None),
            Ok(None) => {
                connection.end(Duration::ZERO);
                Err(ZygoteError::Unresponsive)
            }
            result => result,
        };
        self.over = true;
        result
    }

    /// The child, or why there is none.
    pub(super) fn finish(mut self) -> Result<Child, ZygoteError> {
        // It loses its patience before that.
        self.wait_until(Deadline::FAR)?.ok_or(ZygoteError::Unresponsive)
    }
}

impl AsFd for Spawning<'_> {
    /// Readable when [`wait_until`](Self::wait_until) has something to say. A zygote that is killed
    /// while its child begins may not show here: look every now and then as well.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // `begin_spawn` has found the connection there, and it stays while this holds the lock.
        self.connection.as_ref().expect("the connection of the request").as_fd()
    }
}

impl Drop for Spawning<'_> {
    fn drop(&mut self) {
        // Not in a copy that a fork made.
        if !self.over && self.zygote.check_owner().is_ok() {
            if let Some(connection) = self.connection.as_mut() {
                connection.end(Duration::ZERO);
            }
        }
    }
}
