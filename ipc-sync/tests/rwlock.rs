//! `RwLock` between the threads of one process.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_sync::{RwLock, RwLockError, RwLockRecovered};
use ipc_testkit::watchdog::watch;

type Lock = RwLock<u64, 4>;

/// A lock whose memory is never used for anything else.
macro_rules! lock_in_static {
    () => {{
        watch();
        static LOCK: Lock = RwLock::new(0);
        &LOCK
    }};
}

/// The same, known to the kernel.
macro_rules! resident_lock {
    () => {{
        watch();
        // SAFETY: a static is there for ever.
        #[expect(unsafe_code, reason = "a lock that the kernel is told of")]
        static LOCK: Lock = unsafe { RwLock::in_region(0) };
        &LOCK
    }};
}

fn panic_while_writing(lock: &'static Lock) {
    let thread = thread::spawn(|| {
        let _held = lock.write().unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
}

fn recovered<'a, G: core::fmt::Debug>(
    result: Result<G, RwLockError<'a, u64, 4>>,
) -> RwLockRecovered<'a, u64, 4> {
    match result {
        Err(RwLockError::Recovered(recovered)) => recovered,
        other => panic!("not told of the death: {other:?}"),
    }
}

/// Runs `f` in another thread, which is asleep in it when `meanwhile` runs.
fn while_asleep_in<R: Send>(f: impl FnOnce() -> R + Send, meanwhile: impl FnOnce()) -> R {
    let (tell, tid) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            f()
        });
        ipc_testkit::cases::events::await_sleep(tid.recv().unwrap());
        meanwhile();
        sleeper.join().unwrap()
    })
}

#[test]
fn excludes() {
    const TURNS: u64 = if cfg!(miri) { 50 } else { 30_000 };
    watch();
    let lock = RwLock::<[u64; 2], 4>::new([0; 2]);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    let mut pair = lock.write().unwrap();
                    pair[0] += 1;
                    pair[1] += 1;
                }
            });
            scope.spawn(|| {
                let mut last = 0;
                for _ in 0..TURNS {
                    let pair = lock.read().unwrap();
                    assert_eq!(pair[0], pair[1]);
                    assert!(pair[0] >= last);
                    last = pair[0];
                }
            });
        }
    });
    assert_eq!(*lock.read().unwrap(), [2 * TURNS; 2]);
    assert_eq!(lock.readers().count(), 0);
    assert_eq!(lock.into_inner(), [2 * TURNS; 2]);
}

#[test]
fn zeroed_memory_is_a_free_lock() {
    let zeros = [0_u64; size_of::<Lock>() / 8];
    // SAFETY: every pattern of bits is a `Lock`.
    #[expect(unsafe_code, reason = "looking at zeros as a lock")]
    let lock: Lock = unsafe { core::mem::transmute(zeros) };
    *lock.write().unwrap() += 1;
    assert_eq!(*lock.read().unwrap(), 1);
    assert_eq!((lock.owner(), lock.readers().count()), (None, 0));
}

#[test]
fn as_many_read_as_there_is_place_for() {
    let lock = lock_in_static!();
    let me = ProcessId::current().unwrap();
    let mut all: Vec<_> = (0..4).map(|_| lock.read().unwrap()).collect();
    assert!(lock.readers().all(|reader| reader == me));
    assert_eq!(lock.readers().count(), 4);
    assert!(matches!(lock.read(), Err(RwLockError::TooManyReaders)));
    assert!(matches!(lock.try_read(), Err(RwLockError::TooManyReaders)));
    let timeout = Duration::from_secs(60);
    assert!(matches!(lock.read_timeout(timeout), Err(RwLockError::TooManyReaders)));
    // Whichever is dropped, its place is found.
    for index in [2, 0, 1, 1] {
        drop(all.remove(index));
        all.push(lock.read().unwrap());
    }
    assert!(matches!(lock.try_write(), Err(RwLockError::WouldBlock)));
    all.clear();
    assert!(lock.try_write().is_ok());
}

