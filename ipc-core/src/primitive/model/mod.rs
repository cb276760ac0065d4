//! loom's model of the primitives, with a kernel that sleeps, wakes and kills.
//!
//! Every atomic operation here is a *step*, and before each step of the chosen victim the process
//! can be killed. The victim unwinds, does nothing more to shared memory, and the kernel's exit
//! work runs as steps of its own, in the order of Linux: first the death baton, then the death
//! becomes visible.
//!
//! # What the model says about time
//!
//! Nothing. There is no clock, so a sleep that nobody ends is a deadlock, which loom reports: a
//! lost wake-up cannot hide behind a slice that happens to end. One kind of slice is modelled, since
//! the algorithms rest on it: when the process that a sleeper watches is dead, the sleep ends. Another is, where a
//! scenario asks for it: [`sim::end_slices_at_deaths`].
//!
//! # Limits
//!
//! loom treats SeqCst accesses as AcqRel (the algorithms use `fence(SeqCst)` where they need
//! more), does not reorder a load with a later store, and allows five threads.
//!
//! # Safety
//!
//! An armed gate is kept as a pointer. The scenario owns the gate for the whole execution, and the
//! pointer is used only inside [`sim::process`], which borrows what the process uses.
#![expect(unsafe_code, reason = "armed gates are kept as pointers, as the kernel does")]
#![expect(missing_docs, reason = "the names are those of `real`; this exists under loom only")]

mod atomic;
mod kernel;
pub mod sim;
mod word;

pub use atomic::{AtomicU32, AtomicU64, fence, fence_after_rmw};
pub use core::sync::atomic::Ordering;
pub use loom::cell::UnsafeCell;

pub use kernel::{has_passed, killed, step as kill_point, thread_number};

/// A thread that spins waits for another: it must let that one run.
pub fn spin_loop() {
    loom::thread::yield_now();
}

/// A killed process unwinds without panicking as its program would see it.
pub fn panicking() -> bool {
    false
}

pub mod futex {
    pub use super::kernel::{
        add_and_wake, set_bit_and_wake, set_top_bit_and_wake_all, sleep, wake,
    };
    pub use super::word::{Entry, Word};
    pub use crate::futex::{MAX_ENTRIES, MAX_TERM, Wake};
}

pub mod asymmetric {
    pub use super::atomic::{heavy, light, register};
}

pub mod identity {
    pub use super::kernel::{current, known, known_as, liveness};
}

pub mod baton {
    pub use super::kernel::{arm, armed_times, disarm};
}
