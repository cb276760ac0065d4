//! What must hold for any file that looks a little like a region.
//!
//! The input is a number of changes to the bytes of a good region. The result goes to `Region::from_fd` and to
//! `describe`: whether it is a region is decided a second time here, from `docs/LAYOUT.md`, and all three must agree.
//! Used by `tests/describe.rs`, with fixed seeds and with a corpus, and by the fuzz target `attach`.

use core::fmt::{self, Write};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use ipc_shm::describe::{DescribeError, Filled, Sort};
use ipc_shm::ring::spsc::{Ring, RingPlace};
use ipc_shm::ring::{bytes, indexed};
use ipc_shm::{AttachError, Errno, FrozenRegion, Plan, RawValue, ReadOnlyRegion, Region, describe};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A mistake that telling a region is made to have, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None.
    Nothing,
    /// Two places may overlap.
    ForgetsTheOverlap,
}

/// What became of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not even the beginning of a region.
    Nothing,
    /// A region that cannot be used, for this reason.
    Refused(AttachError),
    /// A region, and how much the rings in it are worth.
    Taken {
        /// How many rings have a sound number of messages.
        sound: usize,
        /// How many have not.
        damaged: usize,
    },
}

/// Header fields and their sizes, as `docs/LAYOUT.md` has them.
pub(crate) const FIELDS: [(usize, usize); 15] = [
    (0, 8),
    (8, 8),
    (16, 2),
    (18, 2),
    (20, 4),
    (24, 8),
    (32, 4),
    (36, 4),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 8),
    (72, 4),
    (76, 4),
    (80, 4),
];

const DIRECTORY: usize = 1024;
const PAYLOAD: usize = 4096;
const READY: u64 = 1 << 63;
/// A length that files in memory can have, and mappings cannot.
const HUGE: u64 = 1 << 62;

/// Changes a good region as `input` says, and looks at what has come of it. `Err` says what did not hold.
pub(crate) fn run(input: &[u8], bug: Bug) -> Result<Outcome, String> {
    let image = Image::new(input);
    let file = image.file();
    let expected = image.is_region(bug);
    let again = file.try_clone().map_err(|error| error.to_string())?;
    let (sort, found) = match image.seals {
        _ if !image.is_sealed() => (Sort::Shared, Region::from_fd(again).map(drop)),
        seals if seals.contains(SealFlags::WRITE) => {
            (Sort::Frozen, FrozenRegion::from_fd(again).map(drop))
        }
        seals if seals.contains(SealFlags::FUTURE_WRITE) => {
            (Sort::SingleWriter, ReadOnlyRegion::from_fd(again).map(drop))
        }
        _ => (Sort::Shared, Region::from_fd(again).map(drop)),
    };
    let mut refused = found.err();
    if expected && image.length == HUGE && refused == Some(AttachError::Os(Errno::NOMEM)) {
        // All is well but that no address space is so large.
        refused = None;
    }
    match (refused, expected) {
        (None, false) => return Err("what is no region is taken".into()),
        (Some(error), true) => return Err(format!("a region is refused: {error}")),
        (Some(AttachError::Os(errno)), false) => return Err(format!("no reason of ours: {errno}")),
        _ => {}
    }
    let seen = match describe(&file) {
        Ok(seen) => seen,
        Err(DescribeError::NotARegion) if !image.begins_like_one() => {
            return Ok(Outcome::Nothing);
        }
        Err(error) => return Err(format!("not described: {error}")),
    };
    if seen.sort != sort {
        return Err(format!("{sort:?}, but described as {:?}", seen.sort));
    }
    if seen.refused != refused {
        return Err(format!("{refused:?}, but described as {:?}", seen.refused));
    }
    if seen.places().count() > Plan::MAX_PLACES {
        return Err("more places than there is room for".into());
    }
    for ring in seen.rings() {
        // What the file is like keeps nobody from looking into it.
        let is_sound =
            matches!(refused, None | Some(AttachError::ReadOnly | AttachError::NotSealed { .. }));
        if !is_sound {
            return Err(format!("a ring in what is {refused:?}"));
        }
        if ring.filled.count().is_some_and(|count| count > ring.capacity) {
            return Err(format!("{ring:?}"));
        }
        if matches!(ring.filled, Filled::About(_) | Filled::Moving) {
            return Err(format!("nobody moves it: {ring:?}"));
        }
    }
    let mut text = Measure(0);
    write!(text, "{seen}").map_err(|_| "more than a screenful or two".to_owned())?;
    Ok(match refused {
        Some(error) => Outcome::Refused(error),
        None => {
            let damaged = seen.rings().filter(|ring| ring.filled == Filled::Damaged).count();
            Outcome::Taken { sound: seen.rings().count() - damaged, damaged }
        }
    })
}

