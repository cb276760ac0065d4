//! Why nothing was done by a name.

use core::fmt;

use ipc_core::Errno;
use ipc_core::identity::ProcessId;

use crate::region::{AttachError, CreateError};

/// Why a [`RegionName`](super::RegionName) led to no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamedError {
    /// No name: empty, too long, `.` or `..`, or with a `/` or a zero byte in it.
    BadName,
    /// Nothing has the name.
    NotFound,
    /// Something has the name, and may not be replaced.
    Taken {
        /// Who made the region that has it, if it is one that this process may open.
        creator: Option<ProcessId>,
    },
    /// What has the name is no file: a directory, a link, a pipe, a device.
    NotAFile,
    /// What has the name belongs to somebody else.
    ForeignOwner {
        /// The number of that user.
        found: u32,
        /// That of this process.
        expected: u32,
    },
    /// Others than its owner may open what has the name.
    Permissions {
        /// Its mode.
        found: u32,
    },
    /// What has the name has other names, too.
    Linked,
    /// `/dev/shm`, or the file, is in another file system than tmpfs, where it might be from before this boot.
    NotTmpfs,
    /// This process runs as the user (65534) who stands for all that have no number here. What belongs to that
    /// number may be anybody's.
    NoOwner,
    /// `/dev/shm` cannot be opened.
    NoDirectory(Errno),
    /// Others made and removed the name each time that this process looked, or one has been in the middle of removing it
    /// for a second: it was stopped there. As soon as it goes on or is killed, there is nothing in the way.
    Contended,
    /// There is no new region.
    Create(CreateError),
    /// What has the name is no region that this process can use.
    Attach(AttachError),
    /// The operating system said so.
    Os(Errno),
}

static_assertions::assert_impl_all!(NamedError: Send, Sync);

impl fmt::Display for NamedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("not a name for a region"),
            Self::NotFound => f.write_str("no region has the name"),
            Self::Taken { creator: Some(creator) } => {
                write!(f, "the name is taken by a region of {creator}")
            }
            Self::Taken { creator: None } => f.write_str("the name is taken"),
            Self::NotAFile => f.write_str("what has the name is not a file"),
            Self::ForeignOwner { found, expected } => {
                write!(f, "what has the name belongs to user {found}, and not to {expected}")
            }
            Self::Permissions { found } => {
                write!(f, "others may open what has the name: mode {:o}", found & 0o7777)
            }
            Self::Linked => f.write_str("what has the name has another name, too"),
            Self::NotTmpfs => f.write_str("names of regions must be in tmpfs"),
            Self::NoOwner => f.write_str("this process's user owns nothing of its own"),
            Self::NoDirectory(errno) => write!(f, "cannot open /dev/shm: {errno}"),
            Self::Contended => f.write_str("others are at the name all the time"),
            Self::Create(error) => error.fmt(f),
            Self::Attach(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "cannot use the name: {errno}"),
        }
    }
}

impl core::error::Error for NamedError {}
