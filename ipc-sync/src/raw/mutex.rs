//! The words of a mutex, and the protocol on them.
//!
//! The state is in the [owner word](super::owner).
//!
//! # Who may do what
//!
//! | word | who | may |
//! |---|---|---|
//! | free | anybody | claim it, D kept |
//! | held | its owner | release it, set or clear D, make it unrecoverable |
//! | held | others of the owner's domain, once the kernel says that the owner is dead | claim it with D set |
//! | unrecoverable | anybody | fail |
//!
//! # What a death leaves behind
//!
//! The baton is armed before the claim and disarmed after the wake, so at every row a death makes the kernel wake
//! one sleeper; where there is no baton the sleepers' slices end within 64 ms.
//!
//! | killed | word | then |
//! |---|---|---|
//! | before the claim | unchanged | nothing to do |
//! | after the claim, before the release | held by the dead | a waiter looks, finds it dead, claims it: `Recovered` |
//! | after the release, before the wake | free | one sleeper is woken by the kernel |
//! | after the wake | free | nothing to do |
//! | asleep | unchanged | nothing to do |
//! | woken, before its claim | free, or somebody barged in | its wake goes on to the next sleeper |
//! | after a take-over, before the repair | held by the dead, D | the next owner is told again |
//! | between two domains | domain cell mixed | nobody steals any more; the lock stays with the dead |
//!
//! Locking is not fair: a running thread may take the lock before one that was woken for it.

use core::sync::atomic::compiler_fence;

use ipc_core::Errno;
use ipc_core::identity::{Identity, NoIdentity, ProcessId};
use ipc_core::primitive::{AtomicU64, Ordering, identity};

use super::gate::Gate;
use super::holder::Holder;
use super::owner::{FREE, INCONSISTENT, State, UNRECOVERABLE, state};
use super::residence::Residence;
use super::until::Until;
use super::wait::Wait;

/// 16 bytes; every pattern of them is some state.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawMutex {
    pub(super) owner: AtomicU64,
    pub(super) gate: Gate,
    pub(super) residence: Residence,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RawMutex>() == 16 && align_of::<RawMutex>() == 8);

/// How the lock was found when it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Consistent,
    Inconsistent,
}

/// Why the lock was not claimed at the first try.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missed {
    /// This process has never asked who it is, or has never been at this lock.
    Untried,
    /// The owner word was this and not free. Whether the gate was armed.
    Saw { word: u64, armed: bool },
}

/// Why the lock was not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unrecoverable,
    WouldBlock,
    TimedOut,
    Deadlock,
    Corrupt,
    NoIdentity,
    Os(Errno),
}

impl From<NoIdentity> for Refused {
    fn from(_: NoIdentity) -> Self {
        Self::NoIdentity
    }
}

fn found(word: u64) -> Found {
    if word & INCONSISTENT == 0 { Found::Consistent } else { Found::Inconsistent }
}

fn bits(found: Found) -> u64 {
    if found == Found::Consistent { FREE } else { INCONSISTENT }
}

impl RawMutex {
    ipc_core::const_unless_loom! {
        /// A free lock. `resident`: it lies in a mapping that is not given back while a gate in it is armed.
        pub(crate) fn new(resident: bool) -> Self {
            Self { owner: AtomicU64::new(FREE), gate: Gate::new(), residence: Residence::new(resident) }
        }
    }

    /// Claims the lock if that takes one compare-exchange.
    #[inline]
    pub(crate) fn lock_uncontended(&self) -> Result<Holder, Missed> {
        let me = identity::known().ok_or(Missed::Untried)?;
        let armed = self.residence.enter_again(&self.gate, me).ok_or(Missed::Untried)?;
        match self.claim(FREE, me.id.to_bits()) {
            Ok(()) => Ok(Holder::of(me)),
            Err(word) => Err(Missed::Saw { word, armed }),
        }
    }

    /// Claims the lock, or waits for it.
    pub(crate) fn lock(&self, until: Until) -> Result<Found, Refused> {
        match self.lock_uncontended() {
            Ok(_) => Ok(Found::Consistent),
            Err(missed) => self.lock_contended(missed, until),
        }
    }

    /// Goes on where [`lock_uncontended`](Self::lock_uncontended) `missed` the lock.
    #[cold]
    pub(crate) fn lock_contended(&self, missed: Missed, until: Until) -> Result<Found, Refused> {
        self.lock_or_inherit(missed, &mut Wait::new(until), Found::Inconsistent)
    }

