//! Workers that die.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::ExitStatus;
use ipc_pool::{Error, Pool, PoolError, TaskError};
use ipc_testkit::cases::{doing, shared};
use rustix::process::{Pid, Signal, kill_process};

use crate::deadly::{self, Deadly, HOWS, How, When};
use crate::helper::helpers;

fn square(x: u64) -> u64 {
    x * x
}

pub(crate) fn pids(pool: &Pool) -> Vec<i32> {
    pool.stats().iter().map(|worker| worker.pid).collect()
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("kill");
}

/// Every way to end at every place: the ticket says what happened, and the pool goes on.
pub(crate) fn matrix() {
    let pool = Pool::new(1).unwrap();
    for how in HOWS {
        for when in [When::Decoding, When::Running, When::Encoding, When::After] {
            doing(&format!("{how:?} {when:?}"));
            let restarts = pool.stats()[0].restarts;
            let outcome = pool.submit(deadly::run, Deadly { how, when, value: 7 }).unwrap().wait();
            match (&outcome, when, how) {
                (Ok(result), When::After, _) => assert_eq!(result.value, 49),
                (Err(TaskError::Panicked { message }), _, How::Panic) => {
                    assert_eq!(message, "as told");
                }
                (Err(TaskError::WorkerDied { cause, attempt: 1, .. }), _, _) => {
                    assert!(how.seen(*cause), "{how:?} {when:?}: {cause}");
                }
                _ => panic!("{how:?} {when:?}: {outcome:?}"),
            }
            // The thread that dies of a panic after the task is not the worker.
            let dies = how != How::Panic;
            while dies && pool.stats()[0].restarts == restarts {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(pool.call(square, 3).unwrap(), 9);
            assert_eq!(pool.stats()[0].restarts, restarts + u64::from(dies));
        }
    }
}

/// 1,000 tickets at once; workers are killed in turn from outside and by tasks at every place.
pub(crate) fn thousand_tickets() {
    const RETRIES: u32 = 12;
    let pool = Pool::builder().workers(2).queue(1024).retries(RETRIES).build().unwrap();
    let over = AtomicBool::new(false);
    let kills = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = 0;
            while !over.load(Ordering::Acquire) {
                for seat in 0..2 {
                    std::thread::sleep(Duration::from_millis(7));
                    kills += u32::from(pool.kill_worker(seat).is_ok());
                }
            }
            kills
        });
        doing("submitting");
        let places = [When::Decoding, When::Running, When::Encoding, When::After];
        let tickets: Vec<_> = (0..1000_u64)
            .map(|value| {
                let when =
                    if value % 50 == 7 { places[value as usize / 50 % 4] } else { When::Never };
                let task = Deadly { how: How::Kill, when, value };
                (task, pool.submit(deadly::run, task).unwrap())
            })
            .collect();
        let mut died = 0;
        for (task, ticket) in tickets {
            doing(&format!("waiting for {task:?}"));
            match (ticket.wait(), task.when) {
                (Ok(result), When::Never | When::After) => {
                    assert_eq!(result.value, task.value.pow(2))
                }
                (Err(TaskError::WorkerDied { attempt, cause, .. }), when)
                    if when != When::Never =>
                {
                    assert_eq!(attempt, RETRIES + 1);
                    assert!(How::Kill.seen(cause));
                    died += 1;
                }
                (outcome, _) => panic!("{task:?}: {outcome:?}"),
            }
        }
        over.store(true, Ordering::Release);
        assert_eq!(died, 15, "tasks that always kill their worker");
        killer.join().unwrap()
    });
    let deaths: u64 = pool.stats().iter().map(|worker| worker.restarts).sum();
    println!("    1,000 tickets, {deaths} workers replaced, {kills} of them killed from outside");
    assert!(deaths >= 15 * u64::from(RETRIES + 1));
}

/// Says in shared memory that it runs, and then sleeps for ever the first time it is run.
fn says_and_sleeps(runs: i32) -> i32 {
    let word = &shared().words[0];
    let run = word.fetch_add(1, Ordering::SeqCst) + 1;
    if run <= runs {
        std::thread::sleep(Duration::from_secs(3600));
    }
    run
}

