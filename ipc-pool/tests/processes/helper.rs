//! The helper process from which workers come is stopped, and killed.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::time::Instant;

use ipc_pool::{Pool, TaskError};
use ipc_testkit::cases::{doing, shared};
use rustix::process::Signal;

use crate::deaths::signal;

/// The helper alone is a child of this process; the workers are its own.
pub(crate) fn helpers() -> Vec<i32> {
    let me = std::process::id();
    let path = format!("/proc/{me}/task/{me}/children");
    let children = std::fs::read_to_string(path).expect("children");
    children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

fn nap(millis: u64) -> Option<usize> {
    std::thread::sleep(Duration::from_millis(millis));
    ipc_pool::current_worker()
}

fn says_and_naps((): ()) -> Option<usize> {
    shared().words[0].fetch_add(1, Ordering::SeqCst);
    nap(3000)
}

/// A pool of three workers, of whom the last was killed while the helper is stopped; and the helper.
fn with_a_seat_to_fill() -> (Pool, i32) {
    let pool = Pool::builder().workers(3).payload(256).window(4096).build().unwrap();
    let [helper] = helpers()[..] else { panic!("{:?}", helpers()) };
    signal(helper, Signal::STOP);
    kill_and_await(&pool, 2);
    (pool, helper)
}

fn kill_and_await(pool: &Pool, seat: usize) {
    doing("waiting for a burial");
    let killed = Instant::now();
    pool.kill_worker(seat).unwrap();
    while pool.stats()[seat].pid != 0 {
        std::thread::yield_now();
    }
    assert!(killed.elapsed() < Duration::from_secs(1), "buried after {:?}", killed.elapsed());
}

fn await_restarts(pool: &Pool, seats: [usize; 2]) {
    doing("waiting for new workers");
    while seats.iter().any(|&seat| pool.stats()[seat].restarts == 0) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// While no worker can be made, deaths are noticed, large values move, and the pool ends.
pub(crate) fn stopped() {
    let (pool, helper) = with_a_seat_to_fill();
    let began = Instant::now();
    let back = pool.call(|bytes: Vec<u8>| bytes, vec![7; 100_000]).unwrap();
    println!("    50 parts in {:.1?}", began.elapsed());
    assert!(back == [7; 100_000] && began.elapsed() < Duration::from_secs(2));

    doing("waiting until both workers have a task");
    let tickets = [(); 2].map(|()| pool.submit(says_and_naps, ()).unwrap());
    while shared().words[0].load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    kill_and_await(&pool, 0);
    let outcomes = tickets.map(|mut ticket| ticket.wait_timeout(Duration::from_millis(500)));
    let died = |outcome: &Result<_, _>| matches!(outcome, Err(TaskError::WorkerDied { .. }));
    assert_eq!(outcomes.iter().filter(|outcome| died(outcome)).count(), 1, "{outcomes:?}");

    signal(helper, Signal::CONT);
    await_restarts(&pool, [0, 2]);
    assert_eq!(helpers(), [helper]);

    doing("dropping a pool that waits for a worker");
    drop(pool);
    let (pool, _) = with_a_seat_to_fill();
    let began = Instant::now();
    drop(pool);
    // The helper has a second for what it owes, and another one to end by itself.
    assert!(began.elapsed() < Duration::from_secs(3), "ended after {:?}", began.elapsed());
}

/// A helper that is killed while it owes a worker is replaced, and is no reason to give up.
pub(crate) fn killed_when_stopped() {
    let pool = Pool::builder().workers(2).restart_limit(0).build().unwrap();
    let [helper] = helpers()[..] else { panic!("{:?}", helpers()) };
    signal(helper, Signal::STOP);
    // Workers that have worked do not die early.
    while pool.stats().iter().any(|worker| worker.tasks == 0) {
        drop([(); 2].map(|()| pool.submit(nap, 1).unwrap()).map(|ticket| ticket.wait()));
    }
    kill_and_await(&pool, 0);
    kill_and_await(&pool, 1);
    let ticket = pool.submit(nap, 0).unwrap();
    signal(helper, Signal::KILL);
    await_restarts(&pool, [0, 1]);
    assert!(ticket.wait().is_ok());
}
