//! [`BarrierMember`]: a place at a barrier, and the waits there.

use core::fmt;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::primitive::killed;

use super::BarrierError;
use crate::raw::barrier::{Arrival, RawBarrier, Seat, Waited};
use crate::raw::until::Until;

/// A place at a [`Barrier`](crate::Barrier): one of its parties, for whom the others wait.
///
/// The place is the *process's* that joined: a thread may hand the member to another, and if the member is forgotten
/// (or the process executes another program), the others wait for it until the process ends. In a forked child a
/// copy of a member does nothing: its waits are [`BarrierError::NotAMember`].
///
/// Two threads cannot wait as one member:
///
/// ```compile_fail
/// let barrier: ipc_sync::Barrier<2> = ipc_sync::Barrier::new(2);
/// let mut member = barrier.join().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| member.wait());
///     scope.spawn(|| member.wait());
/// });
/// ```
///
/// # Dropping it
///
/// Dropped, be it by a panic, by `?` or at the end, it leaves the barrier, which is *broken* by that
/// ([`Breach::Left`](crate::Breach::Left)): the others would wait for one who does not come. A turn
/// that has opened already is not affected: whoever waited for it gets through, however late it looks. When all members have
/// left, whoever joins next finds the barrier as new, unless something else had broken it: that takes a reset. To let somebody else take the place there is
/// [`leave`](Self::leave).
#[must_use = "a member that is dropped breaks the barrier"]
pub struct BarrierMember<'a> {
    raw: RawBarrier<'a>,
    seat: Seat,
    /// A wait that a signal has ended, and the next one goes on with.
    kept: Option<Arrival>,
}

