//! K12: a process killed at every machine instruction of making, replacing and removing a region with a name.
//!
//! Whoever comes next finds a whole region or none, gets the name, and is the only one who does. Only system calls change
//! what others see here, so usually the victim is killed at both ends of each of them; `IPC_STEPKILL=deep` kills it at
//! every instruction.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

use ipc_core::process::fork_fn;
use ipc_shm::{NamedError, Place, Plan, ProcessId, RawValue, Region, RegionName};
use ipc_testkit::ensure;
use ipc_testkit::stepkill::{self, Actor, Scenario, Suite, Verdict};

fn main() -> ExitCode {
    // Made here, so that nobody needs to find out who it is in the middle of an operation.
    let dead = dead_process();
    stepkill::main(|suite| {
        everywhere(suite, dead, "create_new", Before::Nothing, |name, plan, place| {
            let mine = mine();
            name.create_new_with(plan, |fill| fill.values(place, |_| RawValue::new(mine))).map(drop)
        });
        everywhere(suite, dead, "create_or_replace", Before::OfTheDead, |name, plan, place| {
            replace(name, plan, place).map(drop)
        });
        everywhere(suite, dead, "remove", Before::OfTheDead, |name, _, _| name.remove());
    })
}

/// What has the name when the victim begins.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    OfTheDead,
}

/// What the processes of a scenario share, beside the name.
struct World {
    /// How many survivors have got the name.
    winners: AtomicU32,
}

type Operation = fn(&RegionName, &Plan, Place<Values>) -> Result<(), NamedError>;
type Values = RawValue<u64>;

fn everywhere(
    suite: &mut Suite,
    dead: ProcessId,
    title: &str,
    before: Before,
    operation: Operation,
) {
    let name = Region::named(format!("ipc-stepkill-{}-{title}", std::process::id()));
    let name = name.expect("a name");
    let (plan, place) = plan();
    let prepare = move |_: &World| {
        match name.remove() {
            Ok(()) | Err(NamedError::NotFound) => {}
            Err(error) => panic!("{error}"),
        }
        if let Before::OfTheDead = before {
            let (plan, place) = self::plan();
            let number = dead.to_bits();
            let fill = |fill: &mut ipc_shm::Fill<'_>| {
                fill.values(place, |_| RawValue::new(number));
            };
            let region = name.create_new_with(&plan, fill).expect("the name is free");
            let file = File::from(region.as_fd().try_clone_to_owned().expect("a descriptor"));
            file.write_all_at(&number.to_ne_bytes(), 64).expect("the creator's field");
        }
    };
    let scenario = Scenario::new(format!("named region, {title}"), || World { winners: 0.into() })
        .setup(prepare)
        .victim(move |_, me| {
            // Who we are is found out before.
            mine();
            let done = me.operation(|| operation(&name, &plan, place));
            ensure!(done.is_ok(), "unharmed, and yet: {done:?}");
            Ok(())
        })
        .survivors(2, move |world, me| survive(world, me, &name))
        .audit(move |world, _| {
            let winners = world.winners.load(SeqCst);
            ensure!(winners == 1, "{winners} have got the name");
            let removed = name.remove();
            ensure!(removed.is_ok(), "the winner's region: {removed:?}");
            Ok(())
        })
        .longest(100_000)
        .at_least(10);
    suite.everywhere_if_deep(&scenario);
}

/// Looks at what there is, and takes the name.
fn survive(world: &World, me: &Actor<'_>, name: &RegionName) -> Verdict {
    let (plan, place) = plan();
    match name.open_for(&plan) {
        Ok(region) => {
            let found = whole(&region, place);
            ensure!(found == region.creator().to_bits(), "{found:#x} is not the creator");
        }
        Err(NamedError::NotFound) => {}
        Err(error) => ensure!(false, "who opens finds: {error}"),
    }
    match replace(name, &plan, place) {
        Ok(region) => {
            world.winners.fetch_add(1, SeqCst);
            ensure!(whole(&region, place) == mine(), "another one's region");
        }
        Err(NamedError::Taken { creator: Some(creator) }) => {
            ensure!(creator.to_bits() != mine(), "taken by ourselves");
        }
        Err(error) => ensure!(false, "who replaces finds: {error}"),
    }
    me.succeeded();
    Ok(())
}

fn replace(name: &RegionName, plan: &Plan, place: Place<Values>) -> Result<Region, NamedError> {
    let mine = mine();
    name.create_or_replace_with(plan, |fill| fill.values(place, |_| RawValue::new(mine)))
}

/// Who fills a region, says so in every place.
fn plan() -> (Plan, Place<Values>) {
    let mut plan = Plan::new();
    let place = plan.array(4).expect("places");
    (plan, place)
}

fn whole(region: &Region, place: Place<Values>) -> u64 {
    let all = region.slice(place).expect("its plan");
    let first = all[0].get();
    if all.iter().all(|value| value.get() == first) { first } else { 0 }
}

fn mine() -> u64 {
    ProcessId::current().expect("an identity").to_bits()
}

/// Somebody who has ended.
fn dead_process() -> ProcessId {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let child = fork_fn(|| i32::from(writer.write_all(&mine().to_ne_bytes()).is_err()));
    child.expect("fork").wait().expect("wait");
    let mut bits = [0; 8];
    reader.read_exact(&mut bits).expect("its id");
    ProcessId::from_bits(u64::from_ne_bytes(bits)).expect("an id")
}
