//! [`Consumer`]: the reading end.
//!
//! # Safety
//!
//! A payload is read only while its slot is full on the consumer's own lap. Only the consumer takes
//! a slot out of that state, and there is one consumer: the role word names this process, and the
//! handle is borrowed alone. Plain data may have any bytes. An untrusted producer may keep to nothing of this: a
//! payload is then copied by accesses that may race, and everything else that is used is this handle's own.
#![expect(unsafe_code, reason = "reads payloads that the slot's word makes ours")]

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
use crate::ring::{Peer, PopError, RoleError, Trust, Trusted, Untrusted};

/// The reading end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the producer is told when the ring is full, and another consumer may
/// attach and go on. If this process dies, the same happens as soon as somebody asks the kernel.
///
/// `M` says whether it trusts the producer: see [`Ring::untrusted_consumer`](super::Ring::untrusted_consumer).
pub struct Consumer<'r, T: Pod + Send, M: Trust = Trusted> {
    cursor: Cursor<'r, T>,
    /// The process that claimed the role.
    claimant: ProcessId,
    /// The ring was found damaged, and the cursor poisoned.
    corrupt: bool,
    misses: Misses,
    bell: Bell,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Consumer<'static, u64>: Send, Sync);
static_assertions::assert_impl_all!(Consumer<'static, u64, Untrusted>: Send, Sync);

impl<'r, T: Pod + Send, M: Trust> Consumer<'r, T, M> {
    pub(super) fn claim(ring: Held<'r, T>, line: Option<Line>) -> Result<Self, RoleError> {
        settle(&ring.head().commons, line.as_ref())?;
        let claimant = own(ring.head()).claim()?.id;
        let bell = Bell::new(&ring.head().commons, Party::Consumer, line);
        let Some(position) = Position::find(ring.as_slice(), |sequence| sequence / LAP) else {
            own(ring.head()).close(claimant);
            bell.tell_all();
            return Err(RoleError::Corrupt);
        };
        bell.tell_all();
        let cursor = Cursor::new(ring, position);
        let misses = Misses::default();
        Ok(Self { cursor, claimant, corrupt: false, misses, bell, mode: PhantomData })
    }

    /// Copies the next message out and releases its slot. Never waits.
    ///
    /// # Errors
    ///
    /// [`PopError`]. Whether the producer is gone is only looked at when the ring is empty, and
    /// whether it is *dead* only when the ring has been empty for a thousand tries: see
    /// [`peer`](Self::peer) for a caller that sleeps between its tries.
    /// [`PopError::Disconnected`] comes after the last message.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PopError, spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push(1)?;
    /// drop(producer);
    /// assert_eq!(consumer.pop(), Ok(1));
    /// assert_eq!(consumer.pop(), Err(PopError::Disconnected));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        let (slot, free) = self.cursor.next();
        if let Err(refused) = self.look_at_next(false) {
            return Err(refused.pop());
        }
        self.cursor.advance();
        // SAFETY: the cursor keeps its slots alive.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: the slot is full on our lap, so its payload is ours; any bytes are a `T`.
        let message = slot.payload.with(|payload| Ok(unsafe { M::read(payload) }));
        // SYNC: message released (Acquire in `Producer::push`).
        slot.sequence.store(free.wrapping_add(LAP), Ordering::Release);
        self.bell.ring();
        message
    }

    /// How things stand with the producer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another process
    /// attaches. Messages of a producer that is closed or dead are still in the ring, and can be
    /// popped.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{Peer, spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let consumer = ring.consumer()?;
    /// assert_eq!(consumer.peer(), Peer::Absent);
    /// drop(ring.producer()?);
    /// assert_eq!(consumer.peer(), Peer::Closed);
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

    /// Whether the next slot has a message. `asks`: see [`Misses::peer_is_gone`].
    #[inline(always)]
    fn look_at_next(&mut self, asks: bool) -> Result<(), Refused> {
        let (slot, free) = self.cursor.next();
        // SAFETY: the cursor keeps its slots alive.
        let slot = unsafe { slot.as_ref() };
        // SYNC: message published (Release in `Producer::push`).
        let found = slot.sequence.load(Ordering::Acquire);
        if found == free | FULL && !(M::HOSTILE && self.corrupt) {
            return Ok(());
        }
        self.refused(found, asks)
    }

    /// The next message is not there. `Ok`: it is by now.
    #[cold]
    fn refused(&mut self, found: u64, asks: bool) -> Result<(), Refused> {
        if self.corrupt {
            return Err(Refused::Corrupt);
        }
        let (slot, free) = self.cursor.next();
        if found != free {
            return Err(self.damaged());
        }
        let (at, role) = (self.cursor.position(), other(self.cursor.roles()));
        if !self.misses.peer_is_gone(at, role, asks) {
            return Err(Refused::NotYet);
        }
        // It may have pushed between our look and its end; after its end it pushes no more.
        // SAFETY: the cursor keeps its slots alive.
        match unsafe { slot.as_ref() }.sequence.load(Ordering::Acquire) {
            now if now == free | FULL => Ok(()),
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

impl<T: Pod + Send, M: Trust> Waits for Consumer<'_, T, M> {
    const ME: Party = Party::Consumer;

    fn commons(&self) -> NonNull<Commons> {
        (&self.cursor.roles().commons).into()
    }

    fn glance(&self) -> bool {
        let (slot, free) = self.cursor.next();
        // SAFETY: the cursor keeps its slots alive.
        unsafe { slot.as_ref() }.sequence.load(Ordering::Relaxed) == free | FULL
    }

    fn look(&mut self, asks: bool) -> Result<(), Refused> {
        self.look_at_next(asks)
    }
}

impl<T: Pod + Send, M: Trust> Paired for Consumer<'_, T, M> {
    fn roles(&self) -> NonNull<Roles> {
        self.cursor.roles().into()
    }

    fn line(&self) -> Option<&Line> {
        self.bell.line()
    }
}

impl<T: Pod + Send, M: Trust> Arms for Consumer<'_, T, M> {
    fn line(&self) -> Option<&Line> {
        self.bell.line()
    }

    /// It goes on by one slot at a time, whatever `least` says.
    fn arm(&mut self, _: u64, watch: &mut Watch) -> Result<Armed, ArmError> {
        pollable::arm(self, watch)
    }
}

