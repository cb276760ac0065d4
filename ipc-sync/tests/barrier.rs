//! `Barrier` between the threads of one process.

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use core::time::Duration;
use std::panic::{catch_unwind, resume_unwind};
use std::thread;
use std::time::Instant;

use ipc_sync::{Barrier, BarrierError, BarrierMember, Breach, Deadline};
use ipc_testkit::watchdog::watch;

fn broken<T>(breach: Breach) -> Result<T, BarrierError> {
    Err(BarrierError::Broken(breach))
}

/// A barrier and all its members.
fn joined<const N: usize>(barrier: &Barrier<N>) -> Vec<BarrierMember<'_>> {
    watch();
    (0..barrier.parties()).map(|_| barrier.join().unwrap()).collect()
}

/// Lets the members wait in threads, and calls `then` when they do.
fn while_waiting<R: Send>(
    barrier: &Barrier<4>,
    members: &mut [BarrierMember<'_>],
    wait: fn(&mut BarrierMember<'_>) -> R,
    then: impl FnOnce(),
) -> Vec<R> {
    let expected = members.len() as u32;
    thread::scope(|scope| {
        let threads: Vec<_> =
            members.iter_mut().map(|member| scope.spawn(move || wait(member))).collect();
        while barrier.waiting() != expected {
            thread::yield_now();
        }
        then();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn all_get_through_with_an_index_each() {
    const TURNS: usize = if cfg!(miri) { 5 } else { 2_000 };
    let barrier: Barrier<4> = Barrier::new(4);
    let through = AtomicU32::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = joined(&barrier)
            .into_iter()
            .map(|mut member| {
                let through = &through;
                scope.spawn(move || {
                    let results: Vec<_> = (0..TURNS)
                        .map(|turn| {
                            let result = member.wait().unwrap();
                            let before = through.fetch_add(1, SeqCst) as usize;
                            // All had come to this turn, and nobody can leave the next one yet.
                            assert!(
                                (4 * turn..4 * (turn + 1)).contains(&before),
                                "{before} in {turn}"
                            );
                            member.wait().unwrap();
                            result
                        })
                        .collect();
                    results
                })
            })
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for turn in 0..TURNS {
            let mut indices: Vec<_> = results.iter().map(|member| member[turn].index()).collect();
            indices.sort_unstable();
            assert_eq!(indices, [0, 1, 2, 3]);
            for member in &results {
                assert_eq!(member[turn].is_leader(), member[turn].index() == 3);
            }
        }
    });
}

#[test]
fn fewer_parties_than_places() {
    let barrier: Barrier<32> = Barrier::new(2);
    let mut members = joined(&barrier);
    assert_eq!((barrier.parties(), barrier.members()), (2, 2));
    assert_eq!(barrier.join().unwrap_err(), BarrierError::Full);
    assert_eq!(members[0].try_wait(), Err(BarrierError::WouldBlock));
    thread::scope(|scope| {
        let (one, other) = members.split_at_mut(1);
        scope.spawn(|| one[0].wait().unwrap());
        other[0].wait().unwrap();
    });
}

#[test]
fn all_32_places() {
    let barrier: Barrier<32> = Barrier::new(32);
    let members = joined(&barrier);
    assert_eq!(barrier.join().unwrap_err(), BarrierError::Full);
    let indices: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = members
            .into_iter()
            .map(|mut member| {
                scope.spawn(move || {
                    let result = member.wait().unwrap();
                    member.leave();
                    result.index()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let seen = indices.iter().fold(0_u32, |seen, index| seen | 1 << index);
    assert_eq!(seen, u32::MAX);
    assert!(!barrier.is_broken() && barrier.members() == 0);
}

#[test]
fn a_time_out_breaks_it_for_all() {
    let barrier: Barrier<4> = Barrier::new(4);
    let mut members = joined(&barrier);
    let mut late = members.pop().unwrap();
    let (impatient, others) = members.split_first_mut().unwrap();
    let results = while_waiting(
        &barrier,
        others,
        |member| member.wait(),
        || {
            let began = Instant::now();
            let timeout = Duration::from_millis(20);
            assert_eq!(impatient.wait_timeout(timeout), Err(BarrierError::TimedOut));
            assert!(began.elapsed() >= timeout);
        },
    );
    assert_eq!(results, [broken(Breach::TimedOut), broken(Breach::TimedOut)]);
    assert_eq!(late.wait(), broken(Breach::TimedOut));
    assert_eq!(late.wait_deadline(Deadline::now()), broken(Breach::TimedOut));
    assert_eq!(impatient.wait(), broken(Breach::TimedOut));
}

#[test]
fn the_last_one_opens_it_however_late_it_is() {
    let barrier: Barrier<4> = Barrier::new(2);
    let mut members = joined(&barrier);
    let mut last = members.pop().unwrap();
    let results = while_waiting(
        &barrier,
        &mut members,
        |member| member.wait(),
        || {
            assert!(last.wait_deadline(Deadline::now()).unwrap().is_leader());
        },
    );
    assert!(!results[0].unwrap().is_leader());
}

#[test]
fn abort_ends_all_waits_until_the_reset() {
    let barrier: Barrier<4> = Barrier::new(4);
    let mut members = joined(&barrier);
    let wait: fn(&mut BarrierMember<'_>) -> _ = |member| member.wait();
    let results = while_waiting(&barrier, &mut members[..3], wait, || barrier.abort());
    assert_eq!(results, [broken(Breach::Aborted); 3]);
    assert_eq!(members[3].wait(), broken(Breach::Aborted));
    assert_eq!(members[3].try_wait(), broken(Breach::Aborted));
    barrier.abort();
    assert!(barrier.is_broken() && barrier.waiting() == 0);
    barrier.reset();
    assert!(!barrier.is_broken() && barrier.members() == 4);
    let last = members.pop().unwrap();
    thread::scope(|scope| {
        let mut last = last;
        members.iter_mut().for_each(|member| _ = scope.spawn(|| member.wait().unwrap()));
        last.wait().unwrap();
        last.leave();
    });
}

#[test]
fn reset_ends_all_waits_and_no_later_ones() {
    let barrier: Barrier<4> = Barrier::new(3);
    let mut members = joined(&barrier);
    let wait: fn(&mut BarrierMember<'_>) -> _ = |member| member.wait();
    for _ in 0..50 {
        let results = while_waiting(&barrier, &mut members[..2], wait, || barrier.reset());
        assert_eq!(results, [broken(Breach::Reset); 2]);
        assert!(!barrier.is_broken());
    }
    thread::scope(|scope| {
        members.iter_mut().for_each(|member| _ = scope.spawn(|| member.wait().unwrap()));
    });
}

#[test]
fn the_last_runs_its_action_before_anybody_is_through() {
    const TURNS: u32 = if cfg!(miri) { 5 } else { 1_000 };
    let barrier: Barrier<4> = Barrier::new(4);
    let actions = AtomicU32::new(0);
    thread::scope(|scope| {
        for mut member in joined(&barrier) {
            let actions = &actions;
            scope.spawn(move || {
                for turn in 1..=TURNS {
                    let mut acted = false;
                    let result = member.wait_with(|| {
                        acted = true;
                        actions.fetch_add(1, SeqCst);
                    });
                    assert_eq!(result.unwrap().is_leader(), acted);
                    assert_eq!(actions.load(SeqCst), turn);
                    // Whoever is ahead waits here.
                    member.wait().unwrap();
                }
            });
        }
    });
}

#[test]
fn an_action_that_panics_breaks_it() {
    let barrier: Barrier<4> = Barrier::new(2);
    let mut members = joined(&barrier);
    let mut last = members.pop().unwrap();
    let results = while_waiting(
        &barrier,
        &mut members,
        |member| member.wait(),
        || {
            let wait = || last.wait_with(|| resume_unwind(Box::new("on purpose")));
            catch_unwind(AssertUnwindSafe(wait)).unwrap_err();
        },
    );
    assert_eq!(results, [broken(Breach::Panicked)]);
    assert_eq!(last.wait(), broken(Breach::Panicked));
}

#[test]
fn a_reset_during_the_action_is_told_to_its_member() {
    let barrier: Barrier<1> = Barrier::new(1);
    let mut alone = barrier.join().unwrap();
    assert_eq!(alone.wait_with(|| barrier.reset()), broken(Breach::Reset));
    assert_eq!(alone.wait_with(|| barrier.abort()), broken(Breach::Aborted));
    barrier.reset();
    assert!(alone.wait_with(|| {}).is_ok());
}

#[test]
fn a_member_that_is_dropped_breaks_it() {
    let barrier: Barrier<4> = Barrier::new(4);
    let mut members = joined(&barrier);
    let leaver = members.pop().unwrap();
    let results = while_waiting(&barrier, &mut members, |member| member.wait(), || drop(leaver));
    assert_eq!(results, [broken(Breach::Left); 3]);
    assert_eq!(barrier.join().unwrap_err(), BarrierError::Broken(Breach::Left));
    // Until all have left.
    members.clear();
    assert!(barrier.is_broken() && barrier.members() == 0);
    assert_eq!(joined(&barrier).len(), 4);
}

#[test]
fn a_member_that_panics_breaks_it() {
    let barrier: Barrier<4> = Barrier::new(2);
    let mut members = joined(&barrier);
    let leaver = members.pop().unwrap();
    let results = while_waiting(
        &barrier,
        &mut members,
        |member| member.wait(),
        || {
            let work = || {
                let _member = leaver;
                resume_unwind(Box::new("on purpose"))
            };
            catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        },
    );
    assert_eq!(results, [broken(Breach::Left)]);
}

#[test]
fn whoever_left_after_the_opening_broke_nothing_for_those_who_wait() {
    const TURNS: u32 = if cfg!(miri) { 5 } else { 1_000 };
    for _ in 0..TURNS {
        let barrier: Barrier<2> = Barrier::new(2);
        thread::scope(|scope| {
            for mut member in joined(&barrier) {
                scope.spawn(move || member.wait().unwrap());
            }
        });
    }
}

#[test]
fn a_place_that_is_left_waits_for_the_next() {
    let barrier: Barrier<4> = Barrier::new(2);
    let mut members = joined(&barrier);
    let leaver = members.pop().unwrap();
    let results = while_waiting(
        &barrier,
        &mut members,
        |member| member.wait(),
        || {
            leaver.leave();
            assert!(!barrier.is_broken());
            assert_eq!((barrier.members(), barrier.waiting()), (1, 1));
            let mut next = barrier.join().unwrap();
            assert_eq!(next.wait().unwrap().index(), 1);
            core::mem::forget(next);
        },
    );
    assert_eq!(results[0].unwrap().index(), 0);
}

#[test]
fn zeroed_memory_has_as_many_parties_as_places() {
    let words = [const { AtomicU64::new(0) }; 3 + 4];
    let barrier = found_in(&words);
    assert_eq!((barrier.parties(), barrier.members(), barrier.is_broken()), (4, 0, false));
    thread::scope(|scope| {
        joined(barrier)
            .into_iter()
            .for_each(|mut member| _ = scope.spawn(move || member.wait().unwrap()));
    });
}

/// Nothing but errors and time-outs comes of words that nobody has written.
#[test]
fn garbage_is_borne() {
    watch();
    let patterns = [1, 1 << 31, 1 << 32, 7 << 60, 1 << 63, 0x9000_0000_0000_0000, u64::MAX];
    let own = ipc_sync::ProcessId::current().unwrap().to_bits();
    for at in 0..3 + 4 {
        for pattern in patterns.into_iter().chain([own, own | 1 << 63, own ^ 1 << 30]) {
            let words = [const { AtomicU64::new(0) }; 3 + 4];
            let barrier = found_in(&words);
            let early = barrier.join();
            words[at].store(pattern, SeqCst);
            let late = barrier.join();
            for mut member in [early, late].into_iter().flatten() {
                let _ = member.try_wait();
                let _ = member.wait_with_deadline(Deadline::now(), || {});
            }
            let _ = format!("{barrier:?} {} {}", barrier.waiting(), barrier.members());
            barrier.abort();
            barrier.reset();
            assert!(!barrier.is_broken(), "word {at} = {pattern:#x}");
        }
    }
}

/// # Safety
///
/// The words are as many and as aligned as those of the barrier, and every pattern of them is one.
#[expect(unsafe_code, reason = "a barrier is found in memory, as in any mapping")]
fn found_in(words: &[AtomicU64; 3 + 4]) -> &Barrier<4> {
    const _: () = assert!(size_of::<Barrier<4>>() == 8 * (3 + 4));
    // SAFETY: see above; the memory is all atomic.
    unsafe { &*words.as_ptr().cast::<Barrier<4>>() }
}

#[test]
#[should_panic(expected = "1 to N parties")]
fn no_parties_are_refused() {
    let _ = Barrier::<4>::new(0);
}

#[test]
#[should_panic(expected = "1 to N parties")]
fn more_parties_than_places_are_refused() {
    let _ = Barrier::<4>::new(5);
}
