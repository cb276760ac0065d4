//! `Once` and `OnceLock` between the threads of one process.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use ipc_sync::{Deadline, Once, OnceError, OnceLock, ProcessId, SetError, WaitError};
use ipc_testkit::watchdog::watch;

fn once() -> Once {
    watch();
    Once::new()
}

/// As one thread is doing it, `peer` runs in another.
fn while_it_is_done<R: Send>(once: &Once, peer: impl FnOnce() -> R + Send) -> R {
    let mut result = None;
    let done = once.call_once(|_| {
        result = Some(thread::scope(|scope| scope.spawn(peer).join().expect("no panic")));
    });
    assert_eq!(done, Ok(()));
    result.expect("it was not done before")
}

fn panic_in(once: &'static Once) {
    let thread = thread::spawn(|| {
        once.call_once(|_| std::panic::resume_unwind(Box::new("on purpose"))).expect("no error");
    });
    thread.join().unwrap_err();
}

#[test]
fn one_of_many_does_it() {
    for _ in 0..if cfg!(miri) { 3 } else { 300 } {
        let (once, runs) = (once(), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    once.call_once(|state| {
                        assert!(!state.previous_died());
                        runs.fetch_add(1, SeqCst);
                    })
                    .unwrap();
                    assert_eq!(runs.load(SeqCst), 1);
                    assert!(once.is_completed());
                });
            }
        });
    }
}

#[test]
fn who_comes_meanwhile_does_not_do_it() {
    let once = once();
    let refused = while_it_is_done(&once, || {
        assert_eq!(once.runner(), ProcessId::current().ok());
        [
            once.try_call_once(|_| unreachable!()),
            once.call_once_timeout(Duration::ZERO, |_| unreachable!()),
            once.call_once_deadline(Deadline::now(), |_| unreachable!()),
            once.call_once_interruptible(Deadline::now(), |_| unreachable!()),
        ]
    });
    let late = Err(OnceError::TimedOut);
    assert_eq!(refused, [Err(OnceError::WouldBlock), late, late, late]);
    assert_eq!(once.try_call_once(|_| unreachable!()), Ok(()));
    assert_eq!(once.runner(), None);
}

#[test]
fn time_outs_are_kept() {
    let once = once();
    for millis in [0, 1, 30, 150] {
        let timeout = Duration::from_millis(millis);
        let began = Instant::now();
        assert_eq!(once.wait_timeout(timeout), Err(WaitError::TimedOut));
        assert!(began.elapsed() >= timeout);
    }
    while_it_is_done(&once, || {
        let timeout = Duration::from_millis(30);
        let began = Instant::now();
        assert_eq!(once.call_once_timeout(timeout, |_| {}), Err(OnceError::TimedOut));
        let took = began.elapsed();
        assert!(took >= timeout && took < Duration::from_secs(2), "{took:?}");
    });
    assert_eq!(once.wait_timeout(Duration::ZERO), Ok(()));
    assert_eq!(once.wait_timeout(Duration::MAX), Ok(()));
}

#[test]
fn who_waits_comes_through() {
    let once = once();
    thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| once.wait_timeout(Duration::MAX)));
        once.call_once(|_| {}).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn a_panic_is_told_until_it_is_done() {
    static ONCE: Once = Once::new();
    watch();
    for _ in 0..2 {
        panic_in(&ONCE);
        assert!(!ONCE.is_completed());
        assert_eq!(ONCE.runner(), None);
    }
    let mut told = None;
    ONCE.call_once(|state| told = Some(state.previous_died())).unwrap();
    assert_eq!(told, Some(true));
}

