//! [`MutexGuard`] and [`Recovered`]: the lock, held.
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

use super::Mutex;
use crate::raw::holder::Holder;
use crate::raw::mutex::{Found, RawMutex};
use crate::raw::tagged::Tagged;

/// The lock, held. Dropping it releases the lock.
///
/// Dropped by a panic, it leaves the value inconsistent: the next owner gets
/// [`LockError::Recovered`](super::LockError::Recovered). In a forked child, a copy of a guard releases nothing, whatever
/// that child holds. Nor has it the lock: whoever looks at the value through it races with the parent.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: Shareable> {
    /// With [`INCONSISTENT`] and [`PANICKING`].
    ///
    /// In one word with the reference, because a guard is returned in a `Result` by value: two bytes beside it would
    /// have to reach the cache before the processor could load them as one.
    mutex: Tagged<'a, Mutex<T>>,
    holder: Holder,
    /// The baton of a lock belongs to the thread that took it.
    not_send: PhantomData<*const ()>,
}

/// What the lock guards was not in order when it was taken.
const INCONSISTENT: usize = 1;
/// The thread was panicking already when it took the lock: a destructor did.
const PANICKING: usize = 2;

// SAFETY: a shared guard gives out no more than `&T`.
unsafe impl<T: Shareable> Sync for MutexGuard<'_, T> {}

static_assertions::assert_impl_all!(MutexGuard<'static, u64>: Sync);
static_assertions::assert_not_impl_any!(MutexGuard<'static, u64>: Send);

impl<'a, T: Shareable> MutexGuard<'a, T> {
    #[inline]
    pub(super) fn new(mutex: &'a Mutex<T>, holder: Holder, found: Found) -> Self {
        let inconsistent = if found == Found::Inconsistent { INCONSISTENT } else { 0 };
        let panicking = if panicking() { PANICKING } else { 0 };
        Self { mutex: Tagged::new(mutex, inconsistent | panicking), holder, not_send: PhantomData }
    }

    /// The lock that `this` holds.
    pub(crate) fn mutex(this: &Self) -> &'a Mutex<T> {
        this.mutex.get()
    }

    #[inline]
    fn raw(&self) -> &'a RawMutex {
        &self.mutex.get().raw
    }

    #[inline]
    fn found(&self) -> Found {
        if self.mutex.tag() & INCONSISTENT == 0 { Found::Consistent } else { Found::Inconsistent }
    }
}

impl<T: Shareable> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock, so nobody writes to the value.
        self.mutex.get().value.with(|value| unsafe { &*value })
    }
}

impl<T: Shareable> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock and is borrowed alone, so nobody else reaches the value.
        self.mutex.get().value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: Shareable> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if killed() {
            return;
        }
        let panicked = panicking() && self.mutex.tag() & PANICKING == 0;
        let left = if panicked { Found::Inconsistent } else { self.found() };
        // A copy of a guard in a forked child was made by another process; there is nothing for it to release.
        self.raw().unlock_of(self.holder, self.found(), left);
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The lock, held, over a value that its last owner left in an unknown state.
///
/// Repair the value through this, then call [`mark_consistent`](Self::mark_consistent). Dropped
/// without that, the lock is released and the next owner is told as well. If the value cannot be repaired, say so by
/// [`poison`](Self::poison).
#[must_use = "the lock is released when the guard is dropped"]
pub struct Recovered<'a, T: Shareable>(MutexGuard<'a, T>);

static_assertions::assert_not_impl_any!(Recovered<'static, u64>: Send);

impl<'a, T: Shareable> Recovered<'a, T> {
    pub(super) fn new(mutex: &'a Mutex<T>) -> Self {
        Self(MutexGuard::new(mutex, Holder::this(), Found::Inconsistent))
    }

    /// Says that the value is in order again, and goes on holding the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{LockError, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(7);
    /// std::thread::spawn(|| {
    ///     let _held = LOCK.lock();
    ///     panic!("in the middle of a change");
    /// })
    /// .join()
    /// .unwrap_err();
    ///
    /// let Err(LockError::Recovered(mut value)) = LOCK.lock() else { panic!("not told") };
    /// *value = 0;
    /// drop(value.mark_consistent());
    /// assert_eq!(*LOCK.lock().unwrap(), 0);
    /// ```
    pub fn mark_consistent(mut self) -> MutexGuard<'a, T> {
        let Self(guard) = &mut self;
        if guard.holder.here().is_some() && guard.raw().mark_consistent() {
            guard.mutex.set_tag(guard.mutex.tag() & !INCONSISTENT);
        }
        self.0
    }

    /// Says that nobody can ever repair the value. Everybody who waits for the lock, now or later, gets
    /// [`LockError::Unrecoverable`](super::LockError::Unrecoverable).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{LockError, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(7);
    /// # std::thread::spawn(|| { let _held = LOCK.lock(); panic!() }).join().unwrap_err();
    /// // .. after the death of an owner:
    /// let Err(LockError::Recovered(value)) = LOCK.lock() else { panic!("not told") };
    /// value.poison();
    /// assert!(matches!(LOCK.lock(), Err(LockError::Unrecoverable)));
    /// ```
    pub fn poison(self) {
        if self.0.holder.here().is_some() {
            self.0.raw().poison();
        }
        core::mem::forget(self);
    }
}

impl<T: Shareable> Deref for Recovered<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Shareable> DerefMut for Recovered<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Shareable> fmt::Debug for Recovered<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recovered(..)")
    }
}
