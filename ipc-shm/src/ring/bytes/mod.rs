//! Records of any length, from one producer to one consumer: log lines, messages of a plugin, frames.
//!
//! A record is a tag, a number of yours, and 0 to [`max_record`](Ring::max_record) bytes. Each comes out whole and in
//! order; nothing is ever joined or split, as a pipe would.
//!
//! ```
//! use ipc_core::process::fork_fn;
//! use ipc_shm::ring::bytes::{PopWaitError, PushError, Ring};
//!
//! const WARNING: u32 = 1;
//! const ERROR: u32 = 2;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let ring = Ring::create(1 << 16)?; // 64 KiB of log lines on their way
//!     let mut child = fork_fn(|| {
//!         let mut log = ring.producer().expect("nobody else has this end");
//!         for (level, line) in [(WARNING, "disk is nearly full"), (ERROR, "disk is full")] {
//!             match log.push(level, line.as_bytes()) {
//!                 Ok(()) => {}
//!                 Err(PushError::Full) => {} // The reader is slow; this line is dropped.
//!                 Err(_) => return 1,
//!             }
//!         }
//!         0
//!     })?;
//!     let mut reader = ring.consumer()?;
//!     let (mut buffer, mut lines) = ([0; 1024], Vec::new());
//!     loop {
//!         match reader.pop_wait(&mut buffer) {
//!             Ok((level, len)) => lines.push((level, String::from_utf8(buffer[..len].to_vec())?)),
//!             Err(PopWaitError::Disconnected) => break, // The child has closed its end, or died.
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//!     let expected = [(WARNING, "disk is nearly full"), (ERROR, "disk is full")];
//!     assert!(lines.iter().map(|(level, line)| (*level, line.as_str())).eq(expected));
//!     assert!(child.wait()?.success());
//!     Ok(())
//! }
//! ```
//!
//! # Ways in and out
//!
//! | to write | what it does |
//! |---|---|
//! | [`push`](Producer::push) | copies one slice |
//! | [`push_vectored`](Producer::push_vectored) | copies several slices into one record |
//! | [`reserve`](Producer::reserve) | gives the room itself, to be written in place; the length is said at the end |
//!
//! | to read | what it does |
//! |---|---|
//! | [`pop`](Consumer::pop) | copies one record into a buffer |
//! | [`pop_vec`](Consumer::pop_vec) | copies one record into a new `Vec` |
//! | [`peek`](Consumer::peek) | gives the bytes where they lie, until they are released |
//! | [`batch`](Consumer::batch) | gives all records there are, one by one, and releases them by a single store |
//!
//! `push` and `pop` have forms that [wait](super#waiting), and [`Producer::wait`] and [`Consumer::wait`] wait before the others.
//!
//! An end that [does not trust](super#trust) its peer ([`untrusted_consumer`](Ring::untrusted_consumer)) copies: it has no
//! `reserve`, no `peek`, and of a batch only [copies](Batch::copy_next).
//!
//! # Where the records lie
//!
//! It is an [indexed](super::indexed) ring of words of 8 bytes. A record is one word of header (its size, its tag),
//! and as many words as its bytes need; the next one follows at once, so nothing marks a wrap, and a record may begin
//! at the end of the ring and go on at its start. Copies are then made in two parts, and places to read or write
//! are two slices.
//!
//! In a ring with a region of its own, of one page or more, they are always one: each handle maps the words twice in a
//! row, so that the end is followed by the start ([`is_contiguous`](Ring::is_contiguous)). That takes addresses, not
//! memory. It is a matter of each handle; the bytes in memory are the same, and a peer that sees two slices works with
//! one that sees one. The idea is old; the crate `cueue` shows it in Rust.
//!
//! # Who may touch what
//!
//! | words | belong to |
//! |---|---|
//! | from the consumer's position up to the producer's | the consumer: whole records, one after the other |
//! | from there up to the consumer's position one turn later | the producer: free, or a record that is being written |
//!
//! The producer writes header and bytes, in any order, and then stores its position behind the record (Release);
//! the consumer loads that (Acquire), reads, and stores its own position behind what it has read. So there is never a
//! part of a record between the two positions.
//!
//! | record | how it gets there | header | bytes |
//! |---|---|---|---|
//! | free | the ring is made, or the consumer passed it | anything | anything |
//! | being written | the producer writes | anything | anything |
//! | published | the producer stores its position | `8 + length`, tag | the message |
//! | being read | the consumer has loaded that position | as published | as published |
//!
//! The size in a header counts the header itself, so it is never less than 8: all-zero memory is no record, and a
//! punched hole reads as damage. A size that leads beyond the producer's position is damage as well, and is seen before
//! anything is read; an end reads a header once, and uses what it has checked. Damage is sticky: the handle answers [`Corrupt`](PopError::Corrupt) from then on.
//!
//! # Deaths
//!
//! Either side may be killed at any instruction. A process that then attaches in its place goes on where it stopped:
//!
//! | killed | left behind | then |
//! |---|---|---|
//! | producer, before it stores its position | a header without bytes, bytes without a header, or a part of either | nobody ever reads it; the next producer writes there |
//! | producer, afterwards | a whole record | is popped |
//! | producer, holding a [`Reservation`] | the same as the first | the same |
//! | consumer, before it stores its position | the records that it was about to release, copied or not | the next consumer gets them, all of them |
//! | consumer, afterwards | nothing | the records are gone with the process that was about to get them |
//! | either, while it claims its end | the role word of a dead process, or of nobody | the next one claims it |
//!
//! So no record is torn, out of order, or lost but the one of the call in which its reader was killed. A consumer that
//! is killed in the middle of a [`Batch`] has released none of it: the next one reads the batch from its first record.
//! Whoever handles records while they are in the batch, and releases them afterwards, handles each at least once; who
//! pops, at most once.

mod batch;
mod consumer;
mod error;
#[cfg(not(loom))]
mod fixed;
mod producer;
mod record;
mod reservation;
mod ring;
mod wait;
mod words;

#[cfg(not(loom))]
pub use batch::Record;
pub use batch::{Batch, Peek};
pub use consumer::Consumer;
pub use error::{PopError, PopWaitError, PushError, PushWaitError, TooLong};
#[cfg(not(loom))]
pub use fixed::FixedRing;
pub use producer::Producer;
pub use reservation::Reservation;
pub use ring::Ring;
#[cfg(not(loom))]
pub use ring::RingPlace;
