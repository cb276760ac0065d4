//! Sleeping until a ring has a message, or room: one mechanism for all rings.
//!
//! A ring has two event counts, one for each direction. Who publishes, a message or a free slot, rings: it looks
//! whether somebody has announced a sleep, and only then makes a system call. Who finds nothing spins for a moment,
//! announces a sleep, looks again, and sleeps.
//!
//! | step of who publishes | step of who waits |
//! |---|---|
//! | 1. stores the sequence or position (Release) | 1. announces itself in the event count |
//! | 2. a barrier | 2. a barrier |
//! | 3. loads the event count: awaited? | 3. looks again: is it there? |
//! | 4. only if so: one operation of the kernel changes the count and wakes | 4. only if not: sleeps while its announcement stands |
//!
//! Of two such at the same time at least one sees the other, and that needs a full barrier on both sides. The one of
//! who waits is [`asymmetric::heavy`], which counts for the other side as well: `push` and `pop` execute no fence.
//! All this costs them a handful of instructions, two loads among them and two branches that are not taken, and not the 5 ns of
//! a fence, which would be three times the rest.
//!
//! # Who has no such barrier
//!
//! It reaches processes that have registered, which everybody does who claims an end. Whoever cannot, because of a
//! sandbox or an old kernel, fences after each operation. Whoever cannot *call* it as he goes to sleep sets a bit beside the
//! event counts, for ever, and whoever publishes reads that bit as it wakes him, and fences from then on. Until then
//! a wake-up may be missed, and the end of the sleeper's slice makes up for it.
//!
//! # What a death leaves behind
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | having published, before its look | a message that nobody is told of | the sleeper finds it at the end of its slice, 64 ms at most, 5 the first time |
//! | in the wake-up | it was made in full or not at all | likewise |
//! | having announced a sleep, or asleep | an announcement of nobody | who publishes next makes one or two futile system calls |
//! | woken, before it takes what is there | nothing | who attaches in its place looks before it sleeps |
//! | having claimed or closed its end, before it told the other | a role word that nobody is told of | the slice |
//! | otherwise, while the other sleeps | the role word of a dead process | the sleeper asks the kernel at the end of each slice |
//!
//! # Safety
//!
//! An end keeps its ring alive, as [`Waits::commons`] promises.
#![expect(unsafe_code, reason = "an end is borrowed beside the ring that it keeps alive")]

mod forms;

use core::ptr::NonNull;

use ipc_core::os::Until;
use ipc_core::primitive::{AtomicU32, Ordering, asymmetric, fence, has_passed};
use ipc_sync::{EventCount, Look, WaitError};

use super::error::Refused;
use super::pollable::line::Line;
use super::role::Party;
use super::{PopError, PopWaitError, PushError, PushWaitError, RoleError};
use crate::layout::{CONSUMER_ARMED, Commons, MUST_FENCE, PLAIN, POLLABLE, PRODUCER_ARMED, Roles};

impl Party {
    /// Where it waits.
    pub(super) const fn count(self, commons: &Commons) -> &EventCount {
        match self {
            Self::Producer => &commons.not_full,
            Self::Consumer => &commons.not_empty,
        }
    }

    /// The bit that says that it is to be told by its line.
    pub(super) const fn armed(self) -> u32 {
        match self {
            Self::Producer => PRODUCER_ARMED,
            Self::Consumer => CONSUMER_ARMED,
        }
    }
}

/// Before a claim: the ring is one whose ends have lines, or one whose ends have none, from its first claim on. Else
/// somebody would rely on being told by a line, and the other one would have none.
pub(super) fn settle(commons: &Commons, line: Option<&Line>) -> Result<(), RoleError> {
    let (ours, theirs, error) = match line {
        Some(_) => (POLLABLE, PLAIN, RoleError::NotPollable),
        None => (PLAIN, POLLABLE, RoleError::NoSocket),
    };
    if cfg!(loom) && line.is_none() {
        // Models of plain rings have no others, and would race here for nothing.
        return Ok(());
    }
    let mut seen = commons.waiting.load(Ordering::Relaxed);
    for _ in 0..CHANGES {
        if seen & theirs != 0 {
            return Err(error);
        }
        if seen & ours != 0 {
            return Ok(());
        }
        let orders = (Ordering::Relaxed, Ordering::Relaxed);
        match commons.waiting.compare_exchange(seen, seen | ours, orders.0, orders.1) {
            Ok(_) => return Ok(()),
            Err(found) => seen = found,
        }
    }
    // Ends are armed now and then. Somebody writes there for its own sake.
    Err(RoleError::Corrupt)
}

