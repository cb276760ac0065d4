//! Every primitive works in a plain `static` and on the stack, between threads, and in any `MAP_SHARED` mapping, between
//! processes: made by a `const fn`, without a region, a table or an attach call.

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::process::ExitCode;

use ipc_core::process::fork_fn;
use ipc_sync::{
    Barrier, BinarySemaphore, BoundedSemaphore, Condvar, CountingSemaphore, Event, EventCount,
    Latch, Mutex, Once, OnceLock, ReentrantMutex, RwLock, Semaphore,
};
use ipc_testkit::cases::{self, doing};
use ipc_testkit::shared::Shared;

use waits::join;

fn main() -> ExitCode {
    cases::run(&[
        ("all_work_in_a_static", in_a_static),
        ("all_work_on_the_stack", on_the_stack),
        ("all_work_in_a_mapping", in_a_mapping),
    ])
}

const PARTIES: u32 = 4;
const TURNS: u32 = 300;
const ALL: u32 = PARTIES * TURNS;

/// One of each, and what they guard or count.
struct World {
    mutex: Mutex<u32>,
    changed: Condvar,
    reentrant: ReentrantMutex<[u32; 1]>,
    rwlock: RwLock<[u32; 2], { PARTIES as usize }>,
    semaphore: Semaphore,
    binary: BinarySemaphore,
    counting: CountingSemaphore,
    bounded: BoundedSemaphore<1>,
    /// How many are inside of each of these four.
    inside: [AtomicU32; 4],
    step: Barrier<{ PARTIES as usize }>,
    /// The sum of the indices that the barrier gave.
    indices: AtomicU32,
    begin: Event,
    finished: Latch,
    once: Once,
    made: AtomicU32,
    once_lock: OnceLock<u32>,
    items: AtomicU32,
    more: EventCount,
}

impl World {
    const fn new() -> Self {
        Self {
            mutex: Mutex::new(0),
            changed: Condvar::new(),
            reentrant: ReentrantMutex::new([0]),
            rwlock: RwLock::new([0; 2]),
            semaphore: Semaphore::new(1),
            binary: BinarySemaphore::new(),
            counting: CountingSemaphore::new(1, 1),
            bounded: BoundedSemaphore::new(),
            inside: [const { AtomicU32::new(0) }; 4],
            step: Barrier::new(PARTIES),
            indices: AtomicU32::new(0),
            begin: Event::new(),
            finished: Latch::new(PARTIES),
            once: Once::new(),
            made: AtomicU32::new(0),
            once_lock: OnceLock::new(),
            items: AtomicU32::new(0),
            more: EventCount::new(),
        }
    }

    /// What the party `me` does. All of them take turns at everything.
    fn take_part(&self, me: u32) {
        self.begin.wait().expect("begun");
        let make = || {
            self.made.fetch_add(1, SeqCst);
        };
        self.once.call_once(|_| make()).expect("done");
        assert_eq!(self.made.load(SeqCst), 1);
        self.once_lock.get_or_init(|| me).expect("made");
        let mut member = self.step.join().expect("a place for each");
        for turn in 0..TURNS {
            // In step: each waits until it is its turn.
            let mine = |number: &mut u32| *number != turn * PARTIES + me;
            let held = self.mutex.lock().expect("nobody dies");
            *self.changed.wait_while(held, mine).expect("nobody dies") += 1;
            self.changed.notify_all();

            let outer = self.reentrant.lock().expect("nobody dies");
            let mut inner = self.reentrant.lock().expect("nobody dies");
            drop(outer);
            inner.exclusive().expect("the only guard")[0] += 1;
            drop(inner);

            {
                let mut both = self.rwlock.write().expect("nobody dies");
                both[0] += 1;
                both[1] += 1;
            }
            {
                let both = self.rwlock.read().expect("nobody dies, and there is place for all");
                assert_eq!(both[0], both[1]);
            }

            self.semaphore.acquire().expect("a permit");
            self.go_inside(0);
            self.semaphore.release().expect("one permit");
            self.binary.acquire().expect("a permit");
            self.go_inside(1);
            self.binary.release().expect("one permit");
            self.counting.acquire().expect("a permit");
            self.go_inside(2);
            self.counting.release().expect("one permit");
            let permit = self.bounded.acquire().expect("nobody dies");
            self.go_inside(3);
            drop(permit);

            self.indices.fetch_add(member.wait().expect("all come").index(), SeqCst);

            self.items.fetch_add(1, SeqCst);
            self.more.notify_all();
        }
        member.leave();
        self.finished.count_down().expect("one of the parties");
    }

    fn go_inside(&self, which: usize) {
        assert_eq!(self.inside[which].fetch_add(1, SeqCst), 0);
        self.inside[which].fetch_sub(1, SeqCst);
    }

    /// What the others have done, when all of them are through.
    fn lead(&self) {
        self.begin.set();
        doing("waiting for items");
        let enough = || (self.items.load(SeqCst) == ALL).then_some(());
        self.more.wait_for(enough).expect("all items");
        doing("waiting for the parties");
        self.finished.wait().expect("all parties");
        assert_eq!(*self.mutex.lock().expect("nobody dies"), ALL);
        assert_eq!(self.reentrant.lock().expect("nobody dies")[0], ALL);
        assert_eq!(*self.rwlock.read().expect("nobody dies"), [ALL; 2]);
        assert_eq!((self.semaphore.available(), self.counting.available()), (1, 1));
        assert_eq!((self.bounded.available(), self.binary.is_taken()), (1, false));
        assert_eq!(self.indices.load(SeqCst), TURNS * (0..PARTIES).sum::<u32>());
        assert!(self.once.is_completed() && self.once_lock.get().is_some_and(|who| *who < PARTIES));
    }
}

fn in_threads(world: &World) {
    std::thread::scope(|scope| {
        for me in 0..PARTIES {
            scope.spawn(move || world.take_part(me));
        }
        world.lead();
    });
}

fn in_a_static() {
    static WORLD: World = World::new();
    in_threads(&WORLD);
}

fn on_the_stack() {
    in_threads(&World::new());
}

fn in_a_mapping() {
    let world = Shared::new(World::new()).expect("a mapping");
    let take_part = |me| {
        world.take_part(me);
        0
    };
    let children: Vec<_> =
        (0..PARTIES).map(|me| fork_fn(|| take_part(me)).expect("fork")).collect();
    world.lead();
    join(children);
}
