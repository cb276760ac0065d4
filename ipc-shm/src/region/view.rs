//! [`View`]: a mapped region, and where its places lie.
//!
//! # Safety
//!
//! The directory lies in the header page of every mapping and is read as atomic words, because a peer may write there.
//! Addresses are bounded by what was checked when the region was made or attached, never by what stands there now.
#![expect(unsafe_code, reason = "reads the directory of a mapping")]

use core::fmt;
use core::ptr::NonNull;

use ipc_core::identity::ProcessId;
use ipc_core::primitive::{AtomicU64, Ordering};

use super::Mapping;
use crate::layout::{DIRECTORY, Entry, PAYLOAD};
use crate::{Kind, Place};

/// What regions of every sort have in common: the mapping, and what the header said when it was checked.
pub(super) struct View {
    pub(super) map: Mapping,
    pub(super) kind: Kind,
    /// Bytes of payload.
    pub(super) size: usize,
    /// How many entries the directory has.
    pub(super) entries: usize,
    pub(super) hash: u64,
    pub(super) creator: ProcessId,
}

impl View {
    /// Entry `index` of the directory, as it is now.
    fn entry(&self, index: usize) -> Option<Entry> {
        if index >= self.entries {
            return None;
        }
        let start = DIRECTORY + index * size_of::<Entry>();
        let word = |number: usize| {
            let address = self.map.at(start + number * 8).cast::<AtomicU64>();
            // SAFETY: the directory lies inside the header page, aligned to 8, and outlives `self`.
            unsafe { address.as_ref() }.load(Ordering::Relaxed)
        };
        let words: [u64; size_of::<Entry>() / 8] = core::array::from_fn(word);
        Some(bytemuck::cast(words))
    }

    /// The first value of `place`, which lies inside the payload as a whole, aligned, if the directory has it.
    pub(super) fn locate<T>(&self, place: Place<T>) -> Result<NonNull<T>, PlaceError> {
        // No entry says what no plan can have.
        let planned = place.entry().ok_or(PlaceError::NotHere)?;
        if self.entry(place.index()) != Some(planned) {
            return Err(PlaceError::NotHere);
        }
        self.address_of(place.offset(), place.count())
    }

    /// Place number `index` of the region's own plan.
    pub(super) fn place<T>(&self, index: usize) -> Result<Place<T>, PlaceError> {
        let entry = self.entry(index).ok_or(PlaceError::NotHere)?;
        let place = Place::<T>::from_entry(index, &entry).ok_or(PlaceError::NotHere)?;
        // The directory was checked when we attached, but it lies where a peer could write since.
        self.address_of::<T>(place.offset(), place.count())?;
        Ok(place)
    }

    /// The first of `count` values that begin `offset` bytes into the payload, and lie inside it.
    pub(super) fn address_of<T>(
        &self,
        offset: usize,
        count: usize,
    ) -> Result<NonNull<T>, PlaceError> {
        let bytes = size_of::<T>().checked_mul(count).ok_or(PlaceError::OutOfBounds)?;
        let end = offset.checked_add(bytes).ok_or(PlaceError::OutOfBounds)?;
        if end > self.size || offset >= self.size {
            return Err(PlaceError::OutOfBounds);
        }
        let address = self.map.at(PAYLOAD + offset).cast::<T>();
        if address.is_aligned() { Ok(address) } else { Err(PlaceError::Misaligned) }
    }

    /// What can be said of a region of the type `name`.
    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("kind", &self.kind)
            .field("size", &self.size)
            .field("places", &self.entries)
            .field("creator", &self.creator)
            .finish_non_exhaustive()
    }
}

/// What every region says of itself: the same methods, for a type with a field `view`.
macro_rules! facts {
    () => {
        /// Bytes of payload, as they were asked for.
        #[must_use]
        pub fn size(&self) -> usize {
            self.view.size
        }

        /// What the region is for.
        #[must_use]
        pub fn kind(&self) -> $crate::Kind {
            self.view.kind
        }

        /// Who made it. It may be dead by now, which changes nothing.
        ///
        /// Whether it lives can be asked only in its own pid namespace.
        #[must_use]
        pub fn creator(&self) -> ipc_core::identity::ProcessId {
            self.view.creator
        }

        /// The hash of its plan, as both sides compute it.
        #[must_use]
        pub fn layout_hash(&self) -> u64 {
            self.view.hash
        }

        /// Place number `index` of the region's own plan, for a region whose sizes are not known
        /// beforehand.
        ///
        /// # Errors
        ///
        /// [`PlaceError::NotHere`](crate::PlaceError::NotHere) if there is no such place, or its type is not `T`;
        /// another one only if somebody has damaged the directory.
        ///
        /// # Examples
        ///
        /// ```
        /// use ipc_shm::{Plan, RawValue, Region};
        ///
        /// let mut plan = Plan::new();
        /// plan.array::<RawValue<u32>>(10)?;
        /// let region = Region::planned(&plan)?;
        /// assert_eq!(region.place::<RawValue<u32>>(0)?.count(), 10);
        /// assert!(region.place::<RawValue<f32>>(0).is_err());
        /// # Ok::<(), Box<dyn core::error::Error>>(())
        /// ```
        pub fn place<T: ipc_core::Shareable>(
            &self,
            index: usize,
        ) -> Result<$crate::Place<T>, $crate::PlaceError> {
            self.view.place(index)
        }
    };
}
pub(super) use facts;

/// Why a region gave no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// The region was made by a plan without this place, or with another type there.
    NotHere,
    /// The bytes are not all inside the payload, or the index is not inside the place.
    OutOfBounds,
    /// The type cannot lie at this offset.
    Misaligned,
}

static_assertions::assert_impl_all!(PlaceError: Send, Sync);

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHere => "the region was not made with this place",
            Self::OutOfBounds => "not inside the region",
            Self::Misaligned => "not aligned for the type",
        })
    }
}

impl core::error::Error for PlaceError {}
