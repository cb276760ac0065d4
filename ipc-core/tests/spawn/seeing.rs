//! What a program starts with, as the kernel shows it from outside.

use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ipc_core::process::{Resource, Rlimit, Signal, SignalSet, Spawn};
use ipc_testkit::cases::doing;
use ipc_testkit::cases::signals::on_signal;
use rustix::process::{getpgid, getpid, getsid};

use crate::tools::{Held, block, cat, field, ignore, refuse_clone3};

/// Blocked, ignored and caught signals of a program.
fn signals_of(cat: &Spawn<'_>) -> [SignalSet; 3] {
    let held = Held::start(cat.clone());
    let sets = ["SigBlk", "SigIgn", "SigCgt"].map(|key| {
        SignalSet::from_bits(u64::from_str_radix(&held.status(key), 16).expect("a number"))
    });
    held.end();
    sets
}

const NONE: SignalSet = SignalSet::EMPTY;

pub(crate) fn signals() {
    extern "C" fn handler(_: i32) {}
    ignore(Signal::HUP);
    ignore(Signal::PIPE);
    for signal in [Signal::USR1, Signal::TERM, Signal::CHILD] {
        on_signal(signal.as_raw(), handler as *const () as libc::sighandler_t, 0);
    }
    on_signal(libc::SIGRTMAX(), handler as *const () as libc::sighandler_t, 0);
    let mine = [Signal::INT, Signal::USR2];
    block(&mine);
    // In the parent's three ways of making a child, the last without `clone3`.
    // Beside this, what this process was started with.
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let kept = u64::from_str_radix(&field(&status, "SigIgn"), 16).expect("a number");
    let kept = SignalSet::from_bits(kept).without(Signal::PIPE);
    assert!(kept.contains(Signal::HUP));
    for refused in [false, true] {
        if refused {
            refuse_clone3(libc::ENOSYS);
        }
        assert_eq!(signals_of(&cat()), [NONE, kept, NONE]);
        assert_eq!(signals_of(cat().default_signals(SignalSet::ALL)), [NONE; 3]);
        let none = signals_of(cat().default_signals(NONE));
        assert_eq!(none, [NONE, kept.with(Signal::PIPE), NONE]);

        let mask = SignalSet::from_bits(1 << 63).with(Signal::TERM);
        assert_eq!(signals_of(cat().signal_mask(mask)), [mask, kept, NONE]);
        // The kernel leaves two out of any mask, and libc's own are left out.
        let all = SignalSet::ALL.without(Signal::KILL).without(Signal::STOP);
        let libcs = if cfg!(target_env = "musl") { 0b111 << 31 } else { 0b11 << 31 };
        let all = SignalSet::from_bits(all.bits() & !libcs);
        assert_eq!(signals_of(cat().signal_mask(SignalSet::ALL)), [all, kept, NONE]);
        let inherited = signals_of(cat().inherit_signal_mask());
        assert_eq!(inherited, [SignalSet::from_iter(mine), kept, NONE]);

        let ignored = SignalSet::from(Signal::QUIT).with(Signal::PIPE).with(Signal::USR1);
        let sets = signals_of(cat().ignore_signals(ignored));
        let both = SignalSet::from_bits(ignored.bits() | kept.bits());
        assert_eq!(sets, [NONE, both, NONE]);
        let sets = signals_of(cat().ignore_signals(ignored).default_signals(SignalSet::ALL));
        assert_eq!(sets, [NONE, ignored, NONE], "ignored goes before default");
    }
}

/// Resident files of `/proc` that tell what a process has.
fn limits(held: &Held, name: &str) -> Vec<String> {
    let limits = String::from_utf8(held.proc("limits")).expect("text");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

pub(crate) fn attributes() {
    let own = rustix::thread::sched_getaffinity(None).expect("processors");
    let first = (0..).find(|&processor| own.is_set(processor)).expect("one processor");
    let mut cat = cat();
    cat.current_dir("/usr")
        .umask(0o123)
        .nice(7)
        .cpu_affinity([first, 4000])
        .rlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })
        .rlimit(Resource::Core, Rlimit { current: Some(5), maximum: Some(7) })
        .rlimit(Resource::Nofile, Rlimit { current: Some(32), maximum: Some(64) });

    let mut leader = cat.clone();
    leader.new_session();
    let leader = Held::start(leader);
    let pid = i64::from(leader.pid());
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).expect("/proc").as_os_str(), "/usr");
    assert_eq!(leader.status("Umask"), "0123");
    assert_eq!(leader.stat(19), 7, "nice");
    assert_eq!(leader.status("Cpus_allowed_list"), first.to_string());
    assert_eq!(limits(&leader, "Max core file size"), ["5", "7"]);
    assert_eq!(limits(&leader, "Max open files"), ["32", "64"]);
    assert_eq!((leader.stat(5), leader.stat(6)), (pid, pid), "group and session");
    leader.end();

    let mut first = cat.clone();
    first.new_process_group();
    let first = Held::start(first);
    let pid = i64::from(first.pid());
    let session = i64::from(getsid(None).expect("getsid").as_raw_nonzero().get());
    assert_eq!((first.stat(5), first.stat(6)), (pid, session));
    let mut second = cat.clone();
    second.process_group(ipc_core::process::Pid::from_raw(first.pid()).expect("a pid"));
    let second = Held::start(second);
    assert_eq!((second.stat(5), second.stat(6)), (pid, session));
    second.end();
    first.end();
    let plain = Held::start(cat);
    let group = i64::from(getpgid(None).expect("getpgid").as_raw_nonzero().get());
    assert_eq!((plain.stat(5), plain.stat(6)), (group, session));
    assert_eq!(plain.stat(4), i64::from(getpid().as_raw_nonzero().get()), "the parent");
    plain.end();
}

