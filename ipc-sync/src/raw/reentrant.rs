//! The words of a mutex that its thread may take again, and the protocol on them.
//!
//! ```text
//! +----------------------+---------------------+---------+
//! | mutex, 16 bytes      | thread, 8 bytes     | depth   |
//! +----------------------+---------------------+---------+
//!   whose process           0: nobody, or not     guards, or
//!                           yet, or no more       `BORROWED`
//! ```
//!
//! The mutex alone excludes, and says whose *process* has it. The other two words are written only by the thread that
//! holds it, and mean something only while it does: a thread holds the lock if the owner word names its process and the
//! thread word names it.
//!
//! | words | who | may |
//! |---|---|---|
//! | mutex free | anybody | claim it as the mutex says, then write its name and a depth of 1 |
//! | mutex held, thread 0 or another's | everybody else, threads of the same process too | wait as the mutex says |
//! | mutex held, thread mine, depth 1 .. | that thread | count up and down |
//! | depth 1 | that thread | make it `BORROWED` and 1 again; or write 0 as its name, then release the mutex |
//!
//! # Why nobody takes another's hold for his own
//!
//! A thread reads its own name only if it wrote that last, and it writes 0 before it releases. So between its release
//! and its next claim it reads 0 or what others wrote since, whatever the order in which stores become visible: no
//! thread ever reads a value older than its own last store. What others write is another name: [`name`] never gives one to
//! two threads of a process; and that it gives one to threads of two processes has odds of one in 2^64, and does no
//! harm unless the lock also changes hands twice, between one load of this thread and its next.
//!
//! # What a death leaves behind
//!
//! What it leaves of the mutex is told in [its table](super::mutex). As to the other words:
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | after the claim, before the name | thread 0, or the name of a dead owner | the process is dead, and nobody else's name is there |
//! | while it holds, at any depth | its name, its depth | who takes the lock over writes its own name and a depth of 1 |
//! | after the name is 0, before the release | the mutex held by the dead | it is taken over |
//!
//! A forked child has its parent's thread number and another process id: it holds nothing. A copy of a guard in it finds
//! that out by the same look, and does nothing.

use ipc_core::identity::ProcessId;
use ipc_core::primitive::{AtomicU32, AtomicU64, Ordering, identity, thread_number};

use super::mutex::{Found, RawMutex, Refused};
use super::until::Until;

/// No thread.
const NOBODY: u64 = 0;
/// The only guard has lent the value as `&mut`.
const BORROWED: u32 = u32::MAX;
/// So often a thread may hold the lock.
const DEEPEST: u32 = BORROWED - 1;

/// 32 bytes, of which every pattern is some state.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawReentrant {
    pub(crate) mutex: RawMutex,
    /// The [`name`] of the thread that holds the mutex.
    thread: AtomicU64,
    /// How many guards it has.
    depth: AtomicU32,
    /// What would be padding.
    unused: u32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RawReentrant>() == 32 && align_of::<RawReentrant>() == 8);

/// Why the lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// By the mutex.
    Refused(Refused),
    /// There are as many guards as can be counted.
    TooDeep,
    /// This thread has lent the value.
    Borrowed,
}

/// The calling thread's name, in process `me`.
fn name(me: ProcessId) -> u64 {
    // An odd factor: as many names as numbers. This one, 2^64 divided by the golden ratio, spreads them over all bits.
    thread_number().wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(me.to_bits())
}

impl RawReentrant {
    ipc_core::const_unless_loom! {
        /// A free lock; `resident` as in [`RawMutex::new`].
        pub(crate) fn new(resident: bool) -> Self {
            Self {
                mutex: RawMutex::new(resident),
                thread: AtomicU64::new(NOBODY),
                depth: AtomicU32::new(0),
                unused: 0,
            }
        }
    }

    /// Takes the lock, once more if the calling thread has it.
    #[inline]
    pub(crate) fn lock(&self, until: Until) -> Result<Found, Denied> {
        if let Some(found) = self.held() {
            return self.lock_again(found);
        }
        let found = self.mutex.lock(until).map_err(Denied::Refused)?;
        // The claim has told of this process.
        if let Some(me) = identity::known() {
            self.thread.store(name(me.id), Ordering::Relaxed);
        }
        self.depth.store(1, Ordering::Relaxed);
        Ok(found)
    }

