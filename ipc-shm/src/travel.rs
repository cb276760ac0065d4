//! Regions, places and rings as values that travel in a [parcel](ipc_core::parcel).
//!
//! A region travels as its descriptor; one with a name does not, but its name does. A place is three numbers, which its
//! region compares with its own directory at each use, so that a wrong one is an error; of a ring it compares two, which lie in
//! a row.

use alloc::vec::Vec;

use bytemuck::Pod;
use ipc_core::parcel::{self, Handle};
use rustix::fd::{AsFd, BorrowedFd};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ring::{self, home::Places, pollable::Sockets};
use crate::{FrozenRegion, Place, Region, RegionName, Shareable, Shared, StopToken};

/// A region without a name; one that has one travels as its [`RegionName`].
impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_sealed() {
            return Err(S::Error::custom("a region with a name travels as its name"));
        }
        parcel::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize(deserializer, Self::from_fd)
    }
}

#[cfg(target_pointer_width = "64")]
impl Serialize for crate::ReadOnlyRegion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize(self, serializer)
    }
}

#[cfg(target_pointer_width = "64")]
impl<'de> Deserialize<'de> for crate::ReadOnlyRegion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize(deserializer, Self::from_fd)
    }
}

impl Serialize for FrozenRegion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for FrozenRegion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize(deserializer, Self::from_fd)
    }
}

impl Serialize for RegionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RegionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Vec::<u8>::deserialize(deserializer)?;
        Region::named(name).map_err(D::Error::custom)
    }
}

impl<T: Shareable> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.region().serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize(deserializer, Self::from_fd)
    }
}

impl<T> Serialize for Place<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_numbers().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Place<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self::from_numbers)
    }
}

impl<H, S> Serialize for Places<H, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        (self.head, self.slots).serialize(serializer)
    }
}

impl<'de, H, S> Deserialize<'de> for Places<H, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(|(head, slots)| Self { head, slots })
    }
}

impl Serialize for StopToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.memory(), Descriptor(self.as_fd())).serialize(serializer)
    }
}

/// A descriptor that is no region, on its way out.
struct Descriptor<'a>(BorrowedFd<'a>);

impl Serialize for Descriptor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for StopToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, event) = <(Handle, Handle)>::deserialize(deserializer)?;
        Self::from_fds([memory.into(), event.into()]).map_err(D::Error::custom)
    }
}

impl Serialize for Sockets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [producer, consumer] = [&self.producer, &self.consumer]
            .map(|socket| socket.as_ref().map(|socket| Descriptor(socket.as_fd())));
        (producer, consumer).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sockets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (producer, consumer) = <(Option<Handle>, Option<Handle>)>::deserialize(deserializer)?;
        Ok(Self { producer: producer.map(Into::into), consumer: consumer.map(Into::into) })
    }
}

/// Rings with two ends. One with a region of its own travels, with its sockets if it has any; where it arrives, that
/// process attaches as producer or consumer.
macro_rules! rings {
    ($($kind:ident $(<$T:ident>)?,)*) => {$(
        impl$(<$T: Pod + Send>)? Serialize for ring::$kind::Ring<'_ $(, $T)?> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.as_fd() {
                    Some(fd) => (Descriptor(fd), self.sockets()).serialize(serializer),
                    None => Err(S::Error::custom(INSIDE)),
                }
            }
        }

        impl<'de $(, $T: Pod + Send)?> Deserialize<'de> for ring::$kind::Ring<'static $(, $T)?> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                /// Without its sockets.
                struct Plain$(<$T: Pod + Send>)?(ring::$kind::Ring<'static $(, $T)?>);

                impl<'de $(, $T: Pod + Send)?> Deserialize<'de> for Plain$(<$T>)? {
                    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        let ring = ring::$kind::Ring::from_fd;
                        parcel::deserialize(deserializer, |fd| ring(fd).map(Self))
                    }
                }

                let (Plain(ring), sockets) = <(Plain$(<$T>)?, Sockets)>::deserialize(deserializer)?;
                Ok(ring.with_sockets(sockets))
            }
        }
    )*};
}

rings! { spsc<T>, indexed<T>, bytes, }

/// It travels as its descriptor; where it arrives, that process takes part.
impl<T: Pod + Send> Serialize for ring::mpmc::Ring<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_fd() {
            Some(fd) => Descriptor(fd).serialize(serializer),
            None => Err(S::Error::custom(INSIDE)),
        }
    }
}

impl<'de, T: Pod + Send> Deserialize<'de> for ring::mpmc::Ring<'static, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize(deserializer, Self::from_fd)
    }
}

const INSIDE: &str = "a ring inside something else travels with that";

macro_rules! places {
    ($($kind:ident $(<$T:ident>)?,)*) => {$(
        impl$(<$T>)? Serialize for ring::$kind::RingPlace$(<$T>)? {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de $(, $T)?> Deserialize<'de> for ring::$kind::RingPlace$(<$T>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Deserialize::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

places! { spsc<T>, indexed<T>, bytes, mpmc<T>, }
