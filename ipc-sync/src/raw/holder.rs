//! [`Holder`]: the process that a guard is for.
//!
//! A fork copies the guards of the parent. The owner word alone does not tell a copy from a guard of the child's own: a
//! child that has taken the same lock itself, and then drops the copy, would release what it holds. So a guard remembers in
//! which process it was made, and in another one its destructor does nothing.

use ipc_core::identity::{Identity, ProcessId};
use ipc_core::primitive::identity;

/// `None` holds nothing: whoever takes a lock knows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Holder(Option<ProcessId>);

#[cfg(not(loom))]
const _: () = assert!(size_of::<Holder>() == 8);

impl Holder {
    /// The calling process, which is `me`.
    #[inline]
    pub(crate) fn of(me: Identity) -> Self {
        Self(Some(me.id))
    }

    /// The calling process, which has just taken a lock.
    #[inline]
    pub(crate) fn this() -> Self {
        Self(identity::known().map(|me| me.id))
    }

    /// Who the calling process is, if it is this one. A forked child that does not know who it is has made no guard.
    #[inline]
    pub(crate) fn here(self) -> Option<Identity> {
        identity::known_as(self.0?)
    }
}
