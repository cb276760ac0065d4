//! The rings' calls that wait, and those that wake who waits, with the process killed at every machine instruction of the
//! release build, at both ends of each system call, and asleep (K10, K11).
//!
//! The ends are taken before the operation. Whatever a victim leaves, who sleeps at the other end gets what was published, or
//! is told of the death, and then others take the ends and go on. With `IPC_STEPKILL=deep` the waits are killed at every
//! instruction, too, and the rings stand at several places.

#[allow(unreachable_pub, reason = "shared with the other programs")]
mod victims;

use std::process::ExitCode;

use ipc_core::clock::Deadline;
use ipc_shm::bytemuck;
use ipc_shm::ring::{PopWaitError, PushWaitError, bytes, indexed, spsc};
use ipc_testkit::battery::waiting::{self, WaitingRing};
use ipc_testkit::oracle::Message;
use ipc_testkit::stepkill;

use victims::records::{Copied, InPlace, Records, TAG, Way};
use victims::slots::{Indexed, Stamped};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        waiting::run::<Stamped>(suite, "stamped ring, waiting");
        waiting::run::<Indexed>(suite, "indexed ring, waiting");
        waiting::run::<Records<Copied>>(suite, "ring of bytes, waiting");
        if suite.is_deep() {
            waiting::run::<Records<InPlace>>(suite, "ring of bytes in place, waiting");
        }
    })
}

/// The rings of slots, whose calls have the same names.
macro_rules! slots {
    ($ring:ident, $module:ident) => {
        impl WaitingRing for $ring {
            type Producer<'a> = $module::Producer<'a, [u64; 8]>;
            type Consumer<'a> = $module::Consumer<'a, [u64; 8]>;

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
                let popped = if waits {
                    consumer.pop_wait()
                } else {
                    consumer.pop().map_err(PopWaitError::from)
                };
                match popped {
                    Ok(words) => Some(Message::from_words(words)),
                    Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => None,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
}

slots!(Stamped, spsc);
slots!(Indexed, indexed);

/// How records are waited for.
trait Waits: Way {
    fn push_wait(
        producer: &mut bytes::Producer<'_>,
        record: &[u8],
    ) -> Result<(), bytes::PushWaitError>;

    fn pop_wait(
        consumer: &mut bytes::Consumer<'_>,
        record: &mut [u8],
    ) -> Result<usize, bytes::PopWaitError>;
}

impl Waits for Copied {
    fn push_wait(
        producer: &mut bytes::Producer<'_>,
        record: &[u8],
    ) -> Result<(), bytes::PushWaitError> {
        producer.push_wait(TAG, record)
    }

    fn pop_wait(
        consumer: &mut bytes::Consumer<'_>,
        record: &mut [u8],
    ) -> Result<usize, bytes::PopWaitError> {
        let (tag, len) = consumer.pop_wait(record)?;
        assert_eq!(tag, TAG);
        Ok(len)
    }
}

impl Waits for InPlace {
    fn push_wait(
        producer: &mut bytes::Producer<'_>,
        record: &[u8],
    ) -> Result<(), bytes::PushWaitError> {
        // As much as it reserves.
        producer.wait(record.len() + 4, Deadline::FAR)?;
        Ok(Self::push(producer, record)?)
    }

    fn pop_wait(
        consumer: &mut bytes::Consumer<'_>,
        record: &mut [u8],
    ) -> Result<usize, bytes::PopWaitError> {
        consumer.wait(Deadline::FAR)?;
        Ok(Self::pop(consumer, record)?)
    }
}

impl<W: Waits> WaitingRing for Records<W> {
    type Producer<'a> = bytes::Producer<'a>;
    type Consumer<'a> = bytes::Consumer<'a>;

    fn producer(&self) -> Self::Producer<'_> {
        self.ring.ring().producer().expect("nobody alive has it")
    }

    fn consumer(&self) -> Self::Consumer<'_> {
        self.ring.ring().consumer().expect("nobody alive has it")
    }

    fn push_by(producer: &mut Self::Producer<'_>, message: &Message, waits: bool) -> bool {
        let words = message.to_words();
        let record = bytemuck::bytes_of(&words);
        let pushed = if waits {
            W::push_wait(producer, record)
        } else {
            W::push(producer, record).map_err(bytes::PushWaitError::from)
        };
        match pushed {
            Ok(()) => true,
            Err(bytes::PushWaitError::TimedOut | bytes::PushWaitError::Disconnected) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pop_by(consumer: &mut Self::Consumer<'_>, waits: bool) -> Option<Message> {
        let mut words = [0_u64; 8];
        let record = bytemuck::bytes_of_mut(&mut words);
        let popped = if waits {
            W::pop_wait(consumer, record)
        } else {
            W::pop(consumer, record).map_err(bytes::PopWaitError::from)
        };
        match popped {
            Ok(64) => Some(Message::from_words(words)),
            Ok(len) => panic!("a record of {len} bytes"),
            Err(bytes::PopWaitError::TimedOut | bytes::PopWaitError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
