//! The rings with ends that poll, by one set of names.

use ipc_shm::ring::pollable::{ArmError, Armed, Pollable, Sockets};
use ipc_shm::ring::{PopError, PushError, bytes, indexed, spsc};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told<T> {
    Done(T),
    /// There is nothing to do now.
    NotYet,
    /// And never will be: the other side is closed or dead.
    Gone,
}

/// A ring of numbers.
pub(crate) trait Kind {
    type Ring;
    type Producer: AsFd;
    type Consumer: AsFd;

    /// A pollable one, for `capacity` numbers.
    fn ring(capacity: usize) -> Self::Ring;
    fn producer(ring: &Self::Ring) -> Self::Producer;
    fn consumer(ring: &Self::Ring) -> Self::Consumer;
    fn try_push(producer: &mut Self::Producer, number: u64) -> Told<()>;
    fn try_pop(consumer: &mut Self::Consumer) -> Told<u64>;
    fn arm_to_push(producer: &mut Self::Producer) -> Result<Armed, ArmError>;
    fn arm_to_pop(consumer: &mut Self::Consumer) -> Result<Armed, ArmError>;

    /// Polls until there is room, or the consumer is gone.
    fn push(producer: &mut Self::Producer, number: u64) -> Told<()> {
        loop {
            match Self::try_push(producer, number) {
                Told::NotYet => sleep(Self::arm_to_push(producer).unwrap(), &*producer),
                told => return told,
            }
        }
    }

    /// Polls until there is a number, or the producer is gone.
    fn pop(consumer: &mut Self::Consumer) -> Told<u64> {
        loop {
            match Self::try_pop(consumer) {
                Told::NotYet => sleep(Self::arm_to_pop(consumer).unwrap(), &*consumer),
                told => return told,
            }
        }
    }
}

/// Sleeps as one is told.
pub(crate) fn sleep(armed: Armed, fd: impl AsFd) {
    let timeout = armed.timeout().map(|timeout| timeout.try_into().unwrap());
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()).unwrap();
}

pub(crate) enum Stamped {}
pub(crate) enum Indexed {}
pub(crate) enum Bytes {}

macro_rules! slots {
    ($($kind:ident: $room:ident),*) => {$(
        impl Kind for $kind {
            type Ring = $room::Ring<'static, u64>;
            type Producer = Pollable<$room::Producer<'static, u64>>;
            type Consumer = Pollable<$room::Consumer<'static, u64>>;

            fn ring(capacity: usize) -> Self::Ring {
                $room::Ring::create(capacity).unwrap().with_sockets(Sockets::pair().unwrap())
            }

            fn producer(ring: &Self::Ring) -> Self::Producer {
                Pollable::new(ring.producer().unwrap()).unwrap()
            }

            fn consumer(ring: &Self::Ring) -> Self::Consumer {
                Pollable::new(ring.consumer().unwrap()).unwrap()
            }

            fn try_push(producer: &mut Self::Producer, number: u64) -> Told<()> {
                match producer.push(number) {
                    Ok(()) => Told::Done(()),
                    Err(PushError::Full(_)) => Told::NotYet,
                    Err(PushError::Disconnected(_)) => Told::Gone,
                    Err(error) => panic!("{error}"),
                }
            }

            fn try_pop(consumer: &mut Self::Consumer) -> Told<u64> {
                match consumer.pop() {
                    Ok(number) => Told::Done(number),
                    Err(PopError::Empty) => Told::NotYet,
                    Err(PopError::Disconnected) => Told::Gone,
                    Err(error) => panic!("{error}"),
                }
            }

            fn arm_to_push(producer: &mut Self::Producer) -> Result<Armed, ArmError> {
                producer.arm()
            }

            fn arm_to_pop(consumer: &mut Self::Consumer) -> Result<Armed, ArmError> {
                consumer.arm()
            }
        }
    )*};
}

slots! { Stamped: spsc, Indexed: indexed }

/// Each number is a record of as many words, up to three, as it says by itself.
impl Kind for Bytes {
    type Ring = bytes::Ring<'static>;
    type Producer = Pollable<bytes::Producer<'static>>;
    type Consumer = Pollable<bytes::Consumer<'static>>;

    fn ring(capacity: usize) -> Self::Ring {
        let capacity = (capacity * 32).next_power_of_two();
        bytes::Ring::create(capacity).unwrap().with_sockets(Sockets::pair().unwrap())
    }

    fn producer(ring: &Self::Ring) -> Self::Producer {
        Pollable::new(ring.producer().unwrap()).unwrap()
    }

    fn consumer(ring: &Self::Ring) -> Self::Consumer {
        Pollable::new(ring.consumer().unwrap()).unwrap()
    }

    fn try_push(producer: &mut Self::Producer, number: u64) -> Told<()> {
        match producer.push(len(number) as u32, &number.to_ne_bytes().repeat(3)[..len(number)]) {
            Ok(()) => Told::Done(()),
            Err(bytes::PushError::Full) => Told::NotYet,
            Err(bytes::PushError::Disconnected) => Told::Gone,
            Err(error) => panic!("{error}"),
        }
    }

    fn try_pop(consumer: &mut Self::Consumer) -> Told<u64> {
        let mut bytes = [0; 24];
        match consumer.pop(&mut bytes) {
            Ok((tag, length)) => {
                let number = u64::from_ne_bytes(*bytes.first_chunk().unwrap());
                assert_eq!((tag as usize, length), (len(number), len(number)));
                Told::Done(number)
            }
            Err(bytes::PopError::Empty) => Told::NotYet,
            Err(bytes::PopError::Disconnected) => Told::Gone,
            Err(error) => panic!("{error}"),
        }
    }

    fn arm_to_push(producer: &mut Self::Producer) -> Result<Armed, ArmError> {
        producer.arm_for(24)
    }

    fn arm_to_pop(consumer: &mut Self::Consumer) -> Result<Armed, ArmError> {
        consumer.arm()
    }
}

/// How many bytes a number's record has.
fn len(number: u64) -> usize {
    8 + number as usize % 17
}
