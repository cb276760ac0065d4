//! The rings for one producer and one consumer, with either killed at every machine instruction of the
//! release build.
//!
//! They go through the same scenarios as the controls of `ipc-testkit`, which must fail them:
//! empty, half full, full and at the wrap; and pairs of victims (K01, K02, K08). Every operation claims
//! its end of the ring, and closes it afterwards, so that claims, take-overs and recoveries are
//! killed everywhere as well. Batches are killed wherever they change memory, and with `IPC_STEPKILL=deep` at every
//! instruction, too.
//! And the stamped ring goes through those of rings at which processes sleep (K10, K11), where the ends
//! are taken before.

use std::process::ExitCode;

use ipc_shm::ring::{PopError, PopWaitError, PushError, PushWaitError, RoleError, indexed, spsc};
use ipc_testkit::battery::rings::{self, Batch, Fill, Shape};
use ipc_testkit::battery::waiting::{self, WaitingRing};
use ipc_testkit::oracle::Message;
use ipc_testkit::stepkill::{self, Pass};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        rings::run::<Stamped>(suite, "stamped ring");
        rings::run::<Indexed>(suite, "indexed ring");
        waiting::run::<Stamped>(suite, "stamped ring, waiting");
        // The control of "all or nothing": between its messages, the stamped ring's slice is neither.
        let promised = Batch { name: "slice, said to be whole", whole: true };
        let fill = Fill { turned: 0, inside: 0 };
        let control = rings::push_batch::<Stamped>("stamped ring", fill, promised);
        suite.must_fail(Pass::Images, &control, 2);
    })
}

/// A ring in the harness's memory.
struct Stamped(spsc::FixedRing<[u64; 8], 4>);

/// A ring in the harness's memory.
struct Indexed(indexed::FixedRing<[u64; 8], 4>);

/// What an end that may be taken by somebody else gives.
fn claimed<E>(end: Result<E, RoleError>) -> Option<E> {
    match end {
        Ok(end) => Some(end),
        Err(RoleError::Taken { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn pushed<T>(result: Result<T, PushError<impl Sized>>) -> Option<T> {
    match result {
        Ok(pushed) => Some(pushed),
        Err(PushError::Full(_) | PushError::Disconnected(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

fn popped<T>(result: Result<T, PopError>) -> Option<T> {
    match result {
        Ok(popped) => Some(popped),
        Err(PopError::Empty | PopError::Disconnected) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The longest batch that the scenarios have, and more than the rings hold.
const LONGEST: usize = 8;

/// The words of `messages`, to be pushed as a slice of their own.
fn words(messages: &[Message]) -> ([[u64; 8]; LONGEST], usize) {
    let mut words = [[0; 8]; LONGEST];
    words.iter_mut().zip(messages).for_each(|(words, message)| *words = message.to_words());
    (words, messages.len())
}

fn unpack(words: &[[u64; 8]], messages: &mut [Message]) {
    messages.iter_mut().zip(words).for_each(|(to, words)| *to = Message::from_words(*words));
}

/// What the two rings call the same.
macro_rules! slots {
    () => {
        const SHAPE: Shape = Shape::OneToOne;
        const CAPACITY: usize = 4;

        fn push(&self, message: &Message) -> bool {
            let Some(mut producer) = claimed(self.0.ring().producer()) else { return false };
            pushed(producer.push(message.to_words())).is_some()
        }

        fn pop(&self) -> Option<Message> {
            let mut consumer = claimed(self.0.ring().consumer())?;
            popped(consumer.pop()).map(Message::from_words)
        }

        fn push_batch(&self, how: Batch, messages: &[Message]) -> usize {
            let Some(mut producer) = claimed(self.0.ring().producer()) else { return 0 };
            if how == IN_PLACE {
                return Self::lend(&mut producer, messages);
            }
            let (words, count) = words(messages);
            pushed(producer.push_slice(&words[..count])).unwrap_or(0)
        }

        fn pop_batch(&self, how: Batch, messages: &mut [Message]) -> usize {
            let Some(mut consumer) = claimed(self.0.ring().consumer()) else { return 0 };
            if how == IN_PLACE {
                return Self::peek(&mut consumer, messages);
            }
            let (mut words, count) = words(messages);
            let count = popped(consumer.pop_slice(&mut words[..count])).unwrap_or(0);
            unpack(&words[..count], messages);
            count
        }
    };
}

/// The slots themselves, instead of copies.
const IN_PLACE: Batch = Batch { name: "loan", whole: true };

impl rings::Ring for Stamped {
    slots!();

    const BATCHES: &'static [Batch] = &[Batch { name: "slice", whole: false }];

    fn new() -> Self {
        Self(spsc::FixedRing::new())
    }
}

impl Stamped {
    fn lend(_: &mut spsc::Producer<'_, [u64; 8]>, _: &[Message]) -> usize {
        unreachable!("not among its batches")
    }

    fn peek(_: &mut spsc::Consumer<'_, [u64; 8]>, _: &mut [Message]) -> usize {
        unreachable!("not among its batches")
    }
}

impl rings::Ring for Indexed {
    slots!();

    const BATCHES: &'static [Batch] = &[Batch { name: "slice", whole: true }, IN_PLACE];

    fn new() -> Self {
        Self(indexed::FixedRing::new())
    }
}

impl Indexed {
    fn lend(producer: &mut indexed::Producer<'_, [u64; 8]>, messages: &[Message]) -> usize {
        let Some(mut slots) = pushed(producer.reserve(messages.len())) else { return 0 };
        let count = slots.len();
        let (first, second) = slots.as_mut_slices();
        let all = first.iter_mut().chain(second);
        all.zip(messages).for_each(|(slot, message)| *slot = message.to_words());
        slots.commit(count);
        count
    }

    fn peek(consumer: &mut indexed::Consumer<'_, [u64; 8]>, messages: &mut [Message]) -> usize {
        let Some(seen) = popped(consumer.peek(messages.len())) else { return 0 };
        let (first, second) = seen.as_slices();
        unpack(first, messages);
        unpack(second, &mut messages[first.len()..]);
        let count = seen.len();
        seen.release(count);
        count
    }
}

impl WaitingRing for Stamped {
    type Producer<'a> = spsc::Producer<'a, [u64; 8]>;
    type Consumer<'a> = spsc::Consumer<'a, [u64; 8]>;

    fn producer(&self) -> Self::Producer<'_> {
        self.0.ring().producer().expect("nobody alive has it")
    }

    fn consumer(&self) -> Self::Consumer<'_> {
        self.0.ring().consumer().expect("nobody alive has it")
    }

    fn push_by(producer: &mut Self::Producer<'_>, message: &Message, waits: bool) -> bool {
        let words = message.to_words();
        let pushed = if waits {
            producer.push_wait(words)
        } else {
            producer.push(words).map_err(PushWaitError::from)
        };
        match pushed {
            Ok(()) => true,
            Err(PushWaitError::TimedOut(_) | PushWaitError::Disconnected(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pop_by(consumer: &mut Self::Consumer<'_>, waits: bool) -> Option<Message> {
        let popped =
            if waits { consumer.pop_wait() } else { consumer.pop().map_err(PopWaitError::from) };
        match popped {
            Ok(words) => Some(Message::from_words(words)),
            Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
