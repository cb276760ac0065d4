//! [`Plan`]: what lies where in a region, computed alike on both sides.

use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;

use bytemuck::Zeroable as _;
use ipc_core::Shareable;

use crate::layout::{ENTRIES, Entry, LINE, MAJOR, MAX_ALIGN};

/// What a region is for, as a tool that does not know its types can read it in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Bytes without a plan.
    Raw,
    /// Places of a [`Plan`].
    Planned,
    /// A [`ring::spsc`](crate::ring::spsc) ring and nothing else.
    Spsc,
    /// A [`ring::indexed`](crate::ring::indexed) ring and nothing else.
    Indexed,
    /// A [`ring::bytes`](crate::ring::bytes) ring and nothing else.
    Bytes,
    /// A [`ring::mpmc`](crate::ring::mpmc) ring and nothing else.
    Mpmc,
}

impl Kind {
    /// The number in the header; never 0.
    pub(crate) const fn to_bits(self) -> u32 {
        match self {
            Self::Raw => 1,
            Self::Planned => 2,
            Self::Spsc => 3,
            Self::Indexed => 4,
            Self::Bytes => 5,
            Self::Mpmc => 6,
        }
    }

    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        let kinds = [Self::Raw, Self::Planned, Self::Spsc, Self::Indexed, Self::Bytes, Self::Mpmc];
        kinds.into_iter().find(|kind| kind.to_bits() == bits)
    }
}

/// What lies where in a region.
///
/// Whoever creates the region and whoever attaches to it make the same plan, by the same calls in
/// the same order. Each call gives a [`Place`], and [`Region::get`](crate::Region::get) and
/// [`Region::slice`](crate::Region::slice) turn places into references. The plan is also written
/// into the region, where it is compared with the place at every access: a place of another plan,
/// or of another type, is an error and never a reference to something else.
///
/// A type is known by its path, size and alignment, for two builds of a program have nothing better
/// in common. So two types of the same path are one: of two versions of a crate, for example, or of
/// two blocks of one function.
///
/// Every place begins on 128 bytes of its own. Memory is zero at first, which is a valid value of
/// every [`Shareable`] type; [`Region::planned_with`](crate::Region::planned_with) can put other
/// values there.
///
/// **Locks** want to be put there by it, with [`Fill::locks`](crate::Fill::locks): a zeroed lock works, but its
/// waiters notice the death of its holder within 64 ms, and those of a lock that was put there in about one.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use ipc_shm::{Atomic, Plan, Region};
/// use ipc_sync::Mutex;
///
/// let mut plan = Plan::new();
/// let states = plan.array::<Atomic<AtomicU64>>(64)?;
/// let total = plan.one::<Mutex<u64>>()?;
///
/// let region = Region::planned_with(&plan, |fill| fill.locks(total, |_| 7))?;
/// region.slice(states)?[5].store(1, Ordering::Release);
/// assert_eq!(*region.get(total)?.lock().unwrap(), 7);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Plan {
    kind: Kind,
    entries: [Entry; ENTRIES],
    used: usize,
    /// Bytes of payload so far.
    size: usize,
}

static_assertions::assert_impl_all!(Plan: Send, Sync);

impl Plan {
    /// How many places a plan can have.
    pub const MAX_PLACES: usize = ENTRIES;

    /// An empty plan.
    #[must_use]
    pub fn new() -> Self {
        Self::of_kind(Kind::Planned)
    }

    pub(crate) fn of_kind(kind: Kind) -> Self {
        Self { kind, entries: [Entry::zeroed(); ENTRIES], used: 0, size: 0 }
    }

    /// `size` bytes without places.
    pub(crate) fn raw(size: usize) -> Self {
        Self { size, ..Self::of_kind(Kind::Raw) }
    }

    /// A place for one `T`.
    ///
    /// # Errors
    ///
    /// As [`array`](Self::array).
    pub fn one<T: Shareable>(&mut self) -> Result<Place<T>, PlanError> {
        self.array(1)
    }

    /// A place for `count` values of type `T`, one after the other.
    ///
    /// # Errors
    ///
    /// [`PlanError`], and the plan is as it was.
    pub fn array<T: Shareable>(&mut self, count: usize) -> Result<Place<T>, PlanError> {
        self.array_at(LINE, count)
    }

    /// As [`array`](Self::array), from a multiple of `align` on, which is at least [`LINE`] and a power of two.
    pub(crate) fn array_at<T: Shareable>(
        &mut self,
        align: usize,
        count: usize,
    ) -> Result<Place<T>, PlanError> {
        if count == 0 || size_of::<T>() == 0 {
            return Err(PlanError::Empty);
        }
        if align_of::<T>() > MAX_ALIGN {
            return Err(PlanError::Alignment { asked: align_of::<T>(), most: MAX_ALIGN });
        }
        let entry = self.entries.get_mut(self.used).ok_or(PlanError::TooMany)?;
        let align = align_of::<T>().max(align);
        let offset = self.size.checked_next_multiple_of(align).ok_or(PlanError::TooLarge)?;
        let bytes = size_of::<T>().checked_mul(count).ok_or(PlanError::TooLarge)?;
        let end = offset.checked_add(bytes).ok_or(PlanError::TooLarge)?;
        let place = Place { index: self.used, offset, count, of: PhantomData };
        *entry = place.entry().ok_or(PlanError::TooLarge)?;
        self.used += 1;
        self.size = end;
        Ok(place)
    }

