//! The words of a barrier, and the protocol on them.
//!
//! The state is in the [`Phase`]: who has arrived, at which turn, and why it is broken. Beside it stand a place for
//! each party with the [id](ProcessId) of the process that has it, and two [gates](super::gate), which the turns use
//! alternately: who is slow to leave a turn touches a gate on which nobody of the next turn sleeps.
//!
//! # Who may do what
//!
//! | word | who | may |
//! |---|---|---|
//! | a place, free | who joins | put its own id there, one compare-exchange |
//! | a place, mine | that process | mark it as being left, free it |
//! | a place that is being left, or of the dead | who resets, once the kernel says so | free it |
//! | phase, whole | a member that is missing | arrive; if it is the last, this *is* the opening: one compare-exchange |
//! | phase, whole | a member that has arrived and whose time is over, one that leaves, anybody who aborts, and who finds that a missing member is dead | break it |
//! | phase, broken | anybody | reset it |
//!
//! An arrival is never taken back, so from "all the others have arrived" on nothing can happen but the opening and a
//! breach. That is why the last member may run an action *before* it arrives, and why a death in the action is like any
//! other: a member is missing and dead.
//!
//! A member finds out how its wait ended by one look at the phase. Another turn: it opened. Broken: it is broken. Neither,
//! and its own bit is gone, which nobody else sets: it was reset. It may look late, for a turn that it has missed cannot
//! end without it.
//!
//! # What a death leaves behind
//!
//! Whoever is in a call has the gate of the turn armed until it returns, so that a death there makes the kernel wake one
//! sleeper. One that was woken and finds that the phase has moved on wakes the rest before it goes: so the one
//! wake-up of the dead is enough for all. Where there is no baton the sleepers' slices end within 64 ms. A wake-up
//! can be lost with nobody, because none is meant for one alone.
//!
//! | killed | phase | then |
//! |---|---|---|
//! | outside of any call | as before | who waits finds it dead at the end of a slice: broken for all, who it was is known |
//! | in `join`, before its claim | as before | nothing to do |
//! | in `join`, after it | as before | one is woken, or finds it at the end of a slice: as above |
//! | in `wait`, before its arrival; in the action | as before | one is woken, finds it dead: as above |
//! | in `wait`, after its arrival, not the last | it has arrived | this turn opens, unless somebody finds no place to join; the next one breaks |
//! | in `wait`, after the opening, before the wake | the next turn | one is woken, wakes the others; the turn that begins breaks |
//! | asleep, or woken | it has arrived | nothing to do for this turn |
//! | breaking it, before the wake | broken | one is woken, wakes the others |
//! | leaving, before it broke it | as before | who waits finds the mark, and breaks it for the same reason |
//! | leaving, before it freed its place | broken | the place is freed by the reset |
//! | in `reset`, before its end | broken by a reset | the next reset goes on with it |
//! | between two pid namespaces | as before | no death can be judged: it stays closed until somebody breaks it |
//!
//! No place leaks: one that names a dead process is freed by the next reset, and by nothing else, so that every
//! death is told. A living process's place is freed by itself alone.
//!
//! Generation, arrivals and breach in one word, and the wake-up that is passed on, are this project's own. What a
//! breach means is Java's `CyclicBarrier` and Python's `threading.Barrier`.

mod phase;

use ipc_core::clock::Deadline;
use ipc_core::identity::{Identity, ProcessId};
use ipc_core::primitive::futex::{Entry, Wake, Word};
use ipc_core::primitive::{AtomicU64, Ordering, identity, killed};
use ipc_core::{Errno, Result as OsResult};

use super::armed::Armed;
use super::gate::Gate;
use super::patience::spin_until;
use super::residence::Residence;
use super::until::Until;
use super::wait::Wait;
use crate::{BarrierError, Breach};

pub(crate) use phase::{Cause, Phase};

