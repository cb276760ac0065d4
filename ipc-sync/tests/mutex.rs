//! `Mutex` between the threads of one process.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use core::time::Duration;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_sync::{LockError, Mutex};
use ipc_testkit::watchdog::watch;

/// A lock whose memory is never used for anything else.
macro_rules! lock_in_static {
    () => {{
        watch();
        static LOCK: Mutex<u64> = Mutex::new(0);
        &LOCK
    }};
}

fn panic_while_holding(lock: &'static Mutex<u64>) {
    let thread = thread::spawn(|| {
        let _held = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
}

fn recovered(lock: &Mutex<u64>) -> ipc_sync::Recovered<'_, u64> {
    match lock.lock() {
        Err(LockError::Recovered(recovered)) => recovered,
        other => panic!("not told of the death: {other:?}"),
    }
}

#[test]
fn excludes() {
    const TURNS: u64 = if cfg!(miri) { 50 } else { 100_000 };
    let lock = lock_in_static!();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    *lock.lock().unwrap() += 1;
                }
            });
        }
    });
    assert_eq!(*lock.lock().unwrap(), 4 * TURNS);
}

#[test]
fn works_on_the_stack() {
    let lock = Mutex::new([0_u8; 3]);
    thread::scope(|scope| {
        scope.spawn(|| lock.lock().unwrap()[1] = 5);
    });
    assert_eq!(lock.into_inner(), [0, 5, 0]);
}

#[test]
fn zeroed_memory_is_a_free_lock() {
    #[repr(align(8))]
    struct Zeros([u8; size_of::<Mutex<u64>>()]);
    let zeros = Zeros([0; size_of::<Mutex<u64>>()]);
    // SAFETY: every pattern of bits is a `Mutex<u64>`.
    #[expect(unsafe_code, reason = "looking at zeros as a lock")]
    let lock: Mutex<u64> = unsafe { core::mem::transmute(zeros.0) };
    assert_eq!(*lock.lock().unwrap(), 0);
    assert_eq!(lock.owner(), None);
}

#[test]
fn names_its_owner() {
    let lock = lock_in_static!();
    assert_eq!(lock.owner(), None);
    let held = lock.lock().unwrap();
    assert_eq!(lock.owner(), ProcessId::current().ok());
    drop(held);
    assert_eq!(lock.owner(), None);
}

#[test]
fn try_lock_does_not_wait() {
    let lock = lock_in_static!();
    let held = lock.try_lock().unwrap();
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    drop(held);
    assert!(lock.try_lock().is_ok());
}

#[test]
fn time_outs_are_kept() {
    let lock = lock_in_static!();
    let _held = lock.lock().unwrap();
    for millis in [0, 1, 30, 150] {
        let timeout = Duration::from_millis(millis);
        let began = Instant::now();
        assert!(matches!(lock.lock_timeout(timeout), Err(LockError::TimedOut)));
        let took = began.elapsed();
        assert!(took >= timeout, "{took:?} is shorter than {timeout:?}");
        // Generous, because other tests share the processors.
        assert!(took < timeout + Duration::from_millis(100), "{took:?} for {timeout:?}");
    }
    assert!(matches!(lock.lock_deadline(Deadline::now()), Err(LockError::TimedOut)));
}

#[test]
fn a_huge_time_out_is_for_ever() {
    let lock = lock_in_static!();
    drop(lock.lock_timeout(Duration::MAX).unwrap());
    let held = lock.lock().unwrap();
    let (tell, tid) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            lock.lock_timeout(Duration::MAX).is_ok()
        });
        ipc_testkit::cases::events::await_sleep(tid.recv().unwrap());
        drop(held);
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_past_deadline_still_takes_a_free_lock() {
    assert!(lock_in_static!().lock_deadline(Deadline::now()).is_ok());
}

#[test]
fn a_panic_is_told_until_somebody_repairs() {
    let lock = lock_in_static!();
    panic_while_holding(lock);
    drop(recovered(lock));
    *recovered(lock) = 9;
    drop(recovered(lock).mark_consistent());
    assert_eq!(*lock.lock().unwrap(), 9);
}

