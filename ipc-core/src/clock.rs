//! Points in time on `CLOCK_MONOTONIC`.
//!
//! Every timed call of these crates turns its time-out into a [`Deadline`] once, at its start, and
//! waits until that point however often it is interrupted. Deadlines are private to a process and
//! are never stored in shared memory: two time namespaces disagree about what they mean.

use core::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point in time on `CLOCK_MONOTONIC`, which no change of the wall clock moves.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use ipc_core::clock::Deadline;
///
/// let soon = Deadline::after(Duration::from_millis(5));
/// assert!(!soon.has_passed() && soon.remaining() <= Duration::from_millis(5));
/// assert!(Deadline::now().has_passed());
/// // A time-out that would overflow the clock is for ever, not a panic.
/// assert!(Deadline::after(Duration::MAX) > soon);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Duration);

impl Deadline {
    /// The farthest point: some 292 billion years after boot.
    pub const FAR: Self = Self(Duration::new(i64::MAX as u64, 0));

    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        // CLOCK_MONOTONIC starts near zero at boot and the kernel keeps `tv_nsec` below one second.
        Self(Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32))
    }

    /// The moment `timeout` from now, or [`FAR`](Self::FAR) when that is beyond the clock's range.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self::now().plus(timeout)
    }

    /// The moment `span` later than this one, or [`FAR`](Self::FAR).
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        self.0.checked_add(span).map_or(Self::FAR, |at| Self(at.min(Self::FAR.0)))
    }

    /// The time left, zero when the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// Whether this moment is now or in the past.
    #[must_use]
    pub fn has_passed(self) -> bool {
        Self::now() >= self
    }

    /// The kernel's form of this moment, absolute.
    #[must_use]
    pub fn to_timespec(self) -> Timespec {
        timespec(self.0)
    }

    /// The kernel's form of the time left, relative.
    #[must_use]
    pub fn remaining_timespec(self) -> Timespec {
        timespec(self.remaining())
    }
}

fn timespec(span: Duration) -> Timespec {
    // `FAR` bounds the seconds to what the kernel's signed field holds.
    let tv_sec = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: span.subsec_nanos().into() }
}

static_assertions::assert_impl_all!(Deadline: Send, Sync);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_is_a_ceiling() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::FAR);
        assert_eq!(Deadline::FAR.plus(Duration::from_nanos(1)), Deadline::FAR);
        assert_eq!(Deadline::FAR.to_timespec().tv_sec, i64::MAX);
    }

    #[test]
    fn a_past_deadline_has_nothing_left() {
        let past = Deadline::now();
        assert!(past.has_passed());
        assert_eq!(past.remaining(), Duration::ZERO);
    }
}
