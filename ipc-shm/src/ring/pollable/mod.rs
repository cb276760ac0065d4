//! Rings in an event loop: an end as a descriptor that can be polled, beside connections, timers and children.
//!
//! A ring becomes pollable by a pair of [`Sockets`], one for each side, which every process gets together with the ring. Each
//! end works as before, and can be made a [`Pollable`] one, which is a descriptor for `poll`, `epoll`, or the reactor of an async
//! runtime. Before a loop goes to sleep, it *arms* the end:
//!
//! ```
//! use ipc_core::process::fork_fn;
//! use ipc_shm::ring::PopError;
//! use ipc_shm::ring::pollable::{Pollable, Sockets};
//! use ipc_shm::ring::spsc::Ring;
//! use rustix::event::{PollFd, PollFlags, poll};
//!
//! let ring = Ring::<u64>::create(4)?.with_sockets(Sockets::pair()?);
//! let mut child = fork_fn(|| {
//!     let mut producer = ring.producer().expect("nobody else has this end");
//!     (0..1000).for_each(|number| producer.push_wait(number).expect("the consumer lives"));
//!     0
//! })?;
//!
//! let mut consumer = Pollable::new(ring.consumer()?)?;
//! let mut expected = 0..1000;
//! loop {
//!     match consumer.pop() {
//!         Ok(number) => assert_eq!(Some(number), expected.next()),
//!         Err(PopError::Disconnected) => break, // Closed, or killed.
//!         Err(PopError::Empty) => {
//!             // Zero if there is something by now; for ever, as a rule, if not.
//!             let timeout = consumer.arm()?.timeout();
//!             let timeout = timeout.map(|timeout| timeout.try_into().expect("it is short"));
//!             poll(&mut [PollFd::new(&consumer, PollFlags::IN) /*, and all the others */], timeout.as_ref())?;
//!         }
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! assert_eq!(expected.next(), None);
//! # assert!(child.wait()?.success());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! There is an example with tokio's `AsyncFd`, `event_loop`. There is no `Future` here: without a thread nobody could call
//! its waker.
//!
//! | | |
//! |---|---|
//! | [`arm`](Pollable::arm) says [`Ready`](Armed::Ready) | do not sleep: push or pop, which also says what is wrong if something is |
//! | it says [`Sleep`](Armed::Sleep) | the descriptor becomes readable when there is a message (or room), when the other side closes its end, and when it dies |
//! | it says [`SleepBriefly`](Armed::SleepBriefly) | as a rule; but something may happen that it does not tell. Arm again after 64 ms |
//! | the descriptor is readable | push or pop until there is nothing left to do, then arm again. It may have been for nothing |
//!
//! Only reading: a producer that waits for room waits until its descriptor is *readable*, too. Either side may poll while the other
//! one polls, [sleeps](super#waiting), or asks again and again, and may do one after the other.
//!
//! # How it works
//!
//! It is the protocol of the [sleeping](super#waiting) waits, with a byte that comes by a socket instead of a wake-up. Who publishes looks
//! at the same event count as ever, so `push` and `pop` have not one instruction more; what follows comes only if somebody has
//! announced that he may sleep.
//!
//! | step of who arms | step of who publishes |
//! |---|---|
//! | 1. takes what bytes there are out of its socket | 1. stores the sequence or position (Release) |
//! | 2. looks: is something there? | 2. loads the event count: awaited? Else it is done |
//! | 3. sets its bit beside the event counts | 3. revokes all announcements, by the kernel |
//! | 4. announces itself in the event count | 4. takes the bit back |
//! | 5. a barrier, which counts for the other side as well | 5. only if that was set: sends a byte |
//! | 6. looks who has the other end, and watches that process | |
//! | 7. looks again: is something there? Then takes the bit back | |
//!
//! The bit comes before the announcement and is taken back after all announcements were revoked, so an announcement that is
//! revoked is always one of whose bit is seen in step 4. The other way round a publisher that comes late, with a message
//! that is long gone, could revoke an announcement just made, and the next one would tell nobody.
//!
//! Who claims or closes an end sends a byte in any case. So whoever sleeps has been told of the owner whose death it is to be told,
//! or will be. It revokes nothing by that: whoever closes an end may be late with telling of it, when somebody else has taken
//! the end and sleeps, and is none whose death anybody watches any more. It wakes who sleeps in a wait, and leaves it to the
//! next who publishes to look at the bit.
//!
//! The descriptor is an `epoll` of two others: the socket, and a pidfd of the process that has the other end. Death is
//! told by the kernel, and at once.
//!
//! # What a death leaves behind
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | arming, before step 3 | nothing | |
//! | arming, afterwards; or asleep | a bit and an announcement of nobody | who publishes next makes a futile system call or three |
//! | told, before it takes what is there | a byte in the socket, maybe | whoever attaches in its place is told for nothing |
//! | publishing, before step 5 is done | a message that nobody is told of | it is dead, which its pidfd tells, and the message is found |
//! | having closed its end, before it told | the same | the same |
//! | having claimed an end that was dead | a role word of the dead | who slept was told of the first death already |
//! | having claimed an end that nobody had had, before it told | a role word that nobody is told of | as if it had not come: who sleeps waits for the next one |
//!
//! # What is not told
//!
//! [`SleepBriefly`](Armed::SleepBriefly) is for the cases in which a sleeper, too, would rely on its slices:
//!
//! * The other end belongs to a process whose death this one cannot be told: one of [another pid
//!   namespace](super::Peer::Unknown), or there is no pidfd to be had (`RLIMIT_NOFILE`, `fs.epoll.max_user_watches`, a sandbox).
//! * The kernel has no [barrier](super#waiting) for both sides, or a sandbox refuses it. Until the other side has heard of
//!   that, a message may not be told.
//!
//! And if the kernel has no memory for the byte of a message, that is told with the next one.
//!
//! Where each process has the socket of its own side only, the end of the other one is also seen by that: once nobody has the
//! other socket, the descriptor is readable, and `arm` says [`HungUp`](ArmError::HungUp).
//!
//! # Why not an eventfd
//!
//! An `eventfd` seems made for this, and blocks. It has no call that does not wait where its file does, and that is a flag that
//! all who share it can clear. A peer that clears it and fills the counter has the next `push` hang; `push` never
//! waits, whoever the peer is. On a socket each call says for itself that it does not wait, and each side has one of its own.
//!
//! # Trust
//!
//! To an [untrusting](super#trust) end the other side can do here what it can do anyway: tell for nothing, and
//! not tell. It costs an iteration of the loop, or a sleep; so there should be a deadline. To keep it at that, make the
//! sockets yourself, and give each side its own only: whoever has yours can read it empty, or hold it up. See
//! [`Sockets`].

mod end;
#[cfg(not(loom))]
pub(super) mod line;
#[cfg(loom)]
#[path = "model.rs"]
pub(super) mod line;

pub use end::{ArmError, Armed, End, Pollable, PollableError};
pub(super) use end::{Arms, arm};
pub use line::Sockets;
