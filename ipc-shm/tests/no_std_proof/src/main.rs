//! A program without `std` and without an allocator that pushes and pops between two processes, and uses every lock.
//!
//! It exits with 0 if everything held, with 101 if an assertion failed. With one argument it asserts something
//! that is wrong, which shows that its assertions count. With two it uses the region that has the second one as its name.
//! Built and run by `ipc-shm/tests/no_std.rs`.
#![no_std]
#![no_main]

use core::ffi::CStr;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;

use ipc_core::process::{Child, ExitStatus, Fork, fork};
use ipc_shm::ring::spsc::{FixedRing, Ring};
use ipc_shm::ring::{Peer, PopError, PushError, bytes, indexed, spsc};
use ipc_shm::{Atomic, Plan, Region, Shared};
use ipc_sync::{
    Barrier, BinarySemaphore, BoundedSemaphore, Condvar, CountingSemaphore, Event, EventCount,
    Latch, LockError, Mutex, Once, OnceLock, ReentrantMutex, RwLock, Semaphore,
};

/// What the C library offers to end a process.
mod c {
    unsafe extern "C" {
        pub safe fn _exit(code: i32) -> !;
    }
}

#[panic_handler]
fn failed(_: &PanicInfo<'_>) -> ! {
    c::_exit(101)
}

#[unsafe(no_mangle)]
extern "C" fn main(arguments: i32, texts: *const *const core::ffi::c_char) -> i32 {
    if arguments == 3 {
        // SAFETY: there are three.
        let name = unsafe { *texts.add(2) };
        // SAFETY: a string that ends with a zero and stays as it is.
        return of_another_build(unsafe { CStr::from_ptr(name) }.to_bytes());
    }
    let expected = if arguments > 1 { 1 } else { 2 };
    shared(expected);
    within_one_process();
    every_lock();
    0
}

/// Two processes count under a lock, and the child answers what it is sent.
fn shared(expected: u64) {
    let mut plan = Plan::new();
    let total = plan.one::<Mutex<u64>>().unwrap();
    let there = plan.one::<FixedRing<[u64; 7], 8>>().unwrap();
    let region = Region::planned_with(&plan, |fill| fill.locks(total, |_| 0)).unwrap();
    let back = Ring::<u64>::create(3).unwrap();
    let add = || *region.get(total).unwrap().lock().unwrap() += 1;

    // SAFETY: the process has one thread.
    let mut child = match unsafe { fork() }.unwrap() {
        Fork::Child => {
            let mut requests = region.get(there).unwrap().ring().consumer().unwrap();
            let mut answers = back.producer().unwrap();
            let mut next = || loop {
                match requests.pop() {
                    Ok(request) => return Some(request),
                    Err(PopError::Disconnected) => return None,
                    Err(error) => assert_eq!(error, PopError::Empty),
                }
            };
            while let Some(request) = next() {
                while answers.push(request.iter().sum()).is_err() {}
            }
            add();
            c::_exit(0)
        }
        Fork::Parent(child) => child,
    };
    let mut requests = region.get(there).unwrap().ring().producer().unwrap();
    let mut answers = back.consumer().unwrap();
    for number in 0..1000 {
        while requests.push([number; 7]).is_err() {}
        loop {
            match answers.pop() {
                Ok(answer) => break assert_eq!(answer, 7 * number),
                // The child may not have attached yet; a dead one is found in the end.
                Err(error) => assert_eq!(error, PopError::Empty),
            }
        }
    }
    add();
    drop(requests);
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
    assert!(matches!(answers.peer(), Peer::Dead(_)));
    assert_eq!(*region.get(total).unwrap().lock().unwrap(), expected);
}

/// V05: what a program with `std` has made is the same here.
fn of_another_build(name: &[u8]) -> i32 {
    let mut plan = Plan::new();
    let total = plan.one::<Mutex<u64>>().unwrap();
    let fixed = plan.one::<FixedRing<[u64; 7], 8>>().unwrap();
    let stamped = spsc::RingPlace::<u64>::plan(&mut plan, 3).unwrap();
    let indexed = indexed::RingPlace::<u64>::plan(&mut plan, 4).unwrap();
    let bytes = bytes::RingPlace::plan(&mut plan, 64).unwrap();
    let region = Region::named(name).unwrap().open_for(&plan).unwrap();
    *region.get(total).unwrap().lock().unwrap() += 1;
    let [first, ..] = region.get(fixed).unwrap().ring().consumer().unwrap().pop().unwrap();
    let mut producer = Ring::in_region(&region, stamped).unwrap().producer().unwrap();
    producer.push(first + 1).unwrap();
    let mut producer = indexed::Ring::in_region(&region, indexed).unwrap().producer().unwrap();
    producer.push(first + 2).unwrap();
    let mut producer = bytes::Ring::in_region(&region, bytes).unwrap().producer().unwrap();
    producer.push(7, b"first + 3").unwrap();
    0
}

