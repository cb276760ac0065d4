//! A bell: how one process sleeps until another has changed a word.
//!
//! | value | meaning |
//! |---|---|
//! | 0 | somebody sleeps here, or is about to; or nobody has been here yet |
//! | top bit | nobody sleeps |
//!
//! The sleeper stores 0 and looks at the word that it waits for; the other changes that word and looks at
//! the bell. A full fence stands between the two on both sides (Dekker), so at least one of them sees the other.
//! The bit is set and the sleepers are woken by one system call (`FUTEX_WAKE_OP`): a ringer that is killed has done both
//! or neither, and the next one, at the latest the supervisor that buries it, finds the bell as it was.
//! A bell says nothing by itself: the word is the truth.

use ipc_core::clock::Deadline;
use ipc_core::primitive::futex::{self, Entry};
use ipc_core::primitive::{AtomicU32, Ordering, fence, fence_after_rmw};

const AWAITED: u32 = 0;
const SILENT: u32 = 1 << 31;

/// A bell, by its word.
#[derive(Clone, Copy, Debug)]
pub struct Bell<'a>(&'a AtomicU32);

static_assertions::assert_impl_all!(Bell<'static>: Send, Sync);

impl<'a> Bell<'a> {
    /// The bell whose word this is.
    #[must_use]
    pub const fn new(word: &'a AtomicU32) -> Self {
        Self(word)
    }

    /// Sleeps until the bell rings or `until` comes, unless `happened` says that there is nothing to wait for.
    ///
    /// The caller looks again afterwards, in any case.
    ///
    /// # Errors
    ///
    /// What the kernel says to a futex on a bad page, which a region does not have.
    pub fn wait(
        self,
        until: Deadline,
        happened: impl FnOnce() -> bool,
    ) -> Result<(), ipc_core::Errno> {
        self.0.store(AWAITED, Ordering::Relaxed);
        // SYNC: bell set, then the word read (`ring`: word written, then the bell read).
        fence(Ordering::SeqCst);
        if happened() {
            return Ok(());
        }
        futex::sleep(&[Entry::new(self.0, AWAITED)], None, until, false).map(drop)
    }

    /// The one sleeper of this bell is awake and wants no ring.
    pub fn leave(self) {
        if self.0.load(Ordering::Relaxed) == AWAITED {
            self.0.store(SILENT, Ordering::Relaxed);
        }
    }

    /// Wakes whoever sleeps here, after the caller has changed the word by a read-modify-write; whether there was
    /// somebody.
    pub fn ring(self) -> bool {
        // SYNC: word written, then the bell read (`wait`: bell set, then the word read).
        fence_after_rmw();
        self.strike()
    }

    /// As [`ring`](Self::ring), after a plain store.
    pub fn ring_after_store(self) -> bool {
        // SYNC: as in `ring`.
        fence(Ordering::SeqCst);
        self.strike()
    }

    fn strike(self) -> bool {
        let awaited = self.0.load(Ordering::Relaxed) == AWAITED;
        if awaited && futex::set_top_bit_and_wake_all(self.0).is_err() {
            // A sandbox without the operation: the bell stays awaited.
            futex::wake(self.0, u32::MAX);
        }
        awaited
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_ring_ends_the_sleep() {
        let (bell, word) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::Relaxed) == 0 {
                    let until = Deadline::after(Duration::from_secs(60));
                    Bell::new(&bell).wait(until, || word.load(Ordering::Relaxed) != 0).unwrap();
                }
            });
            word.swap(1, Ordering::Relaxed);
            Bell::new(&bell).ring();
        });
    }

    #[test]
    fn nobody_is_told_apart_from_somebody() {
        let word = AtomicU32::new(0);
        let bell = Bell::new(&word);
        assert!(bell.ring() && !bell.ring());
        bell.wait(Deadline::after(Duration::from_secs(60)), || true).unwrap();
        assert!(bell.ring() && !bell.ring());
        bell.wait(Deadline::after(Duration::from_secs(60)), || true).unwrap();
        bell.leave();
        assert!(!bell.ring_after_store());
    }
}
