//! How pools end.

use core::sync::atomic::AtomicI32;
use core::time::Duration;
use std::time::Instant;

use ipc_core::process::fork_fn;
use ipc_pool::{Pool, TaskError};
use ipc_testkit::cases::events::{await_count, count};
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::{doing, open_fds, shared};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

pub(crate) fn join_first() {
    let pool = Pool::new(2).unwrap();
    let tickets: Vec<_> =
        (0..20_u8).map(|i| pool.submit(|i: u8| vec![i; 2_000_000], i).unwrap()).collect();
    doing("joining with 40 MB of results nobody has taken");
    pool.join();
    for (i, ticket) in tickets.into_iter().enumerate() {
        let bytes = ticket.wait().unwrap();
        assert!(bytes.len() == 2_000_000 && bytes.iter().all(|&byte| usize::from(byte) == i));
    }
}

/// Every way to end, with more tasks than the workers can finish, and a second thread that waits for one.
pub(crate) fn full_queue() {
    type End = (&'static str, fn(Pool));
    let ends: [End; 4] = [
        ("drop", drop),
        ("terminate", Pool::terminate),
        ("close and drop", |pool| {
            pool.close();
            drop(pool);
        }),
        ("shutdown", |pool| assert!(!pool.shutdown(Duration::from_millis(50)))),
    ];
    for (name, end) in ends {
        doing(name);
        let pool = Pool::builder().workers(2).queue(64).build().unwrap();
        let mut tickets: Vec<_> = (0..60).map(|_| pool.submit(nap, 20_000).unwrap()).collect();
        let last = tickets.pop().unwrap();
        let waiter = std::thread::spawn(move || last.wait());
        let began = Instant::now();
        end(pool);
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
        for ticket in tickets {
            assert_eq!(ticket.wait(), Err(TaskError::Cancelled), "{name}");
        }
        assert_eq!(waiter.join().unwrap(), Err(TaskError::Cancelled), "{name}");
    }
    doing("shutdown with time enough");
    let pool = Pool::new(2).unwrap();
    let tickets: Vec<_> = (0..10).map(|_| pool.submit(nap, 5).unwrap()).collect();
    assert!(pool.shutdown(Duration::from_secs(20)));
    assert!(tickets.into_iter().all(|ticket| ticket.wait() == Ok(5)));
}

/// How many calls have begun, and whether they may go on.
fn runs() -> &'static AtomicI32 {
    &shared().words[0]
}
fn go() -> &'static AtomicI32 {
    &shared().words[1]
}

/// Says that it runs, waits until it is told to go on, and is killed the first time.
fn waits_and_is_killed_once((): ()) -> i32 {
    let run = count(runs());
    await_count(go(), 1);
    if run == 1 {
        std::process::abort();
    }
    run
}

/// Idle workers of a closed pool end, and are not replaced while others are still at work.
pub(crate) fn closed_with_one_busy() {
    let pool = Pool::new(3).unwrap();
    let ticket = pool.submit(nap, 400).unwrap();
    pool.close();
    assert_eq!(ticket.wait(), Ok(400));
    let restarts: u64 = pool.stats().iter().map(|worker| worker.restarts).sum();
    assert_eq!(restarts, 0);
    pool.join();
}

/// A task that is queued again has a worker, though the pool is closed and all the others have ended.
pub(crate) fn run_again_after_close() {
    let pool = Pool::builder().workers(2).retries(1).build().unwrap();
    let ticket = pool.submit(waits_and_is_killed_once, ()).unwrap();
    await_count(runs(), 1);
    pool.close();
    doing("waiting for the idle worker to end");
    while pool.stats().iter().all(|worker| worker.pid != 0) {
        std::thread::sleep(Duration::from_millis(1));
    }
    count(go());
    doing("joining");
    pool.join();
    assert_eq!(ticket.wait(), Ok(2));
}

