//! The waits of a ring in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`, and with `IPC_LOOM=deep` by whoever has minutes. Without `--cfg loom` there is no model, and this
//! program says so.
//!
//! The model has no clock. A sleep that nobody ends is a deadlock, which loom reports: no wake-up that is missed can
//! hide behind the end of a slice. Where a process is killed between what it publishes and the wake-up, slices are what makes up
//! for it; there [`sim::end_slices_at_deaths`] lets each sleeper's end once after a death, and not otherwise. Where an heir
//! claims the end of the dead, it is the heir who must wake the sleeper, and no slice ends.
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
        ($kind:ident) => {{
            use $kind::model::*;
            macro_rules! name {
                ($name:literal) => {
                    concat!(stringify!($kind), "_", $name)
                };
            }
            suite = suite
                .case(name!("pop_wait_and_push"), 2, &[0, 1], || pair(0, pushes, pop_waits))
                .bears(&[Fault::WakeOpRefused, Fault::BarrierRefused])
                .reveals(BARRIERS)
                .case(name!("push_wait_and_pop"), 2, &[0, 1], || pair(1, push_waits, pops))
                .bears(&[Fault::WakeOpRefused, Fault::BarrierRefused])
                .reveals(BARRIERS)
                .case(name!("push_wait_and_pop_wait"), 1, &[0, 1], || {
                    pair(0, push_waits_twice, pop_waits_twice);
                })
                .case(name!("pop_wait_and_close"), 2, &[0, 1], || {
                    pair(0, closes, pop_waits_until_closed);
                })
                .case(name!("push_wait_and_close"), 2, &[0, 1], || {
                    pair(1, push_waits_until_closed, closes_too);
                })
                .case(name!("pop_wait_and_heir"), 2, &[0], pop_wait_and_heir)
                .case(name!("push_wait_and_heir"), 2, &[1], push_wait_and_heir);
            if deep {
                suite = suite
                    .case(name!("deep_pop_wait_and_push"), 3, &[0, 1], || {
                        pair(0, pushes, pop_waits);
                    })
                    .case(name!("deep_push_wait_and_pop"), 3, &[0, 1], || {
                        pair(1, push_waits, pops);
                    })
                    .case(name!("deep_push_wait_and_pop_wait"), 2, &[0, 1], || {
                        pair(0, push_waits_twice, pop_waits_twice);
                    })
                    .case(name!("deep_pop_wait_and_close"), 3, &[0, 1], || {
                        pair(0, closes, pop_waits_until_closed);
                    })
                    .case(name!("deep_push_wait_and_close"), 3, &[0, 1], || {
                        pair(1, push_waits_until_closed, closes_too);
                    })
                    .case(name!("deep_pop_wait_and_heir"), 3, &[0], pop_wait_and_heir)
                    .case(name!("deep_push_wait_and_heir"), 3, &[1], push_wait_and_heir);
            }
        }};
    }
    cases!(stamped);
    cases!(indexed);
    suite.run()
}

#[cfg(loom)]
extern crate alloc;

#[cfg(loom)]
#[path = "loom_waiting"]
mod stamped {
    use ipc_shm::ring::spsc as kind;
    pub(crate) mod model;
}

/// The ring of bytes waits by the same end.
#[cfg(loom)]
#[path = "loom_waiting"]
mod indexed {
    use ipc_shm::ring::indexed as kind;
    pub(crate) mod model;
}
