//! What the child does, laid out by the parent so that the child need not allocate.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_int};

use super::SpawnError;
use super::attributes::Attributes;
use super::moves::Move;
use crate::process::{Pid, SignalSet};

/// All that the child needs, and where it leaves what it has to say.
///
/// The child works on its parent's memory while the parent's thread is suspended, so the cells are
/// shared by two processes and still used by one thread at a time.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) attributes: &'a Attributes,
    /// The files to try; a null pointer ends the list, as in the other two.
    pub(super) candidates: &'a [*const c_char],
    pub(super) arguments: &'a [*const c_char],
    /// A list as well, or null: this process's own may stand where no slice can be made of it.
    pub(super) environment: *const *const c_char,
    pub(super) directory: Option<&'a CStr>,
    pub(super) moves: &'a [Move],
    /// The parent, if the child is bound to it.
    pub(super) parent: Option<Pid>,
    /// The mask that the program starts with.
    pub(super) mask: Cell<SignalSet>,
    /// Whether the kernel has removed the handlers that the child would have inherited.
    pub(super) has_no_handlers: Cell<bool>,
    /// Where the kernel puts the pidfd, before the child runs; negative until then.
    pub(super) pidfd: Cell<c_int>,
    /// Why the child ended without executing anything.
    pub(super) failure: Cell<Option<SpawnError>>,
}
