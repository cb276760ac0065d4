//! `RwLock` between processes that are killed, stopped, forked and put into other pid namespaces.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_rwlock.rs`.
//!
//! # Safety
//!
//! A lock that is made for a region lies in a mapping that is kept as long as any of its users.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

mod waits;

use core::mem::{ManuallyDrop, forget};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::process::{Child, fork_fn};
use ipc_core::{Errno, futex};
use ipc_sync::{Deadline, ProcessId, RwLock, RwLockError, WaitError};
use ipc_testkit::cases::events::{await_exit, await_program, await_sleep};
use ipc_testkit::cases::seccomp::{refuse_waitv, refuse_wake_op};
use ipc_testkit::cases::{self, doing, signals};
use ipc_testkit::shared::Shared;
use rustix::process::{Signal, getpid, kill_process};
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("excludes_between_processes", excludes),
        ("killed_writer_hands_over_at_once", killed_writer_hands_over_at_once),
        ("killed_writer_hands_over_within_a_slice", killed_writer_hands_over_within_a_slice),
        ("killed_reader_hands_over_at_once", killed_reader_hands_over_at_once),
        ("killed_reader_hands_over_within_a_slice", killed_reader_hands_over_within_a_slice),
        ("a_writer_killed_among_readers_is_not_told_of", writer_killed_among_readers),
        ("every_try_finds_the_dead", every_try_finds_the_dead),
        ("a_dead_readers_place_is_found", dead_readers_place_is_found),
        ("no_crash_costs_a_place", no_crash_costs_a_place),
        ("crash_of_every_writer_is_told", crash_of_every_writer_is_told),
        ("killed_sleepers_take_no_wake_up_along", killed_sleepers),
        ("dead_and_not_reaped_is_dead", zombies_are_dead),
        ("stopped_is_alive", stopped_is_alive),
        ("ended_thread_and_exec_keep_it", ended_thread_and_exec_keep_it),
        ("forked_copies_of_guards_release_nothing", forked_copies),
        ("f06_forked_copies_leave_the_childs_own_holds", forked_copies_leave_own_holds),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("signals_do_not_hide_a_death", signals_do_not_hide_a_death),
        ("a_signal_ends_what_is_interruptible", signal_ends_what_is_interruptible),
        ("a_signal_that_comes_before_the_word_ends_the_wait_for_readers", signal_between_two_waits),
        ("waiting_costs_no_processor_time", waiting_costs_no_processor_time),
        ("a_sandbox_may_refuse_to_wait_for_two_words", sandbox_without_waitv),
        ("a_sandbox_may_refuse_to_clear_and_wake", sandbox_without_wake_op),
        ("zeroed_memory_is_a_free_lock", zeroed_memory_is_a_free_lock),
        ("no_steal_between_pid_namespaces", no_steal_between_pid_namespaces),
    ])
}

const READERS: usize = 6;
type Lock = RwLock<[u64; 2], READERS>;

/// What the processes of a case share.
struct World {
    lock: Lock,
    stage: AtomicU32,
    told: AtomicU32,
}

fn world() -> Shared<World> {
    // SAFETY: the mapping is kept until the case ends.
    around(unsafe { RwLock::in_region([0; 2]) })
}

/// The same with a lock that the kernel is not told of.
fn plain_world() -> Shared<World> {
    around(RwLock::new([0; 2]))
}

fn around(lock: Lock) -> Shared<World> {
    let world = World { lock, stage: AtomicU32::new(0), told: AtomicU32::new(0) };
    Shared::new(world).expect("a mapping")
}

impl World {
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

    /// A child that has what `take` takes and does nothing more; it has it when this returns.
    fn holder<'a, G>(&'a self, take: fn(&'a Lock) -> G) -> Child {
        self.stage.store(0, SeqCst);
        let hold = || {
            let _held = take(&self.lock);
            self.reach(1);
            self.await_stage(9);
            0
        };
        let child = fork_fn(hold).expect("fork");
        self.await_stage(1);
        child
    }

