//! The words of a semaphore whose permits have owners, and the protocol on them.
//!
//! One word, a *slot*, is one permit:
//!
//! ```text
//!  63   62 ........................ 32   31 ....... 22   21 ............ 0
//! +---+--------------------------------------------------+------------------+
//! | T | incarnation                                      | pid              |
//! +---+------------------------------+-------------------+------------------+
//!   0   stamp                            0                   0                  free
//!   0   the owner's `ProcessId`                                                  held
//!   1   the receiver's `ProcessId`                                               on its way to that process
//! ```
//!
//! # Who may do what
//!
//! | slot | who | may |
//! |---|---|---|
//! | free | anybody | claim it |
//! | held | its owner | free it, or send it on its way |
//! | on its way | the receiver | make it held |
//! | held, or on its way | others of that process's domain, once the kernel says that it is dead | claim it |
//!
//! The claim names its owner in the same compare-exchange that makes it, and each other step is a compare-exchange from
//! the very word that allows it. So there are never more permits than slots, and no death loses one.
//!
//! # None is free
//!
//! Whoever looks at one slot after the other may find each of them held although there was a free one all the time: it
//! was always another. So whoever claims counts that first, in `claims`; and who finds none looks twice, and once
//! more if the count has changed. If it has not, no slot was freed *and claimed* since the first look began: whoever
//! claims a slot has counted after he saw it free. So a slot that was held both times was held in between, and between
//! the two looks all were.
//!
//! One who has counted and not claimed yet, however slow he is, must not claim what was freed meanwhile. The stamp of
//! a free slot sees to it: it is the count at its release, another one than that of the release before, since a claim
//! lies between the two. So his compare-exchange fails (unless 2^31 claims were made in the meantime), and he counts anew.
//!
//! A look is repeated only if somebody else has found a free slot, which he or another one then claimed: somebody always
//! gets on. Only who gives up must know that none was free; who goes to sleep looks in another way.
//!
//! # Asleep or seen
//!
//! A waiter sets the gate to "maybe", looks at all slots once more, and lets the kernel compare all of them
//! with what it saw as it falls asleep (`futex_waitv` takes 127 beside the gate). That the waker sees the gate would not do:
//! one who was freed a slot for may be killed, and the kernel hands his wake-up on before this waiter sleeps.
//! The low half of a slot is 0 when it is free and never else, so the kernel sees each release.
//!
//! Of more than 127 slots the kernel compares the first 127, and where it has no `futex_waitv`, none. A wake-up that
//! goes astray by two deaths in a row is then made good at the end of a slice of 10 ms.
//!
//! # What a death leaves behind
//!
//! The baton is armed before a claim and disarmed after the release and its wake-up, so at every row but those of a
//! transfer a death makes the kernel wake one sleeper; where there is no baton the sleepers' slices end within 64 ms.
//!
//! | killed | slot | then |
//! |---|---|---|
//! | in acquire, before the claim | unchanged; perhaps one more was counted | somebody looks twice |
//! | after the claim, before the release | held by the dead | a waiter looks, finds it dead, claims it: recovered |
//! | after the release, before the wake | free | one sleeper is woken by the kernel |
//! | asleep | unchanged | nothing to do |
//! | woken, before its claim | free, or somebody barged in | its wake goes on to the next sleeper |
//! | after it has claimed a dead one's slot, before it has woken the next | held by the dead | the next is told again |
//! | with several slots | all held by the dead | who recovers one wakes another, who looks for more |
//! | in transfer, before the step | held by the dead | recovered |
//! | in transfer, after it | on its way | the receiver asks for what is on its way to it |
//! | the receiver, before it has adopted | on its way to the dead | recovered at the end of a slice: it had armed nothing |
//! | in adopt, after the step | held by the dead | recovered |
//! | between two domains | domain cell mixed | nobody recovers any more; the slot stays with the dead |
//!
//! The double look is the double collect of Afek, Attiya, Dolev, Gafni, Merritt and Shavit ("Atomic Snapshots of Shared
//! Memory", 1993); theirs gives each word a sequence number, for which an owner word has no room.

use core::time::Duration;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::identity::{Identity, NoIdentity, ProcessId};
use ipc_core::primitive::futex::{Entry, MAX_ENTRIES, Wake, Word};
use ipc_core::primitive::{AtomicU32, AtomicU64, Ordering, identity};

use super::gate::Gate;
use super::holder::Holder;
use super::patience::spin_until;
use super::residence::Residence;
use super::until::Until;
use super::wait::Wait;

