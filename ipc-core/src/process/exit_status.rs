//! How a process ended.

use core::fmt;

use rustix::process::WaitIdStatus;

/// How a process ended: exact, or openly unknown.
///
/// # Examples
///
/// ```
/// use ipc_core::process::ExitStatus;
///
/// assert!(ExitStatus::Exited(0).success());
/// assert_eq!(ExitStatus::Exited(3).code(), Some(3));
/// // What nobody could find out is not a success.
/// assert!(!ExitStatus::Unknown.success());
///
/// let aborted = ExitStatus::Signaled { signal: 6, core_dumped: true };
/// assert_eq!(aborted.to_string(), "killed by signal 6 (core dumped)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// The process ended by itself with this code, of which the kernel keeps the low eight bits.
    Exited(i32),
    /// A signal ended the process.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core image.
        core_dumped: bool,
    },
    /// The process has ended, and nobody can say how. Either the handle was inherited by a process
    /// that is not the parent, and the parent leaves the zombie lying; or somebody else took the status
    /// on a kernel older than 6.15, which does not keep it: SIGCHLD is ignored, another thread reaped the
    /// child, or its helper (of `StartMethod::Auto`, `ForkServer` or a `Zygote`) was gone, or stopped,
    /// before it could tell.
    Unknown,
}

impl ExitStatus {
    /// Whether the process is known to have ended with code 0.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(0))
    }

    /// The exit code, if the process ended by itself.
    #[must_use]
    pub const fn code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled { .. } | Self::Unknown => None,
        }
    }

    pub(super) fn from_waitid(status: &WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signaled { signal, core_dumped: status.dumped() },
            // `waitid` was asked for exits alone, so the kernel has no third answer.
            (None, None) => Self::Unknown,
        }
    }

    /// Reads the wait status of `wait(2)`: a signal in the low seven bits, then the core flag, and
    /// the exit code in the byte above.
    pub(super) const fn from_wait_status(raw: i32) -> Self {
        match raw & 0x7f {
            0 => Self::Exited((raw >> 8) & 0xff),
            signal => Self::Signaled { signal, core_dumped: raw & 0x80 != 0 },
        }
    }

    /// What [`from_wait_status`](Self::from_wait_status) reads.
    pub(super) const fn to_wait_status(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some((code & 0xff) << 8),
            Self::Signaled { signal, core_dumped: false } => Some(signal),
            Self::Signaled { signal, core_dumped: true } => Some(signal | 0x80),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signaled { signal, core_dumped: false } => write!(f, "killed by signal {signal}"),
            Self::Signaled { signal, core_dumped: true } => {
                write!(f, "killed by signal {signal} (core dumped)")
            }
            Self::Unknown => f.write_str("ended with an unknown status"),
        }
    }
}

static_assertions::assert_impl_all!(ExitStatus: Send, Sync);

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn wait_status_is_read_as_the_kernel_writes_it() {
        for code in 0..=255 {
            assert_eq!(ExitStatus::from_wait_status(code << 8), ExitStatus::Exited(code));
            assert_eq!(ExitStatus::Exited(code).to_wait_status(), Some(code << 8));
        }
        for signal in 1..=64 {
            for core_dumped in [false, true] {
                let raw = signal | if core_dumped { 0x80 } else { 0 };
                let expected = ExitStatus::Signaled { signal, core_dumped };
                assert_eq!(ExitStatus::from_wait_status(raw), expected);
                assert_eq!(expected.to_wait_status(), Some(raw));
            }
        }
        assert_eq!(ExitStatus::Unknown.to_wait_status(), None);
    }

    #[test]
    fn only_code_zero_is_success() {
        assert!(ExitStatus::Exited(0).success());
        assert!(!ExitStatus::Exited(1).success());
        assert!(!ExitStatus::Signaled { signal: 9, core_dumped: false }.success());
        assert!(!ExitStatus::Unknown.success());
    }

    #[test]
    fn messages() {
        assert_eq!(format!("{}", ExitStatus::Exited(3)), "exited with code 3");
        let killed = ExitStatus::Signaled { signal: 9, core_dumped: false };
        assert_eq!(format!("{killed}"), "killed by signal 9");
        assert_eq!(format!("{}", ExitStatus::Unknown), "ended with an unknown status");
    }
}
