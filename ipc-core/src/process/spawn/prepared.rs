//! A program that is ready to be executed.

use alloc::vec::Vec;
use core::cell::Cell;
use core::ffi::c_char;
use core::marker::PhantomData;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::process::getpid;
use rustix::thread::gettid;

use super::attributes::Attributes;
use super::environment::push_candidates;
use super::moves::{self, Move};
use super::own::OwnEnvironment;
use super::plan::Plan;
use super::strings::{HoldsZero, Strings};
use super::{Spawn, SpawnError, Stage, clone};
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
    /// Three lists: the environment, the arguments, the files to try.
    pub(super) strings: Strings,
    /// Where the second list begins.
    pub(super) arguments: usize,
    /// Where the third list begins.
    pub(super) candidates: usize,
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
        let pointers = self.strings.pointers();
        self.clone_with(&pointers, pointers.as_ptr())
    }

    /// The same with this process's environment, in place of what was laid out.
    pub(super) fn spawn_in(&self, environment: &OwnEnvironment) -> Result<Child, SpawnError> {
        self.clone_with(&self.strings.pointers(), environment.as_ptr())
    }

    fn clone_with(
        &self,
        pointers: &[*const c_char],
        environment: *const *const c_char,
    ) -> Result<Child, SpawnError> {
        let parent = match self.attributes.parent_death {
            None => None,
            Some(death) if death.any_thread || gettid() == getpid() => Some(getpid()),
            Some(_) => {
                return Err(SpawnError { stage: Stage::ParentDeath, errno: Errno::PERM });
            }
        };
        clone::clone(&Plan {
            attributes: &self.attributes,
            candidates: &pointers[self.candidates..],
            arguments: &pointers[self.arguments..],
            environment,
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

impl<'fd> Spawn<'fd> {
    /// Lays everything out. The list of the environment stays empty if the program gets this
    /// process's own.
    pub(super) fn lay_out(
        &self,
        own: Option<&OwnEnvironment>,
    ) -> Result<Prepared<'fd>, SpawnError> {
        if let Some(errno) = self.refused {
            return Err(at_prepare(errno));
        }
        let (mut strings, path) = match own {
            // Most programs fit.
            Some(own) => (Strings::with_capacity(16, 256), own.path_for(&self.program)),
            None => self.environment.collect()?,
        };
        let arguments = strings.end_list();
        strings.push(&[self.name.as_ref().unwrap_or(&self.program).as_bytes()])?;
        for argument in &self.arguments {
            strings.push(&[argument.as_bytes()])?;
        }
        let candidates = strings.end_list();
        push_candidates(&mut strings, &self.program, path.as_deref())?;
        strings.end_list();
        let directory = self.directory.as_ref().map(|path| CString::new(path.as_bytes()));
        let directory = directory.transpose().map_err(|_| HoldsZero)?;
        let pairs: Vec<_> = self.fds.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
        Ok(Prepared {
            strings,
            arguments,
            candidates,
            directory,
            moves: moves::order(&pairs),
            attributes: self.attributes.clone(),
            fds: PhantomData,
        })
    }
}

impl From<HoldsZero> for SpawnError {
    fn from(_: HoldsZero) -> Self {
        at_prepare(Errno::INVAL)
    }
}

const fn at_prepare(errno: Errno) -> SpawnError {
    SpawnError { stage: Stage::Prepare, errno }
}

static_assertions::assert_impl_all!(Prepared<'static>: Send, Sync);
