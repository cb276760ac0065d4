//! The limit of a file's size.

use rustix::process::{Resource, getrlimit};

use crate::{Errno, Result};

/// `EFBIG` if this process may not make a file of so many bytes (`RLIMIT_FSIZE`).
///
/// Whoever makes a file long asks first: beyond the limit the kernel would send SIGXFSZ, by which a
/// process ends unless it says otherwise. A file in memory counts, too.
pub fn check_file_size(bytes: u64) -> Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(most) if bytes > most => Err(Errno::FBIG),
        _ => Ok(()),
    }
}
