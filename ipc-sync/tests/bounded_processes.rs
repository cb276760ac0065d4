//! `BoundedSemaphore` between processes that are killed, stopped, forked and put into other pid namespaces.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from
//! there. The kills at every single instruction are in `stepkill_semaphores.rs`; here are the situations around them.
//!
//! # Safety
//!
//! A semaphore that is made for a region lies in a mapping that is kept as long as any of its users.
#![expect(unsafe_code, reason = "semaphores that the kernel is told of")]

mod waits;

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::process::{Child, fork_fn};
use ipc_core::{Errno, futex};
use ipc_sync::{
    AcquireError, BoundedSemaphore, Deadline, NotOurs, Permit, PermitTicket, ProcessId, WaitError,
};
use ipc_testkit::cases::{self, doing, seccomp, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("never_more_inside_than_permits", never_more_inside),
        ("a_moving_permit_is_never_missed", moving_permit_is_never_missed),
        ("killed_holder_hands_over_at_once", killed_holder_hands_over_at_once),
        ("killed_holder_hands_over_within_a_slice", killed_holder_hands_over_within_a_slice),
        ("all_permits_of_a_dead_process_are_recovered", all_permits_of_the_dead),
        ("every_try_finds_a_dead_holder", every_try_finds_a_dead_holder),
        ("killed_all_the_time_and_none_is_lost", killed_all_the_time),
        ("wakes_all_up_to_127_slots_and_beyond", wakes_all_up_to_127_and_beyond),
        ("sleeps_without_waitv", sleeps_without_waitv),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_acquire", signal_ends_an_interruptible_acquire),
        ("waiting_costs_no_processor_time", waiting_costs_no_processor_time),
        ("stopped_holder_is_alive", stopped_holder_is_alive),
        ("zombie_holder_is_dead", zombie_holder_is_dead),
        ("ended_thread_keeps_its_permit", ended_thread_keeps_its_permit),
        ("forked_copy_of_a_permit_does_nothing", forked_copy_does_nothing),
        ("f06_forked_copy_leaves_the_childs_own_permit", forked_copy_leaves_own_permit),
        ("sent_to_another_process_and_adopted_once", sent_and_adopted_once),
        ("sent_to_one_that_dies", sent_to_one_that_dies),
        ("sent_by_one_that_dies_with_the_ticket", sent_by_one_that_dies),
        ("no_recovery_between_pid_namespaces", no_recovery_between_pid_namespaces),
        ("zeroed_memory_is_free", zeroed_memory_is_free),
        ("garbage_is_corrupt_and_no_permit", garbage_is_no_permit),
    ])
}

/// What the processes of a case share.
struct World<const N: usize> {
    permits: BoundedSemaphore<N>,
    stage: AtomicU32,
    count: AtomicU32,
    ticket: AtomicU32,
    /// A child that a permit is to be sent to.
    receiver: AtomicU64,
}

fn world<const N: usize>() -> Shared<World<N>> {
    // SAFETY: the mapping is kept until the case ends.
    of(unsafe { BoundedSemaphore::in_region() })
}

fn of<const N: usize>(permits: BoundedSemaphore<N>) -> Shared<World<N>> {
    let [stage, count, ticket] = [0; 3].map(AtomicU32::new);
    let receiver = AtomicU64::new(0);
    Shared::new(World { permits, stage, count, ticket, receiver }).expect("a mapping")
}

impl<const N: usize> World<N> {
    fn reach(&self, stage: u32) {
        self.stage.store(stage, SeqCst);
        futex::wake(&self.stage, u32::MAX);
    }

    fn await_stage(&self, stage: u32) {
        loop {
            let now = self.stage.load(SeqCst);
            if now >= stage {
                return;
            }
            futex::wait(&self.stage, now, None).expect("a readable word");
        }
    }

    /// A child that holds `count` permits and does nothing more; it has them when this returns.
    fn holder(&self, count: usize) -> Child {
        self.stage.store(0, SeqCst);
        let child = fork_fn(|| {
            let _held: Vec<_> = (0..count).map(|_| self.take().0).collect();
            self.reach(1);
            self.await_stage(9);
            0
        });
        self.await_stage(1);
        child.expect("fork")
    }

    /// Says who this process is, so that a permit can be sent to it.
    fn introduce(&self) {
        let me = ProcessId::current().expect("an identity");
        self.receiver.store(me.to_bits(), SeqCst);
    }

    fn receiver(&self) -> ProcessId {
        ProcessId::from_bits(self.receiver.load(SeqCst)).expect("it has introduced itself")
    }

