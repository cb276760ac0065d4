//! Opening somebody else's region: everything is checked before anything is used.
//!
//! # Safety
//!
//! The only memory read here as a reference is the `init` word of a mapping whose file was found to
//! be at least a header long, and sealed against shrinking unless it has a name. A load from memory that is mapped for
//! reading only is relaxed, and of at most eight bytes.
#![expect(unsafe_code, reason = "reads the init word of a fresh mapping")]

use core::fmt;

use bytemuck::Zeroable as _;
use ipc_core::Errno;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::{AtomicU64, Ordering, fence};
use rustix::fd::BorrowedFd;
use rustix::fs::{OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, fstat, fstatfs};
use rustix::io::{pread, retry_on_intr};
use rustix::param::page_size;

use super::Mapping;
use super::view::View;
use crate::Kind;
use crate::layout::{
    ARCH, DIRECTORY, ENTRIES, Entry, Header, INIT, LINE, MAGIC, MAJOR, MINOR, PAYLOAD, READY,
};
use crate::plan;

/// `TMPFS_MAGIC` of `linux/magic.h`: what memfds are on, too.
pub(super) const TMPFS: u64 = 0x0102_1994;

/// What a file must be like, and how it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A memfd that everybody who has it may write to.
    Shared,
    /// A memfd that nobody may write to but who mapped it before it was sealed.
    SingleWriter,
    /// A memfd that nobody may write to any more.
    Frozen,
    /// A file with a name, which has no seals. Whose it is has been looked at.
    Named,
}

impl Backing {
    /// Without the first two the memory behind a mapping could go away.
    pub(crate) fn needed(self) -> SealFlags {
        let size = SealFlags::SHRINK | SealFlags::GROW;
        match self {
            Self::Shared => size,
            Self::SingleWriter => size | SealFlags::FUTURE_WRITE,
            Self::Frozen => size | SealFlags::WRITE,
            Self::Named => SealFlags::empty(),
        }
    }

    /// Whether those who attach write to it.
    fn is_written(self) -> bool {
        matches!(self, Self::Shared | Self::Named)
    }
}

/// `expected`: the hash of the plan that the region must have, if the caller has one.
pub(super) fn attach(
    fd: BorrowedFd<'_>,
    backing: Backing,
    expected: Option<u64>,
) -> Result<View, AttachError> {
    let length = check_file(fd, backing)?;
    let contents = check_contents(fd, length as u64, expected)?;
    // Whoever made the file may have made it larger than anybody's address space.
    let used = (PAYLOAD + contents.size).checked_next_multiple_of(page_size());
    let length = used.map_or(length, |used| used.min(length));
    let map = match backing {
        Backing::Shared | Backing::Named => Mapping::new(fd, length),
        Backing::SingleWriter => Mapping::read_only(fd, length),
        Backing::Frozen => Mapping::frozen(fd, length),
    };
    let map = map.map_err(AttachError::Os)?;
    // SAFETY: the file is at least a header long and, unless it has a name, cannot shrink; the word is aligned to 8.
    let init = unsafe { map.at(INIT).cast::<AtomicU64>().as_ref() };
    let ready = init.load(Ordering::Relaxed) == READY;
    // Acquire, by a fence: memory that cannot be written allows no other loads than relaxed ones.
    // SYNC: header complete (Release in `create`).
    fence(Ordering::Acquire);
    if !ready {
        return Err(AttachError::NotReady { creator: None });
    }
    let Contents { kind, size, entries, hash, creator, .. } = contents;
    Ok(View { map, kind, size, entries, hash, creator })
}

/// What the descriptor itself says; returns the length of the file.
pub(crate) fn check_file(fd: BorrowedFd<'_>, backing: Backing) -> Result<usize, AttachError> {
    let seals = match fcntl_get_seals(fd) {
        Ok(seals) => seals,
        // Not a file in memory, or a descriptor without a file behind it (`O_PATH`).
        Err(Errno::INVAL | Errno::BADF) => return Err(AttachError::NotARegion),
        Err(errno) => return Err(AttachError::Os(errno)),
    };
    let needed = backing.needed();
    if !seals.contains(needed) {
        return Err(AttachError::NotSealed { found: seals.bits(), expected: needed.bits() });
    }
    // Huge pages have seals as well, but may be missing when they are touched, which is a SIGBUS.
    if fstatfs(fd).map_err(AttachError::Os)?.f_type as u64 != TMPFS {
        return Err(AttachError::NotARegion);
    }
    let access = fcntl_getfl(fd).map_err(AttachError::Os)? & OFlags::RWMODE;
    let sealed = seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE);
    if backing.is_written() && (access != OFlags::RDWR || sealed) {
        return Err(AttachError::ReadOnly);
    }
    if access == OFlags::WRONLY {
        return Err(AttachError::WriteOnly);
    }
    let found = fstat(fd).map_err(AttachError::Os)?.st_size as u64;
    let expected = PAYLOAD as u64 + 1;
    let length = usize::try_from(found).ok().filter(|_| found >= expected);
    length.ok_or(AttachError::TooSmall { found, expected })
}

