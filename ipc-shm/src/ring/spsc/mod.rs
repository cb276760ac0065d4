//! One producer, one consumer, a sequence in every slot.
//!
//! Each slot says itself whether it holds a message, and of which lap. Neither side ever reads the
//! other's position, so nothing but the slots travels between the two processors: a message with 56 bytes of payload
//! is one cache line. The flag in the slot is FastForward's (Giacomoni, Moseley and Vachharajani,
//! PPoPP 2008); ours is a sequence as in Vyukov's bounded queue, from which a restarted process reads
//! its position, and any capacity is possible.
//!
//! # Who may touch what
//!
//! The slot word is described in `layout.rs`.
//!
//! | word of a slot | payload belongs to | killed in this state |
//! |---|---|---|
//! | `2 x lap` | the producer, when it comes to this lap | a half-written payload: nobody ever reads it |
//! | `2 x lap + 1` | the consumer, when it comes to this lap | copied or not: the next consumer gets it |
//!
//! No process but the two owners of the roles touches slots at all. Their positions are private, and are found
//! again from the slots: the producer's next lap in a slot is `(word + 1) / 2`, which the consumer never changes,
//! and the consumer's is `word / 2`, which the producer never changes. Each is the smallest at exactly one
//! slot or equal in all, and that is where the owner stopped.
//!
//! # Deaths
//!
//! Either side may be killed at any instruction. A process that then attaches in its place goes on where it stopped:
//!
//! * A producer killed inside [`push`](Producer::push) has pushed its message or it has not. Nothing is torn.
//! * A consumer killed inside [`pop`](Consumer::pop) has released its slot or it has not. If not, the next consumer gets the
//!   message. If so, the message is gone with the process that was about to get it. Each message is
//!   returned by at most one `pop`.
//!
//! While one side is dead and not replaced, the other goes on until the ring is full or empty, and is then told
//! [`Disconnected`](crate::ring::PopError::Disconnected). No call waits for anything, and none needs a system call,
//! except that a side which finds nothing to do for long asks the kernel whether its peer lives.
//!
//! # Forks
//!
//! A [`Ring`] may be used in forked children: one of them becomes the producer, another the consumer. A [`Producer`] or
//! [`Consumer`] belongs to the process that claimed it: in a forked copy, pushing and popping is refused,
//! and dropping does nothing.

mod consumer;
mod cursor;
mod producer;
mod slots;

pub use consumer::Consumer;
pub use producer::Producer;
pub use slots::Ring;
#[cfg(not(loom))]
pub use slots::RingPlace;
