//! Rings whose ends sleep: between processes, some of which are killed, stopped or hit by signals.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`) and forks from there. The kills at every single
//! instruction are in `stepkill_waiting.rs`, every interleaving is in `loom_waiting.rs`. The numbers are those of the
//! catalogue in `docs/FAULTS.md`.

#[allow(unreachable_pub, reason = "shared with other programs")]
mod rings;

use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::ring::spsc::Ring;
use ipc_shm::ring::{PopWaitError, PushWaitError};
use ipc_testkit::cases::events::await_sleep;
use ipc_testkit::cases::{self, doing, seccomp, signals};
use rustix::process::Signal;

use rings::{Bytes, How, Indexed, Stamped, TestRing};

fn main() -> ExitCode {
    cases::run(&[
        ("messages_and_random_sleeps", messages_and_random_sleeps),
        ("dead_peer_is_told_to_a_sleeper", dead_peer_is_told_to_a_sleeper),
        ("closed_peer_wakes_a_sleeper", closed_peer_wakes_a_sleeper),
        ("sleeper_waits_for_a_peer_and_for_its_heir", sleeper_waits_for_a_peer_and_for_its_heir),
        ("s01_time_outs_are_right_within_5_percent", right_within_5_percent),
        ("s01_interruptible_wait", interruptible_wait),
        ("s04_stopped_and_continued", stopped_and_continued),
        ("k24_stopped_peer_is_not_dead", stopped_peer_is_not_dead),
        ("what_is_waited_for_ends_the_longest_wait", longest_wait),
        ("without_membarrier", without_membarrier),
        ("without_waitv_and_wake_op", without_waitv_and_wake_op),
    ])
}

fn ring(capacity: usize) -> Ring<'static, u64> {
    Ring::create(capacity).expect("a ring")
}

fn end(child: &mut Child) {
    assert!(child.wait().expect("a child").success());
}

/// A generator of numbers that are random enough.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Now and then keeps away for a while, so that the other side falls asleep; more often for less.
    fn dawdle(&mut self) {
        let spins = match self.below(1000) {
            0 => return std::thread::sleep(Duration::from_micros(self.below(100))),
            1..=20 => self.below(2_000),
            _ => self.below(20),
        };
        (0..spins).for_each(|_| core::hint::spin_loop());
    }
}

/// Sends `count` messages through a ring of `capacity`, with both sides slow at random.
fn stream(capacity: usize, count: u64, prepare: [fn(); 2]) {
    let (ring, began) = (ring(capacity), Instant::now());
    let mut child = fork_fn(|| {
        prepare[0]();
        let (mut producer, mut random) = (ring.producer().unwrap(), Random(1));
        for number in 0..count {
            random.dawdle();
            producer.push_wait(number).unwrap();
        }
        0
    })
    .unwrap();
    doing("receiving");
    prepare[1]();
    let (mut consumer, mut random) = (ring.consumer().unwrap(), Random(2));
    for number in 0..count {
        random.dawdle();
        assert_eq!(consumer.pop_wait(), Ok(number));
    }
    assert_eq!(consumer.pop_wait(), Err(PopWaitError::Disconnected));
    end(&mut child);
    println!("{count} messages through a ring of {capacity}: {:?}", began.elapsed());
}

fn nothing() {}

fn messages_and_random_sleeps() {
    let deep = std::env::var_os("IPC_CYCLES").is_some_and(|how| how == "deep");
    stream(8, if deep { 1_000_000 } else { 100_000 }, [nothing; 2]);
}

/// Whoever cannot call the barrier fences, and has the other side fence.
fn without_membarrier() {
    for prepare in [
        [seccomp::refuse_membarrier as fn(), nothing],
        [nothing, seccomp::refuse_membarrier],
        [seccomp::refuse_membarrier as fn(); 2],
    ] {
        // A filter cannot be taken back.
        let mut child = fork_fn(|| {
            stream(2, 20_000, prepare);
            0
        })
        .unwrap();
        end(&mut child);
    }
}

