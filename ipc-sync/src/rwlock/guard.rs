//! [`RwLockReadGuard`], [`RwLockWriteGuard`] and [`RwLockRecovered`]: the lock, held.
//!
//! # Safety
//!
//! See the lock's module.
#![expect(unsafe_code, reason = "a guard hands out references to what the lock guards")]

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use ipc_core::Shareable;
use ipc_core::primitive::{killed, panicking};

use super::RwLock;
use crate::raw::holder::Holder;
use crate::raw::mutex::Found;
use crate::raw::rwlock::Slot;
use crate::raw::tagged::Tagged;

/// The lock, held for reading. Dropping it releases it.
///
/// In a forked child, a copy of a guard releases nothing, whatever that child holds. Nor has it the lock: whoever looks
/// at the value through it races with the parent.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: Shareable, const READERS: usize> {
    lock: &'a RwLock<T, READERS>,
    slot: &'a Slot,
    holder: Holder,
    /// The baton of a lock belongs to the thread that took it.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out no more than `&T`.
unsafe impl<T: Shareable, const READERS: usize> Sync for RwLockReadGuard<'_, T, READERS> {}

static_assertions::assert_impl_all!(RwLockReadGuard<'static, u64, 1>: Sync);
static_assertions::assert_not_impl_any!(RwLockReadGuard<'static, u64, 1>: Send);

impl<'a, T: Shareable, const READERS: usize> RwLockReadGuard<'a, T, READERS> {
    #[inline]
    pub(super) fn new(lock: &'a RwLock<T, READERS>, slot: &'a Slot, holder: Holder) -> Self {
        Self { lock, slot, holder, not_send: PhantomData }
    }
}

impl<T: Shareable, const READERS: usize> Deref for RwLockReadGuard<'_, T, READERS> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has a slot, so nobody writes to the value.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: Shareable, const READERS: usize> Drop for RwLockReadGuard<'_, T, READERS> {
    #[inline]
    fn drop(&mut self) {
        if !killed() {
            // A copy of a guard in a forked child was made by another process; there is nothing for it to release.
            self.lock.raw.unlock_read(self.slot, self.holder);
        }
    }
}

impl<T: Shareable + fmt::Debug, const READERS: usize> fmt::Debug
    for RwLockReadGuard<'_, T, READERS>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The lock, held for writing. Dropping it releases the lock.
///
/// Dropped by a panic, it leaves the value inconsistent: whoever comes next, to read or to write, gets
/// [`RwLockError::Recovered`](crate::RwLockError::Recovered). Of a copy in a forked child the same is true as of
/// that of a [`RwLockReadGuard`].
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Shareable, const READERS: usize> {
    /// With [`INCONSISTENT`] and [`PANICKING`], in one word as that of a [`MutexGuard`](crate::MutexGuard).
    lock: Tagged<'a, RwLock<T, READERS>>,
    holder: Holder,
    not_send: PhantomData<*const ()>,
}

/// What the lock guards was not in order when it was taken, and is not known to be by now.
const INCONSISTENT: usize = 1;
/// The thread was panicking already when it took the lock: a destructor did.
const PANICKING: usize = 2;

// SAFETY: a shared guard gives out no more than `&T`.
unsafe impl<T: Shareable, const READERS: usize> Sync for RwLockWriteGuard<'_, T, READERS> {}

static_assertions::assert_impl_all!(RwLockWriteGuard<'static, u64, 1>: Sync);
static_assertions::assert_not_impl_any!(RwLockWriteGuard<'static, u64, 1>: Send);

impl<'a, T: Shareable, const READERS: usize> RwLockWriteGuard<'a, T, READERS> {
    #[inline]
    pub(super) fn new(lock: &'a RwLock<T, READERS>, found: Found) -> Self {
        let inconsistent = if found == Found::Inconsistent { INCONSISTENT } else { 0 };
        let panicking = if panicking() { PANICKING } else { 0 };
        let lock = Tagged::new(lock, inconsistent | panicking);
        Self { lock, holder: Holder::this(), not_send: PhantomData }
    }
}

impl<T: Shareable, const READERS: usize> Deref for RwLockWriteGuard<'_, T, READERS> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock, so nobody writes to the value.
        self.lock.get().value.with(|value| unsafe { &*value })
    }
}

impl<T: Shareable, const READERS: usize> DerefMut for RwLockWriteGuard<'_, T, READERS> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock and is borrowed alone, so nobody else reaches the value.
        self.lock.get().value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: Shareable, const READERS: usize> Drop for RwLockWriteGuard<'_, T, READERS> {
    #[inline]
    fn drop(&mut self) {
        if killed() {
            return;
        }
        let panicked = panicking() && self.lock.tag() & PANICKING == 0;
        let in_order = !panicked && self.lock.tag() & INCONSISTENT == 0;
        let left = if in_order { Found::Consistent } else { Found::Inconsistent };
        self.lock.get().raw.unlock(self.holder, left);
    }
}

impl<T: Shareable + fmt::Debug, const READERS: usize> fmt::Debug
    for RwLockWriteGuard<'_, T, READERS>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The lock, held for writing, over a value that its last writer left in an unknown state.
///
/// Repair the value through this, then call [`mark_consistent`](Self::mark_consistent). Dropped
/// without that, the lock is released and the next one is told as well. If the value cannot be repaired, say so by
/// [`poison`](Self::poison).
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockRecovered<'a, T: Shareable, const READERS: usize>(
    RwLockWriteGuard<'a, T, READERS>,
);

