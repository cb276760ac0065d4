//! A ring under attack: what is done to every kind of ring.

use core::ops::Range;
use core::sync::atomic::Ordering;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_shm::bytemuck::{self, Pod};
use ipc_shm::ring::mpmc::Peers;
use ipc_shm::ring::{Peer, PopWaitError, RoleError};
use ipc_testkit::stepmutate::{Answer, Arena, Scenario, Suite};

use super::PAYLOAD;

/// How many messages each ring holds.
pub(crate) const CAPACITY: usize = 4;
/// The words that say who the ends are, of which domain, and who sleeps there.
pub(crate) const ROLES: Range<usize> = PAYLOAD..PAYLOAD + 40;

/// No message of up to 64 bytes takes more instructions, even if somebody pretends to sleep.
const STEPS: usize = 1000;
/// The same, where the kernel is asked who lives.
pub(crate) const STEPS_WITH_QUESTIONS: usize = 8000;

/// How long a wait is in vain: more than its steps take before it sleeps.
const SPAN: Duration = Duration::from_millis(40);
/// How late one may be; the machine is busy.
const LATE: Duration = Duration::from_secs(2);
/// A wait is bounded by its time. This is more than fits into it, step by step.
const STEPS_OF_A_WAIT: usize = 100_000;

/// An untrusting end.
pub(crate) trait End {
    /// Pushes or pops.
    fn call(&mut self) -> Answer;
    /// The same, and waits until `deadline` if there is nothing to do.
    fn call_by(&mut self, deadline: Deadline) -> Answer;
    /// Whether there is an other side.
    fn peer(&self) -> Answer;
}

/// What is said of the other side.
pub(crate) trait Standing {
    fn answer(self) -> Answer;
}

impl Standing for Peer {
    fn answer(self) -> Answer {
        match self {
            Self::Absent | Self::Closed => Answer::Nothing,
            _ => Answer::Value,
        }
    }
}

impl Standing for Peers {
    fn answer(self) -> Answer {
        match self {
            Self::Absent | Self::Gone => Answer::Nothing,
            _ => Answer::Value,
        }
    }
}

/// Where it says who takes part, and what is true of a kind of ring for that reason.
pub(crate) struct Head {
    /// Words that are attacked, and that everything may write to.
    pub(crate) roles: Vec<Range<usize>>,
    /// Where somebody who becomes an end writes that he is.
    pub(crate) records: Range<usize>,
    /// The words that name a producer and a consumer.
    pub(crate) owners: [usize; 2],
    /// Words that say where the ring stands.
    pub(crate) positions: Vec<usize>,
    /// What is planted, too.
    pub(crate) values: Vec<u64>,
    /// How many instructions a message takes, and a look at who lives.
    pub(crate) steps: [usize; 2],
}

impl Head {
    /// A producer and a consumer.
    pub(crate) fn of_two() -> Self {
        Self {
            roles: Vec::from([ROLES]),
            records: ROLES,
            owners: [PAYLOAD, PAYLOAD + 8],
            positions: Vec::new(),
            values: Vec::new(),
            steps: [STEPS, STEPS_WITH_QUESTIONS],
        }
    }
}

/// How a ring stands when it is attacked: how many messages went through, and how many are inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) turned: usize,
    pub(crate) inside: usize,
}

/// Empty, half full, full, and at its wrap.
pub(crate) const FILLS: [Fill; 5] = [
    Fill { turned: 0, inside: 0 },
    Fill { turned: 0, inside: 2 },
    Fill { turned: 0, inside: CAPACITY },
    Fill { turned: CAPACITY - 1, inside: 1 },
    Fill { turned: CAPACITY + 1, inside: CAPACITY - 1 },
];
pub(crate) const HALF: Fill = Fill { turned: 1, inside: 2 };
pub(crate) const FULL: Fill = Fill { turned: 1, inside: CAPACITY };

