//! X00: every system call of making, opening and removing a region fails, once and for good, in each plausible way.
//!
//! See `ipc_testkit::faults` for what is checked after each fault: the operation succeeds by another way or reports an
//! error, leaves no descriptor and no mapping behind, and works without the fault. Here names are looked at as well. The
//! first case is wrong on purpose and must be found so.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use ipc_core::identity::ProcessId;
use ipc_core::process::fork_fn;
use ipc_shm::{
    FrozenRegion, NamedError, Place, Plan, RawValue, ReadOnlyRegion, Region, RegionName,
};
use ipc_testkit::faults::{self, Attempt, Case, Kind, Suite, Trouble, check};

fn main() -> ExitCode {
    faults::main(200, |suite| {
        control(suite);
        sealed(suite);
        named(suite);
        stamped(suite);
        indexed(suite);
    })
}

fn plan() -> (Plan, Place<RawValue<u64>>) {
    let mut plan = Plan::new();
    let place = plan.array(600).expect("places");
    (plan, place)
}

fn again(region: &impl AsFd) -> Result<OwnedFd, Trouble> {
    Ok(region.as_fd().try_clone_to_owned()?)
}

/// A name that stays when its region could not be opened for the last time.
fn control(suite: &mut Suite) {
    let name = Region::named("ipc-faults-control").expect("a name");
    let forgetful = Case::new("control: leaves a name", move |me| {
        let (plan, _) = plan();
        clear(&name)?;
        let made = me.operation(|| {
            name.create_new(&plan)?;
            name.open()
        });
        let left = name.remove();
        if made.is_err() {
            check(left == Err(NamedError::NotFound), "a name is left")?;
        }
        made.map(drop)
    });
    suite.must_find(&forgetful, Kind::Swallowed);
}

fn sealed(suite: &mut Suite) {
    suite.everywhere(&Case::new("Region::planned", |me| {
        let (plan, place) = plan();
        let region = me.operation(|| Region::planned(&plan))?;
        region.get(place)?.set(1);
        check(Region::from_fd(again(&region)?).is_ok(), "not a region")
    }));
    suite.everywhere(&Case::new("Region::from_fd", |me| {
        let (plan, place) = plan();
        let fill = |fill: &mut ipc_shm::Fill<'_>| fill.values(place, |_| RawValue::new(7));
        let fd = again(&Region::planned_with(&plan, fill)?)?;
        let region = me.operation(|| Region::from_fd_for(fd, &plan))?;
        check(region.get(place)?.get() == 7, "another region")
    }));
    suite.everywhere(&Case::new("Region::single_writer, reader", |me| {
        let (plan, place) = plan();
        let (writer, reader) = me.operation(|| {
            let writer = Region::single_writer(&plan).map_err(|error| error.to_string())?;
            let reader = writer.reader().map_err(|error| error.to_string())?;
            Ok::<_, String>((writer, reader))
        })?;
        writer.get(place)?.set(7);
        check(reader.load(place) == Ok(7), "another region")?;
        check(Region::from_fd(again(&reader)?).is_err(), "others can write")
    }));
    suite.everywhere(&Case::new("ReadOnlyRegion::from_fd", |me| {
        let (plan, place) = plan();
        let fd = again(&Region::single_writer(&plan)?)?;
        let reader = me.operation(|| ReadOnlyRegion::from_fd(fd))?;
        check(reader.load(place) == Ok(0), "another region")
    }));
    suite.everywhere(&Case::new("FrozenRegion", |me| {
        let mut plan = Plan::new();
        let place = plan.array::<u64>(600).expect("places");
        let region = me.operation(|| {
            FrozenRegion::new(&plan, |fill| fill.values(place, |index| index as u64))
        })?;
        let same = FrozenRegion::from_fd_for(again(&region)?, &plan)?;
        check(same.slice(place)?[599] == 599, "another region")
    }));
}

