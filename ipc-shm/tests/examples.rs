//! The examples say what they should, under every start method.

use ipc_testkit::example::{Ended, Example};

const METHODS: [&str; 4] = ["auto", "fork", "spawn", "forkserver"];

/// All that an example writes on standard output.
fn said(name: &str, arguments: &[&str]) -> String {
    let ended: Ended = Example::build(env!("CARGO_MANIFEST_DIR"), name).run(arguments);
    assert!(ended.status.success(), "{name} {arguments:?}: {}\n{}", ended.status, ended.stderr);
    ended.stdout
}

/// The lines come in any order, and each is whole.
#[test]
fn lock() {
    for method in METHODS {
        let said = said("lock", &[method]);
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        let expected: Vec<_> = (0..10).map(|number| format!("hello world {number}")).collect();
        assert_eq!(lines, expected, "{method}");
    }
}

#[test]
fn semaphore() {
    for method in METHODS {
        assert_eq!(said("semaphore", &[method]), "more than 2 at a time: false, free now: 2\n");
    }
}

#[test]
fn condvar() {
    for method in METHODS {
        let expected = "1000 cooked, 1000 carried, never more than 3: true\n";
        assert_eq!(said("condvar", &[method]), expected, "{method}");
    }
}

#[test]
fn event_loop() {
    for method in METHODS {
        assert_eq!(
            said("event_loop", &[method]),
            "3000 numbers went there and came back\n",
            "{method}"
        );
    }
}