    fn reader(&self) -> Child {
        self.holder(|lock| lock.read().expect("a lock that nobody writes to"))
    }

    fn writer(&self) -> Child {
        self.holder(|lock| lock.write().expect("a free lock"))
    }

    /// Reads or is told, and then repairs.
    fn read(&self) -> Result<(), WaitError> {
        self.repair(self.lock.read().map(drop))
    }

    fn write(&self) -> Result<(), WaitError> {
        self.repair(self.lock.write().map(drop))
    }

    fn repair(
        &self,
        result: Result<(), RwLockError<'_, [u64; 2], READERS>>,
    ) -> Result<(), WaitError> {
        if let Err(RwLockError::Recovered(value)) = result {
            self.told.fetch_add(1, SeqCst);
            drop(value.mark_consistent());
            return Ok(());
        }
        in_vain(result)
    }

    fn assert_free(&self) {
        drop(self.lock.write().expect("free, and nobody to be told"));
        drop(self.lock.read().expect("free, and nobody to be told"));
        assert_eq!((self.lock.owner(), self.lock.readers().count()), (None, 0));
    }

    fn told(&self) -> u32 {
        self.told.swap(0, SeqCst)
    }
}

/// As the waits of other primitives say it.
fn in_vain<G>(result: Result<G, RwLockError<'_, [u64; 2], READERS>>) -> Result<(), WaitError> {
    match result {
        Ok(_) => Ok(()),
        Err(RwLockError::TimedOut) => Err(WaitError::TimedOut),
        Err(RwLockError::Os(errno)) => Err(WaitError::Os(errno)),
        Err(error) => panic!("{error}"),
    }
}

fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
}

fn excludes() {
    const TURNS: u64 = 10_000;
    let world = world();
    let write = || {
        for _ in 0..TURNS {
            let mut pair = world.lock.write().expect("nobody dies");
            pair[0] += 1;
            pair[1] += 1;
        }
        0
    };
    let read = || {
        for _ in 0..TURNS {
            let pair = world.lock.read().expect("nobody dies");
            assert_eq!(pair[0], pair[1]);
        }
        0
    };
    let all = (0..3).flat_map(|_| [fork_fn(write).expect("fork"), fork_fn(read).expect("fork")]);
    join(all.collect::<Vec<_>>());
    assert_eq!(*world.lock.read().expect("free"), [3 * TURNS; 2]);
    world.assert_free();
}

/// Two readers and a writer, asleep for so long that their slices are at their longest; then the time from the
/// reported death of the one before them until the first of them has the lock.
fn hand_over(world: &World, holder: Child) -> Duration {
    let done = Shared::new(AtomicU32::new(0)).expect("a mapping");
    let note = |result: Result<(), WaitError>| {
        done.fetch_add(1, SeqCst);
        result
    };
    // The first has the word, if nobody else has.
    let mut waiters = sleepers(1, || note(world.write()));
    waiters.extend(sleepers(2, || note(world.read())));
    std::thread::sleep(Duration::from_millis(150));
    kill(holder);
    let began = Instant::now();
    while done.load(SeqCst) == 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "nobody goes on");
        std::thread::yield_now();
    }
    let took = began.elapsed();
    join(waiters);
    took
}

fn hands_over(world: &World, holder: impl Fn() -> Child, told: u32, times: usize) -> [Duration; 2] {
    let once = |_| {
        let took = hand_over(world, holder());
        assert_eq!(world.told(), told, "told of a death");
        world.assert_free();
        took
    };
    let mut times: Vec<_> = (0..times).map(once).collect();
    times.sort();
    let [median, worst] = [times[times.len() / 2], times[times.len() - 1]];
    println!("    from the reported death: median {median:?}, worst {worst:?}");
    assert!(worst < Duration::from_millis(200));
    [median, worst]
}

