//! A program without `std` and without an allocator that locks, pushes and pops between two processes.
//!
//! It exits with 0 if everything held, with 101 if an assertion failed. With any argument it asserts something
//! that is wrong, which shows that its assertions count. Built and run by `ipc-shm/tests/no_std.rs`.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use ipc_core::process::{ExitStatus, Fork, fork};
use ipc_shm::ring::spsc::{FixedRing, Ring};
use ipc_shm::ring::{Peer, PopError, PushError};
use ipc_shm::{Plan, Region};
use ipc_sync::Mutex;

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
extern "C" fn main(arguments: i32, _: *const *const u8) -> i32 {
    let expected = if arguments > 1 { 1 } else { 2 };
    shared(expected);
    within_one_process();
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

fn within_one_process() {
    static RING: FixedRing<u64, 2> = FixedRing::new();
    let mut producer = RING.ring().producer().unwrap();
    producer.push(1).unwrap();
    producer.push(2).unwrap();
    assert_eq!(producer.push(3), Err(PushError::Full(3)));
    assert_eq!(RING.ring().consumer().unwrap().pop(), Ok(1));
}
