//! The demonstration shows what it says.

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
