//! The ring of bytes, compared with a queue of records that cannot fail.
//!
//! The model, and how bytes become operations, is in `ipc-shm/tests/bytes/model.rs`.
#![no_main]

extern crate alloc;

#[path = "../../ipc-shm/tests/bytes/model.rs"]
mod model;

use libfuzzer_sys::fuzz_target;

const BUG: model::Bug = if cfg!(feature = "planted-bug") {
    model::Bug::ReleasesOneOfThree
} else {
    model::Bug::Nothing
};

fuzz_target!(|operations: &[u8]| {
    if let Err(difference) = model::run(operations, BUG) {
        panic!("{difference}");
    }
});