fn without_waitv_and_wake_op() {
    for prepare in [seccomp::refuse_waitv as fn(), seccomp::without_waitv, seccomp::refuse_wake_op]
    {
        let mut child = fork_fn(|| {
            stream(2, 20_000, [prepare; 2]);
            0
        })
        .unwrap();
        end(&mut child);
    }
}

/// How long a report of a death may take: the bound that is promised.
const REPORTED: Duration = Duration::from_millis(200);

fn dead_peer_is_told_to_a_sleeper() {
    for side in 0..2 {
        for asleep in [0, 2, 30, 300] {
            let ring = ring(1);
            let (told, tell) = rustix::pipe::pipe().unwrap();
            let mut owner = fork_fn(|| {
                let _end = (
                    (side == 0).then(|| ring.producer().unwrap()),
                    (side == 1).then(|| ring.consumer().unwrap()),
                );
                rustix::io::write(&tell, b"!").unwrap();
                loop {
                    std::thread::park();
                }
            })
            .unwrap();
            let mut byte = [0];
            rustix::io::read(&told, &mut byte).unwrap();
            let mut sleeper = fork_fn(|| {
                let error = match side {
                    0 => ring.consumer().unwrap().pop_wait().map(drop),
                    _ => {
                        let mut producer = ring.producer().unwrap();
                        producer.push(1).unwrap();
                        match producer.push_wait(2) {
                            Err(PushWaitError::Disconnected(2)) => Err(PopWaitError::Disconnected),
                            other => panic!("{other:?}"),
                        }
                    }
                };
                i32::from(error != Err(PopWaitError::Disconnected))
            })
            .unwrap();
            await_sleep(sleeper.id());
            std::thread::sleep(Duration::from_millis(asleep));
            owner.kill().unwrap();
            assert!(!owner.wait().unwrap().success());
            let died = Instant::now();
            end(&mut sleeper);
            let took = died.elapsed();
            println!("side {side}, asleep for {asleep} ms: told after {took:?}");
            assert!(took < REPORTED, "{took:?}");
        }
    }
}

fn closed_peer_wakes_a_sleeper() {
    let ring = ring(1);
    let producer = ring.producer().unwrap();
    let sleep =
        || i32::from(ring.consumer().unwrap().pop_wait() != Err(PopWaitError::Disconnected));
    let mut sleeper = fork_fn(sleep).unwrap();
    await_sleep(sleeper.id());
    drop(producer);
    end(&mut sleeper);
}

/// Nobody has attached yet; and who has died is replaced before the sleeper asks.
fn sleeper_waits_for_a_peer_and_for_its_heir() {
    for _ in 0..20 {
        let ring = ring(1);
        let sleep = || i32::from(ring.consumer().unwrap().pop_wait() != Ok(7));
        let mut sleeper = fork_fn(sleep).unwrap();
        await_sleep(sleeper.id());
        let mut first = fork_fn(|| {
            core::mem::forget(ring.producer());
            0
        })
        .unwrap();
        end(&mut first);
        ring.producer().unwrap().push(7).unwrap();
        // It may have asked between the death and the claim.
        sleeper.wait().unwrap();
    }
    let ring = ring(1);
    let mut sleeper = fork_fn(|| i32::from(ring.consumer().unwrap().pop_wait() != Ok(7))).unwrap();
    await_sleep(sleeper.id());
    let mut producer = ring.producer().unwrap();
    await_sleep(sleeper.id());
    producer.push(7).unwrap();
    end(&mut sleeper);
}

fn interrupt_every(micros: i64, flags: i32) {
    extern "C" fn handler(_: i32) {}
    signals::on_signal(Signal::ALARM.as_raw(), handler as *const () as usize, flags);
    signals::interrupt_every(micros);
}