/// Making a ring of slots and taking its ends. That of bytes is in `faults_bytes.rs`.
macro_rules! ring_of_slots {
    ($module:ident, $function:ident) => {
        fn $function(suite: &mut Suite) {
            use ipc_shm::ring::{RoleError, $module::Ring};

            fn works(ring: &Ring<'_, u64>) -> Result<(), Trouble> {
                let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
                producer.push(7)?;
                check(consumer.pop() == Ok(7), "another message")
            }
            suite.everywhere(&Case::new(concat!(stringify!($module), "::Ring::create"), |me| {
                let ring = me.operation(|| Ring::<u64>::create(512))?;
                works(&ring)
            }));
            suite.everywhere(&Case::new(concat!(stringify!($module), "::Ring::from_fd"), |me| {
                let ring = Ring::<u64>::create(512)?;
                let fd = ring.as_fd().expect("a region of its own").try_clone_to_owned()?;
                let again = me.operation(|| Ring::<u64>::from_fd(fd))?;
                works(&again)
            }));
            suite.everywhere(&Case::new(concat!(stringify!($module), "::Ring::producer"), |me| {
                let ring = Ring::<u64>::create(512)?;
                let producer = me.operation(|| ring.producer()).map(drop);
                let taken = matches!(ring.producer(), Err(RoleError::Taken { .. }));
                check(!taken, "the end is taken")?;
                producer?;
                works(&ring)
            }));
        }
    };
}

ring_of_slots! { spsc, stamped }
ring_of_slots! { indexed, indexed }

/// Removes what an attempt before this one may have left.
fn clear(name: &RegionName) -> Result<(), Trouble> {
    match name.remove() {
        Ok(()) | Err(NamedError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What has the name is a whole region.
fn whole(name: &RegionName, number: u64) -> Result<(), Trouble> {
    let (plan, place) = plan();
    let region = name.open_for(&plan)?;
    let is_whole = region.slice(place)?.iter().all(|value| value.get() == number);
    check(is_whole, "a region that is not whole")
}

fn create(name: &RegionName, number: u64) -> Result<Region, NamedError> {
    let (plan, place) = plan();
    name.create_new_with(&plan, |fill| fill.values(place, |_| RawValue::new(number)))
}

/// Runs `operation` where a dead process's region has the name, and judges what has it behind that.
fn after_a_death<R>(
    me: &Attempt,
    name: &RegionName,
    operation: impl Fn() -> Result<R, NamedError>,
    judge: impl Fn(&Result<R, Trouble>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    clear(name)?;
    ProcessId::current()?;
    let status = fork_fn(|| i32::from(create(name, 1).is_err()))?.wait()?;
    check(status.success(), "no dead process's region")?;
    let result = me.operation(operation);
    judge(&result)?;
    clear(name)?;
    result.map(drop)
}

fn named(suite: &mut Suite) {
    let name = Region::named(format!("ipc-faults-{}", std::process::id())).expect("a name");
    suite.everywhere(&Case::new("create_new", move |me| {
        clear(&name)?;
        let result = me.operation(|| create(&name, 2));
        match &result {
            Ok(_) => whole(&name, 2)?,
            Err(_) => check(name.open().err() == Some(NamedError::NotFound), "a name is left")?,
        }
        clear(&name)?;
        result.map(drop)
    }));
    suite.everywhere(&Case::new("create_new, taken", move |me| {
        clear(&name)?;
        let first = create(&name, 1)?;
        let taken = me.operation(|| match create(&name, 2) {
            Err(NamedError::Taken { creator }) => Ok(creator),
            Err(error) => Err(error),
            Ok(_) => panic!("it is taken"),
        });
        whole(&name, 1)?;
        clear(&name)?;
        // Who has it, if that could be found out.
        let creator = taken?;
        check(creator.is_none_or(|creator| creator == first.creator()), "somebody else")
    }));
    suite.everywhere(&Case::new("open", move |me| {
        clear(&name)?;
        let region = create(&name, 3)?;
        let result = me.operation(|| name.open());
        clear(&name)?;
        check(result?.creator() == region.creator(), "another region")
    }));
    suite.everywhere(&Case::new("create_or_replace", move |me| {
        let (plan, place) = plan();
        let replace =
            || name.create_or_replace_with(&plan, |fill| fill.values(place, |_| RawValue::new(2)));
        after_a_death(me, &name, replace, |result| match (result, name.open()) {
            (Ok(_), _) => whole(&name, 2),
            // It had been removed by then.
            (Err(_), Err(NamedError::NotFound)) => Ok(()),
            (Err(_), _) => whole(&name, 1),
        })
    }));
    suite.everywhere(&Case::new("remove", move |me| {
        after_a_death(
            me,
            &name,
            || name.remove(),
            |result| match (result, name.open()) {
                (Ok(()), found) => check(found.err() == Some(NamedError::NotFound), "it is there"),
                (Err(_), _) => whole(&name, 1),
            },
        )
    }));
}
