//! [`Residence`]: where a lock lies, and who may judge the life of its owners.

use ipc_core::identity::{DomainCell, Identity, Liveness, ProcessId};
use ipc_core::primitive::{baton, futex::Word, identity};

/// Which pid namespaces have been at a lock, and whether the kernel may be told of its gates.
///
/// Whoever claims anything in the lock [enters](Self::enter) before, which arms the baton on the gate whose sleepers a
/// death concerns, and [leaves](Self::leave) when it owns nothing there any more and has woken whom it had to.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Residence(DomainCell);

impl Residence {
    ipc_core::const_unless_loom! {
        /// `resident`: the lock lies in a mapping that is not given back while a gate in it is armed. Whoever says so
        /// promises it.
        pub(crate) fn new(resident: bool) -> Self {
            Self(DomainCell::new(resident))
        }
    }

    /// Enters if this domain alone was here before: whether `gate` was armed.
    #[inline]
    pub(crate) fn enter_again<'a>(&self, gate: impl Into<Word<'a>>, me: Identity) -> Option<bool> {
        let admission = self.0.admitted(me.domain)?;
        Some(arm(gate.into(), admission.is_resident(), me))
    }

    /// Before a claim, which must be a Release operation: whoever sees it sees the admission too. Whether `gate` was
    /// armed.
    pub(crate) fn enter<'a>(&self, gate: impl Into<Word<'a>>, me: Identity) -> bool {
        arm(gate.into(), self.0.admit(me.domain).is_resident(), me)
    }

    /// Takes back what entering has armed.
    #[inline]
    pub(crate) fn leave<'a>(&self, gate: impl Into<Word<'a>>, me: Identity) {
        if self.0.is_resident() {
            baton::disarm(gate, me.id);
        }
    }

    /// Whether the kernel says that `owner` is dead, whose claim was read with Acquire. What is not known is not
    /// death.
    pub(crate) fn is_dead(&self, owner: ProcessId, me: Identity) -> bool {
        owner != me.id && self.0.judges(me.domain) && identity::liveness(owner) == Liveness::Dead
    }

    /// What the first process to come here does, so that a model of something else need not explore it again.
    #[cfg(loom)]
    pub(crate) fn admit(&self) {
        if let Ok(me) = identity::current() {
            self.0.admit(me.domain);
        }
    }
}

#[inline]
#[expect(unsafe_code, reason = "the promise was made to the constructor")]
fn arm(gate: Word<'_>, resident: bool, me: Identity) -> bool {
    // SAFETY: whoever made the lock resident promised that its memory stays while a gate is armed. The low 30 bits
    // of a gate are never anything but 0.
    resident && unsafe { baton::arm(gate, me.id) }
}
