//! The examples say what they should, under every start method.

use ipc_testkit::example::{Ended, Example};

const METHODS: [&str; 4] = ["auto", "fork", "spawn", "forkserver"];

/// All that an example writes on standard output.
fn said(name: &str, arguments: &[&str]) -> Ended {
    let ended = Example::build(env!("CARGO_MANIFEST_DIR"), name).run(arguments);
    assert!(ended.status.success(), "{name} {arguments:?}: {}\n{}", ended.status, ended.stderr);
    ended
}

#[test]
fn process() {
    for method in METHODS {
        let Ended { pid: main, stdout, .. } = said("process", &[method]);
        let us = std::process::id();
        let last = |what: &str| -> u32 {
            let line = stdout.lines().rev().find_map(|line| line.strip_prefix(what));
            line.expect("the child says it, too").parse().expect("a process id")
        };
        let (parent, child) = (last("parent process: "), last("process id: "));
        let expected = format!(
            "main line\nmodule name: process\nparent process: {us}\nprocess id: {main}\n\
             function f\nmodule name: process\nparent process: {parent}\nprocess id: {child}\n\
             hello bob\n"
        );
        assert_eq!(stdout, expected);
        assert!(child != main && child != us);
        // The kernel's parent is the helper, where there is one.
        assert_eq!(parent != main, ["auto", "forkserver"].contains(&method), "{method}");
    }
}

#[test]
fn start_methods() {
    for method in METHODS {
        assert_eq!(said("start_methods", &[method]).stdout, "hello\n", "{method}");
    }
    assert_eq!(said("start_methods", &[]).stdout, "hello\n");
}

#[test]
fn contexts() {
    for one in METHODS {
        for other in METHODS {
            assert_eq!(said("contexts", &[one, other]).stdout, "hello\n", "{one}, {other}");
        }
    }
    assert_eq!(said("contexts", &[]).stdout, "hello\n");
}

#[test]
fn pipe() {
    for method in METHODS {
        assert_eq!(said("pipe", &[method]).stdout, "(42, None, \"hello\")\n", "{method}");
    }
}

#[test]
fn a_start_method_that_is_none() {
    let ended = Example::build(env!("CARGO_MANIFEST_DIR"), "pipe").run(&["thread"]);
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), ""));
    assert_eq!(ended.stderr, "Error: UnknownStartMethod\n");
}
