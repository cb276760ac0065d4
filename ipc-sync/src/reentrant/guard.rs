//! [`ReentrantMutexGuard`], [`ReentrantRecovered`] and [`Exclusive`]: the lock, held.
//!
//! # Safety
//!
//! A guard counts for one in the depth until it is dropped, and a forgotten one for ever. So at a depth of 1 the guard
//! that asks is the only one, nobody else has a reference to the value, and while the value is lent as `&mut` the lock
//! gives nobody another guard: not even its own thread, which could otherwise lock again and look.
#![expect(unsafe_code, reason = "a guard hands out references to what the lock guards")]

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use ipc_core::Shareable;
use ipc_core::primitive::{killed, panicking};

use super::ReentrantMutex;
use crate::raw::holder::Holder;
use crate::raw::reentrant::RawReentrant;
use crate::raw::tagged::Tagged;

/// The lock, held once more by this thread. Dropping the last guard of the thread releases the lock, in whatever order
/// they are dropped.
///
/// There may be several, so each gives a shared reference: what is to be changed through it changes by itself, as the
/// atomics of `ipc-shm` do. For the rest there is [`exclusive`](Self::exclusive).
///
/// Dropped by a panic, it leaves the value inconsistent: whoever locks next, be it this thread, gets
/// [`ReentrantLockError::Recovered`](crate::ReentrantLockError::Recovered).
///
/// In a forked child, a copy of a guard releases nothing, whatever that child holds. Nor has it the lock: whoever looks
/// at the value through it races with the parent. A guard belongs to its thread, so that no other can release the lock:
///
/// ```compile_fail,E0277
/// static LOCK: ipc_sync::ReentrantMutex<u32> = ipc_sync::ReentrantMutex::new(0);
/// let held = LOCK.lock().unwrap();
/// std::thread::spawn(move || drop(held));
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct ReentrantMutexGuard<'a, T: Shareable> {
    /// With [`PANICKING`].
    mutex: Tagged<'a, ReentrantMutex<T>>,
    holder: Holder,
    /// The depth is that of the thread that took it.
    not_send: PhantomData<*const ()>,
}

/// The thread was panicking already when it took the lock: a destructor did.
const PANICKING: usize = 1;

// SAFETY: a shared guard gives out no more than `&T`.
unsafe impl<T: Shareable> Sync for ReentrantMutexGuard<'_, T> {}

static_assertions::assert_impl_all!(ReentrantMutexGuard<'static, u64>: Sync);
static_assertions::assert_not_impl_any!(ReentrantMutexGuard<'static, u64>: Send);

impl<'a, T: Shareable> ReentrantMutexGuard<'a, T> {
    pub(super) fn new(mutex: &'a ReentrantMutex<T>) -> Self {
        let tag = if panicking() { PANICKING } else { 0 };
        Self { mutex: Tagged::new(mutex, tag), holder: Holder::this(), not_send: PhantomData }
    }

    fn raw(&self) -> &'a RawReentrant {
        &self.mutex.get().raw
    }

    /// The value as `&mut`, if this is the thread's only guard; a forgotten guard counts as well.
    ///
    /// As long as the result lives, the thread cannot take the lock once more: it gets
    /// [`ReentrantLockError::Exclusive`](crate::ReentrantLockError::Exclusive).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{ReentrantLockError, ReentrantMutex};
    ///
    /// static TOTAL: ReentrantMutex<u32> = ReentrantMutex::new(0);
    /// let mut outer = TOTAL.lock().unwrap();
    /// let mut total = outer.exclusive().expect("the only guard");
    /// *total += 1;
    /// assert!(matches!(TOTAL.lock(), Err(ReentrantLockError::Exclusive)));
    /// drop(total);
    /// let mut inner = TOTAL.lock().unwrap();
    /// assert_eq!((*outer, *inner), (1, 1));
    /// assert!(inner.exclusive().is_none());
    /// ```
    #[must_use = "there is none while the thread has another guard"]
    pub fn exclusive(&mut self) -> Option<Exclusive<'_, T>> {
        let mutex = self.mutex.get();
        let holder = self.holder;
        let lends = holder.here().is_some() && mutex.raw.borrow();
        lends.then(|| Exclusive { mutex, holder, not_send: PhantomData })
    }
}

impl<T: Shareable> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock, and the value is not lent: this guard's, if it is the only one,
        // is borrowed for that.
        self.mutex.get().value.with(|value| unsafe { &*value })
    }
}

