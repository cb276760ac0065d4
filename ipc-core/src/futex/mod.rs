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

mod word;

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use rustix::thread::futex::{
    self as sys, ClockId, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags, WakeOp, WakeOpCmp,
};

use crate::clock::Deadline;
use crate::{Errno, Result};

pub use word::{Entry, Word};

/// How a wait ended. None of these says that a condition holds: the caller looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody woke this thread, or the kernel did so without a reason.
    Woken,
    /// A word no longer had its expected value, so the thread did not sleep.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran. Not after each: where nothing else is said, the kernel may go on with the sleep by
    /// itself after a handler that was installed with `SA_RESTART`.
    Interrupted,
}

static_assertions::assert_impl_all!(Wake: Send, Sync);

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
pub fn wait<'a>(word: impl Into<Word<'a>>, expected: u32, until: Option<Deadline>) -> Result<Wake> {
    let word = word.into().for_kernel();
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
/// first word alone for at most ten milliseconds and reports that as [`Wake::Woken`]; callers loop
/// anyway.
///
/// # Errors
///
/// As for [`wait`].
///
/// # Panics
///
/// If there is no entry, or more than [`MAX_ENTRIES`].
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU32, AtomicU64};
/// use ipc_core::futex::{self, Entry, Wake, Word};
///
/// let (gate, state) = (AtomicU32::new(0), AtomicU64::new(7));
/// let entries = [Entry::new(&gate, 0), Entry::new(Word::Low(&state), 8)];
/// assert_eq!(futex::wait_any(&entries, None)?, Wake::Changed);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn wait_any(entries: &[Entry<'_>], until: Option<Deadline>) -> Result<Wake> {
    static NO_WAITV: AtomicBool = AtomicBool::new(false);

    assert!(!entries.is_empty() && entries.len() <= MAX_ENTRIES, "between 1 and 128 entries");
    if let [entry] = entries {
        return wait(entry.word, entry.expected, until);
    }
    if NO_WAITV.load(Ordering::Relaxed) {
        return wait_first(entries, until);
    }
    let waited = if entries.len() <= FEW {
        waitv::<FEW>(entries, until)
    } else {
        waitv::<MAX_ENTRIES>(entries, until)
    };
    match waited {
        Err(Errno::NOSYS | Errno::PERM) => {
            NO_WAITV.store(true, Ordering::Relaxed);
            wait_first(entries, until)
        }
        // The kernel could not allocate its table for this call; the next one may succeed.
        Err(Errno::NOMEM) => wait_first(entries, until),
        result => outcome(result),
    }
}

/// The system call, with a table of `N` entries on the stack.
fn waitv<const N: usize>(entries: &[Entry<'_>], until: Option<Deadline>) -> Result<()> {
    let mut waiters = [Wait::new(); N];
    for (waiter, entry) in waiters.iter_mut().zip(entries) {
        waiter.val = entry.expected.into();
        waiter.uaddr = WaitPtr::new(entry.address());
        waiter.flags = WaitFlags::SIZE_U32;
    }
    let timeout = until.map(Deadline::to_timespec);
    let waiters = &waiters[..entries.len()];
    sys::waitv(waiters, WaitvFlags::empty(), timeout.as_ref(), ClockId::Monotonic).map(drop)
}

/// As [`wait_any`], and each signal handler that runs on the thread while it sleeps ends the sleep with
/// [`Wake::Interrupted`], also one that was installed with `SA_RESTART`.
///
/// After such a handler the kernel goes on with a `futex_waitv` by itself, and only with that: so this looks at all
/// the words, and then sleeps on the first one alone. A wake on another one, after that look, does not end the sleep:
/// whoever relies on several words brings a deadline, and looks again.
///
/// # Errors
///
/// As for [`wait`].
///
/// # Panics
///
/// As [`wait_any`].
///
/// # Examples
///
/// ```
/// use core::sync::atomic::AtomicU32;
/// use ipc_core::futex::{self, Entry, Wake};
///
/// let word = AtomicU32::new(0);
/// assert_eq!(futex::wait_any_interruptible(&[Entry::new(&word, 1)], None)?, Wake::Changed);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn wait_any_interruptible(entries: &[Entry<'_>], until: Option<Deadline>) -> Result<Wake> {
    assert!(!entries.is_empty() && entries.len() <= MAX_ENTRIES, "between 1 and 128 entries");
    if entries.iter().any(Entry::has_changed) {
        return Ok(Wake::Changed);
    }
    // Without a deadline the kernel would go on with this one as well.
    wait(entries[0].word, entries[0].expected, Some(until.unwrap_or(Deadline::FAR)))
}

