//! How many machine instructions the fast paths are, beside what they may be.
//!
//! The counts are exact. Each is what the compiler made of the path in the release build of
//! [`main`], so another compiler, or another way to use the result, may give one or two more: the
//! limits leave a tenth. A path that outgrew its limit got slower for a reason that somebody should
//! know before the limit is raised.
//!
//! # Safety
//!
//! Locks that the kernel is told of lie in memory that is never given back.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use std::process::ExitCode;

use bytemuck::{Pod, Zeroable};
use ipc_benches::peers::locks::Lock;
use ipc_benches::sys::place;
use ipc_core::identity::ProcessId;
use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
use ipc_shm::ring::{RoleError, Trust, bytes, indexed};
use ipc_sync::{
    BoundedSemaphore, Condvar, CountingSemaphore, Event, EventCount, Mutex, Once, ReentrantMutex,
    RwLock, Semaphore,
};
use ipc_testkit::instructions::{self, Counter};

fn main() -> ExitCode {
    instructions::main(|counter| {
        identity(counter);
        let ready = |lock: &'static Mutex<u64>| {
            // It asks for what is asked for once.
            pair(lock);
            lock
        };
        let in_region = || ready(<Mutex<u64> as Lock>::placed());
        counter.at_most("Mutex pair in a region", 132, in_region, |lock| pair(lock));
        let anywhere = || ready(place(Mutex::new(0)));
        counter.at_most("Mutex pair anywhere", 95, anywhere, |lock| pair(lock));
        locks(counter);
        ring::<1>(counter, [("spsc push 8 B", 24), ("spsc pop 8 B", 26)]);
        ring::<7>(counter, [("spsc push 56 B", 35), ("spsc pop 56 B", 42)]);
        ring::<8>(counter, [("spsc push 64 B", 35), ("spsc pop 64 B", 42)]);
        untrusted::<7>(
            counter,
            [("untrusted spsc push 56 B", 45), ("untrusted spsc pop 56 B", 48)],
        );
        untrusted::<8>(
            counter,
            [("untrusted spsc push 64 B", 55), ("untrusted spsc pop 64 B", 55)],
        );
        indexed_ring::<1>(counter, [("indexed push 8 B", 22), ("indexed pop 8 B", 21)]);
        indexed_ring::<8>(counter, [("indexed push 64 B", 34), ("indexed pop 64 B", 38)]);
        indexed_batches(counter);
        records(counter);
    })
}

/// Who this process is costs twice as much as a plain load, at most.
fn identity(counter: &mut Counter) {
    static WORD: AtomicU64 = AtomicU64::new(1);
    let load = counter.at_most(
        "plain load",
        4,
        || (),
        |()| {
            black_box(WORD.load(Ordering::Relaxed));
        },
    );
    let known = || ProcessId::current().expect("an identity");
    counter.at_most("ProcessId::current", 2 * load.unwrap_or(0), known, |_| {
        black_box(ProcessId::current().map_or(0, ProcessId::to_bits));
    });
}

/// What the other primitives cost when nobody waits.
fn locks(counter: &mut Counter) {
    let after = |first: &dyn Fn()| first();
    let semaphore: &Semaphore = place(Semaphore::new(1));
    let lend = || {
        semaphore.acquire().expect("a permit");
        semaphore.release().expect("one permit");
    };
    counter.at_most("Semaphore pair", 55, || after(&lend), |()| lend());
    let counting = place(CountingSemaphore::new(1, 1));
    let lend = || {
        counting.acquire().expect("a permit");
        counting.release().expect("it was taken");
    };
    counter.at_most("CountingSemaphore pair", 67, || after(&lend), |()| lend());
    // SAFETY: what was placed is never given back.
    let bounded = place(unsafe { BoundedSemaphore::<4>::in_region() });
    let lend = || drop(bounded.acquire().expect("a permit"));
    counter.at_most("BoundedSemaphore pair in a region", 164, || after(&lend), |()| lend());
    // SAFETY: likewise.
    let table = place(unsafe { RwLock::<u64, 16>::in_region(0) });
    let read = || {
        black_box(*table.read().expect("nobody died with it"));
    };
    counter.at_most("RwLock read pair in a region", 107, || after(&read), |()| read());
    let write = || *table.write().expect("nobody died with it") += 1;
    counter.at_most("RwLock write pair in a region", 214, || after(&write), |()| write());
    // SAFETY: likewise.
    let reentrant = place(unsafe { ReentrantMutex::in_region(0_u64) });
    let lock = || {
        black_box(*reentrant.lock().expect("nobody died with it"));
    };
    counter.at_most("ReentrantMutex pair in a region", 283, || after(&lock), |()| lock());
    let event = place(Event::new());
    counter.at_most("Event::set, set already", 13, || event.set(), |()| event.set());
    counter.at_most("Event::wait, set", 5, || event.set(), |()| event.wait().expect("set"));
    let condvar = place(Condvar::new());
    counter.at_most("Condvar::notify_one", 4, || (), |()| condvar.notify_one());
    let count = place(EventCount::new());
    counter.at_most("EventCount::notify_one", 5, || (), |()| count.notify_one());
    let once = place(Once::new());
    let call = || once.call_once(|_| {}).expect("nobody died in it");
    counter.at_most("Once::call_once, completed", 6, || after(&call), |()| call());
}

