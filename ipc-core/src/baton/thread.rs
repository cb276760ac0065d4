//! Finding the calling thread's record.
//!
//! # Safety
//!
//! One system call writes two locals; the tests arm gates in leaked memory.
#![expect(unsafe_code, reason = "get_robust_list")]

use core::cell::Cell;
use core::ptr;
use std::thread_local;

use super::record::{Record, RobustListHead, take};
use crate::identity::{Identity, ProcessId};

thread_local! {
    /// What the calling thread has found out about itself. No destructor: reading it is two loads.
    static RECORD: Cell<Option<Attached>> = const { Cell::new(None) };
    /// Gives the record back when the thread ends.
    static AT_THREAD_END: Detach = const { Detach };
}

/// A thread's record, or that it can have none, and the process in which that is so. In a forked
/// child this is still its parent's, whose records others may have by now.
#[derive(Clone, Copy)]
struct Attached {
    process: ProcessId,
    record: Option<&'static Record>,
}

struct Detach;

impl Drop for Detach {
    fn drop(&mut self) {
        if let (Some(attached), Some(me)) = (RECORD.take(), Identity::known())
            && attached.process == me.id
            && let Some(record) = attached.record
        {
            record.release();
        }
    }
}

/// Calls `f` with the thread's record; attaches one first if it has not tried in this process.
#[inline]
pub(super) fn with_record(me: ProcessId, f: impl FnOnce(&Record) -> bool) -> bool {
    let record = match RECORD.get() {
        Some(attached) if attached.process == me => attached.record,
        _ => attach(me),
    };
    record.is_some_and(f)
}

/// Calls `f` with the record that the thread has in this process, if any.
#[inline]
pub(super) fn with_record_if_any<R>(me: ProcessId, f: impl FnOnce(&Record) -> R) -> Option<R> {
    RECORD.get().filter(|attached| attached.process == me)?.record.map(f)
}

#[cold]
fn attach(me: ProcessId) -> Option<&'static Record> {
    // A thread that is already running its destructors would never give a record back.
    let record = AT_THREAD_END
        .try_with(|_| ())
        .ok()
        .and_then(|()| robust_list_head())
        .and_then(|head| take(me, head));
    RECORD.set(Some(Attached { process: me, record }));
    record
}

/// In a forked child: takes back what the kernel was told by the thread that this one is a copy of.
pub(super) fn forget_after_fork(me: Option<ProcessId>) {
    let Some(attached) = RECORD.get() else { return };
    if Some(attached.process) == me {
        return;
    }
    RECORD.set(None);
    if let Some(head) = robust_list_head() {
        // SAFETY: the head is this thread's own.
        unsafe { &*head }.forget();
    }
}

pub(super) fn known_to_kernel() -> Option<usize> {
    // SAFETY: the head is this thread's own.
    robust_list_head().and_then(|head| unsafe { &*head }.pending())
}

/// The list head that the C library registered for this thread, if it did and if it is usable.
fn robust_list_head() -> Option<*mut RobustListHead> {
    let mut head: *mut RobustListHead = ptr::null_mut();
    let mut length: libc::size_t = 0;
    // SAFETY: both pointers are to locals of the types that the call writes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_robust_list,
            0,
            ptr::from_mut(&mut head),
            ptr::from_mut(&mut length),
        )
    };
    (result == 0 && length == size_of::<RobustListHead>() && !head.is_null()).then_some(head)
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate alloc;

    use super::super::{arm, armed_times, disarm, is_armed_in};
    use super::*;
    use core::sync::atomic::AtomicU32;

    fn gates() -> &'static [AtomicU32; 20] {
        alloc::boxed::Box::leak(alloc::boxed::Box::new([const { AtomicU32::new(0) }; 20]))
    }

    fn hold(gate: &'static AtomicU32) {
        // SAFETY: leaked memory stays, and the gates stay 0.
        unsafe { arm(gate, me()) };
    }

    fn me() -> ProcessId {
        ProcessId::current().unwrap()
    }

    fn pending() -> *const AtomicU32 {
        known_to_kernel().map_or(ptr::null(), ptr::without_provenance)
    }

    #[test]
    fn the_kernel_knows_the_newest_whatever_the_order_of_release() {
        let gates = gates();
        gates[..3].iter().for_each(hold);
        assert_eq!(pending(), &raw const gates[2]);
        disarm(&gates[1], me());
        assert_eq!(pending(), &raw const gates[2]);
        disarm(&gates[2], me());
        assert_eq!(pending(), &raw const gates[0]);
        disarm(&gates[0], me());
        assert!(pending().is_null());
    }

    #[test]
    fn a_gate_armed_twice_is_disarmed_once() {
        let gates = gates();
        hold(&gates[0]);
        hold(&gates[0]);
        disarm(&gates[0], me());
        assert!(armed_times(&gates[0], me()) > 0);
        disarm(&gates[0], me());
        assert_eq!(armed_times(&gates[0], me()), 0);
    }

    #[test]
    fn a_full_list_arms_nothing_and_recovers() {
        let gates = gates();
        gates.iter().for_each(hold);
        assert!(armed_times(&gates[19], me()) == 0);
        gates.iter().for_each(|gate| disarm(gate, me()));
        assert!(pending().is_null() && gates.iter().all(|gate| armed_times(gate, me()) == 0));
    }

    #[test]
    fn disarming_what_is_not_armed_changes_nothing() {
        let gates = gates();
        disarm(&gates[0], me());
        hold(&gates[1]);
        disarm(&gates[0], me());
        assert_eq!(pending(), &raw const gates[1]);
        disarm(&gates[1], me());
    }

    #[test]
    fn other_threads_gates_are_seen_and_end_with_the_thread() {
        let gates = gates();
        let range = gates.as_ptr().addr()..gates.as_ptr_range().end.addr();
        let me = ProcessId::current().unwrap();
        std::thread::spawn(move || {
            let range = &range;
            assert!(!is_armed_in(range, me));
            let range = &range;
            let (armed, go_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
            std::thread::scope(|scope| {
                let leaker = scope.spawn(|| {
                    hold(&gates[7]);
                    armed.wait();
                    go_on.wait();
                });
                armed.wait();
                assert!(is_armed_in(range, me));
                go_on.wait();
                leaker.join().unwrap();
            });
            assert!(!is_armed_in(range, me));
        })
        .join()
        .unwrap();
    }
}
