//! `Barrier` between processes that are killed, stopped, forked and put into other pid namespaces, and under signals.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_barrier.rs`.
//!
//! # Safety
//!
//! A new pid namespace concerns the children of a process alone; a copy of a member is used in a forked child, whose
//! member it is not.
#![expect(unsafe_code, reason = "pid namespaces, and a copied member")]

mod waits;

use core::mem::{ManuallyDrop, forget};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::process::{Child, fork_fn};
use ipc_sync::{
    Barrier, BarrierError, BarrierMember, BarrierWaitResult, Breach, Deadline, Errno, ProcessId,
    WaitError,
};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_waitv, refuse_wake_op};
use ipc_testkit::cases::{self, doing, events::await_sleep, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("thousand_turns_of_eight_processes", thousand_turns),
        ("who_is_killed_before_it_comes_is_told_to_all", killed_before_it_comes),
        ("who_is_killed_asleep_had_come", killed_asleep),
        ("who_is_killed_inside_a_wait_is_found_at_once", killed_inside_a_wait),
        ("killed_at_any_moment", killed_at_any_moment),
        ("a_process_that_ends_as_a_member_is_dead", ends_as_a_member),
        ("a_joiner_finds_the_dead", joiner_finds_the_dead),
        ("a_stopped_member_is_alive", stopped_member_is_alive),
        ("resets_at_any_moment", resets_at_any_moment),
        ("a_late_joiner_is_waited_for", late_joiner),
        ("several_members_of_one_process", several_members_of_one_process),
        ("a_forked_copy_of_a_member_does_nothing", forked_copy),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("an_arrival_comes_through_signals", comes_through_signals),
        ("a_signal_ends_an_interruptible_wait", signal_ends_an_interruptible_wait),
        ("an_arrival_outlives_the_signal", arrival_outlives_the_signal),
        ("waiting_costs_no_processor_time", waiting_costs_no_processor_time),
        ("a_sandbox_may_refuse_what_it_wants", refused_operations),
        ("waiters_outlive_an_opener_that_dies_in_a_sandbox", opener_dies_in_a_sandbox),
        ("no_death_is_judged_between_pid_namespaces", no_judgement_between_pid_namespaces),
    ])
}

fn barrier<const N: usize>() -> Shared<Barrier<N>> {
    Shared::new(Barrier::new(N as u32)).expect("a mapping")
}

type Outcome = Result<BarrierWaitResult, BarrierError>;

/// A child that joins, and then does `f` as a member. It is a member when this returns.
fn member<const N: usize>(
    barrier: &Barrier<N>,
    f: impl FnOnce(&mut BarrierMember<'_>) -> bool,
) -> Child {
    let members = barrier.members();
    let child = fork_fn(|| {
        let mut member = barrier.join().expect("a free place");
        let went_well = f(&mut member);
        forget(member);
        i32::from(!went_well)
    });
    while barrier.members() == members {
        std::thread::yield_now();
    }
    child.expect("fork")
}

fn sleeper<const N: usize>(barrier: &Barrier<N>, expect: impl Fn(Outcome) -> bool) -> Child {
    let child = member(barrier, |member| expect(member.wait()));
    await_sleep(child.id());
    child
}

fn idler<const N: usize>(barrier: &Barrier<N>) -> Child {
    member(barrier, |_| {
        loop {
            std::thread::park();
        }
    })
}

fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
}

fn id_of(child: &Child) -> i32 {
    child.id().as_raw_nonzero().get()
}

fn died(outcome: Outcome, pid: i32) -> bool {
    matches!(outcome, Err(BarrierError::Broken(Breach::Died(who)))
        if who.pid().as_raw_nonzero().get() == pid)
}

/// A machine that is busy with other things stops anybody for longer now and then.
const SOON: Duration = Duration::from_millis(1000);

