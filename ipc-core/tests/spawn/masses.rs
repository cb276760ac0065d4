//! Many: spawns, threads, signals, bytes.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{Signal, Spawn, Stage};
use ipc_testkit::cases::signals::{interrupt_every, on_signal};
use ipc_testkit::cases::{doing, no_children, open_fds};
use rustix::process::{getpid, kill_current_process_group};

use crate::tools::{error_of, refuse_clone3, succeeds};

/// The process whose handlers may run, and how often others ran them.
static OWNER: AtomicUsize = AtomicUsize::new(0);
static RUNS: AtomicUsize = AtomicUsize::new(0);
static STRANGE_RUNS: AtomicUsize = AtomicUsize::new(0);

fn own_pid() -> usize {
    getpid().as_raw_nonzero().get() as usize
}

extern "C" fn count(_: i32) {
    RUNS.fetch_add(1, SeqCst);
    // The memory may be shared by a child, and the process id never is.
    if own_pid() != OWNER.load(SeqCst) {
        STRANGE_RUNS.fetch_add(1, SeqCst);
    }
}

fn handle(signal: Signal) {
    OWNER.store(own_pid(), SeqCst);
    on_signal(signal.as_raw(), count as *const () as libc::sighandler_t, 0);
}

fn works() {
    assert!(succeeds(&Spawn::new("/bin/true")));
    let error = error_of(&Spawn::new("/no/such/program"));
    assert_eq!((error.stage, error.errno), (Stage::Exec, Errno::NOENT));
}

/// Nothing is interrupted, and every signal is taken, here.
pub(crate) fn signals() {
    handle(Signal::ALARM);
    interrupt_every(50);
    for _ in 0..300 {
        doing("spawning among signals");
        works();
    }
    interrupt_every(0);
    assert!(RUNS.load(SeqCst) > 100, "{} signals", RUNS.load(SeqCst));
    assert_eq!(STRANGE_RUNS.load(SeqCst), 0);
}

/// F09: signals for the whole group hit children between their mask and their `exec`, and a handler
/// of this process would run there on this process's memory.
pub(crate) fn f09_handlers() {
    static STOP: AtomicBool = AtomicBool::new(false);
    // By default it is ignored, so a program lives through it.
    handle(Signal::URG);
    let storm = std::thread::spawn(|| {
        while !STOP.load(SeqCst) {
            kill_current_process_group(Signal::URG).expect("kill");
        }
    });
    for _ in 0..300 {
        doing("spawning among signals for the group");
        works();
    }
    STOP.store(true, SeqCst);
    storm.join().expect("the storm");
    assert!(RUNS.load(SeqCst) > 100, "{} signals", RUNS.load(SeqCst));
    assert_eq!(STRANGE_RUNS.load(SeqCst), 0, "a handler ran in a child");
}

pub(crate) fn f09_handlers_of_clone() {
    refuse_clone3(libc::ENOSYS);
    f09_handlers();
}

/// F05: none of the locks that these threads hold matters.
pub(crate) fn f05_allocating_threads() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let busy: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                while !STOP.load(SeqCst) {
                    kept.push(vec![number; 1 + kept.len() * 37 % 5000]);
                    assert!(kept.iter().all(|some| some[0] == number), "memory was changed");
                    if kept.len() > 50 {
                        kept.clear();
                    }
                }
            })
        })
        .collect();
    let canary = [0x5a_u8; 4096];
    let mut rounds = Rounds::up_to(300);
    while rounds.next() {
        doing("spawning beside eight threads that allocate");
        works();
        // F09: the child used this stack.
        assert_eq!(core::hint::black_box(&canary), &[0x5a; 4096]);
    }
    STOP.store(true, SeqCst);
    busy.into_iter().for_each(|thread| thread.join().expect("a busy thread"));
}

/// As many rounds as this, or as a loaded machine does within the time of a case; a hundred at
/// least.
struct Rounds {
    done: usize,
    most: usize,
    began: Instant,
}

impl Rounds {
    fn up_to(most: usize) -> Self {
        Self { done: 0, most, began: Instant::now() }
    }

    fn next(&mut self) -> bool {
        let goes_on = self.done < self.most
            && (self.done < 100 || self.began.elapsed() < Duration::from_secs(30));
        if !goes_on {
            println!("{} rounds", self.done);
        }
        self.done += usize::from(goes_on);
        goes_on
    }
}

fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count()
}

pub(crate) fn ten_thousand() {
    works();
    let before = (open_fds(), maps());
    let program = Spawn::new("/bin/true").prepare().expect("prepare");
    let mut rounds = Rounds::up_to(10_000);
    while rounds.next() {
        doing("one of ten thousand spawns");
        let mut child = program.spawn().expect("spawn");
        if rounds.done % 2 == 0 {
            assert!(child.wait().expect("wait").success());
        } else {
            // Dropped when it has ended.
            ipc_testkit::cases::events::await_exit(&child);
        }
    }
    assert!(no_children());
    assert_eq!((open_fds(), maps()), before);
}

/// How many pages this process had to be given, or given back for writing.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    fields.split(' ').nth(10 - 3).expect("minflt").parse().expect("a number")
}

/// After a copy every page would have to be given back for writing, one by one or in huge pieces.
pub(crate) fn large_parent() {
    let mut memory = vec![0_u8; 256 << 20];
    let mut write = || {
        let before = faults();
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = byte.wrapping_add(1));
        core::hint::black_box(&mut memory);
        faults() - before
    };
    write();
    let idle = write();
    for missing in [false, true] {
        if missing {
            refuse_clone3(libc::ENOSYS);
        }
        works();
        let given_back = write();
        assert!(given_back < idle + 50, "{given_back} pages, and {idle} without a spawn");
    }
}
