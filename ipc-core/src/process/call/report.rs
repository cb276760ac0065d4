//! What a function's result says to the process that waits for its end.

use core::fmt::Debug;

/// The result of a [`Process`](super::Process)'s function, as an exit code.
///
/// # Examples
///
/// ```
/// use ipc_core::process::Report;
/// assert_eq!(().report(), 0);
/// assert_eq!(7.report(), 7);
/// assert_eq!(Err::<(), _>("said on standard error").report(), 1);
/// ```
pub trait Report {
    /// The exit code; the parent sees its low eight bits.
    fn report(self) -> i32;
}

/// All is well.
impl Report for () {
    fn report(self) -> i32 {
        0
    }
}

/// The exit code itself.
impl Report for i32 {
    fn report(self) -> i32 {
        self
    }
}

/// An error is said on standard error, and is exit code 1, as from `main`.
impl<T: Report, E: Debug> Report for core::result::Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                super::complain(format_args!("Error: {error:?}"));
                1
            }
        }
    }
}
