//! The pid namespace in which a process id means something.
//!
//! # Safety
//!
//! One `ioctl` returns a file descriptor, which becomes an `OwnedFd` at once.
#![expect(unsafe_code, reason = "an ioctl that rustix does not wrap")]

use core::num::NonZeroU32;

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{CWD, StatxFlags, fstat, statx};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::primitive::{AtomicU32, Ordering};

/// A pid namespace, as 30 bits that no two namespaces of a running kernel share.
///
/// The kernel numbers its namespaces from 0xF000_0000 upwards (the first one is 0xEFFF_FFFC), so the
/// low 30 bits of the number say everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain(NonZeroU32);

static_assertions::assert_impl_all!(Domain: Send, Sync);

const MASK: u32 = (1 << 30) - 1;
/// Not a namespace: processes of different ones have met here.
const MIXED: u32 = MASK;

impl Domain {
    /// The domain as a word of at most 30 bits, never 0.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// The domain that this process has put into its own private memory; `None` for zeros.
    #[inline]
    pub(super) fn from_own_page(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(NonZeroU32::new(bits & MASK).unwrap_or(const { NonZeroU32::new(MIXED).unwrap() }))
    }

    /// Asks the kernel which pid namespace this process is in.
    pub(super) fn find_out() -> Option<Self> {
        let number = by_pidfd().or_else(by_proc)?;
        Some(Self::from_bits(number as u32))
    }
}

/// `PIDFD_GET_PID_NAMESPACE` (Linux 6.11) works without `/proc`.
fn by_pidfd() -> Option<u64> {
    /// `_IO(0xFF, 5)` of `linux/pidfd.h`.
    const PIDFD_GET_PID_NAMESPACE: libc::c_ulong = 0xFF05;

    let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    // SAFETY: the request takes no argument that the kernel would write through.
    let fd = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_PID_NAMESPACE as _, 0) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the request returned a new descriptor (close-on-exec), which is ours alone.
    let namespace = unsafe { OwnedFd::from_raw_fd(fd) };
    Some(fstat(&namespace).ok()?.st_ino)
}

fn by_proc() -> Option<u64> {
    let flags = rustix::fs::AtFlags::empty();
    statx(CWD, c"/proc/self/ns/pid", flags, StatxFlags::INO).ok().map(|found| found.stx_ino)
}

/// The word beside an owner word that says in which [`Domain`] the owner's pid means something.
///
/// ```text
///  31         30   29 ............................................ 0
/// +----------+---+--------------------------------------------------+
/// | resident | 0 | 0: nobody yet · a domain · all ones: mixed        |
/// +----------+---+--------------------------------------------------+
/// ```
///
/// Every process is admitted *before* it claims the owner word. Once processes of two domains have been
/// admitted the cell is mixed for ever, and nobody may be declared dead through it again: a pid
/// of the one namespace may be a healthy stranger in the other.
///
/// `resident` is set by whoever places the structure in a shared mapping that outlives every
/// holder: only then may the kernel be told its address (see [`baton`](crate::baton)).
#[derive(Debug)]
#[repr(C)]
pub struct DomainCell {
    word: AtomicU32,
    /// A bit that never changes need not multiply the model's interleavings.
    #[cfg(loom)]
    resident: bool,
}

static_assertions::assert_impl_all!(DomainCell: Send, Sync);
#[cfg(not(loom))]
const _: () = assert!(size_of::<DomainCell>() == 4);

/// Who has been admitted to a [`DomainCell`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Nobody yet.
    Nobody,
    /// Processes of this domain only.
    One(Domain),
    /// Processes of several domains: nobody's death can be told through the cell any more.
    Mixed,
}

static_assertions::assert_impl_all!(Admitted: Send, Sync);

const RESIDENT: u32 = 1 << 31;

/// How often the word of a cell is tried to be changed: it changes twice in its life, to one domain and to mixed.
const CHANGES: usize = 3;

/// What one look at a [`DomainCell`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission(u32);

impl Admission {
    /// Whether the structure lies where the kernel may be told of it.
    #[inline]
    #[must_use]
    pub const fn is_resident(self) -> bool {
        self.0 & RESIDENT != 0
    }
}

impl DomainCell {
    crate::const_unless_loom! {
        /// A cell that has seen nobody; `resident` as the type's documentation says.
        ///
        /// # Examples
        ///
        /// ```
        /// use ipc_core::identity::{DomainCell, Identity};
        ///
        /// let cell = DomainCell::new(false);
        /// let me = Identity::current()?;
        /// assert!(!cell.admit(me.domain).is_resident());
        /// assert!(cell.judges(me.domain));
        /// # Ok::<(), ipc_core::identity::NoIdentity>(())
        /// ```
        #[must_use]
        pub fn new(resident: bool) -> Self {
            Self {
                word: AtomicU32::new(if resident { RESIDENT } else { 0 }),
                #[cfg(loom)]
                resident,
            }
        }
    }

