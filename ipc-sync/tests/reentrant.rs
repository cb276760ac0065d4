//! `ReentrantMutex` between the threads of one process.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use ipc_sync::{
    Deadline, ProcessId, ReentrantLockError, ReentrantMutex, ReentrantMutexGuard,
    ReentrantRecovered,
};
use ipc_testkit::watchdog::watch;

/// A lock whose memory is never used for anything else.
macro_rules! lock_in_static {
    () => {{
        watch();
        // SAFETY: a static is there for ever.
        #[expect(unsafe_code, reason = "a lock that the kernel is told of")]
        static LOCK: ReentrantMutex<u64> = unsafe { ReentrantMutex::in_region(0) };
        &LOCK
    }};
}

fn add(guard: &mut ReentrantMutexGuard<'_, u64>, amount: u64) {
    *guard.exclusive().expect("the only guard") += amount;
}

fn recovered(lock: &ReentrantMutex<u64>) -> ReentrantRecovered<'_, u64> {
    match lock.lock() {
        Err(ReentrantLockError::Recovered(recovered)) => recovered,
        other => panic!("not told of the death: {other:?}"),
    }
}

/// What another thread gets that tries to lock.
fn is_refused(lock: &'static ReentrantMutex<u64>) -> bool {
    thread::spawn(|| matches!(lock.try_lock(), Err(ReentrantLockError::WouldBlock))).join().unwrap()
}

fn panic_at_depth(lock: &'static ReentrantMutex<u64>, depth: usize) {
    let thread = thread::spawn(move || {
        let _held: Vec<_> = (0..depth).map(|_| lock.lock().unwrap()).collect();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
}

#[test]
fn excludes_at_any_depth() {
    const TURNS: u64 = if cfg!(miri) { 50 } else { 20_000 };
    fn count(lock: &ReentrantMutex<u64>, depth: u32) {
        let mut held = lock.lock().unwrap();
        if depth > 0 {
            count(lock, depth - 1);
        }
        let mut again = (depth % 2 == 1).then(|| lock.lock().unwrap());
        drop(again.take());
        if let Some(mut value) = held.exclusive() {
            *value += 1;
        }
    }
    let lock = lock_in_static!();
    thread::scope(|scope| {
        for depth in 0..4 {
            scope.spawn(move || (0..TURNS).for_each(|_| count(lock, depth)));
        }
    });
    // The outermost guard of each call is the only one, in the end.
    assert_eq!(*lock.lock().unwrap(), 4 * TURNS);
}

#[test]
fn released_by_the_last_guard_in_any_order() {
    let lock = lock_in_static!();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut guards = [(); 3].map(|()| Some(lock.lock().unwrap()));
        for index in order {
            assert!(is_refused(lock));
            guards[index] = None;
        }
        assert_eq!(lock.owner(), None);
    }
}

#[test]
fn works_on_the_stack() {
    watch();
    let lock = ReentrantMutex::new([0_u8; 3]);
    thread::scope(|scope| {
        scope.spawn(|| lock.lock().unwrap().exclusive().unwrap()[1] = 5);
    });
    assert_eq!(lock.into_inner(), [0, 5, 0]);
}

#[test]
fn every_form_locks_again() {
    let lock = lock_in_static!();
    let held = lock.lock().unwrap();
    let guards = [
        lock.try_lock().unwrap(),
        lock.lock_timeout(Duration::ZERO).unwrap(),
        lock.lock_deadline(Deadline::now()).unwrap(),
        lock.lock_interruptible(Deadline::now()).unwrap(),
    ];
    assert_eq!(lock.owner(), ProcessId::current().ok());
    drop(held);
    assert!(is_refused(lock));
    drop(guards);
    assert_eq!(lock.owner(), None);
}

#[test]
fn another_thread_waits_as_long_as_it_is_told() {
    let lock = lock_in_static!();
    let _held = (lock.lock().unwrap(), lock.lock().unwrap());
    let other = thread::spawn(|| {
        for millis in [0, 1, 30, 150] {
            let timeout = Duration::from_millis(millis);
            let began = Instant::now();
            assert!(matches!(lock.lock_timeout(timeout), Err(ReentrantLockError::TimedOut)));
            let took = began.elapsed();
            assert!(took >= timeout, "{took:?} is shorter than {timeout:?}");
            assert!(took < timeout + Duration::from_millis(200), "{took:?} for {timeout:?}");
        }
    });
    other.join().unwrap();
}

#[test]
fn a_huge_time_out_is_for_ever() {
    let lock = lock_in_static!();
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
fn only_one_guard_may_change_the_value() {
    let lock = lock_in_static!();
    let mut outer = lock.lock().unwrap();
    add(&mut outer, 1);
    let mut inner = lock.lock().unwrap();
    for _ in 0..2 {
        assert!(outer.exclusive().is_none() && inner.exclusive().is_none());
    }
    drop(outer);
    add(&mut inner, 1);
    assert_eq!(*inner, 2);
}

#[test]
fn nobody_looks_while_the_value_is_lent() {
    let lock = lock_in_static!();
    let mut held = lock.lock().unwrap();
    let mut value = held.exclusive().unwrap();
    for _ in 0..2 {
        assert!(matches!(lock.lock(), Err(ReentrantLockError::Exclusive)));
        assert!(matches!(lock.try_lock(), Err(ReentrantLockError::Exclusive)));
    }
    *value += 1;
    drop(value);
    assert_eq!(*lock.lock().unwrap(), 1);
    // One that is forgotten stays lent as long as its guard lives.
    core::mem::forget(held.exclusive());
    assert!(matches!(lock.lock(), Err(ReentrantLockError::Exclusive)));
    assert!(held.exclusive().is_none());
    assert_eq!(*held, 1);
    drop(held);
    assert_eq!(lock.owner(), None);
    add(&mut lock.lock().unwrap(), 1);
}

#[test]
fn a_forgotten_guard_leaves_it_held() {
    let lock = lock_in_static!();
    thread::spawn(|| {
        core::mem::forget(lock.lock().unwrap());
        let mut again = lock.lock().unwrap();
        assert!(again.exclusive().is_none(), "the forgotten one counts");
    })
    .join()
    .unwrap();
    // The thread has ended, and no later one is taken for it.
    assert!((0..50).all(|_| is_refused(lock)));
    assert!(matches!(lock.try_lock(), Err(ReentrantLockError::WouldBlock)));
    // SAFETY: the forgotten guard will never be used again.
    #[expect(unsafe_code, reason = "the operator's promise")]
    unsafe {
        lock.break_lock();
    }
    drop(recovered(lock).mark_consistent());
    add(&mut lock.lock().unwrap(), 1);
}

#[test]
fn a_panic_is_told_until_somebody_repairs() {
    let lock = lock_in_static!();
    for depth in [1, 3] {
        panic_at_depth(lock, depth);
        assert_eq!(lock.owner(), None);
        drop(recovered(lock));
        *recovered(lock).exclusive().expect("the only guard") = 9;
        drop(recovered(lock).mark_consistent());
        assert_eq!(*lock.lock().unwrap(), 9);
    }
}

#[test]
fn a_panic_of_an_inner_call_is_told_to_the_outer_ones() {
    let lock = lock_in_static!();
    let outer = lock.lock().unwrap();
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        let _inner = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    }))
    .unwrap_err();
    // It is told as often as it is not repaired, and the outer guard keeps its place.
    drop(recovered(lock));
    let mut told = recovered(lock);
    assert!(told.exclusive().is_none());
    drop(told.mark_consistent());
    assert!(lock.lock().is_ok() && is_refused(lock));
    drop(outer);
    assert!(lock.lock().is_ok());
}

