//! [`Producer`]: the writing end.
//!
//! # Safety
//!
//! A payload is written only while its slot is free on the producer's own lap. Only the producer
//! takes a slot out of that state, and there is one producer: the role word names this process, and
//! the handle is borrowed alone. An untrusted consumer may keep to nothing of this: a payload is then copied by accesses
//! that may race, and everything else that is used is this handle's own.
#![expect(unsafe_code, reason = "writes payloads that the slot's word makes ours")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::Pod;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::{Ordering, killed};

use super::cursor::Cursor;
use super::slots::{Held, Position};
use crate::layout::{Commons, FULL, LAP, Roles};
use crate::ring::error::Refused;
use crate::ring::pollable::line::{Line, Watch};
use crate::ring::pollable::{self, ArmError, Armed, Arms};
use crate::ring::role::{Misses, Party, Role};
use crate::ring::waiting::{Bell, Paired, Waits, settle};
use crate::ring::{Peer, PushError, RoleError, Trust, Trusted, Untrusted};

/// The writing end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the consumer is told once it has popped what is in the ring, and
/// another producer may attach. If this process dies, the same happens as soon as somebody asks the
/// kernel.
///
/// `M` says whether it trusts the consumer: see [`Ring::untrusted_producer`](super::Ring::untrusted_producer).
pub struct Producer<'r, T: Pod + Send, M: Trust = Trusted> {
    cursor: Cursor<'r, T>,
    /// The process that claimed the role.
    claimant: ProcessId,
    /// The ring was found damaged, and the cursor poisoned.
    corrupt: bool,
    misses: Misses,
    bell: Bell,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Producer<'static, u64>: Send, Sync);
static_assertions::assert_impl_all!(Producer<'static, u64, Untrusted>: Send, Sync);

impl<'r, T: Pod + Send, M: Trust> Producer<'r, T, M> {
    pub(super) fn claim(ring: Held<'r, T>, line: Option<Line>) -> Result<Self, RoleError> {
        settle(&ring.head().commons, line.as_ref())?;
        let claimant = own(ring.head()).claim()?.id;
        let bell = Bell::new(&ring.head().commons, Party::Producer, line);
        let Some(position) =
            Position::find(ring.as_slice(), |sequence| sequence.wrapping_add(FULL) / LAP)
        else {
            own(ring.head()).close(claimant);
            bell.tell_all();
            return Err(RoleError::Corrupt);
        };
        bell.tell_all();
        let cursor = Cursor::new(ring, position);
        let misses = Misses::default();
        Ok(Self { cursor, claimant, corrupt: false, misses, bell, mode: PhantomData })
    }

    /// For the test of a drop that comes no further.
    #[cfg(all(test, not(loom)))]
    pub(super) fn wake_all(&self) {
        self.bell.wake_all();
    }

    /// Copies `message` into the next slot, if that is free. Never waits.
    ///
    /// # Errors
    ///
    /// The message comes back in a [`PushError`]. Whether the consumer is gone is only looked at
    /// when the ring is full, and whether it is *dead* only when the ring has been full for a
    /// thousand tries: see [`peer`](Self::peer) for a caller that sleeps between its tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PushError, spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let mut producer = ring.producer()?;
    /// producer.push(1)?;
    /// assert_eq!(producer.push(2), Err(PushError::Full(2)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), PushError<T>> {
        let (slot, free) = self.cursor.next();
        if let Err(refused) = self.look_at_next(false) {
            return Err(refused.push(message));
        }
        self.cursor.advance();
        // SAFETY: the cursor keeps its slots alive.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: the slot is free on our lap, so its payload is ours.
        slot.payload.with_mut(|payload| unsafe { M::write(payload, message) });
        // SYNC: message published (Acquire in `Consumer::pop`).
        slot.sequence.store(free | FULL, Ordering::Release);
        self.bell.ring();
        Ok(())
    }

    /// How things stand with the consumer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another
    /// process attaches.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::ProcessId;
    /// use ipc_shm::ring::{Peer, spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let producer = ring.producer()?;
    /// assert_eq!(producer.peer(), Peer::Absent);
    /// let consumer = ring.consumer()?;
    /// assert_eq!(producer.peer(), Peer::Alive(ProcessId::current()?));
    /// drop(consumer);
    /// assert_eq!(producer.peer(), Peer::Closed);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Peer {
        other(self.cursor.roles()).peer()
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cursor.capacity()
    }

    /// Whether the next slot is free. `asks`: see [`Misses::peer_is_gone`].
    #[inline(always)]
    fn look_at_next(&mut self, asks: bool) -> Result<(), Refused> {
        let (slot, free) = self.cursor.next();
        // SAFETY: the cursor keeps its slots alive.
        let slot = unsafe { slot.as_ref() };
        // SYNC: message released (Release in `Consumer::pop`).
        let found = slot.sequence.load(Ordering::Acquire);
        if found == free && !(M::HOSTILE && self.corrupt) {
            return Ok(());
        }
        self.refused(found, asks)
    }

    /// The next slot is not free on this lap. `Ok`: it is by now.
    #[cold]
    fn refused(&mut self, found: u64, asks: bool) -> Result<(), Refused> {
        if self.corrupt {
            return Err(Refused::Corrupt);
        }
        let (slot, free) = self.cursor.next();
        if found != free.wrapping_sub(LAP) | FULL {
            return Err(self.damaged());
        }
        let (at, role) = (self.cursor.position(), other(self.cursor.roles()));
        if !self.misses.peer_is_gone(at, role, asks) {
            return Err(Refused::NotYet);
        }
        // It may have popped between our look and its end; after its end it pops no more.
        // SAFETY: the cursor keeps its slots alive.
        match unsafe { slot.as_ref() }.sequence.load(Ordering::Acquire) {
            now if now == free => Ok(()),
            now if now == found => Err(Refused::Disconnected),
            _ => Err(self.damaged()),
        }
    }

    /// No ring comes to what was found: this end is of no use any more.
    fn damaged(&mut self) -> Refused {
        self.corrupt = true;
        self.cursor.poison();
        Refused::Corrupt
    }
}

