//! Sleeping until a moment.

use rustix::io::retry_on_intr;
use rustix::thread::{ClockId, clock_nanosleep_absolute};

use crate::clock::Deadline;

/// Sleeps until `deadline`, however often signals interrupt.
///
/// `std::thread::sleep` is told a span, and the kernel says what is left of it after each signal,
/// its timer's slack included: under a signal every 50 µs that sleep does not come to an end.
pub fn sleep_until(deadline: Deadline) {
    let at = deadline.to_timespec();
    // There is no error but an interruption for a clock that exists and a time that is one.
    let _ = retry_on_intr(|| clock_nanosleep_absolute(ClockId::Monotonic, &at));
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn ends_at_the_deadline() {
        let deadline = Deadline::after(Duration::from_millis(5));
        sleep_until(deadline);
        assert!(deadline.has_passed());
        sleep_until(deadline);
    }
}
