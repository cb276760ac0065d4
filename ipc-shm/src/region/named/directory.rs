//! [`Directory`]: where names are, and what may have one.

use core::ffi::CStr;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, fchmod, flock, fstat, fstatfs,
    linkat, openat, statat, unlinkat,
};
use rustix::io::retry_on_intr;
use rustix::path::DecInt;
use rustix::process::geteuid;

use super::NamedError;
use super::watch::Watch;
use crate::region::attach::TMPFS;

/// How often somebody else may be faster before we give up: each time another process has done what it wanted.
pub(super) const ATTEMPTS: usize = 128;

/// `overflowuid`: what the kernel shows for users that have no number in this user namespace.
const NOBODY: u32 = 65534;
/// Nobody but the owner.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// `/dev/shm`, open for looking up names.
pub(super) struct Directory {
    fd: OwnedFd,
    /// Whose files may have our names.
    user: u32,
}

impl Directory {
    pub(super) fn open() -> Result<Self, NamedError> {
        let user = geteuid().as_raw();
        if user == NOBODY {
            return Err(NamedError::NoOwner);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, c"/dev/shm", flags, Mode::empty()).map_err(NamedError::NoDirectory)?;
        // Before anything is made there: on a disk its pages would be written to.
        check_tmpfs(fd.as_fd())?;
        Ok(Self { fd, user })
    }

    /// A new file without a name, which goes away with its last descriptor.
    pub(super) fn unnamed(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = openat(&self.fd, c".", flags, PRIVATE)?;
        // Whatever the umask, and the directory's access lists, made of it.
        fchmod(&fd, PRIVATE)?;
        Ok(fd)
    }

    /// Gives `name` to a file that has none: `EEXIST` if something has it.
    pub(super) fn link(&self, file: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        match linkat(file, c"", &self.fd, name, AtFlags::EMPTY_PATH) {
            // Before Linux 6.10 this takes a privilege. By /proc it does not.
            Err(Errno::NOENT) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fds = openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
                linkat(fds, DecInt::from_fd(file), &self.fd, name, AtFlags::SYMLINK_FOLLOW)
            }
            result => result,
        }
    }

    /// The file that has `name`, if it can be a region of ours.
    pub(super) fn file(&self, name: &CStr) -> Result<OwnedFd, NamedError> {
        // What is no file must not keep us waiting, nor become our terminal.
        let still = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = openat(&self.fd, name, OFlags::RDWR | OFlags::CLOEXEC | still, Mode::empty());
        let file = match opened {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(NamedError::NotFound),
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(NamedError::NotAFile),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                // Say why, if it can be seen from outside.
                if let Ok(found) = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    self.check(&found)?;
                }
                return Err(NamedError::Os(errno));
            }
            Err(errno) => return Err(NamedError::Os(errno)),
        };
        self.check(&fstat(&file).map_err(NamedError::Os)?)?;
        // A file of another file system may be mounted over a name.
        check_tmpfs(file.as_fd())?;
        Ok(file)
    }

    /// The file that has `name`, such that nobody else who asks for it here removes the name meanwhile; `None` if
    /// nothing has it.
    ///
    /// Others have the lock for a few system calls; who is killed there loses it, and who is stopped there keeps it. So
    /// this waits until `deadline` and no longer.
    pub(super) fn lock<'a>(
        &'a self,
        name: &'a CStr,
        deadline: Deadline,
    ) -> Result<Option<Locked<'a>>, NamedError> {
        for _ in 0..ATTEMPTS {
            let file = match self.file(name) {
                Ok(file) => file,
                Err(NamedError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            };
            lock_until(&file, name, deadline)?;
            let locked = Locked { directory: self, name, file };
            if locked.has_the_name()? {
                return Ok(Some(locked));
            }
        }
        Err(NamedError::Contended)
    }

    /// Whether nobody but we, and whoever runs as our user, has this file.
    fn check(&self, found: &Stat) -> Result<(), NamedError> {
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(NamedError::NotAFile);
        }
        if found.st_uid != self.user {
            return Err(NamedError::ForeignOwner { found: found.st_uid, expected: self.user });
        }
        if found.st_mode & 0o077 != 0 {
            return Err(NamedError::Permissions { found: found.st_mode });
        }
        match found.st_nlink {
            // Removed since we opened it.
            0 => Err(NamedError::NotFound),
            1 => Ok(()),
            _ => Err(NamedError::Linked),
        }
    }
}

/// Locks `file`, which has `name` or has had it.
fn lock_until(file: &OwnedFd, name: &CStr, deadline: Deadline) -> Result<(), NamedError> {
    let mut watch = None;
    loop {
        match retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
            Err(Errno::WOULDBLOCK) if !deadline.has_passed() => {}
            Err(Errno::WOULDBLOCK) => return Err(NamedError::Contended),
            result => return result.map_err(NamedError::Os),
        }
        match &watch {
            // And a second look: what was unlocked before will not be seen.
            None => watch = Some(Watch::new(name)),
            Some(watch) => watch.wait(deadline)?,
        }
    }
}

fn check_tmpfs(fd: BorrowedFd<'_>) -> Result<(), NamedError> {
    let found = fstatfs(fd).map_err(NamedError::Os)?;
    if found.f_type as u64 == TMPFS { Ok(()) } else { Err(NamedError::NotTmpfs) }
}

/// A file that has its name until we say otherwise.
pub(super) struct Locked<'a> {
    directory: &'a Directory,
    name: &'a CStr,
    file: OwnedFd,
}

impl Locked<'_> {
    /// Whether the name still leads to the file that we have locked. Somebody may have been faster.
    fn has_the_name(&self) -> Result<bool, NamedError> {
        let ours = fstat(&self.file).map_err(NamedError::Os)?;
        match statat(&self.directory.fd, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(NamedError::Os(errno)),
        }
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Removes the name; `false` if somebody has done so past the lock.
    pub(super) fn remove(self) -> Result<bool, NamedError> {
        match unlinkat(&self.directory.fd, self.name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(NamedError::Os(errno)),
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // A child that was forked meanwhile has the descriptor too, so closing ours would not do. Unlocking what is
        // locked does not fail.
        let unlocked = flock(&self.file, FlockOperation::Unlock);
        debug_assert!(unlocked.is_ok(), "it was locked");
    }
}
