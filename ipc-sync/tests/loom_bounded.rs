//! `BoundedSemaphore` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no deadlock: nobody else has a permit of the same index, which
//! loom sees by a data race, so that never more than `N` are inside; a live process always gets a permit; the death of a holder is reported to somebody for each of its permits, and none of
//! them twice; in the end all permits are there.
//!
//! # Safety
//!
//! The semaphores live in an `Arc` until the last process of the scenario has ended, as a region would keep them. The cells are
//! written by whoever has the permit of their index; loom says so if that is not one alone.
#![cfg_attr(loom, expect(unsafe_code, reason = "gates that may be armed, and copies of permits"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("two_for_one", 2, &[0], two_for_one)
        .reveals(&[Fault::GateOnlySleep])
        .case("three_for_one", 1, &[1], three_for_one)
        .bears(&[Fault::WakeOpRefused])
        .case("two_wait_for_one", 2, &[], two_wait_for_one)
        .reveals(&[Fault::FlagClearedOnWake, Fault::NoFence, Fault::ClearWithoutWakeAll])
        .case("three_for_two", 1, &[], three_for_two)
        .case("both_permits_of_the_dead", 2, &[0], both_permits_of_the_dead)
        .case("a_moving_permit_is_not_missed", 5, &[], a_moving_permit_is_not_missed)
        .case("wake_in_the_last_moment", 2, &[], wake_in_the_last_moment)
        .reveals(&[Fault::WakeNotPassedOn])
        .case("adopted_once", 2, &[1], adopted_once)
        .case("permit_copied_by_fork", 2, &[2], permit_copied_by_fork)
        .reveals(&[Fault::ReleaseBySwap])
        .case("two_domains_never_recover", 2, &[0], two_domains_never_recover)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_core::primitive::{UnsafeCell, identity};
    use ipc_sync::{AcquireError, BoundedSemaphore, NotOurs, Permit, PermitTicket};

    /// A semaphore, and what the processes have seen of it. The counts are not part of the model.
    pub(crate) struct Shared<const N: usize> {
        permits: BoundedSemaphore<N>,
        /// By index of a permit: written by who has it.
        cells: [UnsafeCell<u32>; N],
        told: AtomicUsize,
        inside: AtomicUsize,
        died_inside: AtomicUsize,
    }

    // SAFETY: see the head of this file.
    unsafe impl<const N: usize> Sync for Shared<N> {}

    /// A semaphore at which this namespace has been before.
    fn shared<const N: usize>() -> Arc<Shared<N>> {
        let shared = fresh();
        sim::process(END, || shared.permits.admit());
        shared
    }

    fn fresh<const N: usize>() -> Arc<Shared<N>> {
        // SAFETY: see the head of this file.
        let permits = unsafe { BoundedSemaphore::in_region() };
        let zero = || AtomicUsize::new(0);
        let (told, inside, died_inside) = (zero(), zero(), zero());
        let cells = [(); N].map(|()| UnsafeCell::new(0));
        Arc::new(Shared { permits, cells, told, inside, died_inside })
    }

    type Acquired<'a, const N: usize> = Result<Permit<'a, N>, AcquireError<'a, N>>;

    impl<const N: usize> Shared<N> {
        /// The permit, whoever it comes from.
        fn accept<'a>(&self, result: Acquired<'a, N>) -> Option<Permit<'a, N>> {
            match result {
                Ok(permit) => Some(permit),
                Err(AcquireError::Recovered(permit)) => {
                    self.told.fetch_add(1, Ordering::Relaxed);
                    Some(permit)
                }
                Err(AcquireError::WouldBlock | AcquireError::TimedOut) => None,
                Err(error) => panic!("{error}"),
            }
        }

        fn hold(&self, permit: Option<Permit<'_, N>>) {
            let Some(permit) = permit else { return };
            self.inside.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the permit of this index is ours.
            self.cells[permit.index()].with_mut(|cell| unsafe { *cell += 1 });
            sim::acquired();
            self.inside.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
        }

        fn visit(&self) {
            self.hold(self.accept(self.permits.acquire()));
        }
    }

    type Actor<const N: usize> = fn(&Shared<N>);

    /// Starts `f` as process `index`, and notes whether it died inside.
    fn start<const N: usize>(
        index: usize,
        shared: &Arc<Shared<N>>,
        f: Actor<N>,
    ) -> sim::JoinHandle<Option<()>> {
        let shared = shared.clone();
        sim::spawn_thread(move || run(index, &shared, f))
    }

    fn run<const N: usize>(index: usize, shared: &Shared<N>, f: Actor<N>) -> Option<()> {
        sim::process_then(
            index,
            || f(shared),
            || {
                // The kernel has not yet let anybody know of the death.
                let inside = shared.inside.load(Ordering::Relaxed);
                shared.died_inside.store(inside, Ordering::Relaxed);
            },
        )
    }

    /// Runs process 0 here and the others beside it; then all permits must be there.
    fn together<const N: usize>(first: Actor<N>, others: &[Actor<N>]) {
        play(&shared(), first, others);
    }

    fn play<const N: usize>(shared: &Arc<Shared<N>>, first: Actor<N>, others: &[Actor<N>]) {
        let others: Vec<_> =
            others.iter().enumerate().map(|(i, f)| start(i + 1, shared, *f)).collect();
        run(0, shared, first);
        for other in others {
            other.join().unwrap();
        }
        let told = shared.all_are_there();
        assert!(told <= N, "{told} were told of one death");
        assert!(N > 1 || told >= shared.died_inside.load(Ordering::Relaxed), "nobody was told");
    }

    impl<const N: usize> Shared<N> {
        /// Takes all permits, and no more; how many were recovered, by now.
        fn all_are_there(&self) -> usize {
            sim::process(END, || {
                let all = [(); N].map(|()| self.accept(self.permits.try_acquire()));
                assert!(all.iter().all(Option::is_some), "a permit is lost");
                assert!(self.permits.try_acquire().is_err(), "one more than there are");
            });
            self.told.load(Ordering::Relaxed)
        }
    }

    /// The process that comes before and after the others; nobody's victim.
    const END: usize = 4;

    pub(crate) fn two_for_one() {
        play::<1>(&fresh(), Shared::visit, &[Shared::visit]);
    }

    pub(crate) fn three_for_one() {
        together::<1>(Shared::visit, &[Shared::visit, Shared::visit]);
    }

    /// As [`three_for_one`], when process 0 has it already.
    pub(crate) fn two_wait_for_one() {
        let shared = shared::<1>();
        let peers = sim::process(0, || {
            let permit = shared.permits.acquire().unwrap();
            let peers = [1, 2].map(|index| start(index, &shared, Shared::visit));
            shared.hold(Some(permit));
            peers
        });
        for peer in peers.expect("not killed") {
            peer.join().unwrap();
        }
        let told = shared.all_are_there();
        assert!(told >= shared.died_inside.load(Ordering::Relaxed), "nobody was told");
        assert!(told <= 1, "{told} were told of one death");
    }

    pub(crate) fn three_for_two() {
        together::<2>(Shared::visit, &[Shared::visit, Shared::visit]);
    }

    /// Of which a waiter gets the one, and whoever looks in the end the other.
    pub(crate) fn both_permits_of_the_dead() {
        fn take_both(shared: &Shared<2>) {
            let both = [(); 2].map(|()| shared.accept(shared.permits.acquire()));
            sim::acquired();
            drop(both);
        }
        together(take_both, &[Shared::visit]);
    }

    /// One of two is free at every moment, and not always the same.
    pub(crate) fn a_moving_permit_is_not_missed() {
        let shared = shared::<2>();
        // Process 1 begins its looks with the first slot, and processes 0 and 2 with the second, which is held at first.
        let ticket = sim::process(2, || {
            let me = identity::current().unwrap().id;
            shared.permits.acquire().unwrap().transfer(me).unwrap()
        });
        let mover = sim::spawn(2, &shared, move |shared: &Shared<2>| {
            let move_to_first = || {
                sim::as_forked_child(1, || drop(shared.permits.acquire().unwrap()));
            };
            drop(shared.permits.adopt(ticket.unwrap()).unwrap());
            move_to_first();
            drop(shared.permits.acquire().unwrap());
            move_to_first();
        });
        sim::process(0, || drop(shared.permits.try_acquire().expect("one was always free")));
        mover.join().unwrap();
        shared.all_are_there();
    }

    /// One waiter's time is over at the moment at which it is woken; the other waits on.
    pub(crate) fn wake_in_the_last_moment() {
        fn expiring(shared: &Shared<1>) {
            sim::expire_when_woken();
            shared.hold(shared.accept(shared.permits.acquire_deadline(Deadline::FAR)));
        }
        together(Shared::visit, &[expiring, Shared::visit]);
    }

    /// Sent by process 0 to process 1, which may die before it has adopted it, and after.
    pub(crate) fn adopted_once() {
        fn adopt(shared: &Shared<1>) {
            let ticket = PermitTicket::from_bits(0);
            let permit = shared.permits.adopt(ticket).expect("it was sent to us");
            assert_eq!(shared.permits.adopt(ticket).unwrap_err(), NotOurs);
            shared.hold(Some(permit));
            assert_eq!(shared.permits.adopt(ticket).unwrap_err(), NotOurs);
        }
        let shared = shared::<1>();
        let receiver = sim::process(1, || identity::current().unwrap().id).unwrap();
        sim::process(0, || {
            let ticket = shared.permits.acquire().unwrap().transfer(receiver).unwrap();
            assert_eq!(shared.permits.adopt(ticket).unwrap_err(), NotOurs);
        });
        let peers = [start(1, &shared, adopt), start(2, &shared, Shared::visit)];
        for peer in peers {
            peer.join().unwrap();
        }
        shared.all_are_there();
    }

    pub(crate) fn permit_copied_by_fork() {
        let shared = shared::<1>();
        sim::process(0, || {
            let permit = shared.permits.acquire().unwrap();
            // SAFETY: the copy is dropped by another process, where that does nothing.
            let copy = unsafe { core::ptr::read(&permit) };
            let peer = start(2, &shared, Shared::visit);
            sim::as_forked_child(1, || drop(copy));
            shared.hold(Some(permit));
            peer
        })
        .unwrap()
        .join()
        .unwrap();
    }

    pub(crate) fn two_domains_never_recover() {
        let shared = fresh::<1>();
        let foreigner = sim::spawn_thread({
            let shared = shared.clone();
            move || {
                sim::foreign_process(1, || match shared.permits.try_acquire() {
                    Err(AcquireError::Recovered(_)) => panic!("stolen across pid namespaces"),
                    Ok(permit) => shared.hold(Some(permit)),
                    Err(_) => {}
                })
            }
        });
        run(0, &shared, Shared::visit);
        foreigner.join().unwrap();
        // Both were here, or the foreigner came too late to meet a claim at all.
        sim::process(END, || match shared.permits.try_acquire() {
            Err(AcquireError::Recovered(_)) => panic!("stolen although two namespaces have met"),
            Ok(_) | Err(AcquireError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        });
    }
}
