//! The page through which the harness and its processes talk: fixed arrays of atomics, no allocation, no locks.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use super::verdict::{Flaw, Verdict};
use crate::sys;

/// How many waiters a scenario can have, and how many survivors.
pub(crate) const MAX_CREW: usize = 8;

/// What a process is there for, and so which station is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Killed within its operation.
    Victim,
    /// The second victim of a pair, or the one that is frozen alive.
    Second,
    /// In place before the victim begins, and lets go when it is told to.
    Holder,
    /// Comes between a wake-up and the woken one.
    Newcomer,
    /// Asleep inside the structure before the victim begins.
    Waiter(usize),
    /// Runs operations after the death.
    Survivor(usize),
}

impl Role {
    pub(crate) const COUNT: usize = 4 + 2 * MAX_CREW;

    /// A number that is unique in the scenario, from 1.
    pub fn number(self) -> u32 {
        self.station() as u32 + 1
    }

    pub(crate) fn station(self) -> usize {
        match self {
            Self::Victim => 0,
            Self::Second => 1,
            Self::Holder => 2,
            Self::Newcomer => 3,
            Self::Waiter(i) => 4 + i,
            Self::Survivor(i) => 4 + MAX_CREW + i,
        }
    }
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Victim => f.write_str("victim"),
            Self::Second => f.write_str("second victim"),
            Self::Holder => f.write_str("holder"),
            Self::Newcomer => f.write_str("newcomer"),
            Self::Waiter(i) => write!(f, "waiter {i}"),
            Self::Survivor(i) => write!(f, "survivor {i}"),
        }
    }
}

/// Which of its parts a crew member is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Command {
    /// The part of its role.
    Own = 1,
    /// The check of a survivor while another process is frozen alive.
    BesideFrozen = 2,
    /// The last check of a round, by one survivor when all is quiet.
    Audit = 3,
}

/// All stations, and what concerns everybody.
///
/// All-zero bytes mean: nothing ordered, everybody idle.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Control {
    /// Bumped and woken at each change of a station's state; the harness sleeps on it.
    bell: AtomicU32,
    /// Pid of the process that is frozen alive, 0 if there is none.
    pub(crate) frozen: AtomicU32,
    /// How many processes were killed in this round.
    pub(crate) deaths: AtomicU32,
    /// What the scenario's witness said just before the last kill.
    pub(crate) witnessed: AtomicU64,
    /// The sum of what it said before earlier kills of this round.
    pub(crate) witnessed_before: AtomicU64,
    stations: [Station; Role::COUNT],
}

/// One process's part of the page.
///
/// | state    | written by  | next |
/// |----------|-------------|------|
/// | IDLE     | harness     | RUNNING, by the member when it sees a new order |
/// | RUNNING  | member      | IN_PLACE, DONE |
/// | IN_PLACE | member      | RUNNING when released |
/// | DONE     | member      | IDLE, by the harness with its next order |
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Station {
    /// `serial << 2 | command`; a change is an order. The member sleeps on it.
    order: AtomicU32,
    state: AtomicU32,
    /// 1 when a member that is in place shall go on; it sleeps on it.
    release: AtomicU32,
    /// 1 if `text` holds a flaw.
    flawed: AtomicU32,
    /// When the first operation succeeded, 0 if the part does not say.
    first: AtomicU64,
    /// When the part ended.
    done: AtomicU64,
    text: SharedText,
}

const IDLE: u32 = 0;
const RUNNING: u32 = 1;
const IN_PLACE: u32 = 2;
const DONE: u32 = 3;

/// A member that has nothing to do sleeps in the kernel in turns of this length.
const NAP: Duration = Duration::from_secs(3600);

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            bell: AtomicU32::new(0),
            frozen: AtomicU32::new(0),
            deaths: AtomicU32::new(0),
            witnessed: AtomicU64::new(0),
            witnessed_before: AtomicU64::new(0),
            stations: [const { Station::new() }; Role::COUNT],
        }
    }

    pub(crate) fn station(&self, role: Role) -> &Station {
        &self.stations[role.station()]
    }

    /// The value to pass to [`sleep`](Self::sleep), read before looking at the stations.
    pub(crate) fn bell(&self) -> u32 {
        // SYNC: bell (Acquire here, Release in `ring`): what was written before the ring is seen.
        self.bell.load(Ordering::Acquire)
    }

    /// Sleeps until a station changes after `seen` was read, for at most `limit`.
    pub(crate) fn sleep(&self, seen: u32, limit: Duration) {
        sys::futex_wait(&self.bell, seen, limit);
    }

    /// Wakes the harness.
    fn ring(&self) {
        // SYNC: bell (Release here, Acquire in `bell`).
        self.bell.fetch_add(1, Ordering::Release);
        sys::futex_wake(&self.bell, 1);
    }
}

