//! Making the process: `clone` with the parent's memory, the parent's thread suspended, and a
//! pidfd.
//!
//! `clone3` can also start the child without the parent's handlers, which no older call can;
//! without that the child asks for all 64 signals one by one, which takes longer than the clone
//! itself. libc has no function for it, so there are a few instructions of our own; where these are
//! missing, or the kernel (before 5.5) or a seccomp filter refuses the call, libc's `clone` does
//! it.
//!
//! # Safety
//!
//! To the compiler, either is a call of a foreign function that reads and writes the plan, whose
//! address it is given, and then returns once: the child runs [`child::run`] inside of it and never
//! comes back. In between:
//!
//! * the calling thread sleeps in the kernel until the child has executed or ended (`CLONE_VFORK`).
//!   Only SIGKILL for the whole process wakes it before, and then it does not return to its code.
//!   The child may therefore use its stack: below the stack pointer as any callee (the instructions
//!   declare no red zone in use), and above it only through the plan;
//! * other threads go on. The child shares no lock with them and touches nothing that they use;
//! * every signal is blocked in the thread before and hence in the child after, the ones included
//!   by which libc cancels threads and changes the user of all: with these the handler would run in
//!   the child, on the parent's memory. They wait for the parent's thread, and it takes them
//!   afterwards;
//! * of the thread's registrations with the kernel a clone without `CLONE_THREAD` takes none along:
//!   no robust list, no address to clear at the end, no restartable sequence. The child's end thus
//!   writes nothing to the shared memory;
//! * `syscall` and the place of `errno` are both called here before the child calls them, so that a
//!   program that is linked lazily looks nothing up in the child.
//!
//! glibc before 2.24 writes to its record of the thread's id in `clone` with `CLONE_VM`: there a
//! program whose `clone3` is refused must not spawn from a thread that uses priority-inheriting or
//! robust locks.
#![expect(unsafe_code, reason = "clone, and instructions around clone3")]

use core::ffi::{c_int, c_void};
use core::ptr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::plan::Plan;
use super::{SpawnError, Stage, child};
use crate::errno::last_errno;
use crate::process::signal_set::set_mask;
use crate::process::{Child, Pid, SignalSet};
use crate::{Errno, Result};

/// Makes a child that carries the plan out.
pub(super) fn clone(plan: &Plan<'_>) -> Result<Child, SpawnError> {
    // SAFETY: asks for an address. It is the call that matters, see above.
    let _ = unsafe { libc::__errno_location() };
    let old = set_mask(SignalSet::ALL);
    if plan.attributes.mask.is_none() {
        plan.mask.set(old);
    }
    plan.has_no_handlers.set(true);
    let made = match modern::clone3(plan) {
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            plan.has_no_handlers.set(false);
            clone_by_libc(plan)
        }
        made => made,
    };
    set_mask(old);

    let pid = made.map_err(at_clone)?;
    if plan.pidfd.get() < 0 {
        // The child has seen that, too, and did nothing.
        reap(WaitId::Pid(pid));
        return Err(at_clone(Errno::NOSYS));
    }
    // SAFETY: the kernel made it for this call.
    let pidfd = unsafe { OwnedFd::from_raw_fd(plan.pidfd.get()) };
    match plan.failure.get() {
        None => Ok(Child::new(pid, pidfd)),
        Some(error) => {
            reap(WaitId::PidFd(pidfd.as_fd()));
            Err(error)
        }
    }
}

/// Waits for the end of a child that is ending.
fn reap(id: WaitId<'_>) {
    // Any answer but an interruption is final: reaped here, or (`ECHILD`) by somebody else.
    let _ = retry_on_intr(|| waitid(id.clone(), WaitIdOptions::EXITED));
}

const fn at_clone(errno: Errno) -> SpawnError {
    SpawnError { stage: Stage::Clone, errno }
}

