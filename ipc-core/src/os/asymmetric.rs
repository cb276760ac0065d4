//! Memory barriers of which one side is free.
//!
//! Two who each write something and then read what the other writes need a full barrier in between, or both may read what
//! was there before. Where one side does that millions of times a second and the other one is about to sleep, the latter
//! can pay for both: it has the kernel execute a full barrier on every processor that runs a *registered*
//! process ([`heavy`]), and the former keeps only the compiler from exchanging its accesses ([`light`]).
//!
//! The kernel keeps what was registered with the address space. It is copied by `fork` and gone after `exec`. Registering costs
//! about 4 µs in a process of one thread and some milliseconds in others (it waits until each processor has seen
//! it), and less than a microsecond when it was done before.
//!
//! # References
//!
//! [`membarrier(2)`](https://man7.org/linux/man-pages/man2/membarrier.2.html), Linux 4.16. The pair of names is Folly's
//! (`asymmetricLightBarrier`), which has it for the threads of one process.

use core::sync::atomic::{Ordering, compiler_fence};

use rustix::thread::{MembarrierCommand, membarrier};

/// Lets [`heavy`] reach the calling process, and its children. `false`: it cannot be had here, and the process must use
/// full barriers of its own.
#[must_use]
pub fn register() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// A full barrier as far as [`heavy`] is concerned, if this process has [registered](register).
#[inline(always)]
pub fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// A full barrier here, and on every processor that runs a registered process. `false`: the kernel refuses it, and this was
/// nothing.
///
/// It costs 0.5 µs, and some microseconds where another processor runs a registered process.
#[must_use]
pub fn heavy() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_is_once() {
        let is_there = register();
        assert_eq!(register(), is_there);
        assert_eq!(heavy(), is_there, "the kernel has both or none");
    }
}
