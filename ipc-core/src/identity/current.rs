//! The calling process's own identity, one load away.
//!
//! # Safety
//!
//! The page is mapped once, is private, is never unmapped, and holds nothing but atomics, for which
//! the zeros that a fork leaves are valid. `MADV_WIPEONFORK` zeroes it in every forked child.
#![expect(unsafe_code, reason = "a page that the kernel wipes in forked children")]

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::process::getpid;

use super::{Domain, ProcessId, liveness};

/// Who the calling process is: its id, and the domain in which that id means something.
///
/// # Examples
///
/// ```
/// use ipc_core::identity::{Identity, ProcessId};
///
/// assert_eq!(Identity::current()?.id, ProcessId::current()?);
/// # Ok::<(), ipc_core::identity::NoIdentity>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The process.
    pub id: ProcessId,
    /// Its pid namespace.
    pub domain: Domain,
}

static_assertions::assert_impl_all!(Identity: Send, Sync);

/// The kernel gives this process no identity that others could check.
///
/// It has no pidfs (Linux before 6.9, or a sandbox that refuses `pidfd_open`) and `/proc` cannot be
/// read, or the kernel cannot wipe a page at fork (before 4.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoIdentity;

static_assertions::assert_impl_all!(NoIdentity: Send, Sync);

impl core::fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the kernel gives this process no identity (neither pidfs nor /proc)")
    }
}

impl core::error::Error for NoIdentity {}

/// What the page holds. All zeros: not known yet, in this process.
#[repr(C)]
struct Page {
    /// Written last.
    id: AtomicU64,
    domain: AtomicU32,
}

/// [`NOBODY`] until the first call in this program; afterwards the same page for ever, in forked children too.
static PAGE: AtomicPtr<Page> = AtomicPtr::new((&raw const NOBODY).cast_mut());

/// Stands in for the page, so that the fast path has one thing to check. Nothing is ever written to it.
static NOBODY: Page = Page { id: AtomicU64::new(0), domain: AtomicU32::new(0) };

impl Identity {
    /// The calling process's identity: see [`ProcessId::current`].
    ///
    /// # Errors
    ///
    /// [`NoIdentity`], as there.
    #[inline]
    pub fn current() -> Result<Self, NoIdentity> {
        match Self::known() {
            Some(me) => Ok(me),
            None => find_out(),
        }
    }

    /// The same, if somebody in this process has asked before. A handful of instructions, for
    /// fast paths that leave the rest to a slow one.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::Identity;
    ///
    /// let me = Identity::current()?;
    /// assert_eq!(Identity::known(), Some(me));
    /// # Ok::<(), ipc_core::identity::NoIdentity>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn known() -> Option<Self> {
        let page = published();
        // SYNC: identity known (Release in `find_out`).
        let id = ProcessId::from_own_page(page.id.load(Ordering::Acquire))?;
        Some(Self { id, domain: Domain::from_own_page(page.domain.load(Ordering::Relaxed))? })
    }
}

impl ProcessId {
    /// What [`Identity::known`] says of the process alone.
    #[inline]
    pub(super) fn known() -> Option<Self> {
        // SYNC: identity known (Release in `find_out`).
        Self::from_own_page(published().id.load(Ordering::Acquire))
    }
}

#[inline]
fn published() -> &'static Page {
    // SYNC: page made (Release in `page`).
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: a page that was published here stays mapped for ever, and so does what stands in for it.
    unsafe { &*page }
}

#[cold]
pub(super) fn find_out() -> Result<Identity, NoIdentity> {
    let page = page()?;
    let id = liveness::identify_self(getpid()).ok_or(NoIdentity)?;
    let domain = Domain::find_out().ok_or(NoIdentity)?;
    page.domain.store(domain.to_bits(), Ordering::Relaxed);
    // SYNC: identity known (Acquire in `Identity::current`).
    page.id.store(id.to_bits(), Ordering::Release);
    if getpid() != id.pid() {
        // A signal handler forked in the middle of this, and we are the child: that was the parent's.
        page.id.store(0, Ordering::Release);
        return find_out();
    }
    Ok(Identity { id, domain })
}

/// The page, mapped now if it was not before. Threads may race here: one mapping wins.
fn page() -> Result<&'static Page, NoIdentity> {
    let nobody = (&raw const NOBODY).cast_mut();
    if !ptr::eq(published(), nobody) {
        return Ok(published());
    }
    let length = rustix::param::page_size();
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses the address, so no existing mapping is touched.
    let fresh = unsafe { mmap_anonymous(ptr::null_mut(), length, access, flags) };
    let fresh = fresh.map_err(|_| NoIdentity)?;
    // SAFETY: the range is the mapping made above, which nobody else knows yet.
    let wiped = unsafe { madvise(fresh, length, Advice::LinuxWipeOnFork) };
    // SYNC: page made (Acquire in `published`).
    let publish =
        || PAGE.compare_exchange(nobody, fresh.cast(), Ordering::AcqRel, Ordering::Acquire);
    if wiped.is_err() || publish().is_err() {
        // SAFETY: the mapping is ours alone: it was not published.
        let unmapped = unsafe { munmap(fresh, length) };
        debug_assert!(unmapped.is_ok(), "the range is one whole mapping");
    }
    wiped.map(|()| published()).map_err(|_| NoIdentity)
}