#[test]
fn a_lock_taken_by_a_destructor_in_a_panic_is_consistent() {
    struct Destructor(&'static ReentrantMutex<u64>);
    impl Drop for Destructor {
        fn drop(&mut self) {
            let _outer = self.0.lock().unwrap();
            assert!(self.0.lock().is_ok());
        }
    }
    let lock = lock_in_static!();
    let thread = thread::spawn(|| {
        let _last = Destructor(lock);
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
    assert!(lock.lock().is_ok());
}

#[test]
fn only_the_only_guard_can_poison() {
    let lock = lock_in_static!();
    panic_at_depth(lock, 2);
    let outer = recovered(lock);
    let inner = recovered(lock);
    let inner = inner.poison().expect_err("there are two guards");
    // What an inner call thinks of the value is its own affair.
    drop(inner.mark_consistent());
    outer.poison().expect("the only guard");
    assert!(matches!(lock.lock(), Err(ReentrantLockError::Unrecoverable)));
    assert_eq!(lock.owner(), None);
}

#[test]
fn zeroed_memory_is_a_free_lock() {
    #[repr(align(8))]
    struct Zeros([u8; size_of::<ReentrantMutex<u64>>()]);
    watch();
    let zeros = Zeros([0; size_of::<ReentrantMutex<u64>>()]);
    // SAFETY: every pattern of bits is a `ReentrantMutex<u64>`.
    #[expect(unsafe_code, reason = "looking at zeros as a lock")]
    let lock: ReentrantMutex<u64> = unsafe { core::mem::transmute(zeros.0) };
    assert_eq!(*lock.lock().unwrap(), 0);
    assert_eq!(lock.owner(), None);
}

#[test]
fn foreign_bytes_cost_the_service_at_most() {
    watch();
    let me = ProcessId::current().unwrap().to_bits();
    // Owner; gate and domain; thread; depth; value.
    for words in [
        [1_u64 << 40, 0, 0, 0, 0],
        [u64::MAX, 0, 0, 0, 0],
        [me, 0, 0, 0, 0],
        [me, 0, u64::MAX, u64::MAX, 0],
        [0, 0, u64::MAX, u64::MAX, 0],
    ] {
        // SAFETY: every pattern of bits is a `ReentrantMutex<u64>`.
        #[expect(unsafe_code, reason = "looking at foreign bytes as a lock")]
        let lock: ReentrantMutex<u64> = unsafe { core::mem::transmute(words) };
        match lock.lock_timeout(Duration::from_millis(5)) {
            Ok(_) => assert_eq!(words[0], 0),
            Err(ReentrantLockError::Recovered(_)) => assert_eq!(words[0], u64::MAX),
            Err(ReentrantLockError::Corrupt | ReentrantLockError::TimedOut) => {}
            other => panic!("{other:?} for {words:x?}"),
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let error: ReentrantLockError<'_, u64> = ReentrantLockError::TooDeep;
    assert_eq!(error.to_string(), "this thread holds the lock too many times");
    assert_eq!(format!("{:?}", ReentrantMutex::new(1_u64)), "ReentrantMutex { owner: None, .. }");
}
