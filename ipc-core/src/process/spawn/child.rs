//! The child, from its first instruction to `execve`.
//!
//! # Safety
//!
//! The child is a process of its own that runs on its parent's memory, while the thread that made
//! it is suspended and all others go on. It has that thread's stack or a fresh one, and its
//! thread-local storage. Hence every line here keeps to this:
//!
//! * it makes system calls by [`syscall`] and nothing else. No lock is taken, which another thread
//!   could hold; nothing is allocated; nothing panics; no wrapper of libc runs, which could see a
//!   cancellation that is meant for the parent's thread. Of the thread-local storage it touches
//!   `errno`, whose owner is suspended and expects any call to change it;
//! * it writes to the cells of its [`Plan`] and to its own frames, and reads what the parent
//!   prepared;
//! * no handler runs in it: every signal is blocked from before the clone. They are let through
//!   when the child's table of handlers, which is its own, holds none;
//! * it never returns: it becomes the program or ends by `_exit`.
//!
//! Its descriptors, its directory, mask and limits are copies: nothing that it sets reaches the
//! parent.
#![expect(unsafe_code, reason = "system calls by their numbers")]

use core::convert::Infallible;
use core::ffi::c_long;
use core::mem::{MaybeUninit, offset_of};
use core::{ptr, slice};

use super::attributes::Attributes;
use super::moves::Move;
use super::plan::Plan;
use super::{SpawnError, Stage};
use crate::process::Pid;
use crate::process::fork::{NEVER_STARTED, exit_now};
use crate::process::raw::syscall;
use crate::{Errno, Result};

/// Where the handler stands in the kernel's `struct sigaction`, in words.
const HANDLER: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 1 } else { 0 };

/// The kernel's `struct sigaction`, with room to spare: a handler, flags, a restorer, a mask.
/// All-zero means the default.
type SigAction = [usize; 8];

/// The bytes of the kernel's signal sets.
const SET: usize = size_of::<u64>();

/// The first number behind the standard streams.
const FIRST: usize = 3;

/// Where the child begins.
pub(super) extern "C" fn run(plan: *const Plan<'_>) -> ! {
    // SAFETY: the parent keeps the plan until this process has executed or ended.
    let plan = unsafe { &*plan };
    let Err(error) = execute(plan);
    plan.failure.set(Some(error));
    exit_now(NEVER_STARTED)
}

fn execute(plan: &Plan<'_>) -> Result<Infallible, SpawnError> {
    if plan.pidfd.get() < 0 {
        // Linux before 5.2 knows no such flag and ignores it.
        return Err(SpawnError { stage: Stage::Clone, errno: Errno::NOSYS });
    }
    let attributes = plan.attributes;
    if let (Some(death), Some(parent)) = (attributes.parent_death, plan.parent) {
        bind_to_parent(death.signal, parent).at(Stage::ParentDeath)?;
    }
    if attributes.session {
        call(libc::SYS_setsid, [0; 4]).at(Stage::Session)?;
    }
    if let Some(group) = attributes.group {
        call(libc::SYS_setpgid, [0, group as usize, 0, 0]).at(Stage::Group)?;
    }
    if let Some(mask) = &attributes.affinity {
        let arguments = [0, size_of_val(&**mask), address(mask.as_ptr()), 0];
        call(libc::SYS_sched_setaffinity, arguments).at(Stage::Affinity)?;
    }
    if let Some(nice) = attributes.nice {
        let arguments = [libc::PRIO_PROCESS as usize, 0, nice as usize, 0];
        call(libc::SYS_setpriority, arguments).at(Stage::Nice)?;
    }
    keep_descriptors().at(Stage::Descriptors)?;
    bring_descriptors(plan.moves).at(Stage::Dup)?;
    if let Some(directory) = plan.directory {
        call(libc::SYS_chdir, [address(directory.as_ptr()), 0, 0, 0]).at(Stage::Chdir)?;
    }
    if let Some(umask) = attributes.umask {
        // It has no error.
        let _ = call(libc::SYS_umask, [umask as usize, 0, 0, 0]);
    }
    for (resource, limit) in &attributes.limits {
        let arguments = [0, *resource as usize, address(limit), 0];
        call(libc::SYS_prlimit64, arguments).at(Stage::Rlimit)?;
    }
    set_signals(plan, attributes).at(Stage::Signals)?;
    try_candidates(plan).at(Stage::Exec)
}

/// Asks for a signal when the parent ends, and ends here if it has.
fn bind_to_parent(signal: i32, parent: Pid) -> Result<()> {
    call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, signal as usize, 0, 0])?;
    // A parent that died before that sends nothing. It is then another process that is the parent
    // now, or none that this one can see, which is an error for a parent that lives.
    let is_there = call(libc::SYS_getppid, [0; 4])? == parent.as_raw_pid() as usize;
    if is_there { Ok(()) } else { Err(Errno::SRCH) }
}

/// Sees to it that `execve` closes everything behind the standard streams.
fn keep_descriptors() -> Result<()> {
    let arguments = [FIRST, u32::MAX as usize, libc::CLOSE_RANGE_CLOEXEC as usize, 0];
    match call(libc::SYS_close_range, arguments) {
        // Before Linux 5.9, before 5.11, or behind a filter that does not know the call.
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => keep_listed_descriptors(),
        done => done.map(drop),
    }
}