impl<T: Shareable> Drop for ReentrantMutexGuard<'_, T> {
    fn drop(&mut self) {
        if killed() || self.holder.here().is_none() {
            return;
        }
        self.raw().unlock(panicking() && self.mutex.tag() & PANICKING == 0);
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The value as `&mut`, lent by the only guard of its thread: see
/// [`exclusive`](ReentrantMutexGuard::exclusive).
///
/// If it is forgotten, the guard lends nothing more, and lets nobody in until it is dropped.
pub struct Exclusive<'g, T: Shareable> {
    mutex: &'g ReentrantMutex<T>,
    holder: Holder,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared one gives out no more than `&T`.
unsafe impl<T: Shareable> Sync for Exclusive<'_, T> {}

static_assertions::assert_impl_all!(Exclusive<'static, u64>: Sync);
static_assertions::assert_not_impl_any!(Exclusive<'static, u64>: Send);

impl<T: Shareable> Deref for Exclusive<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard that lent the value is the only one, and is borrowed.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T: Shareable> DerefMut for Exclusive<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard that lent the value is the only one, and is borrowed; so is this.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: Shareable> Drop for Exclusive<'_, T> {
    fn drop(&mut self) {
        if !killed() && self.holder.here().is_some() {
            self.mutex.raw.give_back();
        }
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Exclusive<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The lock, held, over a value that an owner left in an unknown state.
///
/// Repair the value through this, then call [`mark_consistent`](Self::mark_consistent). Dropped
/// without that, the lock is released and the next owner is told as well. If the value cannot be repaired, say so by
/// [`poison`](Self::poison).
#[must_use = "the lock is released when the guard is dropped"]
pub struct ReentrantRecovered<'a, T: Shareable>(ReentrantMutexGuard<'a, T>);

static_assertions::assert_not_impl_any!(ReentrantRecovered<'static, u64>: Send);

impl<'a, T: Shareable> ReentrantRecovered<'a, T> {
    pub(super) fn new(mutex: &'a ReentrantMutex<T>) -> Self {
        Self(ReentrantMutexGuard::new(mutex))
    }

    /// The value as `&mut`, to be repaired: as [`ReentrantMutexGuard::exclusive`].
    ///
    /// It is always there for who took the lock over. For a thread that held it already, and whose inner guard was dropped
    /// by a panic, it is not.
    ///
    /// # Examples
    ///
    /// See [`mark_consistent`](Self::mark_consistent).
    #[must_use = "there is none while the thread has another guard"]
    pub fn exclusive(&mut self) -> Option<Exclusive<'_, T>> {
        self.0.exclusive()
    }

    /// Says that the value is in order again, and goes on holding the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{ReentrantLockError, ReentrantMutex};
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(7);
    /// std::thread::spawn(|| {
    ///     let _held = LOCK.lock();
    ///     panic!("in the middle of a change");
    /// })
    /// .join()
    /// .unwrap_err();
    ///
    /// let Err(ReentrantLockError::Recovered(mut value)) = LOCK.lock() else { panic!("not told") };
    /// *value.exclusive().expect("the only guard") = 0;
    /// drop(value.mark_consistent());
    /// assert_eq!(*LOCK.lock().unwrap(), 0);
    /// ```
    pub fn mark_consistent(self) -> ReentrantMutexGuard<'a, T> {
        // In a forked child's copy there is nothing to say.
        if self.0.holder.here().is_some() {
            self.0.raw().mutex.mark_consistent();
        }
        self.0
    }

    /// Says that nobody can ever repair the value. Everybody who waits for the lock, now or later, gets
    /// [`ReentrantLockError::Unrecoverable`](crate::ReentrantLockError::Unrecoverable).
    ///
    /// # Errors
    ///
    /// Gives itself back if this is not the thread's only guard.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{ReentrantLockError, ReentrantMutex};
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(7);
    /// # std::thread::spawn(|| { let _held = LOCK.lock(); panic!() }).join().unwrap_err();
    /// // .. after the death of an owner:
    /// let Err(ReentrantLockError::Recovered(value)) = LOCK.lock() else { panic!("not told") };
    /// value.poison().expect("the only guard");
    /// assert!(matches!(LOCK.lock(), Err(ReentrantLockError::Unrecoverable)));
    /// ```
    pub fn poison(self) -> Result<(), Self> {
        if self.0.holder.here().is_none() || !self.0.raw().poison() {
            return Err(self);
        }
        core::mem::forget(self);
        Ok(())
    }
}

impl<T: Shareable> Deref for ReentrantRecovered<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Shareable> fmt::Debug for ReentrantRecovered<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReentrantRecovered(..)")
    }
}
