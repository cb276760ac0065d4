//! [`Armed`]: a gate that the kernel knows for as long as a call takes.

use ipc_core::identity::ProcessId;
use ipc_core::primitive::{baton, futex::Word, killed};

/// If this thread is killed before it drops this, the kernel wakes one sleeper of the gate.
///
/// It borrows the gate, and no more is asked of the place where that lies: it is not for guards, which are forgotten.
#[derive(Debug)]
pub(crate) struct Armed<'a> {
    gate: Word<'a>,
    me: ProcessId,
}

impl<'a> Armed<'a> {
    /// `None`: that cannot be had here, and slices have to do. The low 30 bits of `gate` are never anything but 0.
    #[expect(unsafe_code, reason = "the kernel is told an address")]
    pub(crate) fn new(gate: impl Into<Word<'a>>, me: ProcessId) -> Option<Self> {
        let gate = gate.into();
        // SAFETY: a gate, which is borrowed until the destructor disarms it; within this crate nobody forgets one.
        unsafe { baton::arm(gate, me) }.then_some(Self { gate, me })
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        // Whoever was killed leaves it to the kernel.
        if !killed() {
            baton::disarm(self.gate, self.me);
        }
    }
}
