//! Scenarios for locks that many share for reading, or one has for writing.
//!
//! [`run`] plays them all. Waiters are readers and writers in turn, since each kind hands the lock on to the other.

use std::path::Path;

use super::locks::Held;
use crate::ensure;
use crate::oracle::Canary;
use crate::stepkill::{Actor, Role, Scenario, Suite, Verdict};

/// A lock that lives in shared memory.
pub trait ReadWrite: Sync {
    /// Unlocks when it is dropped.
    type Read<'a>
    where
        Self: 'a;
    /// Unlocks when it is dropped.
    type Write<'a>
    where
        Self: 'a;

    /// A free lock, to be moved into shared memory before it is used.
    fn new() -> Self;

    /// Waits for the lock, to read. `Err`: it has it for writing, and was told that the last writer had died.
    fn read(&self) -> Result<Self::Read<'_>, Self::Write<'_>>;

    /// As [`read`](Self::read) without waiting, if that is possible.
    fn try_read(&self) -> Option<Result<Self::Read<'_>, Self::Write<'_>>>;

    /// Waits for the lock, to write.
    fn write(&self) -> Held<Self::Write<'_>>;

    /// As [`write`](Self::write) without waiting, if that is possible.
    fn try_write(&self) -> Option<Held<Self::Write<'_>>>;

    /// The process that writes, or waits to write, 0 if there is none. Must not wait.
    fn writer(&self) -> u32;

    /// Whether the next one would be told if the writer died now. Must not wait.
    fn is_in_doubt(&self) -> bool;

    /// How many places readers have. Must not wait.
    fn readers(&self) -> usize;
}

/// What the scenarios share: the lock, and what it protects.
#[derive(Debug)]
#[repr(C)]
pub struct Guarded<L> {
    lock: L,
    canary: Canary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

use Kind::{Read, Write};

/// How many processes use the lock after the death, and how often.
const SURVIVORS: usize = 2;
const TURNS: usize = 4;

/// One instruction with the same shared bytes is killed so often: locks spin.
const REPEATS: usize = 2;

/// Plays all scenarios for `L`: every instruction of each operation on a free lock, and of each unlock with waiters;
/// operations that wait, in each image that they leave; waiters killed between wake-up and acquisition.
///
/// With `IPC_STEPKILL=deep` every instruction of those that wait, too, and pairs of victims.
pub fn run<L: ReadWrite + 'static>(suite: &mut Suite, name: &str) {
    suite.everywhere(&free::<L>(name, Read));
    suite.everywhere(&free::<L>(name, Write));
    suite.everywhere(&tries::<L>(name));
    suite.everywhere(&section::<L>(name));
    suite.everywhere_if_deep(&contended::<L>(name, Write, Write, 1));
    for waiters in [0, 1, 3] {
        suite.everywhere(&unlock::<L>(name, Read, waiters));
        suite.everywhere(&unlock::<L>(name, Write, waiters));
        suite.everywhere_if_deep(&contended::<L>(name, Read, Write, waiters));
        suite.everywhere_if_deep(&contended::<L>(name, Write, Read, waiters));
    }
    for waiters in [1, 3] {
        suite.woken(&wakeup_of_the_dead::<L>(name, Read, Write, waiters));
        suite.woken(&wakeup_of_the_dead::<L>(name, Write, Read, waiters));
    }
    suite.woken(&lost_wakeup::<L>(name, Read, 1));
    if suite.is_deep() {
        suite.everywhere(&first_read::<L>(name));
        for kind in [Read, Write] {
            suite.pairs(&free::<L>(name, kind));
            suite.pairs(&unlock::<L>(name, kind, 0));
            suite.woken(&lost_wakeup::<L>(name, kind, 3));
        }
    }
}

/// Killed in the first `read` of its life, in which it may have to find out who it is.
fn first_read<L: ReadWrite + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: first read")).victim(|world, me| {
        let read = me.operation(|| world.lock.read());
        world.look(me, read)
    })
}

/// Killed while it takes a free lock.
fn free<L: ReadWrite + 'static>(name: &str, kind: Kind) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: {}", kind.name())).victim(move |world, me| {
        world.warm_up(me)?;
        world.take(me, kind)
    })
}

/// Killed in `try_read` and `try_write` of a free lock.
fn tries<L: ReadWrite + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: try_read, try_write")).victim(|world, me| {
        world.warm_up(me)?;
        me.operation(|| {
            drop(world.lock.try_read());
            drop(world.lock.try_write());
        });
        Ok(())
    })
}

/// Killed anywhere between the beginning of `write` and the end of `read`'s unlock, with work on the data in both.
fn section<L: ReadWrite + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: critical sections")).victim(|world, me| {
        world.warm_up(me)?;
        me.operation(|| {
            world.visit(me, Write)?;
            world.visit(me, Read)
        })
    })
}

/// Killed while it unlocks, with `waiters` asleep; the first of them is of the other kind.
fn unlock<L: ReadWrite + 'static>(name: &str, kind: Kind, waiters: usize) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: end of {}, {waiters} waiters", kind.name()))
        .victim(move |world, me| {
            match kind {
                Read => {
                    let held = world.lock.read();
                    me.operation(|| drop(held));
                }
                Write => {
                    let held = world.lock.write();
                    me.operation(|| drop(held.guard));
                }
            }
            Ok(())
        })
        .waiters(waiters, move |world, me| world.visit(me, kind.other().in_turn(me)))
}

