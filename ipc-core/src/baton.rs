//! The death baton: the kernel wakes one sleeper when a thread dies.
//!
//! A thread of glibc has a robust-futex list registered with the kernel (one of musl has it from its
//! first robust pthread mutex on; before that nothing is armed). Its field
//! `list_op_pending` is the address of a word whose owner might be this thread. When the thread
//! dies, and the word names no owner (its low 30 bits are 0), the kernel wakes one sleeper of that
//! word and writes nothing. So a thread that [`arm`]s the *gate* on which the waiters of its lock
//! sleep leaves them a wake-up behind, wherever it is killed. That takes two stores to private
//! memory and no system call.
//!
//! The baton is an accelerator and never the truth. A full list arms nothing, `no_std` builds and
//! libcs without a robust list arm nothing, and a libc call on a robust mutex clears what was
//! armed. Sleepers look for dead owners at the end of every slice anyway.
//!
//! # Rules
//!
//! Each thread keeps the gates it has armed in a short list, newest last, and the kernel knows the
//! newest. Guards may be dropped in any order: [`disarm`] removes its gate *by value*.
//!
//! The kernel may write to an armed word: if it happens to equal the thread's id, the kernel takes
//! it for a robust mutex. A gate is never such a number, but memory that was unmapped and used
//! again might be. So only gates in a mapping that is not given back while anything
//! in it is armed may be armed at all, and whoever unmaps such a mapping asks [`is_armed_in`] first.
//!
//! A forked child starts with nothing armed. When a thread ends, so does its list.
//!
//! # Safety
//!
//! A record lives in a page that is never unmapped, so references to it are always valid. Its
//! fields are atomics: its own thread writes them, others read them in [`is_armed_in`], and the
//! kernel reads the list head in the context of the thread that it belongs to. The head itself is
//! found by `get_robust_list` and belongs to the C library's thread descriptor, which exists as
//! long as the thread; it is written only by that thread.
#![expect(unsafe_code, reason = "the list head is the C library's, found by a system call")]

use core::ops::Range;

use crate::futex::Word;
use crate::identity::ProcessId;

#[cfg(feature = "std")]
use thread::{with_record, with_record_if_any};

/// Asks the kernel to wake one sleeper of `gate` if the calling thread dies.
///
/// `false`: that cannot be had here, or the list is full, and nothing was armed.
///
/// Not for signal handlers: a thread's first call registers a destructor, which may allocate, and a
/// handler that interrupts a robust pthread operation would take back what the C library told the kernel.
///
/// # Safety
///
/// - Until it is [`disarm`]ed by this thread, the page of `gate` stays mapped with the same object,
///   or its address range stays unused.
/// - The low 30 bits of `gate` are always 0.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::AtomicU32;
/// use ipc_core::{baton, identity::ProcessId};
///
/// static GATE: AtomicU32 = AtomicU32::new(0); // In real use: in a shared mapping.
/// let me = ProcessId::current()?;
/// // SAFETY: a static is never unmapped, and the gate stays 0.
/// if unsafe { baton::arm(&GATE, me) } {
///     baton::disarm(&GATE, me);
/// }
/// # Ok::<(), ipc_core::identity::NoIdentity>(())
/// ```
#[inline]
pub unsafe fn arm<'a>(gate: impl Into<Word<'a>>, me: ProcessId) -> bool {
    let gate = gate.into().address();
    #[cfg(feature = "std")]
    return with_record(me, |record| record.push(gate));
    #[cfg(not(feature = "std"))]
    {
        let _ = (gate, me);
        false
    }
}

/// Takes back one [`arm`] of `gate` by the calling thread of process `me`, if there was one.
///
/// # Examples
///
/// See [`arm`].
#[inline]
pub fn disarm<'a>(gate: impl Into<Word<'a>>, me: ProcessId) {
    let gate = gate.into().address();
    #[cfg(feature = "std")]
    let _ = with_record_if_any(me, |record| record.remove(gate));
    #[cfg(not(feature = "std"))]
    let _ = (gate, me);
}

/// How often the calling thread of process `me` has armed `gate`: it holds, takes or releases
/// something there.
#[must_use]
pub fn armed_times<'a>(gate: impl Into<Word<'a>>, me: ProcessId) -> usize {
    let gate = gate.into().address();
    #[cfg(feature = "std")]
    return with_record_if_any(me, |record| record.count(gate)).unwrap_or(0);
    #[cfg(not(feature = "std"))]
    {
        let _ = (gate, me);
        0
    }
}

/// Whether any thread of process `me` has a gate armed whose address is in `addresses`.
///
/// Whoever unmaps memory in which gates live asks this first, and keeps the range reserved if so: a
/// leaked guard must not leave the kernel an address that becomes something else.
#[must_use]
pub fn is_armed_in(addresses: &Range<usize>, me: ProcessId) -> bool {
    #[cfg(feature = "std")]
    {
        // A child that was not forked by this crate may still have its parent's gate with the kernel.
        thread::forget_after_fork(Some(me));
        record::is_armed_in(addresses, me)
    }
    #[cfg(not(feature = "std"))]
    {
        let _ = (addresses, me);
        false
    }
}

/// The address that the kernel would wake now if the calling thread died. For tests and debuggers.
#[must_use]
pub fn known_to_kernel() -> Option<usize> {
    #[cfg(feature = "std")]
    return thread::known_to_kernel();
    #[cfg(not(feature = "std"))]
    None
}

/// Forgets what the calling thread armed before it was forked into this process.
///
/// [`process::fork`](crate::process::fork()) calls this in the child. A child that was forked
/// otherwise does the same when it first arms a gate or asks [`is_armed_in`].
pub fn forget_after_fork() {
    #[cfg(feature = "std")]
    thread::forget_after_fork(None);
}

#[cfg(feature = "std")]
mod record;
#[cfg(feature = "std")]
mod thread;