fn own(roles: &Roles) -> Role<'_> {
    Party::Consumer.role(roles)
}

fn other(roles: &Roles) -> Role<'_> {
    Party::Producer.role(roles)
}

impl<T: Pod + Send, M: Trust> Drop for Consumer<'_, T, M> {
    fn drop(&mut self) {
        if !killed() && own(self.cursor.roles()).close(self.claimant) {
            self.bell.tell_all();
        }
    }
}

impl<T: Pod + Send, M: Trust> fmt::Debug for Consumer<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::mem::forget;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::ring::pollable::Pollable;
    use crate::ring::spsc::Ring;

    fn asleep(mut consumer: Pollable<Consumer<'_, u64>>) -> Pollable<Consumer<'_, u64>> {
        // What was told of the claims first.
        while consumer.arm() == Ok(Armed::Ready) {}
        assert_eq!(consumer.arm(), Ok(Armed::Sleep));
        consumer
    }

    fn is_told(consumer: &Pollable<Consumer<'_, u64>>) -> bool {
        let timeout = Timespec { tv_sec: 2, tv_nsec: 0 };
        poll(&mut [PollFd::new(consumer, PollFlags::IN)], Some(&timeout)) == Ok(1)
    }

    fn ring() -> Ring<'static, u64> {
        Ring::create(4).unwrap().with_sockets(crate::ring::pollable::Sockets::pair().unwrap())
    }

    #[test]
    fn who_closed_an_end_and_tells_of_it_late_takes_nobodys_announcement() {
        let ring = ring();
        let mut producer = ring.producer().unwrap();
        let first = ring.consumer().unwrap();
        assert!(own(first.cursor.roles()).close(first.claimant));
        let second = asleep(Pollable::new(ring.consumer().unwrap()).unwrap());
        // The other half of the first one's drop.
        first.bell.tell_all();
        forget(first);
        producer.push(7).unwrap();
        assert!(is_told(&second));
    }

    #[test]
    fn who_is_killed_as_it_tells_of_an_end_that_has_an_heir_takes_nobodys_announcement() {
        let ring = ring();
        let first = ring.producer().unwrap();
        let consumer = ring.consumer().unwrap();
        assert!(other(consumer.cursor.roles()).close(consumer.claimant), "of the same process");
        let mut second = ring.producer().unwrap();
        let consumer = asleep(Pollable::new(consumer).unwrap());
        // So far the drop of the first one comes.
        first.wake_all();
        forget(first);
        second.push(7).unwrap();
        assert!(is_told(&consumer));
    }
}