fn read(fd: BorrowedFd<'_>, bytes: &mut [u8], at: u64) -> Result<(), AttachError> {
    let length = bytes.len();
    let read = retry_on_intr(|| pread(fd, &mut *bytes, at)).map_err(AttachError::Os)?;
    // A file in memory gives all it has.
    if read == length { Ok(()) } else { Err(AttachError::NotARegion) }
}

/// What the header and the directory of a region say, in the types that are used from here on.
pub(crate) struct Contents {
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    pub(crate) entries: usize,
    pub(crate) hash: u64,
    pub(crate) creator: ProcessId,
    /// `entries` of them are used: inside the payload, in order, and without overlap.
    pub(crate) directory: [Entry; ENTRIES],
}

/// What the bytes of a file of `length` bytes say, read without mapping it.
pub(crate) fn check_contents(
    fd: BorrowedFd<'_>,
    length: u64,
    expected: Option<u64>,
) -> Result<Contents, AttachError> {
    let mut head = Header::zeroed();
    read(fd, bytemuck::bytes_of_mut(&mut head), 0)?;
    let mut contents = check_header(&head, length)?;
    let entries = &mut contents.directory[..contents.entries];
    read(fd, bytemuck::cast_slice_mut(entries), DIRECTORY as u64)?;
    check_directory(entries, head.size)?;
    let found = plan::hash(head.kind, head.size, entries);
    let expected = expected.unwrap_or(head.hash);
    // Both: that the header is of one piece, and that it is the one asked for.
    if head.hash != expected || found != expected {
        let found = if head.hash == expected { found } else { head.hash };
        return Err(AttachError::Layout { found, expected });
    }
    Ok(contents)
}

/// Who has made a region.
pub(super) struct Creator {
    pub(super) id: ProcessId,
    /// The domain in which its pid means something, as [`Domain`](ipc_core::identity::Domain) has it.
    pub(super) domain: u32,
}

/// The creator of the region in a file that has a name.
pub(super) fn creator(fd: BorrowedFd<'_>) -> Result<Creator, AttachError> {
    let length = check_file(fd, Backing::Named)?;
    let mut head = Header::zeroed();
    read(fd, bytemuck::bytes_of_mut(&mut head), 0)?;
    let Contents { creator: id, .. } = check_header(&head, length as u64)?;
    Ok(Creator { id, domain: head.domain })
}

/// That the file begins like a region, of whatever version, on whatever machine.
pub(super) fn check_magic(fd: BorrowedFd<'_>) -> Result<(), AttachError> {
    let mut magic = 0;
    read(fd, bytemuck::bytes_of_mut(&mut magic), 0)?;
    let is_region = magic == MAGIC || magic == MAGIC.swap_bytes();
    if is_region { Ok(()) } else { Err(AttachError::NotARegion) }
}

/// In the order in which a creator, and its predecessors of other versions, can be relied upon.
fn check_header(head: &Header, length: u64) -> Result<Contents, AttachError> {
    if head.magic == MAGIC.swap_bytes() {
        let found = head.arch.swap_bytes();
        return Err(AttachError::Architecture { found, expected: ARCH });
    }
    if head.magic != MAGIC {
        return Err(AttachError::NotARegion);
    }
    if head.init != READY {
        return Err(AttachError::NotReady { creator: ProcessId::from_bits(head.init) });
    }
    if head.major != MAJOR || head.minor > MINOR {
        return Err(AttachError::Version {
            found: (head.major, head.minor),
            expected: (MAJOR, MINOR),
        });
    }
    if head.arch != ARCH {
        return Err(AttachError::Architecture { found: head.arch, expected: ARCH });
    }
    let page = page_size() as u32;
    if head.page != page {
        return Err(AttachError::PageSize { found: head.page, expected: page });
    }
    if head.line != LINE as u32 {
        return Err(AttachError::CacheLine { found: head.line, expected: LINE as u32 });
    }
    if head.total > length {
        return Err(AttachError::TooSmall { found: length, expected: head.total });
    }
    let end = head.size.checked_add(PAYLOAD as u64);
    let fits = head.payload == PAYLOAD as u64
        && head.size > 0
        && end.is_some_and(|end| end <= head.total)
        && head.entries as usize <= ENTRIES
        && head.domain != 0;
    let kind = Kind::from_bits(head.kind);
    let creator = ProcessId::from_bits(head.creator);
    match (kind, creator, usize::try_from(head.size)) {
        (Some(kind), Some(creator), Ok(size)) if fits => Ok(Contents {
            kind,
            size,
            entries: head.entries as usize,
            hash: head.hash,
            creator,
            directory: [Entry::zeroed(); ENTRIES],
        }),
        _ => Err(AttachError::Corrupt),
    }
}

