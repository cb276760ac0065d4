//! The rings for one producer and one consumer, with either killed at every machine instruction of the
//! release build.
//!
//! They go through the same scenarios as the controls of `ipc-testkit`, which must fail them:
//! empty, half full, full and at the wrap; and pairs of victims (K01, K02, K08). Every operation claims
//! its end of the ring, and closes it afterwards, so that claims, take-overs and recoveries are
//! killed everywhere as well. Batches are killed wherever they change memory, and with `IPC_STEPKILL=deep` at every
//! instruction, too.
//! Those of rings at which processes sleep are in `stepkill_waiting.rs`.

#[allow(unreachable_pub, reason = "shared with the other programs")]
mod victims;

use std::process::ExitCode;

use ipc_testkit::battery::rings::{self, Batch, Fill};
use ipc_testkit::stepkill::{self, Pass};

use victims::slots::{Indexed, Stamped};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        rings::run::<Stamped>(suite, "stamped ring");
        rings::run::<Indexed>(suite, "indexed ring");
        // The control of "all or nothing": between its messages, the stamped ring's slice is neither.
        let promised = Batch { name: "slice, said to be whole", whole: true };
        let fill = Fill { turned: 0, inside: 0 };
        let control = rings::push_batch::<Stamped>("stamped ring", fill, promised);
        suite.must_fail(Pass::Images, &control, 2);
    })
}