/// Shows `visit` each call of each ring that waits, where it waits in vain: it says whether it timed out.
fn in_vain(mut visit: impl FnMut(&str, &mut dyn FnMut(Duration) -> bool)) {
    in_vain_at::<Stamped>(&mut visit);
    in_vain_at::<Indexed>(&mut visit);
    in_vain_at::<Bytes>(&mut visit);
}

fn in_vain_at<R: TestRing>(visit: &mut impl FnMut(&str, &mut dyn FnMut(Duration) -> bool)) {
    let (empty, full) = (R::create::<u64>(1).unwrap(), R::create::<u64>(1).unwrap());
    let mut consumer = R::consumer(&empty).unwrap();
    let mut producer = full_end::<R>(&full);
    type Call = fn(Duration) -> How;
    for (name, call) in [
        ("timeout", How::Timeout as Call),
        ("deadline", |timeout| How::Deadline(Deadline::after(timeout))),
        ("wait before", |timeout| How::Before(Deadline::after(timeout))),
    ] {
        let name = |end| format!("{} ring, {end}, {name}", R::NAME);
        visit(&name("pop"), &mut |timeout| {
            R::pop_by(&mut consumer, call(timeout)) == Err(PopWaitError::TimedOut)
        });
        visit(&name("push"), &mut |timeout| {
            R::push_by(&mut producer, 2, call(timeout)) == Err(PushWaitError::TimedOut(2))
        });
    }
}

fn full_end<R: TestRing>(ring: &R::Ring<u64>) -> R::Producer<u64> {
    let mut producer = R::producer(ring).unwrap();
    while R::push(&mut producer, 1).is_ok() {}
    producer
}

/// The best of several, because other programs share the processors.
fn right_within_5_percent() {
    interrupt_every(50, 0);
    in_vain(|name, wait| {
        for nanos in [0, 1, 1_000_000, 60_000_000] {
            let timeout = Duration::from_nanos(nanos);
            // To ask the kernel for the peer takes some microseconds.
            let most = timeout.mul_f64(1.05) + Duration::from_millis(1);
            let mut tries = (0..100).map(|_| {
                let began = Instant::now();
                assert!(wait(timeout), "{name}");
                let took = began.elapsed();
                assert!(took >= timeout, "{name}: {took:?} for {timeout:?}");
                took
            });
            assert!(tries.any(|took| took < most), "{name}: always later than {most:?}");
        }
    });
    signals::interrupt_every(0);
    in_vain(|name, wait| assert!(wait(Duration::ZERO), "{name}"));
    let mut consumer = ring(1).consumer().unwrap();
    assert_eq!(consumer.pop_deadline(Deadline::now()), Err(PopWaitError::TimedOut), "past");
}

fn interruptible_wait() {
    interruptible_wait_at::<Stamped>();
    interruptible_wait_at::<Indexed>();
    interruptible_wait_at::<Bytes>();
}

fn interruptible_wait_at<R: TestRing>() {
    let ring = R::create::<u64>(1).unwrap();
    let mut consumer = R::consumer(&ring).unwrap();
    let for_ever = How::Interruptible(Deadline::FAR);
    for flags in [0, signals::SA_RESTART] {
        interrupt_every(2_000, flags);
        let ended = R::pop_by(&mut consumer, for_ever);
        assert_eq!(ended, Err(PopWaitError::Os(Errno::INTR)), "{}, flags {flags:#x}", R::NAME);
        signals::interrupt_every(0);
    }
    let mut producer = full_end::<R>(&ring);
    interrupt_every(2_000, 0);
    let ended = R::push_by(&mut producer, 2, for_ever);
    assert_eq!(ended, Err(PushWaitError::Os(2, Errno::INTR)), "{}", R::NAME);
    signals::interrupt_every(0);
    // Nothing was lost, and a time-out is one.
    while R::pop(&mut consumer).is_ok_and(|message| message == 1) {}
    let soon = How::Interruptible(Deadline::after(Duration::from_millis(5)));
    assert_eq!(R::pop_by(&mut consumer, soon), Err(PopWaitError::TimedOut), "{}", R::NAME);
}

