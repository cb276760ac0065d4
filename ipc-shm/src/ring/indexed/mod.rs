//! One producer, one consumer, and two positions: for batches, and for messages that are written and read where
//! they lie.
//!
//! The slots hold messages and nothing else, one directly after the other, so a batch is one copy, or none:
//! [`reserve`](Producer::reserve) and [`peek`](Consumer::peek) give out the slots themselves. One store of a
//! position hands over a whole batch.
//!
//! That is Lamport's queue (*Specifying Concurrent Program Modules*, TOPLAS 1983) as today's implementations have
//! it: each position on cache lines of its own, and a copy of the peer's in the private handle, which is renewed
//! only when it is not enough. Here each side keeps its *own* position privately as well, and what it reads of the
//! peer's is checked before it is used. The capacity is a power of two, so that positions may wrap around at 2^64.
//!
//! # Who may touch what
//!
//! | | changed by | when |
//! |---|---|---|
//! | `tail` | the producer | after it has written the messages before it |
//! | `head` | the consumer | after it has read the messages before it |
//! | slots from `head` to `tail` | nobody; the consumer reads them | |
//! | all other slots | the producer | |
//!
//! Positions only grow, and `tail` is ahead of `head` by the capacity at most. A peer's position that moved back, or
//! past what the ring can hold, is damage. It is reported as `Corrupt`, and this handle does nothing any more.
//!
//! # Deaths
//!
//! Either side may be killed at any instruction. A process that then attaches in its place reads the position that
//! the dead one has left, and goes on from there:
//!
//! | killed | left behind | then |
//! |---|---|---|
//! | producer, before it stores `tail` | messages without a number, some half-written | nobody ever reads them; the next producer writes there |
//! | producer, afterwards | a message, or the whole batch | is popped |
//! | consumer, before it stores `head` | the message or the whole batch, copied or not | the next consumer gets it |
//! | consumer, afterwards | nothing | what it was about to get is gone with it |
//! | either, while it claims its end | the role word of a dead process, or of nobody | the next one claims it |
//!
//! So a batch comes entirely or not at all: [`push_slice`](Producer::push_slice) publishes all that it takes at
//! once, and [`pop_slice`](Consumer::pop_slice) releases all that it returns at once. In the
//! [stamped](super::spsc) ring each message is published and released by itself. Nothing is torn or out of order, and
//! each message is returned by at most one `pop`. With [`peek`](Consumer::peek) a consumer may handle messages
//! *before* it releases them: then each is handled at least once, whoever dies.
//!
//! While one side is dead and not replaced, the other goes on until the ring is full or empty, and is then told
//! [`Disconnected`](crate::ring::PopError::Disconnected). What [`spsc`](super::spsc) says of forks holds here, too.
//!
//! # What the memory does not tell
//!
//! A slot has no number of its own. If somebody who has the descriptor punches a hole into the file
//! (which seals do not prevent), or writes there, zeros in the *positions* are found as damage, or are an empty
//! ring to one who attaches; zeros in a *message* look like a message. The stamped ring tells those, too.

mod batch;
mod consumer;
pub(super) mod end;
#[cfg(not(loom))]
mod fixed;
mod producer;
mod ring;
mod wait;

pub use batch::{Chunk, Reservation};
pub use consumer::Consumer;
#[cfg(not(loom))]
pub use fixed::FixedRing;
pub use producer::Producer;
pub use ring::Ring;
#[cfg(not(loom))]
pub use ring::RingPlace;
