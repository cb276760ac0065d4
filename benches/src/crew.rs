//! [`Crew`]: several threads that are one side.

use core::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::subject::{Done, Wrong};

/// What a member does: so many operations.
pub(crate) type Job = Box<dyn FnMut(u64) -> Result<Done, Wrong> + Send>;

/// Threads that share out the work of a side. They are started in its first slice, so where the side runs, and the
/// calling thread is one of them.
pub(crate) struct Crew {
    members: usize,
    /// Makes the job of a member, in its thread.
    job: Arc<dyn Fn(usize) -> Job + Send + Sync>,
    own: Option<Job>,
    hands: Vec<Hand>,
}

/// Another thread.
struct Hand {
    orders: Sender<u64>,
    answers: Receiver<Result<Done, Wrong>>,
}

impl Crew {
    pub(crate) fn new(members: usize, job: impl Fn(usize) -> Job + Send + Sync + 'static) -> Self {
        Self { members, job: Arc::new(job), own: None, hands: Vec::new() }
    }

    /// Does `count` operations, which is a multiple of the number of members.
    pub(crate) fn work(&mut self, count: u64) -> Result<Done, Wrong> {
        let job = &self.job;
        let own = self.own.get_or_insert_with(|| job(0));
        if self.hands.is_empty() {
            self.hands =
                (1..self.members).map(|member| Hand::new(member, Arc::clone(job))).collect();
        }
        let share = count / self.members as u64;
        let gone = |_| Wrong("a member of the crew has ended".to_owned());
        for hand in &self.hands {
            hand.orders.send(share).map_err(|error| gone(error.0))?;
        }
        let mut total = own(share)?;
        for hand in &self.hands {
            let done = hand.answers.recv().map_err(|_| gone(0))??;
            total.operations += done.operations;
            total.checksum = total.checksum.wrapping_add(done.checksum);
        }
        Ok(total)
    }
}

impl Hand {
    fn new(member: usize, job: Arc<dyn Fn(usize) -> Job + Send + Sync>) -> Self {
        let ((orders, todo), (report, answers)) = (channel(), channel());
        thread::spawn(move || {
            let mut job = job(member);
            // Ends when the side does.
            for count in todo {
                if report.send(job(count)).is_err() {
                    return;
                }
            }
        });
        Self { orders, answers }
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("members", &self.members).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_shared_out() {
        let mut crew = Crew::new(4, |member| {
            let mut total = member as u64 * 100;
            Box::new(move |count| {
                total += count;
                Ok(Done { operations: count, checksum: total, ..Done::default() })
            })
        });
        let done = |operations, checksum| Ok(Done { operations, checksum, ..Done::default() });
        assert_eq!(crew.work(64), done(64, 600 + 64));
        assert_eq!(crew.work(128), done(128, 600 + 64 + 128));
    }

    #[test]
    fn one_who_ends_is_missed() {
        let mut crew = Crew::new(2, |member| {
            Box::new(move |_| match member {
                0 => Ok(Done::default()),
                _ => Err(Wrong("no".to_owned())),
            })
        });
        assert_eq!(crew.work(2), Err(Wrong("no".to_owned())));
        let mut crew = Crew::new(2, |member| {
            Box::new(move |_| {
                assert_eq!(member, 0, "a planted panic");
                Ok(Done::default())
            })
        });
        assert!(crew.work(2).is_err());
    }
}
