//! Ours, as subjects.

pub mod bytes;
pub mod indexed;
pub mod mpmc;
pub mod stamped;
pub mod waiting;

mod locks;

use core::fmt::Display;

use ipc_shm::ring::{self, PopError, PushError};

use crate::queue::Idle;

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
fn until<T, E: Refusal>(attempt: impl FnMut() -> Result<T, E>) -> T {
    until_idly(Idle::Spins, attempt)
}

#[inline]
fn until_idly<T, E: Refusal>(idle: Idle, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    idle.until(|| match attempt() {
        Ok(done) => Some(done),
        Err(error) if error.passes() => None,
        Err(error) => panic!("{error}"),
    })
}
