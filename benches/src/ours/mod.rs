//! Ours, as subjects.

pub mod indexed;
pub mod stamped;

mod locks;

use core::hint::spin_loop;

use ipc_shm::ring::{PopError, PushError};

#[inline]
fn until_room<R, T>(mut attempt: impl FnMut() -> Result<R, PushError<T>>) -> R {
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(PushError::Full(_)) => spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[inline]
fn until_there<R>(mut attempt: impl FnMut() -> Result<R, PopError>) -> R {
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(PopError::Empty) => spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}
