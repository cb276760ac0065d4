//! [`RegionName`]: regions that other programs find by a name.
//!
//! # A name
//!
//! is an entry of `/dev/shm`, which must be a tmpfs: so no name, and no region that has one, survives a boot, and a
//! creator's `ProcessId` is never compared with processes of another boot. A region is made complete before it gets its
//! name, by one system call. There is no half-made region that has a name, and nothing that a program could leave behind
//! on its way there.
//!
//! | what `create_new` does | what has the name, if it is killed behind that |
//! |---|---|
//! | makes a file without a name (`O_TMPFILE`), reserves its memory | nothing; the file is gone with the process |
//! | writes the header and the first values, and READY | the same |
//! | links the file (`linkat`) | the region |
//!
//! | what `create_or_replace` does | what has the name, if it is killed behind that |
//! |---|---|
//! | opens the old file and locks it (`flock`), for which it waits a second at most | the old region; the kernel unlocks it |
//! | sees that the name still leads to that file, and that its creator is dead | the same |
//! | removes the name | nothing |
//! | as `create_new`; if somebody else has taken the name by then, it begins again | nothing, or a new region |
//!
//! `remove` does the first three steps without asking after the creator. Who removes a name has locked the file that it
//! leads to, and nobody gives a name that is taken: so no name is removed that leads to another file than was looked at.
//! (`rm` locks nothing. Used at the same moment, it can cost a new region its name.)

mod directory;
mod error;
mod watch;

use core::ffi::CStr;
use core::fmt;
use core::time::Duration;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::identity::{Identity, Liveness};
use rustix::fd::{AsFd as _, BorrowedFd};

use super::attach::{self, Backing};
use super::create::{self, Draft};
use super::{CreateError, Fill, Region, Step};
use crate::Plan;

use directory::{ATTEMPTS, Directory};
pub use error::NamedError;

/// How long somebody else may be in the middle of removing a name before we give up: a thousand times as long as it
/// takes on a busy machine. Then it is stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// The name of a region, for programs that have no descriptor in common; made by [`Region::named`].
///
/// Names are those of `shm_open`: files in `/dev/shm`, which every process of the machine sees that has the same
/// `/dev/shm`, and which stay until somebody removes them or the machine goes down. A region with a name belongs to its
/// user: nobody else may open it, and what somebody else has put in the place of a name is refused.
///
/// A region that has lost its name goes on for whoever has it.
///
/// # Daemons and containers
///
/// Whether a region may be [replaced](Self::create_or_replace) is asked of its creator alone: the process that called
/// `create_new` or `create_or_replace`, not those that use it. A daemon that forks and lets its parent end makes its
/// region *after* the last fork; else the next start takes the region for one that was left behind, and the name for its
/// own, while the daemon still lives.
///
/// A container has a `/dev/shm` of its own, often of 64 MiB only, unless it is told to share one. Where several share
/// one, each has its own pid namespace as a rule, and then nobody is ever found dead across them:
/// `create_or_replace` says [`Taken`](NamedError::Taken) for what another container has left, also for what the same one
/// left before it was started anew. Whoever knows that the old one is gone, such as what starts the container, calls
/// [`remove`](Self::remove) first.
///
/// # What a name costs
///
/// The kernel seals no file that has a name. So a process of the same user may cut it short with `truncate`, and then
/// every process that touches the missing memory is ended by SIGBUS. For the same reason handles that trust nobody
/// refuse such regions: see [`Region::is_sealed`]. Where a descriptor can be passed, a region without a name is better.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use ipc_shm::{Atomic, NamedError, Plan, Region};
///
/// let mut plan = Plan::new();
/// let count = plan.one::<Atomic<AtomicU64>>()?;
///
/// let name = Region::named(format!("example-{}", std::process::id()))?;
/// let region = name.create_new(&plan)?;
///
/// // Another program, which makes the same plan:
/// let same = name.open_for(&plan)?;
/// same.get(count)?.fetch_add(1, Ordering::Relaxed);
///
/// assert_eq!(region.get(count)?.load(Ordering::Relaxed), 1);
/// assert!(matches!(name.create_new(&plan), Err(NamedError::Taken { .. })));
/// name.remove()?;
/// assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegionName {
    /// Zeros behind the name, at least one.
    bytes: [u8; Self::MAX + 1],
}