    /// A permit, and whether it was a dead process's.
    fn take(&self) -> (Permit<'_, N>, bool) {
        accept(self.permits.acquire()).expect("a wait without a time-out")
    }

    fn wait(&self, deadline: Deadline) -> Result<(), WaitError> {
        waited(self.permits.acquire_interruptible(deadline))
    }
}

fn accept<'a, const N: usize>(
    result: Result<Permit<'a, N>, AcquireError<'a, N>>,
) -> Result<(Permit<'a, N>, bool), AcquireError<'a, N>> {
    match result {
        Ok(permit) => Ok((permit, false)),
        Err(AcquireError::Recovered(permit)) => Ok((permit, true)),
        Err(error) => Err(error),
    }
}

/// In the words of those who wait for what nobody owns.
fn waited<const N: usize>(
    result: Result<Permit<'_, N>, AcquireError<'_, N>>,
) -> Result<(), WaitError> {
    match accept(result) {
        Ok(_) => Ok(()),
        Err(AcquireError::TimedOut) => Err(WaitError::TimedOut),
        Err(AcquireError::Os(errno)) => Err(WaitError::Os(errno)),
        Err(error) => panic!("{error}"),
    }
}

fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
}

/// Eight processes in a crowd: never more than the permits are inside, at some time all of them are, and in the end
/// they are all back.
fn never_more_inside() {
    const N: usize = 3;
    let world = world::<N>();
    let most = Shared::new(AtomicU32::new(0)).expect("a mapping");
    let visit = || {
        for _ in 0..3_000 {
            let (permit, recovered) = world.take();
            assert!(!recovered, "nobody has died");
            let inside = 1 + world.count.fetch_add(1, SeqCst);
            most.fetch_max(inside, SeqCst);
            std::thread::yield_now();
            world.count.fetch_sub(1, SeqCst);
            drop(permit);
        }
        0
    };
    join((0..8).map(|_| fork_fn(visit).expect("fork")).collect::<Vec<_>>());
    assert_eq!(most.load(SeqCst), N as u32, "at once, of {N} permits");
    assert_eq!((world.permits.available(), world.permits.holders().count()), (N, 0));
}

/// Others hold one less than there are, always another one: whoever tries gets it.
fn moving_permit_is_never_missed() {
    const N: usize = 4;
    let world = world::<N>();
    let movers = [(); N - 1].map(|()| {
        let go_on = || {
            while world.stage.load(SeqCst) == 0 {
                // Always another one: what is free changes with those of the others.
                drop(world.permits.try_acquire().expect("N - 1 movers have one each at most"));
            }
            0
        };
        fork_fn(go_on).expect("fork")
    });
    for turn in 0..300_000 {
        assert!(world.permits.try_acquire().is_ok(), "missed in turn {turn}");
    }
    world.reach(1);
    join(movers);
}

/// Three waiters, asleep for so long that their slices are at their longest; then the time from the
/// reported death of the holder until one of them has a permit.
fn hand_over(world: &World<2>) -> Duration {
    let holder = world.holder(2);
    world.count.store(0, SeqCst);
    let wait = || {
        let (_permit, recovered) = world.take();
        world.count.fetch_add(u32::from(recovered), SeqCst);
        Ok(())
    };
    let waiters = sleepers(3, wait);
    std::thread::sleep(Duration::from_millis(180));
    kill(holder);
    let began = Instant::now();
    while world.count.load(SeqCst) == 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "nobody was told");
        std::thread::yield_now();
    }
    let took = began.elapsed();
    join(waiters);
    // The waiters may all have had the one permit, one after the other.
    let both = [world.take(), world.take()];
    let late = both.iter().filter(|(_, recovered)| *recovered).count();
    world.count.fetch_add(late as u32, SeqCst);
    assert_eq!(world.count.load(SeqCst), 2, "told once for each permit");
    took
}

fn killed_holder_hands_over_at_once() {
    let world = world();
    let mut times: Vec<_> = (0..5).map(|_| hand_over(&world)).collect();
    times.sort();
    println!("    from the reported death: median {:?}, worst {:?}", times[2], times[4]);
    assert!(times[2] < Duration::from_millis(10), "the baton did not arrive: {times:?}");
    assert!(times[4] < Duration::from_millis(200));
}

fn killed_holder_hands_over_within_a_slice() {
    let world = of(BoundedSemaphore::new());
    let worst = (0..3).map(|_| hand_over(&world)).max().expect("three times");
    println!("    from the reported death, without a baton: worst {worst:?}");
    assert!(worst < Duration::from_millis(200));
}

