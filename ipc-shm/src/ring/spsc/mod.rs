//! One producer, one consumer, a sequence in every slot.
//!
//! Each slot says itself whether it holds a message, and of which lap. Neither side ever reads the
//! other's position, so nothing but the slots travels between the two processors: a message with
//! 56 bytes of payload is one cache line.
//!
//! That is FastForward's idea (Giacomoni, Moseley and Vachharajani, PPoPP 2008). Its flag is a
//! sequence here, as in Vyukov's bounded queue, from which a process that attaches reads its
//! position, and with which damage shows. Any capacity is possible.
//!
//! # Who may touch what
//!
//! | sequence of a slot | its payload belongs to |
//! |---|---|
//! | `2 x lap` | the producer, when it comes to this lap |
//! | `2 x lap + 1` | the consumer, when it comes to this lap |
//!
//! No process but the two owners of the roles touches slots at all. Their positions are private,
//! and are found again from the slots: the producer's next lap in a slot is `(sequence + 1) / 2`,
//! which the consumer never changes, and the consumer's is `sequence / 2`, which the producer never
//! changes. Up to the position all slots are one lap ahead of those from there on.
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
//! | consumer, before it stores the sequence | a message, copied or not | the next consumer gets it |
//! | consumer, afterwards | nothing | the message is gone with the process that was about to get it |
//! | either, while it claims its end | the role word of a dead process, or of nobody | the next one claims it |
//!
//! So nothing is torn, nothing is out of order, and each message is returned by at most one
//! [`pop`](Consumer::pop). The batches, [`push_slice`](Producer::push_slice) and
//! [`pop_slice`](Consumer::pop_slice), are as many single ones: a death in the middle leaves a prefix done. Whoever needs
//! each message *handled* at least once, although consumers die while they handle it, needs an acknowledgement of his own,
//! or the [indexed](crate::ring::indexed) ring's `peek`.
//!
//! While one side is dead and not replaced, the other goes on until the ring is full or empty, and
//! is then told [`Disconnected`](crate::ring::PopError::Disconnected). `push` and `pop` wait for nothing and make no
//! system call, except to wake a sleeper, and to ask the kernel now and then whether the peer lives, where there was
//! nothing to do for long. The calls named `_wait`, `_timeout`, `_deadline` and `_interruptible` [wait](crate::ring#waiting).
//!
//! # Forks
//!
//! A [`Ring`] may be used in forked children: one of them becomes the producer, another the
//! consumer. A [`Producer`] or [`Consumer`] belongs to the process that claimed it. Dropping a
//! forked copy does nothing to the ring; pushing or popping through one is a mistake that no fast
//! path can afford to notice, and mixes up the messages.
//!
//! A process that executes another program (`exec`), or forgets a handle, has its end until the
//! process ends: for the others it lives, and neither they nor the new program get the end.

mod batch;
mod consumer;
mod cursor;
#[cfg(not(loom))]
mod fixed;
mod producer;
mod slots;
mod wait;

pub use consumer::Consumer;
#[cfg(not(loom))]
pub use fixed::FixedRing;
pub use producer::Producer;
pub use slots::Ring;
#[cfg(not(loom))]
pub use slots::RingPlace;
