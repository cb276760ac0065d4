//! The real primitives.

pub use core::hint::spin_loop;
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

pub use crate::baton;
pub use crate::os::asymmetric;

/// `fence(SeqCst)` for a place that directly follows a read-modify-write operation.
///
/// On x86 such an operation is a full barrier already, and the fence would cost as much again:
/// only the compiler must be kept from moving accesses across it.
#[inline(always)]
pub fn fence_after_rmw() {
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Whether `deadline` has passed: the model has no clock, and decides for itself.
#[inline]
#[must_use]
pub fn has_passed(deadline: crate::clock::Deadline) -> bool {
    deadline.has_passed()
}

/// A point before which a test may kill this process. Here it is nothing.
#[inline(always)]
pub fn kill_point() {}

/// Whether the calling process has been killed and is only unwinding: only in the model.
#[inline(always)]
#[must_use]
pub const fn killed() -> bool {
    false
}

/// Whether the calling thread is panicking.
#[inline]
#[must_use]
pub fn panicking() -> bool {
    #[cfg(feature = "std")]
    return std::thread::panicking();
    #[cfg(not(feature = "std"))]
    return false;
}

/// A number that no other thread of this process has, and that is not 0.
///
/// With `std` it never was another thread's either. Without, it is the kernel's number of the thread, at the price
/// of a system call, and the kernel gives that of an ended thread to a later one. A forked child's thread has
/// its parent's.
#[inline]
#[must_use]
pub fn thread_number() -> u64 {
    #[cfg(feature = "std")]
    {
        static LAST: AtomicU64 = AtomicU64::new(0);
        std::thread_local! {
            static NUMBER: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
        }
        if NUMBER.get() == 0 {
            NUMBER.set(1 + LAST.fetch_add(1, Ordering::Relaxed));
        }
        NUMBER.get()
    }
    #[cfg(not(feature = "std"))]
    return rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs().into();
}

/// `core`'s cell, with loom's interface.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Unwraps the value.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `f` with a pointer to read through.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer to write through.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Sleeping and waking.
pub mod futex {
    pub use crate::futex::{
        Entry, MAX_ENTRIES, MAX_TERM, Wake, Word, add_and_wake, set_bit_and_wake,
        set_top_bit_and_wake_all, wake,
    };

    use crate::clock::Deadline;
    use crate::identity::ProcessId;

    /// Sleeps as [`wait_any`](crate::futex::wait_any) does until `slice` ends, or as
    /// [`wait_any_interruptible`](crate::futex::wait_any_interruptible).
    ///
    /// The caller looks at those who are `watched` when it does: the model has no clock, and ends the sleep
    /// when one of them dies.
    #[inline]
    pub fn sleep(
        entries: &[Entry<'_>],
        watched: impl IntoIterator<Item = ProcessId>,
        slice: Deadline,
        interruptible: bool,
    ) -> crate::Result<Wake> {
        drop(watched);
        if interruptible {
            crate::futex::wait_any_interruptible(entries, Some(slice))
        } else {
            crate::futex::wait_any(entries, Some(slice))
        }
    }
}

/// Who this process is, and who lives.
pub mod identity {
    use crate::identity::{Identity, Liveness, NoIdentity, ProcessId};

    /// The calling process.
    #[inline]
    pub fn current() -> Result<Identity, NoIdentity> {
        Identity::current()
    }

    /// The calling process, if it has asked before.
    #[inline]
    #[must_use]
    pub fn known() -> Option<Identity> {
        Identity::known()
    }

    /// The calling process, if it is `id` and has asked before.
    #[inline]
    #[must_use]
    pub fn known_as(id: ProcessId) -> Option<Identity> {
        Identity::known().filter(|me| me.id == id)
    }

    /// What the kernel says about `process`.
    #[must_use]
    pub fn liveness(process: ProcessId) -> Liveness {
        process.liveness()
    }
}