fn wait_for_run(run: i32) {
    while shared().words[0].load(Ordering::SeqCst) < run {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A worker may be at work a moment before the pool has written down which process it is.
fn kill_running(pool: &Pool, seat: usize) {
    while let Err(error) = pool.kill_worker(seat) {
        assert_eq!(error, Errno::SRCH);
        std::thread::yield_now();
    }
}

pub(crate) fn named_and_replaced() {
    let pool = Pool::new(1).unwrap();
    let before = pids(&pool);
    let ticket = pool.submit(says_and_sleeps, 1).unwrap();
    wait_for_run(1);
    let killed = Instant::now();
    pool.kill_worker(0).unwrap();
    let cause = ExitStatus::Signaled { signal: 9, core_dumped: false };
    let expected = TaskError::WorkerDied { pid: before[0], cause, attempt: 1 };
    assert_eq!(ticket.wait(), Err(expected));
    println!("    resolved {:.1?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_millis(200));
    assert_eq!(pool.call(square, 4).unwrap(), 16);
    println!("    replaced {:.1?} after the kill", killed.elapsed());
    doing("waiting until the replacement is counted");
    while pool.stats()[0].restarts == 0 {
        std::thread::yield_now();
    }
    let after = pool.stats();
    assert_ne!(after[0].pid, before[0]);
    assert_eq!((after[0].restarts, after[0].interrupted), (1, 1));
}

pub(crate) fn run_again() {
    let pool = Pool::builder().workers(1).retries(2).build().unwrap();
    let ticket = pool.submit(says_and_sleeps, 2).unwrap();
    for run in [1, 2] {
        wait_for_run(run);
        kill_running(&pool, 0);
    }
    assert_eq!(ticket.wait(), Ok(3));
    assert_eq!(pool.stats()[0].interrupted, 2);
    // And no more often than it says.
    let ticket = pool.submit(says_and_sleeps, 100).unwrap();
    for run in [4, 5, 6] {
        wait_for_run(run);
        kill_running(&pool, 0);
    }
    assert!(matches!(ticket.wait(), Err(TaskError::WorkerDied { attempt: 3, .. })));
}

/// Large values in both directions while workers are killed from outside, so that many die between two parts.
pub(crate) fn between_parts() {
    // Some milliseconds of work, which a debug build has with less.
    const BYTES: u32 = if cfg!(debug_assertions) { 6_000 } else { 60_000 };
    let builder = Pool::builder().workers(2).retries(10_000);
    let pool = builder.payload(256).window(1024).build().unwrap();
    let over = AtomicBool::new(false);
    // Kills without a task that came to its end: on a slow machine none would, if they came no later each time.
    let in_vain = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                for seat in 0..2 {
                    let kills = in_vain.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(6 + kills / 4));
                    let _ = pool.kill_worker(seat);
                }
            }
        });
        for round in 0..40_u8 {
            doing(&format!("round {round}"));
            let bytes: Vec<u8> = (0..BYTES).map(|i| (i as u8).wrapping_mul(round)).collect();
            let tickets = [(); 3].map(|()| {
                let reverse = |bytes: Vec<u8>| bytes.into_iter().rev().collect::<Vec<u8>>();
                pool.submit(reverse, bytes.clone()).unwrap()
            });
            for ticket in tickets {
                let back = ticket.wait().unwrap();
                in_vain.store(in_vain.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
                assert!(back.iter().rev().eq(&bytes), "bytes were mixed up");
            }
        }
        over.store(true, Ordering::Release);
    });
    let interrupted: u64 = pool.stats().iter().map(|worker| worker.interrupted).sum();
    println!("    {interrupted} transfers or tasks interrupted");
    assert!(interrupted > 0);
}

pub(crate) fn healthy_neighbour() {
    let pool = Pool::new(2).unwrap();
    let nap = |millis: u64| {
        std::thread::sleep(Duration::from_millis(millis));
        ipc_pool::current_worker()
    };
    let healthy = pool.submit(nap, 400).unwrap();
    let deadly =
        pool.submit(deadly::run, Deadly { how: How::Kill, when: When::Running, value: 1 }).unwrap();
    assert!(matches!(deadly.wait(), Err(TaskError::WorkerDied { .. })));
    let worker = healthy.wait().unwrap().unwrap();
    assert_eq!(pool.stats()[worker].restarts, 0);
}

pub(crate) fn all_at_once() {
    let pool = Pool::builder().workers(3).retries(5).build().unwrap();
    let zygote = helpers();
    let tickets: Vec<_> = (0..50).map(|i| pool.submit(square, i).unwrap()).collect();
    for pid in zygote {
        signal(pid, Signal::KILL);
    }
    for seat in 0..3 {
        pool.kill_worker(seat).unwrap();
    }
    for (i, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().unwrap(), (i * i) as u64);
    }
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
}

pub(crate) fn crash_loop() {
    const LIMIT: u32 = 5;
    let pool = Pool::builder().workers(2).restart_limit(LIMIT).build().unwrap();
    let began = Instant::now();
    let sleeping = || pool.submit(square, 2);
    loop {
        assert!(began.elapsed() < Duration::from_secs(30), "never broken");
        for seat in 0..2 {
            let _ = pool.kill_worker(seat);
        }
        if pool.stats().iter().all(|worker| worker.pid == 0)
            && matches!(sleeping(), Err(PoolError::Broken))
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(pool.map(square, 0..3), Err(Error::Pool(PoolError::Broken))));
}

pub(crate) fn order_is_kept() {
    let pool = Pool::builder().workers(2).retries(10_000).build().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seat = 0;
            while !over.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(10));
                let _ = pool.kill_worker(seat);
                seat = 1 - seat;
            }
        });
        let began = Instant::now();
        let mut rounds = 0;
        while began.elapsed() < Duration::from_secs(2) {
            let all = pool.map(square, 0..100_000).unwrap();
            assert_eq!(all.len(), 100_000);
            assert!(all.iter().enumerate().all(|(i, &x)| x == (i * i) as u64));
            rounds += 1;
        }
        over.store(true, Ordering::Release);
        let interrupted: u64 = pool.stats().iter().map(|worker| worker.interrupted).sum();
        println!("    {rounds} x 100,000 items, {interrupted} chunks interrupted");
        assert!(interrupted > 0);
    });
}

pub(crate) fn stopped() {
    let pool = Pool::new(1).unwrap();
    let pid = pids(&pool)[0];
    signal(pid, Signal::STOP);
    let mut ticket = pool.submit(square, 5).unwrap();
    let error = ticket.wait_timeout(Duration::from_millis(700)).unwrap_err();
    assert_eq!(error, TaskError::TimedOut(Duration::from_millis(700)));
    signal(pid, Signal::CONT);
    assert_eq!(ticket.wait(), Ok(25));
    assert_eq!(pids(&pool), [pid]);
}