/// The most entries that one [`wait_any`] takes: the kernel's limit.
pub const MAX_ENTRIES: usize = 128;

/// As many as nearly everybody has: a table of them is small.
const FEW: usize = 4;

/// Wakes up to `count` threads that sleep on `word`; returns how many were woken.
///
/// # Examples
///
/// ```
/// # use core::sync::atomic::AtomicU32;
/// assert_eq!(ipc_core::futex::wake(&AtomicU32::new(0), 1), 0);
/// ```
pub fn wake<'a>(word: impl Into<Word<'a>>, count: u32) -> usize {
    // It fails only for an address that it cannot resolve, which is one that nobody can be asleep on.
    sys::wake(word.into().for_kernel(), Flags::empty(), count.min(ALL)).unwrap_or(0)
}

/// Sets the top bit of `word` and wakes everybody who sleeps on it, as one atomic step.
///
/// No thread can fall asleep on `word` between the two: the kernel holds its queue locked.
/// Returns how many were woken.
///
/// # Errors
///
/// What no retry can mend, such as a sandbox's `EPERM`; then nothing was done. But `EINVAL`, which is said if somebody
/// waits here by another kind of futex (a priority-inheriting one), comes after the bit was set.
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
/// ipc_core::futex::set_top_bit_and_wake_all(&gate)?;
/// assert_eq!(gate.load(Ordering::Relaxed), 0x8000_0000);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn set_top_bit_and_wake_all<'a>(word: impl Into<Word<'a>>) -> Result<usize> {
    set_bit_and_wake(word, 31, ALL)
}

/// Sets bit `bit` of `word` and wakes up to `count` threads that sleep on it, as one atomic step. Returns how many
/// were woken.
///
/// # Errors
///
/// As [`set_top_bit_and_wake_all`].
///
/// # Panics
///
/// If there is no such bit, or `count` is 0: the kernel would wake one.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
///
/// let gate = AtomicU32::new(0);
/// assert_eq!(ipc_core::futex::set_bit_and_wake(&gate, 30, 1)?, 0);
/// assert_eq!(gate.load(Ordering::Relaxed), 0x4000_0000);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn set_bit_and_wake<'a>(word: impl Into<Word<'a>>, bit: u16, count: u32) -> Result<usize> {
    assert!(bit < 32 && count > 0, "one of 32 bits, and somebody to wake");
    let (word, count) = (word.into().for_kernel(), count.min(ALL));
    // The second half of the operation, which we do not want, would wake one more where the word was 1, which no
    // word with such a bit is.
    let seldom = (WakeOpCmp::Eq, 1);
    sys::wake_op(word, Flags::empty(), count, 0, word, WakeOp::OrShift, seldom.0, bit, seldom.1)
}