/// A ring that is filled in a certain way, and whose ends nobody has.
pub(crate) struct Subject<P, C> {
    pub(crate) name: &'static str,
    pub(crate) fill: Fill,
    pub(crate) arena: Arena,
    pub(crate) head: Head,
    pub(crate) producer: Box<dyn Fn() -> Result<P, RoleError>>,
    pub(crate) consumer: Box<dyn Fn() -> Result<C, RoleError>>,
    /// The words that a decision hangs on, but for the roles.
    pub(crate) decisive: Vec<usize>,
    /// A word and what it says while the producer, or the consumer, is claimed: that there is no room, or no message. So
    /// what the end has seen then is not enough, and the operation has to look.
    pub(crate) hidden: [Option<(usize, u64)>; 2],
    /// Where messages are, or positions.
    pub(crate) ring: Range<usize>,
    /// Where the next push may write, and the next pop.
    pub(crate) pushed: Vec<Range<usize>>,
    pub(crate) popped: Vec<Range<usize>>,
}

impl<P: End, C: End> Subject<P, C> {
    /// The operations that messages go through.
    pub(crate) fn push_and_pop(&self, suite: &mut Suite) {
        let Fill { turned, inside } = self.fill;
        let name = |op| format!("{}, {op}, {inside} inside after {turned}", self.name);
        // What is looked at, and where there is a message, its bytes, and what hands it over.
        let accesses = |possible| if possible { 3 } else { 2 };
        let push =
            self.call(name("push"), &self.producer, 0, &self.pushed).within(self.head.steps[0]);
        suite.attack(&push.at_least(accesses(inside < CAPACITY), 1000));
        let pop =
            self.call(name("pop"), &self.consumer, 1, &self.popped).within(self.head.steps[0]);
        suite.attack(&pop.at_least(accesses(inside > 0), 1000));
    }

    /// Becoming an end, and ceasing to be one.
    pub(crate) fn roles(&self, suite: &mut Suite) {
        self.role(suite, "untrusted_producer", &self.producer);
        self.role(suite, "untrusted_consumer", &self.consumer);
        let close = Scenario::new(
            format!("{}, drop", self.name),
            &self.arena,
            || (self.producer)().ok(),
            |producer| *producer = None,
            |_, (), _| Ok(Answer::Nothing),
        );
        suite.attack(
            &self.attacked(close, &[]).values([me()]).within(self.head.steps[0]).at_least(1, 500),
        );
    }

    fn role<E: End>(
        &self,
        suite: &mut Suite,
        name: &str,
        claim: &dyn Fn() -> Result<E, RoleError>,
    ) {
        let claim = Scenario::new(
            format!("{}, {name}", self.name),
            &self.arena,
            // What is asked for once is asked for before.
            || assert!(ProcessId::current().is_ok(), "an identity"),
            |()| claim(),
            |(), end, arena| match end {
                Ok(end) => self.judge(end, Answer::Value, arena),
                Err(error) => judge_claim(&error),
            },
        );
        // The role and the domain, and what says where the ring stands.
        let records = core::slice::from_ref(&self.head.records);
        let claim = self.attacked(claim, records).values([me()]).within(self.head.steps[1]);
        suite.attack(&claim.at_least(4, 500));
    }

    /// The kernel is asked whether the other side lives, of which the word may be any. The ring is full.
    pub(crate) fn questions(&self, suite: &mut Suite) {
        // Of this process, whose children are attacked.
        let somebody = me();
        let values = [somebody, somebody ^ 1, 1 << 22];
        let with_consumer = || {
            let producer = (self.producer)().expect("an end");
            self.arena.word(self.head.owners[1]).store(somebody, Ordering::Relaxed);
            producer
        };
        let peer = Scenario::new(
            format!("{}, peer", self.name),
            &self.arena,
            with_consumer,
            |producer| producer.peer(),
            |_, answer, _| Ok(answer),
        );
        let peer = self.attacked(peer, &[]).values(values).within(self.head.steps[1]);
        suite.attack(&peer.at_least(2, 200));
        let tired = || {
            let mut producer = with_consumer();
            for _ in 0..1023 {
                assert_eq!(producer.call(), Answer::Nothing);
            }
            producer
        };
        let push = Scenario::new(
            format!("{}, push in vain for the 1024th time", self.name),
            &self.arena,
            tired,
            End::call,
            |end, answer, arena| self.judge(end, answer, arena),
        );
        let push = self.attacked(push, &self.pushed).values(values).within(self.head.steps[1]);
        suite.attack(&push.at_least(3, 500));
    }