fn within_one_process() {
    static RING: FixedRing<u64, 2> = FixedRing::new();
    let mut producer = RING.ring().producer().unwrap();
    producer.push(1).unwrap();
    producer.push(2).unwrap();
    assert_eq!(producer.push(3), Err(PushError::Full(3)));
    assert_eq!(RING.ring().consumer().unwrap().pop(), Ok(1));
}

fn shared_value<T: ipc_shm::Shareable>(value: T) -> Shared<T> {
    Shared::new(value).unwrap()
}

/// A child that does this and ends.
fn child(work: impl FnOnce()) -> Child {
    // SAFETY: the process has one thread.
    match unsafe { fork() }.unwrap() {
        Fork::Child => {
            work();
            c::_exit(0)
        }
        Fork::Parent(child) => child,
    }
}

/// Two processes take turns at each, and the death of one is told.
fn every_lock() {
    const TURNS: u32 = 100;
    let mutex = Shared::<Mutex<u32>>::in_region(0).unwrap();
    let reentrant = Shared::<ReentrantMutex<[u32; 1]>>::in_region([0]).unwrap();
    let rwlock = Shared::<RwLock<u32, 2>>::in_region(0).unwrap();
    let bounded = Shared::<BoundedSemaphore<1>>::in_region(()).unwrap();
    let (once, value) =
        (Shared::<Once>::in_region(()).unwrap(), Shared::<OnceLock<u32>>::in_region(()).unwrap());
    let (changed, more) = (shared_value(Condvar::new()), shared_value(EventCount::new()));
    let (begin, finished) = (shared_value(Event::new()), shared_value(Latch::new(2)));
    let (semaphore, counting) =
        (shared_value(Semaphore::new(1)), shared_value(CountingSemaphore::new(1, 1)));
    let (binary, step) = (shared_value(BinarySemaphore::new()), shared_value(Barrier::<2>::new(2)));
    let number = || shared_value(Atomic::new(AtomicU32::new(0)));
    let (made, items) = (number(), number());

    let work = |me: u32| {
        begin.wait().unwrap();
        once.call_once(|_| assert_eq!(made.fetch_add(1, SeqCst), 0)).unwrap();
        value.get_or_init(|| me).unwrap();
        let mut member = step.join().unwrap();
        for turn in 0..TURNS {
            let held = mutex.lock().unwrap();
            *changed.wait_while(held, |number| *number != 2 * turn + me).unwrap() += 1;
            changed.notify_all();
            let outer = reentrant.lock().unwrap();
            let mut inner = reentrant.lock().unwrap();
            drop(outer);
            inner.exclusive().unwrap()[0] += 1;
            drop(inner);
            *rwlock.write().unwrap() += 1;
            assert!(*rwlock.read().unwrap() > 0);
            semaphore.acquire().unwrap();
            semaphore.release().unwrap();
            counting.acquire().unwrap();
            counting.release().unwrap();
            binary.acquire().unwrap();
            binary.release().unwrap();
            drop(bounded.acquire().unwrap());
            items.fetch_add(1, SeqCst);
            more.notify_all();
            member.wait().unwrap();
        }
        member.leave();
        finished.count_down().unwrap();
    };
    let mut children = [child(|| work(0)), child(|| work(1))];
    begin.set();
    more.wait_for(|| (items.load(SeqCst) == 2 * TURNS).then_some(())).unwrap();
    finished.wait().unwrap();
    for child in &mut children {
        assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
    }
    assert_eq!((*mutex.lock().unwrap(), reentrant.lock().unwrap()[0]), (2 * TURNS, 2 * TURNS));
    assert_eq!((*rwlock.read().unwrap(), made.load(SeqCst)), (2 * TURNS, 1));
    assert!(value.get().is_some_and(|who| *who < 2));

    // Without the baton: whoever sleeps finds the death at the end of a slice.
    begin.clear();
    let mut holder = child(|| {
        let _held = mutex.lock().unwrap();
        begin.set();
        let _ = Event::new().wait_timeout(Duration::MAX);
    });
    begin.wait().unwrap();
    assert!(matches!(mutex.lock_timeout(Duration::from_millis(1)), Err(LockError::TimedOut)));
    holder.kill().unwrap();
    assert!(matches!(mutex.lock(), Err(LockError::Recovered(_))));
    holder.wait().unwrap();
}
