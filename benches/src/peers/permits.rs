//! What is done with semaphores, for any semaphore: pairs alone, and permits that go to and fro.

use core::sync::atomic::{AtomicU64, Ordering::*};

use crate::subject::{Done, Ends, Slice, Subject, Wrong};
use crate::sys::place;
use crate::turns::{Handover, Turns};

/// A counting semaphore that needs nothing but its own memory.
pub trait Permits: Sync + Sized + 'static {
    /// The name in the report.
    const NAME: &'static str;

    /// A semaphore at its final place in shared memory, with so many permits.
    fn placed(permits: u32) -> &'static Self;

    /// Waits for a permit, and takes it.
    fn acquire(&self);

    /// Gives one back.
    fn release(&self);

    /// How many there are.
    fn available(&self) -> u32;
}

/// Take one and give it back, with nobody else near.
#[must_use]
pub fn alone<P: Permits>() -> Subject {
    Subject::processes(P::NAME, || {
        let permits = P::placed(1);
        Ends::alone(
            move |slice| {
                for _ in 0..slice.count {
                    permits.acquire();
                    permits.release();
                }
                Ok(Done { operations: slice.count, ..Done::default() })
            },
            move |_, _| match permits.available() {
                1 => Ok(()),
                other => Err(Wrong(format!("{other} permits, where there was one"))),
            },
        )
    })
}

/// One permit goes to and fro between two sides, each of which waits for the other's.
#[must_use]
pub fn to_and_fro<P: Permits>(handover: Handover) -> Subject {
    Subject::processes(P::NAME, move || {
        let permits = [P::placed(1), P::placed(0)];
        let trips: &'static AtomicU64 = place(AtomicU64::new(0));
        let [left, right] = Turns::both(handover);
        let side = move |which: usize, mut turns: Turns| {
            let mut expected = which as u64;
            move |slice: Slice| -> Result<Done, Wrong> {
                turns.begin(slice.count);
                for _ in 0..slice.count {
                    permits[which].acquire();
                    turns.taken();
                    let turn = trips.load(Relaxed);
                    if turn != expected {
                        return Err(Wrong(format!("turn {turn} where {expected} was due")));
                    }
                    trips.store(turn + 1, Relaxed);
                    expected += 2;
                    turns.give();
                    permits[1 - which].release();
                }
                Ok(turns.done(slice.count, 0))
            }
        };
        Ends::agreeing(side(0, left), side(1, right))
    })
}
