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
use ipc_shm::ring::{RoleError, Trust};
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
            [("untrusted spsc push 56 B", 39), ("untrusted spsc pop 56 B", 36)],
        );
        untrusted::<8>(
            counter,
            [("untrusted spsc push 64 B", 49), ("untrusted spsc pop 64 B", 47)],
        );
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