static_assertions::assert_impl_all!(RegionName: Send, Sync);

impl RegionName {
    /// How long a name may be, in bytes.
    pub const MAX: usize = 200;

    pub(super) fn new(name: &[u8]) -> Result<Self, NamedError> {
        let is_path = matches!(name, b"" | b"." | b"..") || name.contains(&b'/');
        if is_path || name.contains(&0) || name.len() > Self::MAX {
            return Err(NamedError::BadName);
        }
        let mut bytes = [0; Self::MAX + 1];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self { bytes })
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.as_c_str().to_bytes()
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// A new region for what `plan` contains, all zero, which gets the name if nothing has it.
    ///
    /// It appears under its name complete or not at all, also if this process is killed.
    ///
    /// # Errors
    ///
    /// [`NamedError::Taken`] if anything has the name, whoever made it; [`NamedError::Create`] if there can be no such
    /// region. Nothing is left behind.
    pub fn create_new(&self, plan: &Plan) -> Result<Region, NamedError> {
        self.create_new_with(plan, |_| {})
    }

    /// As [`create_new`](Self::create_new), with the values that `fill` puts there before the region has a name.
    ///
    /// # Errors
    ///
    /// As there; `fill` may have been called.
    ///
    /// # Panics
    ///
    /// If `fill` does.
    pub fn create_new_with(
        &self,
        plan: &Plan,
        fill: impl FnOnce(&mut Fill<'_>),
    ) -> Result<Region, NamedError> {
        let directory = Directory::open()?;
        let draft = Draft::new(plan).map_err(NamedError::Create)?;
        let region = make(&directory, &draft, fill)?;
        if self.give_to(&region, &directory)? {
            return Ok(region);
        }
        let found = directory.file(self.as_c_str()).and_then(|file| creator(file.as_fd()));
        Err(NamedError::Taken { creator: found.ok().map(|creator| creator.id) })
    }

    /// As [`create_new`](Self::create_new), and a region whose creator is dead gives up the name.
    ///
    /// Only its creator counts: other processes may still use that region, and go on with it, while those that come
    /// later find the new one. Dead is who the kernel says is dead. A creator in another pid namespace, of whom it says
    /// nothing, is not, nor is one that is stopped.
    ///
    /// The old region goes first, so that there is room for the new one. For a moment nothing has the name; if this fails or
    /// this process is killed, that may last.
    ///
    /// # Errors
    ///
    /// [`NamedError::Taken`] if the creator of what has the name may live, else as [`create_new`](Self::create_new);
    /// [`NamedError::Attach`] if what has the name is no region, or one of another version; [`NamedError::Contended`] if
    /// somebody else is in the middle of replacing or removing it, and does not come to an end within a second.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::fork_fn;
    /// use ipc_shm::{NamedError, Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// plan.one::<RawValue<u64>>()?;
    /// let name = Region::named(format!("example-replaced-{}", std::process::id()))?;
    ///
    /// fork_fn(|| i32::from(name.create_new(&plan).is_err()))?.wait()?;
    /// let region = name.create_or_replace(&plan)?; // Its creator has ended.
    /// let again = name.create_or_replace(&plan).unwrap_err(); // We have not.
    /// assert_eq!(again, NamedError::Taken { creator: Some(region.creator()) });
    /// name.remove()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn create_or_replace(&self, plan: &Plan) -> Result<Region, NamedError> {
        self.create_or_replace_with(plan, |_| {})
    }

