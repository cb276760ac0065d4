//! The rings that are struck by stepkill, as they lie in its memory, for the programs that share them.

#![allow(dead_code, reason = "each program that includes this file uses its part of it")]

pub mod many;
pub mod records;
pub mod slots;

use ipc_shm::ring::RoleError;

/// What an end that may be taken by somebody else gives.
pub fn claimed<E>(end: Result<E, RoleError>) -> Option<E> {
    match end {
        Ok(end) => Some(end),
        Err(RoleError::Taken { .. } | RoleError::Crowded { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}
