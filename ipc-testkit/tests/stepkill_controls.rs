//! The controls: what is known to break when a process dies must be found broken. One process, one thread.

use core::time::Duration;
use std::process::ExitCode;

use ipc_testkit::battery::locks::{self, lost_wakeup};
use ipc_testkit::battery::rings::{self, Fill};
use ipc_testkit::controls::{PidLock, RobustMutex, Vyukov};
use ipc_testkit::stepkill::{self, Pass};

/// A control wedges at many points, and each of them takes this long to find.
const PATIENCE: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    stepkill::main(|suite| {
        let fill = Fill { turned: 0, inside: 5 };
        let push = rings::push::<Vyukov>("Vyukov's queue", fill).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &push, 8);
        let pop = rings::pop::<Vyukov>("Vyukov's queue", fill).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &pop, 8);

        let section = locks::section::<PidLock>("pid lock").patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &section, 8);
        let unlock = locks::unlock::<PidLock>("pid lock", 1).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &unlock, 3);

        let woken = lost_wakeup::<RobustMutex>("robust pthread mutex", 1).patience(PATIENCE);
        suite.must_fail(Pass::Woken, &woken, 5);
    })
}
