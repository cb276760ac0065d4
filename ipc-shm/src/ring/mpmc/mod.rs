//! Many producers, many consumers, and any of them may be killed at any instruction.
//!
//! A slot says in one word whose it is: which lap it is on, what is being done to it, and by whom. A producer claims the next
//! slot by *naming itself* in that word, and so does a consumer. So there is no moment at which a slot is somebody's and
//! nobody can tell whose, which is what blocks other such rings for ever: in Vyukov's, a producer that dies between its
//! compare-exchange of the shared position and its store to the slot leaves a position that no consumer ever gets past, and a
//! consumer that dies likewise leaves a slot that no producer ever gets.
//!
//! # Who may touch what
//!
//! A position counts messages for ever; a slot is that of each `capacity`th, and `p` is the one that its word's lap means.
//!
//! | the word says | the payload belongs to | who changes the word, to what |
//! |---|---|---|
//! | free for `p` | nobody | a producer that comes for `p`: writing, by itself (compare-exchange) |
//! | writing `p` | the producer that it names | that one: ready (store) |
//! | writing `p`, by a dead one | nobody | any consumer: free for `p + capacity` (compare-exchange) |
//! | ready `p` | nobody | a consumer that comes for `p`: reading, by itself (compare-exchange) |
//! | reading `p` | the consumer that it names | that one: free for `p + capacity` (store) |
//! | reading `p`, by a dead one | nobody | any consumer: reading, by itself (compare-exchange) |
//!
//! Whoever claims `p` has seen that all positions before it are claimed, for he goes from one to the next. Claimed positions
//! have no gaps, so messages come out in the order in which their slots were claimed, and those of one producer in its order.
//! There are two positions, `tail` and `head`, from which everybody may begin: each is *at most* the first that
//! is not claimed. They are stored after the fact, plainly, and may go back. Nothing depends on them but how far one has to go.
//!
//! # Who is dead
//!
//! Each handle has a record with its process and a *generation*, and a slot names both: the number of the record, and the
//! generation. The owner of a slot is dead if the record is closed, has another generation, or is that of a process which the
//! kernel says is dead. A record of the dead is taken by whoever comes next, who gives it another generation before anything
//! else; from then on whatever its last owner had is a dead one's, and nobody need ask.
//!
//! A process that is *stopped* is not dead, and nothing is taken from it: see [below](#what-a-stopped-process-holds-up).
//!
//! # Where the messages of dead consumers are
//!
//! Producers claim at the end, and consumers come by there: a slot in which a producer has died is found by whoever wants to read it.
//! But a message that a consumer had claimed lies *behind* `head`, where nobody looks any more. So each consumer has a *trail* in
//! shared memory, the position that it is about to claim, noted before it claims it. Who finds nothing to read looks
//! where the trails end: a message that somebody had claimed and not released is there, and nowhere else, for nobody has two.
//!
//! Who polls looks there now and then, as it asks the kernel, and who waits before each sleep and at the end of each
//! slice. An end that was closed with a lease says so in its record, and this is looked at each time. Whoever has asked after somebody
//! and found him dead closes the record in his stead, and says the same there: so each of the dead is asked after once.
//!
//! # Deaths
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | a producer, before its claim | nothing | |
//! | a producer, from the claim on, before it stores *ready* | a slot that says *writing* | a consumer that comes there frees it: nothing was pushed |
//! | a producer, afterwards | a message | is popped |
//! | a consumer, before its claim | a trail to where it has nothing | nobody finds anything there |
//! | a consumer, from the claim on, before it stores *free* | a message that is claimed, and its trail to it | a consumer that finds nothing else claims it |
//! | a consumer, afterwards | nothing | the message is gone with it; or it was done, if it was a [lease](Consumer::lease) |
//! | anybody, before it stores `tail` or `head` | one that is too small | others go on from slot to slot, and store theirs |
//! | anybody, having freed or filled a slot, before it has woken anybody | | whoever sleeps looks at the end of its slice, 64 ms |
//! | whoever repairs, before its compare-exchange | what was there | others do it |
//! | whoever repairs, afterwards | what it had claimed itself, with a trail of its own to it; or nothing | as above |
//! | whoever says that another is dead, before it has closed the record | a note that there may be a message | others ask, too |
//! | whoever takes a record, before the new generation | a record of a dead process, with the old generation | the next one takes it |
//! | an heir, before it has looked where its record's trail ends | the trail, to where it was | others find it, or the next heir |
//!
//! Each repair is one compare-exchange of a word that names a dead owner, and of two who try one succeeds. To do it twice is to
//! find another word there. No repair frees a slot for the *same* position: who had seen that this is claimed has gone on, and
//! would be overtaken.
//!
//! So a death costs the operation in flight of the one that died, and nothing else. What it had claimed comes to another
//! consumer *later* than what was behind it.
//!
//! # What a stopped process holds up
//!
//! | stopped | others |
//! |---|---|
//! | with a slot that it writes | pop what is before it, and then find nothing: messages have an order. They push until the ring is full |
//! | with a message that it reads, or has leased | pop everything else, and push until they come to its slot again |
//!
//! A lease that is forgotten ([`core::mem::forget`]) is one that was dropped: the consumer's next call gives the message again. A
//! process in another pid namespace cannot be judged, and is taken for stopped.
//!
//! # Forks
//!
//! A handle that a forked child uses takes a place of its own at the ring first: see [`Producer`].
//!
//! # What this costs
//!
//! A compare-exchange on a line that the other side must fetch anyway, instead of one on a position that all share; and a few
//! loads, to see that this is the process that has the record. It has not been measured beside other rings yet.
//!
//! Claiming in the slot is how Tsigas and Zhang's queue does it (SPAA 2001), without owners; the names, and what follows from
//! them, are from robust mutexes.
//!
//! # What has been shown
//!
//! The protocol: by an exhaustive model with two kills (`tests/mpmc_protocol`), in which each rule that is broken shows. This code:
//! by the tests that all rings pass; with a process killed at every instruction, in pairs, and beside one that is frozen, alive
//! (`tests/stepkill_mpmc.rs`); with one of eight killed every few milliseconds (`tests/mpmc_processes`); and by peers that write
//! anything at any moment (`tests/hostile`). Not yet by loom.

mod batch;
mod consumer;
#[cfg(not(loom))]
mod fixed;
mod lease;
mod member;
mod producer;
mod ring;
mod table;
mod wait;
mod word;

pub use consumer::Consumer;
#[cfg(not(loom))]
pub use fixed::FixedRing;
pub use lease::Lease;
pub use producer::Producer;
pub use ring::Ring;
#[cfg(not(loom))]
pub use ring::RingPlace;
pub use table::Peers;