#[test]
fn who_writes_is_alone() {
    let lock = lock_in_static!();
    let held = lock.write().unwrap();
    assert_eq!(lock.owner(), ProcessId::current().ok());
    assert!(matches!(lock.try_read(), Err(RwLockError::WouldBlock)));
    assert!(matches!(lock.try_write(), Err(RwLockError::WouldBlock)));
    drop(held);
    assert_eq!(lock.owner(), None);
    assert!(lock.try_read().is_ok());
}

#[test]
fn a_writer_wakes_all_who_wait_to_read() {
    for lock in [lock_in_static!(), resident_lock!()] {
        let held = lock.write().unwrap();
        let (tell, tids) = std::sync::mpsc::channel();
        // All read at the same time, or none gets through.
        let together = std::sync::Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                let (tell, together) = (tell.clone(), &together);
                scope.spawn(move || {
                    tell.send(rustix::thread::gettid()).unwrap();
                    let reading = lock.read().unwrap();
                    together.wait();
                    drop(reading);
                });
            }
            (0..4).for_each(|_| {
                ipc_testkit::cases::events::await_sleep(tids.recv().unwrap());
            });
            drop(held);
        });
        assert_eq!(lock.readers().count(), 0);
    }
}

#[test]
fn a_writer_that_waits_comes_before_newcomers() {
    let lock = lock_in_static!();
    let reading = lock.read().unwrap();
    while_asleep_in(
        || *lock.write().unwrap() = 7,
        || {
            assert!(lock.owner().is_some());
            assert!(matches!(lock.try_read(), Err(RwLockError::WouldBlock)));
            assert_eq!(*reading, 0);
            drop(reading);
        },
    );
    assert_eq!(*lock.read().unwrap(), 7);
}

#[test]
fn a_writer_that_gives_up_lets_readers_in() {
    let lock = lock_in_static!();
    let reading = lock.read().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let gave_up = lock.write_timeout(Duration::from_millis(100));
            matches!(gave_up, Err(RwLockError::TimedOut))
        });
        while lock.owner().is_none() {
            thread::yield_now();
        }
        // Only the writer keeps this one out, and the first reader stays for longer than both.
        let reader = scope.spawn(|| lock.read_timeout(Duration::from_secs(30)).is_ok());
        assert!(reader.join().unwrap());
        assert!(writer.join().unwrap());
    });
    drop(reading);
    assert!(lock.try_write().is_ok());
}

#[test]
fn time_outs_are_kept() {
    let (written, read) = (lock_in_static!(), lock_in_static!());
    let (_write, _read) = (written.write().unwrap(), read.read().unwrap());
    let timed_out = |error| matches!(error, Some(RwLockError::TimedOut));
    type Wait<'a> = &'a dyn Fn(Duration) -> bool;
    let waits: [Wait<'_>; 3] = [
        &|timeout| timed_out(written.read_timeout(timeout).err()),
        &|timeout| timed_out(written.write_timeout(timeout).err()),
        &|timeout| timed_out(read.write_timeout(timeout).err()),
    ];
    for wait in waits {
        for nanos in [0, 1, 1_000_000, 100_000_000] {
            let timeout = Duration::from_nanos(nanos);
            let began = Instant::now();
            assert!(wait(timeout));
            let took = began.elapsed();
            assert!(took >= timeout, "{took:?} is shorter than {timeout:?}");
            // Generous, because other tests share the processors.
            assert!(took < timeout + Duration::from_millis(100), "{took:?} for {timeout:?}");
        }
    }
    assert!(timed_out(written.read_deadline(Deadline::now()).err()));
    assert!(timed_out(read.write_deadline(Deadline::now()).err()));
}

#[test]
fn a_past_deadline_still_takes_a_free_lock() {
    let lock = lock_in_static!();
    assert!(lock.read_deadline(Deadline::now()).is_ok());
    assert!(lock.write_deadline(Deadline::now()).is_ok());
}