fn killed_writer_hands_over_at_once() {
    let world = world();
    let [median, _] = hands_over(&world, || world.writer(), 1, 3);
    assert!(median < Duration::from_millis(10), "the baton did not arrive");
}

fn killed_writer_hands_over_within_a_slice() {
    let world = plain_world();
    hands_over(&world, || world.writer(), 1, 2);
}

fn killed_reader_hands_over_at_once() {
    let world = world();
    let [median, _] = hands_over(&world, || world.reader(), 0, 3);
    assert!(median < Duration::from_millis(10), "the baton did not arrive");
}

fn killed_reader_hands_over_within_a_slice() {
    let world = plain_world();
    hands_over(&world, || world.reader(), 0, 2);
}

/// One that has the word and waits for readers has changed nothing.
fn writer_killed_among_readers() {
    for world in [world(), plain_world()] {
        let reading = world.lock.read().expect("free");
        let writer = sleepers(1, || world.write()).remove(0);
        assert_eq!(world.lock.owner().map(|owner| owner.pid()), Some(writer.id()));
        let newcomers = sleepers(2, || world.read());
        kill(writer);
        // They need not wait for the reader that is there.
        join(newcomers);
        // Nor is a second time waiting for itself, when nobody else has looked since.
        kill(sleepers(1, || world.write()).remove(0));
        drop(world.lock.try_read().expect("the writer is dead"));
        assert_eq!(world.lock.readers().count(), 1);
        // Nor is a later writer told, which finds the word of the dead.
        let writer = sleepers(1, || world.write()).remove(0);
        kill(writer);
        drop(reading);
        world.assert_free();
        assert_eq!(world.told(), 0);
    }
}

fn every_try_finds_the_dead() {
    let world = world();
    type Attempt = fn(&Lock) -> Option<RwLockError<'_, [u64; 2], READERS>>;
    let attempts: [Attempt; 6] = [
        |lock| lock.try_read().err(),
        |lock| lock.read().err(),
        |lock| lock.read_timeout(Duration::ZERO).err(),
        |lock| lock.try_write().err(),
        |lock| lock.write().err(),
        |lock| lock.write_timeout(Duration::ZERO).err(),
    ];
    for attempt in attempts {
        kill(world.writer());
        match attempt(&world.lock) {
            Some(RwLockError::Recovered(value)) => drop(value.mark_consistent()),
            other => panic!("not told of the death: {other:?}"),
        }
        world.assert_free();
    }
    kill(world.reader());
    drop(world.lock.try_write().expect("a dead reader is nobody"));
    kill(world.reader());
    drop(world.lock.write_timeout(Duration::ZERO).expect("a dead reader is nobody"));
    world.assert_free();
}

fn dead_readers_place_is_found() {
    let world = world();
    let mut alive: Vec<_> = (1..READERS).map(|_| world.reader()).collect();
    kill(world.reader());
    assert_eq!(world.lock.readers().count(), READERS);
    let reading = world.lock.try_read().expect("the place of the dead");
    assert_eq!(world.lock.readers().count(), READERS);
    assert!(matches!(world.lock.read(), Err(RwLockError::TooManyReaders)));
    kill(alive.remove(2));
    drop(world.lock.read().expect("the place of the dead"));
    drop(reading);
    alive.into_iter().for_each(kill);
    world.assert_free();
}

fn no_crash_costs_a_place() {
    let world = world();
    for round in 0..50 {
        let crash = || {
            forget(world.lock.read().expect("place for one"));
            0
        };
        assert!(fork_fn(crash).expect("fork").wait().expect("wait").success(), "round {round}");
    }
    world.assert_free();
}