    /// As [`lock_contended`](Self::lock_contended). `dead`: how an owner that died has left what the lock guards, if
    /// its word does not say that it is worse.
    #[cold]
    pub(super) fn lock_or_inherit(
        &self,
        missed: Missed,
        wait: &mut Wait,
        dead: Found,
    ) -> Result<Found, Refused> {
        let me = identity::current()?;
        let (word, armed) = match missed {
            Missed::Saw { word, armed } => (word, armed),
            Missed::Untried => {
                let armed = self.residence.enter(&self.gate, me);
                (self.word(), armed)
            }
        };
        let result = self.claim_or_wait(me, word, armed, wait, dead);
        if result.is_err() && armed {
            self.residence.leave(&self.gate, me);
        }
        result
    }

    fn claim_or_wait(
        &self,
        me: Identity,
        mut seen: u64,
        armed: bool,
        wait: &mut Wait,
        dead: Found,
    ) -> Result<Found, Refused> {
        loop {
            let owner = match state(seen) {
                State::Free => match self.claim(seen, me.id.to_bits() | (seen & INCONSISTENT)) {
                    Ok(()) => return Ok(found(seen)),
                    Err(word) => {
                        seen = word;
                        continue;
                    }
                },
                State::Held(owner) => owner,
                State::Unrecoverable => return Err(Refused::Unrecoverable),
                State::Corrupt => return Err(Refused::Corrupt),
            };
            // This attempt has armed the gate once at most; more means that the thread holds the lock.
            if owner == me.id && self.gate.armed_times(me.id) > usize::from(armed) {
                return Err(Refused::Deadlock);
            }
            let Some(turn) = wait.turn() else {
                seen = self.word();
                continue;
            };
            if turn.asks && self.residence.is_dead(owner, me) {
                let left = bits(dead) | (seen & INCONSISTENT);
                match self.claim(seen, me.id.to_bits() | left) {
                    Ok(()) => return Ok(found(left)),
                    Err(word) => {
                        seen = word;
                        continue;
                    }
                }
            }
            if turn.ends {
                // A wake-up that was meant for whoever sleeps longest may have come to this thread in the last
                // moment: it goes on to the next.
                if wait.may_sleep() {
                    self.gate.wake_one();
                }
                return Err(wait.refused());
            }
            wait.sleep(&self.gate, &self.owner, seen, owner)?;
            seen = self.word();
        }
    }

    /// The owner word. The owner's admission to the domain comes with its claim.
    #[inline]
    pub(super) fn word(&self) -> u64 {
        self.owner.load(Ordering::Acquire)
    }

    /// `Err`: the word is another by now.
    #[inline]
    pub(super) fn claim(&self, seen: u64, mine: u64) -> Result<(), u64> {
        // SYNC: what the lock guards (Release in `replace`). Also Release, so that whoever reads
        // this claim finds our admission in the domain cell.
        let orders = (Ordering::AcqRel, Ordering::Acquire);
        self.owner.compare_exchange(seen, mine, orders.0, orders.1).map(drop)
    }

    /// Releases the lock, which this process holds as `held`, and leaves it as `left`.
    ///
    /// `false`: the word was not ours, and nothing was changed.
    #[inline]
    pub(crate) fn unlock(&self, held: Found, left: Found) -> bool {
        let Some(me) = identity::known() else { return self.unlock_unknown(held, left) };
        self.unlock_as(me, held, left)
    }

    /// As [`unlock`](Self::unlock), for a guard: a copy of it in a forked child changes nothing, whatever that child holds.
    #[inline]
    pub(crate) fn unlock_of(&self, holder: Holder, held: Found, left: Found) -> bool {
        holder.here().is_some_and(|me| self.unlock_as(me, held, left))
    }

    /// A process that holds the lock has an identity; a forked child that drops a copy of a guard
    /// may have yet to find its own.
    #[cold]
    fn unlock_unknown(&self, held: Found, left: Found) -> bool {
        identity::current().is_ok_and(|me| self.unlock_as(me, held, left))
    }

    #[inline]
    fn unlock_as(&self, me: Identity, held: Found, left: Found) -> bool {
        let released = self.replace(me.id.to_bits() | bits(held), bits(left));
        if released {
            self.gate.wake_one();
        }
        self.residence.leave(&self.gate, me);
        released
    }