/// 16 bytes and 8 for each slot; every pattern of them is some state.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawPermits<const N: usize> {
    gate: Gate,
    residence: Residence,
    /// How many claims were begun, wrapping.
    claims: AtomicU32,
    unused: u32,
    slots: [AtomicU64; N],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RawPermits<1>>() == 24 && align_of::<RawPermits<1>>() == 8);

/// The permit is on its way.
const IN_TRANSFER: u64 = ProcessId::FREE_BIT;
/// The bits of a free slot in which its stamp is.
const STAMP: u64 = !IN_TRANSFER & !LOW;
const LOW: u64 = u32::MAX as u64;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Held by this process, or on its way to it.
    Owned(ProcessId),
    Corrupt,
}

fn state(word: u64) -> State {
    if word & !STAMP == 0 {
        return State::Free;
    }
    ProcessId::from_bits(word & !IN_TRANSFER).map_or(State::Corrupt, State::Owned)
}

/// A permit that this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) slot: u32,
    /// Whether the gate was armed for it.
    pub(crate) armed: bool,
    /// Whether it was a dead process's.
    pub(crate) recovered: bool,
    pub(crate) holder: Holder,
}

/// Why there was no permit at the first look.
#[derive(Clone, Copy, Debug)]
enum Missed {
    /// This process has never asked who it is, or has never been here.
    Untried,
    /// Each slot was held when it was looked at. Whether the gate was armed.
    NoneFree { armed: bool },
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    WouldBlock,
    TimedOut,
    Corrupt,
    NoIdentity,
    Os(Errno),
}

impl From<NoIdentity> for Refused {
    fn from(_: NoIdentity) -> Self {
        Self::NoIdentity
    }
}

/// What a look for the dead has found.
enum Found {
    /// The slot of a dead process, which is ours now.
    Dead(u32),
    Alive,
    /// A slot is free, or has changed meanwhile.
    Changed,
}

/// How long one sleeps at a time where the kernel does not compare all slots.
const SHORT: Duration = Duration::from_millis(10);

/// How many slots the kernel compares, beside the gate.
const COMPARED: usize = MAX_ENTRIES - 1;

impl<const N: usize> RawPermits<N> {
    const SIZE: () = assert!(N >= 1 && N <= 1 << 20, "a semaphore has 1 to 1,048,576 permits");

    ipc_core::const_unless_loom! {
        /// All free. `resident`: it lies in a mapping that is not given back while a gate in it is armed.
        pub(crate) fn new(resident: bool) -> Self {
            let () = Self::SIZE;
            let (gate, residence) = (Gate::new(), Residence::new(resident));
            Self { gate, residence, claims: AtomicU32::new(0), unused: 0, slots: all_free() }
        }
    }

    #[inline]
    pub(crate) fn acquire(&self, until: Until) -> Result<Claim, Refused> {
        match self.acquire_uncontended() {
            Ok(claim) => Ok(claim),
            Err(missed) => self.acquire_contended(missed, until),
        }
    }

    /// A free slot, if this process has been here before and finds one at the first look.
    #[inline]
    fn acquire_uncontended(&self) -> Result<Claim, Missed> {
        let () = Self::SIZE;
        let me = identity::known().ok_or(Missed::Untried)?;
        let armed = self.residence.enter_again(&self.gate, me).ok_or(Missed::Untried)?;
        let slot = self.look(me).ok_or(Missed::NoneFree { armed })?;
        Ok(Claim { slot, armed, recovered: false, holder: Holder::of(me) })
    }

    /// Goes on where [`acquire_uncontended`](Self::acquire_uncontended) `missed`.
    #[cold]
    fn acquire_contended(&self, missed: Missed, until: Until) -> Result<Claim, Refused> {
        let me = identity::current()?;
        let armed = match missed {
            Missed::NoneFree { armed } => armed,
            Missed::Untried => self.residence.enter(&self.gate, me),
        };
        let claimed = self.claim_or_wait(me, until);
        if claimed.is_err() && armed {
            self.residence.leave(&self.gate, me);
        }
        let holder = Holder::of(me);
        claimed.map(|(slot, recovered)| Claim { slot, armed, recovered, holder })
    }

