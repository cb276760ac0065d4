//! Many processes that want the same name, some of which are killed.

use core::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread::yield_now;

use ipc_core::identity::ProcessId;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::{NamedError, RawValue, Region, RegionName};
use ipc_testkit::cases::{doing, shared};

use crate::{create_filled, end, entries, name, number_in, plan, private_shm};

/// How many race.
const RACERS: i32 = 4;

fn word(index: usize) -> &'static AtomicI32 {
    &shared().words[index]
}

/// As many as usual, or so many times as many for longer proofs.
fn deep(usual: usize, times: usize) -> usize {
    if std::env::var_os("IPC_CYCLES").is_some() { usual * times } else { usual }
}

/// Waits until all racers are here.
fn meet() {
    let round = word(1).load(SeqCst);
    if word(0).fetch_add(1, SeqCst) + 1 == RACERS {
        word(0).store(0, SeqCst);
        word(1).fetch_add(1, SeqCst);
    }
    while word(1).load(SeqCst) == round {
        yield_now();
    }
}

/// Counts those who have won; when all are there, it must be one.
fn one_of(won: bool) {
    word(2).fetch_add(i32::from(won), SeqCst);
    meet();
    assert_eq!(word(2).load(SeqCst), 1, "exactly one wins");
    meet();
    word(2).store(0, SeqCst);
    meet();
}

/// Runs `racer`, with its number, in processes of their own.
fn race(racer: impl Fn(i32)) {
    let children: Vec<Child> = (0..RACERS)
        .map(|number| {
            fork_fn(|| {
                racer(number);
                0
            })
            .expect("fork")
        })
        .collect();
    doing("waiting for the racers");
    children.into_iter().for_each(end);
}

/// A number that says who has filled a region.
fn mine() -> u64 {
    ProcessId::current().expect("an identity").to_bits()
}

/// What has the name now is a whole region of its creator.
fn check(region: &Region) {
    assert_eq!(number_in(region), region.creator().to_bits());
}

fn replace(name: &RegionName) -> Result<Region, NamedError> {
    let (plan, place) = plan();
    let number = mine();
    name.create_or_replace_with(&plan, |fill| fill.values(place, |_| RawValue::new(number)))
}

pub(crate) fn to_create() {
    let (name, _) = name();
    race(|_| {
        for _ in 0..deep(40, 20) {
            meet();
            let created = create_filled(&name, mine());
            match &created {
                Ok(_) => {}
                // Whoever has it, it is there for as long as nobody removes it.
                Err(NamedError::Taken { creator: Some(_) }) => check(&name.open().unwrap()),
                Err(error) => panic!("{error}"),
            }
            one_of(created.is_ok());
            let removed = name.remove();
            assert!(matches!(removed, Ok(()) | Err(NamedError::NotFound)), "{removed:?}");
            one_of(removed.is_ok());
        }
    });
    assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
}

pub(crate) fn to_replace() {
    let (name, _) = name();
    race(|number| {
        for _ in 0..deep(40, 20) {
            if number == 0 {
                // It is dead when the others begin.
                end(fork_fn(|| i32::from(create_filled(&name, mine()).is_err())).unwrap());
            }
            meet();
            let replaced = replace(&name);
            match &replaced {
                Ok(_) => {}
                Err(NamedError::Taken { creator: Some(_) }) => check(&name.open().unwrap()),
                Err(error) => panic!("{error}"),
            }
            one_of(replaced.is_ok());
            if replaced.is_ok() {
                name.remove().unwrap();
            }
            meet();
        }
    });
    assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
}

/// Creators, replacers and removers are killed at any moment; who opens sees a whole region, or none.
pub(crate) fn killed_all_the_time() {
    let kills = deep(40, 50);
    private_shm(c"size=16m");
    let (name, _) = name();
    let free = || rustix::fs::statvfs("/dev/shm").unwrap().f_bfree;
    let before = free();
    let worker = || {
        fork_fn(|| {
            loop {
                match replace(&name) {
                    Ok(_) => drop(name.remove()),
                    Err(NamedError::Taken { .. } | NamedError::Contended) => {}
                    Err(error) => panic!("{error}"),
                }
                word(3).fetch_add(1, SeqCst);
            }
        })
        .expect("fork")
    };
    let reader = fork_fn(|| {
        let (mut found, mut missing) = (0, 0);
        while word(4).load(SeqCst) == 0 {
            match name.open() {
                Ok(region) => {
                    check(&region);
                    found += 1;
                }
                Err(NamedError::NotFound) => missing += 1,
                Err(error) => panic!("{error}"),
            }
        }
        println!("a reader found {found} regions, and none {missing} times");
        assert!(found > 0 && missing > 0);
        0
    });
    let mut workers = [worker(), worker(), worker()];
    for kill in 0..kills {
        doing("killing");
        // Some progress each time, and then a moment that differs from kill to kill.
        let seen = word(3).load(SeqCst);
        while word(3).load(SeqCst) == seen {
            yield_now();
        }
        (0..kill * 37 % 1009).for_each(|_| core::hint::spin_loop());
        let victim = &mut workers[kill % 3];
        victim.kill().unwrap();
        let status = victim.wait().unwrap();
        assert!(!matches!(status, ipc_core::process::ExitStatus::Exited(_)), "{status:?}");
        *victim = worker();
    }
    for mut worker in workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    word(4).store(1, SeqCst);
    end(reader.unwrap());
    // Whoever comes now gets the name.
    check(&replace(&name).unwrap());
    name.remove().unwrap();
    assert_eq!((free(), entries().len()), (before, 0), "nothing is left of {kills} kills");
}
