//! The program's environment, and where a name is looked up in it.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::strings::{HoldsZero, Strings};

/// Where a name is looked up if the environment has no `PATH`.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The difference between this process's environment and the program's.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// Whether nothing of this process is taken over.
    pub(super) is_cleared: bool,
    /// Variables that are set, or removed.
    pub(super) changes: BTreeMap<OsString, Option<OsString>>,
}

impl Environment {
    /// Whether the program gets what this process has.
    pub(super) fn is_unchanged(&self) -> bool {
        !self.is_cleared && self.changes.is_empty()
    }

    /// The whole environment, and its `PATH`.
    pub(super) fn collect(&self) -> Result<(Strings, Option<OsString>), HoldsZero> {
        // Most environments fit.
        let mut strings = Strings::with_capacity(64, 4 << 10);
        let mut path = None;
        let mut push = |name: &OsStr, value: &OsStr| {
            if name == "PATH" {
                path = Some(value.to_owned());
            }
            strings.push(&[name.as_bytes(), b"=", value.as_bytes()])
        };
        if !self.is_cleared {
            // Through std, which keeps `set_var` of another thread out meanwhile.
            for (name, value) in env::vars_os() {
                if !self.changes.contains_key(&name) {
                    push(&name, &value)?;
                }
            }
        }
        for (name, value) in &self.changes {
            if let Some(value) = value {
                push(name, value)?;
            }
        }
        Ok((strings, path))
    }
}

/// Whether `program` is a path, and not a name that is looked up.
pub(super) fn is_path(program: &OsStr) -> bool {
    program.is_empty() || program.as_bytes().contains(&b'/')
}

/// Appends the files that `program` may mean, in the order in which they are tried.
pub(super) fn push_candidates(
    strings: &mut Strings,
    program: &OsStr,
    path: Option<&OsStr>,
) -> Result<(), HoldsZero> {
    let name = program.as_bytes();
    if is_path(program) {
        return strings.push(&[name]);
    }
    for directory in path.map_or(DEFAULT_PATH, OsStr::as_bytes).split(|&byte| byte == b':') {
        if directory.is_empty() {
            strings.push(&[name])?;
        } else {
            strings.push(&[directory, b"/", name])?;
        }
    }
    Ok(())
}
