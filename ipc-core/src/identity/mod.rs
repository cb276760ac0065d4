//! Who a process is, and whether it still lives.
//!
//! A lock that survives the death of its holder must answer two questions about a number found in
//! shared memory: *which* process is this, and *is it dead*? A pid answers neither, since pids are
//! reused. [`ProcessId`] names one incarnation of a process in 63 bits:
//!
//! ```text
//!  63   62      61 ............................ 22   21 .......... 0
//! +---+--------+----------------------------------+------------------+
//! | 0 | source |  incarnation, 40 bits            |  pid, never 0    |
//! +---+--------+----------------------------------+------------------+
//!   |     |
//!   |     0: inode of the process in pidfs (Linux 6.9), unique since boot
//!   |     1: start time in clock ticks from /proc/PID/stat
//!   free for the structure that holds the word (a lock's "inconsistent" bit)
//! ```
//!
//! The inode needs no `/proc`, is the same in every pid and time namespace, and is never given
//! twice. The start time has a resolution of 10 ms: a process that gets the pid of one which
//! started in the same tick is taken for it. That risk is stated, not hidden; it does not exist on
//! Linux 6.9 and later. Where `/proc` belongs to another pid namespace, or the process to a time
//! namespace with an offset, start times say nothing and are not used.
//!
//! [`Liveness`] is a fact from the kernel, asked for through a pidfd. It is never a heartbeat or a
//! time-out: a process that is stopped for an hour is alive. What cannot be known is
//! [`Liveness::Unknown`], and nobody may take over anything on the strength of that.
//!
//! Pids mean something only inside one pid namespace, which [`Domain`] names.

mod current;
mod domain;
mod liveness;

use core::num::NonZeroU64;

pub use current::{Identity, NoIdentity};
pub use domain::{Admitted, Domain, DomainCell};
pub use liveness::Liveness;

use rustix::process::Pid;

/// One incarnation of one process.
///
/// # Examples
///
/// ```
/// use ipc_core::identity::{Liveness, ProcessId};
///
/// let me = ProcessId::current()?;
/// assert_eq!(me.pid().as_raw_nonzero().get(), std::process::id() as i32);
/// assert_eq!(me.liveness(), Liveness::Alive);
/// assert_eq!(ProcessId::from_bits(me.to_bits()), Some(me));
/// # Ok::<(), ipc_core::identity::NoIdentity>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId(NonZeroU64);

static_assertions::assert_impl_all!(ProcessId: Send, Sync);

/// Linux never gives out a pid of more than 22 bits (`PID_MAX_LIMIT`).
const PID_BITS: u32 = 22;
const PID_MASK: u64 = (1 << PID_BITS) - 1;
/// Says that the incarnation is a start time and not an inode.
const TICKS: u64 = 1 << 62;
const INCARNATION_MASK: u64 = TICKS - 1 - PID_MASK;

/// Where an incarnation number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incarnation {
    /// The inode number of the process in pidfs.
    Inode(u64),
    /// The start time in clock ticks since boot.
    Ticks(u64),
}

impl ProcessId {
    /// The bit that no id uses. The structure that holds an id may use it for its own purposes.
    pub const FREE_BIT: u64 = 1 << 63;

    /// The calling process.
    ///
    /// One load from private memory, once it is known; a forked child finds out anew, because the
    /// page that holds it is wiped by the fork.
    ///
    /// A child of `vfork` (or of `clone` with `CLONE_VM`) has its parent's memory and so its
    /// parent's id: nothing that asks for an id may be called between `vfork` and `exec`.
    ///
    /// # Errors
    ///
    /// [`NoIdentity`] where the kernel has no pidfs and `/proc` cannot be read either.
    #[inline]
    pub fn current() -> Result<Self, NoIdentity> {
        match Self::known() {
            Some(me) => Ok(me),
            None => current::find_out().map(|me| me.id),
        }
    }

    /// The word that stands for this id, at most 63 bits and never 0 in its low half.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The id that `bits` stand for, or `None` for a word that no process can have.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits & Self::FREE_BIT != 0 || bits & PID_MASK == 0 {
            return None;
        }
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// The id that this process has put into its own private memory; `None` for zeros.
    #[inline]
    fn from_own_page(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// The process's number, as its own pid namespace sees it.
    #[must_use]
    pub fn pid(self) -> Pid {
        let pid = (self.to_bits() & PID_MASK) as i32;
        // `from_bits` and `new` let no id exist whose pid is 0, and 22 bits are never negative.
        Pid::from_raw(pid).unwrap_or(Pid::INIT)
    }

    fn new(pid: Pid, incarnation: Incarnation) -> Self {
        let pid = u64::from(pid.as_raw_nonzero().get().unsigned_abs()) & PID_MASK;
        let (value, source) = match incarnation {
            Incarnation::Inode(inode) => (inode, 0),
            Incarnation::Ticks(ticks) => (ticks, TICKS),
        };
        let bits = pid | ((value << PID_BITS) & INCARNATION_MASK) | source;
        // A pid is at least 1, so the fallback is never taken; it keeps this free of panics.
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// An id for a process of the model.
    #[cfg(loom)]
    pub(crate) fn model(pid: Pid) -> Self {
        Self::new(pid, Incarnation::Inode(1))
    }

    /// Whether the incarnation of this id is a start time.
    fn has_ticks(self) -> bool {
        self.to_bits() & TICKS != 0
    }
}

impl core::fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let source = if self.has_ticks() { "start" } else { "inode" };
        let value = (self.to_bits() & INCARNATION_MASK) >> PID_BITS;
        write!(f, "ProcessId({}, {source} {value})", self.to_bits() & PID_MASK)
    }
}

impl core::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "process {}", self.to_bits() & PID_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_no_process_can_have_is_refused() {
        for bits in [0, ProcessId::FREE_BIT, 5 | ProcessId::FREE_BIT, 1 << 40, u64::MAX] {
            assert_eq!(ProcessId::from_bits(bits), None, "{bits:#x}");
        }
    }

    #[test]
    fn the_two_sources_never_agree() {
        let pid = Pid::INIT;
        let (inode, ticks) = (Incarnation::Inode(9), Incarnation::Ticks(9));
        assert_ne!(ProcessId::new(pid, inode), ProcessId::new(pid, ticks));
        assert_eq!(ProcessId::new(pid, inode).pid(), pid);
    }

    #[test]
    fn the_largest_values_fit() {
        let pid = Pid::from_raw((1 << PID_BITS) - 1).unwrap();
        let id = ProcessId::new(pid, Incarnation::Ticks(u64::MAX));
        assert_eq!((id.pid(), id.to_bits() & ProcessId::FREE_BIT), (pid, 0));
    }
}
