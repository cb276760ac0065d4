//! The barrier with a process killed at every machine instruction of the release build.

use std::process::ExitCode;

use ipc_sync::{Barrier, BarrierError, BarrierMember, Breach};
use ipc_testkit::battery::barriers::{self, Refusal, Rendezvous};
use ipc_testkit::stepkill;

fn main() -> ExitCode {
    stepkill::main(|suite| barriers::run::<Place>(suite, "barrier"))
}

struct Place(Barrier<8>);

fn refusal(error: BarrierError) -> Refusal {
    match error {
        BarrierError::Broken(Breach::Died(who)) => {
            Refusal::Died(who.pid().as_raw_nonzero().get().unsigned_abs())
        }
        BarrierError::Broken(Breach::Reset) => Refusal::Reset,
        _ => Refusal::Other,
    }
}

impl Rendezvous for Place {
    type Member<'a> = BarrierMember<'a>;

    fn new(parties: usize) -> Self {
        Self(Barrier::new(parties as u32))
    }

    fn join(&self) -> Result<BarrierMember<'_>, Refusal> {
        self.0.join().map_err(refusal)
    }

    fn wait(&self, member: &mut BarrierMember<'_>) -> Result<u32, Refusal> {
        member.wait().map(|result| result.index()).map_err(refusal)
    }

    fn try_wait(&self, member: &mut BarrierMember<'_>) -> bool {
        member.try_wait().is_ok()
    }

    fn leave(&self, member: BarrierMember<'_>) {
        member.leave();
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn reset(&self) {
        self.0.reset();
    }

    fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    fn members(&self) -> usize {
        self.0.members() as usize
    }
}
