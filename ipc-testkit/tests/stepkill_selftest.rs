//! The harness on trial: what is safe must pass, with as many kill points as there are instructions; what is broken in
//! a way that only one pass can find must be found by that pass; and a suite must fail when it should.
//!
//! One process, one thread. The suites that must fail run in processes of their own, which are this binary again.

#![expect(unsafe_code, reason = "counted instructions")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::process::{Command, ExitCode};

use ipc_testkit::battery::locks;
use ipc_testkit::battery::rings;
use ipc_testkit::cases::seccomp::{When, answer};
#[cfg(target_env = "gnu")]
use ipc_testkit::controls::RobustMutex;
use ipc_testkit::controls::{DoubleFetch, Impatient, TwoTokens};
use ipc_testkit::ensure;
use ipc_testkit::stepkill::{self, Pass, Report, Scenario, Suite};

#[path = "selftest/lamport.rs"]
mod lamport;

use lamport::Lamport;

/// Chooses one of [`SHOULD_FAIL`], or [`UNTRACEABLE`], in a process of its own.
const INNER: &str = "STEPKILL_SELFTEST_INNER";

/// A suite whose process may not call ptrace.
const UNTRACEABLE: &str = "untraceable";

fn main() -> ExitCode {
    if let Ok(inner) = std::env::var(INNER) {
        if inner == UNTRACEABLE {
            let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
            answer(libc::SYS_ptrace, &When::NotEqual(0, u32::MAX), refuse);
            return stepkill::main(|suite| drop(suite.everywhere(&store())));
        }
        let (_, suite, _) =
            SHOULD_FAIL.iter().find(|(name, ..)| *name == inner).expect("a known suite");
        return stepkill::main(suite);
    }
    stepkill::main(|suite| {
        for (name, _, complaint) in SHOULD_FAIL {
            check_that_it_fails(name, complaint);
        }
        skips_where_it_cannot_trace();
        counts_exactly_the_instructions_of_the_operation(suite);
        kills_inside_a_sleep(suite);
        rings::run::<Lamport>(suite, "Lamport's queue");
        #[cfg(target_env = "gnu")]
        robust_mutex_up_to_its_fault(suite);
        two_deaths_are_more_than_one(suite);
        the_frozen_are_not_dead(suite);
        a_checked_value_is_read_once(suite);
    })
}

/// Ten instructions are eleven kill points: before each of them, and behind the last.
fn counts_exactly_the_instructions_of_the_operation(suite: &mut Suite) {
    let ten = plain("ten instructions").victim(|_, me| {
        // SAFETY: ten instructions that do nothing.
        me.operation(|| unsafe {
            core::arch::asm!("nop; nop; nop; nop; nop; nop; nop; nop; nop; nop")
        });
        Ok(())
    });
    let Some(report) = suite.everywhere(&ten) else { return };
    assert_counts(&report, 10, 11);
    let store = plain("one store").victim(|words, me| {
        me.operation(|| words[0].store(7, Ordering::Release));
        Ok(())
    });
    if let Some(report) = suite.everywhere(&store) {
        assert_counts(&report, 1, 2);
    }
    // A loop of a thousand turns: every one of its images, and far fewer kills where nothing shared changes.
    let spin = plain("a spin loop").prune_loops(3).victim(|words, me| {
        me.operation(|| while words[1].load(Ordering::Relaxed) < 1000 && spin_some(1000) {});
        Ok(())
    });
    if let Some(report) = suite.everywhere(&spin) {
        assert!(report.instructions > 2000, "{report}");
        assert!(report.kill_points < 100, "{report}");
    }
}

/// Two words, and survivors that find the first one 0 or 7.
fn plain(name: &str) -> Scenario<[AtomicU64; 2]> {
    Scenario::new(name, || [const { AtomicU64::new(0) }; 2]).survivors(2, |words, _| {
        let word = words[0].load(Ordering::Acquire);
        ensure!(word == 0 || word == 7, "torn: {word}");
        Ok(())
    })
}

/// Counts to `turns` without touching shared memory; `false`.
fn spin_some(turns: u32) -> bool {
    let mut i = 0;
    while i < turns {
        core::hint::spin_loop();
        i = core::hint::black_box(i + 1);
    }
    false
}

