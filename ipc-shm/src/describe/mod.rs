//! What a file that begins like a region says about itself, for tools that do not know its types.
//!
//! [`describe`] looks at a region as a stranger does: by `pread`, without mapping it, without claiming an end, and
//! without believing anything. It writes nothing, so it can be pointed at the regions of a program that runs. The
//! layout that it reads is written down, for programs in other languages too, in `docs/LAYOUT.md` of the repository.
//!
//! # What it may look at
//!
//! | the file | then |
//! |---|---|
//! | an ordinary file or a memfd that begins with the magic, in either byte order | described, whatever else stands there |
//! | a file in memory whose creator has not come to the magic | described as [`State::NotBegun`] or [`State::Begun`] |
//! | anything else: other contents, a pipe, a device, a directory | [`DescribeError::NotARegion`] |
//!
//! Of a region of another major version only that much is read as will never move: the magic, the state and the
//! version. Of one with the other byte order the numbers are turned round, and nobody's life is asked after.
//!
//! # What it costs, whatever the bytes
//!
//! The file is at most a header page, and for each ring in it a number of words that grows with the logarithm of its
//! capacity: a stamped ring is not read slot by slot, because its sequences fall into two runs, whose border a binary
//! search finds. Nothing is allocated. Between two reads the region may change; what is said of a ring says whether
//! it did.

mod known;
mod rings;
mod table;

use core::fmt;

use bytemuck::Zeroable as _;
use ipc_core::Errno;
use ipc_core::identity::{Admitted, DomainCell, Liveness, ProcessId};
use ipc_core::primitive::identity;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, fstat};
use rustix::io::{pread, retry_on_intr};

pub use known::TypeName;
pub use rings::{Filled, RingDescription, RingLayout};

use crate::layout::{DIRECTORY, ENTRIES, Entry, Header, MAGIC, MAJOR, READY};
use crate::region::{Backing, check_contents, check_file};
use crate::{AttachError, Kind, plan};

/// Describes the region behind `fd`, whatever state it is in.
///
/// The descriptor must allow reading; nothing is written, mapped or claimed.
///
/// # Errors
///
/// [`DescribeError::NotARegion`] for what does not begin like a region, [`DescribeError::Os`] for what cannot be read.
/// A region that is damaged, not finished or of another version is no error: the description says so.
///
/// # Examples
///
/// ```
/// use ipc_shm::describe::State;
/// use ipc_shm::ring::{Peer, spsc::Ring};
///
/// let ring = Ring::<u64>::create(8)?;
/// let mut producer = ring.producer()?;
/// producer.push(1)?;
///
/// let seen = ipc_shm::describe(ring.as_fd().expect("it has a region of its own"))?;
/// assert_eq!((seen.state, seen.refused), (State::Ready, None));
/// let ring = seen.rings().next().expect("there is one");
/// assert_eq!((ring.capacity, ring.filled.count()), (8, Some(1)));
/// assert_eq!(ring.consumer, Some(Peer::Absent));
/// println!("{seen}"); // A table to read.
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn describe(fd: impl AsFd) -> Result<Description, DescribeError> {
    let fd = fd.as_fd();
    let stat = fstat(fd).map_err(DescribeError::Os)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(DescribeError::NotARegion);
    }
    let length = stat.st_size as u64;
    let writable = fcntl_getfl(fd).map_err(DescribeError::Os)? & OFlags::RWMODE == OFlags::RDWR;
    let seals = fcntl_get_seals(fd).ok();
    let mut head = Header::zeroed();
    let read = read(fd, bytemuck::bytes_of_mut(&mut head), 0).map_err(DescribeError::Os)?;
    let foreign = head.magic == MAGIC.swap_bytes();
    if foreign {
        head = swapped(&head);
    }
    let state = match state(&head, foreign) {
        state if head.magic == MAGIC && read >= 24 => state,
        // The magic comes after the state. On a disk any file of zeros would be a region.
        state @ (State::NotBegun | State::Begun(..)) if head.magic == 0 && seals.is_some() => state,
        _ => return Err(DescribeError::NotARegion),
    };
    let (sort, backing) = sort(stat.st_nlink > 0, seals);
    let mut description = Description {
        sort,
        length,
        writable,
        seals: seals.map(|seals| seals.bits()),
        state,
        version: (head.major, head.minor),
        foreign,
        header: None,
        refused: None,
        rings: [None; MAX_RINGS],
    };
    let contents = check_contents(fd, length, None);
    description.refused = check_file(fd, backing).err().or(contents.as_ref().err().copied());
    if head.magic == MAGIC && head.major == MAJOR && read == size_of::<Header>() {
        description.header = Some(header(fd, &head, foreign)?);
    }
    if let Ok(contents) = contents {
        let entries = &contents.directory[..contents.entries];
        rings::read_all(fd, contents.kind, entries, &mut description.rings)
            .map_err(DescribeError::Os)?;
    }
    Ok(description)
}