/// Adds `term` to `counter` and wakes up to `count` threads that sleep on `gate`, as one atomic step:
/// nobody can be killed between the two, and no thread can fall asleep on either word. Returns how
/// many were woken. The sum wraps.
///
/// The sleepers wait for both words by [`wait_any`].
///
/// # Errors
///
/// What no retry can mend, such as `EFAULT`; then nothing was added. But `EINVAL`, which is said if somebody waits on
/// `gate` by another kind of futex (a priority-inheriting one), comes after the sum.
///
/// # Panics
///
/// If `term` is more than [`MAX_TERM`], or `count` is 0: the kernel would wake one.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use ipc_core::futex::{self, Word};
///
/// let word = AtomicU64::new(7);
/// assert_eq!(futex::add_and_wake(Word::High(&word), 2, Word::Low(&word), 1)?, 0);
/// assert_eq!(word.load(Ordering::Relaxed), 2 << 32 | 7);
/// # Ok::<(), ipc_core::Errno>(())
/// ```
pub fn add_and_wake<'a, 'b>(
    counter: impl Into<Word<'a>>,
    term: u16,
    gate: impl Into<Word<'b>>,
    count: u32,
) -> Result<usize> {
    assert!(term <= MAX_TERM && count > 0, "a term of at most {MAX_TERM}, and somebody to wake");
    let (counter, gate) = (counter.into().for_kernel(), gate.into().for_kernel());
    // A counter of all ones is one that nobody has; were it there, one more would be woken.
    let all_ones = (WakeOpCmp::Eq, 0xfff);
    let (count, flags) = (count.min(ALL), Flags::empty());
    sys::wake_op(gate, flags, count, 0, counter, WakeOp::Add, all_ones.0, term, all_ones.1)
}

/// The most that one [`add_and_wake`] adds: the kernel's instruction has 12 bits for it, one of them the
/// sign.
pub const MAX_TERM: u16 = 0x7ff;

/// The kernel takes a count as a signed number.
const ALL: u32 = i32::MAX.unsigned_abs();

/// What does without `futex_waitv`.
#[cold]
fn wait_first(entries: &[Entry<'_>], until: Option<Deadline>) -> Result<Wake> {
    const SLICE: Duration = Duration::from_millis(10);

    if entries.iter().any(Entry::has_changed) {
        return Ok(Wake::Changed);
    }
    let slice = Deadline::after(SLICE);
    let ends = until.map_or(slice, |until| until.min(slice));
    let wake = wait(entries[0].word, entries[0].expected, Some(ends))?;
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
    use core::sync::atomic::{AtomicU32, AtomicU64};

    use super::*;

    fn soon() -> Option<Deadline> {
        Some(Deadline::after(Duration::from_millis(3)))
    }

    #[test]
    fn every_entry_is_compared() {
        let (a, b) = (AtomicU32::new(1), AtomicU64::new(0xffff_ffff_0000_0002));
        let entry = |x, y| [Entry::new(&a, x), Entry::new(Word::Low(&b), y)];
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
    fn as_many_entries_as_the_kernel_takes_are_compared() {
        let words = [const { AtomicU32::new(0) }; MAX_ENTRIES];
        for count in [FEW, FEW + 1, MAX_ENTRIES] {
            let mut entries = words.each_ref().map(|word| Entry::new(word, 0));
            assert_eq!(wait_any(&entries[..count], soon()), Ok(Wake::TimedOut));
            entries[count - 1] = Entry::new(&words[count - 1], 1);
            assert_eq!(wait_any(&entries[..count], soon()), Ok(Wake::Changed));
        }
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
            set_top_bit_and_wake_all(&word).unwrap();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
    }

    #[test]
    fn a_sum_and_its_wake_are_one_step() {
        let word = AtomicU64::new(0);
        let asleep = [Entry::new(Word::Low(&word), 0), Entry::new(Word::High(&word), 0)];
        std::thread::scope(|scope| {
            let sleepers = [(); 3]
                .map(|()| scope.spawn(|| while wait_any(&asleep, None) == Ok(Wake::Changed) {}));
            let (mut woken, mut wakes) = (0, 0);
            while woken < 3 {
                let some = add_and_wake(Word::High(&word), MAX_TERM, Word::Low(&word), 2).unwrap();
                // Taken back, so that the others can fall asleep.
                let sum = word.fetch_sub(u64::from(MAX_TERM) << 32, Ordering::Relaxed);
                assert_eq!(sum, u64::from(MAX_TERM) << 32);
                assert!(some <= 2);
                woken += some;
                wakes += usize::from(some > 0);
                std::thread::yield_now();
            }
            assert!(wakes >= 2, "three were woken by {wakes} calls for two each");
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
        assert_eq!(word.load(Ordering::Relaxed), 0, "the gate is untouched");
    }
}
