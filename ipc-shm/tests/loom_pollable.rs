//! Rings whose ends sleep in an event loop, in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`, and with `IPC_LOOM=deep` by whoever has minutes. Without `--cfg loom` there is no model, and this
//! program says so.
//!
//! A descriptor is a word of the model's kernel that becomes 1, and the death of the process that is watched. There is no clock
//! and there are no slices: whoever is not told sleeps for ever, which loom reports as a deadlock.
#![cfg_attr(loom, allow(clippy::duplicate_mod, reason = "the same scenarios for each ring"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};

    const BARRIERS: &[Fault] = &[Fault::NoFence, Fault::NoHeavyBarrier];
    let deep = std::env::var_os("IPC_LOOM").is_some_and(|how| how == "deep");
    let mut suite = Suite::new();
    macro_rules! cases {
        ($kind:ident, $bound:literal, $prefix:literal) => {{
            use $kind::model::*;
            suite = suite
                .case(
                    concat!($prefix, stringify!($kind), "_poll_and_push"),
                    $bound,
                    &[0, 1],
                    || {
                        pair(0, pushes, polls_once);
                    },
                )
                .bears(&[Fault::WakeOpRefused])
                .reveals(BARRIERS)
                .case(concat!($prefix, stringify!($kind), "_poll_and_pop"), $bound, &[0, 1], || {
                    pair(1, polls_for_room, pops);
                })
                .bears(&[Fault::WakeOpRefused])
                .reveals(BARRIERS);
        }};
    }
    macro_rules! longer_cases {
        ($kind:ident, $bound:literal, $prefix:literal) => {{
            use $kind::model::*;
            suite = suite
                .case(concat!($prefix, stringify!($kind), "_both_poll"), $bound, &[0, 1], || {
                    pair(0, pushes_twice, polls_twice);
                })
                .case(
                    concat!($prefix, stringify!($kind), "_poll_and_close"),
                    $bound,
                    &[0, 1],
                    || {
                        pair(0, closes, polls_until_closed);
                    },
                )
                .case(concat!($prefix, stringify!($kind), "_poll_and_heir"), $bound, &[0], || {
                    poll_and_heir();
                });
        }};
    }
    // Who publishes is late, and looks for a sleeper when its message is gone: then it must not revoke the announcement of
    // the next sleep without taking the bit that belongs to it.
    suite = suite.case("late_publisher", 4, &[], || {
        use stamped::model::*;
        pair(0, pushes_twice_or_closes, polls_twice_if_open);
    });
    cases!(stamped, 2, "");
    longer_cases!(stamped, 1, "");
    cases!(indexed, 2, "");
    if deep {
        cases!(stamped, 3, "deep_");
        cases!(indexed, 3, "deep_");
        longer_cases!(stamped, 2, "deep_");
        longer_cases!(indexed, 2, "deep_");
        suite = suite.case("deep_late_indexed_publisher", 4, &[], || {
            use indexed::model::*;
            pair(0, pushes_twice_or_closes, polls_twice_if_open);
        });
    }
    suite.run()
}

#[cfg(loom)]
extern crate alloc;

#[cfg(loom)]
#[path = "loom_pollable"]
mod stamped {
    use ipc_shm::ring::spsc as kind;
    pub(crate) mod model;
}

/// The ring of bytes has the same end.
#[cfg(loom)]
#[path = "loom_pollable"]
mod indexed {
    use ipc_shm::ring::indexed as kind;
    pub(crate) mod model;
}
