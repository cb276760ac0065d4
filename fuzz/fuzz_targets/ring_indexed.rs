//! The indexed ring, compared with a queue that cannot fail.
//!
//! The model, and how bytes become operations, is in `ipc-shm/tests/model`.
#![no_main]

extern crate alloc;

#[path = "../../ipc-shm/tests/model/mod.rs"]
mod model;
#[path = "../../ipc-shm/tests/rings/mod.rs"]
mod rings;

use libfuzzer_sys::fuzz_target;

const BUG: model::Bug =
    if cfg!(feature = "planted-bug") { model::Bug::ForgetsOneOfFive } else { model::Bug::Nothing };

fuzz_target!(|operations: &[u8]| {
    if let Err(difference) = model::run_with::<rings::Indexed>(operations, BUG) {
        panic!("{difference}");
    }
});