/// All but the places: 24 bytes, of which every pattern is some state, and all zeros a barrier at which nobody is.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Head {
    phase: AtomicU64,
    gates: [Gate; 2],
    residence: Residence,
    /// Written by nobody after it was made, so that a model has nothing to explore here. 0: as many as there are places.
    parties: core::sync::atomic::AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Head>() == 24 && align_of::<Head>() == 8);

impl Head {
    ipc_core::const_unless_loom! {
        pub(crate) fn new(parties: u32) -> Self {
            Self {
                phase: AtomicU64::new(0),
                gates: [Gate::new(), Gate::new()],
                // The gates are armed within calls only, so it matters to nobody where they lie.
                residence: Residence::new(false),
                parties: core::sync::atomic::AtomicU32::new(parties),
            }
        }
    }

    fn parties(&self) -> usize {
        self.parties.load(Ordering::Relaxed) as usize
    }
}

/// A barrier as its members and everybody else reach it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawBarrier<'a> {
    head: &'a Head,
    /// One for each party.
    places: &'a [AtomicU64],
}

/// In a place: its member is on its way out, alive or dead by now.
const LEAVING: u64 = ProcessId::FREE_BIT;

/// A place, and the process that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) place: u32,
    pub(crate) owner: ProcessId,
}

impl Seat {
    /// Who this process is, if it is the one that has the place.
    fn taken(self) -> Result<Identity, BarrierError> {
        let me = identity::current()?;
        if me.id == self.owner { Ok(me) } else { Err(BarrierError::NotAMember) }
    }

    fn bit(self) -> u32 {
        1 << self.place
    }
}

/// A member has arrived and does not know yet how its turn ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    turn: usize,
    /// How many had arrived before.
    pub(crate) index: u32,
}

/// What [`RawBarrier::wait`] came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waited {
    Opened(Arrival),
    Failed(BarrierError),
    /// The arrival stands.
    Unfinished(Arrival, BarrierError),
}

impl<'a> RawBarrier<'a> {
    /// At most [`Phase::MOST_PLACES`] places, and one at least.
    pub(crate) fn new(head: &'a Head, places: &'a [AtomicU64]) -> Self {
        let parties = match head.parties() {
            parties if (1..=places.len()).contains(&parties) => parties,
            _ => places.len(),
        };
        Self { head, places: &places[..parties] }
    }

    pub(crate) fn parties(self) -> usize {
        self.places.len()
    }

    pub(crate) fn members(self) -> u32 {
        let taken = |(_, word): &(u32, &AtomicU64)| word.load(Ordering::Relaxed) != 0;
        self.each(self.all()).filter(taken).count() as u32
    }

    pub(crate) fn waiting(self) -> u32 {
        (self.phase().arrived() & self.all()).count_ones()
    }

    pub(crate) fn is_broken(self) -> bool {
        self.phase().cause().is_some()
    }

