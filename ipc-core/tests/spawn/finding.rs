//! Where a program is found.

use std::ffi::OsString;

use ipc_core::Errno;
use ipc_core::process::{ExitStatus, Spawn, Stage};

use crate::tools::{Place, error_of};

fn code(program: &Spawn<'_>) -> i32 {
    match program.spawn().expect("spawn").wait().expect("wait") {
        ExitStatus::Exited(code) => code,
        other => panic!("{other}"),
    }
}

/// A script that says its number.
fn script(code: i32) -> Vec<u8> {
    format!("#!/bin/sh\nexit {code}\n").into_bytes()
}

/// The directories, joined as in `PATH`; each a folder of the place.
fn path(place: &Place, names: &[&str]) -> OsString {
    std::env::join_paths(names.iter().map(|name| place.path().join(name))).expect("a path")
}

pub(crate) fn name() {
    let place = Place::new();
    place.file("a/tool", &script(1), 0o755);
    place.file("b/tool", &script(2), 0o755);
    place.file("locked/tool", &script(3), 0o644);
    place.file("plain", b"", 0o644);
    let tool = |names: &[&str]| {
        let mut tool = Spawn::new("tool");
        tool.env("PATH", path(&place, names));
        tool
    };
    let error = |program: &Spawn<'_>| {
        let error = error_of(program);
        assert_eq!(error.stage, Stage::Exec);
        error.errno
    };
    // The first that has it, whatever lies before.
    assert_eq!(code(&tool(&["a", "b"])), 1);
    assert_eq!(code(&tool(&["b", "a"])), 2);
    assert_eq!(code(&tool(&["missing", "plain", "locked", "b"])), 2);
    // A file that may not be executed is told if there is no other.
    assert_eq!(error(&tool(&["locked", "missing"])), Errno::ACCESS);
    assert_eq!(error(&tool(&["missing", "locked", "missing"])), Errno::ACCESS);
    assert_eq!(error(&tool(&["missing"])), Errno::NOENT);
    // A file in an unknown format ends the search.
    place.file("odd/tool", b"what", 0o755);
    assert_eq!(error(&tool(&["odd", "a"])), Errno::NOEXEC);

    // It is the child's PATH that counts, not this process's.
    assert_eq!(error(Spawn::new("true").env("PATH", path(&place, &["a"]))), Errno::NOENT);
    // Without one there is a default.
    assert_eq!(code(Spawn::new("true").env_clear()), 0);
    assert_eq!(code(Spawn::new("true").env_remove("PATH")), 0);
    // An empty element is the directory of the child.
    for empty in [OsString::new(), ":".into(), "/missing:".into()] {
        let mut tool = Spawn::new("tool");
        assert_eq!(code(tool.env("PATH", empty).current_dir(place.path().join("b"))), 2);
    }
}

pub(crate) fn path_of_program() {
    let place = Place::new();
    place.file("a/tool", &script(1), 0o755);
    place.file("b/tool", &script(2), 0o755);
    let mut tool = Spawn::new("./tool");
    assert_eq!(code(tool.current_dir(place.path().join("a"))), 1);
    assert_eq!(code(tool.current_dir(place.path().join("b"))), 2);
    // PATH has no part in it.
    let mut tool = Spawn::new("a/tool");
    tool.env("PATH", path(&place, &["a", "b", ""]));
    assert_eq!(code(tool.current_dir(place.path())), 1);
    assert_eq!(error_of(tool.current_dir("/")).errno, Errno::NOENT);
}
