//! The program's environment, and where a name is looked up in it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
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
    /// The whole environment, and its `PATH`.
    pub(super) fn collect(&self) -> Result<(Strings, Option<Vec<u8>>), HoldsZero> {
        // Most environments fit.
        let mut strings = Strings::with_capacity(64, 4 << 10);
        let mut path = None;
        let mut push = |name: &OsStr, value: &OsStr| {
            if name == "PATH" {
                path = Some(value.as_bytes().to_vec());
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

/// The files that `program` may mean, in the order in which they are tried.
pub(super) fn candidates(program: &OsStr, path: Option<&[u8]>) -> Result<Strings, HoldsZero> {
    let mut candidates = Strings::default();
    let program = program.as_bytes();
    if program.is_empty() || program.contains(&b'/') {
        candidates.push(&[program])?;
        return Ok(candidates);
    }
    for directory in path.unwrap_or(DEFAULT_PATH).split(|&byte| byte == b':') {
        if directory.is_empty() {
            candidates.push(&[program])?;
        } else {
            candidates.push(&[directory, b"/", program])?;
        }
    }
    Ok(candidates)
}
