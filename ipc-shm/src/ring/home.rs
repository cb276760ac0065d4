//! [`Home`]: where a ring is, and what keeps it there.
//!
//! Every ring is a head, which says who has its ends, and an array of slots. They lie in a region of
//! their own, in somebody's region, or on the heap; a handle of one end keeps them alive by itself.
//!
//! # Safety
//!
//! [`Parts`] point to a head and to slots that whoever made them keeps alive beside them: a [`Home`], or
//! the [`Keep`] of a [`Held`].
#![expect(unsafe_code, reason = "points into regions and allocations")]

use core::marker::PhantomData;
use core::ptr::NonNull;

#[cfg(not(loom))]
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::pollable::Sockets;
use super::pollable::line::Line;
use super::role::Party;
use super::{RingError, RoleError};
#[cfg(not(loom))]
use crate::region::Mapping;
#[cfg(not(loom))]
use crate::{
    AttachError, Kind, Place, PlaceError, Plan, PlanError, Region, Shareable,
    layout::{LINE, MAX_ALIGN, PAYLOAD},
};

#[cfg(any(feature = "alloc", loom))]
use alloc::{sync::Arc, vec::Vec};

/// Where a ring is: `H` is its head, and `S` a slot. And what its ends are told by.
pub(super) struct Home<'r, H, S>(Memory<'r, H, S>, Sockets);

enum Memory<'r, H, S> {
    #[cfg(not(loom))]
    Own(Region, Places<H, S>),
    #[cfg(not(loom))]
    In(Parts<H, S>, Where, PhantomData<&'r H>),
    #[cfg(any(feature = "alloc", loom))]
    Heap(Arc<Heap<H, S>>),
    #[cfg(loom)]
    #[expect(dead_code, reason = "the model has no regions")]
    Nowhere(PhantomData<&'r H>),
}

/// What is known of memory that is borrowed.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In a region that is sealed.
    Region,
    /// Wherever somebody has put it, or in a region with a name.
    Anywhere,
}

#[cfg(not(loom))]
impl<H: Shareable, S: Shareable> Home<'static, H, S> {
    /// A new region of `kind` for `capacity` slots, all of it zeros.
    pub(super) fn create(kind: Kind, capacity: usize) -> Result<Self, RingError> {
        Self::create_at(LINE, kind, capacity)
    }

    /// The same, with the first slot at a multiple of `align`, as [`Plan::array_at`] has it.
    pub(super) fn create_at(align: usize, kind: Kind, capacity: usize) -> Result<Self, RingError> {
        let mut plan = Plan::of_kind(kind);
        let places = Places::plan_at(align, &mut plan, capacity)?;
        let region = Region::planned(&plan).map_err(RingError::Region)?;
        Ok(Self::at(Memory::Own(region, places)))
    }

    /// A region that came from another process, if it is of `kind`.
    ///
    /// No ring has messages for which no region has a place:
    ///
    /// ```compile_fail,E0080
    /// # fn from(fd: std::os::fd::OwnedFd) {
    /// let _ = ipc_shm::ring::indexed::Ring::<()>::from_fd(fd);
    /// # }
    /// # let _: fn(_) = from;
    /// ```
    pub(super) fn from_fd(kind: Kind, fd: OwnedFd) -> Result<Self, AttachError> {
        const {
            let has_room = size_of::<S>() > 0 && size_of::<S>() as u64 <= u32::MAX as u64;
            assert!(has_room && align_of::<S>() <= MAX_ALIGN, "a slot has room");
        }
        let region = Region::from_fd(fd)?;
        let (found, expected) = (region.kind(), kind);
        if found != expected {
            return Err(AttachError::Kind { found, expected });
        }
        if let (Ok(head), Ok(slots)) = (region.place(0), region.place(1)) {
            return Ok(Self::at(Memory::Own(region, Places { head, slots })));
        }
        let mut plan = Plan::of_kind(kind);
        // Which capacity we would have expected is unknown; the type is what differs.
        Places::<H, S>::plan(&mut plan, 1).expect("it was checked that one fits");
        let (found, expected) = (region.layout_hash(), plan.hash());
        Err(AttachError::Layout { found, expected })
    }
}

#[cfg(any(feature = "alloc", loom))]
impl<H, S> Home<'static, H, S> {
    /// `head` and `slots` on the heap.
    pub(super) fn boxed(
        head: H,
        slots: impl ExactSizeIterator<Item = S>,
    ) -> Result<Self, RingError> {
        if slots.len() == 0 {
            return Err(RingError::ZeroCapacity);
        }
        let mut all = Vec::new();
        all.try_reserve_exact(slots.len()).map_err(|_| RingError::OutOfMemory)?;
        all.extend(slots);
        Ok(Self::at(Memory::Heap(Arc::new(Heap { head, slots: all }))))
    }
}