/// What both calls are told: one memory, the parent waits, a pidfd.
const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod modern {
    //! `clone3`, entered without libc.

    use core::arch::asm;

    use super::{FLAGS, Pid, Plan, Result, child, ptr};
    use crate::Errno;

    /// The child begins without its parent's handlers; what was ignored stays so.
    const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;

    pub(super) fn clone3(plan: &Plan<'_>) -> Result<Pid> {
        let arguments = libc::clone_args {
            flags: FLAGS as u64 | CLONE_CLEAR_SIGHAND,
            pidfd: plan.pidfd.as_ptr().expose_provenance() as u64,
            child_tid: 0,
            parent_tid: 0,
            exit_signal: libc::SIGCHLD as u64,
            // The child goes on where the parent stands.
            stack: 0,
            stack_size: 0,
            tls: 0,
            set_tid: 0,
            set_tid_size: 0,
            cgroup: 0,
        };
        let (place, size) = (ptr::from_ref(&arguments), size_of_val(&arguments));
        let begin: extern "C" fn(*const Plan<'_>) -> ! = child::run;
        let answer: isize;
        // The block may use the stack, so the stack pointer is aligned as for a call, and nothing
        // of value lies below it. The parent comes back with its own registers, of which the kernel
        // changed those that are named.
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the arguments and the plan live until the call returns; for the rest see above.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "mov rdi, {plan}",
                "call {begin}",
                "ud2",
                "2:",
                plan = in(reg) ptr::from_ref(plan),
                begin = in(reg) begin,
                inlateout("rax") libc::SYS_clone3 as isize => answer,
                in("rdi") place,
                in("rsi") size,
                out("rcx") _,
                out("r11") _,
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            asm!(
                "svc #0",
                "cbnz x0, 2f",
                "mov x0, {plan}",
                "blr {begin}",
                "brk #1",
                "2:",
                plan = in(reg) ptr::from_ref(plan),
                begin = in(reg) begin,
                in("x8") libc::SYS_clone3,
                inlateout("x0") place => answer,
                in("x1") size,
            );
        }
        // The kernel's numbers are small.
        match answer as i32 {
            errno @ ..0 => Err(Errno::from_raw_os_error(-errno)),
            // Zero is what the child gets, and that does not come here.
            pid => Pid::from_raw(pid).ok_or(Errno::PROTO),
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod modern {
    //! No `clone3`.

    use super::{Errno, Pid, Plan, Result};

    pub(super) const fn clone3(_: &Plan<'_>) -> Result<Pid> {
        Err(Errno::NOSYS)
    }
}

fn clone_by_libc(plan: &Plan<'_>) -> Result<Pid> {
    extern "C" fn begin(plan: *mut c_void) -> c_int {
        child::run(plan.cast_const().cast())
    }

    let stack = Stack::new()?;
    let flags = FLAGS | libc::SIGCHLD;
    let (pidfd, plan) = (plan.pidfd.as_ptr(), ptr::from_ref(plan).cast_mut().cast());
    // SAFETY: the stack is unused, and lives until the call returns; for the rest see above.
    let answer = unsafe { libc::clone(begin, stack.top(), flags, plan, pidfd) };
    if answer < 0 {
        return Err(last_errno());
    }
    // Zero is what a child gets, and that does not come here.
    Pid::from_raw(answer).ok_or(Errno::PROTO)
}

/// A stack for a child, with a guard below it: libc's `clone` wants one.
struct Stack {
    base: *mut c_void,
}

impl Stack {
    /// A whole number of pages, whatever their size.
    const GUARD: usize = 64 << 10;
    const SIZE: usize = 2 * Self::GUARD;

    fn new() -> Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: the kernel chooses the place of a new mapping.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), Self::SIZE, access, flags) }?;
        let stack = Self { base };
        // SAFETY: the lower half of what was just mapped.
        unsafe { mprotect(base, Self::GUARD, MprotectFlags::empty()) }?;
        Ok(stack)
    }

    /// The address behind the stack, which grows downwards.
    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(Self::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and the child that used it has its own memory
        // now.
        let unmapped = unsafe { munmap(self.base, Self::SIZE) };
        debug_assert!(unmapped.is_ok());
    }
}