#[test]
fn a_lock_taken_by_a_destructor_in_a_panic_is_consistent() {
    struct Destructor(&'static Mutex<u64>);
    impl Drop for Destructor {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = 3;
        }
    }
    let lock = lock_in_static!();
    let thread = thread::spawn(|| {
        let _last = Destructor(lock);
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
    assert_eq!(*lock.lock().unwrap(), 3);
}

#[test]
fn a_panic_after_the_repair_is_told_again() {
    let lock = lock_in_static!();
    panic_while_holding(lock);
    thread::spawn(|| {
        let _repaired = recovered(lock).mark_consistent();
        std::panic::resume_unwind(Box::new("on purpose"));
    })
    .join()
    .unwrap_err();
    drop(recovered(lock));
}

#[test]
fn poison_reaches_those_who_wait_and_those_who_come() {
    let lock = lock_in_static!();
    panic_while_holding(lock);
    let value = recovered(lock);
    let together = Barrier::new(3);
    thread::scope(|scope| {
        let waiters = [(); 2].map(|()| {
            scope.spawn(|| {
                together.wait();
                matches!(lock.lock(), Err(LockError::Unrecoverable))
            })
        });
        together.wait();
        value.poison();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    });
    assert!(matches!(lock.try_lock(), Err(LockError::Unrecoverable)));
    assert_eq!(lock.owner(), None);
}

#[test]
fn an_operator_can_break_it() {
    let lock = lock_in_static!();
    core::mem::forget(lock.lock().unwrap());
    // SAFETY: the forgotten guard will never be used again.
    #[expect(unsafe_code, reason = "the operator's promise")]
    unsafe {
        lock.break_lock();
    }
    drop(recovered(lock).mark_consistent());
    assert!(lock.lock().is_ok());
}

#[test]
fn relocking_is_an_error_where_it_can_be_known() {
    // SAFETY: a static is there for ever.
    #[expect(unsafe_code, reason = "a lock that the kernel is told of")]
    static LOCK: Mutex<u64> = unsafe { Mutex::in_region(0) };
    let held = LOCK.lock().unwrap();
    assert!(matches!(LOCK.lock(), Err(LockError::Deadlock)));
    assert!(matches!(LOCK.try_lock(), Err(LockError::Deadlock)));
    // Another thread of the same process waits, as it should.
    thread::scope(|scope| {
        let other = scope.spawn(|| matches!(LOCK.try_lock(), Err(LockError::WouldBlock)));
        assert!(other.join().unwrap());
    });
    drop(held);
    assert!(LOCK.lock().is_ok());
}

#[test]
fn a_thread_that_holds_more_than_its_list_has_room_for_keeps_the_rest() {
    // SAFETY: statics are there for ever.
    #[expect(unsafe_code, reason = "locks that the kernel is told of")]
    static LOCKS: [Mutex<u64>; 20] = unsafe { [const { Mutex::in_region(0) }; 20] };
    watch();
    let guards = LOCKS.each_ref().map(|lock| lock.lock().unwrap());
    for _ in 0..2 {
        let known = LOCKS.iter().filter(|lock| matches!(lock.try_lock(), Err(LockError::Deadlock)));
        assert_eq!(known.count(), 14);
    }
    drop(guards);
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    // SAFETY: statics are there for ever.
    #[expect(unsafe_code, reason = "locks that the kernel is told of")]
    static LOCKS: [Mutex<u64>; 20] = unsafe { [const { Mutex::in_region(0) }; 20] };
    for step in [1, 3, 7, 9, 11, 13, 17, 19] {
        let mut guards = LOCKS.each_ref().map(|lock| Some(lock.lock().unwrap()));
        for index in 0..LOCKS.len() {
            guards[index * step % LOCKS.len()] = None;
        }
    }
    assert!(LOCKS.iter().all(|lock| lock.owner().is_none()));
}

#[test]
fn foreign_bytes_are_named_corrupt() {
    // A pid of 0 with an incarnation, and all ones.
    for word in [1_u64 << 40, !0x3f_ffff, 1 << 62] {
        let words = [word, 0, 0];
        // SAFETY: every pattern of bits is a `Mutex<u64>`.
        #[expect(unsafe_code, reason = "looking at foreign bytes as a lock")]
        let lock: Mutex<u64> = unsafe { core::mem::transmute(words) };
        assert!(matches!(lock.lock(), Err(LockError::Corrupt)), "{word:#x}");
    }
}

/// The word of a lock changes while this thread has it.
#[test]
fn foreign_bytes_in_a_lock_that_is_held_are_left_there() {
    const CANARY: u64 = 0xc5c5_c5c5_c5c5_c5c5;
    watch();
    let own = ProcessId::current().unwrap().to_bits();
    let corrupt = [1_u64 << 40, !0x3f_ffff, 1 << 62, own ^ 1 << 30, own | 1 << 63, own ^ 1, 0];
    for (resident, word) in [false, true].into_iter().flat_map(|r| corrupt.map(|word| (r, word))) {
        // SAFETY: never freed, and mapped for as long as the process lives.
        #[expect(unsafe_code, reason = "a lock that the kernel is told of")]
        let of_kernel = unsafe { Mutex::in_region(3) };
        let lock = if resident { of_kernel } else { Mutex::new(3) };
        let place: &'static (u64, Mutex<u64>, u64) = Box::leak(Box::new((CANARY, lock, CANARY)));
        let held = place.1.lock().unwrap();
        // SAFETY: the lock begins with its owner's word, which is atomic and lives for ever.
        #[expect(unsafe_code, reason = "writing as a hostile process does")]
        let owner = unsafe { AtomicU64::from_ptr((&raw const place.1).cast_mut().cast()) };
        assert_eq!(owner.swap(word, SeqCst), own, "this is the owner's word");
        drop(held);
        assert_eq!(owner.load(SeqCst), word, "what is not ours is not given up");
        match place.1.lock_timeout(Duration::from_millis(1)) {
            Ok(held) => assert!(word == 0 && *held == 3, "{word:#x}"),
            Err(LockError::Corrupt | LockError::TimedOut) => assert!(word != 0),
            // Of a process that never was.
            Err(LockError::Recovered(_)) => assert!([1, 1 << 30].contains(&(word ^ own))),
            Err(error) => panic!("{word:#x}: {error}"),
        }
        assert_eq!((place.0, place.2), (CANARY, CANARY));
    }
    // The list of what this thread holds is as it was.
    let other: &'static Mutex<u64> = Box::leak(Box::new(Mutex::new(7)));
    assert_eq!(*other.lock().unwrap(), 7);
}

#[test]
fn errors_say_what_is_wrong() {
    let error: LockError<'_, u64> = LockError::TimedOut;
    assert_eq!(error.to_string(), "timed out waiting for the lock");
    assert_eq!(format!("{:?}", Mutex::new(1_u64)), "Mutex { owner: None, .. }");
}