fn thousand_turns() {
    const TURNS: u32 = 1_000;
    struct World {
        barrier: Barrier<8>,
        /// Who has had which index in this turn, and in the next.
        indices: [AtomicU32; 2],
        count: AtomicU32,
    }
    let world = World {
        barrier: Barrier::new(8),
        indices: [AtomicU32::new(0), AtomicU32::new(0)],
        count: AtomicU32::new(0),
    };
    let world = Shared::new(world).expect("a mapping");
    let work = || {
        let mut member = world.barrier.join().expect("a free place");
        for turn in 0..TURNS {
            let count = world.count.fetch_add(1, SeqCst);
            assert!((8 * turn..8 * (turn + 1)).contains(&count), "{count} in turn {turn}");
            let result = member.wait().expect("nobody dies");
            // Others may be at the next turn's arrival, and none beyond.
            let count = world.count.load(SeqCst);
            assert!((8 * (turn + 1)..8 * (turn + 2)).contains(&count), "{count} after {turn}");
            let bit = 1 << result.index();
            let before = world.indices[turn as usize % 2].fetch_or(bit, SeqCst);
            assert_eq!((before & bit, result.is_leader()), (0, result.index() == 7));
            member
                .wait_with(|| {
                    let seen = world.indices[turn as usize % 2].swap(0, SeqCst);
                    assert_eq!(seen, 0xff, "indices of turn {turn}");
                })
                .expect("nobody dies");
        }
        0
    };
    join((0..8).map(|_| fork_fn(work).expect("fork")).collect::<Vec<_>>());
    assert_eq!(world.count.load(SeqCst), 8 * TURNS);
}

fn killed_before_it_comes() {
    let barrier = barrier::<4>();
    let victim = idler(&barrier);
    let pid = id_of(&victim);
    let waiters = [(); 3].map(|()| sleeper(&barrier, |outcome| died(outcome, pid)));
    // Their slices are at their longest.
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    kill(victim);
    join(waiters);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // And everybody who comes is told the same.
    let Err(BarrierError::Broken(Breach::Died(who))) = barrier.join().map(forget) else {
        panic!("{:?}", barrier.join())
    };
    assert_eq!(who.pid().as_raw_nonzero().get(), pid);
    // The others have ended, too: all places are free after a reset.
    barrier.reset();
    assert_eq!(barrier.members(), 0);
    assert!(!barrier.is_broken());
}

fn killed_asleep() {
    let barrier = barrier::<3>();
    let mut me = barrier.join().expect("a free place");
    let twice = |victim: i32| {
        move |member: &mut BarrierMember<'_>| {
            member.wait().is_ok_and(|result| result.index() == 1) && died(member.wait(), victim)
        }
    };
    let victim = sleeper(&barrier, |_| false);
    let pid = id_of(&victim);
    let other = member(&barrier, twice(pid));
    await_sleep(other.id());
    kill(victim);
    // Its part was done.
    assert_eq!(me.wait().expect("all have come").index(), 2);
    assert!(died(me.wait(), pid));
    join([other]);
}

/// Killed in the action, the kernel says so; nobody waits for a slice to end.
fn killed_inside_a_wait() {
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let barrier = barrier::<3>();
        let waiters = [(); 2].map(|()| {
            sleeper(&barrier, |outcome| {
                matches!(outcome, Err(BarrierError::Broken(Breach::Died(_))))
            })
        });
        let acting = Shared::new(AtomicU32::new(0)).expect("a mapping");
        let victim = member(&barrier, |member| {
            let act = || {
                acting.store(1, SeqCst);
                loop {
                    std::thread::park();
                }
            };
            member.wait_with(act).is_ok()
        });
        while acting.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        let began = Instant::now();
        kill(victim);
        join(waiters);
        longest = longest.max(began.elapsed());
    }
    assert!(longest < SOON, "{longest:?}");
}

