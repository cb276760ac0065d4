//! Parcels of anything: no crash, no descriptor left, no memory beyond what has come.
//!
//! The types, and what must hold, are in `ipc-core/tests/model`.
#![no_main]

extern crate alloc;

#[path = "../../ipc-core/tests/model/mod.rs"]
mod model;

use libfuzzer_sys::fuzz_target;

const BUG: model::Bug =
    if cfg!(feature = "planted-bug") { model::Bug::ForgetsAHandle } else { model::Bug::Nothing };

fuzz_target!(|input: &[u8]| {
    if let Err(what) = model::run(input, BUG) {
        panic!("{what}");
    }
});
