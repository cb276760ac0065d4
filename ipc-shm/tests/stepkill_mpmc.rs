//! The ring of many producers and many consumers, with any of them killed at every machine instruction of the release build
//! (K03 to K06, K19).
//!
//! Empty, half full, full and at the wrap; pairs of victims, so that whoever repairs what one has left is killed as well; and one
//! frozen alive beside one that is killed. Survivors push and pop three times the capacity, and in the end nothing is lost
//! but a message for each death, nothing doubled or torn, and no slot is kept back.
//!
//! The scenarios are those of the controls in `ipc-testkit`, which must fail them: Vyukov's ring is one.

#[allow(unreachable_pub, reason = "shared with the other programs")]
mod victims;

use std::process::ExitCode;

use ipc_shm::ring::mpmc::{Consumer, Producer};
use ipc_shm::ring::{PopWaitError, PushWaitError};
use ipc_testkit::battery::rings;
use ipc_testkit::battery::waiting::{self, WaitingRing};
use ipc_testkit::oracle::Message;
use ipc_testkit::stepkill::{self, Pass};

use victims::many::{Joined, Kept};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        rings::run::<Kept>(suite, "ring of many, ends kept");
        rings::beside_frozen::<Kept>(suite, "ring of many, ends kept");
        rings::run::<Joined>(suite, "ring of many, joined each time");
        if suite.is_deep() {
            rings::beside_frozen::<Joined>(suite, "ring of many, joined each time");
        }
        waiting::run::<Joined>(suite, "ring of many, waiting");
        // What a dead consumer had claimed comes out, and later: who does not allow for this must see it.
        let name = "ring of many, said to keep the order";
        let strict = rings::pop_beside_another::<Kept<false>>(name);
        suite.must_fail(Pass::Everywhere, &strict, 10);
    })
}

impl WaitingRing for Joined {
    type Producer<'a> = Producer<'a, [u64; 8]>;
    type Consumer<'a> = Consumer<'a, [u64; 8]>;

    fn producer(&self) -> Self::Producer<'_> {
        self.0.ring.ring().producer().expect("there is room")
    }

    fn consumer(&self) -> Self::Consumer<'_> {
        self.0.ring.ring().consumer().expect("there is room")
    }

    fn push_by(producer: &mut Self::Producer<'_>, message: &Message, waits: bool) -> bool {
        let words = message.to_words();
        let pushed = match waits {
            true => producer.push_wait(words),
            false => producer.push(words).map_err(PushWaitError::from),
        };
        match pushed {
            Ok(()) => true,
            Err(PushWaitError::TimedOut(_) | PushWaitError::Disconnected(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pop_by(consumer: &mut Self::Consumer<'_>, waits: bool) -> Option<Message> {
        let popped = match waits {
            true => consumer.pop_wait(),
            false => consumer.pop().map_err(PopWaitError::from),
        };
        match popped {
            Ok(words) => Some(Message::from_words(words)),
            Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