/// How often the word may change under a claim, or as a bit is taken out of it.
const CHANGES: usize = 100;

pub(super) use forms::{forms, slot_forms};

/// How one end tells the other one that there is something to do. Private to its handle, and next to the ring's
/// keeper there.
#[derive(Debug)]
pub(super) struct Bell {
    /// Where the other end waits, while [`asymmetric::light`] is barrier enough.
    watched: Option<NonNull<EventCount>>,
    /// Where the other end waits.
    count: NonNull<EventCount>,
    commons: NonNull<Commons>,
    /// Who has the other end.
    other: Party,
    /// What tells it in its event loop.
    line: Option<Line>,
}

// SAFETY: event counts are shared by all threads that want to.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// The bell of the end that this process has just claimed as `me`.
    pub(super) fn new(commons: &Commons, me: Party, line: Option<Line>) -> Self {
        let (is_registered, other) = (asymmetric::register(), me.other());
        let count = other.count(commons).into();
        let mut bell = Self { watched: None, count, commons: commons.into(), other, line };
        if is_registered {
            bell.watched = Some(bell.count);
            bell.look_at_fence();
        }
        bell
    }

    /// Wakes who waits. Comes after the store that publishes; once, where that publishes several.
    #[inline(always)]
    pub(super) fn ring(&mut self) {
        // SYNC: announced or seen (`order`).
        asymmetric::light();
        // SAFETY: the handle keeps its ring alive.
        let is_awaited = self.watched.is_none_or(|count| unsafe { count.as_ref() }.is_awaited());
        if is_awaited {
            self.ring_contended();
        }
    }

    #[cold]
    fn ring_contended(&mut self) {
        if self.watched.is_none() {
            // SYNC: announced or seen (`order`).
            fence(Ordering::SeqCst);
        }
        // SAFETY: the handle keeps its ring alive.
        let count = unsafe { self.count.as_ref() };
        if count.is_awaited() {
            self.look_at_fence();
            count.notify_one();
            self.tell_by_line();
        }
    }

    /// Comes after the notification. That revokes the announcement of whoever is armed, maybe only just now; so what is
    /// looked at here is at least as new, or an announcement would be gone and nobody told.
    fn tell_by_line(&self) {
        let Some(line) = &self.line else { return };
        // SAFETY: the handle keeps its ring alive.
        let commons = unsafe { self.commons.as_ref() };
        // SYNC: armed (the fence in `pollable::arm`).
        fence(Ordering::SeqCst);
        if take_bit(&commons.waiting, self.other.armed()) {
            self.ring_line(line);
        }
    }

    fn ring_line(&self, line: &Line) {
        if !line.ring() {
            // The kernel had no memory for that. Whoever publishes next tries again.
            // SAFETY: the handle keeps its ring alive.
            let commons = unsafe { self.commons.as_ref() };
            commons.waiting.fetch_or(self.other.armed(), Ordering::AcqRel);
            let _key = self.other.count(commons).try_prepare_by(|| fence(Ordering::SeqCst));
        }
    }

    /// Tells whoever waits, on either side, that this end was claimed or closed.
    ///
    /// Whoever has closed it may be late with that, and somebody else have either end by now, and sleep. So all are woken who
    /// sleep, and nobody's announcement is taken for heard: who publishes next looks for the bit, and sends the byte.
    pub(super) fn tell_all(&self) {
        self.wake_all();
        // Whether or not it is armed: of somebody who was the first to claim this end, and was killed as he told, with the
        // bit taken back and no byte sent, the kernel tells nobody.
        self.line.iter().for_each(|line| self.ring_line(line));
    }

    /// The first half of [`tell_all`](Self::tell_all).
    pub(super) fn wake_all(&self) {
        // SAFETY: the handle keeps its ring alive.
        let commons = unsafe { self.commons.as_ref() };
        commons.not_empty.wake_all();
        commons.not_full.wake_all();
    }

    /// The line, if the ring has any.
    pub(super) const fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    fn look_at_fence(&mut self) {
        // SAFETY: the handle keeps its ring alive.
        let commons = unsafe { self.commons.as_ref() };
        if commons.waiting.load(Ordering::Relaxed) & MUST_FENCE != 0 {
            self.watched = None;
        }
    }
}

