//! [`TypeName`]: the types whose names can be told from their hashes.
//!
//! A hash cannot be undone, so every name that there might be is hashed and compared. The sizes of the entry leave few
//! lengths for an array, so a type costs a few thousand short hashes at most.

use core::any::type_name;
use core::fmt;
use core::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
};

use ipc_sync::{Mutex, OnceLock, ReentrantMutex};

use crate::layout::{Crowd, Entry, Indexes, Payload, Roles, Slot};
use crate::plan::Fnv;
use crate::{Atomic, RawValue};

/// The name of a type that this crate knows: plain numbers, arrays of them, and what can be around these.
///
/// Names are compared as the compiler of this program writes them. A region of another compiler's program may have
/// types that go without a name for that reason.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeName {
    /// The type around it, with what stands before and after its parameter.
    around: Option<(&'static str, &'static str)>,
    inner: &'static str,
    /// The length of an array of `inner`.
    array: Option<u64>,
}

static_assertions::assert_impl_all!(TypeName: Send, Sync);

impl TypeName {
    /// The name of the type that the entry is for.
    pub(super) fn of_entry(entry: &Entry) -> Option<Self> {
        let is_it = |name: &Self| name.hash() == entry.type_hash;
        let alone = |inner| Self { around: None, inner, array: None };
        if let Some(name) = alone_in_a_place().into_iter().map(alone).find(is_it) {
            return Some(name);
        }
        WRAPPERS.iter().find_map(|wrapper| {
            let around = match wrapper.name {
                Some(name) => Some(name().split_once("u8")?),
                None => None,
            };
            // What the size leaves for the parameter, which may end with up to 7 bytes of padding.
            let most = u64::from(entry.size).checked_sub(wrapper.head)?;
            ELEMENTS.iter().find_map(|(element, size)| {
                let single = Self { around, inner: element(), array: None };
                let counts = (most.saturating_sub(7)).div_ceil(*size)..=most / size;
                let arrays = counts.map(|count| Self { array: Some(count), ..single });
                core::iter::once(single).chain(arrays).find(is_it)
            })
        })
    }

    /// The hash as a directory has it.
    fn hash(&self) -> u64 {
        let mut hash = Fnv::new();
        // Hashing never fails.
        let _ = self.write(&mut hash, |name| name);
        hash.0
    }

    fn write(
        self,
        out: &mut impl fmt::Write,
        name: fn(&'static str) -> &'static str,
    ) -> fmt::Result {
        let (before, after) = self.around.unwrap_or_default();
        out.write_str(name(before))?;
        match self.array {
            Some(count) => write!(out, "[{}; {count}]", self.inner)?,
            None => out.write_str(name(self.inner))?,
        }
        out.write_str(after)
    }
}

/// Whether the entry is for values of type `T`.
pub(super) fn is_named<T>(entry: &Entry) -> bool {
    entry.type_hash == Fnv::new().bytes(type_name::<T>().as_bytes()).0
}

impl fmt::Display for TypeName {
    /// Without the modules that the types are in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |name| {
            let path = &name[..name.find('<').unwrap_or(name.len())];
            &name[path.rfind("::").map_or(0, |at| at + 2)..]
        })
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeName({self})")
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        *self = self.bytes(text.as_bytes());
        Ok(())
    }
}

/// A type with one parameter.
struct Wrapper {
    /// With `u8` as its parameter; `None`: the parameter itself.
    name: Option<fn() -> &'static str>,
    /// Bytes before the value of the parameter.
    head: u64,
}

const fn wrapper<T>(name: fn() -> &'static str) -> Wrapper {
    // With a parameter that takes 8 bytes and is aligned to them.
    Wrapper { name: Some(name), head: size_of::<T>() as u64 - 8 }
}

const WRAPPERS: [Wrapper; 7] = [
    Wrapper { name: None, head: 0 },
    wrapper::<RawValue<u64>>(type_name::<RawValue<u8>>),
    wrapper::<Slot<u64>>(type_name::<Slot<u8>>),
    wrapper::<Payload<u64>>(type_name::<Payload<u8>>),
    wrapper::<Mutex<u64>>(type_name::<Mutex<u8>>),
    wrapper::<ReentrantMutex<u64>>(type_name::<ReentrantMutex<u8>>),
    wrapper::<OnceLock<u64>>(type_name::<OnceLock<u8>>),
];

