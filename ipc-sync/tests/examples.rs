//! The demonstrations show what they say.

use ipc_testkit::example::Example;

/// The C library's lock is stuck at some kill points, and ours at none.
#[test]
#[cfg_attr(debug_assertions, should_panic = "a debug build is refused")]
fn lost_wakeup() {
    let ended = Example::build(env!("CARGO_MANIFEST_DIR"), "lost_wakeup").run(&[]);
    assert!(ended.status.success(), "a debug build is refused: {}", ended.stderr);
    let wedges = |lock: &str| -> Option<u32> {
        let line = ended.stdout.lines().find(|line| line.starts_with(lock))?;
        line.split_once("]: ")?.1.split_once(' ')?.0.parse().ok()
    };
    assert_eq!(wedges("ipc-sync Mutex: "), Some(0), "{}", ended.stdout);
    if cfg!(target_env = "gnu") {
        assert!(wedges("pthread robust mutex: ").is_some_and(|n| n > 0), "{}", ended.stdout);
    }
}

/// Eight processes in step, and each line by the last of them.
#[test]
fn barrier() {
    let ended = Example::build(env!("CARGO_MANIFEST_DIR"), "barrier").run(&[]);
    assert!(ended.status.success(), "{}", ended.stderr);
    let expected =
        "1: [1, 2, 2, 2, 2, 2, 2, 2]\n2: [1, 2, 3, 4, 4, 4, 4, 4]\n4: [1, 2, 3, 4, 5, 6, 7, 8]\n";
    assert_eq!(ended.stdout, expected);
}