fn stopped_and_continued() {
    let timeout = Duration::from_millis(100);
    in_vain(|name, wait| {
        let mut stops = 0;
        // On a machine that is busy few fit into one wait.
        while stops < 10 {
            let mut waiter = fork_fn(|| {
                let began = Instant::now();
                let in_vain = wait(timeout);
                // Whoever is stopped when the time is over comes later.
                let late = began.elapsed() > timeout + Duration::from_millis(500);
                i32::from(!in_vain || began.elapsed() < timeout || late)
            })
            .unwrap();
            await_sleep(waiter.id());
            while waiter.wait_timeout(Duration::from_millis(1)).unwrap().is_none() {
                // It may have ended meanwhile.
                let _ = waiter.signal(Signal::STOP).and_then(|()| waiter.signal(Signal::CONT));
                stops += 1;
            }
            assert!(waiter.wait().unwrap().success(), "{name}");
        }
    });
}

fn stopped_peer_is_not_dead() {
    stopped_peer_at::<Stamped>();
    stopped_peer_at::<Indexed>();
    stopped_peer_at::<Bytes>();
}

/// The peer is stopped for several slices, at the end of which it is asked for; then it goes on.
fn stopped_peer_at<R: TestRing>() {
    let deep = std::env::var_os("IPC_CYCLES").is_some_and(|how| how == "deep");
    let stopped = Duration::from_millis(if deep { 10_000 } else { 300 });
    for pushes in [false, true] {
        let ring = R::create::<u64>(1).unwrap();
        let ((told, tell), (asked, ask)) =
            (rustix::pipe::pipe().unwrap(), rustix::pipe::pipe().unwrap());
        let mut peer = fork_fn(|| {
            let mut ends = (
                (!pushes).then(|| R::producer(&ring).unwrap()),
                pushes.then(|| R::consumer(&ring).unwrap()),
            );
            rustix::io::write(&tell, b"!").unwrap();
            rustix::io::read(&asked, &mut [0]).unwrap();
            match &mut ends {
                (Some(producer), _) => R::push(producer, 7).unwrap(),
                (_, Some(consumer)) => assert_eq!(R::pop(consumer), Ok(1)),
                _ => unreachable!("it has one"),
            }
            0
        })
        .unwrap();
        rustix::io::read(&told, &mut [0]).unwrap();
        peer.signal(Signal::STOP).unwrap();
        let how = How::Timeout(stopped);
        let go_on = || {
            peer.signal(Signal::CONT).unwrap();
            rustix::io::write(&ask, b"!").unwrap();
        };
        if pushes {
            let mut producer = full_end::<R>(&ring);
            let refused = R::push_by(&mut producer, 2, how);
            assert_eq!(refused, Err(PushWaitError::TimedOut(2)), "{}", R::NAME);
            go_on();
            assert_eq!(R::push_by(&mut producer, 2, How::Wait), Ok(()), "{}", R::NAME);
        } else {
            let mut consumer = R::consumer(&ring).unwrap();
            let nothing = R::pop_by(&mut consumer, how);
            assert_eq!(nothing, Err(PopWaitError::TimedOut), "{}", R::NAME);
            go_on();
            assert_eq!(R::pop_by(&mut consumer, How::Wait), Ok(7), "{}", R::NAME);
        }
        end(&mut peer);
    }
}

fn longest_wait() {
    let ring = ring(1);
    let mut sleeper = fork_fn(|| {
        let mut consumer = ring.consumer().unwrap();
        i32::from(consumer.pop_timeout(Duration::MAX) != Ok(7))
    })
    .unwrap();
    await_sleep(sleeper.id());
    ring.producer().unwrap().push(7).unwrap();
    end(&mut sleeper);
}