fn all_permits_of_the_dead() {
    let world = world::<20>();
    kill(world.holder(20));
    assert_eq!(world.permits.available(), 0);
    let all: Vec<_> = (0..20).map(|_| world.take()).collect();
    assert!(all.iter().all(|(_, recovered)| *recovered));
    assert!(matches!(world.permits.try_acquire(), Err(AcquireError::WouldBlock)));
    drop(all);
    assert_eq!(world.permits.available(), 20);
    assert!(!world.take().1, "told again");
}

fn every_try_finds_a_dead_holder() {
    let world = world::<1>();
    let tries: [fn(&World<1>) -> bool; 4] = [
        |world| matches!(world.permits.try_acquire(), Err(AcquireError::Recovered(_))),
        |world| matches!(world.permits.acquire(), Err(AcquireError::Recovered(_))),
        |world| {
            let timeout = Duration::from_millis(500);
            matches!(world.permits.acquire_timeout(timeout), Err(AcquireError::Recovered(_)))
        },
        |world| {
            let result = world.permits.acquire_timeout(Duration::ZERO);
            matches!(result, Err(AcquireError::Recovered(_)))
        },
    ];
    for attempt in tries {
        kill(world.holder(1));
        assert!(attempt(&world));
    }
}

/// Processes in a crowd, of which one is killed every few hundred microseconds and another one comes.
fn killed_all_the_time() {
    const N: usize = 2;
    let world = world::<N>();
    let visit = || loop {
        let (_permit, recovered) = world.take();
        world.count.fetch_add(1, SeqCst);
        // Told or not, everybody works on.
        core::hint::black_box(recovered);
    };
    let mut crowd: Vec<_> = (0..4).map(|_| fork_fn(visit).expect("fork")).collect();
    for round in 0..80 {
        std::thread::sleep(Duration::from_micros(150 + round % 97));
        let victim =
            core::mem::replace(&mut crowd[round as usize % 4], fork_fn(visit).expect("fork"));
        kill(victim);
    }
    doing("waiting for those who live to get on");
    let before = world.count.load(SeqCst);
    while world.count.load(SeqCst) < before + 100 {
        std::thread::yield_now();
    }
    crowd.into_iter().for_each(kill);
    let all: Vec<_> = (0..N).map(|_| world.take().0).collect();
    assert!(matches!(world.permits.try_acquire(), Err(AcquireError::WouldBlock)));
    drop(all);
    assert_eq!(world.permits.available(), N);
}

