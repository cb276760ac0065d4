//! This process's environment, handed on as it stands.
//!
//! To copy it takes more than a tenth of the time in which the process is made: std gives each
//! variable in two allocations. The kernel could as well read the original, as it does for
//! `posix_spawn`. But another thread may change that meanwhile, by `std::env::set_var` behind std's
//! lock or by `setenv` behind libc's: the kernel would then read what was freed. So it is done
//! where there is no other thread, and a copy is made in all other processes.
//!
//! # Safety
//!
//! The C library's `__libc_single_threaded` (glibc 2.32) is a `char` that lives as long as the
//! program. It is cleared before a thread makes another, so whoever reads it set is alone, and
//! stays so until it makes a thread itself. While alone, nobody else writes to `environ`.
#![expect(unsafe_code, reason = "variables of the C library")]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::env;
use std::ffi::{OsStr, OsString};

use super::environment::is_path;

/// The environment of a process that has one thread.
///
/// It is as long as this thread neither makes another nor changes the environment, and is meant to
/// be used up by the function that asked for it.
#[derive(Debug)]
pub(super) struct OwnEnvironment {
    block: *const *const c_char,
}

static_assertions::assert_not_impl_any!(OwnEnvironment: Send, Sync, Clone);

unsafe extern "C" {
    static environ: AtomicPtr<*const c_char>;
}

impl OwnEnvironment {
    /// `None` unless the calling thread is known to be the only one.
    pub(super) fn if_alone() -> Option<Self> {
        if !is_alone() {
            return None;
        }
        // SAFETY: a variable of the C library, and no other thread could be writing to it.
        let environment = unsafe { &environ };
        Some(Self { block: environment.load(Ordering::Relaxed) })
    }

    /// The `PATH` in which this program is looked up, if it is.
    pub(super) fn path_for(&self, program: &OsStr) -> Option<OsString> {
        if is_path(program) { None } else { env::var_os("PATH") }
    }

    /// What `execve` takes. Null, which it takes for an empty list, after `clearenv`.
    pub(super) const fn as_ptr(&self) -> *const *const c_char {
        self.block
    }
}

fn is_alone() -> bool {
    let flag = FLAG.load(Ordering::Relaxed);
    let flag = if flag.is_null() { find_flag() } else { flag };
    // SAFETY: either the C library's variable, or ours.
    unsafe { flag.as_ref() }.is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
}

/// Where the C library says whether there is one thread; null until it was looked for.
static FLAG: AtomicPtr<AtomicU8> = AtomicPtr::new(ptr::null_mut());
/// Stands in where it does not say.
static NOT_KNOWN: AtomicU8 = AtomicU8::new(0);

/// Looked up by name, because older libraries and other ones have no such variable. Two threads may
/// both look, and find the same.
#[cold]
fn find_flag() -> *mut AtomicU8 {
    const NAME: &CStr = c"__libc_single_threaded";

    // SAFETY: a name that ends with zero.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr()) };
    let flag = if found.is_null() { (&raw const NOT_KNOWN).cast_mut() } else { found.cast() };
    FLAG.store(flag, Ordering::Relaxed);
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_alone_beside_a_thread() {
        // The test's own thread is the other one.
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(OwnEnvironment::if_alone().is_none()));
        });
    }
}