#[track_caller]
fn assert_counts(report: &Report, instructions: usize, kill_points: usize) {
    assert_eq!((report.instructions, report.kill_points), (instructions, kill_points), "{report}");
}

/// K10: a futex wait is three kill points: before it, asleep in it, and behind it.
fn kills_inside_a_sleep(suite: &mut Suite) {
    let sleeper = Scenario::new("sleeper", || AtomicU32::new(0))
        .victim(|word, me| {
            me.operation(|| wait_while_zero(word));
            Ok(())
        })
        .unblock(|word| {
            word.store(1, Ordering::Release);
            wake_all(word);
        })
        .waiters(3, |word, _| {
            wait_while_zero(word);
            Ok(())
        })
        .survivors(2, |word, _| {
            ensure!(word.load(Ordering::Acquire) == 1, "not unblocked");
            Ok(())
        })
        .at_least(5);
    if let Some(report) = suite.everywhere(&sleeper) {
        assert_eq!(report.blocked_points, 1, "{report}");
        assert_eq!(report.kill_points, report.instructions + 2, "{report}");
    }
    suite.images(&sleeper);
}

fn wait_while_zero(word: &AtomicU32) {
    while word.load(Ordering::Acquire) == 0 {
        // SAFETY: the word is a live futex, and there is no time-out.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, 0) };
    }
}

