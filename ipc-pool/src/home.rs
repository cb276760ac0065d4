//! Which process a pool belongs to.

use ipc_core::identity::{Identity, ProcessId};

/// The process that made a pool. A fork copies its handles, but neither its threads nor what other threads were
/// doing: a copy can only be refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// Where the kernel gives identities: asking for the own one is then a load, and no system call.
    id: Option<ProcessId>,
    pid: u32,
}

impl Home {
    /// The calling process.
    pub(crate) fn here() -> Self {
        Self { id: ProcessId::current().ok(), pid: std::process::id() }
    }

    /// Whether the calling process is the one.
    pub(crate) fn is_here(self) -> bool {
        match self.id {
            // It was known when the pool was made, and is unknown in a process that was forked since.
            Some(id) => Identity::known().is_some_and(|me| me.id == id),
            None => std::process::id() == self.pid,
        }
    }
}
