//! Sleeping and waking on a 32-bit word that several processes map.
//!
//! Every call here uses the *shared* form of the futex, so the word may lie in any `MAP_SHARED`
//! mapping, in a `static`, or on a stack that other threads can see. Deadlines are absolute points
//! on `CLOCK_MONOTONIC`.
//!
//! # References
//!
//! [`futex(2)`](https://man7.org/linux/man-pages/man2/futex.2.html),
//! [`futex_waitv`](https://www.kernel.org/doc/html/latest/userspace-api/futex2.html).

use core::ffi::c_void;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use rustix::thread::futex::{
    self as sys, ClockId, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags, WakeOp, WakeOpCmp,
};

use crate::clock::Deadline;
use crate::{Errno, Result};

/// How a wait ended. None of these says that a condition holds: the caller looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody woke this thread, or the kernel did so without a reason.
    Woken,
    /// A word no longer had its expected value, so the thread did not sleep.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

static_assertions::assert_impl_all!(Wake: Send, Sync);

/// A word to sleep on, and the value that it must still have for the sleep to begin.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    word: Word<'a>,
    expected: u32,
}

#[derive(Clone, Copy, Debug)]
enum Word<'a> {
    Whole(&'a AtomicU32),
    LowHalf(&'a AtomicU64),
}

static_assertions::assert_impl_all!(Entry<'static>: Send, Sync);

impl<'a> Entry<'a> {
    /// Sleep only while `word` is `expected`.
    #[must_use]
    pub fn new(word: &'a AtomicU32, expected: u32) -> Self {
        Self { word: Word::Whole(word), expected }
    }

    /// Sleep only while the low 32 bits of `word` are those of `expected`.
    ///
    /// The kernel looks at 32 bits. A change of the high half alone is not seen.
    #[must_use]
    pub fn low_half(word: &'a AtomicU64, expected: u64) -> Self {
        // Truncation keeps the half that is meant.
        Self { word: Word::LowHalf(word), expected: expected as u32 }
    }

    /// Where the kernel looks.
    fn address(&self) -> *const u32 {
        match self.word {
            Word::Whole(word) => word.as_ptr(),
            Word::LowHalf(word) => {
                let half = if cfg!(target_endian = "little") { 0 } else { 1 };
                word.as_ptr().cast::<u32>().wrapping_add(half)
            }
        }
    }

    fn has_changed(&self) -> bool {
        let found = match self.word {
            Word::Whole(word) => word.load(Ordering::SeqCst),
            Word::LowHalf(word) => word.load(Ordering::SeqCst) as u32,
        };
        found != self.expected
    }
}

/// Sleeps while `word` is `expected`, until it is woken or `until` passes.
///
/// # Errors
///
/// Only what no retry can mend, such as `EFAULT` for a word on a page that cannot be read.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::AtomicU32;
/// use ipc_core::{clock::Deadline, futex};
///
/// let word = AtomicU32::new(1);
/// assert_eq!(futex::wait(&word, 0, None)?, futex::Wake::Changed);
/// assert_eq!(futex::wait(&word, 1, Some(Deadline::now()))?, futex::Wake::TimedOut);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn wait(word: &AtomicU32, expected: u32, until: Option<Deadline>) -> Result<Wake> {
    let until = until.map(Deadline::to_timespec);
    let any = const { NonZeroU32::new(u32::MAX).unwrap() };
    outcome(sys::wait_bitset(word, Flags::empty(), expected, until.as_ref(), any))
}

/// Sleeps while every entry has its expected value, until one of the words is woken or `until`
/// passes.
///
/// The kernel queues the thread on each word before it compares the next, so a change that is
/// followed by a wake on *any* of the words cannot be missed.
///
/// Where the kernel has no `futex_waitv` (before 5.16, or refused by a sandbox) this sleeps on the
/// first 32-bit word alone for at most ten milliseconds and reports that as [`Wake::Woken`]; callers
/// loop anyway.
///
/// # Errors
///
/// As for [`wait`]; `ENOSYS` without `futex_waitv` if no entry is a 32-bit word.
///
/// # Panics
///
/// If there is no entry, or more than [`MAX_ENTRIES`].
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU32, AtomicU64};
/// use ipc_core::futex::{self, Entry, Wake};
///
/// let (gate, state) = (AtomicU32::new(0), AtomicU64::new(7));
/// let entries = [Entry::new(&gate, 0), Entry::low_half(&state, 8)];
/// assert_eq!(futex::wait_any(&entries, None)?, Wake::Changed);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn wait_any(entries: &[Entry<'_>], until: Option<Deadline>) -> Result<Wake> {
    static NO_WAITV: AtomicBool = AtomicBool::new(false);

    assert!(!entries.is_empty() && entries.len() <= MAX_ENTRIES, "between 1 and 4 entries");
    if NO_WAITV.load(Ordering::Relaxed) {
        return wait_first(entries, until);
    }
    let mut waiters = [Wait::new(); MAX_ENTRIES];
    for (waiter, entry) in waiters.iter_mut().zip(entries) {
        waiter.val = entry.expected.into();
        waiter.uaddr = WaitPtr::new(entry.address().cast_mut().cast::<c_void>());
        waiter.flags = WaitFlags::SIZE_U32;
    }
    let timeout = until.map(Deadline::to_timespec);
    let waiters = &waiters[..entries.len()];
    match sys::waitv(waiters, WaitvFlags::empty(), timeout.as_ref(), ClockId::Monotonic) {
        Err(Errno::NOSYS | Errno::PERM) => {
            NO_WAITV.store(true, Ordering::Relaxed);
            wait_first(entries, until)
        }
        // The kernel could not allocate its table for this call; the next one may succeed.
        Err(Errno::NOMEM) => wait_first(entries, until),
        result => outcome(result.map(drop)),
    }
}

