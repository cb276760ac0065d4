//! [`Watch`]: until somebody else closes a file, or for a moment.

use core::ffi::CStr;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::os::Until;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::read;

use super::{NamedError, RegionName};

/// How long a [`Watch`] waits at most. The event comes late, or never, in three cases: the kernel closes a dead
/// process's files a moment before it unlocks them, a forked child may have the descriptor as well, and a sandbox may
/// refuse `inotify`.
const SLICE: Duration = Duration::from_millis(50);

/// What shows that somebody has closed the file that has a name.
pub(super) struct Watch {
    /// None if there are too many for this user. Then time alone has to do.
    inotify: Option<OwnedFd>,
}

impl Watch {
    /// Shows what happens from now on to the file that has `name` in `/dev/shm`.
    pub(super) fn new(name: &CStr) -> Self {
        const FOLDER: &[u8] = b"/dev/shm/";
        let mut path = [0; FOLDER.len() + RegionName::MAX + 1];
        path[..FOLDER.len()].copy_from_slice(FOLDER);
        let name = name.to_bytes();
        path[FOLDER.len()..][..name.len()].copy_from_slice(name);
        let watching = || {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let path = CStr::from_bytes_until_nul(&path).unwrap_or_default();
            inotify::add_watch(&inotify, path, WatchFlags::CLOSE | WatchFlags::DONT_FOLLOW)?;
            Ok::<_, ipc_core::Errno>(inotify)
        };
        Self { inotify: watching().ok() }
    }

    /// Waits until somebody has closed the file, but not beyond `deadline`, and no longer than a slice.
    pub(super) fn wait(&self, deadline: Deadline) -> Result<(), NamedError> {
        let until = Until::uninterrupted(deadline.min(Deadline::after(SLICE)));
        let Some(inotify) = &self.inotify else {
            return until.poll(&mut []).map(drop).map_err(NamedError::Os);
        };
        let closed = until.poll(&mut [PollFd::new(inotify, PollFlags::IN)]);
        if closed.map_err(NamedError::Os)? {
            // Events of the same kind are one. What is left over ends the next wait at once.
            read(inotify, &mut [0; 256]).map_err(NamedError::Os)?;
        }
        Ok(())
    }
}