#[test]
fn a_huge_time_out_is_for_ever() {
    let lock = lock_in_static!();
    let held = lock.write().unwrap();
    assert!(while_asleep_in(|| lock.read_timeout(Duration::MAX).is_ok(), || drop(held)));
    let held = lock.read().unwrap();
    assert!(while_asleep_in(|| lock.write_timeout(Duration::MAX).is_ok(), || drop(held)));
}

#[test]
fn a_panic_is_told_until_somebody_repairs() {
    let lock = lock_in_static!();
    panic_while_writing(lock);
    drop(recovered(lock.read()));
    drop(recovered(lock.write()));
    *recovered(lock.try_read()) = 9;
    drop(recovered(lock.try_write()).mark_consistent());
    assert_eq!(*lock.read().unwrap(), 9);
}

#[test]
fn a_panic_while_reading_is_nobodys_concern() {
    let lock = lock_in_static!();
    let thread = thread::spawn(|| {
        let _held = lock.read().unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
    assert!(lock.write().is_ok());
}

#[test]
fn a_lock_taken_by_a_destructor_in_a_panic_is_consistent() {
    struct Destructor(&'static Lock);
    impl Drop for Destructor {
        fn drop(&mut self) {
            *self.0.write().unwrap() = 3;
        }
    }
    let lock = lock_in_static!();
    let thread = thread::spawn(|| {
        let _last = Destructor(lock);
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    thread.join().unwrap_err();
    assert_eq!(*lock.read().unwrap(), 3);
}

#[test]
fn who_is_told_waits_for_nobody_else_who_reads() {
    let lock = lock_in_static!();
    panic_while_writing(lock);
    let value = recovered(lock.read());
    // It has the lock for writing.
    assert!(matches!(lock.try_read(), Err(RwLockError::WouldBlock)));
    assert!(while_asleep_in(|| lock.read().is_ok(), || drop(value.mark_consistent())));
}

#[test]
fn poison_reaches_those_who_wait_and_those_who_come() {
    let lock = lock_in_static!();
    panic_while_writing(lock);
    let value = recovered(lock.write());
    let given_up = while_asleep_in(
        || matches!(lock.read(), Err(RwLockError::Unrecoverable)),
        || value.poison(),
    );
    assert!(given_up);
    assert!(matches!(lock.try_write(), Err(RwLockError::Unrecoverable)));
    assert!(matches!(lock.try_read(), Err(RwLockError::Unrecoverable)));
    assert_eq!((lock.owner(), lock.readers().count()), (None, 0));
}

#[test]
#[expect(unsafe_code, reason = "the operator's promise")]
fn an_operator_can_break_it() {
    let lock = lock_in_static!();
    core::mem::forget([lock.read().unwrap(), lock.read().unwrap()]);
    let reader = lock.readers().next().unwrap();
    let wrote = while_asleep_in(
        || lock.write().is_ok(),
        || {
            // SAFETY: the forgotten guards will never be used again.
            unsafe { lock.break_reads(reader) };
        },
    );
    assert!(wrote);
    core::mem::forget(lock.write().unwrap());
    // SAFETY: the forgotten guard will never be used again.
    unsafe { lock.break_lock() };
    drop(recovered(lock.read()).mark_consistent());
    assert!(lock.write().is_ok());
}

/// Whose forgotten guard was broken reads no more, although the kernel still knows of it.
#[test]
#[expect(unsafe_code, reason = "the operator's promise")]
fn whose_guard_was_broken_does_not_wait_for_itself() {
    let lock = resident_lock!();
    core::mem::forget(lock.read().unwrap());
    let reader = lock.readers().next().unwrap();
    // SAFETY: the forgotten guard will never be used again.
    unsafe { lock.break_reads(reader) };
    let (held, give) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let writing = lock.write().unwrap();
            held.wait();
            give.wait();
            drop(writing);
        });
        held.wait();
        let tries = [lock.try_read().err(), lock.try_write().err()];
        give.wait();
        assert!(tries.iter().all(|error| matches!(error, Some(RwLockError::WouldBlock))));
    });
    assert!(lock.write().is_ok() && lock.read().is_ok());
}

#[test]
fn waiting_for_oneself_is_an_error_where_it_can_be_known() {
    let lock = resident_lock!();
    let deadlock = |error| matches!(error, Some(RwLockError::Deadlock));
    let held = lock.write().unwrap();
    assert!(deadlock(lock.read().err()) && deadlock(lock.write().err()));
    assert!(deadlock(lock.try_read().err()) && deadlock(lock.try_write().err()));
    drop(held);
    let held = lock.read().unwrap();
    // Nobody writes, so a second time costs nothing.
    drop(lock.read().unwrap());
    assert!(deadlock(lock.write().err()) && deadlock(lock.try_write().err()));
    assert_eq!(lock.owner(), None);
    // Another thread waits, as it should, and then the first must not come back.
    let wrote = while_asleep_in(
        || lock.write().is_ok(),
        || {
            assert!(deadlock(lock.read().err()) && deadlock(lock.write().err()));
            drop(held);
        },
    );
    assert!(wrote);
    // Nothing is left armed.
    assert_eq!(ipc_core::baton::known_to_kernel(), None);
    assert!(lock.read().is_ok() && lock.write().is_ok());
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    // SAFETY: statics are there for ever.
    #[expect(unsafe_code, reason = "locks that the kernel is told of")]
    static LOCKS: [Lock; 20] = unsafe { [const { RwLock::in_region(0) }; 20] };
    watch();
    for step in [1, 3, 7, 9, 11, 13, 17, 19] {
        let mut guards = LOCKS.each_ref().map(|lock| Some(lock.read().unwrap()));
        for index in 0..LOCKS.len() {
            guards[index * step % LOCKS.len()] = None;
        }
    }
    assert!(LOCKS.iter().all(|lock| lock.try_write().is_ok()));
    assert_eq!(ipc_core::baton::known_to_kernel(), None);
}

#[test]
fn foreign_bytes_are_named_corrupt() {
    // A pid of 0 with an incarnation; "inconsistent" with nothing, which no slot says.
    for word in [1_u64 << 40, !0x3f_ffff, 1 << 62] {
        for at in [0, 3, 6] {
            let mut words = [0; size_of::<Lock>() / 8];
            words[at] = word;
            // SAFETY: every pattern of bits is a `Lock`.
            #[expect(unsafe_code, reason = "looking at foreign bytes as a lock")]
            let lock: Lock = unsafe { core::mem::transmute(words) };
            assert!(matches!(lock.write(), Err(RwLockError::Corrupt)), "{word:#x} at {at}");
            let read = lock.read().err();
            assert_eq!(matches!(read, Some(RwLockError::Corrupt)), at == 0, "{word:#x} at {at}");
        }
    }
}

#[test]
fn garbage_is_never_more_than_an_error() {
    watch();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..200 {
        let words = [(); size_of::<Lock>() / 8].map(|()| next());
        // SAFETY: every pattern of bits is a `Lock`. It says at random that it is resident, and is forgotten.
        #[expect(unsafe_code, reason = "looking at foreign bytes as a lock")]
        let lock: Lock = unsafe { core::mem::transmute(words) };
        let lock: &Lock = Box::leak(Box::new(lock));
        let soon = Duration::from_micros(100);
        drop(lock.read_timeout(soon));
        drop(lock.write_timeout(soon));
        drop((lock.try_read(), lock.readers().count(), lock.owner()));
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let error: RwLockError<'_, u64, 4> = RwLockError::TooManyReaders;
    assert_eq!(error.to_string(), "4 read already, and there is no more place");
    let lock = RwLock::<u64, 4>::new(1);
    assert_eq!(format!("{lock:?}"), "RwLock { owner: None, readers: 0, .. }");
}
