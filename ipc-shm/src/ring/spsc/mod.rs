//! One producer, one consumer, a sequence in every slot.
//!
//! Each slot carries the number of its message, so the consumer looks at nothing but the next slot,
//! and what travels from one processor to the other is the slots alone: a message with 56 bytes of
//! payload is one cache line. The way back is one word, which the consumer stores after each
//! message, and which the producer looks at only when the ring would be full if the consumer had
//! done nothing since the last look. The producer never reads a slot.
//!
//! The number in the slot is that of Vyukov's bounded queue and of Firedancer's `tango`; that
//! neither side spins on a shared index is the lesson of FastForward (Giacomoni, Moseley and
//! Vachharajani, PPoPP 2008), whose flag, however, both sides write: every slot then travels twice.
//! The producer's cached limit is that of `rtrb`.
//!
//! # Who may touch what
//!
//! The layout, and a table of whose a payload is, are in `layout.rs`. Positions are private to the
//! handles. A process that attaches finds the consumer's in the `head` word, and the producer's in
//! the slots: it is the largest sequence there, which only the producer changes.
//!
//! # Deaths
//!
//! Either side may be killed at any instruction. A process that then attaches in its place goes on
//! where it stopped:
//!
//! | killed | left behind | then |
//! |---|---|---|
//! | producer, before it stores the sequence | a half-written payload without a number | nobody ever reads it; the next producer writes there |
//! | producer, afterwards | a message | is popped |
//! | consumer, before it stores `head` | a message, copied or not | the next consumer gets it |
//! | consumer, afterwards | nothing | the message is gone with the process that was about to get it |
//! | either, while it claims its end | the role word of a dead process, or of nobody | the next one claims it |
//!
//! So nothing is torn, nothing is out of order, and each message is returned by at most one
//! [`pop`](Consumer::pop). Whoever needs each message *handled* at least once, although consumers
//! die while they handle it, needs an acknowledgement of his own.
//!
//! While one side is dead and not replaced, the other goes on until the ring is full or empty, and
//! is then told [`Disconnected`](crate::ring::PopError::Disconnected). No call waits for anything,
//! and none needs a system call, except that a side which finds nothing to do for long asks the
//! kernel whether its peer lives.
//!
//! # Forks
//!
//! A [`Ring`] may be used in forked children: one of them becomes the producer, another the
//! consumer. A [`Producer`] or [`Consumer`] belongs to the process that claimed it. Dropping a
//! forked copy does nothing to the ring; pushing or popping through one is a mistake that no fast
//! path can afford to notice, and mixes up the messages.

mod consumer;
mod cursor;
#[cfg(not(loom))]
mod fixed;
mod producer;
mod slots;

pub use consumer::Consumer;
#[cfg(not(loom))]
pub use fixed::FixedRing;
pub use producer::Producer;
pub use slots::Ring;
#[cfg(not(loom))]
pub use slots::RingPlace;