    /// How this process, which is `me`, holds the lock; nobody else can change that.
    #[inline]
    pub(crate) fn held_by(&self, me: ProcessId) -> Option<Found> {
        let word = self.owner.load(Ordering::Relaxed);
        (word & !INCONSISTENT == me.to_bits()).then(|| found(word))
    }

    /// Whether an owner left what the lock guards in disorder, and nobody has repaired it since.
    #[cfg(feature = "lock_api")]
    pub(crate) fn is_inconsistent(&self) -> bool {
        found(self.owner.load(Ordering::Relaxed)) == Found::Inconsistent
    }

    /// The owner may have left what the lock guards in disorder, and goes on holding it.
    pub(crate) fn mark_inconsistent(&self) -> bool {
        let Ok(me) = identity::current() else { return false };
        self.replace(me.id.to_bits(), me.id.to_bits() | INCONSISTENT)
    }

    /// The owner, which is this process, begins to change what the lock guards, and goes on holding it. `false`: the
    /// word was not ours.
    #[inline]
    pub(super) fn begin_change(&self, me: Identity) -> bool {
        let is_ours = self.owner.load(Ordering::Relaxed) == me.id.to_bits();
        if is_ours {
            // A store will do, because nobody else changes the word of an owner that lives.
            self.owner.store(me.id.to_bits() | INCONSISTENT, Ordering::Release);
            // No change comes before the mark. Whoever judges us dead sees what we have stored in the order of the
            // program, so this is the compiler's affair alone.
            compiler_fence(Ordering::SeqCst);
        }
        is_ours
    }

    /// The owner has repaired what the lock guards.
    pub(crate) fn mark_consistent(&self) -> bool {
        let Ok(me) = identity::current() else { return false };
        self.replace(me.id.to_bits() | INCONSISTENT, me.id.to_bits())
    }

    /// The owner says that nobody ever can. Releases the lock.
    pub(crate) fn poison(&self) -> bool {
        let Ok(me) = identity::current() else { return false };
        let poisoned = self.replace(me.id.to_bits() | INCONSISTENT, UNRECOVERABLE);
        self.gate.wake_all();
        self.residence.leave(&self.gate, me);
        poisoned
    }

    /// Takes the lock away from whoever holds it.
    pub(crate) fn break_lock(&self) {
        // Acquire: what the owner wrote so far is what the next one finds.
        self.owner.swap(INCONSISTENT, Ordering::AcqRel);
        self.gate.wake_all();
    }

    /// What the first process to come here does, so that a model of something else need not
    /// explore it again.
    #[cfg(loom)]
    pub(crate) fn admit(&self) {
        self.residence.admit();
    }

    pub(crate) fn owner(&self) -> Option<ProcessId> {
        match state(self.owner.load(Ordering::Relaxed)) {
            State::Held(owner) => Some(owner),
            State::Free | State::Unrecoverable | State::Corrupt => None,
        }
    }

    /// Whether whoever claims the lock now gets it inconsistent, or never.
    pub(crate) fn is_abandoned(&self) -> bool {
        // Acquire: the owner's admission to the domain comes with its claim.
        let word = self.owner.load(Ordering::Acquire);
        match state(word) {
            State::Free => found(word) == Found::Inconsistent,
            State::Held(owner) => {
                identity::current().is_ok_and(|me| self.residence.is_dead(owner, me))
            }
            State::Unrecoverable | State::Corrupt => true,
        }
    }

    /// A change of a word that only its owner may change.
    #[inline]
    fn replace(&self, from: u64, to: u64) -> bool {
        // SYNC: what the lock guards (Acquire in `claim`).
        self.owner.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use ipc_core::clock::Deadline;

    /// A thread that was kept from running until its time was over, while the lock was released in time.
    #[test]
    fn what_came_in_time_counts_however_late_the_thread_is() {
        let lock = RawMutex::new(false);
        let me = identity::current().unwrap();
        let held_then = Missed::Saw { word: me.id.to_bits(), armed: false };
        for until in [Until::Deadline(Deadline::now()), Until::Interruptible(Deadline::now())] {
            assert_eq!(lock.lock_contended(held_then, until), Ok(Found::Consistent));
            assert_eq!(lock.lock_contended(held_then, until), Err(Refused::TimedOut));
            assert!(lock.unlock(Found::Consistent, Found::Consistent));
        }
    }
}
