//! The protocol of the ring of many producers and many consumers, in all interleavings, with kills anywhere; and what becomes of
//! it when one of its rules is broken.

mod claim;

use ipc_testkit::explore::{Flaw, TRAP, explore};
use ipc_testkit::watchdog::watch;

use self::claim::{Ring, Variant};

const MOST: usize = 100_000_000;

fn ring(
    variant: Variant,
    slots: usize,
    who: [usize; 2],
    messages: u8,
    kills: u8,
    heirs: u8,
) -> Ring {
    Ring { variant, slots, producers: who[0], consumers: who[1], messages, kills, heirs }
}

fn sound(slots: usize, who: [usize; 2], messages: u8, kills: u8, heirs: u8) {
    let ring = ring(Variant::Sound, slots, who, messages, kills, heirs);
    match explore(&ring, MOST) {
        Ok(seen) => println!(
            "model: {slots} slots, {who:?} producers and consumers, {messages} messages each, {kills} kills, {heirs} heirs: {} states, \
             {} steps, {} accidents, {} settled",
            seen.states, seen.steps, seen.accidents, seen.settled
        ),
        Err(flaw) => panic!("{flaw}"),
    }
}

#[test]
fn nothing_is_lost_torn_doubled_or_stuck() {
    let is_deep = std::env::var_os("IPC_MODEL").is_some_and(|value| value == "deep");
    if !is_deep {
        watch();
    }
    sound(1, [1, 1], 2, 2, 1);
    sound(1, [2, 1], 1, 2, 1);
    sound(1, [1, 2], 2, 1, 1);
    sound(2, [1, 1], 3, 2, 2);
    sound(2, [2, 2], 1, 1, 0);
    if is_deep {
        sound(1, [2, 2], 1, 2, 0);
        sound(2, [2, 2], 1, 2, 0);
        sound(2, [2, 1], 2, 2, 1);
        sound(2, [2, 2], 1, 2, 1);
    }
}

fn flaw(variant: Variant, slots: usize, who: [usize; 2], messages: u8, heirs: u8) -> Flaw {
    let flaw =
        explore(&ring(variant, slots, who, messages, 1, heirs), MOST).expect_err("a broken rule");
    println!("model: {variant:?}: {flaw}");
    flaw
}

#[test]
fn each_rule_is_needed() {
    watch();
    let is_trap = |flaw: Flaw| assert_eq!(flaw.what, TRAP);
    is_trap(flaw(Variant::TrailAfterClaim, 2, [1, 2], 1, 0));
    is_trap(flaw(Variant::BackToFree, 2, [2, 1], 1, 0));
    is_trap(flaw(Variant::NoLookAtTrails, 2, [1, 2], 1, 0));
    assert!(flaw(Variant::TimeOut, 1, [1, 1], 1, 0).what.contains("publishes over"));
    is_trap(flaw(Variant::ForgetfulHeir, 2, [1, 1], 2, 1));
    is_trap(flaw(Variant::SameGeneration, 2, [1, 1], 1, 1));
    is_trap(flaw(Variant::OneRecordForTwo, 2, [1, 2], 2, 1));
}
