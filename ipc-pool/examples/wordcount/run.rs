//! Has all files counted, and adds up.

extern crate alloc;

use alloc::collections::VecDeque;
use core::error::Error;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use ipc_pool::Pool;

use crate::files::{Listing, Place};
use crate::words::{Count, Packed};

/// What a run has counted.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) total: Count,
    /// Files by worker.
    pub(crate) files: Vec<u64>,
    /// What the parts of a large file came to so far, and who counted the first.
    large: Option<(Option<usize>, Count)>,
}

impl Run {
    pub(crate) fn of(pool: &Pool, listing: &Listing) -> Result<Self, Box<dyn Error>> {
        let workers = pool.stats().len();
        let mut run = Self { files: vec![0; workers], ..Self::default() };
        run.total.refused.clone_from(&listing.refused);
        let bar = progress(listing.bytes);
        let mut batches = listing.batches();
        // As many as keep the workers busy: results come in while the later ones are counted.
        let mut tickets = VecDeque::with_capacity(4 * workers);
        loop {
            if tickets.len() < 4 * workers {
                if let Some(batch) = batches.next() {
                    let ticket = pool.submit(Count::of, batch.parts)?;
                    tickets.push_back((ticket, batch.bytes, batch.place));
                    continue;
                }
            }
            let Some((ticket, bytes, place)) = tickets.pop_front() else { break };
            let count = ticket.wait()?;
            bar.inc(bytes);
            match place {
                None => run.add(&count),
                Some(place) if run.add_part(&count, place) => {}
                Some(place) => bar.inc(batches.skip_rest(place.file)),
            }
        }
        run.total.refused.sort();
        Ok(run)
    }

    fn add(&mut self, count: &Packed) {
        if let Some(files) = count.worker.and_then(|worker| self.files.get_mut(worker)) {
            *files += count.files;
        }
        self.total.add(count);
    }

    /// Adds a part of a large file, all of which counts or nothing; whether it may still count.
    fn add_part(&mut self, part: &Packed, place: Place) -> bool {
        let (worker, mut file) = self.large.take().unwrap_or((part.worker, Count::default()));
        file.add(part);
        let is_good = file.refused.is_empty();
        if !is_good {
            // Once is enough.
            file.refused.truncate(1);
            file = Count { refused: file.refused, ..Count::default() };
        }
        if place.is_last {
            let mut file = file.pack();
            file.worker = worker;
            self.add(&file);
        } else {
            self.large = Some((worker, file));
        }
        is_good
    }
}

/// A bar on standard error, if that is a terminal; it goes away when it is dropped.
fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_finish(ProgressFinish::AndClear);
    let style =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    // Without the style it would be a plain bar.
    let bar = if let Ok(style) = style { bar.with_style(style) } else { bar };
    bar.tick();
    bar
}