#[test]
fn a_destructor_in_a_panic_may_do_it() {
    struct Destructor(&'static Once);
    impl Drop for Destructor {
        fn drop(&mut self) {
            self.0.call_once(|_| {}).unwrap();
        }
    }
    static ONCE: Once = Once::new();
    let thread = thread::spawn(|| {
        let _last = Destructor(&ONCE);
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
    assert!(ONCE.is_completed());
}

#[test]
fn calling_from_inside_is_an_error_where_it_can_be_known() {
    // SAFETY: a static is there for ever.
    #[expect(unsafe_code, reason = "the kernel is told of it")]
    static ONCE: Once = unsafe { Once::in_region() };
    watch();
    let mut inner = None;
    ONCE.call_once(|_| inner = Some(ONCE.call_once(|_| {}))).unwrap();
    assert_eq!(inner, Some(Err(OnceError::Deadlock)));
    assert!(ONCE.is_completed());
}

#[test]
fn an_operator_can_let_the_next_one_do_it() {
    let once = once();
    // SAFETY: nobody is doing it.
    #[expect(unsafe_code, reason = "the operator's promise")]
    unsafe {
        once.break_lock();
    }
    once.call_once(|state| assert!(state.previous_died())).unwrap();
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "the operator's promise")]
    unsafe {
        once.break_lock();
    }
    assert!(once.is_completed());
    once.call_once(|_| unreachable!()).unwrap();
}

#[test]
fn zeroed_memory_is_not_done() {
    #[repr(align(8))]
    struct Zeros([u8; size_of::<OnceLock<u64>>()]);
    watch();
    // SAFETY: every pattern of bits is a `OnceLock<u64>`.
    #[expect(unsafe_code, reason = "looking at zeros as a lock")]
    let lock: OnceLock<u64> =
        unsafe { core::mem::transmute(Zeros([0; size_of::<OnceLock<u64>>()]).0) };
    assert_eq!(lock.get(), None);
    assert_eq!(lock.get_or_init(|| 7), Ok(&7));
}

#[test]
fn foreign_bytes_are_an_error_or_a_time_out() {
    watch();
    // The owner word, gate and domain, and the event.
    for words in [[1_u64 << 40, 0, 0], [u64::MAX, u64::MAX, 1], [3 << 62, 0, 1], [!0x3f_ffff, 0, 0]]
    {
        // SAFETY: every pattern of bits is a `Once`.
        #[expect(unsafe_code, reason = "looking at foreign bytes as a lock")]
        let once: Once = unsafe { core::mem::transmute(words) };
        assert!(!once.is_completed());
        let called = once.call_once_timeout(Duration::from_millis(5), |_| {});
        assert!(matches!(called, Err(OnceError::Corrupt | OnceError::TimedOut)), "{words:x?}");
        assert_eq!(once.wait_timeout(Duration::from_millis(5)), Err(WaitError::TimedOut));
    }
}

#[test]
fn a_value_is_set_once() {
    watch();
    let lock = OnceLock::new();
    assert_eq!(lock.get(), None);
    assert_eq!(lock.wait_deadline(Deadline::now()), Err(WaitError::TimedOut));
    assert_eq!(lock.set([7_u8; 3]), Ok(()));
    assert_eq!(lock.set([8; 3]), Err(SetError::AlreadySet([8; 3])));
    assert_eq!(lock.get_or_init(|| unreachable!()), Ok(&[7; 3]));
    assert_eq!(lock.wait(), Ok(&[7; 3]));
    assert_eq!(lock.into_inner(), Some([7; 3]));
    assert_eq!(OnceLock::<u64>::new().into_inner(), None);
}

#[test]
fn a_failure_leaves_it_to_the_next() {
    watch();
    let lock = OnceLock::<u64>::new();
    let failed =
        |text: &str| lock.get_or_try_init(|| Ok::<_, Box<dyn core::error::Error>>(text.parse()?));
    assert!(failed("seven").is_err());
    assert_eq!((lock.get(), lock.runner()), (None, None));
    assert_eq!(failed("7").ok(), Some(&7));
}

#[test]
fn a_panic_leaves_no_value() {
    static LOCK: OnceLock<u64> = OnceLock::new();
    watch();
    let thread = thread::spawn(|| {
        LOCK.get_or_init(|| std::panic::resume_unwind(Box::new("on purpose"))).copied()
    });
    thread.join().unwrap_err();
    assert_eq!(LOCK.get(), None);
    assert_eq!(LOCK.get_or_init(|| 7), Ok(&7));
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(OnceError::TimedOut.to_string(), "timed out waiting for it to be done");
    assert_eq!(SetError::AlreadySet(7).to_string(), "there is a value already");
    assert_eq!(format!("{:?}", Once::new()), "Once { completed: false, runner: None, .. }");
    assert_eq!(format!("{:?}", OnceLock::<u64>::new()), "OnceLock { value: None, .. }");
}
