//! Reading a value whose bytes may be anybody's: how deep it lies, and how many elements it has, is
//! bounded whatever its type.
//!
//! The format is not asked to help. What stands here lies between any deserializer and any value:
//! one wrapper, which each trait of serde's hands on to the next.
//!
//! Only a list, a map, an option or an enum can hold a value of a type that holds itself, since a
//! value must be able to end. So these are the levels that are counted; structs and tuples between
//! them are as deep as their type says.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use serde::Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{MAX_DEPTH, MAX_EMPTY, ParcelError};
use crate::Result;

/// Takes a value from the front of `bytes`, and says what is left of them.
pub(super) fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), ParcelError> {
    let most = bytes.len() as u64 + u64::from(MAX_EMPTY);
    let bounds = Bounds { elements: Cell::new(most), exceeded: Cell::new(None) };
    let mut format = postcard::Deserializer::from_bytes(bytes);
    let outermost =
        Within { inner: &mut format, bounds: &bounds, levels: MAX_DEPTH, counted: false };
    let read = T::deserialize(outermost);
    match (read, bounds.exceeded.get()) {
        // Not every format keeps the words of an error, nor every value the error.
        (_, Some(Bound::Depth)) => Err(ParcelError::TooDeep),
        (_, Some(Bound::Elements)) => Err(ParcelError::TooMany),
        (read, None) => read.and_then(|value| Ok((value, format.finalize()?))).map_err(not_read),
    }
}

fn not_read(error: postcard::Error) -> ParcelError {
    ParcelError::Unpack(error.to_string())
}

/// What a value may still take.
struct Bounds {
    /// Elements of lists and entries of maps. One that is not empty has a byte of its own, so what is
    /// spare bounds the empty ones.
    elements: Cell<u64>,
    exceeded: Cell<Option<Bound>>,
}

#[derive(Clone, Copy)]
enum Bound {
    Depth,
    Elements,
}

impl Bounds {
    #[inline]
    fn take<E: Error>(&self, count: u64) -> Result<(), E> {
        match self.elements.get().checked_sub(count) {
            Some(rest) => {
                self.elements.set(rest);
                Ok(())
            }
            None => Err(self.exceed(Bound::Elements)),
        }
    }

    #[cold]
    fn exceed<E: Error>(&self, bound: Bound) -> E {
        self.exceeded.set(Some(bound));
        E::custom("beyond the bounds of a parcel")
    }
}

/// A deserializer, or whatever else takes part, within bounds.
struct Within<'a, T> {
    inner: T,
    bounds: &'a Bounds,
    /// How many may yet lie in one another.
    levels: u32,
    /// Whether these are elements whose number the bytes say, and not the type. It is only looked at
    /// where elements can come next.
    counted: bool,
}

impl<'a, T> Within<'a, T> {
    /// Something else of the same level, whose elements are not counted, or have been.
    #[inline]
    fn with<U>(&self, inner: U) -> Within<'a, U> {
        Within { inner, bounds: self.bounds, levels: self.levels, counted: false }
    }

    /// The same, for where the next level would stand.
    #[inline]
    fn beside<U, E: Error>(&self, inner: U) -> Result<Within<'a, U>, E> {
        Ok(self.with(inner))
    }

    /// Something of the next level.
    #[inline]
    fn deeper<U, E: Error>(&self, inner: U) -> Result<Within<'a, U>, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Within { levels, counted: true, ..self.with(inner) }),
            None => Err(self.bounds.exceed(Bound::Depth)),
        }
    }

    /// Accounts for the elements of `access`, of which it says that there are `hint`.
    #[inline]
    fn counting<U, E: Error>(&self, access: U, hint: Option<usize>) -> Result<Within<'a, U>, E> {
        // One that does not say it is counted as it goes.
        let counted = self.counted && hint.is_none();
        if let (true, Some(count)) = (self.counted, hint) {
            self.bounds.take(count as u64)?;
        }
        Ok(Within { counted, ..self.with(access) })
    }

    #[inline]
    fn count_if<E: Error>(&self, there_is_one: bool) -> Result<(), E> {
        if self.counted && there_is_one { self.bounds.take(1) } else { Ok(()) }
    }
}

/// What holds no other value.
macro_rules! deserialize_plain {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

/// What holds others: on the same level, or on the next one.
macro_rules! deserialize_holders {
    ($level:ident: $($method:ident($($parameter:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($parameter: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = self.$level(visitor)?;
            self.inner.$method($($parameter,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Within<'_, D> {
    type Error = D::Error;

    deserialize_plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_identifier
    }

    deserialize_holders! { beside:
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }

    deserialize_holders! { deeper:
        deserialize_any()
        deserialize_ignored_any()
        deserialize_option()
        deserialize_seq()
        deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit_plain {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plain! {
        visit_bool(bool) visit_char(char) visit_f32(f32) visit_f64(f64)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, format: D) -> Result<V::Value, D::Error> {
        let format = self.with(format);
        self.inner.visit_some(format)
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, format: D) -> Result<V::Value, D::Error> {
        let format = self.with(format);
        self.inner.visit_newtype_struct(format)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let hint = access.size_hint();
        let access = self.counting(access, hint)?;
        self.inner.visit_seq(access)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let hint = access.size_hint();
        let access = self.counting(access, hint)?;
        self.inner.visit_map(access)
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.with(access);
        self.inner.visit_enum(access)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Within<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let seed = self.with(seed);
        let element = self.inner.next_element_seed(seed)?;
        self.count_if(element.is_some())?;
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Within<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let seed = self.with(seed);
        let key = self.inner.next_key_seed(seed)?;
        self.count_if(key.is_some())?;
        Ok(key)
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Within<'a, A> {
    type Error = A::Error;
    type Variant = Within<'a, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (seed, rest) = (self.with(seed), self.with(()));
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, rest.with(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Within<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<'_, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, format: D) -> Result<T::Value, D::Error> {
        let format = self.with(format);
        self.inner.deserialize(format)
    }
}