    /// A copy of a cell whose word was read elsewhere, by somebody who has not mapped it.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::{Admitted, DomainCell, Identity};
    ///
    /// let me = Identity::current()?;
    /// let copy = DomainCell::from_bits(me.domain.to_bits());
    /// assert!(copy.judges(me.domain));
    /// assert_eq!(copy.seen(), Admitted::One(me.domain));
    /// assert_eq!(DomainCell::from_bits(0).seen(), Admitted::Nobody);
    /// # Ok::<(), ipc_core::identity::NoIdentity>(())
    /// ```
    #[cfg(not(loom))]
    #[must_use]
    pub const fn from_bits(word: u32) -> Self {
        Self { word: AtomicU32::new(word) }
    }

    /// Who has been admitted so far.
    #[must_use]
    pub fn seen(&self) -> Admitted {
        match self.word.load(Ordering::Relaxed) & MASK {
            0 => Admitted::Nobody,
            MIXED => Admitted::Mixed,
            bits => Admitted::One(Domain::from_bits(bits)),
        }
    }

    /// Records that a process of `domain` is about to claim something here.
    ///
    /// One load when it is not the first. The claim that follows must be a Release operation, so
    /// that whoever sees the claim sees the admission too.
    #[inline]
    pub fn admit(&self, domain: Domain) -> Admission {
        self.admitted(domain).unwrap_or_else(|| self.admit_first(domain))
    }

    /// The admission of `domain`, if it is the only one so far.
    #[inline]
    #[must_use]
    pub fn admitted(&self, domain: Domain) -> Option<Admission> {
        let seen = self.word.load(Ordering::Relaxed);
        (seen & MASK == domain.to_bits()).then_some(Admission(seen))
    }

    #[cold]
    fn admit_first(&self, domain: Domain) -> Admission {
        let mut seen = self.word.load(Ordering::Relaxed);
        for _ in 0..CHANGES {
            let next = match seen & MASK {
                0 => (seen & !MASK) | domain.to_bits(),
                MIXED => return Admission(seen),
                found if found == domain.to_bits() => return Admission(seen),
                _ => seen | MIXED,
            };
            match self.word.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Admission(next),
                Err(found) => seen = found,
            }
        }
        // Somebody writes there who does not keep to this. Then nobody may judge, which is always right. What was there
        // is not asked for: on x86-64 that would be a loop that ends when nobody writes.
        let _ = self.word.fetch_or(MIXED, Ordering::Relaxed);
        Admission(seen | MIXED)
    }

    /// Whether the structure lies where the kernel may be told of it.
    #[inline]
    #[must_use]
    pub fn is_resident(&self) -> bool {
        #[cfg(loom)]
        return self.resident;
        #[cfg(not(loom))]
        Admission(self.word.load(Ordering::Relaxed)).is_resident()
    }

    /// Whether a process of `domain` may judge the life of whoever claimed something here.
    ///
    /// The claim must have been read with Acquire before this is asked.
    #[must_use]
    pub fn judges(&self, domain: Domain) -> bool {
        self.word.load(Ordering::Relaxed) & MASK == domain.to_bits()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn domain(bits: u32) -> Domain {
        Domain(NonZeroU32::new(bits).unwrap())
    }

    #[test]
    fn both_sources_agree() {
        let by_proc = by_proc().map(|number| Domain::from_bits(number as u32));
        assert!(by_proc.is_some());
        assert_eq!(Domain::find_out(), by_proc);
    }

    #[test]
    fn two_domains_make_it_mixed_for_ever() {
        let cell = DomainCell::new(true);
        assert!(cell.admit(domain(5)).is_resident() && cell.judges(domain(5)));
        assert!(cell.admit(domain(6)).is_resident());
        cell.admit(domain(5));
        assert!(!cell.judges(domain(5)) && !cell.judges(domain(6)));
        assert_eq!(cell.seen(), Admitted::Mixed);
    }

    #[test]
    fn zeroed_memory_has_seen_nobody() {
        let cell = DomainCell::from_bits(0);
        assert!(!cell.judges(domain(5)));
        assert_eq!(cell.seen(), Admitted::Nobody);
        assert!(!cell.admit(domain(5)).is_resident() && cell.judges(domain(5)));
    }
}
