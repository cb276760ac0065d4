//! The barrier of which one side is free, between two processes: that it is one, and that one is needed.
//!
//! Two processes store to a word each and then load the other's, again and again, at the same time as far as spinning
//! makes it so. Without barriers both may find what was there before, which is how a wake-up gets lost.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::os::asymmetric;
use ipc_core::process::fork_fn;
use ipc_testkit::cases::{self, seccomp};
use ipc_testkit::shared::Shared;

fn main() -> ExitCode {
    cases::run(&[
        ("one_of_two_sees_the_other", one_of_two_sees_the_other),
        ("refused_by_a_sandbox", refused_by_a_sandbox),
    ])
}

/// A word on a line of its own.
#[repr(align(128))]
struct Line(AtomicU32);

impl Line {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

/// By side, but for the last.
struct World {
    words: [Line; 2],
    /// What each has found in the other's word.
    found: [Line; 2],
    /// How often each has come to a meeting.
    met: [Line; 2],
    is_over: AtomicBool,
}

impl World {
    /// Both come here, and then both go on.
    fn meet(&self, side: usize) {
        let meeting = self.met[side].0.load(Ordering::Relaxed) + 1;
        self.met[side].0.store(meeting, Ordering::Release);
        let mut looks = 0;
        while self.met[1 - side].0.load(Ordering::Acquire) < meeting {
            looks += 1;
            // The other one may want this processor.
            if looks % 1000 == 0 {
                std::thread::yield_now();
            }
            core::hint::spin_loop();
        }
    }

    /// One round. `barrier` is the side's part of the pair.
    fn play(&self, side: usize, round: u32, barrier: fn()) {
        self.meet(side);
        self.words[side].0.store(round, Ordering::Relaxed);
        barrier();
        let found = self.words[1 - side].0.load(Ordering::Relaxed);
        self.found[side].0.store(found, Ordering::Relaxed);
        self.meet(side);
    }
}

/// In how many rounds neither side has seen the other, and of how many: as many as `time` has room for, or up to the first
/// such one.
fn missed(time: Duration, ours: fn(), theirs: fn(), first_only: bool) -> (u32, u32) {
    let world = Shared::new(World {
        words: [const { Line::new() }; 2],
        found: [const { Line::new() }; 2],
        met: [const { Line::new() }; 2],
        is_over: AtomicBool::new(false),
    });
    let world = world.expect("a page");
    let mut child = fork_fn(|| {
        assert!(asymmetric::register());
        for round in 1.. {
            world.play(1, round, theirs);
            if world.is_over.load(Ordering::Acquire) {
                break;
            }
            world.meet(1);
        }
        0
    })
    .unwrap();
    let (began, mut missed) = (Instant::now(), 0);
    for round in 1.. {
        world.meet(0);
        world.words[0].0.store(round, Ordering::Relaxed);
        ours();
        let found = world.words[1].0.load(Ordering::Relaxed);
        // The other one looks at this only after the round.
        world.is_over.store(began.elapsed() > time || first_only && missed > 0, Ordering::Release);
        world.meet(0);
        missed += u32::from(found != round && world.found[1].0.load(Ordering::Relaxed) != round);
        if world.is_over.load(Ordering::Relaxed) {
            assert!(child.wait().unwrap().success());
            return (missed, round);
        }
        world.meet(0);
    }
    unreachable!("it ends by the clock")
}

fn one_of_two_sees_the_other() {
    let nothing = || compiler_fence(Ordering::SeqCst);
    let (found, rounds) = missed(Duration::from_secs(20), nothing, asymmetric::light, true);
    println!("without the heavy side: missed {found} of {rounds}");
    if found == 0 {
        cases::skip("here both sides always see each other: the machine is too busy for this");
    }
    let heavy = || assert!(asymmetric::heavy());
    let (found, rounds) = missed(Duration::from_secs(2), heavy, asymmetric::light, false);
    println!("with it: missed {found} of {rounds}");
    assert_eq!(found, 0, "of {rounds}");
}

fn refused_by_a_sandbox() {
    seccomp::refuse_membarrier();
    assert!(!asymmetric::register());
    assert!(!asymmetric::heavy());
}
