//! `Once` and `OnceLock` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! Where processes do the same, one of them is the victim for all.
//!
//! What each scenario asserts, besides that loom finds no data race on what was done and no deadlock: never two do it
//! at once, never is it done again, whoever comes through sees it done, and of a death just before that the next one is
//! told, and of no other.
//!
//! # Safety
//!
//! The locks live in an `Arc` until the last process of the scenario has ended, as a region would keep them. The cell is
//! written by whoever does it, and read when it is done; loom says so if it was not.
#![cfg_attr(loom, expect(unsafe_code, reason = "locks that may be armed, and a cell"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("two_call", 3, &[0, 1], two_call)
        .reveals(&[Fault::GateOnlySleep, Fault::NoOrder])
        .case("three_call", 2, &[1], three_call)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::NoBaton, Fault::GateOnlySleep, Fault::FlagClearedOnWake])
        .case("two_call_and_one_waits", 2, &[1, 2], two_call_and_one_waits)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::WakeApartFromChange])
        .case("two_rounds", 2, &[0, 1], two_rounds)
        .case("one_gives_up", 3, &[0, 1], one_gives_up)
        .case("two_try", 3, &[0, 1], two_try)
        .case("last_moment", 2, &[0], last_moment)
        .reveals(&[Fault::WakeNotPassedOn])
        .case("one_fails", 2, &[0, 1], one_fails)
        .case("value_is_whole", 2, &[1], value_is_whole)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::UnsafeCell;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{Once, OnceError, OnceLock, OnceState, WaitError};

    /// The thing to be done, and what the processes have seen of it. The counts are not part of the model.
    pub(crate) struct Shared {
        once: Once,
        value: UnsafeCell<u32>,
        inside: AtomicUsize,
        died_inside: AtomicUsize,
        /// How often somebody came to the end of it.
        runs: AtomicUsize,
        told: AtomicUsize,
        died_as_runner: AtomicUsize,
        done: AtomicUsize,
    }

    // SAFETY: see the head of this file.
    unsafe impl Sync for Shared {}

    fn shared() -> Arc<Shared> {
        let zero = || AtomicUsize::new(0);
        let shared = Arc::new(Shared {
            // SAFETY: see the head of this file.
            once: unsafe { Once::in_region() },
            value: UnsafeCell::new(0),
            inside: zero(),
            died_inside: zero(),
            runs: zero(),
            told: zero(),
            died_as_runner: zero(),
            done: zero(),
        });
        sim::process(END, || shared.once.admit());
        shared
    }

    impl Shared {
        /// What is to be done.
        fn run(&self, state: &OnceState) {
            if state.previous_died() {
                self.told.fetch_add(1, Ordering::Relaxed);
            }
            let others = self.inside.fetch_add(1, Ordering::Relaxed);
            assert_eq!(others, self.died_inside.load(Ordering::Relaxed), "two do it");
            assert_eq!(self.done.load(Ordering::Relaxed), 0, "done again");
            sim::acquired();
            // SAFETY: nobody else does it.
            self.value.with_mut(|value| unsafe { *value = 7 });
            sim::acquired();
            self.runs.fetch_add(1, Ordering::Relaxed);
            self.inside.fetch_sub(1, Ordering::Relaxed);
        }

        fn accept(&self, result: Result<(), OnceError>) {
            match result {
                Ok(()) => self.look(),
                Err(OnceError::WouldBlock | OnceError::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
        }

        /// It is done.
        fn look(&self) {
            self.done.store(1, Ordering::Relaxed);
            assert!(self.once.is_completed());
            // SAFETY: nobody does it any more.
            assert_eq!(self.value.with(|value| unsafe { *value }), 7);
        }

        fn call(&self) {
            self.accept(self.once.call_once(|state| self.run(state)));
        }

        fn wait(&self) {
            self.once.wait().unwrap();
            self.look();
        }
    }

    type Actor = fn(&Shared);

    fn start(index: usize, shared: &Arc<Shared>, f: Actor) -> sim::JoinHandle<Option<()>> {
        let shared = shared.clone();
        sim::spawn_thread(move || run(index, &shared, f))
    }

    fn run(index: usize, shared: &Shared, f: Actor) -> Option<()> {
        sim::process_then(
            index,
            || f(shared),
            || {
                // The kernel has not yet let anybody know of the death. This thread sees what its own process has done.
                let inside = shared.inside.load(Ordering::Relaxed);
                shared.died_inside.store(inside, Ordering::Relaxed);
                sim::process(END, || {
                    let runner = shared.once.runner().map(|runner| runner.pid());
                    if runner.is_some_and(|pid| pid.as_raw_nonzero().get() as usize == index + 1) {
                        shared.died_as_runner.fetch_add(1, Ordering::Relaxed);
                    }
                });
            },
        )
    }

    /// Runs process 0 here and the others beside it. In the end it must be done.
    fn together(first: Actor, others: &[Actor]) -> Arc<Shared> {
        let shared = shared();
        let others: Vec<_> =
            others.iter().enumerate().map(|(i, f)| start(i + 1, &shared, *f)).collect();
        run(0, &shared, first);
        for other in others {
            other.join().unwrap();
        }
        finish(&shared);
        shared
    }

    fn finish(shared: &Shared) {
        sim::process(END, || shared.call());
        let (died, told) = (&shared.died_as_runner, &shared.told);
        let (died, told) = (died.load(Ordering::Relaxed), told.load(Ordering::Relaxed));
        assert_eq!(told, died, "{died} died doing it, and {told} were told");
        let runs = shared.runs.load(Ordering::Relaxed);
        assert!((1..=1 + died).contains(&runs), "done {runs} times, {died} died doing it");
        sim::process(END, || assert_eq!(shared.once.runner(), None));
    }

    /// The process that comes before and after the others; nobody's victim.
    const END: usize = 4;

    pub(crate) fn two_call() {
        together(Shared::call, &[Shared::call]);
    }

    pub(crate) fn three_call() {
        together(Shared::call, &[Shared::call, Shared::call]);
    }

    pub(crate) fn two_call_and_one_waits() {
        together(Shared::call, &[Shared::call, Shared::wait]);
    }

    pub(crate) fn two_rounds() {
        fn twice(shared: &Shared) {
            shared.call();
            shared.call();
        }
        together(twice, &[twice]);
    }

    pub(crate) fn one_gives_up() {
        fn late(shared: &Shared) {
            let past = Deadline::now();
            shared.accept(shared.once.call_once_deadline(past, |state| shared.run(state)));
            let waited = shared.once.wait_deadline(past);
            assert!(matches!(waited, Ok(()) | Err(WaitError::TimedOut)));
        }
        together(Shared::call, &[late]);
    }

    pub(crate) fn two_try() {
        fn attempt(shared: &Shared) {
            shared.accept(shared.once.try_call_once(|state| shared.run(state)));
        }
        together(attempt, &[attempt]);
    }

    /// One caller's time is over at the moment at which it is woken; the other waits on.
    pub(crate) fn last_moment() {
        fn expiring(shared: &Shared) {
            sim::expire_when_woken();
            let far = Deadline::FAR;
            shared.accept(shared.once.call_once_deadline(far, |state| shared.run(state)));
        }
        together(Shared::call, &[expiring, Shared::call]);
    }

    /// The first one may fail; then it is the other's turn, who is told of nothing.
    pub(crate) fn one_fails() {
        let lock = Arc::new(OnceLock::<u32>::new());
        sim::process(END, || lock.admit());
        let failing = sim::spawn(1, &lock, |lock: &OnceLock<u32>| {
            let made = lock.get_or_try_init(|| Err::<u32, _>(OnceError::TimedOut));
            assert!(matches!(made, Ok(&7) | Err(OnceError::TimedOut)));
        });
        sim::process(0, || assert_eq!(lock.get_or_init(|| 7), Ok(&7)));
        failing.join().unwrap();
        sim::process(END, || assert_eq!(lock.get_or_init(|| 7), Ok(&7)));
    }

    pub(crate) fn value_is_whole() {
        fn read(lock: &OnceLock<[u32; 2]>) {
            assert_eq!(lock.wait(), Ok(&[7, 7]));
        }
        fn make(lock: &OnceLock<[u32; 2]>) {
            assert_eq!(lock.get_or_init(|| [7, 7]), Ok(&[7, 7]));
        }
        // SAFETY: see the head of this file.
        let lock = Arc::new(unsafe { OnceLock::in_region() });
        sim::process(END, || lock.admit());
        let peers = [sim::spawn(1, &lock, make), sim::spawn(2, &lock, read)];
        sim::process(0, || make(&lock));
        for peer in peers {
            peer.join().unwrap();
        }
        sim::process(END, || assert_eq!(lock.get(), Some(&[7, 7])));
    }
}