fn crash_of_every_writer_is_told() {
    let world = world();
    for generation in 0..60 {
        let crash = || {
            // Readers are told as well as writers.
            let told = if generation % 2 == 0 {
                world.lock.write().map(forget).map_err(forget).is_err()
            } else {
                world.lock.read().map(forget).map_err(forget).is_err()
            };
            i32::from(told != (generation > 0))
        };
        let mut child = fork_fn(crash).expect("fork");
        assert!(child.wait().expect("wait").success(), "generation {generation}");
    }
    world.read().expect("the last death");
    assert_eq!(world.told(), 1);
    world.assert_free();
}

fn killed_sleepers() {
    for round in 0..6 {
        let world = world();
        let held = world.lock.write().expect("free");
        let mut all = sleepers(2, || world.read());
        all.extend(sleepers(2, || world.write()));
        all.extend(sleepers(2, || world.read()));
        let mut victim = all.remove(round);
        victim.kill().expect("a live child");
        drop(held);
        victim.wait().expect("a child of ours");
        join(all);
        // It may have had the lock by then.
        assert!(world.told() <= 1);
        world.read().expect("free");
        world.assert_free();
    }
}

fn zombies_are_dead() {
    let world = world();
    let mut writer = world.writer();
    writer.kill().expect("a live child");
    await_exit(&writer);
    world.read().expect("a dead writer");
    assert_eq!(world.told(), 1);
    let mut reader = world.reader();
    reader.kill().expect("a live child");
    await_exit(&reader);
    world.assert_free();
    writer.wait().expect("a child of ours");
    reader.wait().expect("a child of ours");
}

/// The thread that took it ends, and then the process executes another program: it holds until it ends.
fn ended_thread_and_exec_keep_it() {
    use std::os::unix::process::CommandExt;

    /// How often a death is told after it, and what it is.
    type Take = (u32, fn(&Lock));
    let takes: [Take; 2] = [
        (0, |lock| forget(lock.read().expect("free"))),
        (1, |lock| forget(lock.write().expect("free"))),
    ];
    for (told, take) in takes {
        let world = world();
        let lock = &world.lock;
        let hold_and_exec = || {
            std::thread::scope(|scope| {
                scope.spawn(|| take(lock));
            });
            let error = std::process::Command::new("/bin/sleep").arg("100").exec();
            panic!("exec: {error}");
        };
        let holder = fork_fn(hold_and_exec).expect("fork");
        await_program(holder.id(), "sleep");
        let timeout = Duration::from_millis(150);
        assert!(matches!(lock.write_timeout(timeout), Err(RwLockError::TimedOut)));
        assert!(matches!(lock.try_write(), Err(RwLockError::WouldBlock)));
        kill(holder);
        world.write().expect("a dead holder");
        assert_eq!(world.told(), told);
        world.assert_free();
    }
}

fn stopped_is_alive() {
    let world = world();
    // Longer than the longest slice, so that the owner was looked at.
    let timeout = Duration::from_millis(150);
    for hold in [World::reader, World::writer] {
        let mut holder = hold(&world);
        holder.signal(Signal::STOP).expect("a live child");
        assert!(matches!(world.lock.write_timeout(timeout), Err(RwLockError::TimedOut)));
        assert!(matches!(world.lock.try_write(), Err(RwLockError::WouldBlock)));
        holder.signal(Signal::CONT).expect("a live child");
        world.reach(9);
        assert!(holder.wait().expect("wait").success());
        world.assert_free();
    }
}

/// The closures own the guards. So the parent has released the lock, and the child has a copy beside a guard of its own.
fn forked_copies_leave_own_holds() {
    let world = world();
    let copy = world.lock.read().expect("free");
    let drop_copy = || {
        let copy = copy;
        // One of them is in the slot that the copy names.
        let own: Vec<_> = (0..READERS).map_while(|_| world.lock.read().ok()).collect();
        drop(copy);
        i32::from(own.len() != world.lock.readers().count())
    };
    join([fork_fn(drop_copy).expect("fork")]);
    // The child has ended with what it held.
    while let Err(RwLockError::WouldBlock) = world.lock.try_write() {}
    let copy = world.lock.write().expect("free");
    let drop_copy = || {
        let copy = copy;
        let _own = world.lock.write().expect("the parent releases it");
        drop(copy);
        i32::from(world.lock.owner() != ProcessId::current().ok())
    };
    join([fork_fn(drop_copy).expect("fork")]);
}

