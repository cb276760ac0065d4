//! The list of one thread's armed gates, and the pages in which all such lists live.

use core::ffi::{c_long, c_void};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::identity::ProcessId;

/// `struct robust_list_head` of `linux/futex.h`.
#[repr(C)]
pub(super) struct RobustListHead {
    list: *mut c_void,
    futex_offset: c_long,
    list_op_pending: AtomicPtr<c_void>,
}

/// More nested locks than this, and the outer ones of a dead thread are found by slices.
const CAPACITY: usize = 14;

/// The gates that one thread has armed.
///
/// Slots at and beyond `len` are null, and each change keeps that true at every instruction: a
/// signal handler may push and remove at any point, and leaves the list as it found it. Where it
/// interrupts a change, the kernel may be told of an older gate, or of none, until the change is done.
#[repr(C, align(64))]
pub(super) struct Record {
    /// The process whose thread uses this record, 0 when nobody does. A record with the id of
    /// another process was copied by a fork and is free here.
    owner: AtomicU64,
    head: AtomicPtr<RobustListHead>,
    len: AtomicU32,
    gates: [AtomicPtr<AtomicU32>; CAPACITY],
}

impl Record {
    #[inline]
    pub(super) fn belongs_to(&self, me: ProcessId) -> bool {
        self.owner.load(Ordering::Relaxed) == me.to_bits()
    }