    /// How many bytes of payload the places need.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries[..self.used]
    }

    /// What stands for the whole plan in the header of a region.
    pub(crate) fn hash(&self) -> u64 {
        hash(self.kind.to_bits(), self.size as u64, self.entries())
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("kind", &self.kind)
            .field("size", &self.size)
            .field("entries", &self.entries())
            .finish()
    }
}

/// The hash of a directory, as the header of a region has it.
pub(crate) fn hash(kind: u32, size: u64, entries: &[Entry]) -> u64 {
    // Without the minor version, for a newer program reads an older region.
    let start = Fnv::new().number(MAJOR.into()).number(kind.into()).number(size);
    entries.iter().fold(start, |hash, entry| hash.bytes(bytemuck::bytes_of(entry))).0
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: it tells layouts apart that differ by mistake, and defends
/// against nobody.
#[derive(Clone, Copy)]
pub(crate) struct Fnv(pub(crate) u64);

impl Fnv {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }

    pub(crate) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }
}

/// Where the values of one type lie in the payload of a region.
///
/// Made by [`Plan::array`], or found by [`Region::place`](crate::Region::place). A place means
/// something only in regions of its own plan; anywhere else it is an error.
pub struct Place<T> {
    index: usize,
    offset: usize,
    count: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Place<T> {
    /// The place that `entry` describes, if it is one for values of type `T`.
    pub(crate) fn from_entry(index: usize, entry: &Entry) -> Option<Self> {
        let (offset, count) = (entry.offset.try_into().ok()?, entry.count.try_into().ok()?);
        let place = Self { index, offset, count, of: PhantomData };
        (count > 0 && place.entry()? == *entry).then_some(place)
    }

    /// What the directory of the region has for this place.
    pub(crate) fn entry(&self) -> Option<Entry> {
        Some(Entry {
            offset: self.offset as u64,
            count: self.count as u64,
            size: size_of::<T>().try_into().ok()?,
            align: align_of::<T>().try_into().ok()?,
            type_hash: Fnv::new().bytes(type_name::<T>().as_bytes()).0,
        })
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The form that travels.
    #[cfg(feature = "serde")]
    pub(crate) fn to_numbers(self) -> [u64; 3] {
        [self.index, self.offset, self.count].map(|number| number as u64)
    }

    /// Any three numbers are a place: what they say is compared with the region's directory.
    #[cfg(feature = "serde")]
    pub(crate) fn from_numbers(numbers: [u64; 3]) -> Self {
        let [index, offset, count] =
            numbers.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Self { index, offset, count, of: PhantomData }
    }

    /// Bytes from the start of the payload.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many values there are; never 0.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} x {} at {})", self.count, type_name::<T>(), self.offset)
    }
}

static_assertions::assert_impl_all!(Place<u64>: Send, Sync, Copy);

/// Why something has no place in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// No values were asked for, or values without a size.
    Empty,
    /// A type wants a larger alignment than a region can give.
    Alignment {
        /// What the type wants, in bytes.
        asked: usize,
        /// What there is, in bytes.
        most: usize,
    },
    /// The plan has [`Plan::MAX_PLACES`] places already.
    TooMany,
    /// The number of bytes is beyond what the machine can address.
    TooLarge,
}

static_assertions::assert_impl_all!(PlanError: Send, Sync);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a place for nothing"),
            Self::Alignment { asked, most } => {
                write!(f, "alignment to {asked} bytes, more than the {most} of a region")
            }
            Self::TooMany => write!(f, "more than {} places in a plan", Plan::MAX_PLACES),
            Self::TooLarge => f.write_str("more bytes than the machine can address"),
        }
    }
}

impl core::error::Error for PlanError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn places_never_overlap_and_are_aligned() {
        let mut plan = Plan::new();
        let a = plan.array::<u8>(3).unwrap();
        let b = plan.array::<u64>(5).unwrap();
        let c = plan.one::<u128>().unwrap();
        assert_eq!((a.offset(), b.offset(), c.offset()), (0, 128, 256));
        assert_eq!(plan.size(), 272);
    }

    #[test]
    fn what_has_no_place_is_named() {
        let mut plan = Plan::new();
        assert_eq!(plan.array::<u64>(0).unwrap_err(), PlanError::Empty);
        assert_eq!(plan.one::<()>().unwrap_err(), PlanError::Empty);
        assert_eq!(plan.array::<u64>(usize::MAX / 4).unwrap_err(), PlanError::TooLarge);
        assert_eq!((plan.size(), plan.entries().len()), (0, 0));
        for _ in 0..Plan::MAX_PLACES {
            plan.one::<u64>().unwrap();
        }
        assert_eq!(plan.one::<u64>().unwrap_err(), PlanError::TooMany);
    }

    #[test]
    fn the_hash_tells_plans_apart() {
        fn plan(f: impl FnOnce(&mut Plan) -> Result<(), PlanError>) -> u64 {
            let mut plan = Plan::new();
            f(&mut plan).unwrap();
            plan.hash()
        }
        let hashes = [
            plan(|_| Ok(())),
            plan(|p| p.array::<u64>(2).map(|_| ())),
            plan(|p| p.array::<u64>(3).map(|_| ())),
            plan(|p| p.array::<i64>(3).map(|_| ())),
            plan(|p| p.array::<u64>(1).and(p.array::<u64>(2)).map(|_| ())),
            Plan::raw(16).hash(),
            Plan::raw(24).hash(),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(plan(|p| p.array::<u64>(2).map(|_| ())), hashes[1]);
    }
}