/// The bytes of a file, and what is sealed.
struct Image {
    bytes: Vec<u8>,
    length: u64,
    seals: SealFlags,
}

impl Image {
    /// The first two bytes say which region it was and what the file is like; then come four bytes for each change.
    fn new(input: &[u8]) -> Self {
        let (first, flags) =
            (input.first().copied().unwrap_or(0), input.get(1).copied().unwrap_or(0));
        let bases = bases();
        let mut bytes = bases[usize::from(first) % bases.len()].clone();
        for change in input.get(2..).unwrap_or_default().chunks_exact(4) {
            apply(&mut bytes, change.try_into().expect("chunks of four"));
        }
        if flags & 1 != 0 {
            let found = hash(&bytes);
            bytes[24..32].copy_from_slice(&found.to_ne_bytes());
        }
        let full = bytes.len() as u64;
        let length = match flags >> 4 {
            1 => full - 1,
            2 => PAYLOAD as u64,
            3 => PAYLOAD as u64 + 1,
            4 => u64::from(first),
            5 => full * 2,
            // The directory may claim anything then.
            6 => HUGE,
            _ => full,
        };
        let both = SealFlags::SHRINK | SealFlags::GROW;
        let seals = match flags >> 1 & 7 {
            1 => SealFlags::empty(),
            2 => SealFlags::SHRINK,
            3 => both | SealFlags::FUTURE_WRITE,
            4 => both | SealFlags::SEAL,
            5 => both | SealFlags::WRITE,
            _ => both,
        };
        Self { bytes, length, seals }
    }