/// The same, one by one. The list does not change while it is read, since only this process opens
/// files in this table.
fn keep_listed_descriptors() -> Result<()> {
    let (path, flags) = (c"/proc/self/fd", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC);
    let cwd = libc::AT_FDCWD as usize;
    let list = call(libc::SYS_openat, [cwd, address(path.as_ptr()), flags as usize, 0])?;
    let mut buffer = MaybeUninit::<[u64; 128]>::uninit();
    loop {
        let room = [list, address(buffer.as_mut_ptr()), size_of_val(&buffer), 0];
        let len = call(libc::SYS_getdents64, room)?;
        if len == 0 {
            break;
        }
        // SAFETY: the kernel has just written so many bytes.
        let mut entries = unsafe { slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), len) };
        while let Some((name, rest)) = first_name(entries) {
            if let Some(number) = number(name).filter(|number| *number >= FIRST) {
                let arguments = [number, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize, 0];
                call(libc::SYS_fcntl, arguments)?;
            }
            entries = rest;
        }
    }
    // Else it could stand where a standard stream was closed.
    call(libc::SYS_close, [list, 0, 0, 0]).map(drop)
}

/// The name of the first entry of a directory, with zeros behind it, and the other entries.
fn first_name(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    const LEN: usize = offset_of!(libc::dirent64, d_reclen);
    const NAME: usize = offset_of!(libc::dirent64, d_name);
    let len = u16::from_ne_bytes(*entries.get(LEN..)?.first_chunk()?);
    let (entry, rest) = entries.split_at_checked(len.into())?;
    Some((entry.get(NAME..)?, rest))
}

/// The number that the name spells; `None` for `.` and `..`.
fn number(name: &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for digit in name.iter().take_while(|byte| **byte != 0) {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.wrapping_mul(10).wrapping_add(digit.into());
    }
    Some(number)
}

/// Every number that was asked for gets its descriptor, without the mark that all others have.
fn bring_descriptors(moves: &[Move]) -> Result<()> {
    let mut aside = 0;
    for step in moves {
        match *step {
            Move::Keep(number) => {
                call(libc::SYS_fcntl, [number as usize, libc::F_SETFD as usize, 0, 0])?;
            }
            Move::Copy { from, to } => {
                call(libc::SYS_dup3, [from as usize, to as usize, 0, 0])?;
            }
            Move::Save(number) => {
                let arguments = [number as usize, libc::F_DUPFD_CLOEXEC as usize, FIRST, 0];
                aside = call(libc::SYS_fcntl, arguments)?;
            }
            Move::Restore { to } => {
                call(libc::SYS_dup3, [aside, to as usize, 0, 0])?;
            }
        }
    }
    Ok(())
}

/// Dispositions first: when the mask opens, no handler of the parent may be left.
fn set_signals(plan: &Plan<'_>, attributes: &Attributes) -> Result<()> {
    if !plan.has_no_handlers.get() {
        remove_handlers()?;
    }
    let mut action: SigAction = [0; 8];
    for signal in attributes.default.numbers() {
        call(libc::SYS_rt_sigaction, [signal, address(&action), 0, SET])?;
    }
    action[HANDLER] = libc::SIG_IGN;
    for signal in attributes.ignored.numbers() {
        call(libc::SYS_rt_sigaction, [signal, address(&action), 0, SET])?;
    }
    let mask = plan.mask.get();
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, address(&mask), 0, SET]).map(drop)
}

/// What `CLONE_CLEAR_SIGHAND` does, in one or two calls for each signal.
fn remove_handlers() -> Result<()> {
    let default: SigAction = [0; 8];
    for signal in 1..=64 {
        let mut action: SigAction = [0; 8];
        call(libc::SYS_rt_sigaction, [signal, 0, address(ptr::from_mut(&mut action)), SET])?;
        if action[HANDLER] != libc::SIG_DFL && action[HANDLER] != libc::SIG_IGN {
            call(libc::SYS_rt_sigaction, [signal, address(&default), 0, SET])?;
        }
    }
    Ok(())
}

/// Executes the first candidate that can be. A file that may not be executed does not end the
/// search, and is told if nothing is found, as shells do.
fn try_candidates(plan: &Plan<'_>) -> Result<Infallible> {
    let (arguments, environment) = (plan.arguments.as_ptr(), plan.environment);
    let mut told = Errno::NOENT;
    for &path in plan.candidates {
        if path.is_null() {
            break;
        }
        let arguments = [address(path), address(arguments), address(environment), 0];
        match call(libc::SYS_execve, arguments) {
            Err(Errno::ACCESS) => told = Errno::ACCESS,
            Err(
                errno @ (Errno::NOENT
                | Errno::NOTDIR
                | Errno::NODEV
                | Errno::STALE
                | Errno::TIMEDOUT),
            ) => {
                if told != Errno::ACCESS {
                    told = errno;
                }
            }
            Err(errno) => return Err(errno),
            // `execve` returns errors alone.
            Ok(_) => break,
        }
    }
    Err(told)
}

fn call(number: c_long, arguments: [usize; 4]) -> Result<usize> {
    // SAFETY: each call of this file reads what the plan or a frame holds, writes to a frame alone,
    // and changes this process, which will execute or end.
    unsafe { syscall(number, arguments) }
}

fn address<T>(pointer: *const T) -> usize {
    pointer.expose_provenance()
}

/// Names the stage of an error.
trait At<T> {
    fn at(self, stage: Stage) -> Result<T, SpawnError>;
}

impl<T> At<T> for Result<T> {
    fn at(self, stage: Stage) -> Result<T, SpawnError> {
        self.map_err(|errno| SpawnError { stage, errno })
    }
}