impl<'r, H, S> Home<'r, H, S> {
    fn at(memory: Memory<'r, H, S>) -> Self {
        Self(memory, Sockets::default())
    }

    /// The same, with `sockets` for its ends.
    pub(super) fn with_sockets(self, sockets: Sockets) -> Self {
        Self(self.0, sockets)
    }

    #[cfg(not(loom))]
    pub(super) const fn sockets(&self) -> &Sockets {
        &self.1
    }

    /// The line for an end that is about to be claimed, if the ring has sockets.
    pub(super) fn line(&self, of: Party) -> Result<Option<Line>, RoleError> {
        if self.1.are_none() {
            return Ok(None);
        }
        self.1.line(of).map_err(RoleError::Os)?.ok_or(RoleError::NoSocket).map(Some)
    }

    /// What is at `places` of a larger region.
    #[cfg(not(loom))]
    pub(super) fn in_region(region: &'r Region, places: Places<H, S>) -> Result<Self, PlaceError>
    where
        H: Shareable,
        S: Shareable,
    {
        // A plan gives a ring two places in a row. Of two rings head and slots are none, however they came here: the
        // slots would have two producers.
        if Some(places.slots.index()) != places.head.index().checked_add(1) {
            return Err(PlaceError::NotHere);
        }
        let parts = Parts::new(region.get(places.head)?, region.slice(places.slots)?);
        let place = if region.is_sealed() { Where::Region } else { Where::Anywhere };
        Ok(Self::at(Memory::In(parts, place, PhantomData)))
    }

    /// `head` and `slots`, of which there is at least one.
    #[cfg(not(loom))]
    pub(super) fn of(head: &'r H, slots: &'r [S]) -> Self {
        Self::at(Memory::In(Parts::new(head, slots), Where::Anywhere, PhantomData))
    }

    /// How many slots there are.
    pub(super) fn capacity(&self) -> usize {
        match &self.0 {
            #[cfg(not(loom))]
            Memory::Own(_, places) => places.slots.count(),
            #[cfg(not(loom))]
            Memory::In(parts, ..) => parts.slots.len(),
            #[cfg(any(feature = "alloc", loom))]
            Memory::Heap(heap) => heap.slots.len(),
            #[cfg(loom)]
            Memory::Nowhere(_) => 0,
        }
    }

    /// The memfd of a region that is the ring's own.
    #[cfg(not(loom))]
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Memory::Own(region, _) => Some(region.as_fd()),
            Memory::In(..) => None,
            #[cfg(feature = "alloc")]
            Memory::Heap(_) => None,
        }
    }

    /// As [`hold`](Self::hold), if nobody can take the memory away.
    pub(super) fn hold_sealed(&self) -> Result<Held<'r, H, S>, RoleError> {
        self.check_sealed()?;
        self.hold()
    }

    /// An error if somebody can take the memory away.
    pub(super) fn check_sealed(&self) -> Result<(), RoleError> {
        match &self.0 {
            // What lies at a reference, or has a name, may lie in a file that others can truncate.
            #[cfg(not(loom))]
            Memory::In(_, Where::Anywhere, _) => Err(RoleError::NotSealed),
            // Such regions are sealed; what is on the heap is ours.
            _ => Ok(()),
        }
    }

    /// The same once more, for a handle.
    pub(super) fn hold(&self) -> Result<Held<'r, H, S>, RoleError> {
        match &self.0 {
            #[cfg(not(loom))]
            Memory::Own(region, places) => {
                let map = region.map_again().map_err(RoleError::Os)?;
                Ok(Held::mapped(map, *places, places.slots.count()))
            }
            #[cfg(not(loom))]
            Memory::In(parts, ..) => Ok(Held::new(*parts, Keep::In(PhantomData))),
            #[cfg(any(feature = "alloc", loom))]
            Memory::Heap(heap) => {
                let parts = Parts::new(&heap.head, &heap.slots);
                Ok(Held::new(parts, Keep::Heap(Arc::clone(heap))))
            }
            #[cfg(loom)]
            Memory::Nowhere(_) => Err(RoleError::Corrupt),
        }
    }

    /// The same, with the slots twice in a row if they [can be](Self::can_be_in_a_row).
    pub(super) fn hold_in_a_row(&self) -> Result<Held<'r, H, S>, RoleError> {
        match &self.0 {
            #[cfg(not(loom))]
            Memory::Own(region, places) if self.can_be_in_a_row() => {
                let map = region.map_mirrored(places.slots.offset()).map_err(RoleError::Os)?;
                Ok(Held::mapped(map, *places, 2 * places.slots.count()))
            }
            _ => self.hold(),
        }
    }

    /// Whether the slots can be mapped twice in a row: if they are the end of a region that is the ring's own, and
    /// whole pages.
    pub(super) fn can_be_in_a_row(&self) -> bool {
        match &self.0 {
            #[cfg(not(loom))]
            Memory::Own(region, places) => {
                // Inside of the region, so this does not overflow.
                let (start, bytes) = (places.slots.offset(), places.slots.count() * size_of::<S>());
                start + bytes == region.size() && region.mirrors(start)
            }
            _ => false,
        }
    }
}

