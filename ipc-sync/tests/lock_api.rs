//! `RawMutex` through the crate `lock_api`, between threads and between processes.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`).

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::thread;

use ipc_core::process::fork_fn;
use ipc_sync::{Deadline, ProcessId, RawMutex, WaitError};
use ipc_testkit::cases;
use ipc_testkit::shared::Shared;

fn main() -> ExitCode {
    cases::run(&[
        ("excludes", excludes),
        ("tries_and_times_out", tries_and_times_out),
        ("a_panic_releases_it", a_panic_releases_it),
        ("relocking_panics_where_it_can_be_known", relocking_panics_where_it_can_be_known),
        ("a_dead_holder_keeps_everybody_out", a_dead_holder_keeps_everybody_out),
        ("who_slept_hears_of_the_death", who_slept_hears_of_the_death),
        ("a_forked_copy_of_a_guard_releases_nothing", forked_copy_releases_nothing),
    ])
}

type Mutex<T> = lock_api::Mutex<RawMutex, T>;

/// # Safety
///
/// Nobody unlocks through this, and what the locks guard is valid whatever its bytes are.
#[expect(unsafe_code, reason = "lock_api hides the raw lock")]
fn raw<T>(lock: &Mutex<T>) -> &RawMutex {
    // SAFETY: see above.
    unsafe { lock.raw() }
}

fn panics(f: impl FnOnce()) -> bool {
    let hook = std::panic::take_hook();
    // It is no news.
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = std::panic::catch_unwind(core::panic::AssertUnwindSafe(f)).is_err();
    std::panic::set_hook(hook);
    panicked
}

fn excludes() {
    const TURNS: u64 = if cfg!(miri) { 50 } else { 50_000 };
    let lock = Mutex::new(0_u64);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..TURNS).for_each(|_| *lock.lock() += 1));
        }
    });
    assert_eq!(lock.into_inner(), 4 * TURNS);
}

fn tries_and_times_out() {
    let lock = Mutex::new(0_u64);
    assert!(!lock.is_locked());
    let held = lock.lock();
    assert!(lock.is_locked());
    assert_eq!(raw(&lock).owner(), ProcessId::current().ok());
    assert!(lock.try_lock().is_none());
    assert!(lock.try_lock_for(Duration::from_millis(5)).is_none());
    assert!(lock.try_lock_until(Deadline::now()).is_none());
    drop(held);
    assert!(lock.try_lock_for(Duration::ZERO).is_some());
}

fn a_panic_releases_it() {
    let lock = Mutex::new(0_u64);
    assert!(panics(|| {
        let _held = lock.lock();
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(!raw(&lock).is_poisoned());
    assert!(lock.try_lock().is_some());
}

fn relocking_panics_where_it_can_be_known() {
    #[expect(unsafe_code, reason = "a lock that the kernel is told of")]
    static LOCK: Mutex<u64> = Mutex::from_raw(
        // SAFETY: a static is there for ever.
        unsafe { RawMutex::in_region() },
        0,
    );
    let held = LOCK.lock();
    assert!(panics(|| drop(LOCK.lock())));
    drop(held);
    assert!(LOCK.try_lock().is_some());
}

fn shared() -> Shared<Mutex<u64>> {
    // SAFETY: the mapping is kept until the case ends.
    #[expect(unsafe_code, reason = "a lock that the kernel is told of")]
    let raw = unsafe { RawMutex::in_region() };
    Shared::new(Mutex::from_raw(raw, 7)).expect("a mapping")
}

fn a_dead_holder_keeps_everybody_out() {
    let lock = shared();
    let mut child = fork_fn(|| {
        *lock.lock() = 8;
        core::mem::forget(lock.lock());
        0
    })
    .expect("fork");
    assert!(child.wait().expect("a child of ours").success());
    assert!(!raw(&lock).is_poisoned(), "nobody has looked yet");
    for _ in 0..2 {
        assert!(panics(|| drop(lock.lock())));
        assert!(panics(|| drop(lock.try_lock())));
        assert!(panics(|| drop(lock.try_lock_for(Duration::from_millis(1)))));
        assert!(raw(&lock).is_poisoned() && !lock.is_locked());
    }
    // SAFETY: every `u64` is valid.
    #[expect(unsafe_code, reason = "the user's promise")]
    unsafe {
        raw(&lock).clear_poison();
    }
    assert!(!raw(&lock).is_poisoned());
    assert_eq!(*lock.lock(), 8);
}

/// One is woken by the death, and wakes the next.
fn who_slept_hears_of_the_death() {
    let lock = shared();
    let mut holder = fork_fn(|| {
        let _held = lock.lock();
        loop {
            thread::park();
        }
    })
    .expect("fork");
    while !lock.is_locked() {
        thread::yield_now();
    }
    let heard = Shared::new(AtomicU32::new(0)).expect("a mapping");
    let children = waits::sleepers(3, || {
        if !panics(|| drop(lock.lock())) {
            return Err(WaitError::TimedOut);
        }
        heard.fetch_add(1, SeqCst);
        // Nobody ends before: a death is not what tells the others.
        while heard.load(SeqCst) < 3 {
            thread::yield_now();
        }
        Ok(())
    });
    holder.kill().expect("a live child");
    holder.wait().expect("a child of ours");
    waits::join(children);
    assert!(raw(&lock).is_poisoned());
}

fn forked_copy_releases_nothing() {
    let lock = shared();
    let held = core::cell::RefCell::new(Some(lock.lock()));
    let mut child = fork_fn(|| {
        drop(held.take());
        i32::from(lock.try_lock().is_some())
    })
    .expect("fork");
    assert!(child.wait().expect("a child of ours").success());
    assert_eq!(raw(&lock).owner(), ProcessId::current().ok());
    drop(held);
    assert!(!lock.is_locked());
}