    fn claim_or_wait(&self, me: Identity, until: Until) -> Result<(u32, bool), Refused> {
        let mut wait = Wait::new(until);
        loop {
            // What came in time counts, however late this thread is: first the time, then the slots.
            let is_over = wait.is_over();
            let asks = wait.asks(is_over);
            // Who goes to sleep looks once more, and so does the kernel; who gives up must know.
            let free = if is_over { self.claim_free(me) } else { self.look(me) };
            if let Some(slot) = free {
                return Ok((slot, false));
            }
            if asks {
                match self.claim_dead(me)? {
                    Found::Dead(slot) => {
                        // The kernel has woken one for each thread that died, however many permits it had.
                        self.gate.wake_one();
                        return Ok((slot, true));
                    }
                    Found::Changed => {
                        wait.ask_again();
                        continue;
                    }
                    Found::Alive => {}
                }
            }
            if is_over {
                return Err(self.give_up(&wait));
            }
            if !spin_until(|| self.words().any(|word| state(word) == State::Free)) {
                let wake = self.park(wait.slice(), until);
                wait.slept(wake).map_err(Refused::Os)?;
            }
        }
    }

    /// A free slot. `None`: at one moment of this call there was none.
    fn claim_free(&self, me: Identity) -> Option<u32> {
        loop {
            // SYNC: whoever saw a slot that was freed after our first look has counted after this (AcqRel in `look`).
            let begun = self.claims.load(Ordering::Acquire);
            if let Some(slot) = self.look(me).or_else(|| self.look(me)) {
                return Some(slot);
            }
            // The looks are Acquire: a claim that they saw was counted before.
            if self.claims.load(Ordering::Relaxed) == begun {
                return None;
            }
        }
    }

    /// One look at each slot, from one on that is another for each process; the first free one is claimed.
    #[inline]
    fn look(&self, me: Identity) -> Option<u32> {
        let first = me.id.to_bits() as usize % N;
        (first..N).chain(0..first).find(|&at| self.claim_if_free(at, me)).map(|at| at as u32)
    }