fn forked_copies() {
    let world = world();
    let read = world.lock.read().expect("free");
    // SAFETY: the copy is dropped in the child alone, where it is nobody's guard.
    let copy = ManuallyDrop::new(unsafe { core::ptr::read(&read) });
    let drop_copy = || {
        drop(ManuallyDrop::into_inner(copy));
        i32::from(!matches!(world.lock.try_write(), Err(RwLockError::WouldBlock)))
    };
    join([fork_fn(drop_copy).expect("fork")]);
    assert_eq!(world.lock.readers().count(), 1);
    drop(read);
    let write = world.lock.write().expect("free");
    // SAFETY: as above.
    let copy = ManuallyDrop::new(unsafe { core::ptr::read(&write) });
    let drop_copy = || {
        drop(ManuallyDrop::into_inner(copy));
        i32::from(!matches!(world.lock.try_read(), Err(RwLockError::WouldBlock)))
    };
    join([fork_fn(drop_copy).expect("fork")]);
    drop(write);
    world.assert_free();
}

fn time_outs_are_kept_under_signals() {
    let world = plain_world();
    let reader = world.reader();
    keeps_time_outs(|timeout| in_vain(world.lock.write_timeout(timeout)));
    kill(reader);
    let writer = world.writer();
    keeps_time_outs(|timeout| in_vain(world.lock.read_timeout(timeout)));
    kill(writer);
}

fn signals_do_not_hide_a_death() {
    let limit = Duration::from_secs(5);
    for world in [world(), plain_world()] {
        for writes in [true, false] {
            kill(if writes { world.reader() } else { world.writer() });
            // Much more often than any slice ends.
            interrupt_every(400, 0);
            let began = Instant::now();
            let result = if writes {
                world.lock.write_timeout(limit).map(drop)
            } else {
                world.lock.read_timeout(limit).map(drop)
            };
            let took = began.elapsed();
            signals::interrupt_every(0);
            world.repair(result).expect("the lock of the dead");
            assert!(took < Duration::from_millis(200), "{took:?}");
        }
    }
}

fn signal_ends_what_is_interruptible() {
    let world = world();
    let reader = world.reader();
    ends_by_a_signal(|deadline| in_vain(world.lock.write_interruptible(deadline)));
    assert_eq!(world.lock.owner(), None);
    kill(reader);
    world.assert_free();
    let writer = world.writer();
    ends_by_a_signal(|deadline| in_vain(world.lock.write_interruptible(deadline)));
    ends_by_a_signal(|deadline| in_vain(world.lock.read_interruptible(deadline)));
    kill(writer);
}

/// A writer whose sleep was ended by a signal, and who then finds the word free, and readers.
fn signal_between_two_waits() {
    /// The address of the stage, for the handler.
    static STAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());
    extern "C" fn make_the_writer_a_reader(_: i32) {
        // SAFETY: the stage outlives the last signal.
        let stage = unsafe { &*STAGE.load(SeqCst) };
        stage.store(3, SeqCst);
        while stage.load(SeqCst) < 4 {
            core::hint::spin_loop();
        }
    }
    let handler = make_the_writer_a_reader as *const () as usize;
    signals::on_signal(Signal::USR1.as_raw(), handler, 0);
    let (world, waiter) = (world(), getpid());
    STAGE.store((&raw const world.stage).cast_mut(), SeqCst);
    let is_interrupted = || {
        world.stage.store(0, SeqCst);
        let hold = || {
            let held = world.lock.write().expect("free");
            world.reach(1);
            world.await_stage(2);
            await_sleep(waiter);
            kill_process(waiter, Signal::USR1).expect("the parent of this");
            while world.stage.load(SeqCst) < 3 {
                std::thread::yield_now();
            }
            drop(held);
            let _held = world.lock.read().expect("its one claim is yet to come");
            world.reach(4);
            world.await_stage(9);
            0
        };
        let holder = fork_fn(hold).expect("fork");
        world.await_stage(1);
        world.reach(2);
        let result = world.lock.write_interruptible(Deadline::after(Duration::from_secs(2)));
        let ended = in_vain(result);
        world.reach(9);
        join([holder]);
        world.assert_free();
        ended == Err(WaitError::Os(Errno::INTR))
    };
    // Now and then one comes between two sleeps, and does not count.
    assert!((0..3).any(|_| is_interrupted()), "three signals were lost");
}

