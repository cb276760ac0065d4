//! Boost.Interprocess's locks: its mutex, its sharable mutex and its semaphore.
//!
//! # Safety
//! Each is made once, at its final place in shared memory, and never moved or destroyed. The counter is touched
//! under its lock only, and a guard cannot leave the thread that took the lock (`*const` makes it `!Send`).
#![expect(unsafe_code, reason = "a C interface")]

use core::cell::UnsafeCell;
use core::ffi::{c_uint, c_void};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use ipc_benches::peers::locks::{self, Lock, Section};
use ipc_benches::peers::permits::{self, Permits};
use ipc_benches::peers::readers::{self, Readers};
use ipc_benches::subject::{Sides, Subject};
use ipc_benches::sys::place;
use ipc_benches::turns::Handover;

/// The subjects that a workload of one of the families of locks gets.
pub(crate) fn peers(family: &str, workload: &str) -> Vec<Subject> {
    match (family, workload) {
        ("mutex", "uncontended pair") => vec![locks::alone::<Mutex>()],
        ("mutex", "contended, empty section") => {
            vec![locks::contended::<Mutex>(Section { inside: 0, outside: 0 })]
        }
        ("mutex", "contended, 100 ns in, 400 ns out") => {
            vec![locks::contended::<Mutex>(Section { inside: 100, outside: 400 })]
        }
        ("mutex", "hand-over, awake" | "hand-over, one cpu") => {
            vec![locks::handed_over::<Mutex>(Handover::AtOnce)]
        }
        ("mutex", "hand-over, asleep") => vec![locks::handed_over::<Mutex>(Handover::Asleep)],
        ("rwlock", "uncontended read pair") => vec![readers::reading::<Sharable>()],
        ("rwlock", "uncontended write pair") => vec![readers::writing::<Sharable>()],
        ("rwlock", "two read") => vec![readers::both_reading::<Sharable>()],
        ("semaphore", "uncontended pair") => vec![permits::alone::<Semaphore>()],
        ("semaphore", "to and fro, awake" | "to and fro, one cpu") => {
            vec![permits::to_and_fro::<Semaphore>(Handover::AtOnce)]
        }
        ("semaphore", "to and fro, asleep") => {
            vec![permits::to_and_fro::<Semaphore>(Handover::Asleep)]
        }
        _ => Vec::new(),
    }
}

unsafe extern "C" {
    fn ipc_boost_mutex(place: *mut c_void, size: usize) -> bool;
    fn ipc_boost_mutex_lock(place: *mut c_void);
    fn ipc_boost_mutex_unlock(place: *mut c_void);
    fn ipc_boost_sharable(place: *mut c_void, size: usize) -> bool;
    fn ipc_boost_sharable_lock(place: *mut c_void);
    fn ipc_boost_sharable_unlock(place: *mut c_void);
    fn ipc_boost_sharable_lock_shared(place: *mut c_void);
    fn ipc_boost_sharable_unlock_shared(place: *mut c_void);
    fn ipc_boost_semaphore(place: *mut c_void, size: usize, permits: c_uint) -> bool;
    fn ipc_boost_semaphore_wait(place: *mut c_void);
    fn ipc_boost_semaphore_try_wait(place: *mut c_void) -> bool;
    fn ipc_boost_semaphore_post(place: *mut c_void);
}

/// Room for any of the objects.
#[repr(C, align(64))]
struct Room(UnsafeCell<[u8; Room::SIZE]>);

// SAFETY: what is made there is made for sharing.
unsafe impl Sync for Room {}

impl Room {
    const SIZE: usize = 256;

    const fn new() -> Self {
        Self(UnsafeCell::new([0; Self::SIZE]))
    }

    fn raw(&self) -> *mut c_void {
        self.0.get().cast()
    }
}

/// `interprocess_mutex`.
struct Mutex {
    room: Room,
    counter: UnsafeCell<u64>,
}

// SAFETY: the counter is touched under the lock only.
unsafe impl Sync for Mutex {}