/// No ring takes fewer than two places.
const MAX_RINGS: usize = ENTRIES / 2;

/// What a file that begins like a region says about itself: see [`describe`].
///
/// Its `Display` is a table to read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Description {
    /// Who may write to it, and how it is attached to.
    pub sort: Sort,
    /// Bytes of the file.
    pub length: u64,
    /// Whether the descriptor allows writing (a seal may forbid it nevertheless).
    pub writable: bool,
    /// The seals, as `F_GET_SEALS` gives them; `None` for a file that is not in memory.
    pub seals: Option<u32>,
    /// How far the creator has come.
    pub state: State,
    /// Major and minor version of the layout.
    pub version: (u16, u16),
    /// Whether all numbers have the other byte order; they are turned round here.
    pub foreign: bool,
    /// What follows, if it is there and of a version that can be read.
    pub header: Option<HeaderDescription>,
    /// What attaching as to a region of this sort would say to this descriptor; `None`: it would be possible. Of a
    /// region with a name whoever opens it also looks at whose file it is: see [`RegionName`](crate::RegionName).
    pub refused: Option<AttachError>,
    rings: [Option<RingDescription>; MAX_RINGS],
}

static_assertions::assert_impl_all!(Description: Send, Sync);

impl Description {
    /// The rings in the region, if its directory is sound: those of a ring with a region of its own, and of every
    /// ring that was planned among other things.
    pub fn rings(&self) -> impl Iterator<Item = &RingDescription> {
        self.rings.iter().flatten()
    }

    /// The places of the directory, as they stand there.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::{Plan, RawValue, Region};
    ///
    /// let mut plan = Plan::new();
    /// plan.array::<RawValue<[f32; 3]>>(100)?;
    /// let seen = ipc_shm::describe(Region::planned(&plan)?)?;
    /// let place = seen.places().next().expect("there is one");
    /// assert_eq!((place.offset, place.count, place.size), (0, 100, 12));
    /// assert_eq!(place.type_name.expect("it is well known").to_string(), "RawValue<[f32; 3]>");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn places(&self) -> impl Iterator<Item = PlaceDescription> {
        let entries = self.header.as_ref().map_or(&[][..], HeaderDescription::used);
        entries.iter().map(|entry| PlaceDescription {
            offset: entry.offset,
            count: entry.count,
            size: entry.size,
            align: entry.align,
            type_hash: entry.type_hash,
            type_name: TypeName::of_entry(entry),
        })
    }
}

/// The sorts of regions, as their files tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sort {
    /// A memfd that whoever has it may write to: a [`Region`](crate::Region).
    Shared,
    /// A memfd that one process may write to: for the others a `ReadOnlyRegion`.
    SingleWriter,
    /// A memfd that nobody may write to: a [`FrozenRegion`](crate::FrozenRegion).
    Frozen,
    /// A file with a name: opened by a [`RegionName`](crate::RegionName).
    Named,
    /// A file that has had a name, or has none yet: it is no memfd that could be sealed. Whoever has mapped it goes on;
    /// nobody can attach to it.
    Unlinked,
}

