//! What there is to measure.

mod bytes;
mod indexed;
mod mpmc;
mod mutex;
mod rwlock;
mod semaphore;
mod spawn;
mod spsc;
mod waiting;

use crate::subject::Family;

/// Every family, in the order of the report.
#[must_use]
pub fn all() -> Vec<Family> {
    vec![
        spsc::family(),
        indexed::family(),
        bytes::family(),
        mpmc::family(),
        waiting::family(),
        mutex::family(),
        rwlock::family(),
        semaphore::family(),
        spawn::family(),
    ]
}