fn variables(held: &Held) -> BTreeSet<String> {
    let bytes = held.proc("environ");
    let variables = bytes.split(|&byte| byte == 0).filter(|variable| !variable.is_empty());
    let list: Vec<_> = variables.map(String::from_utf8_lossy).map(Cow::into_owned).collect();
    let set: BTreeSet<_> = list.iter().cloned().collect();
    assert_eq!(set.len(), list.len(), "each variable once: {list:?}");
    set
}

fn own_variables() -> BTreeSet<String> {
    std::env::vars_os()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect()
}

pub(crate) fn strings() {
    let own = own_variables();
    assert!(own.len() > 1, "an environment");
    let plain = Held::start(cat());
    assert_eq!(variables(&plain), own);
    assert_eq!(plain.proc("cmdline"), b"/bin/cat\0");
    plain.end();

    let path = std::env::var("PATH").expect("PATH");
    let mut cat = Spawn::new("cat");
    cat.arg0("a cat")
        .args(["-", "-u"])
        .arg("--")
        .env("IPC_A", "b=c")
        .env("IPC_A", "")
        .env_remove("PATH");
    let changed = Held::start(cat.clone());
    let mut wanted = own;
    wanted.insert("IPC_A=".to_owned());
    assert!(wanted.remove(&format!("PATH={path}")));
    assert_eq!(variables(&changed), wanted);
    assert_eq!(changed.proc("cmdline"), b"a cat\0-\0-u\0--\0");
    changed.end();

    let cleared = Held::start(cat.env_clear().env("IPC_B", "1").env("IPC_C", "\u{e9} \n").clone());
    let wanted = ["IPC_B=1", "IPC_C=\u{e9} \n"].map(str::to_owned);
    assert_eq!(variables(&cleared), BTreeSet::from(wanted));
    cleared.end();

    // What was prepared stays as it was.
    let prepared =
        Spawn::new("/bin/sh").args(["-c", "test -z $IPC_LATE"]).prepare().expect("prepare");
    set_variable("IPC_LATE", "1");
    assert!(prepared.spawn().expect("spawn").wait().expect("wait").success());
    let late = Held::start(crate::tools::cat());
    assert!(variables(&late).contains("IPC_LATE=1"));
    late.end();

    // The same beside a thread, where another way leads to the environment.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    let beside = Held::start(crate::tools::cat());
    assert_eq!(variables(&beside), own_variables());
    beside.end();
    drop(stop);
    assert!(thread.join().expect("the thread").is_err());
}

/// A thread removes one variable after the other and sets it again. No program gets half of that:
/// at most one variable is missing, and none is there twice.
pub(crate) fn strings_beside_changes() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let names = || (0..64).map(|number| format!("IPC_MOVING_{number}"));
    names().for_each(|name| set_variable(&name, "1"));
    let all = own_variables();
    let changer = std::thread::spawn(move || {
        while !STOP.load(Relaxed) {
            for name in names() {
                // Libc moves all that stand behind it.
                remove_variable(&name);
                set_variable(&name, "1");
            }
        }
    });
    for _ in 0..300 {
        doing("spawning beside a thread that changes the environment");
        let held = Held::start(cat());
        let seen = variables(&held);
        held.end();
        let missing: Vec<_> = all.difference(&seen).collect();
        assert!(missing.len() <= 1, "{missing:?}");
        assert!(missing.iter().all(|name| name.starts_with("IPC_MOVING_")), "{missing:?}");
        assert!(seen.is_subset(&all), "{seen:?}");
    }
    STOP.store(true, Relaxed);
    changer.join().expect("the thread");
}

#[expect(unsafe_code, reason = "the environment is unsafe to change beside other readers")]
fn set_variable(name: &str, value: &str) {
    // SAFETY: all threads of the case use std alone to read the environment.
    unsafe { std::env::set_var(name, value) };
}

#[expect(unsafe_code, reason = "the environment is unsafe to change beside other readers")]
fn remove_variable(name: &str) {
    // SAFETY: as above.
    unsafe { std::env::remove_var(name) };
}

/// The child works on this process's memory: all that it sets must be its own.
pub(crate) fn nothing_reaches_the_parent() {
    let look = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let keys = ["SigBlk", "SigIgn", "SigCgt", "Umask", "Cpus_allowed", "Threads"];
        let mut seen: Vec<_> = keys.iter().map(|key| field(&status, key)).collect();
        seen.push(std::fs::read_to_string("/proc/self/limits").expect("/proc"));
        seen.push(std::env::current_dir().expect("a directory").display().to_string());
        seen.push(format!("{:?} {:?}", getpgid(None), getsid(None)));
        seen.push(format!("{:?}", rustix::process::getpriority_process(None)));
        seen
    };
    let before = look();
    for missing in [false, true] {
        if missing {
            refuse_clone3(libc::ENOSYS);
        }
        for program in ["/bin/true", "/no/such/program"] {
            let mut program = Spawn::new(program);
            program
                .current_dir("/")
                .umask(0)
                .nice(19)
                .cpu_affinity([0])
                .new_session()
                .default_signals(SignalSet::ALL)
                .ignore_signals(SignalSet::from(Signal::HUP))
                .signal_mask(SignalSet::ALL)
                .rlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
                .parent_death(Signal::KILL);
            if let Ok(mut child) = program.spawn() {
                child.wait().expect("wait");
            }
            assert_eq!(look(), before);
        }
    }
}
