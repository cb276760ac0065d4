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

impl RobustListHead {
    /// The kernel is to wake nobody when this thread dies.
    pub(super) fn forget(&self) {
        self.list_op_pending.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// The address of the word that the kernel would look at.
    pub(super) fn pending(&self) -> Option<usize> {
        let pending = self.list_op_pending.load(Ordering::Relaxed);
        let word = pending.wrapping_byte_offset(self.futex_offset as isize);
        (!pending.is_null()).then(|| word.addr())
    }
}

/// More nested locks than this, and the outer ones of a dead thread are found by slices.
const CAPACITY: usize = 14;

/// The gates that one thread has armed.
///
/// They fill `gates` from the front, newest last, and null ends them. A signal handler may push and
/// remove between any two instructions of a change, and leaves the list as it found it; until the
/// change is done the kernel may then know an older gate.
#[repr(C, align(64))]
pub(super) struct Record {
    /// The process whose thread uses this record, 0 when nobody does. A record with the id of
    /// another process was copied by a fork and is free here.
    owner: AtomicU64,
    /// Valid for as long as a thread uses the record.
    head: AtomicPtr<RobustListHead>,
    /// One more than are used, so that every gate has a slot behind it.
    gates: [AtomicPtr<AtomicU32>; CAPACITY + 1],
}

impl Record {
    fn belongs_to(&self, me: ProcessId) -> bool {
        self.owner.load(Ordering::Relaxed) == me.to_bits()
    }

    #[inline]
    pub(super) fn push(&self, gate: *const AtomicU32) -> bool {
        if !self.gate(0).is_null() {
            return self.push_nested(gate);
        }
        self.put(0, gate);
        true
    }

    #[cold]
    fn push_nested(&self, gate: *const AtomicU32) -> bool {
        let free = (1..CAPACITY).find(|&at| self.gate(at).is_null());
        free.inspect(|&at| self.put(at, gate)).is_some()
    }

    /// Makes `gate` the newest, at the end of the list.
    #[inline]
    fn put(&self, at: usize, gate: *const AtomicU32) {
        self.set(at, gate);
        self.tell_kernel(gate);
    }

    #[inline]
    pub(super) fn remove(&self, gate: *const AtomicU32) {
        if ptr::eq(self.gate(0), gate) && self.gate(1).is_null() {
            self.set(0, ptr::null());
            self.tell_kernel(ptr::null());
        } else {
            self.remove_nested(gate);
        }
    }

    #[cold]
    fn remove_nested(&self, gate: *const AtomicU32) {
        let Some(at) = (0..CAPACITY).rev().find(|&at| ptr::eq(self.gate(at), gate)) else {
            return;
        };
        // Close the gap from below; the last slot is always null and moves in as the new end.
        for above in at..CAPACITY {
            self.set(above, self.gate(above + 1));
        }
        let newest = (0..CAPACITY).map(|at| self.gate(at)).take_while(|gate| !gate.is_null());
        self.tell_kernel(newest.last().unwrap_or(ptr::null()));
    }

    pub(super) fn count(&self, gate: *const AtomicU32) -> usize {
        (0..CAPACITY).filter(|&at| ptr::eq(self.gate(at), gate)).count()
    }

    #[inline]
    fn gate(&self, at: usize) -> *const AtomicU32 {
        self.gates[at].load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, at: usize, gate: *const AtomicU32) {
        // SYNC: a gate that moves down is in its new slot before it leaves the old one (Acquire in
        // `is_armed_in`).
        self.gates[at].store(gate.cast_mut(), Ordering::Release);
    }

    /// Makes `gate` the one that the kernel wakes on this thread's death.
    #[inline]
    fn tell_kernel(&self, gate: *const AtomicU32) {
        // SAFETY: the thread that uses the record calls this, and `claim` stored its list head,
        // which lives as long as the thread.
        let head = unsafe { &*self.head.load(Ordering::Relaxed) };
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
    // From the last slot to the first, against the direction in which gates move.
    // SYNC: a gate that moves down (Release in `Record::set`).
    let mut gates = records.flat_map(|record| record.gates.iter().rev());
    gates.any(|gate| addresses.contains(&gate.load(Ordering::Acquire).addr()))
}
