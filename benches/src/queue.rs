//! What is done with queues that any number may use: streams between two and between many, and round trips.
//!
//! A queue joins by implementing [`Queue`]; its subjects then follow from the functions below.

use std::sync::Arc;
use std::thread;

use core::hint::spin_loop;

use crate::crew::Crew;
use crate::payload::{Message, Mixed, Sent};
use crate::streams::{round_trip, singles, slots};
use crate::subject::{Done, Ends, Role, Sides, Slice, Subject, Wrong};
use crate::sys;
use crate::turns::Handover;

/// What somebody does who finds a queue full or empty, if the queue leaves it to him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Asks again at once.
    Spins,
    /// Lets others have the processor before.
    Yields,
}

impl Idle {
    /// Asks until there is an answer.
    #[inline]
    pub fn until<T>(self, mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = attempt() {
                return value;
            }
            match self {
                Self::Spins => spin_loop(),
                Self::Yields => thread::yield_now(),
            }
        }
    }
}

/// A bounded queue of messages, first in, first out, empty when made.
pub trait Queue<const N: usize>: Send + Sync + Sized + 'static {
    /// The name in the report.
    const NAME: &'static str;
    /// Whether it works between processes.
    const SIDES: Sides;
    /// What pushes; made by the thread that uses it.
    type Pusher: Send + 'static;
    /// What pops; made by the thread that uses it.
    type Popper: Send + 'static;

    /// A queue with room for so many messages, or as many as it can hold.
    fn of(capacity: usize) -> Self;

    /// An end to push to.
    fn pusher(queue: &Arc<Self>) -> Self::Pusher;

    /// An end to pop from.
    fn popper(queue: &Arc<Self>) -> Self::Popper;

    /// Returns once the message is accepted.
    fn push(end: &mut Self::Pusher, message: Message<N>, idle: Idle);

    /// Returns once there is a message.
    fn pop(end: &mut Self::Popper, idle: Idle) -> Message<N>;
}

fn subject<const N: usize, Q: Queue<N>>(make: impl Fn() -> Ends + 'static) -> Subject {
    Subject { name: Q::NAME, sides: Q::SIDES, make: Box::new(make) }
}

/// One pushes, one pops.
#[must_use]
pub fn one_way<const N: usize, Q: Queue<N>>() -> Subject {
    one_way_in::<N, Q>(slots::<N>())
}

/// One pushes, one pops, with room for so many.
#[must_use]
pub fn one_way_in<const N: usize, Q: Queue<N>>(capacity: usize) -> Subject {
    subject::<N, Q>(move || {
        let queue = Arc::new(Q::of(capacity));
        let other = Arc::clone(&queue);
        singles(
            move || {
                let mut end = Q::pusher(&queue);
                move |message| Q::push(&mut end, message, Idle::Spins)
            },
            move || {
                let mut end = Q::popper(&other);
                move || Q::pop(&mut end, Idle::Spins)
            },
        )
    })
}

/// There through one queue, and back through another.
#[must_use]
pub fn there_and_back<const N: usize, Q: Queue<N>>(handover: Handover) -> Subject {
    subject::<N, Q>(move || {
        let pusher = |queue: &Arc<Q>| {
            let (queue, mut end) = (Arc::clone(queue), None);
            move |message| {
                Q::push(end.get_or_insert_with(|| Q::pusher(&queue)), message, Idle::Spins);
            }
        };
        let popper = |queue: &Arc<Q>| {
            let (queue, mut end) = (Arc::clone(queue), None);
            move || Q::pop(end.get_or_insert_with(|| Q::popper(&queue)), Idle::Spins)
        };
        let (there, back) = (Arc::new(Q::of(slots::<N>())), Arc::new(Q::of(slots::<N>())));
        round_trip(handover, pusher(&there), popper(&back), popper(&there), pusher(&back))
    })
}

/// So many threads push on the left side, and as many pop on the right one.
#[must_use]
pub fn crews<const N: usize, Q: Queue<N>>(each: usize) -> Subject {
    subject::<N, Q>(move || {
        let queue = Arc::new(Q::of(slots::<N>()));
        let other = Arc::clone(&queue);
        let mut pushers = Crew::new(each, move |member| {
            let (mut end, mut sent) = (Q::pusher(&queue), Sent::of(member));
            Box::new(move |count| {
                Ok(sent.each(count, |message| Q::push(&mut end, message, Idle::Yields)))
            })
        });
        let mut poppers = Crew::new(each, move |_| {
            let (mut end, mut received) = (Q::popper(&other), Mixed::new(each));
            Box::new(move |count| {
                received.with(|reader| {
                    for _ in 0..count {
                        reader.read(&Q::pop(&mut end, Idle::Yields));
                    }
                })
            })
        });
        Ends::agreeing(
            move |slice| pushers.work(slice.count),
            move |slice| poppers.work(slice.count),
        )
    })
}

/// Each of two pushes a message and pops one, his own or the other's, until the deadline.
#[must_use]
pub fn both<const N: usize, Q: Queue<N>>() -> Subject {
    subject::<N, Q>(|| {
        let queue = Arc::new(Q::of(slots::<N>()));
        Ends {
            left: pusher_and_popper::<N, Q>(0, Arc::clone(&queue)),
            right: pusher_and_popper::<N, Q>(1, queue),
            audit: Box::new(|left, right| match left.checksum.wrapping_add(right.checksum) {
                0 => Ok(()),
                _ => Err(Wrong("what was popped is not what was pushed".to_owned())),
            }),
        }
    })
}

/// Its checksum is what it has popped, less what it has pushed.
fn pusher_and_popper<const N: usize, Q: Queue<N>>(producer: usize, queue: Arc<Q>) -> Role {
    let (mut sent, mut received, mut ends) = (Sent::of(producer), Mixed::new(2), None);
    Box::new(move |slice: Slice| {
        let (pusher, popper) = ends.get_or_insert_with(|| (Q::pusher(&queue), Q::popper(&queue)));
        let mut popped = Ok(Done::default());
        let pushed = sent.with(|writer| {
            popped = received.with(|reader| {
                while sys::now() < slice.deadline {
                    // The clock costs as much as a few messages, so it is read once for several.
                    for _ in 0..32 {
                        Q::push(pusher, writer.message(), Idle::Spins);
                        reader.read(&Q::pop(popper, Idle::Spins));
                    }
                }
            });
        });
        let popped = popped?;
        Ok(Done { checksum: popped.checksum.wrapping_sub(pushed.checksum), ..popped })
    })
}