    /// Everybody who is asleep, or about to be, looks again.
    #[cfg(loom)]
    pub(crate) fn end_slices(self) {
        let mut seen = self.phase();
        // Where it is broken there is enough to look at.
        while seen.cause().is_none() {
            match self.try_end(seen, seen.renewed()) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a place that is free.
    pub(crate) fn join(self) -> Result<Seat, BarrierError> {
        let me = identity::current()?;
        let turn = self.await_next_crew()?.turn();
        let gate = &self.head.gates[turn];
        // Each claim below is a Release operation.
        self.head.residence.enter(gate, me);
        let _armed = Armed::new(gate, me.id);
        let claim = |place: &AtomicU64| {
            let free = place.load(Ordering::Acquire) == 0;
            // SYNC: place (AcqRel here and in `replace`): who takes a place that a reset has freed sees that reset.
            let orders = (Ordering::AcqRel, Ordering::Relaxed);
            free && place.compare_exchange(0, me.id.to_bits(), orders.0, orders.1).is_ok()
        };
        let Some(place) = self.places.iter().position(claim) else { return Err(self.full(me)) };
        let seen = self.phase();
        if seen.cause().is_some() {
            // It was broken meanwhile.
            self.replace(&self.places[place], me.id.to_bits(), 0);
            return Err(self.broken(seen));
        }
        Ok(Seat { place: place as u32, owner: me.id })
    }

    /// Lets nobody join one that is broken, but for those who come after all its members have left.
    fn await_next_crew(self) -> Result<Phase, BarrierError> {
        loop {
            let seen = self.phase();
            match seen.cause() {
                None => return Ok(seen),
                Some(Cause::Left)
                    if self.places.iter().all(|place| place.load(Ordering::Acquire) == 0) =>
                {
                    // If it fails, somebody else has done it, or has come first.
                    let _ = self.exchange(seen, seen.whole().renewed());
                }
                // Who is seen there may belong to the next crew; then the phase has changed before.
                Some(_) if self.phase() != seen => {}
                Some(_) => return Err(self.broken(seen)),
            }
        }
    }

    /// Why nobody can join: there are enough members, or one of them is dead, which breaks it.
    fn full(self, me: Identity) -> BarrierError {
        let mut seen = self.phase();
        loop {
            if seen.cause().is_some() {
                return self.broken(seen);
            }
            // Also one that had arrived: nobody may take its place unnoticed.
            let Some(cause) = self.lost(self.all(), me) else { return BarrierError::Full };
            seen = self.try_break(seen, cause).unwrap_or_else(|now| now);
        }
    }

    /// Waits as the member that has `seat`, or goes on to wait with what an earlier call has `kept`; `action` is run if it
    /// is the last one.
    pub(crate) fn wait(
        self,
        seat: Seat,
        kept: Option<Arrival>,
        until: Until,
        action: Option<&mut dyn FnMut()>,
    ) -> Waited {
        let me = match seat.taken() {
            Ok(me) => me,
            Err(error) => return Waited::Failed(error),
        };
        let seen = self.phase();
        // As long as this member is missing, the turn stays what it is.
        let turn = kept.map_or_else(|| seen.turn(), |arrival| arrival.turn);
        let _armed = Armed::new(&self.head.gates[turn], me.id);
        let arrived = match kept {
            Some(arrival) => Ok((arrival, false)),
            None => self.arrive(seat, me, seen, until, action),
        };
        match arrived {
            Ok((arrival, true)) => Waited::Opened(arrival),
            Ok((arrival, false)) => self.await_opening(seat, me, arrival, until),
            Err(error) => Waited::Failed(error),
        }
    }

    /// Arrives; and whether that has opened it.
    fn arrive(
        self,
        seat: Seat,
        me: Identity,
        mut seen: Phase,
        until: Until,
        mut action: Option<&mut dyn FnMut()>,
    ) -> Result<(Arrival, bool), BarrierError> {
        let mut acted_at = None;
        loop {
            if seen.cause().is_some() {
                return Err(self.broken(seen));
            }
            if acted_at.is_some_and(|phase| phase != seen) {
                return Err(BarrierError::Broken(Breach::Reset));
            }
            let others = seen.arrived() & self.all();
            let is_last = others | seat.bit() == self.all();
            let hindrance = if others & seat.bit() != 0 {
                // Nobody but this member could have set it.
                Some(Cause::Corrupt)
            } else if !is_last && matches!(until, Until::Now) {
                Some(self.lost(self.missing(seen), me).ok_or(BarrierError::WouldBlock)?)
            } else {
                None
            };
            if let Some(cause) = hindrance {
                seen = self.try_break(seen, cause).unwrap_or_else(|now| now);
                continue;
            }
            if let Some(action) = action.take_if(|_| is_last) {
                let unless_it_returns = BreakOnDrop(self);
                action();
                core::mem::forget(unless_it_returns);
                acted_at = Some(seen);
                seen = self.phase();
                continue;
            }
            let next = if is_last { seen.open() } else { seen.with(seat.bit()) };
            match self.exchange(seen, next) {
                Ok(()) => {
                    if is_last {
                        self.head.gates[seen.turn()].wake_all();
                    }
                    let arrival = Arrival { turn: seen.turn(), index: others.count_ones() };
                    return Ok((arrival, is_last));
                }
                Err(now) => seen = now,
            }
        }
    }

    fn await_opening(self, seat: Seat, me: Identity, arrival: Arrival, until: Until) -> Waited {
        let gate = &self.head.gates[arrival.turn];
        let mut wait = Wait::new(until);
        let mut has_slept = false;
        let (ended, phase) = loop {
            let seen = self.phase();
            if let Some(ended) = ended(seen, seat, arrival) {
                break (ended, seen);
            }
            let is_over = wait.is_over();
            if wait.asks(is_over)
                && let Some(cause) = self.lost(self.missing(seen), me)
            {
                // Whatever came of it is seen at the next look.
                let _ = self.try_break(seen, cause);
                continue;
            }
            if wait.is_interrupted() {
                return Waited::Unfinished(arrival, BarrierError::Os(Errno::INTR));
            }
            if is_over {
                if matches!(until, Until::Now) {
                    return Waited::Unfinished(arrival, BarrierError::WouldBlock);
                }
                // It fails if there was an opening, or an arrival, in the last moment.
                match self.try_break(seen, Cause::TimedOut) {
                    Ok(_) => return Waited::Failed(BarrierError::TimedOut),
                    Err(_) => continue,
                }
            }
            if spin_until(|| (self.head.phase.load(Ordering::Relaxed) >> 32) as u32 != seen.high())
            {
                continue;
            }
            has_slept = true;
            let wake = self.park(gate, seen, me, wait.slice(), until);
            if let Err(errno) = wait.slept(wake) {
                return Waited::Unfinished(arrival, BarrierError::Os(errno));
            }
        };
        if has_slept {
            // Whoever opened or broke it may have been killed before it woke the others.
            gate.wake_all();
        }
        match ended {
            Ended::Opened => Waited::Opened(arrival),
            Ended::Broken => Waited::Failed(self.broken(phase)),
            Ended::Reset => Waited::Failed(BarrierError::Broken(Breach::Reset)),
        }
    }

    fn park(
        self,
        gate: &Gate,
        seen: Phase,
        me: Identity,
        slice: Deadline,
        until: Until,
    ) -> OsResult<Wake> {
        let missing = self.each(self.missing(seen));
        // One is enough for the model: whoever of the others lives comes here and watches as well.
        let watched = missing
            .filter_map(|(_, word)| ProcessId::from_bits(word.load(Ordering::Acquire) & !LEAVING))
            .find(|owner| *owner != me.id);
        let state = Entry::new(Word::High(&self.head.phase), seen.high());
        gate.park(state, watched, slice, until.is_interruptible())
    }

    /// Breaks it for all who wait and all who will come; also if it is just being reset, for that may be over
    /// before anybody looks.
    pub(crate) fn break_for(self, cause: Cause) {
        self.break_while(cause, || true);
    }

    /// The same, unless something has come in between after which it need not be broken any more, and which moves the
    /// phase: what is `still` so was so in the phase that is broken.
    fn break_while(self, cause: Cause, still: impl Fn() -> bool) {
        let mut seen = self.phase();
        while matches!(seen.cause(), None | Some(Cause::Reset)) && still() {
            let _armed = self.armed(seen);
            match self.try_break(seen, cause) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Ends all waits, frees the places of the dead, and makes it whole.
    pub(crate) fn reset(self) {
        let mut seen = self.phase();
        // Nobody joins or arrives from here on. Of several who reset it at once each does all of this.
        while seen.cause() != Some(Cause::Reset) {
            let _armed = self.armed(seen);
            seen = match self.try_end(seen, seen.renewed().broken(Cause::Reset)) {
                Ok(now) | Err(now) => now,
            };
        }
        self.free_lost(seen);
        // If it fails, another one has done it, or has broken it since.
        let _ = self.exchange(seen, seen.whole());
    }

    /// Frees the places of members that will never come, for as long as it is `seen`, which is broken by a reset.
    fn free_lost(self, seen: Phase) {
        let Ok(me) = identity::current() else { return };
        for (place, word) in self.each(self.all()) {
            let bits = word.load(Ordering::Acquire);
            // In this order. Another one's reset may be over by now: who is lost since then is missing in a turn whose
            // members must be told of it. Who was lost before will never be anybody of the next crew.
            if self.judge(place, bits, me).is_some() && self.phase() == seen {
                self.replace(word, bits, 0);
            }
        }
    }

    /// Gives up `seat`. Unless `someone_comes` for it, that breaks the barrier.
    pub(crate) fn leave(self, seat: Seat, someone_comes: bool) {
        // A copy in a forked child has nothing to give up.
        if seat.taken().is_err() {
            return;
        }
        let Some(word) = self.places.get(seat.place as usize) else { return };
        let mut mine = seat.owner.to_bits();
        let has_arrived = self.phase().arrived() & seat.bit() != 0;
        if !someone_comes || has_arrived {
            // First, so that a reset in between frees the place: else it would be free after a reset that saw a member.
            self.replace(word, mine, mine | LEAVING);
            mine |= LEAVING;
            self.break_while(Cause::Left, || word.load(Ordering::Acquire) == mine);
        }
        self.replace(word, mine, 0);
    }

    /// Why somebody who is `awaited` will never come, if that is known.
    fn lost(self, awaited: u32, me: Identity) -> Option<Cause> {
        // Acquire: a member's admission to the domain comes with its claim.
        let load = |word: &AtomicU64| word.load(Ordering::Acquire);
        self.each(awaited).find_map(|(place, word)| self.judge(place, load(word), me))
    }

    /// Why the member that `bits` at `place` name will never come: it is dead, or says so itself.
    fn judge(self, place: u32, bits: u64, me: Identity) -> Option<Cause> {
        match ProcessId::from_bits(bits & !LEAVING) {
            Some(_) if bits & LEAVING != 0 => Some(Cause::Left),
            Some(owner) => self.head.residence.is_dead(owner, me).then_some(Cause::Died(place)),
            None => (bits != 0).then_some(Cause::Corrupt),
        }
    }

    /// What `seen`, which was broken, means to the caller.
    fn broken(self, seen: Phase) -> BarrierError {
        BarrierError::Broken(match seen.cause() {
            Some(Cause::Died(place)) => {
                let word =
                    self.places.get(place as usize).map_or(0, |word| word.load(Ordering::Acquire));
                // The place names the dead for as long as it is broken by that death.
                match ProcessId::from_bits(word & !LEAVING) {
                    _ if self.phase() != seen => Breach::Reset,
                    Some(dead) => Breach::Died(dead),
                    None => Breach::Corrupt,
                }
            }
            Some(Cause::Left) => Breach::Left,
            Some(Cause::TimedOut) => Breach::TimedOut,
            Some(Cause::Aborted) => Breach::Aborted,
            Some(Cause::Panicked) => Breach::Panicked,
            Some(Cause::Corrupt) => Breach::Corrupt,
            Some(Cause::Reset) | None => Breach::Reset,
        })
    }

    /// Breaks it if it is as `seen`; what it is now. The caller has armed the gate.
    fn try_break(self, seen: Phase, cause: Cause) -> Result<Phase, Phase> {
        self.try_end(seen, seen.broken(cause))
    }

    /// Ends what all who wait have `seen`, and wakes them.
    fn try_end(self, seen: Phase, next: Phase) -> Result<Phase, Phase> {
        self.exchange(seen, next)?;
        self.head.gates[seen.turn()].wake_all();
        Ok(next)
    }

    fn armed(self, seen: Phase) -> Option<Armed<'a>> {
        let gate = &self.head.gates[seen.turn()];
        identity::current().ok().and_then(|me| Armed::new(gate, me.id))
    }

    fn replace(self, place: &AtomicU64, from: u64, to: u64) {
        // SYNC: place (AcqRel here and in `join`). It fails if a reset was here before.
        let _ = place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The places whose bits are in `mask`.
    fn each(self, mask: u32) -> impl Iterator<Item = (u32, &'a AtomicU64)> {
        (0..).zip(self.places).filter(move |(place, _)| mask & 1 << place != 0)
    }

    fn all(self) -> u32 {
        u32::MAX >> (Phase::MOST_PLACES - self.places.len())
    }

    fn missing(self, seen: Phase) -> u32 {
        self.all() & !seen.arrived()
    }

    fn phase(self) -> Phase {
        // SYNC: what was done before the arrivals (AcqRel in `exchange`).
        Phase::from_bits(self.head.phase.load(Ordering::Acquire))
    }

    /// Arrives, opens or breaks it: each of these is one step.
    fn exchange(self, seen: Phase, next: Phase) -> Result<(), Phase> {
        // SYNC: what was done before the arrivals: each hands on what it has seen, and `phase` sees it all.
        let orders = (Ordering::AcqRel, Ordering::Acquire);
        let result =
            self.head.phase.compare_exchange(seen.to_bits(), next.to_bits(), orders.0, orders.1);
        result.map(drop).map_err(Phase::from_bits)
    }
}

/// How a turn ended.
enum Ended {
    Opened,
    Broken,
    Reset,
}

/// How the turn ended in which the member with `seat` has arrived, if it has.
fn ended(seen: Phase, seat: Seat, arrival: Arrival) -> Option<Ended> {
    if seen.turn() != arrival.turn {
        Some(Ended::Opened)
    } else if seen.cause().is_some() {
        Some(Ended::Broken)
    } else {
        (seen.arrived() & seat.bit() == 0).then_some(Ended::Reset)
    }
}

/// What breaks the barrier if an action unwinds.
struct BreakOnDrop<'a>(RawBarrier<'a>);

impl Drop for BreakOnDrop<'_> {
    fn drop(&mut self) {
        if !killed() {
            self.0.break_for(Cause::Panicked);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Of two who reset it at once one is done, and the next crew is there, when the other comes to its place.
    #[test]
    fn a_slow_reset_frees_no_place_of_the_next_crew() {
        let (head, places) = (Head::new(1), [AtomicU64::new(0)]);
        let barrier = RawBarrier::new(&head, &places);
        let seen = barrier.phase().renewed().broken(Cause::Reset);
        assert_eq!(barrier.try_end(barrier.phase(), seen), Ok(seen));
        barrier.reset();
        assert!(barrier.join().is_ok() && !barrier.is_broken());
        // The new member is killed as it leaves: those who wait have yet to find its mark.
        places[0].fetch_or(LEAVING, Ordering::Relaxed);
        barrier.free_lost(seen);
        assert_eq!(barrier.members(), 1, "nobody will be told");
        barrier.reset();
        assert_eq!(barrier.members(), 0);
    }

    /// A reset frees the place of one that has said that it leaves and gets no further, and the next crew comes.
    #[test]
    fn a_slow_leaver_breaks_nothing_of_the_next_crew() {
        let (head, places) = (Head::new(1), [AtomicU64::new(0)]);
        let barrier = RawBarrier::new(&head, &places);
        let left = barrier.join().unwrap().owner.to_bits() | LEAVING;
        places[0].store(left, Ordering::Relaxed);
        barrier.reset();
        assert!(barrier.join().is_ok());
        let is_still_there = || places[0].load(Ordering::Relaxed) == left;
        barrier.break_while(Cause::Left, is_still_there);
        assert!(!barrier.is_broken());
        // And where it is:
        places[0].store(left, Ordering::Relaxed);
        barrier.break_while(Cause::Left, is_still_there);
        assert!(barrier.is_broken());
    }
}