static_assertions::assert_impl_all!(Sort: Send, Sync);

/// How far the creator of a region has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing has been written yet, or the page was punched out.
    NotBegun,
    /// This process is writing the header and the first values, or has died doing so.
    Begun(ProcessId, Liveness),
    /// All is there.
    Ready,
    /// The word is none that a creator writes.
    Damaged(u64),
}

/// What the header of a region of this major version says. None of it has been checked:
/// [`Description::refused`] says what is wrong.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HeaderDescription {
    /// Byte order and word size of the program that made it.
    pub arch: Architecture,
    /// The hash that stands in the header.
    pub hash: u64,
    /// The hash of the directory as it stands there.
    pub found_hash: u64,
    /// What the region is for: the number, and what it means here.
    pub kind: (u32, Option<Kind>),
    /// The page size of the creator.
    pub page: u32,
    /// Bytes of the file, as the creator made it.
    pub total: u64,
    /// Where the payload begins.
    pub payload: u64,
    /// Bytes of payload.
    pub size: u64,
    /// Who made it; `None` for a word that no process has.
    pub creator: Option<ProcessId>,
    /// Whether that process lives, if the calling one is of its pid namespace and may judge.
    pub creator_lives: Liveness,
    /// The pid namespace in which the creator's number means something.
    pub domain: Admitted,
    /// How many bytes there are at least from one place to the next.
    pub line: u32,
    /// How many places the directory is said to have; more than there is room for are not shown.
    pub entries: u32,
    directory: [Entry; ENTRIES],
    /// How many of them were there to be read.
    read: usize,
}

static_assertions::assert_impl_all!(HeaderDescription: Send, Sync);

impl HeaderDescription {
    fn used(&self) -> &[Entry] {
        &self.directory[..self.read.min(self.entries as usize)]
    }
}

/// A byte order and a word size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// `"LE"` or `"BE"` as the two upper bytes, and the word size in bits.
    pub bits: u32,
}

static_assertions::assert_impl_all!(Architecture: Send, Sync);

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.bits >> 16 {
            0x4c45 => "little-endian",
            0x4245 => "big-endian",
            _ => return write!(f, "unknown ({:#x})", self.bits),
        };
        write!(f, "{order}, {} bits", self.bits & 0xffff)
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Architecture({self})")
    }
}

/// One place of a region's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaceDescription {
    /// Bytes from the start of the payload to the first element.
    pub offset: u64,
    /// How many elements.
    pub count: u64,
    /// Bytes of one.
    pub size: u32,
    /// Alignment of one.
    pub align: u32,
    /// The hash of the type's name.
    pub type_hash: u64,
    /// The name, if it is one that this crate knows.
    pub type_name: Option<TypeName>,
}

static_assertions::assert_impl_all!(PlaceDescription: Send, Sync);

/// Why there is no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescribeError {
    /// The operating system did not let it be read.
    Os(Errno),
    /// It does not begin like a region.
    NotARegion,
}

static_assertions::assert_impl_all!(DescribeError: Send, Sync);

impl fmt::Display for DescribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "cannot read the region: {errno}"),
            Self::NotARegion => f.write_str("not a region of shared memory"),
        }
    }
}

impl core::error::Error for DescribeError {}

/// The sort of a file with these seals, and what attaching to it asks for.
fn sort(has_a_name: bool, seals: Option<SealFlags>) -> (Sort, Backing) {
    let has = |needed| seals.is_some_and(|seals| seals.contains(needed));
    // The kernel gives this seal, and no other, to files in memory that were not made to be sealed.
    let cannot_be_sealed = seals.is_none_or(|seals| seals == SealFlags::SEAL);
    if has(Backing::Frozen.needed()) {
        (Sort::Frozen, Backing::Frozen)
    } else if has(Backing::SingleWriter.needed()) {
        (Sort::SingleWriter, Backing::SingleWriter)
    } else if has_a_name {
        (Sort::Named, Backing::Named)
    } else if cannot_be_sealed {
        (Sort::Unlinked, Backing::Shared)
    } else {
        (Sort::Shared, Backing::Shared)
    }
}

