//! `--chaos`: kills a random worker every 100 ms.

use core::hash::BuildHasher;
use core::time::Duration;
use std::collections::hash_map::RandomState;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use ipc_pool::Pool;

const EVERY: Duration = Duration::from_millis(100);

/// Kills workers of `pool` until the other end of `over` is gone; how many kills there were.
pub(crate) fn reign(pool: &Pool, over: Receiver<()>) -> u64 {
    let (random, mut kills) = (RandomState::new(), 0);
    let workers = pool.stats().len() as u64;
    for round in 0_u64.. {
        if over.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        let victim = random.hash_one(round) % workers;
        // A worker that is being replaced at this moment is dead already.
        kills += u64::from(pool.kill_worker(victim as usize).is_ok());
    }
    kills
}

/// How many deaths of workers so far interrupted a task.
pub(crate) fn hits(pool: &Pool) -> u64 {
    pool.stats().iter().map(|worker| worker.interrupted).sum()
}