/// Lock, count, unlock.
#[inline]
fn pair(lock: &'static Mutex<u64>) {
    *lock.lock().expect("nobody died with it") += 1;
}

/// A message into a ring that holds one, and one out of it.
fn ring<const N: usize>(counter: &mut Counter, limits: [(&str, u64); 2])
where
    [u64; N]: Pod,
{
    let ends = |ring: &Ring<'static, [u64; N]>| (ring.producer(), ring.consumer());
    messages(counter, limits, ends);
}

fn untrusted<const N: usize>(counter: &mut Counter, limits: [(&str, u64); 2])
where
    [u64; N]: Pod,
{
    let ends =
        |ring: &Ring<'static, [u64; N]>| (ring.untrusted_producer(), ring.untrusted_consumer());
    messages(counter, limits, ends);
}

type Claimed<T, M> =
    (Result<Producer<'static, T, M>, RoleError>, Result<Consumer<'static, T, M>, RoleError>);

fn messages<const N: usize, M: Trust>(
    counter: &mut Counter,
    [push, pop]: [(&str, u64); 2],
    claim: impl Fn(&Ring<'static, [u64; N]>) -> Claimed<[u64; N], M>,
) where
    [u64; N]: Pod,
{
    let make = || {
        let (producer, consumer) = claim(&Ring::create(64).expect("a ring"));
        let mut ends = (producer.expect("an end"), consumer.expect("an end"));
        let message = <[u64; N]>::zeroed();
        for _ in 0..2 {
            ends.0.push(message).expect("room");
        }
        ends.1.pop().expect("a message");
        ends
    };
    counter.at_most(push.0, push.1, make, |(producer, _)| {
        assert!(producer.push(black_box([1; N])).is_ok());
    });
    counter.at_most(pop.0, pop.1, make, |(_, consumer)| {
        black_box(consumer.pop().expect("a message"));
    });
}

/// As [`messages`], with positions.
fn indexed_ring<const N: usize>(counter: &mut Counter, [push, pop]: [(&str, u64); 2])
where
    [u64; N]: Pod,
{
    let make = || filled::<[u64; N]>(&[[0; N]; 3]);
    counter.at_most(push.0, push.1, make, |(producer, _)| {
        assert!(producer.push(black_box([1; N])).is_ok());
    });
    counter.at_most(pop.0, pop.1, make, |(_, consumer)| {
        black_box(consumer.pop().expect("a message"));
    });
}

type Indexed<T> = (indexed::Producer<'static, T>, indexed::Consumer<'static, T>);

/// The ends of an indexed ring through which one message has gone, and which holds the others.
fn filled<T: Pod + Send>(messages: &[T]) -> Indexed<T> {
    let ring = indexed::Ring::<T>::create(256).expect("a ring");
    let mut ends = (ring.producer().expect("an end"), ring.consumer().expect("an end"));
    assert_eq!(ends.0.push_slice(messages), Ok(messages.len()));
    ends.1.pop().expect("a message");
    ends
}

/// What 64 messages of a word cost at once, copied and in place.
fn indexed_batches(counter: &mut Counter) {
    let make = || (filled::<u64>(&[0; 130]), [0; 64]);
    counter.at_most("indexed push_slice 64 x 8 B", 69, make, |((producer, _), messages)| {
        assert_eq!(producer.push_slice(messages), Ok(64));
    });
    counter.at_most("indexed pop_slice 64 x 8 B", 68, make, |((_, consumer), messages)| {
        assert_eq!(consumer.pop_slice(messages), Ok(64));
    });
    counter.at_most("indexed reserve and commit 64", 47, make, |((producer, _), _)| {
        let mut room = producer.reserve(64).expect("room");
        black_box(room.as_mut_slices());
        room.commit(64);
    });
    counter.at_most("indexed peek and release 64", 48, make, |((_, consumer), _)| {
        let messages = consumer.peek(64).expect("messages");
        black_box(messages.as_slices());
        messages.release(64);
    });
}

/// Records of 64 bytes.
fn records(counter: &mut Counter) {
    let make = || {
        let ring = bytes::Ring::create(1 << 16).expect("a ring");
        let mut ends = (ring.producer().expect("an end"), ring.consumer().expect("an end"));
        for _ in 0..3 {
            ends.0.push(0, &[0; 64]).expect("room");
        }
        ends.1.pop(&mut [0; 64]).expect("a record");
        (ends, [0; 64])
    };
    counter.at_most("bytes push 64 B", 114, make, |((producer, _), record)| {
        assert!(producer.push(1, black_box(record)).is_ok());
    });
    counter.at_most("bytes pop 64 B", 119, make, |((_, consumer), record)| {
        black_box(consumer.pop(record).expect("a record"));
    });
    counter.at_most("bytes reserve and commit 64 B", 55, make, |((producer, _), _)| {
        let mut room = producer.reserve(64).expect("room");
        black_box(room.as_mut_slices());
        room.advance(64).expect("as reserved");
        room.commit(1);
    });
    counter.at_most("bytes peek and release 64 B", 76, make, |((_, consumer), _)| {
        let record = consumer.peek().expect("a record");
        black_box(record.record().as_slices());
        record.release();
    });
}
