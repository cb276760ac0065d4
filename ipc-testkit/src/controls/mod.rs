//! Structures that break when a process dies, or is slow, at the wrong moment. The harness must find them broken.

mod credulous;
mod double_fetch;
mod flag_then_wake;
mod impatient;
mod pid_lock;
mod posix_semaphore;
#[cfg(target_env = "gnu")]
mod robust;
mod two_tokens;
mod vyukov;

pub use credulous::Credulous;
pub use double_fetch::DoubleFetch;
pub use flag_then_wake::FlagThenWake;
pub use impatient::{Impatient, ImpatientGuard};
pub use pid_lock::{PidGuard, PidLock};
pub use posix_semaphore::PosixSemaphore;
#[cfg(target_env = "gnu")]
pub use robust::{RobustGuard, RobustMutex};
pub use two_tokens::TwoTokens;
pub use vyukov::Vyukov;
