//! Values that travel to another process, with the handles inside them.
//!
//! A connection, a region or a child's pidfd is a file descriptor, which means something in one
//! process only. A [`Parcel`] is a value as two things that can travel: bytes, and the descriptors
//! that the handles inside the value stand for. Any [`Serialize`] value can be packed; a handle
//! serialises to its place among the descriptors, and only inside a parcel: anywhere else (in
//! a file, in JSON) it is an error, not a number that means nothing.
//!
//! The bytes are [postcard](https://docs.rs/postcard)'s. They say nothing of the type, so both sides must agree on
//! it, as with any message. A type that asks its bytes what they are is an error: serde's `untagged` and internally
//! tagged enums, `flatten`, and whatever calls `deserialize_any`, such as a JSON value. One with
//! `skip_serializing_if` is misread. What is unpacked owns its data: `String` and not `&str`.
//!
//! A [`File`](std::fs::File), a socket or a pipe of std is no serde value; it travels as a [`Handle`].
//!
//! # Copies
//!
//! Packing copies each handle (`F_DUPFD_CLOEXEC`), so that both processes have one afterwards. Whoever shall see the end
//! of a connection drops its own.
//!
//! # Bytes from others
//!
//! Whatever the bytes are, and whatever the type, unpacking ends with a value or an error, takes time
//! and memory in proportion to their number, and leaves no descriptor behind. For that, two things
//! have a bound:
//!
//! * lists, maps, options and enums lie in one another at most [`MAX_DEPTH`] deep. A type that holds
//!   itself, such as a tree, could else overflow the stack, which ends the process;
//! * at most [`MAX_EMPTY`] elements of lists take no bytes at all. How many there are is just said,
//!   and may be 2⁶⁴ − 1.
//!
//! Packing has no such bounds: a value beyond them is refused by whoever unpacks it.
//!
//! # Examples
//!
//! ```
//! use ipc_core::connection::{self, Sender};
//! use ipc_core::parcel::Parcel;
//!
//! let (mut receiver, sender) = connection::simplex()?;
//! let parcel = Parcel::pack(&("bob", sender))?;
//! assert_eq!(parcel.fds.len(), 1);
//! // .. travels to another process ..
//! let (name, mut sender): (String, Sender) = parcel.unpack()?;
//! sender.send_value(&name)?;
//! assert_eq!(receiver.recv_value::<String>()?, "bob");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Errno, Result};

mod bounded;

/// How deep lists, maps, options and enums may lie in one another in a value that is unpacked.
///
/// # Examples
///
/// ```
/// use ipc_core::parcel::{MAX_DEPTH, Parcel, ParcelError};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Nested(Vec<Nested>);
///
/// let nested = |depth| (1..depth).fold(Nested(Vec::new()), |inner, _| Nested(vec![inner]));
/// let parcel = Parcel::pack(&nested(MAX_DEPTH))?;
/// assert!(parcel.unpack::<Nested>().is_ok());
/// let parcel = Parcel::pack(&nested(MAX_DEPTH + 1))?;
/// assert!(matches!(parcel.unpack::<Nested>(), Err(ParcelError::TooDeep)));
/// # Ok::<(), ParcelError>(())
/// ```
pub const MAX_DEPTH: u32 = 128;

/// How many elements of lists and entries of maps may take no bytes at all, such as those of a
/// `Vec<()>`, in all of a value that is unpacked.
pub const MAX_EMPTY: u32 = 1 << 16;