    #[inline]
    pub(super) fn push(&self, gate: &AtomicU32) {
        let at = self.len.load(Ordering::Relaxed);
        let Some(slot) = self.gates.get(at as usize) else { return };
        // The slot is taken before it is written: a signal handler works above it.
        self.len.store(at + 1, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        slot.store(ptr::from_ref(gate).cast_mut(), Ordering::Relaxed);
        self.tell_kernel(ptr::from_ref(gate));
    }

    #[inline]
    pub(super) fn remove(&self, gate: &AtomicU32) {
        let len = self.len.load(Ordering::Relaxed) as usize;
        let Some((newest, older)) = self.gates.get(..len).and_then(<[_]>::split_last) else {
            return;
        };
        if newest.load(Ordering::Relaxed) != ptr::from_ref(gate).cast_mut() {
            return self.remove_older(gate, len);
        }
        newest.store(ptr::null_mut(), Ordering::Relaxed);
        self.tell_kernel(older.last().map_or(ptr::null_mut(), |gate| gate.load(Ordering::Relaxed)));
        self.len.store(len as u32 - 1, Ordering::Relaxed);
    }

    #[cold]
    fn remove_older(&self, gate: &AtomicU32, len: usize) {
        let Some(at) = self.position(gate, len) else { return };
        // Close the gap from below.
        for above in at + 1..len {
            let moved = self.gates[above].load(Ordering::Relaxed);
            self.gates[above - 1].store(moved, Ordering::Relaxed);
        }
        self.gates[len - 1].store(ptr::null_mut(), Ordering::Relaxed);
        self.tell_kernel(self.gates[len - 2].load(Ordering::Relaxed));
        self.len.store(len as u32 - 1, Ordering::Relaxed);
    }

    pub(super) fn contains(&self, gate: &AtomicU32) -> bool {
        self.position(gate, self.len.load(Ordering::Relaxed) as usize).is_some()
    }

    /// Where `gate` is among the first `len`, the newest such.
    fn position(&self, gate: &AtomicU32, len: usize) -> Option<usize> {
        let gate = ptr::from_ref(gate).cast_mut();
        self.gates[..len.min(CAPACITY)]
            .iter()
            .rposition(|slot| slot.load(Ordering::Relaxed) == gate)
    }

    /// Makes `gate` the one that the kernel wakes on this thread's death.
    #[inline]
    fn tell_kernel(&self, gate: *const AtomicU32) {
        // SAFETY: `attach` stored the head of this very thread, which lives as long as the thread.
        let Some(head) = (unsafe { self.head.load(Ordering::Relaxed).as_ref() }) else { return };
        let pending = if gate.is_null() {
            ptr::null_mut()
        } else {
            // The kernel adds the offset back. The address is never followed by this program.
            gate.cast::<c_void>().cast_mut().wrapping_byte_offset(-(head.futex_offset as isize))
        };
        // The kernel reads this in the context of the dying thread, in program order.
        compiler_fence(Ordering::SeqCst);
        head.list_op_pending.store(pending, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Empties the record and gives it back. Only its own thread calls this.
    pub(super) fn release(&self) {
        self.tell_kernel(ptr::null());
        self.clear();
        self.head.store(ptr::null_mut(), Ordering::Relaxed);
        // SYNC: record given back (Acquire in `Record::claim`).
        self.owner.store(0, Ordering::Release);
    }

    fn clear(&self) {
        for gate in &self.gates {
            gate.store(ptr::null_mut(), Ordering::Relaxed);
        }
        self.len.store(0, Ordering::Relaxed);
    }

    fn claim(&self, me: ProcessId, head: *mut RobustListHead) -> bool {
        let owner = self.owner.load(Ordering::Relaxed);
        // SYNC: record given back (Release in `Record::release`).
        let claim = |from| {
            self.owner.compare_exchange(from, me.to_bits(), Ordering::Acquire, Ordering::Relaxed)
        };
        if owner == me.to_bits() || claim(owner).is_err() {
            return false;
        }
        self.clear();
        self.head.store(head, Ordering::Relaxed);
        // A forked child's head still has what its parent had armed.
        self.tell_kernel(ptr::null());
        true
    }
}

/// As many records as fit beside the link. Pages are never unmapped.
#[repr(C)]
struct Page {
    next: AtomicPtr<Page>,
    records: [Record; RECORDS],
}

const RECORDS: usize = 4096 / size_of::<Record>() - 1;
const _: () = assert!(size_of::<Page>() <= 4096 && RECORDS >= 8);

static PAGES: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

fn pages() -> impl Iterator<Item = &'static Page> {
    let at = |link: &AtomicPtr<Page>| {
        // SAFETY: a linked page was mapped whole and zeroed, and is never unmapped.
        // SYNC: page linked (Release in `add_page`).
        unsafe { link.load(Ordering::Acquire).as_ref() }
    };
    core::iter::successors(at(&PAGES), move |page| at(&page.next))
}

/// A free record, now `me`'s, with `head` in it. `None` if there is no memory for one.
pub(super) fn take(me: ProcessId, head: *mut RobustListHead) -> Option<&'static Record> {
    loop {
        let mut records = pages().flat_map(|page| &page.records);
        if let Some(record) = records.find(|record| record.claim(me, head)) {
            return Some(record);
        }
        add_page()?;
    }
}

fn add_page() -> Option<()> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses the address, so no existing mapping is touched.
    let fresh = unsafe { mmap_anonymous(ptr::null_mut(), size_of::<Page>(), access, flags) };
    let page = fresh.ok()?.cast::<Page>();
    let first = PAGES.load(Ordering::Acquire);
    // SAFETY: the mapping is large enough, aligned, zeroed (which is valid) and not yet known.
    unsafe { &*page }.next.store(first, Ordering::Relaxed);
    // SYNC: page linked (Acquire in `pages`).
    if PAGES.compare_exchange(first, page, Ordering::Release, Ordering::Relaxed).is_err() {
        // Another thread linked a page meanwhile, which has room.
        // SAFETY: nobody else knows this mapping.
        let unmapped = unsafe { munmap(page.cast(), size_of::<Page>()) };
        debug_assert!(unmapped.is_ok(), "the range is one whole mapping");
    }
    Some(())
}

pub(super) fn is_armed_in(addresses: &Range<usize>, me: ProcessId) -> bool {
    let records = pages().flat_map(|page| &page.records).filter(|record| record.belongs_to(me));
    let mut gates = records.flat_map(|record| &record.gates);
    gates.any(|gate| addresses.contains(&gate.load(Ordering::Relaxed).addr()))
}

#[cfg(all(test, not(loom)))]
impl Record {
    /// The address that the kernel would wake now.
    pub(super) fn pending(&self) -> *const AtomicU32 {
        // SAFETY: as in `tell_kernel`.
        let head = unsafe { &*self.head.load(Ordering::Relaxed) };
        let pending = head.list_op_pending.load(Ordering::Relaxed);
        if pending.is_null() {
            return ptr::null();
        }
        pending.wrapping_byte_offset(head.futex_offset as isize).cast_const().cast()
    }
}
