//! Executing programs.

use std::os::fd::AsFd;

use ipc_core::process::{ExitStatus, Resource, Rlimit, Signal, SignalSet, Spawn};
use ipc_testkit::faults::{Case, Suite};

use crate::processes::expect;

pub(crate) fn all(suite: &mut Suite) {
    suite.everywhere(&Case::new("Spawn", |me| {
        let child = me.operation(|| Spawn::new("true").spawn())?;
        expect(child, ExitStatus::Exited(0))
    }));
    suite.everywhere(&Case::new("Prepared::spawn", |me| {
        let prepared = Spawn::new("true").prepare()?;
        expect(me.operation(|| prepared.spawn())?, ExitStatus::Exited(0))
    }));
    suite.everywhere(&Case::new("Spawn, with everything", |me| {
        let file = std::fs::File::open("/dev/zero")?;
        let limit = Rlimit { current: Some(20), maximum: Some(20) };
        let script = "test $(pwd) = / && test $(ulimit -n) = 20 && test $A = b \
                      && head -c 1 <&9 >/dev/null && head -c 1 <&7 >/dev/null";
        let child = me.operation(|| {
            Spawn::new("sh")
                .args(["-c", script])
                .env("A", "b")
                .current_dir("/")
                .fd(9, file.as_fd())
                .fd(7, file.as_fd())
                .rlimit(Resource::Nofile, limit)
                .umask(0o77)
                .nice(5)
                .new_session()
                .ignore_signals(SignalSet::from(Signal::USR1))
                .parent_death(Signal::KILL)
                .cpu_affinity([0, 1])
                .signal_mask(SignalSet::EMPTY)
                .spawn()
        })?;
        expect(child, ExitStatus::Exited(0))
    }));
    suite.everywhere(&Case::new("Spawn, no such program", |me| {
        let result = me.infallible(|| Spawn::new("/no/such/program").spawn());
        ipc_testkit::faults::check(result.is_err(), "there is no such program")
    }));
}