/// Holds a [`Mutex`].
struct Guard<'a> {
    lock: &'a Mutex,
    not_send: PhantomData<*const ()>,
}

impl Lock for Mutex {
    const NAME: &'static str = "Boost mutex";
    const SIDES: Sides = Sides::Processes;
    type Guard<'a> = Guard<'a>;

    fn placed() -> &'static Self {
        let placed = place(Self { room: Room::new(), counter: UnsafeCell::new(0) });
        // SAFETY: it is at its final place, and nobody else knows it yet.
        assert!(unsafe { ipc_boost_mutex(placed.room.raw(), Room::SIZE) }, "it has room");
        placed
    }

    #[inline]
    fn lock(&'static self) -> Guard<'static> {
        // SAFETY: it was made by `placed`.
        unsafe { ipc_boost_mutex_lock(self.room.raw()) };
        Guard { lock: self, not_send: PhantomData }
    }
}

impl Deref for Guard<'_> {
    type Target = u64;

    #[inline]
    fn deref(&self) -> &u64 {
        // SAFETY: this thread holds the lock as long as the guard lives.
        unsafe { &*self.lock.counter.get() }
    }
}

impl DerefMut for Guard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut u64 {
        // SAFETY: this thread holds the lock, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.counter.get() }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread holds the lock: the guard says so.
        unsafe { ipc_boost_mutex_unlock(self.lock.room.raw()) };
    }
}

/// `interprocess_sharable_mutex`.
struct Sharable {
    room: Room,
    counter: UnsafeCell<u64>,
}

// SAFETY: the counter is touched under the lock only.
unsafe impl Sync for Sharable {}

impl Readers for Sharable {
    const NAME: &'static str = "Boost sharable mutex";
    const SIDES: Sides = Sides::Processes;

    fn placed() -> &'static Self {
        let placed = place(Self { room: Room::new(), counter: UnsafeCell::new(0) });
        // SAFETY: it is at its final place, and nobody else knows it yet.
        assert!(unsafe { ipc_boost_sharable(placed.room.raw(), Room::SIZE) }, "it has room");
        placed
    }

    #[inline]
    fn read(&self) -> u64 {
        // SAFETY: it was made by `placed`.
        unsafe { ipc_boost_sharable_lock_shared(self.room.raw()) };
        // SAFETY: readers hold the lock.
        let counter = unsafe { self.counter.get().read() };
        // SAFETY: this thread holds it.
        unsafe { ipc_boost_sharable_unlock_shared(self.room.raw()) };
        counter
    }

    #[inline]
    fn add(&self) {
        // SAFETY: it was made by `placed`.
        unsafe { ipc_boost_sharable_lock(self.room.raw()) };
        // SAFETY: this thread alone holds the lock.
        unsafe { *self.counter.get() += 1 };
        // SAFETY: this thread holds it.
        unsafe { ipc_boost_sharable_unlock(self.room.raw()) };
    }
}

/// `interprocess_semaphore`.
struct Semaphore(Room);

impl Permits for Semaphore {
    const NAME: &'static str = "Boost semaphore";

    fn placed(permits: u32) -> &'static Self {
        let placed = place(Self(Room::new()));
        // SAFETY: it is at its final place, and nobody else knows it yet.
        let made = unsafe { ipc_boost_semaphore(placed.0.raw(), Room::SIZE, permits) };
        assert!(made, "it has room");
        placed
    }

    #[inline]
    fn acquire(&self) {
        // SAFETY: it was made by `placed`.
        unsafe { ipc_boost_semaphore_wait(self.0.raw()) };
    }

    #[inline]
    fn release(&self) {
        // SAFETY: it was made by `placed`.
        unsafe { ipc_boost_semaphore_post(self.0.raw()) };
    }

    /// It has no way to ask: takes all there are, and gives them back.
    fn available(&self) -> u32 {
        // SAFETY: it was made by `placed`.
        let permits = (0..).take_while(|_| unsafe { ipc_boost_semaphore_try_wait(self.0.raw()) });
        let count = permits.count() as u32;
        (0..count).for_each(|_| self.release());
        count
    }
}