/// Of four that run from turn to turn one is killed; the others are all told of it; another one takes its place.
fn killed_at_any_moment() {
    const ROUNDS: u64 = 25;
    let barrier = barrier::<4>();
    let told = Shared::new([const { AtomicU32::new(0) }; 4]).expect("a mapping");
    let run = |slot: usize| {
        let mut member = barrier.join().expect("a free place");
        loop {
            match member.wait_with(std::thread::yield_now) {
                Ok(_) => {}
                Err(BarrierError::Broken(Breach::Died(who))) => {
                    told[slot].store(who.pid().as_raw_nonzero().get() as u32, SeqCst);
                    // Not dropped: it dies as a member, and its place is free after the reset.
                    forget(member);
                    return 0;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    for round in 0..ROUNDS {
        doing(&format!("round {round}"));
        let mut children: Vec<_> =
            (0..4).map(|slot| fork_fn(|| run(slot)).expect("fork")).collect();
        while barrier.members() < 4 {
            std::thread::yield_now();
        }
        // No two rounds alike, and no clock that they would follow.
        (0..round * round % 997).for_each(|_| std::thread::yield_now());
        let slot = (round % 4) as usize;
        let victim = children.remove(slot);
        let pid = id_of(&victim) as u32;
        kill(victim);
        join(children);
        let told: Vec<_> = told.iter().map(|slot| slot.swap(0, SeqCst)).collect();
        let expected: Vec<_> = (0..4).map(|other| if other == slot { 0 } else { pid }).collect();
        assert_eq!(told, expected);
        barrier.reset();
        assert_eq!((barrier.members(), barrier.is_broken()), (0, false));
    }
}

fn ends_as_a_member() {
    let barrier = barrier::<2>();
    let mut gone = member(&barrier, |_| true);
    let pid = id_of(&gone);
    gone.wait().expect("a child of ours");
    let mut me = barrier.join().expect("a free place");
    assert!(died(me.try_wait(), pid));
    assert!(died(me.wait(), pid));
    barrier.reset();
    assert_eq!(barrier.members(), 1);
    let mut next = barrier.join().expect("its place is free");
    assert_eq!(next.try_wait(), Err(BarrierError::WouldBlock));
}

fn joiner_finds_the_dead() {
    let barrier = barrier::<1>();
    let victim = idler(&barrier);
    assert_eq!(barrier.join().map(forget), Err(BarrierError::Full));
    let pid = id_of(&victim);
    kill(victim);
    match barrier.join().map(forget) {
        Err(BarrierError::Broken(Breach::Died(who))) => {
            assert_eq!(who.pid().as_raw_nonzero().get(), pid);
        }
        other => panic!("{other:?}"),
    }
    barrier.reset();
    barrier.join().expect("its place is free").wait().expect("alone");
}

fn stopped_member_is_alive() {
    let barrier = barrier::<2>();
    let mut me = barrier.join().expect("a free place");
    let mut stopped = idler(&barrier);
    stopped.signal(Signal::STOP).expect("a live child");
    for _ in 0..2 {
        let timeout = Duration::from_millis(250);
        // Longer than the longest slice, so that it was looked at.
        assert_eq!(me.wait_timeout(timeout), Err(BarrierError::TimedOut));
        barrier.reset();
        assert_eq!(me.try_wait(), Err(BarrierError::WouldBlock));
    }
    assert_eq!(barrier.members(), 2, "a reset has freed the place of the living");
    stopped.kill().expect("a live child");
    stopped.wait().expect("a child of ours");
    assert!(died(me.wait(), id_of(&stopped)));
}

/// Whoever is told of a reset waits again; in the end nobody hangs, and everybody's place is his.
fn resets_at_any_moment() {
    let barrier = barrier::<4>();
    let resets = Shared::new(AtomicU32::new(0)).expect("a mapping");
    let run = || {
        let mut member = barrier.join().expect("a free place");
        loop {
            match member.wait() {
                Ok(_) => {}
                Err(BarrierError::Broken(Breach::Reset)) => _ = resets.fetch_add(1, SeqCst),
                Err(error) => {
                    forget(member);
                    return i32::from(error != BarrierError::Broken(Breach::Aborted));
                }
            }
        }
    };
    let children: Vec<_> = (0..4).map(|_| fork_fn(run).expect("fork")).collect();
    while barrier.members() < 4 {
        std::thread::yield_now();
    }
    let reset = || {
        for round in 0..60 {
            barrier.reset();
            (0..round % 7).for_each(|_| std::thread::yield_now());
        }
        0
    };
    join((0..2).map(|_| fork_fn(reset).expect("fork")).collect::<Vec<_>>());
    assert!(resets.load(SeqCst) > 0, "no reset met anybody");
    assert_eq!((barrier.members(), barrier.is_broken()), (4, false));
    barrier.abort();
    join(children);
    barrier.reset();
    assert_eq!(barrier.members(), 0);
}

fn late_joiner() {
    let barrier = barrier::<3>();
    let early = sleepers(2, || {
        let mut member = barrier.join().expect("a free place");
        let outcome = member.wait();
        member.leave();
        outcome.map(|_| ()).map_err(|_| WaitError::TimedOut)
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((barrier.members(), barrier.waiting()), (2, 2));
    let mut late = barrier.join().expect("the last place");
    assert!(late.wait().expect("all are there").is_leader());
    join(early);
}

fn several_members_of_one_process() {
    let barrier = barrier::<4>();
    let child = fork_fn(|| {
        let members = [(); 2].map(|()| barrier.join().expect("a free place"));
        std::thread::scope(|scope| {
            for mut member in members {
                scope.spawn(move || {
                    (0..200).for_each(|_| _ = member.wait().expect("nobody dies"));
                    member.leave();
                });
            }
        });
        0
    });
    let members = [(); 2].map(|()| barrier.join().expect("a free place"));
    std::thread::scope(|scope| {
        for mut member in members {
            scope.spawn(move || {
                (0..200).for_each(|_| _ = member.wait().expect("nobody dies"));
                member.leave();
            });
        }
    });
    join([child.expect("fork")]);
    assert_eq!((barrier.members(), barrier.is_broken()), (0, false));
}

fn forked_copy() {
    let barrier = barrier::<2>();
    let mut me = barrier.join().expect("a free place");
    // SAFETY: the copy is used in the child alone, where it is nobody's member.
    let copy = ManuallyDrop::new(unsafe { core::ptr::read(&raw const me) });
    let child = fork_fn(move || {
        let mut copy = ManuallyDrop::into_inner(copy);
        let refused = [copy.wait(), copy.try_wait(), copy.wait_timeout(Duration::ZERO)];
        drop(copy);
        i32::from(refused != [Err(BarrierError::NotAMember); 3])
    });
    join([child.expect("fork")]);
    assert_eq!((barrier.members(), barrier.waiting(), barrier.is_broken()), (1, 0, false));
    let other = sleeper(&barrier, |outcome| outcome.is_ok());
    me.wait().expect("all are there");
    join([other]);
}

/// What the tools for all waits want: the reason, and a barrier that is whole again.
fn plain(barrier: &Barrier<2>, outcome: Outcome) -> Result<(), WaitError> {
    barrier.reset();
    match outcome {
        Ok(_) => Ok(()),
        Err(BarrierError::TimedOut) => Err(WaitError::TimedOut),
        Err(BarrierError::Os(errno)) => Err(WaitError::Os(errno)),
        Err(error) => panic!("{error}"),
    }
}

fn time_outs_are_kept_under_signals() {
    let barrier = barrier::<2>();
    let member = core::cell::RefCell::new(barrier.join().expect("a free place"));
    keeps_time_outs(|timeout| plain(&barrier, member.borrow_mut().wait_timeout(timeout)));
    let mut member = member.into_inner();
    assert_eq!(member.wait_deadline(Deadline::now()), Err(BarrierError::TimedOut));
    barrier.reset();
    let other = sleeper(&barrier, |outcome| outcome.is_ok());
    // The last one is not late.
    assert!(member.wait_deadline(Deadline::now()).is_ok());
    join([other]);
}

fn comes_through_signals() {
    let barrier = barrier::<2>();
    let mut me = barrier.join().expect("a free place");
    let child = member(&barrier, |member| {
        interrupt_every(50, 0);
        let outcome = member.wait_timeout(Duration::MAX);
        signals::interrupt_every(0);
        outcome.is_ok()
    });
    await_sleep(child.id());
    me.wait().expect("all are there");
    join([child]);
}

fn signal_ends_an_interruptible_wait() {
    let barrier = barrier::<2>();
    let member = core::cell::RefCell::new(barrier.join().expect("a free place"));
    ends_by_a_signal(|deadline| {
        // The reset has ended what the last signal left.
        if member.borrow_mut().try_wait() == Err(BarrierError::Broken(Breach::Reset)) {
            barrier.reset();
        }
        plain(&barrier, member.borrow_mut().wait_interruptible(deadline))
    });
}

fn arrival_outlives_the_signal() {
    let barrier = barrier::<2>();
    let mut me = barrier.join().expect("a free place");
    let has_left = Shared::new(AtomicU32::new(0)).expect("a mapping");
    let other = member(&barrier, |member| {
        interrupt_every(2_000, 0);
        let outcome = member.wait_interruptible(Deadline::FAR);
        signals::interrupt_every(0);
        let interrupted = outcome == Err(BarrierError::Os(Errno::INTR));
        let waits_on = member.try_wait() == Err(BarrierError::WouldBlock);
        has_left.store(1, SeqCst);
        while barrier.waiting() != 0 {
            std::thread::yield_now();
        }
        // It is not counted twice, and its index is that of its arrival.
        interrupted && waits_on && member.try_wait().is_ok_and(|result| result.index() == 0)
    });
    while has_left.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(barrier.waiting(), 1);
    // It opens, even while the other one is not there.
    assert_eq!(me.wait().expect("the other has come").index(), 1);
    join([other]);
}

/// A waiter that outlasts its first slices must sleep in between, not run.
fn waiting_costs_no_processor_time() {
    let barrier = barrier::<2>();
    let mut me = barrier.join().expect("a free place");
    let idle = idler(&barrier);
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let before = used();
    let timeout = Duration::from_millis(500);
    assert_eq!(me.wait_timeout(timeout), Err(BarrierError::TimedOut));
    let used = used() - before;
    assert!(used < timeout / 20, "{used:?} of {timeout:?}");
    kill(idle);
}

fn refused_operations() {
    for refuse in [refuse_waitv, refuse_wake_op] {
        // The second has what the first has refused as well.
        refuse();
        let barrier = barrier::<4>();
        let run = || {
            let mut member = barrier.join().expect("a free place");
            (0..100).for_each(|_| _ = member.wait().expect("nobody dies"));
            member.leave();
            0
        };
        join((0..4).map(|_| fork_fn(run).expect("fork")).collect::<Vec<_>>());
        let waiters = [(); 3].map(|()| sleeper(&barrier, |outcome| outcome.is_err()));
        barrier.abort();
        join(waiters);
    }
}

/// Without the kernel's operation the gate keeps saying "maybe", and the wake-up is a plain one.
fn opener_dies_in_a_sandbox() {
    let barrier = barrier::<3>();
    let waiters = [(); 2].map(|()| sleeper(&barrier, |outcome| outcome.is_ok()));
    let mut opener = fork_fn(|| {
        let mut member = barrier.join().expect("a free place");
        refuse_wake_op();
        die_of_wake();
        i32::from(member.wait().is_err())
    })
    .expect("fork");
    assert!(!opener.wait().expect("a child of ours").success(), "it was to be killed");
    join(waiters);
}

fn no_judgement_between_pid_namespaces() {
    let barrier = barrier::<2>();
    let mut me = barrier.join().expect("a free place");
    let outer = || {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let inner = fork_fn(|| {
            let mut member = barrier.join().expect("a free place");
            let opened = member.wait().is_ok();
            forget(member);
            // As pid 1 of a namespace this is somebody quite different in the outer one.
            i32::from(!opened || std::process::id() != 1)
        });
        i32::from(!inner.expect("fork").wait().expect("wait").success())
    };
    let mut outer = fork_fn(outer).expect("fork");
    // They wait for each other as usual.
    let waited = me.wait_timeout(Duration::from_secs(5));
    match outer.wait().expect("wait").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
    assert!(waited.is_ok(), "{waited:?}");
    // The other one is dead, but nobody here can know it.
    doing("waiting for a dead process of another namespace");
    assert_eq!(me.try_wait(), Err(BarrierError::WouldBlock));
    assert_eq!(me.wait_timeout(Duration::from_millis(250)), Err(BarrierError::TimedOut));
    barrier.reset();
    assert_eq!(barrier.members(), 2);
    assert_ne!(ProcessId::current().expect("an identity").pid().as_raw_nonzero().get(), 1);
}