    fn lock_again(&self, found: Found) -> Result<Found, Denied> {
        match self.depth.load(Ordering::Relaxed) {
            BORROWED => Err(Denied::Borrowed),
            DEEPEST => Err(Denied::TooDeep),
            depth => {
                self.depth.store(depth + 1, Ordering::Relaxed);
                Ok(found)
            }
        }
    }

    /// How the calling thread holds the lock, if it does.
    #[inline]
    fn held(&self) -> Option<Found> {
        // A process that does not know who it is holds nothing.
        let me = identity::known()?.id;
        let found = self.mutex.held_by(me)?;
        (self.thread.load(Ordering::Relaxed) == name(me)).then_some(found)
    }

    /// One guard less, whose value a panic `disturbed`. Does nothing in a thread that does not hold the lock.
    pub(crate) fn unlock(&self, disturbed: bool) {
        let Some(found) = self.held() else { return };
        let depth = self.depth.load(Ordering::Relaxed);
        // The value is lent only by the one guard that there is; if it was never given back, that is over now.
        if (2..=DEEPEST).contains(&depth) {
            if disturbed {
                self.mutex.mark_inconsistent();
            }
            self.depth.store(depth - 1, Ordering::Relaxed);
        } else {
            self.thread.store(NOBODY, Ordering::Relaxed);
            self.mutex.unlock(found, if disturbed { Found::Inconsistent } else { found });
        }
    }

    /// Lends the value, if there is one guard: until [`give_back`](Self::give_back) there will be no other.
    pub(crate) fn borrow(&self) -> bool {
        let lends = self.held().is_some() && self.depth.load(Ordering::Relaxed) == 1;
        if lends {
            self.depth.store(BORROWED, Ordering::Relaxed);
        }
        lends
    }

    pub(crate) fn give_back(&self) {
        if self.held().is_some() {
            self.depth.store(1, Ordering::Relaxed);
        }
    }

    /// Releases the lock, which nobody will ever have again, if there is one guard.
    pub(crate) fn poison(&self) -> bool {
        let poisons = self.held().is_some() && self.depth.load(Ordering::Relaxed) == 1;
        if poisons {
            // An inner guard may have said that all is well.
            self.mutex.mark_inconsistent();
            self.thread.store(NOBODY, Ordering::Relaxed);
            self.mutex.poison();
        }
        poisons
    }

    /// Takes the lock away from whoever holds it.
    pub(crate) fn break_lock(&self) {
        self.thread.store(NOBODY, Ordering::Relaxed);
        self.mutex.break_lock();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn depth_ends_with_an_error() {
        let lock = RawReentrant::new(false);
        assert_eq!(lock.lock(Until::Now), Ok(Found::Consistent));
        lock.depth.store(DEEPEST - 1, Ordering::Relaxed);
        assert_eq!(lock.lock(Until::Now), Ok(Found::Consistent));
        for _ in 0..2 {
            assert_eq!(lock.lock(Until::Now), Err(Denied::TooDeep));
        }
        lock.unlock(false);
        assert_eq!(lock.lock(Until::Now), Ok(Found::Consistent));
    }

    #[test]
    fn whatever_the_depth_is_the_lock_is_released_in_the_end() {
        for depth in [0, 1, BORROWED] {
            let lock = RawReentrant::new(false);
            assert_eq!(lock.lock(Until::Now), Ok(Found::Consistent));
            lock.depth.store(depth, Ordering::Relaxed);
            lock.unlock(false);
            assert_eq!(lock.mutex.owner(), None, "{depth:#x}");
        }
    }

    /// Another process's thread of the same number, whose claim this thread does not see yet.
    #[test]
    fn a_name_is_that_of_one_thread_in_one_process() {
        let me = ProcessId::current().unwrap();
        let other = ProcessId::from_bits(me.to_bits() + 1).unwrap();
        let theirs = std::thread::spawn(move || name(me)).join().unwrap();
        assert!(name(me) == name(me) && name(me) != name(other) && name(me) != theirs);
        let lock = RawReentrant::new(false);
        assert_eq!(lock.lock(Until::Now), Ok(Found::Consistent));
        lock.thread.store(name(other), Ordering::Relaxed);
        assert_eq!(lock.held(), None);
    }
}
