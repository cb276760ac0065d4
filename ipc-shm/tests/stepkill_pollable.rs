//! Rings at which processes sleep in an event loop, with either side killed at every machine instruction of the release build.
//!
//! They go through the scenarios of rings at which processes sleep (K10, K11), with a descriptor that is polled where those sleep on a
//! futex: killed as it pushes, pops and closes while the other side polls; killed as it arms, and polls. Nothing ends a sleep here but
//! what the descriptor tells, for there are no slices. A control, whose sleepers poll the socket alone, is told of no death and must fail.

use core::time::Duration;
use std::process::ExitCode;
use std::sync::OnceLock;

use ipc_shm::ring::pollable::{Armed, Pollable, Sockets};
use ipc_shm::ring::{PopError, PushError, RoleError, spsc};
use ipc_testkit::battery::rings::{Ring, Shape};
use ipc_testkit::battery::waiting::{self, WaitingRing};
use ipc_testkit::oracle::Message;
use ipc_testkit::stepkill::{self, Pass};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd as _;

/// Made before the processes are forked, which all have them. What is left in them from an earlier round is
/// taken out by whoever arms.
static SOCKETS: OnceLock<Sockets> = OnceLock::new();

fn main() -> ExitCode {
    stepkill::main(|suite| {
        SOCKETS.get_or_init(|| Sockets::pair().expect("sockets"));
        waiting::run::<Polled<true>>(suite, "stamped ring, polled");
        let control = waiting::push::<Polled<false>>("socket alone, polled", 0);
        suite.must_fail(Pass::Images, &control.patience(Duration::from_millis(200)), 1);
    })
}

/// A ring in the harness's memory. Whoever waits polls the end's descriptor, or else the socket alone.
struct Polled<const WATCHES: bool>(spsc::FixedRing<[u64; 8], 4>);

impl<const WATCHES: bool> Polled<WATCHES> {
    fn ring(&self) -> spsc::Ring<'_, [u64; 8]> {
        let Sockets { producer, consumer } = SOCKETS.get().expect("made first");
        let [producer, consumer] = [producer, consumer]
            .map(|socket| socket.as_ref().map(|socket| rustix::io::dup(socket).expect("a copy")));
        self.0.ring().with_sockets(Sockets { producer, consumer })
    }
}

/// What an end that may be taken by somebody else gives.
fn claimed<E>(end: Result<E, RoleError>) -> Option<E> {
    match end {
        Ok(end) => Some(end),
        Err(RoleError::Taken { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn pushed<T>(result: Result<(), PushError<T>>) -> Option<bool> {
    match result {
        Ok(()) => Some(true),
        Err(PushError::Full(_)) => None,
        Err(PushError::Disconnected(_)) => Some(false),
        Err(error) => panic!("{error}"),
    }
}

impl<const WATCHES: bool> Ring for Polled<WATCHES> {
    const SHAPE: Shape = Shape::OneToOne;
    const CAPACITY: usize = 4;

    fn new() -> Self {
        Self(spsc::FixedRing::new())
    }

    fn push(&self, message: &Message) -> bool {
        let Some(mut producer) = claimed(self.ring().producer()) else { return false };
        pushed(producer.push(message.to_words())) == Some(true)
    }

    fn pop(&self) -> Option<Message> {
        let mut consumer = claimed(self.ring().consumer())?;
        match consumer.pop() {
            Ok(words) => Some(Message::from_words(words)),
            Err(PopError::Empty | PopError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<const WATCHES: bool> WaitingRing for Polled<WATCHES> {
    type Producer<'a> = Pollable<spsc::Producer<'a, [u64; 8]>>;
    type Consumer<'a> = Pollable<spsc::Consumer<'a, [u64; 8]>>;

    fn producer(&self) -> Self::Producer<'_> {
        Pollable::new(self.ring().producer().expect("nobody alive has it")).expect("a descriptor")
    }

    fn consumer(&self) -> Self::Consumer<'_> {
        Pollable::new(self.ring().consumer().expect("nobody alive has it")).expect("a descriptor")
    }

    fn push_by(producer: &mut Self::Producer<'_>, message: &Message, waits: bool) -> bool {
        loop {
            match pushed(producer.push(message.to_words())) {
                Some(pushed) => return pushed,
                None if !waits => return false,
                None => {}
            }
            if sleeps(producer.arm()) {
                sleep(PollFd::new(producer, PollFlags::IN));
            }
        }
    }

    fn pop_by(consumer: &mut Self::Consumer<'_>, waits: bool) -> Option<Message> {
        loop {
            match consumer.pop() {
                Ok(words) => return Some(Message::from_words(words)),
                Err(PopError::Empty) if waits => {}
                Err(PopError::Empty | PopError::Disconnected) => return None,
                Err(error) => panic!("{error}"),
            }
            if sleeps(consumer.arm()) {
                let socket = SOCKETS.get().and_then(|sockets| sockets.consumer.as_ref());
                let fd =
                    if WATCHES { consumer.as_fd() } else { socket.expect("made first").as_fd() };
                sleep(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
    }
}

fn sleeps<E>(armed: Result<Armed, E>) -> bool {
    match armed {
        Ok(Armed::Ready) => false,
        Ok(Armed::Sleep) => true,
        // All processes are of one namespace, and the kernel has what it takes.
        Ok(Armed::SleepBriefly) | Err(_) => panic!("something is not told"),
    }
}

/// For ever.
fn sleep(fd: PollFd<'_>) {
    while poll(&mut [fd.clone()], None).is_err() {}
}
