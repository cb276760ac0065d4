//! Rings: bounded queues of plain data, in shared memory.

mod error;
mod role;
pub mod spsc;

pub use error::{PopError, PushError, RingError, RoleError};
pub use role::Peer;
