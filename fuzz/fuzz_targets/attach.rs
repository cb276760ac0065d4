//! Files that look like regions: attached to and described alike, and as the layout says.
//!
//! How bytes become a file, and what must hold, is in `ipc-shm/tests/headers`.
#![no_main]

#[path = "../../ipc-shm/tests/headers/mod.rs"]
mod headers;

use libfuzzer_sys::fuzz_target;

const BUG: headers::Bug = if cfg!(feature = "planted-bug") {
    headers::Bug::ForgetsTheOverlap
} else {
    headers::Bug::Nothing
};

fuzz_target!(|changes: &[u8]| {
    if let Err(what) = headers::run(changes, BUG) {
        panic!("{what}");
    }
});