/// The most entries that one [`wait_any`] takes.
pub const MAX_ENTRIES: usize = 4;

/// Wakes up to `count` threads that sleep on `word`; returns how many were woken.
///
/// # Examples
///
/// ```
/// # use core::sync::atomic::AtomicU32;
/// assert_eq!(ipc_core::futex::wake(&AtomicU32::new(0), 1), 0);
/// ```
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    // The kernel takes the count as a signed number. It fails only for an address that it
    // cannot resolve, which is one that nobody can be asleep on.
    let count = count.min(i32::MAX.unsigned_abs());
    sys::wake(word, Flags::empty(), count).unwrap_or(0)
}

/// Sets the top bit of `word` and wakes everybody who sleeps on it, as one atomic step.
///
/// No thread can fall asleep on `word` between the two: the kernel holds its queue locked.
/// Returns how many were woken.
///
/// The trick of a `FUTEX_WAKE_OP` with both addresses equal makes a "maybe sleepers" flag
/// crash-atomic: the flag cannot be cleared without the wake, whoever is killed where.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
///
/// let gate = AtomicU32::new(0);
/// ipc_core::futex::set_top_bit_and_wake_all(&gate);
/// assert_eq!(gate.load(Ordering::Relaxed), 0x8000_0000);
/// ```
pub fn set_top_bit_and_wake_all(word: &AtomicU32) -> usize {
    const ALL: u32 = i32::MAX.unsigned_abs();
    // The comparison is one that never holds (the word is 0 or the top bit), so that the second
    // half of the operation, which we do not want, wakes nobody.
    let never = (WakeOpCmp::Eq, 1);
    sys::wake_op(word, Flags::empty(), ALL, 0, word, WakeOp::OrShift, never.0, 31, never.1)
        .unwrap_or(0)
}

/// The fallback for kernels without `futex_waitv`.
#[cold]
fn wait_first(entries: &[Entry<'_>], until: Option<Deadline>) -> Result<Wake> {
    const SLICE: Duration = Duration::from_millis(10);

    let whole = entries.iter().find_map(|entry| match entry.word {
        Word::Whole(word) => Some((word, entry.expected)),
        Word::LowHalf(_) => None,
    });
    let (word, expected) = whole.ok_or(Errno::NOSYS)?;
    if entries.iter().any(Entry::has_changed) {
        return Ok(Wake::Changed);
    }
    let slice = Deadline::after(SLICE);
    let ends = until.map_or(slice, |until| until.min(slice));
    let wake = wait(word, expected, Some(ends))?;
    let only_a_slice = wake == Wake::TimedOut && until.is_none_or(|until| !until.has_passed());
    Ok(if only_a_slice { Wake::Woken } else { wake })
}

fn outcome(result: Result<()>) -> Result<Wake> {
    match result {
        Ok(()) => Ok(Wake::Woken),
        Err(Errno::AGAIN) => Ok(Wake::Changed),
        Err(Errno::TIMEDOUT) => Ok(Wake::TimedOut),
        Err(Errno::INTR) => Ok(Wake::Interrupted),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Option<Deadline> {
        Some(Deadline::after(Duration::from_millis(3)))
    }

    #[test]
    fn every_entry_is_compared() {
        let (a, b) = (AtomicU32::new(1), AtomicU64::new(0xffff_ffff_0000_0002));
        let entry = |x, y| [Entry::new(&a, x), Entry::low_half(&b, y)];
        for wait in [wait_any, wait_first] {
            assert_eq!(wait(&entry(0, 2), soon()), Ok(Wake::Changed));
            assert_eq!(wait(&entry(1, 3), soon()), Ok(Wake::Changed));
            assert_eq!(wait(&entry(1, 2), soon()), Ok(Wake::TimedOut));
        }
    }

    #[test]
    fn a_slice_of_the_fallback_is_not_the_deadline() {
        let a = AtomicU32::new(0);
        assert_eq!(wait_first(&[Entry::new(&a, 0)], None), Ok(Wake::Woken));
    }

    #[test]
    fn a_wake_on_any_word_ends_the_wait() {
        let words = [AtomicU32::new(0), AtomicU32::new(0)];
        for at in 0..2 {
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(|| {
                    wait_any(&[Entry::new(&words[0], 0), Entry::new(&words[1], 0)], None)
                });
                while wake(&words[at], 1) == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(sleeper.join().unwrap(), Ok(Wake::Woken));
            });
        }
    }

    #[test]
    fn set_and_wake_reaches_every_sleeper() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let sleepers = [(); 3].map(|()| {
                scope.spawn(|| {
                    while word.load(Ordering::SeqCst) == 0 {
                        wait(&word, 0, None).unwrap();
                    }
                })
            });
            set_top_bit_and_wake_all(&word);
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
    }
}
