//! Is the calling thread the only one of its process?

use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{format, fs, io};

use rustix::thread::gettid;

use crate::{Errno, Result};

/// One entry for each thread of this process, named by its id.
const TASKS: &str = "/proc/self/task";

/// `PF_EXITING` of the kernel's `linux/sched.h`, as shown in the ninth field of `stat`: the thread has
/// left user space for good.
const PF_EXITING: u64 = 0x4;

/// Whether no thread but the calling one can run any more.
///
/// A thread that was joined may stand in `/proc` for a moment longer, on its way out of the kernel.
/// It must not count, or a program that joins its threads and then forks would now and then be
/// refused. So threads that are exiting are left aside, and a second list must show none that the
/// first did not: whoever is alive after it was started by a thread alive before it, and so on back
/// to one that the first look would have found running.
///
/// # Errors
///
/// What reading `/proc` says: mostly `ENOENT`, when it is not mounted.
pub(super) fn is_single_threaded() -> Result<bool> {
    let first = other_threads()?;
    for thread in &first {
        if !is_exiting(thread)? {
            return Ok(false);
        }
    }
    // The usual case: nobody else was there, and this thread starts nobody meanwhile.
    Ok(first.is_empty() || other_threads()?.iter().all(|thread| first.contains(thread)))
}

/// A list and not a set: a `HashSet` would draw this thread's hash seeds, and the children that a
/// zygote forks later would all have the same.
fn other_threads() -> Result<Vec<OsString>> {
    let own = format!("{}", gettid().as_raw_nonzero());
    let entries = fs::read_dir(TASKS).map_err(errno)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut threads: Vec<_> = names.collect::<io::Result<_>>().map_err(errno)?;
    threads.retain(|thread| *thread != *own);
    Ok(threads)
}

fn is_exiting(thread: &OsStr) -> Result<bool> {
    match fs::read(Path::new(TASKS).join(thread).join("stat")) {
        Ok(stat) => Ok(flags(&stat).ok_or(Errno::PROTO)? & PF_EXITING != 0),
        Err(error) => match errno(error) {
            // It has gone entirely.
            Errno::NOENT | Errno::SRCH => Ok(true),
            errno => Err(errno),
        },
    }
}

/// The field `flags` of a `stat` file. The thread's name before it may hold blanks and parentheses,
/// so fields are counted from the last parenthesis, after which state is the third.
fn flags(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = core::str::from_utf8(&stat[name_end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(9 - 3)?.parse().ok()
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_behind_any_name() {
        let stat = b"12 (a) R 1 (b c) S 1 12 12 0 -1 4194308 5 6 7";
        assert_eq!(flags(stat), Some(4_194_308));
        assert_eq!(flags(b"12 (a) S 1 12"), None);
        assert_eq!(flags(b""), None);
    }
}