/// Waiters that sleep on as many words as the kernel takes, and on fewer than there are.
fn wakes_all_up_to_127_and_beyond() {
    fn wakes<const N: usize>() {
        let world = world::<N>();
        for freed in [0, N / 2, N - 1] {
            let mut all: Vec<_> = (0..N).map(|_| Some(world.take().0)).collect();
            let children = sleepers(2, || waited(world.permits.acquire()));
            let began = Instant::now();
            drop(all[freed].take());
            join(children);
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
    }
    wakes::<3>();
    wakes::<4>();
    wakes::<127>();
    wakes::<128>();
    wakes::<300>();
}

fn sleeps_without_waitv() {
    let number = 449; // futex_waitv, of every architecture.
    let no_call = 0x0005_0000 | Errno::NOSYS.raw_os_error().unsigned_abs();
    seccomp::answer(number, &seccomp::When::Always, no_call);
    let world = world::<2>();
    for _ in 0..10 {
        let held = (world.take(), world.take());
        let children = sleepers(3, || waited(world.permits.acquire()));
        drop(held);
        join(children);
    }
    kill(world.holder(2));
    assert!(world.take().1);
}

fn time_outs_are_kept_under_signals() {
    let world = world::<2>();
    let holder = world.holder(2);
    keeps_time_outs(|timeout| waited(world.permits.acquire_timeout(timeout)));
    let late = world.permits.acquire_deadline(Deadline::now());
    assert!(matches!(late, Err(AcquireError::TimedOut)));
    // Much more often than any slice ends, and the death is found nevertheless.
    interrupt_every(400, 0);
    kill(holder);
    let began = Instant::now();
    let result = waited(world.permits.acquire_timeout(Duration::MAX));
    signals::interrupt_every(0);
    assert_eq!(result, Ok(()));
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    // What is there is had however late it is.
    assert_eq!(waited(world.permits.acquire_deadline(Deadline::now())), Ok(()));
}

fn signal_ends_an_interruptible_acquire() {
    let world = world::<2>();
    let holder = world.holder(2);
    ends_by_a_signal(|deadline| world.wait(deadline));
    kill(holder);
    assert_eq!(world.wait(Deadline::FAR), Ok(()));
}

/// A waiter that outlasts its first looks must sleep in between, not run.
fn waiting_costs_no_processor_time() {
    let world = world::<8>();
    let holder = world.holder(8);
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let before = used();
    let timeout = Duration::from_millis(500);
    assert_eq!(waited(world.permits.acquire_timeout(timeout)), Err(WaitError::TimedOut));
    let used = used() - before;
    assert!(used < timeout / 20, "{used:?} of {timeout:?}");
    kill(holder);
}

fn stopped_holder_is_alive() {
    let world = world::<1>();
    let mut holder = world.holder(1);
    holder.signal(Signal::STOP).expect("a live child");
    // Longer than the longest slice, so that the holder was looked at.
    let timeout = Duration::from_millis(250);
    assert_eq!(waited(world.permits.acquire_timeout(timeout)), Err(WaitError::TimedOut));
    assert!(matches!(world.permits.try_acquire(), Err(AcquireError::WouldBlock)));
    holder.signal(Signal::CONT).expect("a live child");
    world.reach(9);
    assert!(holder.wait().expect("wait").success());
    assert!(!world.take().1, "given back by its holder");
}

fn zombie_holder_is_dead() {
    let world = world::<1>();
    let mut holder = world.holder(1);
    holder.kill().expect("a live child");
    cases::events::await_exit(&holder);
    // Dead and not reaped: its pid still exists.
    assert!(world.take().1);
    holder.wait().expect("a child of ours");
}

fn ended_thread_keeps_its_permit() {
    let world = world::<1>();
    let world = &*world;
    let hold_in_a_thread = || {
        std::thread::scope(|scope| {
            scope.spawn(|| core::mem::forget(world.take()));
        });
        world.reach(1);
        world.await_stage(9);
        0
    };
    let holder = fork_fn(hold_in_a_thread).expect("fork");
    world.await_stage(1);
    let timeout = Duration::from_millis(150);
    assert_eq!(waited(world.permits.acquire_timeout(timeout)), Err(WaitError::TimedOut));
    kill(holder);
    assert!(world.take().1);
}

/// The closure owns the permit. So the parent has given it back, and the child has a copy beside a permit of its own.
fn forked_copy_leaves_own_permit() {
    let world = world::<1>();
    let (copy, _) = world.take();
    let drop_copy = || {
        let copy = copy;
        let (own, _) = world.take();
        drop(copy);
        let there = world.permits.available();
        drop(own);
        i32::from(there != 0 || world.permits.available() != 1)
    };
    let mut child = fork_fn(drop_copy).expect("fork");
    assert!(child.wait().expect("wait").success(), "the copy gave back what the child holds");
}

fn forked_copy_does_nothing() {
    let world = world::<2>();
    let (held, _) = world.take();
    let me = ProcessId::current().expect("an identity");
    let copy = || {
        // SAFETY: the copies are used in the child alone, where they are nobody's permits.
        ManuallyDrop::into_inner(ManuallyDrop::new(unsafe { core::ptr::read(&held) }))
    };
    let misuse = || {
        drop(copy());
        let refused = copy().transfer(ProcessId::current().expect("an identity"));
        i32::from(refused != Err(NotOurs) || world.permits.available() != 1)
    };
    join([fork_fn(misuse).expect("fork")]);
    assert_eq!(world.permits.holders().collect::<Vec<_>>(), [me]);
    drop(held);
    assert_eq!(world.permits.available(), 2);
}

fn sent_and_adopted_once() {
    let world = world::<3>();
    let (ready, sent) = (1, 2);
    let adopt = || {
        world.introduce();
        world.reach(ready);
        world.await_stage(sent);
        let ticket = PermitTicket::from_bits(world.ticket.load(SeqCst));
        let permit = world.permits.adopt(ticket).expect("it was sent to us");
        assert_eq!(world.permits.adopt(ticket).unwrap_err(), NotOurs, "twice");
        assert!(world.permits.adopt_any().is_none());
        let me = ProcessId::current().expect("an identity");
        assert_eq!(world.permits.holders().collect::<Vec<_>>(), [me]);
        drop(permit);
        assert_eq!(world.permits.adopt(ticket).unwrap_err(), NotOurs, "after it was given back");
        0
    };
    let child = fork_fn(adopt).expect("fork");
    world.await_stage(ready);
    let ticket = world.take().0.transfer(world.receiver()).expect("ours");
    // On its way it is nobody else's.
    assert_eq!(world.permits.adopt(ticket).unwrap_err(), NotOurs);
    assert_eq!(world.permits.available(), 2);
    world.ticket.store(ticket.to_bits(), SeqCst);
    world.reach(sent);
    join([child]);
    assert_eq!(world.permits.available(), 3);
}

fn sent_to_one_that_dies() {
    let world = world::<1>();
    let child = fork_fn(|| {
        world.introduce();
        world.reach(1);
        world.await_stage(9);
        0
    })
    .expect("fork");
    world.await_stage(1);
    let ticket = world.take().0.transfer(world.receiver()).expect("ours");
    let timeout = Duration::from_millis(100);
    assert_eq!(waited(world.permits.acquire_timeout(timeout)), Err(WaitError::TimedOut));
    let waiters = sleepers(1, || if world.take().1 { Ok(()) } else { Err(WaitError::TimedOut) });
    kill(child);
    let began = Instant::now();
    // The waiter is told, and nobody else.
    join(waiters);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    assert_eq!(world.permits.adopt(ticket).unwrap_err(), NotOurs);
    // It has died with its permit dropped before, or not: what counts is that it is there.
    drop(world.take());
    assert_eq!(world.permits.available(), 1);
}

fn sent_by_one_that_dies() {
    let world = world::<2>();
    let me = ProcessId::current().expect("an identity");
    let send = || {
        world.take().0.transfer(me).expect("ours");
        0
    };
    join([fork_fn(send).expect("fork")]);
    assert_eq!(world.permits.available(), 1);
    let permit = world.permits.adopt_any().expect("on its way to us");
    assert!(world.permits.adopt_any().is_none());
    drop(permit);
    assert_eq!(world.permits.available(), 2);
}

fn no_recovery_between_pid_namespaces() {
    let world = world::<1>();
    let outer = || {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let inner = fork_fn(|| {
            core::mem::forget(world.take());
            0
        });
        i32::from(!inner.expect("fork").wait().expect("wait").success())
    };
    // Somebody of this namespace is here first.
    drop(world.take());
    match fork_fn(outer).expect("fork").wait().expect("wait").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
    // The holder is dead, but nobody here can know it.
    let timeout = Duration::from_millis(150);
    assert_eq!(waited(world.permits.acquire_timeout(timeout)), Err(WaitError::TimedOut));
    assert!(matches!(world.permits.try_acquire(), Err(AcquireError::WouldBlock)));
    let dead = world.permits.holders().next().expect("it is held");
    // SAFETY: we made sure ourselves that the holder is dead.
    assert_eq!(unsafe { world.permits.evict(dead) }, 1);
    assert!(!world.take().1);
}

/// A mapping of words, and the semaphore in it.
fn in_memory<const N: usize>(words: &[AtomicU64]) -> &BoundedSemaphore<N> {
    assert_eq!(size_of_val(words), size_of::<BoundedSemaphore<N>>());
    // SAFETY: as large and as aligned, and every pattern of bytes is a semaphore.
    unsafe { &*words.as_ptr().cast() }
}

fn zeroed_memory_is_free() {
    let words = Shared::new([const { AtomicU64::new(0) }; 4]).expect("a mapping");
    let permits = in_memory::<2>(&*words);
    let _held = (permits.acquire().expect("free"), permits.acquire().expect("free"));
    assert!(matches!(permits.try_acquire(), Err(AcquireError::WouldBlock)));
    let child = || i32::from(!matches!(permits.try_acquire(), Err(AcquireError::WouldBlock)));
    join([fork_fn(child).expect("fork")]);
}

fn garbage_is_no_permit() {
    for bits in [1 << 63, 1 << 22, 1 << 31, u64::MAX << 22] {
        let words = Shared::new([const { AtomicU64::new(0) }; 4]).expect("a mapping");
        let permits = in_memory::<2>(&*words);
        words[2].store(bits, SeqCst);
        // One is no permit any more, and the other one is.
        let held = permits.acquire().expect("free");
        assert!(matches!(permits.try_acquire(), Err(AcquireError::WouldBlock)), "{bits:#x}");
        words[3].store(bits, SeqCst);
        assert!(matches!(permits.try_acquire(), Err(AcquireError::Corrupt)), "{bits:#x}");
        drop(held);
        assert!(matches!(permits.acquire(), Err(AcquireError::Corrupt)), "{bits:#x}");
        assert_eq!(permits.available(), 0);
        assert!(permits.adopt_any().is_none());
        // Whatever the gate and the domain are, nobody hangs.
        words[0].store(u64::MAX, SeqCst);
        words[1].store(u64::MAX, SeqCst);
        let soon = permits.acquire_timeout(Duration::from_millis(2));
        assert!(matches!(soon, Err(AcquireError::Corrupt)), "{bits:#x}");
    }
}
