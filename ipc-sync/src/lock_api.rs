//! [`RawMutex`]: the lock for generic code, by the traits of the crate `lock_api`.
//!
//! # Safety
//!
//! It excludes as [`Mutex`](crate::Mutex) does, whose raw lock it is. After a death it lets nobody in, until somebody
//! vouches for the value.
#![expect(unsafe_code, reason = "unsafe traits, which promise that the lock excludes")]

use core::fmt;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use lock_api::GuardNoSend;

use crate::raw::mutex::{Found, RawMutex as Raw, Refused};
use crate::raw::until::Until;

/// A raw lock between threads and processes, for [`lock_api::Mutex`] and other generic code. Needs the feature
/// `lock_api`.
///
/// [`Mutex`](crate::Mutex) is the better choice wherever a program is free to choose: it says when a holder has died, by
/// which these traits have no way.
///
/// # When the holder dies
///
/// Every call that would take the lock **panics** from then on, in whatever process, and the lock stays free: nobody
/// waits for it for ever, and nobody gets at the value. For what lies in a [`lock_api::Mutex`] may be of any type, and a
/// process is killed between any two stores, so what it leaves need not be a *valid* value at all: an enum with
/// another variant's fields, a length beyond its buffer. To hand that out to safe code would be undefined behaviour,
/// to take it over in silence a lie, and to wait a hang. Who knows the type, and has put the value right through
/// [`data_ptr`](lock_api::Mutex::data_ptr), says so by [`clear_poison`](Self::clear_poison).
///
/// A panic while the lock is held is no such death: the value is then one that some safe code left, and the lock is
/// released, as `parking_lot` does it.
///
/// # Where it may lie
///
/// In a `static` or on a stack it is a lock between threads. Between processes it works where all of them run the same
/// program, since neither the layout of a [`lock_api::Mutex`] nor that of its value is fixed, and where the value means
/// the same to all: no pointers, or a mapping that is at the same address everywhere, as after a fork. A region of
/// `ipc-shm` refuses it for that reason; a mapping of your own does not. A `lock_api::ReentrantMutex` does not tell
/// processes apart: see [`ReentrantMutex`](crate::ReentrantMutex). A guard of the parent's must not be dropped in a
/// forked child that holds the lock itself: it would release that. (The guards of this crate know whose they are.)
///
/// # Examples
///
/// ```
/// type Mutex<T> = lock_api::Mutex<ipc_sync::RawMutex, T>;
///
/// static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// std::thread::spawn(|| NAMES.lock().push("Ada".into())).join().unwrap();
/// assert_eq!(NAMES.try_lock().unwrap().len(), 1);
/// ```
///
/// The guards are not `Send`:
///
/// ```compile_fail,E0277
/// static LOCK: lock_api::Mutex<ipc_sync::RawMutex, u32> = lock_api::Mutex::new(0);
/// let held = LOCK.lock();
/// std::thread::spawn(move || drop(held));
/// ```
#[repr(transparent)]
pub struct RawMutex(Raw);

static_assertions::assert_impl_all!(RawMutex: Send, Sync);
const _: () = assert!(size_of::<RawMutex>() == 16);

impl RawMutex {
    /// A free lock, for memory that stays mapped: as [`Mutex::in_region`](crate::Mutex::in_region). For
    /// [`lock_api::Mutex::from_raw`].
    ///
    /// # Safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::RawMutex;
    ///
    /// // SAFETY: a static is there for ever.
    /// static LOCK: lock_api::Mutex<RawMutex, u32> =
    ///     lock_api::Mutex::from_raw(unsafe { RawMutex::in_region() }, 7);
    /// assert_eq!(*LOCK.lock(), 7);
    /// ```
    #[must_use]
    pub const unsafe fn in_region() -> Self {
        Self(Raw::new(true))
    }

