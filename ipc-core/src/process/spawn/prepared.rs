//! A program that is ready to be executed.

use alloc::vec::Vec;
use core::cell::Cell;
use core::marker::PhantomData;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::process::getpid;
use rustix::thread::gettid;

use super::attributes::Attributes;
use super::moves::Move;
use super::plan::Plan;
use super::strings::Strings;
use super::{SpawnError, Stage, clone};
use crate::Errno;
use crate::process::Child;

/// A program with all that it starts with, laid out: see [`Spawn::prepare`](super::Spawn::prepare).
///
/// # Examples
///
/// ```
/// use ipc_core::process::Spawn;
///
/// let worker = Spawn::new("sh").args(["-c", "exit 0"]).prepare()?;
/// assert!(worker.spawn()?.wait()?.success());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prepared<'fd> {
    pub(super) candidates: Strings,
    pub(super) arguments: Strings,
    pub(super) environment: Strings,
    pub(super) directory: Option<CString>,
    pub(super) moves: Vec<Move>,
    pub(super) attributes: Attributes,
    /// The descriptors that `moves` names by their numbers.
    pub(super) fds: PhantomData<BorrowedFd<'fd>>,
}

impl Prepared<'_> {
    /// Executes the program in a new process; returns when it runs.
    ///
    /// # Errors
    ///
    /// As [`Spawn::spawn`](super::Spawn::spawn), but for those of [`Stage::Prepare`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let sleeper = Spawn::new("sleep").arg("60").prepare()?;
    /// let mut children = vec![sleeper.spawn()?, sleeper.spawn()?];
    /// # for child in &mut children {
    /// #     child.kill()?;
    /// #     child.wait()?;
    /// # }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let parent = match self.attributes.parent_death {
            None => None,
            Some(death) if death.any_thread || gettid() == getpid() => Some(getpid()),
            Some(_) => {
                return Err(SpawnError { stage: Stage::ParentDeath, errno: Errno::PERM });
            }
        };
        clone::clone(&Plan {
            attributes: &self.attributes,
            candidates: &self.candidates.pointers(),
            arguments: &self.arguments.pointers(),
            environment: &self.environment.pointers(),
            directory: self.directory.as_deref(),
            moves: &self.moves,
            parent,
            mask: Cell::new(self.attributes.mask.unwrap_or_default()),
            has_no_handlers: Cell::new(false),
            pidfd: Cell::new(-1),
            failure: Cell::new(None),
        })
    }
}

static_assertions::assert_impl_all!(Prepared<'static>: Send, Sync);