/// The head and the slots of a ring, kept alive.
#[derive(Debug)]
pub(super) struct Held<'r, H, S> {
    parts: Parts<H, S>,
    /// How many slots there are from the first one on: all, or behind the last one all again.
    row: usize,
    _keep: Keep<'r, H, S>,
}

impl<'r, H, S> Held<'r, H, S> {
    fn new(parts: Parts<H, S>, keep: Keep<'r, H, S>) -> Self {
        Self { parts, row: parts.slots.len(), _keep: keep }
    }

    /// What is at `places` of the region that `map` is, and of which it has `row` slots in a row.
    #[cfg(not(loom))]
    fn mapped(map: Mapping, places: Places<H, S>, row: usize) -> Self {
        let at = |offset: usize| map.at(PAYLOAD + offset);
        let first = at(places.slots.offset()).cast();
        let slots = NonNull::slice_from_raw_parts(first, places.slots.count());
        let parts = Parts { head: at(places.head.offset()).cast(), slots };
        Self { parts, row, _keep: Keep::Own(map) }
    }

    #[inline(always)]
    pub(super) fn head(&self) -> &H {
        // SAFETY: alive beside this, see the head of the file.
        unsafe { self.parts.head.as_ref() }
    }

    /// The address of the slots, whoever they belong to at the moment.
    #[inline(always)]
    pub(super) fn slots(&self) -> NonNull<[S]> {
        self.parts.slots
    }

    /// How many slots can be addressed from the first one on: as many as there are, or twice as many, for behind the
    /// last one follow the same once more.
    #[inline(always)]
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// The slots for a look at all of them.
    pub(super) fn as_slice(&self) -> &[S] {
        // SAFETY: alive beside this, see the head of the file.
        unsafe { self.parts.slots.as_ref() }
    }
}

/// The head and the slots of a ring that somebody else keeps alive.
#[derive(Debug)]
struct Parts<H, S> {
    head: NonNull<H>,
    slots: NonNull<[S]>,
}

// SAFETY: shared references to the parts, which may be used in every thread.
unsafe impl<H: Sync, S: Sync> Send for Parts<H, S> {}
// SAFETY: as above.
unsafe impl<H: Sync, S: Sync> Sync for Parts<H, S> {}

impl<H, S> Parts<H, S> {
    fn new(head: &H, slots: &[S]) -> Self {
        Self { head: head.into(), slots: slots.into() }
    }
}

impl<H, S> Clone for Parts<H, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H, S> Copy for Parts<H, S> {}

/// What keeps parts alive.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
enum Keep<'r, H, S> {
    #[cfg(not(loom))]
    Own(Mapping),
    In(PhantomData<&'r (H, S)>),
    #[cfg(any(feature = "alloc", loom))]
    Heap(Arc<Heap<H, S>>),
}

/// A ring on the heap.
#[cfg(any(feature = "alloc", loom))]
#[derive(Debug)]
struct Heap<H, S> {
    head: H,
    slots: Vec<S>,
}

/// Where the parts of a ring are in the region that has them.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Places<H, S> {
    pub(crate) head: Place<H>,
    pub(crate) slots: Place<S>,
}

#[cfg(not(loom))]
impl<H: Shareable, S: Shareable> Places<H, S> {
    /// Takes two of the plan's places, or leaves it as it was.
    pub(super) fn plan(plan: &mut Plan, capacity: usize) -> Result<Self, RingError> {
        Self::plan_at(LINE, plan, capacity)
    }

    fn plan_at(align: usize, plan: &mut Plan, capacity: usize) -> Result<Self, RingError> {
        if capacity == 0 {
            return Err(RingError::ZeroCapacity);
        }
        let mut with = plan.clone();
        let places = |plan: &mut Plan| -> Result<Self, PlanError> {
            Ok(Self { head: plan.one()?, slots: plan.array_at(align, capacity)? })
        };
        let places = places(&mut with).map_err(RingError::Plan)?;
        *plan = with;
        Ok(places)
    }
}

#[cfg(not(loom))]
impl<H, S> Clone for Places<H, S> {
    fn clone(&self) -> Self {
        *self
    }
}

#[cfg(not(loom))]
impl<H, S> Copy for Places<H, S> {}