static_assertions::assert_impl_all!(BarrierMember<'static>: Send, Sync);

impl<'a> BarrierMember<'a> {
    pub(super) fn new(raw: RawBarrier<'a>, seat: Seat) -> Self {
        Self { raw, seat, kept: None }
    }

    /// Arrives, and waits until all the others have: then all of them get through.
    ///
    /// What each member did before is seen by all of them afterwards.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Broken`] with the reason, which is the same for all; also
    /// [`NotAMember`](BarrierError::NotAMember), [`NoIdentity`](BarrierError::NoIdentity) or [`Os`](BarrierError::Os).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::Barrier;
    ///
    /// static BARRIER: Barrier<3> = Barrier::new(3);
    /// let mut indices: Vec<_> = (0..3)
    ///     .map(|_| {
    ///         let mut member = BARRIER.join().unwrap();
    ///         std::thread::spawn(move || member.wait().unwrap().index())
    ///     })
    ///     .collect::<Vec<_>>()
    ///     .into_iter()
    ///     .map(|thread| thread.join().unwrap())
    ///     .collect();
    /// indices.sort();
    /// assert_eq!(indices, [0, 1, 2]);
    /// ```
    pub fn wait(&mut self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Until::Forever, None)
    }

    /// As [`wait`](Self::wait) if that needs no waiting: if this member is the last, or has arrived by an earlier call and
    /// it has opened since.
    ///
    /// When members are missing, this asks the kernel whether they live (about 5 µs each).
    ///
    /// # Errors
    ///
    /// [`BarrierError::WouldBlock`] if others are missing: then nothing has changed. Else as [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Barrier, BarrierError};
    ///
    /// let barrier: Barrier<2> = Barrier::new(2);
    /// let mut one = barrier.join()?;
    /// assert_eq!(one.try_wait(), Err(BarrierError::WouldBlock));
    /// assert_eq!(barrier.waiting(), 0);
    /// # Ok::<(), BarrierError>(())
    /// ```
    pub fn try_wait(&mut self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Until::Now, None)
    }

    /// As [`wait`](Self::wait), for at most `timeout`. A time-out breaks the barrier, for everybody.
    ///
    /// As with Python's `Barrier.wait(timeout)`: the others would wait for one who has gone. If all came in time,
    /// it opens, however late this thread is.
    ///
    /// # Errors
    ///
    /// [`BarrierError::TimedOut`] when the time is over, else as [`wait`](Self::wait). Signals neither lengthen nor
    /// shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Barrier, BarrierError, Breach};
    ///
    /// let barrier: Barrier<2> = Barrier::new(2);
    /// let (mut one, mut other) = (barrier.join()?, barrier.join()?);
    /// assert_eq!(one.wait_timeout(Duration::from_millis(1)), Err(BarrierError::TimedOut));
    /// assert_eq!(other.wait(), Err(BarrierError::Broken(Breach::TimedOut)));
    /// # Ok::<(), BarrierError>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_deadline(Deadline::after(timeout))
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Barrier, BarrierError, Deadline};
    ///
    /// let barrier: Barrier<1> = Barrier::new(1);
    /// let mut alone = barrier.join()?;
    /// // One deadline for both turns.
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// alone.wait_deadline(deadline)?;
    /// alone.wait_deadline(deadline)?;
    /// # Ok::<(), BarrierError>(())
    /// ```
    pub fn wait_deadline(&mut self, deadline: Deadline) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Until::Deadline(deadline), None)
    }

    /// As [`wait_deadline`](Self::wait_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// A signal does not break the barrier, nor does it take the arrival back: the others may go on without this
    /// member, and its next call, whichever it is, *goes on with the same wait*. Who does not want to go on drops the
    /// member, or [aborts](crate::Barrier::abort).
    ///
    /// # Errors
    ///
    /// Also [`BarrierError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Barrier, BarrierError, Deadline, Errno};
    ///
    /// # fn asked_to_stop() -> bool { false }
    /// # let barrier: Barrier<1> = Barrier::new(1);
    /// # let mut member = barrier.join()?;
    /// loop {
    ///     match member.wait_interruptible(Deadline::FAR) {
    ///         Err(BarrierError::Os(Errno::INTR)) if asked_to_stop() => break,
    ///         Err(BarrierError::Os(Errno::INTR)) => {}
    ///         waited => {
    ///             waited?;
    ///             break;
    ///         }
    ///     }
    /// }
    /// # Ok::<(), BarrierError>(())
    /// ```
    pub fn wait_interruptible(
        &mut self,
        deadline: Deadline,
    ) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Until::Interruptible(deadline), None)
    }

    /// As [`wait`](Self::wait); the last member to come runs `action` before anybody gets through.
    ///
    /// The action is not the barrier's but the caller's: a function cannot lie in shared memory. Give all members the
    /// same one, as a member that comes last by another call runs none. It is run once a turn at most, and by nobody but
    /// the last. What it does is seen by all who get through, and during it all others wait. If one of their time-outs, an
    /// [`abort`](crate::Barrier::abort) or a [`reset`](crate::Barrier::reset) comes meanwhile, the barrier is broken
    /// although the action has run; so it is if the action panics ([`Breach::Panicked`](crate::Breach::Panicked)), or its
    /// process dies.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::Barrier;
    ///
    /// let barrier: Barrier<1> = Barrier::new(1);
    /// let mut turns = 0;
    /// let mut alone = barrier.join()?;
    /// assert!(alone.wait_with(|| turns += 1)?.is_leader());
    /// assert_eq!(turns, 1);
    /// # Ok::<(), ipc_sync::BarrierError>(())
    /// ```
    pub fn wait_with(&mut self, action: impl FnOnce()) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until_with(Until::Forever, action)
    }

    /// As [`wait_with`](Self::wait_with), until `deadline`, as [`wait_deadline`](Self::wait_deadline).
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Barrier, Deadline};
    ///
    /// let barrier: Barrier<1> = Barrier::new(1);
    /// let mut done = false;
    /// barrier.join()?.wait_with_deadline(Deadline::FAR, || done = true)?;
    /// assert!(done);
    /// # Ok::<(), ipc_sync::BarrierError>(())
    /// ```
    pub fn wait_with_deadline(
        &mut self,
        deadline: Deadline,
        action: impl FnOnce(),
    ) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until_with(Until::Deadline(deadline), action)
    }

    /// Leaves its place to whoever [joins](crate::Barrier::join) next, for whom the others wait. The barrier stays whole.
    ///
    /// If a signal has ended its last wait, and the barrier has not opened since, this is as if it were dropped: its place
    /// is taken in this turn.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::Barrier;
    ///
    /// let barrier: Barrier<1> = Barrier::new(1);
    /// barrier.join()?.leave();
    /// assert!(!barrier.is_broken());
    /// barrier.join()?.wait()?;
    /// # Ok::<(), ipc_sync::BarrierError>(())
    /// ```
    pub fn leave(self) {
        self.raw.leave(self.seat, true);
        core::mem::forget(self);
    }

    fn wait_until_with(
        &mut self,
        until: Until,
        action: impl FnOnce(),
    ) -> Result<BarrierWaitResult, BarrierError> {
        let mut action = Some(action);
        self.wait_until(until, Some(&mut || action.take().into_iter().for_each(|action| action())))
    }

    fn wait_until(
        &mut self,
        until: Until,
        action: Option<&mut dyn FnMut()>,
    ) -> Result<BarrierWaitResult, BarrierError> {
        match self.raw.wait(self.seat, self.kept.take(), until, action) {
            Waited::Opened(arrival) => {
                let is_leader = arrival.index as usize + 1 == self.raw.parties();
                Ok(BarrierWaitResult { index: arrival.index, is_leader })
            }
            Waited::Failed(error) => Err(error),
            Waited::Unfinished(arrival, error) => {
                self.kept = Some(arrival);
                Err(error)
            }
        }
    }
}

impl Drop for BarrierMember<'_> {
    fn drop(&mut self) {
        if !killed() {
            self.raw.leave(self.seat, false);
        }
    }
}

impl fmt::Debug for BarrierMember<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierMember").field("place", &self.seat.place).finish_non_exhaustive()
    }
}

/// What a member learns when the barrier opens.
///
/// # Examples
///
/// See [`BarrierMember::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    index: u32,
    is_leader: bool,
}

static_assertions::assert_impl_all!(BarrierWaitResult: Send, Sync);

impl BarrierWaitResult {
    /// How many members had arrived before this one: from 0 to one less than the parties, and another one for each member.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// Whether this member was the last to arrive. In each turn exactly one is.
    #[must_use]
    pub fn is_leader(self) -> bool {
        self.is_leader
    }
}
