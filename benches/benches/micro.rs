//! What one operation costs a single thread, measured by criterion.
//!
//! Good for watching one fast path from change to change on a quiet machine. To compare two
//! subjects use `compare`, which alternates them; here they run one after the other, and the
//! machine may have changed in between.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use criterion::{Criterion, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use ipc_benches::payload::{numbered, sum};
use ipc_benches::peers::floor::{SLOTS, SlotRing};
use ipc_benches::peers::locks::Lock;
use ipc_benches::peers::pthread::{NORMAL, PthreadMutex, ROBUST};
use ipc_benches::{sys, targets};
use ipc_shm::ring::spsc::Ring;
use ipc_shm::ring::{bytes, indexed};
use rtrb::RingBuffer;

/// Lock, count, unlock, with nobody else near.
fn lock_pair(criterion: &mut Criterion) {
    fn bench<L: Lock>(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>) {
        let lock = L::placed();
        group.bench_function(L::NAME, |bencher| bencher.iter(|| *lock.lock() += 1));
    }
    let mut group = criterion.benchmark_group("uncontended lock pair");
    bench::<ipc_sync::Mutex<u64>>(&mut group);
    bench::<Mutex<u64>>(&mut group);
    bench::<parking_lot::Mutex<u64>>(&mut group);
    bench::<PthreadMutex<NORMAL>>(&mut group);
    bench::<PthreadMutex<ROBUST>>(&mut group);
    group.finish();
}

/// A message into a ring and out again, in one thread: instructions, no cache traffic.
fn ring_pair(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("56 B through a ring");
    let mut next = 0_u64;
    let mut message = || {
        next += 1;
        numbered::<7>(next)
    };
    let ring = Ring::create(SLOTS).expect("a ring");
    let mut producer = ring.producer().expect("an end");
    let mut consumer = ring.consumer().expect("an end");
    group.bench_function(targets::RING, |bencher| {
        bencher.iter(|| {
            producer.push(message()).expect("an empty ring has room");
            sum(&consumer.pop().expect("a message was pushed"))
        });
    });
    let ring = Ring::create(SLOTS).expect("a ring");
    let mut producer = ring.untrusted_producer().expect("an end");
    let mut consumer = ring.untrusted_consumer().expect("an end");
    group.bench_function(targets::RING_UNTRUSTED, |bencher| {
        bencher.iter(|| {
            producer.push(message()).expect("an empty ring has room");
            sum(&consumer.pop().expect("a message was pushed"))
        });
    });
    let ring = indexed::Ring::create(SLOTS).expect("a ring");
    let mut producer = ring.producer().expect("an end");
    let mut consumer = ring.consumer().expect("an end");
    group.bench_function(targets::INDEXED, |bencher| {
        bencher.iter(|| {
            producer.push(message()).expect("an empty ring has room");
            sum(&consumer.pop().expect("a message was pushed"))
        });
    });
    let ring = bytes::Ring::create(1 << 16).expect("a ring");
    let mut producer = ring.producer().expect("an end");
    let mut consumer = ring.consumer().expect("an end");
    group.bench_function(targets::BYTES_COPIED, |bencher| {
        bencher.iter(|| {
            let mut message = message();
            producer.push(0, bytemuck::bytes_of(&message)).expect("an empty ring has room");
            consumer.pop(bytemuck::bytes_of_mut(&mut message)).expect("a record was pushed");
            sum(&message)
        });
    });
    let (mut producer, mut consumer) = SlotRing::<7>::ends();
    group.bench_function("slot-flag ring (by hand)", |bencher| {
        bencher.iter(|| {
            producer.push(message());
            sum(&consumer.pop())
        });
    });
    let (mut producer, mut consumer) = RingBuffer::new(SLOTS);
    group.bench_function("rtrb", |bencher| {
        bencher.iter(|| {
            producer.push(message()).expect("an empty ring has room");
            sum(&consumer.pop().expect("a message was pushed"))
        });
    });
    let queue = ArrayQueue::new(SLOTS);
    group.bench_function("crossbeam ArrayQueue", |bencher| {
        bencher.iter(|| {
            queue.push(message()).expect("an empty queue has room");
            sum(&queue.pop().expect("a message was pushed"))
        });
    });
    group.finish();
}

/// What the operating system charges for the calls that fast paths avoid.
fn system(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("system");
    group.bench_function("clock", |bencher| bencher.iter(sys::now));
    let word = sys::place(AtomicU32::new(0));
    group.bench_function("wake nobody", |bencher| bencher.iter(|| sys::futex_wake(word)));
    group.bench_function("wait refused", |bencher| {
        bencher.iter(|| sys::futex_wait(word, black_box(1)));
    });
    group.finish();
}

criterion_group!(benches, lock_pair, ring_pair, system);
criterion_main!(benches);