/// A waiter that outlasts its first looks must sleep in between, not run.
fn waiting_costs_no_processor_time() {
    let world = world();
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let timeout = Duration::from_millis(300);
    let reader = world.reader();
    let before = used();
    assert!(matches!(world.lock.write_timeout(timeout), Err(RwLockError::TimedOut)));
    kill(reader);
    let writer = world.writer();
    assert!(matches!(world.lock.read_timeout(timeout), Err(RwLockError::TimedOut)));
    let used = used() - before;
    assert!(used < timeout / 10, "{used:?} of {timeout:?} twice");
    kill(writer);
}

/// Waiters of all kinds come through, and deaths are found.
fn plays_on_in_a_sandbox() {
    let world = world();
    for _ in 0..10 {
        let held = world.lock.write().expect("free");
        let mut all = sleepers(1, || world.write());
        all.extend(sleepers(2, || world.read()));
        drop(held);
        join(all);
    }
    hands_over(&world, || world.writer(), 1, 1);
    hands_over(&world, || world.reader(), 0, 1);
}

fn sandbox_without_waitv() {
    refuse_waitv();
    plays_on_in_a_sandbox();
}

fn sandbox_without_wake_op() {
    refuse_wake_op();
    plays_on_in_a_sandbox();
}

fn zeroed_memory_is_a_free_lock() {
    #[repr(C, align(8))]
    struct Zeroes([u8; size_of::<Lock>()]);
    let memory = Shared::new(Zeroes([0; size_of::<Lock>()])).expect("a mapping");
    // SAFETY: every pattern of these bytes is a lock; the mapping lives until the case ends.
    let lock: &Lock = unsafe { &*memory.0.as_ptr().cast() };
    let held = lock.write().expect("free");
    let reader = sleepers(1, || in_vain(lock.read()));
    drop(held);
    join(reader);
    let held = lock.read().expect("free");
    let writer = sleepers(1, || in_vain(lock.write()));
    drop(held);
    join(writer);
}

fn no_steal_between_pid_namespaces() {
    let world = world();
    let outer = || {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let inner = fork_fn(|| {
            forget(world.lock.read().expect("free"));
            // As pid 1 of a namespace this is somebody quite different in the outer one.
            i32::from(std::process::id() != 1)
        });
        i32::from(!inner.expect("fork").wait().expect("wait").success())
    };
    // Somebody of this namespace uses the lock first.
    world.assert_free();
    match fork_fn(outer).expect("fork").wait().expect("wait").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
    doing("writing to what a dead process of another namespace reads");
    let timeout = Duration::from_millis(150);
    assert!(matches!(world.lock.write_timeout(timeout), Err(RwLockError::TimedOut)));
    assert!(matches!(world.lock.try_write(), Err(RwLockError::WouldBlock)));
    let reader = world.lock.readers().next().expect("the one of the other namespace");
    assert_eq!(reader.pid().as_raw_nonzero().get(), 1);
    let writer = fork_fn(|| i32::from(world.write().is_err())).expect("fork");
    await_sleep(writer.id());
    // SAFETY: we made sure ourselves that the reader is dead.
    unsafe { world.lock.break_reads(reader) };
    join([writer]);
    world.assert_free();
}