std::thread_local! {
    /// What the value that is being packed, or unpacked, has for its handles.
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Open {
    packing: bool,
    /// What a handle has taken is gone: no two handles share a descriptor.
    fds: Vec<Option<OwnedFd>>,
    /// Why a handle failed. Not every format keeps the words of an error.
    failure: Option<ParcelError>,
}

/// A value that can travel: its bytes, and the descriptors of the handles in it.
///
/// # Examples
///
/// ```
/// use ipc_core::parcel::Parcel;
///
/// let parcel = Parcel::pack(&(42, "hello"))?;
/// assert_eq!(parcel.unpack::<(i32, String)>()?, (42, "hello".into()));
/// # Ok::<(), ipc_core::parcel::ParcelError>(())
/// ```
#[derive(Debug)]
pub struct Parcel {
    /// The value.
    pub bytes: Vec<u8>,
    /// Its handles' descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

impl Parcel {
    /// Packs a value.
    ///
    /// # Errors
    ///
    /// [`ParcelError::Pack`] if the value cannot be serialised, [`ParcelError::Copy`] if a handle in it
    /// cannot be copied: `EMFILE`.
    pub fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Self, ParcelError> {
        let scope = Scope::enter(true, Vec::new());
        let packed = postcard::to_allocvec(value);
        let Open { fds, failure, .. } = scope.leave();
        match (packed, failure) {
            (Ok(bytes), None) => Ok(Self { bytes, fds: fds.into_iter().flatten().collect() }),
            (_, Some(failure)) => Err(failure),
            (Err(error), None) => Err(ParcelError::Pack(error.to_string())),
        }
    }

    /// Unpacks the value. Descriptors that no handle takes are closed.
    ///
    /// # Errors
    ///
    /// [`ParcelError::Unpack`] if the bytes are not such a value, or more than one;
    /// [`ParcelError::TooDeep`] and [`ParcelError::TooMany`] beyond the bounds of a value;
    /// [`ParcelError::Missing`] if they name a descriptor that did not come, or name one twice;
    /// [`ParcelError::Refused`] if one is not what a handle needs. All descriptors are closed then.
    pub fn unpack<T: DeserializeOwned>(self) -> Result<T, ParcelError> {
        let scope = Scope::enter(false, self.fds.into_iter().map(Some).collect());
        let unpacked = bounded::take(&self.bytes);
        match (unpacked, scope.leave().failure) {
            (Ok((value, [])), None) => Ok(value),
            (_, Some(failure)) => Err(failure),
            (Ok((_, rest)), None) => {
                Err(ParcelError::Unpack(format!("{} bytes are left", rest.len())))
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// Reads a value without handles from the front of `bytes`, with the bounds of a parcel; the rest of
/// the bytes comes back.
///
/// # Errors
///
/// [`ParcelError::Unpack`], [`ParcelError::TooDeep`] and [`ParcelError::TooMany`], as
/// [`Parcel::unpack`].
///
/// # Examples
///
/// ```
/// use ipc_core::parcel::take_from_bytes;
///
/// let (number, rest) = take_from_bytes::<u8>(&[7, 1, b'x'])?;
/// assert_eq!((number, take_from_bytes::<String>(rest)?), (7, ("x".into(), &[][..])));
/// # Ok::<(), ipc_core::parcel::ParcelError>(())
/// ```
pub fn take_from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), ParcelError> {
    bounded::take(bytes)
}

static_assertions::assert_impl_all!(Parcel: Send, Sync);

/// A parcel that is open, in front of one that was open before. It is put back also when the value's
/// own code panics.
struct Scope {
    before: Option<Open>,
}

impl Scope {
    fn enter(packing: bool, fds: Vec<Option<OwnedFd>>) -> Self {
        Self { before: OPEN.replace(Some(Open { packing, fds, failure: None })) }
    }

    fn leave(self) -> Open {
        // Each scope that a value opens inside ends before this one.
        OPEN.take().expect("a scope is open until it ends")
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        OPEN.set(self.before.take());
    }
}

/// Serialises a handle: copies its descriptor into the parcel that is being packed.
///
/// This is what the `Serialize` of a handle calls.
///
/// # Errors
///
/// Outside of [`Parcel::pack`]; and if the descriptor cannot be copied, which `pack` reports as
/// [`ParcelError::Copy`].
///
/// # Examples
///
/// ```
/// use ipc_core::parcel;
/// use serde::{Deserialize, Deserializer, Serialize, Serializer};
/// use std::os::fd::OwnedFd;
///
/// struct LogFile(OwnedFd);
///
/// impl Serialize for LogFile {
///     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
///         parcel::serialize(&self.0, serializer)
///     }
/// }
///
/// impl<'de> Deserialize<'de> for LogFile {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         parcel::deserialize(deserializer, |fd| Ok::<_, ipc_core::Errno>(Self(fd)))
///     }
/// }
///
/// let log = LogFile(std::fs::File::open("/dev/null")?.into());
/// let _copy: LogFile = parcel::Parcel::pack(&log)?.unpack()?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn serialize<S: Serializer>(fd: impl AsFd, serializer: S) -> Result<S::Ok, S::Error> {
    let place = OPEN.with_borrow_mut(|open| {
        let Some(open) = open.as_mut().filter(|open| open.packing) else {
            return Err(S::Error::custom("a handle travels in a parcel only"));
        };
        // The first three numbers are for what programs find there.
        match fcntl_dupfd_cloexec(fd, 3) {
            Ok(copy) => open.fds.push(Some(copy)),
            Err(errno) => {
                open.failure = Some(ParcelError::Copy(errno));
                return Err(S::Error::custom(errno));
            }
        }
        Ok(open.fds.len() as u32 - 1)
    });
    serializer.serialize_u32(place?)
}

/// Deserialises a handle: takes its descriptor out of the parcel that is being unpacked, and makes
/// of it what `make` makes.
///
/// # Errors
///
/// Outside of [`Parcel::unpack`]; and if there is no such descriptor, or `make` refuses it, which
/// `unpack` reports as [`ParcelError::Missing`] and [`ParcelError::Refused`].
///
/// # Examples
///
/// See [`serialize`].
pub fn deserialize<'de, D, T, E>(
    deserializer: D,
    make: impl FnOnce(OwnedFd) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    let place = u32::deserialize(deserializer)? as usize;
    let fd = OPEN.with_borrow_mut(|open| {
        let Some(open) = open.as_mut().filter(|open| !open.packing) else {
            return Err(D::Error::custom("a handle travels in a parcel only"));
        };
        Ok(open.fds.get_mut(place).and_then(Option::take))
    })?;
    // `make` may itself unpack something, so nothing is borrowed while it runs.
    let made = match fd {
        Some(fd) => make(fd).map_err(|error| ParcelError::Refused(error.to_string())),
        None => Err(ParcelError::Missing),
    };
    made.map_err(|failure| {
        let error = D::Error::custom(&failure);
        OPEN.with_borrow_mut(|open| open.as_mut().map(|open| open.failure = Some(failure)));
        error
    })
}

/// Any descriptor, as a value that can be packed.
///
/// # Examples
///
/// ```
/// use ipc_core::parcel::{Handle, Parcel};
/// use std::io::Read;
///
/// let file = std::fs::File::open("/dev/zero")?;
/// let parcel = Parcel::pack(&Handle::from(std::os::fd::OwnedFd::from(file)))?;
/// let handle: Handle = parcel.unpack()?;
/// let mut byte = [1];
/// std::fs::File::from(std::os::fd::OwnedFd::from(handle)).read_exact(&mut byte)?;
/// assert_eq!(byte, [0]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Handle(OwnedFd);

static_assertions::assert_impl_all!(Handle: Send, Sync);

impl From<OwnedFd> for Handle {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, |fd| Ok::<_, Errno>(Self(fd)))
    }
}

/// Why a value could not be packed or unpacked.
///
/// # Examples
///
/// ```
/// use ipc_core::parcel::{Parcel, ParcelError};
///
/// let parcel = Parcel::pack("text")?;
/// assert!(matches!(parcel.unpack::<Vec<String>>(), Err(ParcelError::Unpack(_))));
/// # Ok::<(), ParcelError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParcelError {
    /// The value cannot be serialised.
    Pack(String),
    /// The bytes are not such a value.
    Unpack(String),
    /// Lists, maps, options and enums lie in one another deeper than [`MAX_DEPTH`].
    TooDeep,
    /// More than [`MAX_EMPTY`] elements of lists take no bytes.
    TooMany,
    /// A handle's descriptor could not be copied.
    Copy(Errno),
    /// The bytes name a descriptor that did not come, or name one twice.
    Missing,
    /// A descriptor is not what the handle needs: what the handle says.
    Refused(String),
}

impl fmt::Display for ParcelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(why) => write!(f, "the value cannot be packed: {why}"),
            Self::Unpack(why) => write!(f, "the value cannot be unpacked: {why}"),
            Self::TooDeep => write!(f, "the value lies deeper than {MAX_DEPTH} levels"),
            Self::TooMany => f.write_str("the value has more elements than its bytes can hold"),
            Self::Copy(errno) => write!(f, "a handle cannot be copied: {errno}"),
            Self::Missing => f.write_str("a handle's descriptor did not come"),
            Self::Refused(why) => write!(f, "a descriptor is not what its handle needs: {why}"),
        }
    }
}

impl core::error::Error for ParcelError {}

static_assertions::assert_impl_all!(ParcelError: Send, Sync);
