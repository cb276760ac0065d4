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
use crate::identity::ProcessId;

thread_local! {
    /// The calling thread's record, once it has one. It has no destructor, so reading it costs one load.
    static RECORD: Cell<Option<&'static Record>> = const { Cell::new(None) };
    /// Gives the record back when the thread ends.
    static AT_THREAD_END: Detach = const { Detach };
}

struct Detach;

impl Drop for Detach {
    fn drop(&mut self) {
        detach();
    }
}

/// Calls `f` with the thread's record; attaches one first if it has none in this process.
#[inline]
pub(super) fn with_record(me: ProcessId, f: impl FnOnce(&Record)) {
    match RECORD.get() {
        Some(record) if record.belongs_to(me) => f(record),
        _ => {
            if let Some(record) = attach(me) {
                f(record);
            }
        }
    }
}

#[inline]
pub(super) fn with_record_if_any<R>(f: impl FnOnce(&Record) -> R) -> Option<R> {
    RECORD.get().map(f)
}

#[cold]
fn attach(me: ProcessId) -> Option<&'static Record> {
    // In a forked child the old record is its parent's; it is free to be claimed here by id.
    RECORD.set(None);
    // A thread that is already running its destructors would never give a record back.
    AT_THREAD_END.try_with(|_| ()).ok()?;
    let record = take(me, robust_list_head()?)?;
    RECORD.set(Some(record));
    Some(record)
}

/// Gives the calling thread's record back, if it has one.
pub(super) fn detach() {
    if let Some(record) = RECORD.take() {
        record.release();
    }
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

    use super::super::{arm, disarm, is_armed, is_armed_in};
    use super::*;
    use core::sync::atomic::AtomicU32;

    fn gates() -> &'static [AtomicU32; 20] {
        alloc::boxed::Box::leak(alloc::boxed::Box::new([const { AtomicU32::new(0) }; 20]))
    }

    fn hold(gate: &'static AtomicU32) {
        // SAFETY: leaked memory stays, and the gates stay 0.
        unsafe { arm(gate, ProcessId::current().unwrap()) };
    }

    fn pending() -> *const AtomicU32 {
        RECORD.get().unwrap().pending()
    }

    #[test]
    fn the_kernel_knows_the_newest_whatever_the_order_of_release() {
        let gates = gates();
        gates[..3].iter().for_each(hold);
        assert_eq!(pending(), &raw const gates[2]);
        disarm(&gates[1]);
        assert_eq!(pending(), &raw const gates[2]);
        disarm(&gates[2]);
        assert_eq!(pending(), &raw const gates[0]);
        disarm(&gates[0]);
        assert!(pending().is_null());
    }

    #[test]
    fn a_gate_armed_twice_is_disarmed_once() {
        let gates = gates();
        hold(&gates[0]);
        hold(&gates[0]);
        disarm(&gates[0]);
        assert!(is_armed(&gates[0]));
        disarm(&gates[0]);
        assert!(!is_armed(&gates[0]));
    }

    #[test]
    fn a_full_list_arms_nothing_and_recovers() {
        let gates = gates();
        gates.iter().for_each(hold);
        assert!(!is_armed(&gates[19]));
        gates.iter().for_each(disarm);
        assert!(pending().is_null() && !gates.iter().any(is_armed));
    }

    #[test]
    fn disarming_what_is_not_armed_changes_nothing() {
        let gates = gates();
        disarm(&gates[0]);
        hold(&gates[1]);
        disarm(&gates[0]);
        assert_eq!(pending(), &raw const gates[1]);
        disarm(&gates[1]);
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
