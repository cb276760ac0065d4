//! Structures that break when a process dies at the wrong moment. The harness must find them broken.

mod pid_lock;
#[cfg(target_env = "gnu")]
mod robust;
mod vyukov;

pub use pid_lock::PidLock;
#[cfg(target_env = "gnu")]
pub use robust::RobustMutex;
pub use vyukov::Vyukov;