    fn file(&self) -> OwnedFd {
        let fd = memfd_create(c"ipc-shm", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .expect("a memfd");
        let file = File::from(fd);
        let kept = self.bytes.len().min(self.length as usize);
        file.write_all_at(&self.bytes[..kept], 0).expect("memory");
        file.set_len(self.length).expect("a length");
        fcntl_add_seals(&file, self.seals).expect("seals");
        file.into()
    }

    /// What is there of the word at `offset`.
    fn number(&self, offset: usize, size: usize) -> u64 {
        let mut word = [0; 8];
        if offset as u64 + size as u64 <= self.length {
            word[..size].copy_from_slice(&self.bytes[offset..][..size]);
        }
        u64::from_ne_bytes(word)
    }

    fn is_sealed(&self) -> bool {
        self.seals.contains(SealFlags::SHRINK | SealFlags::GROW)
    }

    fn begins_like_one(&self) -> bool {
        let magic = self.number(0, 8).to_ne_bytes();
        let mut other = magic;
        other.reverse();
        self.length >= 24 && (magic == *b"ipc-shm\0" || other == *b"ipc-shm\0")
    }

    /// All that a reader must check, in any order.
    fn is_region(&self, bug: Bug) -> bool {
        let [
            magic,
            init,
            major,
            minor,
            arch,
            found_hash,
            kind,
            page,
            total,
            payload,
            size,
            creator,
            domain,
            entries,
            line,
        ] = FIELDS.map(|(offset, size)| self.number(offset, size));
        let arch_of_ours = if cfg!(target_endian = "little") { 0x4c45_0000 } else { 0x4245_0000 };
        self.is_sealed()
            && self.length > PAYLOAD as u64
            && magic.to_ne_bytes() == *b"ipc-shm\0"
            && init == READY
            && (major, minor) == (1, 0)
            && arch == u64::from(arch_of_ours | usize::BITS)
            && total <= self.length
            && payload == PAYLOAD as u64
            && size > 0
            && size <= total.saturating_sub(payload)
            && page == rustix::param::page_size() as u64
            && line == 128
            && (1..=6).contains(&kind)
            && domain != 0
            && creator >> 63 == 0
            && creator & 0x3f_ffff != 0
            && entries <= 96
            && self.is_directory(entries as usize, size, bug)
            && found_hash == hash(&self.bytes)
    }

    fn is_directory(&self, entries: usize, size: u64, bug: Bug) -> bool {
        let mut free = 0;
        (0..entries).all(|index| {
            let word = |number: usize| self.number(DIRECTORY + index * 32 + number * 8, 8);
            let half = |number: usize| self.number(DIRECTORY + index * 32 + 16 + number * 4, 4);
            let (offset, count) = (u128::from(word(0)), u128::from(word(1)));
            let (one, align) = (half(0) as u32, half(1) as u32);
            let end = offset + count * u128::from(one);
            let apart = offset >= free || bug == Bug::ForgetsTheOverlap;
            free = end;
            apart
                && align.is_power_of_two()
                && offset % u128::from(align) == 0
                && end > offset
                && end <= u128::from(size)
        })
    }
}

/// The changes that get past the first checks are few; so most of what there is are small steps from a good value.
fn apply(bytes: &mut [u8], [target, how, a, b]: [u8; 4]) {
    let (offset, size) = match usize::from(target) {
        field @ 0..14 => FIELDS[field],
        // Three entries, and a fourth that is not used.
        word @ 14..46 => {
            let (entry, field) = ((word - 14) / 8, (word - 14) % 8);
            let (offset, size) =
                [(0, 8), (8, 8), (16, 4), (20, 4), (24, 8), (0, 4), (4, 4), (12, 4)][field];
            (DIRECTORY + entry * 32 + offset, size)
        }
        255 => FIELDS[14],
        // The first words of the payload: roles and slots.
        word => (PAYLOAD + (word - 46) * 8, 8),
    };
    let Some(place) = bytes.get_mut(offset..offset + size) else { return };
    let mut word = [0; 8];
    word[..size].copy_from_slice(place);
    let old = u64::from_ne_bytes(word);
    let special = [0, 1, 2, u64::MAX, 1 << 63, 1 << 62, 4096, 4097, 1 << 31, 1 << 32, 8192, 128];
    let new = match how % 5 {
        0 => special[usize::from(a) % special.len()],
        1 => old.wrapping_add_signed(i64::from(a as i8)),
        2 => old ^ (1 << (a % 64)),
        3 => u64::from(u16::from_le_bytes([a, b])),
        // The other byte order, for a number of this size.
        _ => old.swap_bytes() >> (64 - 8 * size),
    };
    place.copy_from_slice(&new.to_ne_bytes()[..size]);
}

/// The hash of the header and the directory as they stand there.
fn hash(bytes: &[u8]) -> u64 {
    let number = |offset: usize, size: usize| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(&bytes[offset..][..size]);
        u64::from_ne_bytes(word)
    };
    let numbers = [1, number(32, 4), number(56, 8)];
    let entries = (number(76, 4) as usize).min(96);
    let hashed = numbers.iter().flat_map(|number| number.to_le_bytes());
    let hashed = hashed.chain(bytes[DIRECTORY..][..entries * 32].iter().copied());
    hashed.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Good regions: bytes, places, a ring, a ring among other things, and one of each other layout.
fn bases() -> &'static [Vec<u8>] {
    static BASES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    BASES.get_or_init(|| {
        let mut plan = Plan::new();
        plan.array::<RawValue<u64>>(8).expect("room");
        plan.one::<RawValue<[u16; 3]>>().expect("room");
        plan.array::<RawValue<u8>>(100).expect("room");
        let planned = Region::planned(&plan).expect("memory");
        let ring = Ring::<u64>::create(4).expect("memory");
        fill(&ring);
        let mut plan = Plan::new();
        plan.one::<RawValue<u32>>().expect("room");
        let place = RingPlace::<u32>::plan(&mut plan, 3).expect("room");
        let among = Region::planned(&plan).expect("memory");
        fill(&Ring::in_region(&among, place).expect("it is there"));
        let raw = Region::anonymous(100).expect("memory");
        let indexed = indexed::Ring::<u32>::create(4).expect("memory");
        assert!(indexed.producer().is_ok_and(|mut producer| producer.push(7).is_ok()));
        let records = bytes::Ring::create(64).expect("memory");
        assert!(records.producer().is_ok_and(|mut producer| producer.push(7, b"seven").is_ok()));
        let own = "its own region";
        let rings = [ring.as_fd(), indexed.as_fd(), records.as_fd()].map(|fd| fd.expect(own));
        let [ring, indexed, records] = rings;
        [raw.as_fd(), planned.as_fd(), ring, among.as_fd(), indexed, records].map(bytes_of).into()
    })
}

/// A lap and a half, and two messages that stay.
fn fill<T: ipc_shm::bytemuck::Pod + Send>(ring: &Ring<'_, T>) {
    let (mut producer, mut consumer) =
        (ring.producer().expect("free"), ring.consumer().expect("free"));
    for step in 0..6 {
        assert!(producer.push(T::zeroed()).is_ok(), "there is room");
        assert!(step < 2 || consumer.pop().is_ok(), "there is a message");
    }
}

fn bytes_of(fd: impl AsFd) -> Vec<u8> {
    let file = File::from(fd.as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut bytes = vec![0; file.metadata().expect("a file").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("all of it");
    bytes
}

/// Counts what is written, and allows no more than a table of all places takes.
struct Measure(usize);

impl Write for Measure {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        if self.0 < 30_000 { Ok(()) } else { Err(fmt::Error) }
    }
}
