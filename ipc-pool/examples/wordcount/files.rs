//! Which files there are, and in which batches they are counted.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::text::{BLOCK, Part};

/// A batch has about this many bytes, or files: some milliseconds of work, so that a kill costs little, and
/// the longest file ends under chaos as well.
const BATCH_BYTES: u64 = BLOCK as u64;
const BATCH_FILES: usize = 256;

/// What lies below a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files of several batches, with their sizes.
    large: Vec<(PathBuf, u64)>,
    /// All others.
    small: Vec<Batch>,
    pub(crate) bytes: u64,
    /// What cannot be listed, and why.
    pub(crate) refused: Vec<(OsString, String)>,
}

/// What one task counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) parts: Vec<Part>,
    pub(crate) bytes: u64,
    pub(crate) place: Option<Place>,
}

/// The place of a batch that is one part of a large file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The number of the file. Its parts come one after the other.
    pub(crate) file: usize,
    pub(crate) is_last: bool,
}

impl Listing {
    /// Lists the regular files below `dir`, but for hidden directories: what lies there (`.git`, for one) is
    /// seldom what somebody wrote. Symbolic links are not followed, so there are no loops; pipes,
    /// sockets and devices are no files.
    ///
    /// # Errors
    ///
    /// Why `dir` itself cannot be read.
    pub(crate) fn below(dir: &Path) -> io::Result<Self> {
        let (mut listing, mut dirs) = (Self::default(), Vec::new());
        listing.enter(dir, &mut dirs)?;
        while let Some(dir) = dirs.pop() {
            if let Err(error) = listing.enter(&dir, &mut dirs) {
                listing.refused.push((dir.into(), error.to_string()));
            }
        }
        Ok(listing)
    }

    fn enter(&mut self, dir: &Path, dirs: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => {
                    if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                        dirs.push(entry.path());
                    }
                }
                Ok(metadata) if metadata.is_file() => self.add(entry.path(), metadata.len()),
                Ok(_) => {}
                Err(error) => self.refused.push((entry.path().into(), error.to_string())),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, size: u64) {
        self.bytes += size;
        if size > BATCH_BYTES {
            return self.large.push((path, size));
        }
        let is_full =
            |batch: &Batch| batch.bytes + size > BATCH_BYTES || batch.parts.len() == BATCH_FILES;
        if self.small.last().is_none_or(is_full) {
            self.small.push(Batch::default());
        }
        if let Some(batch) = self.small.last_mut() {
            batch.bytes += size;
            batch.parts.push(Part { path: path.into(), start: 0, end: None });
        }
    }

    /// All batches, the large files first: at the end the workers wait for each other, and small batches make
    /// that short.
    pub(crate) fn batches(&self) -> Batches<'_> {
        Batches { listing: self, file: 0, start: 0, small: self.small.iter() }
    }
}

/// See [`Listing::batches`].
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    listing: &'a Listing,
    /// The next part: of which large file, from where.
    file: usize,
    start: u64,
    small: core::slice::Iter<'a, Batch>,
}

impl Batches<'_> {
    /// Leaves out what is left of large file `file`, but for its last part; how many bytes that is.
    pub(crate) fn skip_rest(&mut self, file: usize) -> u64 {
        let size = self.listing.large.get(file).map_or(0, |(_, size)| *size);
        if self.file != file {
            return 0;
        }
        let start = (size - 1) / BATCH_BYTES * BATCH_BYTES;
        start - core::mem::replace(&mut self.start, start)
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let Some((path, size)) = self.listing.large.get(self.file) else {
            return self.small.next().cloned();
        };
        let (start, end) = (self.start, self.start + BATCH_BYTES);
        let place = Place { file: self.file, is_last: end >= *size };
        (self.file, self.start) = if place.is_last { (self.file + 1, 0) } else { (self.file, end) };
        let part = Part { path: path.into(), start, end: (!place.is_last).then_some(end) };
        Some(Batch { parts: vec![part], bytes: end.min(*size) - start, place: Some(place) })
    }
}