/// A broken pool whose last worker dies with its task ends when it is joined.
pub(crate) fn joined_when_broken() {
    let pool = Pool::builder().workers(2).restart_limit(0).retries(1).build().unwrap();
    let ticket = pool.submit(waits_and_is_killed_once, ()).unwrap();
    await_count(runs(), 1);
    let idle = pool.call(|()| ipc_pool::current_worker(), ()).unwrap().unwrap();
    doing("killing the idle worker until it is given up");
    // What is submitted to a pool that is not broken yet is never run, or makes the worker one that has worked.
    while pool.stats()[idle].pid != 0 || pool.submit(nap, 0).is_ok() {
        let _ = pool.kill_worker(idle);
        std::thread::sleep(Duration::from_millis(1));
    }
    let joined = std::thread::spawn(|| pool.join());
    count(go());
    doing("joining the broken pool");
    joined.join().unwrap();
    assert_eq!(ticket.wait(), Err(TaskError::Broken));
}

pub(crate) fn cancelled() {
    let pool = Pool::new(1).unwrap();
    let first = pool.submit(nap, 100).unwrap();
    let dropped: Vec<_> = (0..50).map(|_| pool.submit(nap, 10_000).unwrap()).collect();
    drop(dropped);
    let last = pool.submit(nap, 1).unwrap();
    assert_eq!((first.wait(), last.wait()), (Ok(100), Ok(1)));
    assert_eq!(pool.stats()[0].tasks, 2, "a task whose ticket was dropped has been run");
    // One that runs is left to finish, and its slot comes back.
    let pool = Pool::builder().workers(1).queue(1).build().unwrap();
    for _ in 0..20 {
        drop(pool.submit(nap, 5).unwrap());
    }
    assert_eq!(pool.call(nap, 0).unwrap(), 0);
}

fn nested_sum(depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    let pool = Pool::new(2).unwrap();
    pool.map(nested_sum, [depth - 1, depth - 1]).unwrap().iter().sum()
}

pub(crate) fn nested() {
    assert_eq!(nested_sum(3), 8);
}

/// Starts an application as a child, with a pool whose workers are busy.
fn application() -> ipc_core::process::Child {
    let app = fork_fn(|| {
        rustix::process::setpgid(None, None).expect("setpgid");
        let pool = Pool::new(3).unwrap();
        let tickets: Vec<_> = (0..6).map(|_| pool.submit(spin, ()).unwrap()).collect();
        tickets.into_iter().for_each(|ticket| drop(ticket.wait()));
        0
    })
    .unwrap();
    await_count(runs(), 3);
    app
}

/// Says that it runs, and works without end and without a system call.
fn spin((): ()) {
    count(runs());
    while core::hint::black_box(true) {}
}

/// All descendants of a dead application end within a second. This process adopts and reaps them.
fn all_end(since: Instant) {
    doing("waiting for the end of the descendants");
    while !matches!(waitid(WaitId::All, WaitIdOptions::EXITED), Err(rustix::io::Errno::CHILD)) {}
    println!("    all gone after {:.1?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(1));
}

pub(crate) fn application_killed() {
    let mut app = application();
    let killed = Instant::now();
    app.kill().unwrap();
    app.wait().unwrap();
    all_end(killed);
}

/// A Ctrl-C in a terminal: SIGINT for the whole foreground group.
pub(crate) fn interrupted_group() {
    // A shell lets its background programs ignore it. Zero is the default action.
    on_signal(Signal::INT.as_raw(), 0, 0);
    let mut app = application();
    let began = Instant::now();
    let group = Pid::from_raw(app.id().as_raw_nonzero().get()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    app.wait().unwrap();
    all_end(began);
}

pub(crate) fn fifty_pools() {
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let cycle = || {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(|x: u64| x + 1, 0..3).unwrap(), [1, 2, 3]);
        let _ = pool.kill_worker(0);
    };
    // Stacks of threads and the allocator's arenas stay once they exist.
    (0..5).for_each(|_| cycle());
    let (fds, before) = (open_fds(), maps());
    for round in 0..50 {
        doing(&format!("pool {round}"));
        cycle();
    }
    assert_eq!(open_fds(), fds);
    assert!(maps() <= before + 2, "{} mappings before, {} after", before, maps());
}
