//! X00: every system call of attaching to a ring of bytes and of taking its ends fails, once and for good, in each
//! plausible way; among them each of the three `mmap` that put a ring twice in a row.
//!
//! See `ipc_testkit::faults` for what is checked after each fault: the operation reports an error, leaves no descriptor
//! and no mapping behind, and works without the fault. Here also: an end that could not be mapped is free.

use std::process::ExitCode;

use ipc_shm::ring::RoleError;
use ipc_shm::ring::bytes::Ring;
use ipc_testkit::faults::{self, Attempt, Case, Kind, Trouble, check};

/// A ring that is mapped twice in a row.
const BYTES: usize = 1 << 16;

fn main() -> ExitCode {
    faults::main(50, |suite| {
        // The first case is wrong on purpose and must be found so.
        suite.must_find(&Case::new("control: keeps a mapping", forgetful), Kind::Leak);
        suite.everywhere(&Case::new("bytes::Ring::from_fd", |me| {
            let ring = Ring::create(BYTES)?;
            let fd = ring.as_fd().expect("a region of its own").try_clone_to_owned()?;
            let again = me.operation(|| Ring::from_fd(fd))?;
            works(&again)
        }));
        suite.everywhere(&Case::new("bytes::Ring::producer", |me| {
            let ring = Ring::create(BYTES)?;
            let producer = me.operation(|| ring.producer());
            check(producer.is_ok() || is_free(ring.producer().map(drop)), "the end is taken")?;
            producer.map(drop)?;
            works(&ring)
        }));
        suite.everywhere(&Case::new("bytes::Ring::untrusted_consumer", |me| {
            let ring = Ring::create(BYTES)?;
            let consumer = me.operation(|| ring.untrusted_consumer());
            check(consumer.is_ok() || is_free(ring.consumer().map(drop)), "the end is taken")?;
            consumer.map(drop)?;
            works(&ring)
        }));
    })
}

fn is_free(claimed: Result<(), RoleError>) -> bool {
    !matches!(claimed, Err(RoleError::Taken { .. }))
}

fn works(ring: &Ring<'_>) -> Result<(), Trouble> {
    let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    check(ring.is_contiguous() && producer.is_contiguous(), "it is split")?;
    producer.push(7, &[7; 1000])?;
    check(consumer.pop(&mut [0; 1000]) == Ok((7, 1000)), "another record")
}

/// Forgets the producer when the consumer cannot be had.
fn forgetful(me: &Attempt) -> Result<(), Trouble> {
    let ring = Ring::create(BYTES)?;
    let ends = me.operation(|| {
        let producer = ring.producer()?;
        match ring.consumer() {
            Ok(consumer) => Ok((producer, consumer)),
            Err(error) => {
                core::mem::forget(producer);
                Err(error)
            }
        }
    })?;
    drop(ends);
    Ok(())
}
