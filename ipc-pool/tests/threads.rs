//! Pools in a process with threads, as under libtest and tokio: nothing is added to make them work.

use core::time::Duration;
use std::sync::mpsc;

use ipc_pool::Pool;

/// Runs `f`, and ends the whole program when that takes too long.
fn within(limit: Duration, what: &'static str, f: impl FnOnce()) {
    let (done, over) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("hung for {limit:?} in: {what}");
            std::process::exit(99);
        }
    });
    f();
    drop(done);
}

fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn in_an_ordinary_test() {
    within(Duration::from_secs(60), "in_an_ordinary_test", || {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, 0..10).unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
        assert_eq!(pool.map(|x: u64| x + 1, 0..10_000).unwrap(), (1..=10_000).collect::<Vec<_>>());
        let workers = pool.stats();
        assert!(workers.iter().all(|worker| worker.pid != std::process::id() as i32));
    });
}

#[test]
fn from_several_threads() {
    within(Duration::from_secs(60), "from_several_threads", || {
        let pool = Pool::builder().workers(2).queue(3).build().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let pool = &pool;
                scope.spawn(move || {
                    for i in 0..200 {
                        assert_eq!(pool.call(square, thread * i).unwrap(), (thread * i).pow(2));
                    }
                });
            }
        });
    });
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn under_tokio() -> u64 {
    let pool = Pool::new(2).unwrap();
    let ticket = pool.submit(square, 20).unwrap();
    let sum: u64 = pool.map(square, 0..100).unwrap().iter().sum();
    tokio::task::spawn_blocking(move || ticket.wait().unwrap() + sum).await.unwrap()
}

#[test]
fn under_tokio_main() {
    within(Duration::from_secs(60), "under_tokio_main", || {
        assert_eq!(under_tokio(), 400 + 328_350)
    });
}
