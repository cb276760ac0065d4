//! A zygote in an ordinary test: libtest has threads and its own `main`, and nothing is prepared.

use core::time::Duration;

use ipc_core::process::{ExitStatus, Start, Zygote};

fn square(start: Start) -> i32 {
    let side: i32 = start.bytes[0].into();
    side * side
}

#[test]
fn several_tests_each_have_a_zygote() {
    let zygote = Zygote::start().expect("by exec, as libtest runs this in a thread");
    for side in 0..10 {
        let mut child = zygote.spawn(square, &[side], &[]).expect("spawn");
        let ended = child.wait_timeout(Duration::from_secs(20)).expect("wait").expect("in time");
        assert_eq!(ended, ExitStatus::Exited(i32::from(side) * i32::from(side)));
    }
}

#[test]
fn at_the_same_time() {
    several_tests_each_have_a_zygote();
}
