//! Rings of slots.

use ipc_shm::ring::{PopError, PushError, indexed, spsc};
use ipc_testkit::battery::rings::{self, Batch, Shape};
use ipc_testkit::oracle::Message;

use super::claimed;

/// A ring in the harness's memory.
pub struct Stamped(pub spsc::FixedRing<[u64; 8], 4>);

/// A ring in the harness's memory.
pub struct Indexed(pub indexed::FixedRing<[u64; 8], 4>);

pub fn pushed<T>(result: Result<T, PushError<impl Sized>>) -> Option<T> {
    match result {
        Ok(pushed) => Some(pushed),
        Err(PushError::Full(_) | PushError::Disconnected(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

pub fn popped<T>(result: Result<T, PopError>) -> Option<T> {
    match result {
        Ok(popped) => Some(popped),
        Err(PopError::Empty | PopError::Disconnected) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The longest batch that the scenarios have, and more than the rings hold.
const LONGEST: usize = 8;

/// The words of `messages`, to be pushed as a slice of their own.
pub fn words(messages: &[Message]) -> ([[u64; 8]; LONGEST], usize) {
    let mut words = [[0; 8]; LONGEST];
    words.iter_mut().zip(messages).for_each(|(words, message)| *words = message.to_words());
    (words, messages.len())
}

pub fn unpack(words: &[[u64; 8]], messages: &mut [Message]) {
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