    #[inline]
    fn claim_if_free(&self, at: usize, me: Identity) -> bool {
        let mut word = self.slots[at].load(Ordering::Acquire);
        while state(word) == State::Free {
            // Before the claim, and after the slot was seen free. See the head of this file.
            self.claims.fetch_add(1, Ordering::AcqRel);
            match self.claim(at, word, me.id) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    #[inline]
    fn claim(&self, at: usize, seen: u64, me: ProcessId) -> Result<(), u64> {
        // SYNC: what was done while the permit was held before (Release in `release`). Also Release, so that whoever
        // reads this claim finds our admission in the domain cell, and our count.
        let orders = (Ordering::AcqRel, Ordering::Acquire);
        self.slots[at].compare_exchange(seen, me.to_bits(), orders.0, orders.1).map(drop)
    }

    /// Asks for each owner whether it lives, and claims the slot of the first that does not.
    fn claim_dead(&self, me: Identity) -> Result<Found, Refused> {
        let (mut lives, mut corrupt) = (None, 0);
        for at in 0..N {
            // Acquire: the owner's admission to the domain comes with its claim.
            let word = self.slots[at].load(Ordering::Acquire);
            match state(word) {
                State::Free => return Ok(Found::Changed),
                State::Corrupt => corrupt += 1,
                State::Owned(owner) if lives == Some(owner) => {}
                State::Owned(owner) if self.residence.is_dead(owner, me) => {
                    return Ok(match self.claim(at, word, me.id) {
                        Ok(()) => Found::Dead(at as u32),
                        Err(_) => Found::Changed,
                    });
                }
                State::Owned(owner) => lives = Some(owner),
            }
        }
        if corrupt == N { Err(Refused::Corrupt) } else { Ok(Found::Alive) }
    }

    /// Sleeps while no slot is free, until woken or `slice` ends.
    #[cold]
    fn park(&self, slice: Deadline, until: Until) -> ipc_core::Result<Wake> {
        self.gate.announce();
        let mut entries = [self.gate.entry(); MAX_ENTRIES];
        let mut owners = [None; COMPARED];
        for (at, slot) in self.slots.iter().enumerate() {
            let word = slot.load(Ordering::Relaxed);
            let owner = match state(word) {
                State::Free => return Ok(Wake::Changed),
                State::Owned(owner) => Some(owner),
                State::Corrupt => None,
            };
            if at < COMPARED {
                owners[at] = owner;
                entries[at + 1] = Entry::new(Word::Low(slot), word as u32);
            }
        }
        let slice = if N > COMPARED { slice.min(Deadline::after(SHORT)) } else { slice };
        let (entries, owners) = (&entries[..=N.min(COMPARED)], owners.into_iter().flatten());
        self.gate.sleep(entries, owners, slice, until.is_interruptible())
    }

    /// The time is over, or a signal has come. A wake-up that was meant for whoever sleeps longest may
    /// have come to this thread in the last moment: it goes on to the next.
    #[cold]
    fn give_up(&self, wait: &Wait) -> Refused {
        if !wait.may_sleep() {
            return Refused::WouldBlock;
        }
        self.gate.wake_one();
        if wait.is_interrupted() { Refused::Os(Errno::INTR) } else { Refused::TimedOut }
    }

    /// Gives back what this process holds. `false`: it does not hold it, and nothing was changed.
    #[inline]
    pub(crate) fn release(&self, claim: Claim) -> bool {
        self.part_with(claim, |me| {
            let freed = self.replace(claim.slot, me.to_bits(), self.stamp());
            if freed {
                self.gate.wake_one();
            }
            freed
        })
    }

    /// For a slot that is claimed now: another one than it had when it was free.
    #[inline]
    fn stamp(&self) -> u64 {
        u64::from(self.claims.load(Ordering::Relaxed)) << 32 & STAMP
    }

    /// Sends what this process holds on its way to `to`. `false`: it does not hold it, and nothing was changed.
    pub(crate) fn transfer(&self, claim: Claim, to: ProcessId) -> bool {
        let sent = to.to_bits() | IN_TRANSFER;
        self.part_with(claim, |me| self.replace(claim.slot, me.to_bits(), sent))
    }

    #[inline]
    fn part_with(&self, claim: Claim, step: impl FnOnce(ProcessId) -> bool) -> bool {
        let Some(me) = claim.holder.here() else { return false };
        let done = step(me.id);
        if claim.armed {
            self.residence.leave(&self.gate, me);
        }
        done
    }

    /// Holds from now on what is on its way to this process in `slot`, if it is.
    pub(crate) fn adopt(&self, slot: u32) -> Option<Claim> {
        let me = identity::current().ok()?;
        let at = usize::try_from(slot).ok().filter(|&at| at < N)?;
        let armed = self.residence.enter(&self.gate, me);
        let adopted = self.claim(at, me.id.to_bits() | IN_TRANSFER, me.id).is_ok();
        if !adopted && armed {
            self.residence.leave(&self.gate, me);
        }
        adopted.then_some(Claim { slot, armed, recovered: false, holder: Holder::of(me) })
    }

    /// The slots in which something was on its way to this process.
    pub(crate) fn sent_to_us(&self) -> impl Iterator<Item = u32> + '_ {
        let sent = identity::current().map_or(0, |me| me.id.to_bits() | IN_TRANSFER);
        (0..).zip(self.words()).filter(move |&(_, word)| word == sent).map(|(slot, _)| slot)
    }

    /// Takes everything away from `owner` and frees it: how much.
    pub(crate) fn evict(&self, owner: ProcessId) -> usize {
        let freed = |slot: &AtomicU64| {
            // Acquire: the stamp counts the claim that is undone, and so is another one than before it.
            let word = slot.load(Ordering::Acquire);
            word & !IN_TRANSFER == owner.to_bits() && replace(slot, word, self.stamp())
        };
        let count = self.slots.iter().filter(|slot| freed(slot)).count();
        self.gate.wake_all();
        count
    }

    /// A step that only the owner may make.
    #[inline]
    fn replace(&self, slot: u32, from: u64, to: u64) -> bool {
        self.slots.get(slot as usize).is_some_and(|slot| replace(slot, from, to))
    }

    pub(crate) fn available(&self) -> usize {
        self.words().filter(|&word| state(word) == State::Free).count()
    }

    /// Whose each permit is that is not free.
    pub(crate) fn owners(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.words().filter_map(|word| match state(word) {
            State::Owned(owner) => Some(owner),
            State::Free | State::Corrupt => None,
        })
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.load(Ordering::Relaxed))
    }

    /// What the first process to come here does, so that a model of something else need not explore it again.
    #[cfg(loom)]
    pub(crate) fn admit(&self) {
        self.residence.admit();
    }
}

/// A step that only the owner may make, or nobody else any more.
#[inline]
fn replace(slot: &AtomicU64, from: u64, to: u64) -> bool {
    // SYNC: what was done while the permit was held (Acquire in `claim`).
    slot.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
}

#[cfg(not(loom))]
const fn all_free<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

#[cfg(loom)]
fn all_free<const N: usize>() -> [AtomicU64; N] {
    core::array::from_fn(|_| AtomicU64::new(0))
}
