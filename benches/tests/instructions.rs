//! How many machine instructions the fast paths are, beside what they may be.
//!
//! The counts are exact. Each is what the compiler made of the path in the release build of
//! [`main`], so another compiler, or another way to use the result, may give one or two more: the
//! limits leave a tenth. A path that outgrew its limit got slower for a reason that somebody should
//! know before the limit is raised.

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use std::process::ExitCode;

use bytemuck::{Pod, Zeroable};
use ipc_benches::peers::locks::Lock;
use ipc_benches::sys::place;
use ipc_core::identity::ProcessId;
use ipc_shm::ring::spsc::Ring;
use ipc_sync::Mutex;
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
        ring::<1>(counter, [("spsc push 8 B", 18), ("spsc pop 8 B", 20)]);
        ring::<7>(counter, [("spsc push 56 B", 29), ("spsc pop 56 B", 35)]);
        ring::<8>(counter, [("spsc push 64 B", 29), ("spsc pop 64 B", 35)]);
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

/// Lock, count, unlock.
#[inline]
fn pair(lock: &'static Mutex<u64>) {
    *lock.lock().expect("nobody died with it") += 1;
}

/// A message into a ring that holds one, and one out of it.
fn ring<const N: usize>(counter: &mut Counter, [push, pop]: [(&str, u64); 2])
where
    [u64; N]: Pod,
{
    let make = || {
        let ring = Box::leak(Box::new(Ring::<[u64; N]>::create(64).expect("a ring")));
        let mut ends = (ring.producer().expect("an end"), ring.consumer().expect("an end"));
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
