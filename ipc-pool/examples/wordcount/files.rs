//! Which files there are, and in which batches they are counted.

use std::fs;
use std::path::{Path, PathBuf};

/// A batch is this large at least, unless it is the last.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FILES: usize = 256;

/// What lies below a directory.
pub(crate) struct Listing {
    pub(crate) batches: Vec<Batch>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Directories that cannot be read, and why.
    pub(crate) refused: Vec<(PathBuf, String)>,
}

/// Files that one task counts.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) bytes: u64,
}

/// Lists the regular files below `dir`. Symbolic links are not followed.
pub(crate) fn below(dir: &Path) -> Result<Listing, String> {
    let named = |error: std::io::Error| format!("{}: {error}", dir.display());
    if !fs::metadata(dir).map_err(named)?.is_dir() {
        return Err(format!("{}: not a directory", dir.display()));
    }
    let mut listing = Listing { batches: Vec::new(), files: 0, bytes: 0, refused: Vec::new() };
    let (mut dirs, mut batch) = (vec![dir.to_owned()], Batch::default());
    while let Some(dir) = dirs.pop() {
        let entries = match fs::read_dir(&dir).and_then(|all| all.collect::<Result<Vec<_>, _>>()) {
            Ok(entries) => entries,
            Err(error) => {
                listing.refused.push((dir, error.to_string()));
                continue;
            }
        };
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                // A file that is gone by now is refused when it is read.
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                listing.files += 1;
                listing.bytes += size;
                batch.bytes += size;
                batch.paths.push(entry.path());
                if batch.bytes >= BATCH_BYTES || batch.paths.len() >= BATCH_FILES {
                    listing.batches.push(core::mem::take(&mut batch));
                }
            }
        }
    }
    if !batch.paths.is_empty() {
        listing.batches.push(batch);
    }
    Ok(listing)
}
