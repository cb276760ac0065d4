//! Rings whose other side is hostile: between any two instructions of an operation of the release build, it writes what
//! it likes. One process, one thread.
//!
//! Whatever that is, an untrusting end makes no access outside of the ring (beside the memory are guard pages), writes
//! nowhere but where the operation may, raises no signal, does not panic, ends after a bounded number of instructions, and
//! answers with a message, with that there is none (or no room, or nobody), or with `Corrupt`, from then on for ever.

extern crate alloc;

mod bits;
mod bytes;
mod indexed;
mod leaks;
mod mpmc;
mod pollable;
mod stamped;
mod subject;

use std::process::ExitCode;

use ipc_shm::Region;
use ipc_testkit::stepmutate::{self, Arena, make_room};
use rustix::fd::AsFd as _;

fn main() -> ExitCode {
    stepmutate::main(|suite| {
        stamped::run(suite);
        indexed::run(suite);
        bytes::run(suite);
        mpmc::run(suite);
        bits::run(suite);
        pollable::run(suite);
        leaks::run(suite);
    })
}

/// Where the payload of a region begins.
const PAYLOAD: usize = 4096;

/// A region between guard pages, and the attacker's view of it.
fn guarded(make: impl Fn() -> Region) -> (&'static Region, Arena) {
    for _ in 0..256 {
        make_room().expect("addresses");
        // Kept for ever, so that the next one gets other addresses.
        let region: &'static Region = Box::leak(Box::new(make()));
        if let Ok(arena) = Arena::of(region.as_fd()) {
            return (region, arena);
        }
    }
    panic!("no region between guard pages");
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}