static_assertions::assert_not_impl_any!(RwLockRecovered<'static, u64, 1>: Send);

impl<'a, T: Shareable, const READERS: usize> RwLockRecovered<'a, T, READERS> {
    pub(super) fn new(lock: &'a RwLock<T, READERS>) -> Self {
        Self(RwLockWriteGuard::new(lock, Found::Inconsistent))
    }

    /// Says that the value is in order again, and goes on holding the lock for writing.
    ///
    /// Others learn of that when the lock is released: who dies before leaves it as a writer does.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(7);
    /// std::thread::spawn(|| {
    ///     let _held = LOCK.write();
    ///     panic!("in the middle of a change");
    /// })
    /// .join()
    /// .unwrap_err();
    ///
    /// let Err(RwLockError::Recovered(mut value)) = LOCK.read() else { panic!("not told") };
    /// *value = 0;
    /// drop(value.mark_consistent());
    /// assert_eq!(*LOCK.read().unwrap(), 0);
    /// ```
    pub fn mark_consistent(self) -> RwLockWriteGuard<'a, T, READERS> {
        let Self(mut guard) = self;
        guard.lock.set_tag(guard.lock.tag() & !INCONSISTENT);
        guard
    }

    /// Says that nobody can ever repair the value. Everybody who waits for the lock, now or later, gets
    /// [`RwLockError::Unrecoverable`](crate::RwLockError::Unrecoverable).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(7);
    /// # std::thread::spawn(|| { let _held = LOCK.write(); panic!() }).join().unwrap_err();
    /// // .. after the death of a writer:
    /// let Err(RwLockError::Recovered(value)) = LOCK.write() else { panic!("not told") };
    /// value.poison();
    /// assert!(matches!(LOCK.read(), Err(RwLockError::Unrecoverable)));
    /// ```
    pub fn poison(self) {
        if self.0.holder.here().is_some() {
            self.0.lock.get().raw.poison();
        }
        core::mem::forget(self);
    }
}

impl<T: Shareable, const READERS: usize> Deref for RwLockRecovered<'_, T, READERS> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Shareable, const READERS: usize> DerefMut for RwLockRecovered<'_, T, READERS> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Shareable, const READERS: usize> fmt::Debug for RwLockRecovered<'_, T, READERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RwLockRecovered(..)")
    }
}