/// Places are inside the payload, in order, and do not overlap.
fn check_directory(entries: &[Entry], size: u64) -> Result<(), AttachError> {
    let mut free = 0;
    for entry in entries {
        let bytes = entry.count.checked_mul(entry.size.into());
        let end = bytes.and_then(|bytes| entry.offset.checked_add(bytes));
        let aligned = entry.align.is_power_of_two() && entry.offset % u64::from(entry.align) == 0;
        match end {
            Some(end) if aligned && entry.offset >= free && end > entry.offset && end <= size => {
                free = end;
            }
            _ => return Err(AttachError::Corrupt),
        }
    }
    Ok(())
}

/// Why a descriptor did not become a [`Region`](crate::Region).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// The operating system said so.
    Os(Errno),
    /// Not a memfd, or one that holds something else.
    NotARegion,
    /// A region of another version of the layout.
    Version {
        /// Major and minor version of the region.
        found: (u16, u16),
        /// Those of this crate.
        expected: (u16, u16),
    },
    /// A region of a program with another word size or byte order.
    Architecture {
        /// `"LE"` or `"BE"` as the two upper bytes, and the word size in bits.
        found: u32,
        /// That of this program.
        expected: u32,
    },
    /// A region of a machine with pages of another size.
    PageSize {
        /// Bytes of a page when the region was made.
        found: u32,
        /// Bytes of a page here.
        expected: u32,
    },
    /// A region of a program that keeps its places at another distance from one another.
    CacheLine {
        /// The distance in the region, in bytes.
        found: u32,
        /// That of this crate.
        expected: u32,
    },
    /// The region was made from another [`Plan`](crate::Plan), or its header has been damaged.
    Layout {
        /// The hash of the region's plan.
        found: u64,
        /// The hash of the plan that it should have.
        expected: u64,
    },
    /// The file is smaller than it must be.
    TooSmall {
        /// The bytes of the file.
        found: u64,
        /// The bytes that it should have at least.
        expected: u64,
    },
    /// Somebody could shrink the file under the mapping.
    NotSealed {
        /// The seals of the file, as `F_GET_SEALS` gives them.
        found: u32,
        /// Those that it must have.
        expected: u32,
    },
    /// The descriptor, or a seal, does not allow writing.
    ReadOnly,
    /// The descriptor does not allow reading.
    WriteOnly,
    /// The creator has not finished, and never will if it is dead.
    NotReady {
        /// The process that was writing the header.
        creator: Option<ProcessId>,
    },
    /// A number in the header is impossible.
    Corrupt,
    /// The region holds something of another kind.
    Kind {
        /// What it holds.
        found: Kind,
        /// What was asked for.
        expected: Kind,
    },
}

static_assertions::assert_impl_all!(AttachError: Send, Sync);

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "cannot attach to the region: {errno}"),
            Self::NotARegion => f.write_str("not a region of shared memory"),
            Self::Version { found, expected } => write!(
                f,
                "layout version {}.{} found, {}.{} expected",
                found.0, found.1, expected.0, expected.1
            ),
            Self::Architecture { found, expected } => {
                write!(f, "architecture {found:#x} found, {expected:#x} expected")
            }
            Self::PageSize { found, expected } => {
                write!(f, "pages of {found} bytes found, of {expected} expected")
            }
            Self::CacheLine { found, expected } => {
                write!(f, "places {found} bytes apart found, {expected} expected")
            }
            Self::Layout { found, expected } => {
                write!(f, "layout {found:#x} found, {expected:#x} expected")
            }
            Self::TooSmall { found, expected } => {
                write!(f, "{found} bytes found, at least {expected} expected")
            }
            Self::NotSealed { found, expected } => {
                write!(f, "seals {found:#x} found, {expected:#x} expected")
            }
            Self::ReadOnly => f.write_str("the region cannot be written"),
            Self::WriteOnly => f.write_str("the region cannot be read"),
            Self::NotReady { creator: Some(creator) } => {
                write!(f, "{creator} has not finished the region")
            }
            Self::NotReady { creator: None } => f.write_str("the region is not finished"),
            Self::Corrupt => f.write_str("a number in the header is impossible"),
            Self::Kind { found, expected } => write!(f, "{found:?} found, {expected:?} expected"),
        }
    }
}

impl core::error::Error for AttachError {}
