//! The stamped ring with its producer or consumer killed at every machine instruction of the
//! release build.
//!
//! The ring goes through the same scenarios as the controls of `ipc-testkit`, which must fail them:
//! empty, half full, full and at its wrap; and pairs of victims (K01, K02). Every operation claims
//! its end of the ring, and closes it afterwards, so that claims, take-overs and recoveries are
//! killed everywhere as well.

use std::process::ExitCode;

use ipc_shm::ring::spsc::FixedRing;
use ipc_shm::ring::{PopError, PushError, RoleError};
use ipc_testkit::battery::rings::{self, Shape};
use ipc_testkit::oracle::Message;
use ipc_testkit::stepkill;

fn main() -> ExitCode {
    stepkill::main(|suite| rings::run::<Stamped>(suite, "stamped ring"))
}

/// A ring in the harness's memory.
struct Stamped(FixedRing<[u64; 8], 4>);

impl rings::Ring for Stamped {
    const SHAPE: Shape = Shape::OneToOne;
    const CAPACITY: usize = 4;

    fn new() -> Self {
        Self(FixedRing::new())
    }

    fn push(&self, message: &Message) -> bool {
        let mut producer = match self.0.ring().producer() {
            Ok(producer) => producer,
            Err(RoleError::Taken { .. }) => return false,
            Err(error) => panic!("{error}"),
        };
        match producer.push(message.to_words()) {
            Ok(()) => true,
            Err(PushError::Full(_) | PushError::Disconnected(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pop(&self) -> Option<Message> {
        let mut consumer = match self.0.ring().consumer() {
            Ok(consumer) => consumer,
            Err(RoleError::Taken { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        match consumer.pop() {
            Ok(words) => Some(Message::from_words(words)),
            Err(PopError::Empty | PopError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
