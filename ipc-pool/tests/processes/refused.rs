//! What the system refuses.
//!
//! # Safety
//!
//! The environment is changed while the process has one thread.
#![expect(unsafe_code, reason = "the environment says how large the stack of a thread is")]

use ipc_core::Errno;
use ipc_pool::{Pool, PoolError};

/// The workers are there, and their own threads are small; the supervisor's does not fit into any address space.
pub(crate) fn supervisors_thread() {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("RUST_MIN_STACK", (1_u64 << 50).to_string()) };
    let refused = Pool::new(3);
    assert!(matches!(refused, Err(PoolError::Os(Errno::AGAIN))), "{refused:?}");
    // The runner looks for workers that are left.
}
