//! What may lie in memory that several processes map.
//!
//! # Safety
//!
//! The implementations below are for types without padding, pointers or invalid bit patterns.
#![expect(unsafe_code, reason = "an unsafe marker trait and its implementations")]

/// Types whose values may lie in memory shared by processes.
///
/// Another process may have been killed in the middle of a store, may run another build of the
/// program, and maps the memory at another address. So a shared value is fixed in size and
/// layout, and every pattern of bytes is a valid value of it.
///
/// Plain data is shareable through [`bytemuck::Pod`], which bytemuck's feature `derive` derives for a struct;
/// `bool`, `char`, enums, references, `Box`, types with padding and types with a destructor are not:
///
/// ```compile_fail
/// fn shared<T: ipc_core::Shareable>() {}
/// shared::<bool>();
/// ```
///
/// Instead of a `bool` keep a `u8`, and ask whether it is 0; instead of padding, a field that has a name.
///
/// # Safety
///
/// An implementation promises that
///
/// - every pattern of bits, all zeros included, is a valid value;
/// - the type contains no pointer or reference, not even an unused one;
/// - it has no destructor, and its layout is fixed: `repr(C)` or `repr(transparent)` over
///   fixed-width integers, with no padding that a reader could see;
/// - values can be used from several processes at once: `&T` allows no unsynchronised write;
/// - no other shareable type has the same path, size and alignment: that is how two processes, and
///   two versions of a crate in one program, agree on what lies in a place.
///
/// # Examples
///
/// ```
/// use ipc_core::Shareable;
///
/// fn shared<T: Shareable>() {}
/// shared::<u64>();
/// shared::<[f32; 16]>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in memory that processes share",
    label = "not plain data, nor a lock around plain data",
    note = "a struct is plain data by `#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]` and `#[repr(C)]`",
    note = "`bool`, `char`, enums, references, `String`, `Vec` and types with padding are not"
)]
pub unsafe trait Shareable: Sync + 'static {}

// SAFETY: `Pod` is the same promise, and it rules out interior mutability.
unsafe impl<T: bytemuck::Pod + Sync> Shareable for T {}
