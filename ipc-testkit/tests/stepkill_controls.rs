//! The controls: what is known to break when a process dies must be found broken. One process, one thread.

use core::time::Duration;
use std::process::ExitCode;

use ipc_testkit::battery::locks;
#[cfg(target_env = "gnu")]
use ipc_testkit::battery::locks::lost_wakeup;
use ipc_testkit::battery::rings::{self, Fill};
use ipc_testkit::battery::{events, semaphores};
#[cfg(target_env = "gnu")]
use ipc_testkit::controls::RobustMutex;
use ipc_testkit::controls::{FlagThenWake, PidLock, PosixSemaphore, Vyukov};
use ipc_testkit::stepkill::{self, Pass};

/// A control wedges at many points, and each of them takes this long to find.
const PATIENCE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    stepkill::main(|suite| {
        // K03 and K04, of which the second shows only if the survivors go round the ring.
        let fill = Fill { turned: 0, inside: 5 };
        let push = rings::push::<Vyukov>("Vyukov's queue", fill).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &push, 8);
        let pop = rings::pop::<Vyukov>("Vyukov's queue", fill).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &pop, 8);

        // K13: from the compare-exchange to the release.
        let lock = locks::lock_free::<PidLock>("pid lock").patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &lock, 3);
        let section = locks::section::<PidLock>("pid lock").patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &section, 20);
        // Also from the release to the wake-up, and at the same points once more if only images are looked at.
        let unlock = locks::unlock::<PidLock>("pid lock", 1).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &unlock, 10);
        suite.must_fail(Pass::Images, &unlock, 2);

        // K14: from its wake-up until the woken one has put the mark back.
        #[cfg(target_env = "gnu")]
        for waiters in [1, 3] {
            let woken =
                lost_wakeup::<RobustMutex>("robust pthread mutex", waiters).patience(PATIENCE);
            suite.must_fail(Pass::Woken, &woken, 10);
        }

        // From the flag to the wake-up.
        let set = events::set::<FlagThenWake>("flag, then wake", 1).patience(PATIENCE);
        suite.must_fail(Pass::Everywhere, &set, 2);

        // From its wake-up until the woken one has taken the token, which nobody is told of then.
        for waiters in [1, 3] {
            let woken = semaphores::wakeup_of_the_dead::<PosixSemaphore>("sem_t", waiters);
            suite.must_fail(Pass::Woken, &woken.patience(PATIENCE), 5);
        }
    })
}