/// Killed while it takes for `kind` what another has for `held`, with `waiters` asleep before; also inside its sleep.
fn contended<L: ReadWrite + 'static>(
    name: &str,
    kind: Kind,
    held: Kind,
    waiters: usize,
) -> Scenario<Guarded<L>> {
    free::<L>(name, kind)
        .rename(format!("{name}: {} during {}, {waiters} waiters", kind.name(), held.name()))
        .holder(move |world, me| match held {
            Read => {
                let read = world.lock.read();
                me.hold();
                world.look(me, read)
            }
            Write => {
                let held = world.lock.write();
                me.hold();
                world.leave(me, held)
            }
        })
        .waiters(waiters, move |world, me| world.visit(me, held.other().in_turn(me)))
        .one_processor()
}

/// The victim is woken by a writer that leaves; a newcomer takes the lock to write before the victim runs; the victim is
/// killed; the newcomer leaves. `waiters` sleep behind the victim and must all get the lock.
fn lost_wakeup<L: ReadWrite + 'static>(
    name: &str,
    kind: Kind,
    waiters: usize,
) -> Scenario<Guarded<L>> {
    contended::<L>(name, kind, Write, waiters)
        .rename(format!("{name}: lost wake-up of {}, {waiters} waiters", kind.name()))
        .newcomer(|world, me| {
            let Some(held) = world.lock.try_write() else {
                // The lock went to somebody else: this attempt does not count.
                return Ok(());
            };
            me.hold();
            world.leave(me, held)
        })
}

/// The woken one is killed, and nobody else has the lock.
fn wakeup_of_the_dead<L: ReadWrite + 'static>(
    name: &str,
    kind: Kind,
    held: Kind,
    waiters: usize,
) -> Scenario<Guarded<L>> {
    let (kind_name, held_name) = (kind.name(), held.name());
    contended::<L>(name, kind, held, waiters).rename(format!(
        "{name}: wake-up of a dead {kind_name} after {held_name}, {waiters} waiters"
    ))
}

fn base<L: ReadWrite + 'static>(name: String) -> Scenario<Guarded<L>> {
    Scenario::new(name, || Guarded { lock: L::new(), canary: Canary::new() })
        .prune_loops(REPEATS)
        .witness(|world, victim| u64::from(world.is_left_in_doubt_by(victim)))
        .survivors(SURVIVORS, |world, me| {
            let first = if me.number() % 2 == 0 { Read } else { Write };
            world.visit(me, first)?;
            me.succeeded();
            for _ in 0..TURNS {
                world.visit(me, first.other())?;
                world.visit(me, first)?;
            }
            Ok(())
        })
        .audit(|world, me| {
            // Of two deaths the second victim may have heard the first.
            let (told, left) = (u64::from(world.canary.recoveries()), me.witnessed());
            let most = left + me.witnessed_before();
            ensure!(
                (left..=most).contains(&told),
                "writers died {left} to {most} times, and that was told {told} times"
            );
            let (writer, readers) = (world.lock.writer(), world.lock.readers());
            ensure!(writer == 0, "in the end {writer} has the lock");
            ensure!(readers == 0, "in the end {readers} places are taken");
            Ok(())
        })
}

impl Kind {
    fn name(self) -> &'static str {
        if self == Read { "read" } else { "write" }
    }

    fn other(self) -> Self {
        if self == Read { Write } else { Read }
    }

    /// The first waiter is of this kind, the second of the other, and so on.
    fn in_turn(self, me: &Actor<'_>) -> Self {
        match me.role() {
            Role::Waiter(index) if index % 2 == 1 => self.other(),
            _ => self,
        }
    }
}

impl<L: ReadWrite> Guarded<L> {
    /// Lets this process find out who it is, and whatever else it does once.
    fn warm_up(&self, me: &Actor<'_>) -> Verdict {
        ensure!(me.frozen().is_none(), "nobody is frozen here");
        drop(self.lock.try_read());
        Ok(())
    }

    /// Takes the lock as the operation of a victim, works on what it protects, and gives it back.
    fn take(&self, me: &Actor<'_>, kind: Kind) -> Verdict {
        match kind {
            Read => {
                let read = me.operation(|| self.lock.read());
                self.look(me, read)
            }
            Write => {
                let held = me.operation(|| self.lock.write());
                self.leave(me, held)
            }
        }
    }

    fn visit(&self, me: &Actor<'_>, kind: Kind) -> Verdict {
        match kind {
            Read => self.look(me, self.lock.read()),
            Write => self.leave(me, self.lock.write()),
        }
    }

    fn look(&self, me: &Actor<'_>, read: Result<L::Read<'_>, L::Write<'_>>) -> Verdict {
        match read {
            Ok(_guard) => self.canary.look(me.number()),
            Err(guard) => self.leave(me, Held { guard, recovered: true }),
        }
    }

    fn leave(&self, me: &Actor<'_>, held: Held<L::Write<'_>>) -> Verdict {
        if held.recovered {
            self.canary.repair();
        }
        self.canary.visit(me.number())
    }

    /// Whether `victim`, who is about to die, or one who is dead already, leaves what must be told.
    fn is_left_in_doubt_by(&self, victim: u32) -> bool {
        let writer = self.lock.writer();
        let is_dead = || !Path::new("/proc").join(writer.to_string()).exists();
        self.lock.is_in_doubt() && (writer == 0 || writer == victim || is_dead())
    }
}
