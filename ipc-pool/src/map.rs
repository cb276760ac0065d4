//! `map`: many items, sent in chunks, with the results in the order of the items.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use ipc_core::clock::Deadline;
use ipc_core::parcel::take_from_bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, Outcome, TaskId};
use crate::call;
use crate::error::{Error, PoolError, TaskError};

/// Chunks for each worker, so that one that is slow keeps the others waiting for a part of its share only.
const CHUNKS_EACH: usize = 8;
/// The most items of a chunk.
const LARGEST: usize = 1024;

pub(crate) fn map<A, R>(
    backend: &Arc<dyn Backend>,
    workers: usize,
    f: fn(A) -> R,
    items: impl Iterator<Item = A>,
) -> Result<Vec<R>, Error>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let (expected, _) = items.size_hint();
    let (fitting, limit) = backend.sizes();
    let mut running = Running { backend, chunks: VecDeque::new(), results: Vec::new() };
    running.results.reserve(expected);
    let start = call::of_many(f).map_err(PoolError::Function)?;
    let mut size = (expected / (workers * CHUNKS_EACH)).clamp(1, LARGEST);
    let mut chunk = Chunk::default();
    let mut item = Vec::new();
    for argument in items {
        item.clear();
        call::append(&argument, &mut item).map_err(|e| PoolError::Encode(e.to_string()))?;
        if item.len() > limit {
            return Err(PoolError::TooLarge { size: item.len(), limit }.into());
        }
        let length = start.len() + Chunk::MOST_COUNT + item.len();
        // A chunk travels without a detour, unless one item alone is larger than that.
        if chunk.count > 0 && length + chunk.items.len() > fitting {
            running.start(&start, &mut chunk)?;
        }
        chunk.items.append(&mut item);
        chunk.count += 1;
        if chunk.count as usize >= size {
            running.start(&start, &mut chunk)?;
            if expected == 0 {
                // Nobody knows how many there will be: begin with single ones, and grow.
                size = (size * 2).min(LARGEST / 16);
            }
        }
    }
    if chunk.count > 0 {
        running.start(&start, &mut chunk)?;
    }
    while running.finish_one(Deadline::FAR)? {}
    Ok(core::mem::take(&mut running.results))
}

/// Items that are sent together.
#[derive(Default)]
struct Chunk {
    count: u32,
    items: Vec<u8>,
}

impl Chunk {
    /// Bytes of a count in postcard's form, at most.
    const MOST_COUNT: usize = 5;
}

/// The chunks under way. When it is dropped early, those that have not begun are not run.
struct Running<'a, R> {
    backend: &'a Arc<dyn Backend>,
    /// In the order of the items: the task, and how many results it owes.
    chunks: VecDeque<(TaskId, u32)>,
    results: Vec<R>,
}

impl<R: DeserializeOwned> Running<'_, R> {
    fn start(&mut self, start: &[u8], chunk: &mut Chunk) -> Result<(), Error> {
        let mut call = start.to_vec();
        call::append(&chunk.count, &mut call).map_err(|e| PoolError::Encode(e.to_string()))?;
        call.append(&mut chunk.items);
        let room = self.backend.reserve()?;
        self.chunks.push_back((self.backend.commit(room, call), chunk.count));
        chunk.count = 0;
        // Results are read while the workers are busy with the rest.
        while self.chunks.len() > 1 && self.finish_one(Deadline::now())? {}
        Ok(())
    }

    /// Takes the results of the first chunk, if they come by `until`.
    fn finish_one(&mut self, until: Deadline) -> Result<bool, Error> {
        let Some(&(task, count)) = self.chunks.front() else { return Ok(false) };
        let Some(outcome) = self.backend.poll(task, until) else { return Ok(false) };
        self.chunks.pop_front();
        self.read(outcome, count)?;
        Ok(true)
    }

    fn read(&mut self, outcome: Outcome, count: u32) -> Result<(), TaskError> {
        let bytes = outcome?;
        let mut rest = bytes.as_slice();
        for _ in 0..count {
            let result;
            (result, rest) =
                take_from_bytes(rest).map_err(|error| TaskError::Decode(error.to_string()))?;
            self.results.push(result);
        }
        Ok(())
    }
}

impl<R> Drop for Running<'_, R> {
    fn drop(&mut self) {
        for &(task, _) in &self.chunks {
            self.backend.cancel(task);
        }
    }
}
