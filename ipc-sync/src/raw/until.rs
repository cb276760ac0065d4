//! [`Until`]: how long a wait may last.

use ipc_core::clock::Deadline;
use ipc_core::primitive::has_passed;

/// How long a caller is willing to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Now,
    Deadline(Deadline),
    /// Or until a signal handler runs.
    Interruptible(Deadline),
    Forever,
}

impl Until {
    pub(crate) fn has_passed(self) -> bool {
        match self {
            Self::Now => true,
            Self::Deadline(deadline) | Self::Interruptible(deadline) => has_passed(deadline),
            Self::Forever => false,
        }
    }

    pub(crate) fn deadline(self) -> Option<Deadline> {
        match self {
            Self::Deadline(deadline) | Self::Interruptible(deadline) => Some(deadline),
            Self::Now | Self::Forever => None,
        }
    }

    pub(crate) fn is_interruptible(self) -> bool {
        matches!(self, Self::Interruptible(_))
    }
}

impl From<ipc_core::os::Until> for Until {
    fn from(until: ipc_core::os::Until) -> Self {
        match until.deadline() {
            deadline if until.is_interruptible() => Self::Interruptible(deadline),
            Deadline::FAR => Self::Forever,
            deadline => Self::Deadline(deadline),
        }
    }
}
