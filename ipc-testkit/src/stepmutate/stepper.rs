//! Executes an operation one machine instruction at a time, in its own process.
//!
//! The trap flag makes the processor stop behind each instruction, and the kernel sends SIGTRAP, whose handler calls the
//! hook and goes on. That takes 2 µs for an instruction here, a tenth of what a step by ptrace takes, and the hook has the
//! memory of the process at hand.
//!
//! # Safety
//!
//! The process has one thread, and is a child that a suite has forked for this. The handlers run where the operation
//! stands, between any two of its instructions: they allocate nothing, take no lock, and touch what is their own and the
//! memory under attack, which is accessed by atomics only. Hooks are borrowed for the call of [`step`] and reached by a
//! pointer that is null before and after it.
#![expect(unsafe_code, reason = "signal handlers, and the trap flag")]

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::io;

/// What a hook wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// The next instruction.
    On,
    /// No more steps: the rest of the operation runs.
    Run,
}

/// Who is asked while an operation is stepped through.
pub(super) trait Hook {
    /// Instruction number `count` comes next.
    fn before(&self, count: usize, at: &Registers) -> Go;

    /// The instruction that comes next has accessed `address` and was not allowed to. Whether it may try again.
    fn fault(&self, count: usize, address: usize, pc: u64) -> bool;
}

/// What stands in some registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    pub(super) pc: u64,
    /// The number of a system call before it, its result behind it.
    pub(super) result: u64,
    /// The second and the fifth argument of a system call.
    pub(super) second: u64,
    pub(super) fifth: u64,
}

/// An operation that is being stepped through.
struct Active<'a> {
    hook: &'a dyn Hook,
    count: Cell<usize>,
}

static ACTIVE: AtomicPtr<Active<'static>> = AtomicPtr::new(ptr::null_mut());

/// Prepares this process for [`step`].
pub(super) fn install() -> io::Result<()> {
    for (signal, handler) in
        [(libc::SIGTRAP, on_trap as Handler), (libc::SIGSEGV, on_fault), (libc::SIGBUS, on_fault)]
    {
        // SAFETY: all zeros are a valid value of that plain C struct.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the handler has the signature that SA_SIGINFO says, and `action` is a local.
        if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Steps through `operation`; its result, and how many instructions it was, with the few of this function's own.
pub(super) fn step<R>(hook: &dyn Hook, operation: impl FnOnce() -> R) -> (R, usize) {
    let active = Active { hook, count: Cell::new(0) };
    ACTIVE.store((&raw const active).cast_mut().cast(), Ordering::Relaxed);
    set_trap_flag();
    let result = operation();
    clear_trap_flag();
    ACTIVE.store(ptr::null_mut(), Ordering::Relaxed);
    (result, active.count.get())
}

/// Whether the instruction at `pc`, which this process is about to execute, enters the kernel.
pub(super) fn is_system_call(pc: u64) -> bool {
    let text = ptr::with_exposed_provenance::<[u8; 2]>(pc as usize);
    // SAFETY: an instruction that comes next is mapped; the last byte of a page begins no system call of two bytes, but
    // nothing ends with a page here.
    unsafe { text.read() == [0x0f, 0x05] }
}

#[inline(always)]
fn set_trap_flag() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the stack is as before, and the handler is in place. What the operation accesses stays behind this.
    unsafe {
        core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq");
    }
}

#[inline(always)]
fn clear_trap_flag() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the stack is as before.
    unsafe {
        core::arch::asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq");
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: null, or what `step` has put there for as long as its operation runs, in this thread.
    let Some(active) = (unsafe { ACTIVE.load(Ordering::Relaxed).as_ref() }) else { return };
    // SAFETY: the kernel hands the handler the interrupted registers, and nobody else has them.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let count = active.count.get() + 1;
    active.count.set(count);
    let register = |number: c_int| registers[number as usize] as u64;
    let at = Registers {
        pc: register(libc::REG_RIP),
        result: register(libc::REG_RAX),
        second: register(libc::REG_RSI),
        fifth: register(libc::REG_R8),
    };
    if active.hook.before(count, &at) == Go::Run {
        registers[libc::REG_EFL as usize] &= !0x100;
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: as in `on_trap`.
    let active = unsafe { ACTIVE.load(Ordering::Relaxed).as_ref() };
    // SAFETY: the kernel hands the handler the interrupted registers.
    let pc =
        unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] };
    // SAFETY: the kernel hands the handler what it knows of the fault.
    let info = unsafe { &*info };
    // SAFETY: it has filled in where the fault was.
    let address = unsafe { info.si_addr() }.addr();
    let again = active.is_some_and(|a| a.hook.fault(a.count.get(), address, pc as u64));
    if !again {
        // The same once more, and it is the end of this process.
        // SAFETY: SIG_DFL is a disposition.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}

#[cfg(not(target_arch = "x86_64"))]
extern "C" fn on_fault(signal: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: SIG_DFL is a disposition.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
