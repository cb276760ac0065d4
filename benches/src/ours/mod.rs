//! Ours, as subjects.

pub mod bytes;
pub mod indexed;
pub mod stamped;
pub mod waiting;

mod locks;

use core::fmt::Display;
use core::hint::spin_loop;

use ipc_shm::ring::{self, PopError, PushError};

/// An answer of a ring that is no success.
trait Refusal: Display {
    /// Whether the other side will change it.
    fn passes(&self) -> bool;
}

impl<T> Refusal for PushError<T> {
    fn passes(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl Refusal for PopError {
    fn passes(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Refusal for ring::bytes::PushError {
    fn passes(&self) -> bool {
        matches!(self, Self::Full)
    }
}

impl Refusal for ring::bytes::PopError {
    fn passes(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// Asks until the answer is a success.
#[inline]
fn until<T, E: Refusal>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) if error.passes() => spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}