impl<T: Pod + Send, M: Trust> Waits for Producer<'_, T, M> {
    const ME: Party = Party::Producer;

    fn commons(&self) -> NonNull<Commons> {
        (&self.cursor.roles().commons).into()
    }

    fn glance(&self) -> bool {
        let (slot, free) = self.cursor.next();
        // SAFETY: the cursor keeps its slots alive.
        unsafe { slot.as_ref() }.sequence.load(Ordering::Relaxed) == free
    }

    fn look(&mut self, asks: bool) -> Result<(), Refused> {
        self.look_at_next(asks)
    }
}

impl<T: Pod + Send, M: Trust> Paired for Producer<'_, T, M> {
    fn roles(&self) -> NonNull<Roles> {
        self.cursor.roles().into()
    }

    fn line(&self) -> Option<&Line> {
        self.bell.line()
    }
}

impl<T: Pod + Send, M: Trust> Arms for Producer<'_, T, M> {
    fn line(&self) -> Option<&Line> {
        self.bell.line()
    }

    /// It goes on by one slot at a time, whatever `least` says.
    fn arm(&mut self, _: u64, watch: &mut Watch) -> Result<Armed, ArmError> {
        pollable::arm(self, watch)
    }
}

fn own(roles: &Roles) -> Role<'_> {
    Party::Producer.role(roles)
}

fn other(roles: &Roles) -> Role<'_> {
    Party::Consumer.role(roles)
}

impl<T: Pod + Send, M: Trust> Drop for Producer<'_, T, M> {
    fn drop(&mut self) {
        if !killed() && own(self.cursor.roles()).close(self.claimant) {
            self.bell.tell_all();
        }
    }
}

impl<T: Pod + Send, M: Trust> fmt::Debug for Producer<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
