//! What the cases share.
//!
//! # Safety
//!
//! A child that closes its copy of a descriptor never uses it again: it ends by `_exit`, without
//! dropping what owns it.
#![expect(unsafe_code, reason = "a forked child closes its copy of its parent's end")]

use std::os::fd::{AsFd, AsRawFd};

use ipc_core::process::{Child, ExitStatus, fork_fn};

/// Bytes that show from where in which message they are.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Forks a child that does not keep `ours` open.
pub(crate) fn child_without(ours: &impl AsFd, f: impl FnOnce()) -> Child {
    fork_fn(|| {
        // SAFETY: see the head of this file.
        unsafe { rustix::io::close(ours.as_fd().as_raw_fd()) };
        f();
        0
    })
    .expect("fork")
}

/// The end of a child that found everything right.
pub(crate) fn expect_ok(mut child: Child) {
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
}

/// Kills a child and waits for its end.
pub(crate) fn kill(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}