/// What the waits of all rings ask of an end.
pub(super) trait Waits {
    /// What is common to the ring's ends. It lives as long as this one.
    fn commons(&self) -> NonNull<Commons>;

    /// Which end it is.
    const ME: Party;

    /// Whether there seems to be something to do: a look at one word, which decides nothing.
    fn glance(&self) -> bool;

    /// Whether there is. It `asks` the kernel whether the other end lives.
    fn look(&mut self, asks: bool) -> Result<(), Refused>;
}

/// What a [line](Line) asks of an end besides: it is one of two.
pub(super) trait Paired: Waits {
    /// Who has the ends. They live as long as this one.
    fn roles(&self) -> NonNull<Roles>;

    /// Its line, if the ring has any.
    fn line(&self) -> Option<&Line>;
}

/// Sleeps until `end`, which has found nothing to do, has something to do.
#[cold]
pub(super) fn wait<E: Waits>(end: &mut E, until: Until) -> Result<(), PopWaitError> {
    let commons = end.commons();
    // SAFETY: the end keeps them alive, and is borrowed until this returns.
    let commons = unsafe { commons.as_ref() };
    let waited = E::ME.count(commons).wait_for_by(
        until,
        || _ = order(commons),
        |look| match look {
            Look::Spin => end.glance().then_some(Ok(())),
            Look::Try | Look::Ask => match end.look(look == Look::Ask) {
                Err(Refused::NotYet) => None,
                decided => Some(decided),
            },
        },
    );
    match waited {
        Ok(decided) => decided.map_err(|refused| refused.pop().into()),
        Err(WaitError::Os(errno)) => Err(PopWaitError::Os(errno)),
        Err(_) => Err(PopWaitError::TimedOut),
    }
}

/// Repeats `attempt`, which has found nothing to do, until it gives an answer.
///
/// A wait that has ended well is followed by an answer, for nobody else takes away what it has seen. But a peer that cannot be
/// trusted may show something and take it back, again and again: so the time counts here as well.
#[cold]
pub(super) fn repeat<E, A>(
    end: &mut E,
    until: Until,
    mut wait: impl FnMut(&mut E, Until) -> Result<(), PopWaitError>,
    mut attempt: impl FnMut(&mut E) -> Option<A>,
) -> Result<A, PopWaitError> {
    loop {
        wait(end, until)?;
        if let Some(answer) = attempt(end) {
            return Ok(answer);
        }
        if has_passed(until.deadline()) {
            return Err(PopWaitError::TimedOut);
        }
    }
}

/// `push`, and if there is no room, a `wait` for it.
#[inline]
pub(super) fn push_wait<E, T: Copy>(
    end: &mut E,
    message: T,
    until: impl FnOnce() -> Until,
    wait: impl FnMut(&mut E, Until) -> Result<(), PopWaitError>,
    push: impl Fn(&mut E, T) -> Result<(), PushError<T>>,
) -> Result<(), PushWaitError<T>> {
    let answer = |end: &mut E| match push(end, message) {
        Err(PushError::Full(_)) => None,
        pushed => Some(pushed),
    };
    let pushed = match answer(end) {
        Some(pushed) => pushed,
        None => repeat(end, until(), wait, answer)
            .map_err(|reason| PushWaitError::of(reason, message))?,
    };
    pushed.map_err(PushWaitError::from)
}

/// `pop`, and if there is no message, a `wait` for one.
#[inline]
pub(super) fn pop_wait<E, T>(
    end: &mut E,
    until: impl FnOnce() -> Until,
    wait: impl FnMut(&mut E, Until) -> Result<(), PopWaitError>,
    pop: impl Fn(&mut E) -> Result<T, PopError>,
) -> Result<T, PopWaitError> {
    let answer = |end: &mut E| match pop(end) {
        Err(PopError::Empty) => None,
        popped => Some(popped),
    };
    let popped = match answer(end) {
        Some(popped) => popped,
        None => repeat(end, until(), wait, answer)?,
    };
    popped.map_err(PopWaitError::from)
}