    /// As [`create_or_replace`](Self::create_or_replace), with the values that `fill` puts there before the region has
    /// a name.
    ///
    /// # Errors
    ///
    /// As there; `fill` may have been called.
    ///
    /// # Panics
    ///
    /// If `fill` does.
    pub fn create_or_replace_with(
        &self,
        plan: &Plan,
        fill: impl FnOnce(&mut Fill<'_>),
    ) -> Result<Region, NamedError> {
        let directory = Directory::open()?;
        // What cannot be made takes nothing away.
        let draft = Draft::new(plan).map_err(NamedError::Create)?;
        self.remove_of_dead(&directory, Deadline::after(PATIENCE))?;
        let region = make(&directory, &draft, fill)?;
        let deadline = Deadline::after(PATIENCE);
        for _ in 0..ATTEMPTS {
            if self.give_to(&region, &directory)? {
                return Ok(region);
            }
            self.remove_of_dead(&directory, deadline)?;
        }
        Err(NamedError::Contended)
    }

    /// The region that has the name, whatever it contains, and whether its creator lives or not.
    ///
    /// # Errors
    ///
    /// [`NamedError::NotFound`] if nothing has it. What is no file of our own is refused, each by its name;
    /// [`NamedError::Attach`] if the file is not a region that this program can use.
    pub fn open(&self) -> Result<Region, NamedError> {
        self.attach(None)
    }

    /// As [`open`](Self::open), for a region that must have been made from the same plan.
    ///
    /// # Errors
    ///
    /// As there, and [`AttachError::Layout`](crate::AttachError::Layout) in [`NamedError::Attach`] if it was made from another one.
    pub fn open_for(&self, plan: &Plan) -> Result<Region, NamedError> {
        self.attach(Some(plan.hash()))
    }

    /// Removes the name, whether the region's creator lives or not. Whoever has the region keeps it.
    ///
    /// # Errors
    ///
    /// [`NamedError::NotFound`] if nothing has the name. What is no file of our own, or no region of any version, is
    /// refused and stays. [`NamedError::Contended`] as [`create_or_replace`](Self::create_or_replace).
    pub fn remove(&self) -> Result<(), NamedError> {
        let directory = Directory::open()?;
        let deadline = Deadline::after(PATIENCE);
        let locked = directory.lock(self.as_c_str(), deadline)?.ok_or(NamedError::NotFound)?;
        attach::check_magic(locked.file()).map_err(NamedError::Attach)?;
        if locked.remove()? { Ok(()) } else { Err(NamedError::NotFound) }
    }

    fn attach(&self, expected: Option<u64>) -> Result<Region, NamedError> {
        let file = Directory::open()?.file(self.as_c_str())?;
        Region::attach(file, Backing::Named, expected).map_err(NamedError::Attach)
    }

    /// Whether the region has got the name.
    fn give_to(&self, region: &Region, directory: &Directory) -> Result<bool, NamedError> {
        match directory.link(region.as_fd(), self.as_c_str()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(NamedError::Create(CreateError::Os { step: Step::Link, errno })),
        }
    }

    /// Removes the name if it is that of a region whose creator is dead. Afterwards it may be taken again.
    fn remove_of_dead(&self, directory: &Directory, deadline: Deadline) -> Result<(), NamedError> {
        let Some(locked) = directory.lock(self.as_c_str(), deadline)? else { return Ok(()) };
        let creator = creator(locked.file())?;
        // What would be another process's pid in another domain says nothing about this one.
        let me = Identity::current();
        let is_near = me.is_ok_and(|me| me.domain.to_bits() == creator.domain);
        if !is_near || creator.id.liveness() != Liveness::Dead {
            return Err(NamedError::Taken { creator: Some(creator.id) });
        }
        locked.remove().map(drop)
    }
}

/// A region that has no name yet.
fn make(
    directory: &Directory,
    draft: &Draft<'_>,
    fill: impl FnOnce(&mut Fill<'_>),
) -> Result<Region, NamedError> {
    create::in_file(draft, || directory.unnamed(), fill).map_err(NamedError::Create)
}

fn creator(file: BorrowedFd<'_>) -> Result<attach::Creator, NamedError> {
    attach::creator(file).map_err(NamedError::Attach)
}

impl fmt::Debug for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionName({self})")
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_name() {
        let longest = [b'x'; RegionName::MAX];
        for good in [&b"a"[..], b"...", b".a", b"\xff", b" ", &longest] {
            assert_eq!(RegionName::new(good).unwrap().as_bytes(), good);
        }
        let longer = [b'x'; RegionName::MAX + 1];
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"/a", b"a\0", b"\0", &longer] {
            assert_eq!(RegionName::new(bad), Err(NamedError::BadName), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_shown_without_its_control_characters() {
        assert_eq!(alloc::format!("{}", RegionName::new(b"a\n").unwrap()), "a\\n");
    }
}