/// What may be in a wrapper, or in an array in one, and its size.
type Element = (fn() -> &'static str, u64);

const fn element<T>() -> Element {
    (type_name::<T>, size_of::<T>() as u64)
}

const ELEMENTS: [Element; 14] = [
    element::<u8>(),
    element::<u16>(),
    element::<u32>(),
    element::<u64>(),
    element::<u128>(),
    element::<usize>(),
    element::<i8>(),
    element::<i16>(),
    element::<i32>(),
    element::<i64>(),
    element::<i128>(),
    element::<isize>(),
    element::<f32>(),
    element::<f64>(),
];

/// Types without a parameter.
fn alone_in_a_place() -> [&'static str; 19] {
    [
        type_name::<Roles>(),
        type_name::<Indexes>(),
        type_name::<Crowd>(),
        type_name::<Atomic<AtomicU8>>(),
        type_name::<Atomic<AtomicU16>>(),
        type_name::<Atomic<AtomicU32>>(),
        type_name::<Atomic<AtomicU64>>(),
        type_name::<Atomic<AtomicI8>>(),
        type_name::<Atomic<AtomicI16>>(),
        type_name::<Atomic<AtomicI32>>(),
        type_name::<Atomic<AtomicI64>>(),
        type_name::<ipc_sync::Event>(),
        type_name::<ipc_sync::EventCount>(),
        type_name::<ipc_sync::Semaphore>(),
        type_name::<ipc_sync::BinarySemaphore>(),
        type_name::<ipc_sync::CountingSemaphore>(),
        type_name::<ipc_sync::Condvar>(),
        type_name::<ipc_sync::Latch>(),
        type_name::<ipc_sync::Once>(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;
    use alloc::string::ToString as _;
    use ipc_core::Shareable;

    fn name<T: Shareable>() -> Option<alloc::string::String> {
        let mut plan = Plan::new();
        plan.one::<T>().unwrap();
        TypeName::of_entry(&plan.entries()[0]).map(|name| name.to_string())
    }

    fn known<T: Shareable>(expected: &str) {
        assert_eq!(name::<T>().as_deref(), Some(expected));
    }

    #[test]
    fn names_come_back_from_their_hashes() {
        known::<u32>("u32");
        known::<[f64; 3]>("[f64; 3]");
        known::<Roles>("Roles");
        known::<Indexes>("Indexes");
        known::<Crowd>("Crowd");
        known::<Payload<[u8; 3]>>("Payload<[u8; 3]>");
        known::<Slot<u8>>("Slot<u8>");
        known::<Slot<[u8; 3]>>("Slot<[u8; 3]>");
        known::<Slot<[u64; 7]>>("Slot<[u64; 7]>");
        known::<Slot<u128>>("Slot<u128>");
        known::<RawValue<[u16; 3]>>("RawValue<[u16; 3]>");
        known::<RawValue<[u8; 4096]>>("RawValue<[u8; 4096]>");
        known::<Mutex<[u64; 2]>>("Mutex<[u64; 2]>");
        known::<Mutex<u8>>("Mutex<u8>");
        known::<ReentrantMutex<u64>>("ReentrantMutex<u64>");
        known::<OnceLock<u32>>("OnceLock<u32>");
        known::<ipc_sync::Event>("Event");
        let atomic = name::<Atomic<AtomicU64>>().unwrap();
        assert!(atomic.starts_with("Atomic<"), "{atomic}");
    }

    #[test]
    fn what_is_not_known_has_no_name() {
        struct Own;
        let mut plan = Plan::new();
        plan.one::<u64>().unwrap();
        let mut entry = plan.entries()[0];
        entry.type_hash = Fnv::new().bytes(type_name::<Own>().as_bytes()).0;
        assert_eq!(TypeName::of_entry(&entry), None);
        for (size, hash) in [(0, 0), (u32::MAX, u64::MAX), (1, 1)] {
            (entry.size, entry.type_hash) = (size, hash);
            assert_eq!(TypeName::of_entry(&entry), None);
        }
    }
}
