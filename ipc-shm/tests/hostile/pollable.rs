//! Pollable ends: what they read beside the ring before they sleep, tell, and are claimed.

use ipc_shm::ring::pollable::{ArmError, Armed, Pollable, Sockets};
use ipc_shm::ring::spsc::{Consumer, Producer, Ring, RingPlace};
use ipc_shm::ring::{RoleError, Untrusted};
use ipc_shm::{Plan, Region};
use ipc_testkit::stepmutate::{Answer, Arena, Scenario, Suite};

use super::subject::{CAPACITY, End as _, ROLES, STEPS_WITH_QUESTIONS, judge_claim};
use super::{PAYLOAD, guarded};

const SLOTS: usize = PAYLOAD + 128;
const SLOT: usize = 16;

type Ends =
    (Pollable<Producer<'static, u64, Untrusted>>, Pollable<Consumer<'static, u64, Untrusted>>);

pub(crate) fn run(suite: &mut Suite) {
    let mut plan = Plan::new();
    let place = RingPlace::<u64>::plan(&mut plan, CAPACITY).expect("room");
    let (region, arena) = guarded(|| Region::planned(&plan).expect("a region"));
    let sockets = Sockets::pair().expect("sockets");
    let ring = || {
        let sockets = sockets.try_clone().expect("descriptors");
        Ring::in_region(region, place).expect("the ring").with_sockets(sockets)
    };
    let ends = || -> Ends {
        // Whatever the run before has sent.
        let mut consumer = pollable(ring().untrusted_consumer());
        let mut producer = pollable(ring().untrusted_producer());
        for _ in 0..3 {
            let _ = (consumer.arm(), producer.arm());
        }
        (producer, consumer)
    };

    suite.attack(&attacked(
        &arena,
        Scenario::new(
            "pollable ring, arm",
            &arena,
            ends,
            |(_, consumer)| consumer.arm(),
            |ends, armed, _| judge_arm(ends, armed),
        ),
    ));
    suite.attack(&attacked(
        &arena,
        Scenario::new(
            "pollable ring, push that tells",
            &arena,
            || {
                let mut ends = ends();
                assert!(ends.1.arm() != Ok(Armed::Ready), "it is empty");
                ends
            },
            |(producer, _)| producer.call(),
            |ends, answer, _| judge(ends, answer),
        ),
    ));
    suite.attack(&attacked(
        &arena,
        Scenario::new(
            "pollable ring, pop that tells",
            &arena,
            || {
                let mut ends = ends();
                (0..CAPACITY).for_each(|_| ends.0.push(1).expect("room"));
                assert!(ends.0.arm() != Ok(Armed::Ready), "it is full");
                ends
            },
            |(_, consumer)| consumer.call(),
            |ends, answer, _| judge(ends, answer),
        ),
    ));
    let kept = ring();
    suite.attack(&attacked(
        &arena,
        Scenario::new(
            "pollable ring, untrusted_consumer",
            &arena,
            || assert!(ipc_core::identity::ProcessId::current().is_ok(), "an identity"),
            |()| kept.untrusted_consumer(),
            |(), end, _| match end {
                Ok(mut end) => {
                    Ok((0..2 * CAPACITY).map(|_| end.call()).last().unwrap_or(Answer::Value))
                }
                Err(error) => judge_claim(&error),
            },
        ),
    ));
}

fn pollable<E: ipc_shm::ring::pollable::End>(end: Result<E, RoleError>) -> Pollable<E> {
    Pollable::new(end.expect("nobody has it")).expect("descriptors")
}

/// The roles, the words of who sleeps, and the slots; anything may be written to any of them, as both ends are ours.
fn attacked<'a, S, R>(arena: &Arena, scenario: Scenario<'a, S, R>) -> Scenario<'a, S, R> {
    let slots = SLOTS..SLOTS + CAPACITY * SLOT;
    assert!(slots.end <= arena.len());
    let scenario = scenario.words(ROLES).words(slots).capacity(CAPACITY);
    scenario.within(STEPS_WITH_QUESTIONS).at_least(3, 300)
}

fn judge_arm(ends: Ends, armed: Result<Armed, ArmError>) -> Result<Answer, String> {
    match armed {
        Ok(Armed::Ready) => judge(ends, Answer::Value),
        Ok(_) => judge(ends, Answer::Nothing),
        Err(error) => Err(format!("not armed: {error}")),
    }
}

/// Two turns of both ends come to some answer.
fn judge((mut producer, mut consumer): Ends, answer: Answer) -> Result<Answer, String> {
    for _ in 0..2 * CAPACITY {
        let _: [Answer; 2] = [producer.call(), consumer.call()];
    }
    let _ = (producer.arm(), consumer.arm());
    Ok(answer)
}