fn wake_all(word: &AtomicU32) {
    // SAFETY: the word is a live futex.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// K13: the death of an owner is told exactly once, also by the C library's mutex; only its wake-ups are lost (K14, among
/// the controls).
#[cfg(target_env = "gnu")]
fn robust_mutex_up_to_its_fault(suite: &mut Suite) {
    let name = "robust pthread mutex";
    suite.everywhere(&locks::lock_free::<RobustMutex>(name));
    suite.everywhere(&locks::lock::<RobustMutex>(name, 1));
    suite.everywhere(&locks::unlock::<RobustMutex>(name, 1));
    suite.everywhere(&locks::section::<RobustMutex>(name));
    suite.everywhere(&locks::lock_free::<RobustMutex>(name).leave_zombie());
    suite.pairs(&locks::lock_free::<RobustMutex>(name));
    suite.beside_frozen(&locks::try_lock::<RobustMutex>(name));
    // Without a newcomer the kernel makes up for the dead: the lock is free when it looks.
    suite.woken(&locks::wakeup_of_the_dead::<RobustMutex>(name, 1));
}

/// K05: what one death does not break, two deaths do, and only the pass of pairs finds it.
fn two_deaths_are_more_than_one(suite: &mut Suite) {
    let tokens = TwoTokens::scenario("two tokens");
    suite.everywhere(&tokens);
    suite.must_fail(Pass::Pairs, &tokens, 1);
}

/// K06, K24: a lock that takes a slow owner for a dead one is only found beside one that is frozen alive.
fn the_frozen_are_not_dead(suite: &mut Suite) {
    let lock = locks::try_lock::<Impatient>("impatient lock");
    suite.everywhere(&lock);
    suite.must_fail(Pass::BesideFrozen, &lock, 1);
}

/// H: what was checked and is read again can be something else by then; only an attack between the two reads shows that.
fn a_checked_value_is_read_once(suite: &mut Suite) {
    let once = DoubleFetch::scenario("one fetch", true).at_least(40);
    if let Some(report) = suite.hostile(&once) {
        // The length, and each of three items.
        assert_eq!(report.accesses, 4, "{report}");
    }
    suite.must_fail(Pass::Hostile, &DoubleFetch::scenario("double fetch", false), 2);
    let fill = rings::Fill { turned: 5, inside: 4 };
    suite.hostile(&rings::push::<Lamport>("Lamport's queue", fill).at_least(100));
    suite.hostile(&rings::pop_anything::<Lamport>("Lamport's queue", fill).at_least(100));
}

type Inner = (&'static str, fn(&mut Suite), &'static str);

/// Suites that must fail, and what they must say.
const SHOULD_FAIL: &[Inner] = &[
    ("a wedge", |suite| drop(suite.everywhere(&wedge())), "wedges, 0 other failures"),
    ("a bad verdict", |suite| drop(suite.everywhere(&bad_verdict())), "0 wedges, "),
    ("a panic", |suite| drop(suite.everywhere(&panic())), "panicked"),
    ("a crash", |suite| drop(suite.everywhere(&crash())), "stopped by signal 11"),
    (
        "too few kill points",
        |suite| drop(suite.everywhere(&store().at_least(9))),
        "expected at least 9",
    ),
    ("slow recovery", |suite| drop(suite.everywhere(&slow())), "the limit is 200ms"),
    (
        "a sound control",
        |suite| suite.must_fail(Pass::Everywhere, &store(), 1),
        "0 of at least 1 faulty",
    ),
    (
        "a waiter that does not wait",
        |suite| drop(suite.everywhere(&restless())),
        "does not sleep in a futex",
    ),
    (
        "an operation without end",
        |suite| drop(suite.everywhere(&endless())),
        "has not ended its operation",
    ),
    (
        "a round that hangs",
        |suite| drop(suite.everywhere(&hanging())),
        "busy with: one store [every instruction]",
    ),
    ("no scenario", |_| {}, "0 passed"),
];

fn check_that_it_fails(name: &str, complaint: &str) {
    let (code, said) = again(name, None);
    assert!(code.is_some_and(|code| code != 0), "a suite with {name} must fail by itself:\n{said}");
    assert!(said.contains(complaint), "a suite with {name} must say {complaint:?}:\n{said}");
    println!("a suite with {name} ... failed as it must");
}

/// Where a process may not be traced the suite is skipped, but not in continuous integration.
fn skips_where_it_cannot_trace() {
    let (code, said) = again(UNTRACEABLE, None);
    assert!(
        code == Some(0) && said.contains("SKIPPED: a child cannot be traced"),
        "{code:?}\n{said}"
    );
    let (code, said) = again(UNTRACEABLE, Some("true"));
    assert!(code == Some(1) && said.contains("a child cannot be traced"), "{code:?}\n{said}");
    println!("a suite without ptrace ... skipped, and failed in CI, as it must");
}

/// Runs this binary again; its exit code and all that it said.
fn again(inner: &str, ci: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(std::env::current_exe().expect("the path of this binary"));
    command.env(INNER, inner).env_remove("CI").envs(ci.map(|ci| ("CI", ci)));
    let output = command.output().expect("run this binary again");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn store() -> Scenario<[AtomicU64; 2]> {
    plain("one store").victim(|words, me| {
        me.operation(|| words[0].store(7, Ordering::Release));
        Ok(())
    })
}

fn wedge() -> Scenario<[AtomicU64; 2]> {
    store().patience(Duration::from_millis(50)).survivors(2, |words, _| {
        while words[0].load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        Ok(())
    })
}

fn bad_verdict() -> Scenario<[AtomicU64; 2]> {
    store().audit(|words, _| {
        ensure!(words[0].load(Ordering::Acquire) == 0, "seven");
        Ok(())
    })
}

fn panic() -> Scenario<[AtomicU64; 2]> {
    store().survivors(2, |_, _| panic!("on purpose"))
}

fn crash() -> Scenario<[AtomicU64; 2]> {
    store().victim(|_, me| {
        // SAFETY: none, on purpose: the victim must be seen to crash.
        me.operation(|| unsafe { core::ptr::null_mut::<u8>().write_volatile(1) });
        Ok(())
    })
}

fn slow() -> Scenario<[AtomicU64; 2]> {
    store().survivors(2, |_, me| {
        // Longer than the limit, shorter than the patience.
        std::thread::sleep(Duration::from_millis(250));
        me.succeeded();
        Ok(())
    })
}

/// As if the watchdog's time were over in the middle of a round.
fn hanging() -> Scenario<[AtomicU64; 2]> {
    store().setup(|_| {
        // SAFETY: the watchdog's own signal.
        unsafe { libc::raise(libc::SIGALRM) };
    })
}

fn restless() -> Scenario<[AtomicU64; 2]> {
    store().waiters(1, |_, _| Ok(()))
}

fn endless() -> Scenario<[AtomicU64; 2]> {
    store().longest(500).victim(|words, me| {
        me.operation(|| while words[0].load(Ordering::Acquire) == 0 {});
        Ok(())
    })
}
