//! `BoundedSemaphore`, `CountingSemaphore` and `BinarySemaphore` between threads.
//!
//! # Safety
//!
//! A semaphore that the kernel is told of is leaked. Permits are taken away that were forgotten.
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "a semaphore that the kernel is told of, and forgotten permits")]

use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use core::time::Duration;
use std::thread;

use ipc_sync::{
    AcquireError, BinarySemaphore, BoundedSemaphore, CountingSemaphore, NotOurs, PermitTicket,
    ProcessId, TooManyPermits, WaitError,
};
use ipc_testkit::watchdog::watch;

const TURNS: usize = if cfg!(miri) { 20 } else { 5_000 };

#[test]
fn never_more_inside_than_permits() {
    watch();
    static SLOTS: BoundedSemaphore<2> = BoundedSemaphore::new();
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    let permit = SLOTS.acquire().expect("nobody dies");
                    assert!(INSIDE.fetch_add(1, SeqCst) < 2);
                    INSIDE.fetch_sub(1, SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!(SLOTS.available(), 2);
}

#[test]
fn permits_may_be_dropped_in_any_order_and_by_a_panic() {
    watch();
    let slots: &BoundedSemaphore<3> = Box::leak(Box::new(BoundedSemaphore::new()));
    let all = [(); 3].map(|()| slots.acquire().unwrap());
    let mut indices = all.each_ref().map(|permit| permit.index());
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
    assert_eq!(slots.holders().count(), 3);
    let [a, b, c] = all;
    drop(b);
    assert_eq!(slots.available(), 1);
    drop(a);
    drop(c);
    let panicked = thread::spawn(|| {
        let _permit = slots.acquire().unwrap();
        panic!("with a permit");
    });
    panicked.join().unwrap_err();
    assert_eq!(slots.available(), 3);
}

#[test]
fn thread_that_ended_keeps_what_it_forgot() {
    watch();
    let slots = BoundedSemaphore::<1>::new();
    thread::scope(|scope| _ = scope.spawn(|| core::mem::forget(slots.acquire().unwrap())));
    assert!(matches!(slots.try_acquire(), Err(AcquireError::WouldBlock)));
    let soon = slots.acquire_timeout(Duration::from_millis(100));
    assert!(matches!(soon, Err(AcquireError::TimedOut)));
}

#[test]
fn transferred_permits_are_adopted_once_whoever_tries() {
    watch();
    let me = ProcessId::current().unwrap();
    let slots = BoundedSemaphore::<2>::new();
    let adopted = AtomicUsize::new(0);
    for _ in 0..TURNS / 10 {
        let ticket = slots.acquire().unwrap().transfer(me).unwrap();
        adopted.store(0, SeqCst);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    if let Ok(permit) = slots.adopt(ticket) {
                        adopted.fetch_add(1, SeqCst);
                        core::mem::forget(permit);
                    }
                });
            }
        });
        assert_eq!(adopted.load(SeqCst), 1);
        // SAFETY: the permit was forgotten.
        let evicted = unsafe { slots.evict(me) };
        assert_eq!(evicted, 1);
    }
    for bits in [2, 7, u32::MAX] {
        assert_eq!(slots.adopt(PermitTicket::from_bits(bits)).unwrap_err(), NotOurs);
    }
    assert_eq!(slots.available(), 2);
}

#[test]
fn more_permits_than_one_thread_can_arm() {
    watch();
    // SAFETY: leaked memory is never used for anything else.
    let slots = Box::leak(Box::new(unsafe { BoundedSemaphore::<40>::in_region() }));
    let all: Vec<_> = (0..40).map(|_| slots.acquire().unwrap()).collect();
    assert!(matches!(slots.try_acquire(), Err(AcquireError::WouldBlock)));
    drop(all);
    assert_eq!(slots.available(), 40);
}

#[test]
fn bound_is_exact_beside_waiters() {
    watch();
    let lock = BinarySemaphore::new();
    lock.acquire().unwrap();
    let right = AtomicUsize::new(0);
    let taken = AtomicUsize::new(1);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    right.fetch_add(usize::from(lock.release().is_ok()), SeqCst);
                }
            });
            scope.spawn(|| {
                for _ in 0..TURNS / 20 {
                    let got = lock.acquire_timeout(Duration::from_micros(20)).is_ok();
                    taken.fetch_add(usize::from(got), SeqCst);
                }
            });
        }
    });
    let held = taken.load(SeqCst) - right.load(SeqCst);
    assert_eq!(held, usize::from(lock.is_taken()), "each release was right or refused");
}

#[test]
fn counting_semaphore_knows_its_bound() {
    let room = CountingSemaphore::new(1, 3);
    assert_eq!((room.available(), room.bound()), (1, 3));
    assert_eq!(room.release_many(3), Err(TooManyPermits));
    assert_eq!(room.release_many(u32::MAX), Err(TooManyPermits));
    assert_eq!((room.release_many(2), room.release()), (Ok(()), Err(TooManyPermits)));
    (0..3).for_each(|_| assert!(room.try_acquire()));
    assert_eq!(room.acquire_timeout(Duration::ZERO), Err(WaitError::TimedOut));
    let all = CountingSemaphore::new(CountingSemaphore::MAX, CountingSemaphore::MAX);
    assert_eq!(all.release(), Err(TooManyPermits));
}

#[test]
#[should_panic = "more permits than the bound"]
fn more_permits_than_the_bound() {
    let _ = CountingSemaphore::new(4, 3);
}

#[test]
fn errors_say_what_is_wrong() {
    let slots = BoundedSemaphore::<1>::new();
    let _held = slots.acquire().unwrap();
    let refused = slots.try_acquire().unwrap_err();
    assert_eq!(refused.to_string(), "all permits are held");
    assert_eq!(format!("{refused:?}"), "AcquireError(all permits are held)");
    assert_eq!(NotOurs.to_string(), "the permit is not this process's");
    assert_eq!(TooManyPermits.to_string(), "more permits than the semaphore may have");
    assert_eq!(format!("{slots:?}"), "BoundedSemaphore { available: 0, permits: 1, .. }");
}
