//! Whose region gives up its name.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread::yield_now;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::{NamedError, RegionName};
use ipc_testkit::cases::{doing, seccomp, shared};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

use crate::{create_filled, end, in_another_pid_namespace, name, number_in, plan};

/// A child that has made a region with this name, and goes on living.
fn living_creator(name: &RegionName, number: u64) -> Child {
    let child = fork_fn(|| {
        let _region = create_filled(name, number).expect("nobody else wants the name");
        shared().words[0].store(1, SeqCst);
        loop {
            yield_now();
        }
    });
    doing("waiting for a creator");
    while shared().words[0].load(SeqCst) == 0 {
        yield_now();
    }
    shared().words[0].store(0, SeqCst);
    child.expect("fork")
}

fn kill(mut child: Child) {
    child.kill().expect("a child");
    assert!(!child.wait().expect("a child").success());
}

fn is_taken(name: &RegionName) -> bool {
    match name.create_or_replace(&plan().0) {
        Ok(_) => false,
        Err(NamedError::Taken { creator: Some(_) }) => true,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn only_the_dead() {
    let (name, _) = name();
    let creator = living_creator(&name, 1);
    let old = name.open().unwrap();
    assert!(is_taken(&name));
    assert_eq!(number_in(&name.open().unwrap()), 1);
    kill(creator);
    assert_eq!(
        number_in(&name.open().unwrap()),
        1,
        "a dead creator's region is there until it is replaced"
    );
    assert!(!is_taken(&name));
    assert_eq!(number_in(&name.open().unwrap()), 0);
    assert_eq!(number_in(&old), 1, "who has the old one keeps it");
    name.remove().unwrap();
}

pub(crate) fn zombie_and_stopped() {
    let (name, _) = name();
    let mut creator = living_creator(&name, 1);
    creator.signal(Signal::STOP).unwrap();
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(creator.id()), options).unwrap();
    assert!(is_taken(&name), "it may go on at any time");
    creator.kill().unwrap();
    doing("waiting for the end of a creator");
    waitid(WaitId::Pid(creator.id()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    assert!(!is_taken(&name), "nobody has reaped it, and yet it is dead");
    creator.wait().unwrap();
    name.remove().unwrap();
}

/// The same number in another pid namespace is another process.
pub(crate) fn another_domain() {
    let (name, path) = name();
    end(fork_fn(|| i32::from(create_filled(&name, 1).is_err())).unwrap());
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut domain = [0; 4];
    file.read_exact_at(&mut domain, 72).unwrap();
    let other = u32::from_ne_bytes(domain) + 1;
    file.write_all_at(&other.to_ne_bytes(), 72).unwrap();
    assert!(is_taken(&name));
    file.write_all_at(&domain, 72).unwrap();
    assert!(!is_taken(&name));
    name.remove().unwrap();
}

pub(crate) fn another_pid_namespace() {
    let (name, _) = name();
    in_another_pid_namespace(|| i32::from(create_filled(&name, 1).is_err()));
    // It is dead. But from here nobody can know.
    assert!(is_taken(&name));
    assert_eq!(number_in(&name.open().unwrap()), 1);
    name.remove().unwrap();
    // And the other way round: its parent's death is not for it to tell.
    end(fork_fn(|| i32::from(create_filled(&name, 2).is_err())).unwrap());
    in_another_pid_namespace(|| {
        assert!(is_taken(&name));
        assert_eq!(number_in(&name.open().unwrap()), 2);
        0
    });
    assert!(!is_taken(&name));
    name.remove().unwrap();
}

/// A sandbox that refuses `pidfd_open`: the creator may live or not.
pub(crate) fn not_to_be_asked_after() {
    const PIDFD_OPEN: i64 = 434;
    const ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
    let (name, _) = name();
    let creator = living_creator(&name, 1);
    let child = fork_fn(|| {
        ipc_core::identity::Identity::current().expect("before the sandbox");
        seccomp::answer(
            PIDFD_OPEN,
            &seccomp::When::Always,
            ERRNO | Errno::PERM.raw_os_error() as u32,
        );
        i32::from(!is_taken(&name))
    });
    end(child.unwrap());
    kill(creator);
    name.remove().unwrap();
}

/// Whoever is killed while it removes or replaces, holds up nobody.
pub(crate) fn lock_ends_with_its_holder() {
    let (name, path) = name();
    end(fork_fn(|| i32::from(create_filled(&name, 1).is_err())).unwrap());
    let holder = holder_of_lock(&path);
    let remover = fork_fn(|| i32::from(name.remove().is_err())).unwrap();
    await_in_line(&remover);
    assert_eq!(number_in(&name.open().unwrap()), 1, "who opens does not wait");
    kill(holder);
    end(remover);
    assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
}

/// While a replacer waits for its turn, the name comes to lead to another region, which is not replaced.
pub(crate) fn another_region_meanwhile() {
    let (name, path) = name();
    end(fork_fn(|| i32::from(create_filled(&name, 1).is_err())).unwrap());
    let holder = holder_of_lock(&path);
    let replacer = fork_fn(|| i32::from(!is_taken(&name))).unwrap();
    await_in_line(&replacer);
    std::fs::remove_file(&path).unwrap();
    let ours = create_filled(&name, 2).unwrap();
    kill(holder);
    end(replacer);
    assert_eq!(number_in(&name.open().unwrap()), 2);
    drop(ours);
    name.remove().unwrap();
}

/// A child that is in the middle of removing the name, and stays there.
fn holder_of_lock(path: &Path) -> Child {
    let child = fork_fn(|| {
        let file = File::open(path).expect("the region");
        flock(&file, FlockOperation::LockExclusive).expect("flock");
        shared().words[0].store(1, SeqCst);
        loop {
            yield_now();
        }
    });
    doing("waiting for the holder of a lock");
    while shared().words[0].swap(0, SeqCst) == 0 {
        yield_now();
    }
    child.expect("fork")
}

/// Until the child waits for a lock: it watches the file.
fn await_in_line(child: &Child) {
    doing("waiting until somebody waits for a lock");
    let folder = format!("/proc/{}/fd", child.id());
    let watches = || {
        let entries = std::fs::read_dir(&folder).expect("/proc").flatten();
        let mut targets = entries.flat_map(|entry| std::fs::read_link(entry.path()));
        targets.any(|target| target.as_os_str() == "anon_inode:inotify")
    };
    while !watches() {
        yield_now();
    }
}

/// Who is stopped while it removes or replaces, may hold up others for a while, but not for ever.
pub(crate) fn stopped_holder_of_lock() {
    let (name, path) = name();
    end(fork_fn(|| i32::from(create_filled(&name, 1).is_err())).unwrap());
    let holder = holder_of_lock(&path);
    holder.signal(Signal::STOP).unwrap();
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(holder.id()), options).unwrap();
    let began = Instant::now();
    doing("waiting for a remover behind one that is stopped");
    assert_eq!(name.remove().unwrap_err(), NamedError::Contended);
    assert!(began.elapsed() >= Duration::from_millis(900), "it was patient");
    doing("waiting for a replacer behind one that is stopped");
    assert_eq!(name.create_or_replace(&plan().0).unwrap_err(), NamedError::Contended);
    let taken = name.create_new(&plan().0);
    assert!(matches!(taken, Err(NamedError::Taken { creator: Some(_) })), "{taken:?}");
    assert_eq!(number_in(&name.open().unwrap()), 1, "who opens does not wait");
    kill(holder);
    assert!(!is_taken(&name), "nobody is in the way any more");
    name.remove().unwrap();
}

/// Who waits for the lock goes on when it is given up, and not only when it looks again.
pub(crate) fn lock_given_up_is_seen() {
    let (name, path) = name();
    let quickest = (0..8).map(|_| {
        end(fork_fn(|| i32::from(create_filled(&name, 1).is_err())).unwrap());
        // Forked before the file is opened: it would have the descriptor, too, and nobody else could close it.
        let remover = fork_fn(|| {
            while shared().words[0].swap(0, SeqCst) == 0 {
                yield_now();
            }
            i32::from(name.remove().is_err())
        });
        let remover = remover.unwrap();
        let file = File::open(&path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        shared().words[0].store(1, SeqCst);
        await_in_line(&remover);
        let began = Instant::now();
        flock(&file, FlockOperation::Unlock).unwrap();
        drop(file);
        end(remover);
        began.elapsed()
    });
    // A slice is 50 ms. All of the rounds may be disturbed, but not each by that much.
    let quickest = quickest.min().expect("several");
    assert!(quickest < Duration::from_millis(25), "{quickest:?}");
}