/// Reads until `bytes` are full or the file ends.
fn read(fd: BorrowedFd<'_>, bytes: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match retry_on_intr(|| pread(fd, &mut bytes[done..], at + done as u64))? {
            0 => break,
            more => done += more,
        }
    }
    Ok(done)
}

fn state(head: &Header, foreign: bool) -> State {
    let lives = |id| if foreign { Liveness::Unknown } else { lives(id, head.domain) };
    match (head.init, ProcessId::from_bits(head.init)) {
        (READY, _) => State::Ready,
        (0, _) => State::NotBegun,
        (_, Some(id)) => State::Begun(id, lives(id)),
        (word, None) => State::Damaged(word),
    }
}

/// Whether `id` lives, as far as this process may judge beside a cell that has this word.
fn lives(id: ProcessId, domain: u32) -> Liveness {
    match identity::current() {
        Ok(me) if me.id == id => Liveness::Alive,
        Ok(me) if DomainCell::from_bits(domain).judges(me.domain) => identity::liveness(id),
        _ => Liveness::Unknown,
    }
}

fn header(
    fd: BorrowedFd<'_>,
    head: &Header,
    foreign: bool,
) -> Result<HeaderDescription, DescribeError> {
    let mut directory = [Entry::zeroed(); ENTRIES];
    let bytes = bytemuck::cast_slice_mut(&mut directory);
    let read = read(fd, bytes, DIRECTORY as u64).map_err(DescribeError::Os)?;
    let read = read / size_of::<Entry>();
    let used = &mut directory[..read.min(head.entries as usize)];
    // Entries are hashed as they lie there, so before they are turned round.
    let found_hash = plan::hash(head.kind, head.size, used);
    if foreign {
        used.iter_mut().for_each(|entry| *entry = swapped_entry(entry));
    }
    let creator = ProcessId::from_bits(head.creator);
    let judged = creator.filter(|_| !foreign);
    Ok(HeaderDescription {
        arch: Architecture { bits: head.arch },
        hash: head.hash,
        found_hash,
        kind: (head.kind, Kind::from_bits(head.kind)),
        page: head.page,
        total: head.total,
        payload: head.payload,
        size: head.size,
        creator,
        creator_lives: judged.map_or(Liveness::Unknown, |id| lives(id, head.domain)),
        domain: DomainCell::from_bits(head.domain).seen(),
        line: head.line,
        entries: head.entries,
        directory,
        read,
    })
}

fn swapped(head: &Header) -> Header {
    Header {
        magic: head.magic.swap_bytes(),
        init: head.init.swap_bytes(),
        major: head.major.swap_bytes(),
        minor: head.minor.swap_bytes(),
        arch: head.arch.swap_bytes(),
        hash: head.hash.swap_bytes(),
        kind: head.kind.swap_bytes(),
        page: head.page.swap_bytes(),
        total: head.total.swap_bytes(),
        payload: head.payload.swap_bytes(),
        size: head.size.swap_bytes(),
        creator: head.creator.swap_bytes(),
        domain: head.domain.swap_bytes(),
        entries: head.entries.swap_bytes(),
        line: head.line.swap_bytes(),
        reserved: head.reserved.swap_bytes(),
    }
}

fn swapped_entry(entry: &Entry) -> Entry {
    Entry {
        offset: entry.offset.swap_bytes(),
        count: entry.count.swap_bytes(),
        size: entry.size.swap_bytes(),
        align: entry.align.swap_bytes(),
        type_hash: entry.type_hash.swap_bytes(),
    }
}
