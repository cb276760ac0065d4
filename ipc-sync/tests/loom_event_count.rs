//! `EventCount` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! The structure that is waited for is as weak as may be: a count that is read and changed without any order. What each
//! scenario asserts is that loom finds no deadlock: whoever waits for an item gets one as long as there is one.

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("one_for_one", 3, &[0, 1], one_for_one)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::WakeApartFromChange, Fault::NoFence])
        .case("lend", 2, &[0], lend)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::NoBaton, Fault::FlagClearedOnWake])
        .case("two_in_a_row", 3, &[0], two_in_a_row)
        .reveals(&[Fault::ClearWithoutWakeAll])
        .case("two_conditions", 2, &[], two_conditions)
        .case("slot", 3, &[0, 1], slot)
        .case("slot_and_slices", 3, &[0, 1], slot_and_slices)
        .case("keys", 3, &[0, 1], keys)
        .reveals(&[Fault::NoFence])
        .case("wake_in_the_last_moment", 2, &[], wake_in_the_last_moment)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::AtomicU32 as Plain;

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::AtomicU32;
    use ipc_core::primitive::Ordering::Relaxed;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{EventCount, WaitError};

    /// Items, and those who wait for them. The other counts are not part of the model.
    pub(crate) struct Shared {
        items: AtomicU32,
        more: EventCount,
        /// By process: items that it took and has not given back.
        held: [Plain; 3],
        /// Whether what a process has taken is given back when it has ended, by one whom nobody kills.
        lends: bool,
        /// The event count's number when it all began.
        first: u32,
    }

    /// Somebody may be asleep, as far as anybody knows. So its number moves by notifications alone, until one of them has
    /// found nobody.
    fn shared(items: u32, lends: bool) -> Arc<Shared> {
        let more = EventCount::new();
        sim::process(END, || drop(more.prepare()));
        let first = more.number_now();
        let held = [0; 3].map(Plain::new);
        Arc::new(Shared { items: AtomicU32::new(items), more, held, lends, first })
    }

    fn take(items: &AtomicU32) -> Option<()> {
        take_from(items, items.load(Relaxed))
    }

    fn take_from(items: &AtomicU32, mut there: u32) -> Option<()> {
        while there > 0 {
            match items.compare_exchange(there, there - 1, Relaxed, Relaxed) {
                Ok(_) => return Some(()),
                Err(now) => there = now,
            }
        }
        None
    }

    impl Shared {
        fn attempt(&self, me: usize) -> Option<()> {
            take(&self.items)?;
            self.held[me].fetch_add(1, Relaxed);
            Some(())
        }

        fn take(&self, me: usize) {
            self.more.wait_for(|| self.attempt(me)).unwrap();
        }

        /// As [`take`](Self::take), without a look first: there is less to explore.
        fn take_blindly(&self, me: usize) {
            let attempt = || {
                take_from(&self.items, 1)?;
                self.held[me].fetch_add(1, Relaxed);
                Some(())
            };
            self.more.wait_for(attempt).unwrap();
        }

        fn give(&self, _: usize) {
            self.items.fetch_add(1, Relaxed);
            self.more.notify_one();
        }

        /// The newest number of items, and not only one that was there once.
        fn there(&self) -> u32 {
            self.items.fetch_add(0, Relaxed)
        }

        /// After a death: gives an item if the others have none, and notifies if nobody ever did. Where another process
        /// is between an item and its count these are too many, and never too few.
        fn repair(&self, dead: usize) {
            self.held[dead].store(0, Relaxed);
            sim::process(END, || {
                let held: u32 = self.held.iter().map(|held| held.load(Relaxed)).sum();
                let missing = self.there() + held == 0;
                if missing {
                    self.items.fetch_add(1, Relaxed);
                }
                if missing || self.more.number_now() == self.first {
                    self.more.notify_one();
                }
            });
        }
    }

    type Actor = fn(&Shared, usize);

    fn run(index: usize, shared: &Shared, actor: Actor) {
        sim::process_then(index, || actor(shared, index), || shared.repair(index));
        if shared.lends && shared.held[index].swap(0, Relaxed) > 0 {
            sim::process(END, || shared.give(END));
        }
    }

    fn together(shared: &Arc<Shared>, actors: &[Actor]) {
        let peers: Vec<_> = (1..actors.len())
            .map(|index| {
                let (shared, actor) = (shared.clone(), actors[index]);
                sim::spawn_thread(move || run(index, &shared, actor))
            })
            .collect();
        run(0, shared, actors[0]);
        for peer in peers {
            peer.join().unwrap();
        }
        // And it still works.
        sim::process(END, || {
            shared.items.fetch_add(1, Relaxed);
            shared.more.notify_all();
            shared.more.wait_for(|| take(&shared.items)).unwrap();
        });
    }

    /// The process that repairs, and looks in the end; nobody's victim.
    const END: usize = 4;

    pub(crate) fn one_for_one() {
        together(&shared(0, false), &[Shared::take, Shared::give]);
    }

    /// One item for two, one after the other.
    pub(crate) fn lend() {
        let actors: [Actor; 3] = [Shared::take_blindly, Shared::take_blindly, Shared::give];
        together(&shared(0, true), &actors);
    }

    pub(crate) fn two_in_a_row() {
        fn take_two(shared: &Shared, me: usize) {
            shared.take(me);
            shared.take(me);
        }
        fn give_two(shared: &Shared, me: usize) {
            shared.give(me);
            shared.give(me);
        }
        together(&shared(0, false), &[take_two, give_two]);
    }

    /// One waiter's time is over at the moment at which it is woken; the other waits on.
    pub(crate) fn wake_in_the_last_moment() {
        fn expiring(shared: &Shared, me: usize) {
            sim::expire_when_woken();
            let attempt = || shared.attempt(me);
            let waited = shared.more.wait_for_deadline(Deadline::FAR, attempt);
            assert!(matches!(waited, Ok(()) | Err(WaitError::TimedOut)));
        }
        together(&shared(0, true), &[Shared::take_blindly, expiring, Shared::give]);
    }

    /// Two wait here, each for its own flag. The end of one notification comes between the announcement of the one and that of
    /// the other, where it must not hide the next notification from the first.
    pub(crate) fn two_conditions() {
        struct Flags {
            flags: [AtomicU32; 2],
            changed: EventCount,
        }
        impl Flags {
            fn wait(&self, flag: usize) {
                let is_set = || (self.flags[flag].load(Relaxed) != 0).then_some(());
                self.changed.wait_for(is_set).unwrap();
            }

            fn set(&self, flag: usize) {
                self.flags[flag].store(1, Relaxed);
                self.changed.notify_all();
            }
        }
        let flags = Flags { flags: [0; 2].map(AtomicU32::new), changed: EventCount::new() };
        sim::process(END, || drop(flags.changed.prepare()));
        let flags = Arc::new(flags);
        let first = sim::spawn(1, &flags, |flags: &Flags| {
            flags.wait(0);
            flags.set(1);
        });
        let second = sim::spawn(2, &flags, |flags: &Flags| flags.wait(1));
        sim::process(0, || {
            flags.changed.notify_all();
            flags.set(0);
        });
        for peer in [first, second] {
            peer.join().unwrap();
        }
    }

    const ITEMS: u32 = 2;

    /// Room for one item, and those who wait for it to be full and to be empty.
    struct Slot {
        full: AtomicU32,
        changed: [EventCount; 2],
        /// How many were put in, and taken out. Not part of the model.
        moved: [Plain; 2],
    }

    impl Slot {
        /// The producer waits for the slot to be empty and fills it, the consumer the other way round.
        fn work(&self, side: usize) {
            let from = side as u32;
            while self.moved[side].load(Relaxed) < ITEMS {
                let attempt = || {
                    let moved =
                        self.full.compare_exchange(from, 1 - from, Relaxed, Relaxed).is_ok();
                    moved.then(|| self.moved[side].fetch_add(1, Relaxed))
                };
                self.changed[side].wait_for(attempt).unwrap();
                self.changed[1 - side].notify_one();
            }
        }

        /// Works, and if it is killed a successor goes on, which may tell the other side that something may have changed.
        fn work_and_replace(&self, side: usize, tells: bool) {
            if sim::process(side, || self.work(side)).is_some() {
                return;
            }
            sim::process(2 + side, || {
                if tells {
                    self.changed[1 - side].notify_one();
                }
                self.work(side);
            });
        }
    }

    fn both_sides(successor_tells: bool) {
        let changed = [EventCount::new(), EventCount::new()];
        let moved = [0; 2].map(Plain::new);
        let slot = Arc::new(Slot { full: AtomicU32::new(0), changed, moved });
        if !successor_tells {
            sim::end_slices_at_deaths();
        }
        let consumer = sim::spawn_thread({
            let slot = slot.clone();
            move || slot.work_and_replace(1, successor_tells)
        });
        slot.work_and_replace(0, successor_tells);
        consumer.join().unwrap();
    }

    pub(crate) fn slot() {
        both_sides(true);
    }

    /// Nobody makes up for a notification that died with its sender: those who wait try again by themselves.
    pub(crate) fn slot_and_slices() {
        both_sides(false);
    }

    /// The long form; and the death of the one who notifies is found at the end of a slice.
    pub(crate) fn keys() {
        struct Flag {
            is_set: AtomicU32,
            changed: EventCount,
        }
        let set = |flag: &Flag| {
            flag.is_set.store(1, Relaxed);
            flag.changed.notify_all();
        };
        let flag = Arc::new(Flag { is_set: AtomicU32::new(0), changed: EventCount::new() });
        sim::end_slices_at_deaths();
        let waiter = sim::spawn(1, &flag, |flag: &Flag| {
            while flag.is_set.load(Relaxed) == 0 {
                let key = flag.changed.prepare();
                if flag.is_set.load(Relaxed) == 0 {
                    key.wait().unwrap();
                }
            }
        });
        if sim::process(0, || set(&flag)).is_none() {
            // One that died before it has set it has a successor; one that died after it needs none.
            sim::process(END, || {
                if flag.is_set.fetch_add(0, Relaxed) == 0 {
                    set(&flag);
                }
            });
        }
        waiter.join().unwrap();
    }
}
