//! Rings: bounded queues of plain data, in shared memory.
//!
//! `push` and `pop` answer at once, for sides that poll. A loop around one looks at the answer, for
//! only [`Full`](PushError::Full) and [`Empty`](PopError::Empty) go away by themselves; a loop that goes on while
//! there is any error never ends when the peer is gone.
//!
//! # Which ring
//!
//! | | [`spsc`] (stamped) | [`indexed`] | [`bytes`] | [`mpmc`] |
//! |---|---|---|---|---|
//! | a message is | one value of plain data | one value of plain data | a record: bytes of any length, and a tag | one value of plain data |
//! | best at | one message at a time: it costs one cache line of up to 56 bytes, and nothing else is shared | batches, by one store each; messages written and read where they lie | what has no fixed size | several producers, several consumers |
//! | capacity | any number of messages | a power of two | a power of two, in bytes | a power of two |
//! | what a killed `push_slice` leaves | a prefix, published one by one | all that it took, or nothing | (a push) the whole record, or nothing | a prefix, published one by one |
//! | what a killed `pop_slice` leaves | the rest; what was copied is gone | all of it, for the next consumer, or nothing | (a batch) all of it, for the next consumer | the rest; what was copied is gone |
//! | handled at least once, whatever dies | no: `pop` releases first | with `peek`, and `release` when it is done | with `peek` or `batch`, likewise | with `lease`, and `release` when it is done |
//! | a message of many KiB | `push_slice` and `pop_slice` of one: one copy each, where by value the compiler makes two or three | the same, or in place: no copy | in place | `push_slice` of one; `lease`: in place |
//! | damage that shows | in each slot | in the positions | in the positions and the headers | in each slot |
//!
//! Start with [`spsc`]. Where the producer has several messages at once, or they are large and made in place:
//!
//! ```
//! use ipc_shm::ring::{PopError, indexed::Ring};
//!
//! type Sample = [f32; 256];
//!
//! let ring = Ring::<Sample>::create(64)?;
//! let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
//!
//! // The slots themselves are filled: no copy of a kilobyte each.
//! let mut slots = producer.reserve(8)?;
//! let (first, second) = slots.as_mut_slices(); // Two, because the ring may end in between.
//! first.iter_mut().chain(second).for_each(|sample| sample.fill(0.5));
//! let count = slots.len();
//! slots.commit(count);
//!
//! // They stay in the ring until they have been handled: if this process dies before, another gets them again.
//! let mut sum = 0.0;
//! loop {
//!     match consumer.peek(4) {
//!         Ok(samples) => {
//!             let (first, second) = samples.as_slices();
//!             sum += first.iter().chain(second).flatten().sum::<f32>();
//!             let count = samples.len();
//!             samples.release(count);
//!         }
//!         Err(PopError::Empty) => break,
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! assert_eq!(sum, 8.0 * 128.0);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Waiting
//!
//! `push_wait` and `pop_wait` wait instead of saying `Full` and `Empty`; `_timeout` and `_deadline` do so until their time is
//! over, and [a signal](ipc_sync#signals) ends `_interruptible`. `wait`, where there is something to borrow, waits for no more than
//! that. Each end may use all of these in turn, and one side may wait while the other polls.
//!
//! They spin for as long as experience says that it may pay, some 25 µs at most, and then sleep on a futex, in slices of 5 ms
//! at first and of 64 ms at last. So:
//!
//! | what happens | a sleeper |
//! |---|---|
//! | the other side pushes, or makes room | is woken by it: `push` and `pop` make one or two system calls then, and else none |
//! | it closes its end | is woken, and told `Disconnected` when nothing is left |
//! | it dies | finds that out at the end of a slice: within 64 ms after the kernel knows |
//! | it dies after a push, before it has woken anybody | finds the message at the end of a slice |
//! | another process takes its end over | is woken, and waits on |
//! | it has not come yet, or is stopped | sleeps on |
//! | a process of another pid namespace has had an end | sleeps on even if the other side dies: nobody can tell. Give a deadline |
//!
//! Who pushes looks whether somebody sleeps, after each message (after each batch of an indexed ring, once). That is a load
//! from a line that nobody writes while nobody sleeps, and no fence: the barrier that this needs is the sleeper's, who
//! has the kernel execute it for both (`membarrier`, Linux 4.16). Taking an end registers the process for
//! that: 4 µs, and some milliseconds once in a process of several threads. Where a sandbox refuses, the sides fence, which costs
//! each push and pop about 5 ns.
//!
//! Nobody need sleep in here: in a program with an event loop an end is a descriptor, see [`pollable`].
//!
//! # Trust
//!
//! Each side chooses by the end that it takes whether it trusts the other one, as a type: [`Trusted`] (`ring.producer()`)
//! or [`Untrusted`] (`ring.untrusted_producer()`). The memory is the same, so one side can be trusting and the other not.
//!
//! | the other process | [`Trusted`] | [`Untrusted`] |
//! |---|---|---|
//! | may be killed at any instruction, or stopped | yes | yes |
//! | may have left any bytes in a payload | yes | yes |
//! | may write anything, anywhere in the ring's memory, at any time, also between two instructions of a call | no | yes |
//! | may punch holes into it, or grow and shrink it as far as the seals let it | no | yes |
//! | may be borrowed from | where the ring has calls for it | never |
//!
//! To an untrusting end the ring's memory is bytes from a stranger. Whatever they are, and whenever they change:
//!
//! * a call makes no access outside of the ring, runs into no signal and no panic, and ends after a number of instructions
//!   that its own arguments bound (taking an end: the ring's capacity as well);
//! * it yields a message, or `Full`, `Empty`, `Disconnected`, or `Corrupt`; once an end has said `Corrupt`, it
//!   says so for ever;
//! * what it yields has been copied, each byte once, before anything looks at it: it does not change any more. A
//!   word that decides something is read once, checked, and the checked copy is used;
//! * where it stands, and how large the ring is, is private to it: nothing that others write can move it.
//!
//! It is the *memory* of the process that is protected, and its control flow. What is not promised:
//!
//! * **Messages.** A peer that can push can push anything, and one that writes to the memory can change, repeat, drop or
//!   reorder what is in flight. A payload that it changes during the copy is a mixture. Check what
//!   you get, as you would check what comes by a socket.
//! * **Progress.** A peer can stop, fill the ring, or damage it: it can always deny service on a channel that it is an end of.
//!   It costs the other side an answer. Whoever waits for it should have a deadline.
//! * **Who the peer is, and whether it lives.** The words that say so lie in the same memory. The peer can write the id
//!   of any process there, or that the end is vacant, so `peer()` is hearsay, `Disconnected` too, and a third process that has the
//!   region may be let in twice. Whom you have given the region to is known from how you gave it: keep its pidfd.
//! * **Memory and time.** Whoever makes a region says how large its ring is, and may leave holes in it, or punch some. To look
//!   through them fills them, on the account of who looks: where its cgroup is full, or memory is not overcommitted, that ends
//!   it. Make the ring yourself, or ask for its `capacity()` before you take an end.
//! * **Several peers.** Whoever has the region has all of it. Give each untrusted peer a region of its own.
//!
//! Untrusting ends exist of rings in regions, for their memory is sealed: no peer can take it away, which would be a SIGBUS at
//! the next access; and of rings on the heap, which only this process has. A ring at a reference
//! ([`FixedRing`](spsc::FixedRing)) may lie in a file that somebody truncates, so there the answer is
//! [`RoleError::NotSealed`].
//!
//! What the copies cost says `cargo bench`.

pub mod bytes;
#[cfg(not(loom))]
mod copy;
mod error;
pub(crate) mod home;
pub mod indexed;
pub mod mpmc;
pub mod pollable;
mod role;
pub mod spsc;
mod trust;
mod waiting;

pub use error::{PopError, PopWaitError, PushError, PushWaitError, RingError, RoleError};
pub use role::Peer;
#[cfg(not(loom))]
pub(crate) use role::Role;
pub use trust::{Trust, Trusted, Untrusted};