    /// Whether a holder was found dead, and nobody has [vouched](Self::clear_poison) for the value since.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = lock_api::Mutex::<ipc_sync::RawMutex, u32>::new(7);
    /// // SAFETY: nobody unlocks anything.
    /// assert!(!unsafe { lock.raw() }.is_poisoned());
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.0.is_inconsistent()
    }

    /// Lets others in again after a holder's death. Waits for the lock if it is held.
    ///
    /// # Panics
    ///
    /// As [`lock`](lock_api::RawMutex::lock), but for the death of a holder.
    ///
    /// # Safety
    ///
    /// What the lock guards is a valid value, whatever the dead holder was about.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = lock_api::Mutex::<ipc_sync::RawMutex, u32>::new(7);
    /// // SAFETY: nobody unlocks anything.
    /// let raw = unsafe { lock.raw() };
    /// // SAFETY: every `u32` is valid.
    /// unsafe { raw.clear_poison() };
    /// assert!(!raw.is_poisoned());
    /// ```
    pub unsafe fn clear_poison(&self) {
        match self.0.lock(Until::Forever) {
            Ok(found) => _ = self.0.unlock(found, Found::Consistent),
            Err(refused) => self.refuse(refused),
        }
    }

    /// The process that holds the lock at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::ProcessId;
    ///
    /// let lock = lock_api::Mutex::<ipc_sync::RawMutex, u32>::new(7);
    /// let held = lock.lock();
    /// // SAFETY: nobody unlocks anything.
    /// assert_eq!(unsafe { lock.raw() }.owner(), ProcessId::current().ok());
    /// # drop(held);
    /// ```
    #[must_use]
    pub fn owner(&self) -> Option<ProcessId> {
        self.0.owner()
    }

    /// Whether it took the lock.
    #[inline]
    fn lock_until(&self, until: Until) -> bool {
        match self.0.lock_uncontended() {
            Ok(_) => true,
            Err(missed) => match self.0.lock_contended(missed, until) {
                Ok(Found::Consistent) => true,
                Err(Refused::WouldBlock | Refused::TimedOut) => false,
                Ok(Found::Inconsistent) => self.refuse_the_dead(),
                Err(refused) => self.refuse(refused),
            },
        }
    }

    #[cold]
    fn refuse_the_dead(&self) -> ! {
        // Wakes the next, who is to hear of it as well.
        self.0.unlock(Found::Inconsistent, Found::Inconsistent);
        panic!("a process died while it held this lock, and nobody has called `clear_poison` since")
    }

    #[cold]
    fn refuse(&self, refused: Refused) -> ! {
        panic!("this lock cannot be taken: {refused:?}, owner {:?}", self.owner())
    }
}

/// # Panics
///
/// What takes the lock panics if a [holder has died](RawMutex#when-the-holder-dies), if the calling thread holds it
/// already and that is known (a lock [in a region](RawMutex::in_region)), if something else has written to the lock's
/// words, if this process has [no identity](crate::NoIdentity), or if the kernel refuses to let it sleep.
// SAFETY: the owner word is claimed by one thread at a time.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self(Raw::new(false));

    /// A lock belongs to the thread that took it: the kernel was told of that one.
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        let locked = self.lock_until(Until::Forever);
        debug_assert!(locked, "there is nothing else for it");
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.lock_until(Until::Now)
    }

    #[inline]
    unsafe fn unlock(&self) {
        // A forked child's copy of a guard changes nothing, unless the child holds the lock: these guards have no room
        // for whose they are.
        self.0.unlock(Found::Consistent, Found::Consistent);
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.owner().is_some()
    }
}

/// # Panics
///
/// As above.
// SAFETY: as above.
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Deadline;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        self.try_lock_until(Deadline::after(timeout))
    }

    fn try_lock_until(&self, deadline: Deadline) -> bool {
        self.lock_until(Until::Deadline(deadline))
    }
}

impl fmt::Debug for RawMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMutex")
            .field("owner", &self.owner())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}
