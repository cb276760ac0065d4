//! Rings: bounded queues of plain data, in shared memory.
//!
//! No call waits: `push` and `pop` answer at once, and both sides poll. A loop around one looks at the answer, for
//! only [`Full`](PushError::Full) and [`Empty`](PopError::Empty) go away by themselves; a loop that goes on while
//! there is any error never ends when the peer is gone.

mod error;
pub(crate) mod home;
pub mod indexed;
mod role;
pub mod spsc;

pub use error::{PopError, PushError, RingError, RoleError};
pub use role::Peer;