/// What `pop` gives, up to the first error; [`PopWaitError::Disconnected`] is the end, and no item.
pub(super) fn messages<T>(
    mut pop: impl FnMut() -> Result<T, PopWaitError>,
) -> impl Iterator<Item = Result<T, PopWaitError>> {
    let mut is_over = false;
    core::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let message = pop();
        is_over = message.is_err();
        (!matches!(message, Err(PopWaitError::Disconnected))).then_some(message)
    })
}

/// Takes `bit` out of `word`; whether it was there, or may have been. An instruction that says so for any bit is a loop of
/// exchanges, which somebody who writes there all the time keeps going.
fn take_bit(word: &AtomicU32, bit: u32) -> bool {
    let mut seen = word.load(Ordering::Relaxed);
    for _ in 0..CHANGES {
        match word.compare_exchange(seen, seen & !bit, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return seen & bit != 0,
            Err(now) => seen = now,
        }
    }
    let _ = word.fetch_and(!bit, Ordering::AcqRel);
    true
}

/// Between the announcement of a sleep and the look that follows. `false`: whoever publishes may not have heard yet that
/// it has to fence, and may miss the announcement.
pub(super) fn order(commons: &Commons) -> bool {
    // SYNC: announced or seen (`Bell::ring` and `ring_contended`).
    let is_ordered = asymmetric::heavy();
    if !is_ordered {
        commons.waiting.fetch_or(MUST_FENCE, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
    is_ordered
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::time::Duration;

    use ipc_core::clock::Deadline;

    use super::*;

    /// How often an end has waited, and how often it has looked.
    type Counts = (u32, u32);

    /// A peer shows something whenever an end waits, and has taken it back whenever it looks.
    fn shown(counts: &mut Counts, _: Until) -> Result<(), PopWaitError> {
        counts.0 += 1;
        Ok(())
    }

    #[test]
    fn a_peer_that_takes_back_what_it_shows_does_not_move_the_deadline() {
        let timeout = Duration::from_millis(20);
        for until in [Until::uninterrupted, Until::interruptible] {
            let (deadline, mut counts) = (Deadline::after(timeout), (0, 0));
            let popped = pop_wait(
                &mut counts,
                || until(deadline),
                shown,
                |counts| {
                    counts.1 += 1;
                    assert!(counts.1 < 1 << 26, "looks for ever");
                    Err::<u64, _>(PopError::Empty)
                },
            );
            assert_eq!(popped, Err(PopWaitError::TimedOut));
            assert!(
                deadline.has_passed() && counts.0 > 1 && counts.1 == counts.0 + 1,
                "{counts:?}"
            );

            let (deadline, mut counts) = (Deadline::after(timeout), (0, 0));
            let pushed = push_wait(
                &mut counts,
                7,
                || until(deadline),
                shown,
                |counts, message| {
                    counts.1 += 1;
                    assert!(counts.1 < 1 << 26, "looks for ever");
                    Err(PushError::Full(message))
                },
            );
            assert_eq!(pushed, Err(PushWaitError::TimedOut(7)));
            assert!(
                deadline.has_passed() && counts.0 > 1 && counts.1 == counts.0 + 1,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn what_came_in_time_counts_however_late_it_is_seen() {
        let mut counts = (0, 0);
        let popped = pop_wait(
            &mut counts,
            || Deadline::now().into(),
            shown,
            |counts| {
                counts.1 += 1;
                if counts.1 == 2 { Ok(7) } else { Err(PopError::Empty) }
            },
        );
        assert_eq!((popped, counts), (Ok(7), (1, 2)));
    }

    #[test]
    fn a_wait_that_fails_is_the_last() {
        let interrupted = |counts: &mut Counts, _: Until| {
            counts.0 += 1;
            Err(PopWaitError::Os(ipc_core::Errno::INTR))
        };
        let mut counts = (0, 0);
        let full = |counts: &mut Counts, message| {
            counts.1 += 1;
            Err(PushError::Full(message))
        };
        let pushed = push_wait(&mut counts, 7, || Deadline::FAR.into(), interrupted, full);
        assert_eq!(pushed, Err(PushWaitError::Os(7, ipc_core::Errno::INTR)));
        assert_eq!(counts, (1, 1));
    }
}