    /// Waits in vain: for room if the ring is full, else for a message. It announces a sleep, sleeps, and asks who lives.
    pub(crate) fn wait(&self, suite: &mut Suite) {
        learn_not_to_spin();
        let [producer, consumer] = self.head.owners;
        if self.fill.inside > 0 {
            self.wait_of(suite, "push_deadline", &self.producer, consumer, &self.pushed);
        } else {
            self.wait_of(suite, "pop_deadline", &self.consumer, producer, &self.popped);
        }
    }

    fn wait_of<E: End>(
        &self,
        suite: &mut Suite,
        name: &str,
        claim: &dyn Fn() -> Result<E, RoleError>,
        other: usize,
        writes: &[Range<usize>],
    ) {
        let somebody = me();
        let wait = Scenario::new(
            format!("{}, {name}", self.name),
            &self.arena,
            || {
                let end = claim().expect("an end");
                self.arena.word(other).store(somebody, Ordering::Relaxed);
                end
            },
            |end: &mut E| {
                let deadline = Deadline::after(SPAN);
                (end.call_by(deadline), deadline)
            },
            |end, (answer, deadline), arena| {
                if deadline.plus(LATE).has_passed() {
                    return Err(format!("{answer:?}, and more than {LATE:?} late"));
                }
                self.judge(end, answer, arena)
            },
        );
        let values = [somebody, somebody ^ 1, 1 << 31, 1 << 63 | 1];
        let wait = self.attacked(wait, writes).values(values).within(STEPS_OF_A_WAIT);
        // The event count, the roles and the ring, each several times.
        suite.attack(&wait.at_least(8, 10));
    }

    fn call<'a, E: End>(
        &'a self,
        name: String,
        claim: &'a dyn Fn() -> Result<E, RoleError>,
        side: usize,
        writes: &[Range<usize>],
    ) -> Scenario<'a, E, Answer> {
        let claim = move || {
            let Some((offset, value)) = self.hidden[side] else { return claim().expect("an end") };
            let now = self.arena.word(offset).swap(value, Ordering::Relaxed);
            let end = claim().expect("an end");
            self.arena.word(offset).store(now, Ordering::Relaxed);
            end
        };
        let scenario = Scenario::new(name, &self.arena, claim, End::call, |end, answer, arena| {
            self.judge(end, answer, arena)
        });
        self.attacked(scenario, writes)
    }

    /// Attacks the roles and the ring; the operation may write to the roles, and to `writes`.
    fn attacked<'a, S, R>(
        &self,
        scenario: Scenario<'a, S, R>,
        writes: &[Range<usize>],
    ) -> Scenario<'a, S, R> {
        let Head { roles, positions, values, .. } = &self.head;
        let scenario = scenario.read_only_words(self.ring.clone()).capacity(CAPACITY);
        let scenario = roles.iter().cloned().fold(scenario, Scenario::words);
        let positions = positions.iter().map(|&position| word(position));
        let scenario = positions.fold(scenario, Scenario::read_only_words);
        let scenario = scenario.values(values.iter().copied());
        writes.iter().cloned().fold(scenario, Scenario::may_write)
    }

    /// Whatever was planted is still there: two turns come to some answer, and after `Corrupt` there is no other.
    fn judge(&self, mut end: impl End, answer: Answer, arena: &Arena) -> Result<Answer, String> {
        let mut now = answer;
        for _ in 0..2 * CAPACITY {
            if now == Answer::Corrupt {
                self.stays_corrupt(&mut end, arena)?;
                break;
            }
            now = end.call();
        }
        Ok(answer)
    }

    /// Also if everything is as it should be again, or as an end that was poisoned would have it.
    fn stays_corrupt(&self, end: &mut impl End, arena: &Arena) -> Result<(), String> {
        let mut check = |with: &str| match end.call() {
            Answer::Corrupt => Ok(()),
            other => Err(format!("it was corrupt, and with {with} then {other:?}")),
        };
        arena.restore();
        check("all as before")?;
        let near = (0..3 * CAPACITY as u64).flat_map(|near| [near, near ^ 1 << 63, !near]);
        for value in near {
            self.decisive.iter().for_each(|word| arena.word(*word).store(value, Ordering::Relaxed));
            check(&format!("{value:#x} everywhere"))?;
        }
        Ok(())
    }
}

