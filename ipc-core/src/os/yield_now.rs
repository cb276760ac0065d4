//! Giving up the processor.

/// Lets whoever is ready to run on this processor, and matters no less, go first.
pub fn yield_now() {
    rustix::thread::sched_yield();
}
