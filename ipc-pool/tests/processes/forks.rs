//! A copy of the application that a fork made.
//!
//! # Safety
//!
//! The copy of a process with threads runs the code under test, which is to touch nothing that such a copy must not
//! touch, and ends.
#![expect(unsafe_code, reason = "fork beside the supervisor")]

use core::time::Duration;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{ExitStatus, Fork, fork};
use ipc_pool::{Error, Pool, PoolError, TaskError};
use ipc_testkit::cases::doing;

fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Nothing that a copy does reaches the pool, and everything says so.
pub(crate) fn copies_are_refused() {
    type End = (&'static str, fn(Pool));
    let ends: [End; 4] = [
        ("drop", drop),
        ("join", Pool::join),
        ("terminate", Pool::terminate),
        ("shutdown", |pool| assert!(!pool.shutdown(Duration::from_secs(60)))),
    ];
    let pool = Pool::builder().workers(2).queue(8).build().unwrap();
    for (name, end) in ends {
        doing(name);
        let mut ticket = pool.submit(nap, 30).unwrap();
        let queued = [(); 4].map(|()| pool.submit(nap, 1).unwrap());
        // SAFETY: see the module.
        let mut copy = match unsafe { fork() }.unwrap() {
            Fork::Parent(copy) => copy,
            Fork::Child => {
                let began = Instant::now();
                assert!(matches!(pool.submit(nap, 0), Err(PoolError::ForeignProcess)));
                let mapped = pool.map(nap, [0, 0]);
                assert!(matches!(mapped, Err(Error::Pool(PoolError::ForeignProcess))));
                let foreign = Err(TaskError::ForeignProcess);
                assert_eq!(ticket.wait_timeout(Duration::from_secs(60)), foreign);
                drop(queued);
                assert_eq!(pool.kill_worker(0), Err(Errno::PERM));
                assert!(pool.stats().is_empty());
                pool.close();
                end(pool);
                assert!(began.elapsed() < Duration::from_secs(10));
                std::process::exit(0);
            }
        };
        assert_eq!(copy.wait(), Ok(ExitStatus::Exited(0)), "{name}");
        assert_eq!(ticket.wait(), Ok(30));
        assert!(queued.into_iter().all(|ticket| ticket.wait() == Ok(1)), "{name}");
        assert_eq!(pool.call(nap, 0).unwrap(), 0);
    }
    assert!(pool.stats().iter().all(|worker| worker.restarts == 0));
}
