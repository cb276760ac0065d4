//! [`Fill`]: the first values of a region.
//!
//! # Safety
//!
//! Until the header is published, the mapping belongs to the creator alone: the descriptor is in
//! nobody else's hands, and no reference into the payload exists.
#![expect(unsafe_code, reason = "writes the first values")]

use core::fmt;

use ipc_core::Shareable;
use ipc_sync::InRegion;

use super::Mapping;
use crate::layout::PAYLOAD;
use crate::{Place, Plan};

/// Puts values into a region before anybody else can see them: see
/// [`Region::planned_with`](crate::Region::planned_with).
///
/// What is not filled is zero.
pub struct Fill<'a> {
    pub(super) map: &'a Mapping,
    pub(super) plan: &'a Plan,
}

static_assertions::assert_impl_all!(Fill<'static>: Send, Sync);

impl Fill<'_> {
    /// Puts `value(index)` at every index of `place`.
    ///
    /// # Panics
    ///
    /// If `place` is not of the region's plan. Nobody else has the region then, and it goes away.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// let squares = plan.array::<RawValue<u64>>(4)?;
    /// let region = Region::planned_with(&plan, |fill| {
    ///     fill.values(squares, |i| RawValue::new((i * i) as u64));
    /// })?;
    /// assert_eq!(region.slice(squares)?[3].get(), 9);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn values<T: Shareable>(&mut self, place: Place<T>, mut value: impl FnMut(usize) -> T) {
        let planned = self.plan.entries().get(place.index()).copied();
        assert!(planned.is_some() && planned == place.entry(), "a place of the region's own plan");
        let first = self.map.at(PAYLOAD + place.offset()).cast::<T>();
        for index in 0..place.count() {
            // SAFETY: the plan, and so the payload, has room for `count` values from `first` on.
            let address = unsafe { first.add(index) };
            // SAFETY: nobody else has the region; places are aligned for their type.
            unsafe { address.write(value(index)) };
        }
    }

    /// Puts a lock that starts with `value(index)` at every index of `place`, of the kind whose waiters are woken
    /// at once when its holder dies.
    ///
    /// [`InRegion::in_region`] is `unsafe`, because the lock's memory must not be used for anything
    /// else while somebody holds the lock, forgotten guards included. A region keeps that
    /// promise: see [`Region`](crate::Region).
    ///
    /// # Panics
    ///
    /// As [`values`](Self::values).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, Region, ipc_sync::Mutex};
    ///
    /// let mut plan = Plan::new();
    /// let totals = plan.array::<Mutex<u64>>(2)?;
    /// let region = Region::planned_with(&plan, |fill| fill.locks(totals, |i| i as u64))?;
    /// assert_eq!(*region.slice(totals)?[1].lock().unwrap(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn locks<L: InRegion>(
        &mut self,
        place: Place<L>,
        mut value: impl FnMut(usize) -> L::Value,
    ) {
        // SAFETY: when a region is dropped while a gate in it is armed, its addresses stay
        // reserved.
        self.values(place, |index| unsafe { L::in_region(value(index)) });
    }
}

impl fmt::Debug for Fill<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("plan", &self.plan).finish_non_exhaustive()
    }
}