impl Station {
    const fn new() -> Self {
        Self {
            order: AtomicU32::new(0),
            state: AtomicU32::new(IDLE),
            release: AtomicU32::new(0),
            flawed: AtomicU32::new(0),
            first: AtomicU64::new(0),
            done: AtomicU64::new(0),
            text: SharedText::new(),
        }
    }

    // The harness's side.

    /// Forgets the last round.
    pub(crate) fn clear(&self) {
        self.release.store(0, Ordering::Relaxed);
        self.flawed.store(0, Ordering::Relaxed);
        self.first.store(0, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// Tells the member to run a part.
    pub(crate) fn command(&self, command: Command) {
        self.clear();
        let serial = (self.order.load(Ordering::Relaxed) >> 2).wrapping_add(1);
        // SYNC: order (Release here, Acquire in `await_order`): the cleared fields are seen.
        self.order.store(serial << 2 | command as u32, Ordering::Release);
        sys::futex_wake(&self.order, 1);
    }

    /// Lets a member that is in place go on.
    pub(crate) fn release(&self) {
        // SYNC: release (Release here, Acquire in `hold`): the harness's doings before it are seen.
        self.release.store(1, Ordering::Release);
        sys::futex_wake(&self.release, 1);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    pub(crate) fn is_in_place(&self) -> bool {
        self.state.load(Ordering::Acquire) == IN_PLACE
    }

    pub(crate) fn is_done(&self) -> bool {
        // SYNC: state (Acquire here, Release in `finish`): verdict and times are seen.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// When the part first succeeded, or else when it ended. Nanoseconds of CLOCK_MONOTONIC.
    pub(crate) fn succeeded_at(&self) -> u64 {
        match self.first.load(Ordering::Relaxed) {
            0 => self.done.load(Ordering::Relaxed),
            first => first,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.flawed.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => self.text.read(|text| Err(Flaw::new(format_args!("{text}")))),
        }
    }

    // The member's side.

    /// Sleeps until there is an order other than `last`; returns it and its command.
    pub(crate) fn await_order(&self, last: u32) -> (u32, Command) {
        loop {
            // SYNC: order (Acquire here, Release in `command`).
            let order = self.order.load(Ordering::Acquire);
            if order != last {
                let command = match order & 3 {
                    1 => Command::Own,
                    2 => Command::BesideFrozen,
                    _ => Command::Audit,
                };
                return (order, command);
            }
            sys::futex_wait(&self.order, last, NAP);
        }
    }

    /// The order in force, for a member that begins.
    pub(crate) fn order(&self) -> u32 {
        self.order.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.state.store(RUNNING, Ordering::Release);
    }

    /// Says that the member is in place and sleeps until it is released.
    pub(crate) fn hold(&self, control: &Control) {
        self.state.store(IN_PLACE, Ordering::Release);
        control.ring();
        // SYNC: release (Acquire here, Release in `release`).
        while self.release.load(Ordering::Acquire) == 0 {
            sys::futex_wait(&self.release, 0, NAP);
        }
        self.state.store(RUNNING, Ordering::Release);
    }

    /// Notes the time of the first success.
    pub(crate) fn succeed(&self) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(sys::now(), Ordering::Relaxed);
        }
    }

    pub(crate) fn finish(&self, verdict: Verdict, control: &Control) {
        self.done.store(sys::now(), Ordering::Relaxed);
        if let Err(flaw) = verdict {
            self.text.write(flaw.as_str());
            self.flawed.store(1, Ordering::Relaxed);
        }
        // SYNC: state (Release here, Acquire in `is_done`).
        self.state.store(DONE, Ordering::Release);
        control.ring();
    }
}

/// A short text that several processes, or a signal handler, may read while it is written (then garbled, never unsound).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SharedText {
    len: AtomicU32,
    bytes: [AtomicU8; Self::CAPACITY],
}

impl SharedText {
    const CAPACITY: usize = 188;

    pub(crate) const fn new() -> Self {
        Self { len: AtomicU32::new(0), bytes: [const { AtomicU8::new(0) }; Self::CAPACITY] }
    }

    pub(crate) fn write(&self, text: &str) {
        let mut len = text.len().min(Self::CAPACITY);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        for (to, from) in self.bytes.iter().zip(text.as_bytes()) {
            to.store(*from, Ordering::Relaxed);
        }
        self.len.store(len as u32, Ordering::Release);
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&str) -> R) -> R {
        let len = (self.len.load(Ordering::Acquire) as usize).min(Self::CAPACITY);
        let mut copy = [0; Self::CAPACITY];
        for (to, from) in copy.iter_mut().zip(&self.bytes) {
            *to = from.load(Ordering::Relaxed);
        }
        look(core::str::from_utf8(&copy[..len]).unwrap_or("(garbled)"))
    }
}