/// Whoever waits in vain so often spins no more, which would take all the time that there is, step by step.
fn learn_not_to_spin() {
    let ring = ipc_shm::ring::spsc::Ring::<u64>::create(1).expect("a ring");
    let mut consumer = ring.consumer().expect("nobody has it");
    for _ in 0..2500 {
        let timeout = Duration::from_micros(20);
        assert_eq!(consumer.pop_timeout(timeout), Err(PopWaitError::TimedOut));
    }
}

pub(crate) fn judge_claim(error: &RoleError) -> Result<Answer, String> {
    match error {
        // Whoever has the memory can also say that the ring has sockets, or has none.
        RoleError::Taken { .. }
        | RoleError::Crowded { .. }
        | RoleError::NoSocket
        | RoleError::NotPollable => Ok(Answer::Nothing),
        RoleError::Corrupt => Ok(Answer::Corrupt),
        other => Err(format!("it failed: {other}")),
    }
}

/// What is pushed under attack: where it is written, memory changes, for what was there before is zeros or the attack's.
pub(crate) fn message<T: Pod>() -> T {
    let mut message = T::zeroed();
    bytemuck::bytes_of_mut(&mut message).fill(0x77);
    message
}

/// The bytes of the word at `offset`.
pub(crate) fn word(offset: usize) -> Range<usize> {
    offset..offset + 8
}

pub(crate) fn me() -> u64 {
    ProcessId::current().expect("an identity").to_bits()
}

/// The two ends of a ring of messages.
macro_rules! ends {
    ($ring:ident) => {
        ends!($ring, peer, peer);
    };
    ($ring:ident, $consumers:ident, $producers:ident) => {
        impl<T: Pod + Send> End for $ring::Producer<'_, T, Untrusted> {
            fn call(&mut self) -> Answer {
                match self.push(message()) {
                    Ok(()) => Answer::Value,
                    Err(PushError::Full(_) | PushError::Disconnected(_)) => Answer::Nothing,
                    Err(PushError::Corrupt(_)) => Answer::Corrupt,
                }
            }

            fn call_by(&mut self, deadline: Deadline) -> Answer {
                match self.push_deadline(message(), deadline) {
                    Ok(()) => Answer::Value,
                    Err(PushWaitError::TimedOut(_) | PushWaitError::Disconnected(_)) => {
                        Answer::Nothing
                    }
                    Err(PushWaitError::Corrupt(_)) => Answer::Corrupt,
                    Err(error) => panic!("{error}"),
                }
            }

            fn peer(&self) -> Answer {
                Standing::answer(self.$consumers())
            }
        }

        impl<T: Pod + Send> End for $ring::Consumer<'_, T, Untrusted> {
            fn call(&mut self) -> Answer {
                match self.pop() {
                    Ok(_) => Answer::Value,
                    Err(PopError::Empty | PopError::Disconnected) => Answer::Nothing,
                    Err(PopError::Corrupt) => Answer::Corrupt,
                }
            }

            fn call_by(&mut self, deadline: Deadline) -> Answer {
                match self.pop_deadline(deadline) {
                    Ok(_) => Answer::Value,
                    Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => Answer::Nothing,
                    Err(PopWaitError::Corrupt) => Answer::Corrupt,
                    Err(error) => panic!("{error}"),
                }
            }

            fn peer(&self) -> Answer {
                Standing::answer(self.$producers())
            }
        }
    };
}

pub(crate) use ends;
