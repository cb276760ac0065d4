//! A mutex, and the processes around it.
//!
//! # Safety
//!
//! A lock that is made for a region lies in a mapping that is kept as long as any of its users.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]
#![allow(dead_code, reason = "each test program uses a part")]

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use ipc_core::futex;
use ipc_core::process::{Child, fork_fn};
use ipc_sync::{LockError, Mutex};
use ipc_testkit::shared::Shared;

/// What the processes of a case share.
pub(crate) struct World {
    pub(crate) lock: Mutex<u64>,
    pub(crate) stage: AtomicU32,
}

pub(crate) fn world() -> Shared<World> {
    // SAFETY: the mapping is kept until the case ends.
    let lock = unsafe { Mutex::in_region(0) };
    Shared::new(World { lock, stage: AtomicU32::new(0) }).expect("a mapping")
}

/// The same with a lock that the kernel is not told of.
pub(crate) fn plain_world() -> Shared<World> {
    Shared::new(World { lock: Mutex::new(0), stage: AtomicU32::new(0) }).expect("a mapping")
}

impl World {
    pub(crate) fn reach(&self, stage: u32) {
        self.stage.store(stage, SeqCst);
        futex::wake(&self.stage, u32::MAX);
    }

    pub(crate) fn await_stage(&self, stage: u32) {
        loop {
            let now = self.stage.load(SeqCst);
            if now >= stage {
                return;
            }
            futex::wait(&self.stage, now, None).expect("a readable word");
        }
    }

    /// A child that holds the lock and does nothing more; it has it when this returns.
    pub(crate) fn holder(&self) -> Child {
        self.stage.store(0, SeqCst);
        let child = fork_fn(|| {
            let _held = self.lock.lock().expect("a free lock");
            self.reach(1);
            self.await_stage(9);
            0
        });
        self.await_stage(1);
        child.expect("fork")
    }

    pub(crate) fn expect_recovered(&self) {
        match self.lock.lock() {
            Err(LockError::Recovered(value)) => drop(value.mark_consistent()),
            other => panic!("not told of the death: {other:?}"),
        }
        drop(self.lock.lock().expect("told once only"));
    }
}

pub(crate) fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
}
