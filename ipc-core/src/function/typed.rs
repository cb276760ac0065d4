//! A function reference that remembers the type of its pointer.
//!
//! # Safety
//!
//! The unsafe act is turning an address back into a `fn` pointer. [`Function::from_bytes`] makes the
//! caller promise that the bytes came from a [`Function`] of the same type; the address then is that
//! of a function of this type, since the module's name stands for its content.
#![expect(unsafe_code, reason = "an address becomes a function pointer again")]

use core::fmt;
use core::marker::PhantomData;
use core::mem;

use super::{FunctionError, FunctionRef};

/// A `fn` pointer by name, of type `F`.
///
/// # Examples
///
/// ```
/// use ipc_core::function::Function;
///
/// let square = Function::<fn(u32) -> u32>::of(|x| x * x)?;
/// let bytes = square.to_bytes();
/// // SAFETY: these bytes are of a function with the same type, from this program.
/// let here = unsafe { Function::<fn(u32) -> u32>::from_bytes(&bytes) }?;
/// assert_eq!(here.resolve()?(7), 49);
/// # Ok::<(), ipc_core::function::FunctionError>(())
/// ```
pub struct Function<F> {
    reference: FunctionRef,
    pointer: PhantomData<F>,
}

impl<F: FnPointer> Function<F> {
    /// Names a function.
    ///
    /// # Errors
    ///
    /// As [`FunctionRef::of`].
    pub fn of(function: F) -> Result<Self, FunctionError> {
        Ok(Self { reference: FunctionRef::of(function.address())?, pointer: PhantomData })
    }

    /// The function in this process.
    ///
    /// # Errors
    ///
    /// As [`FunctionRef::resolve`].
    pub fn resolve(&self) -> Result<F, FunctionError> {
        let address = self.reference.resolve()?;
        // SAFETY: `of` or the caller of `from_bytes` vouched for the type, and `resolve` found the
        // module whose content the name stands for.
        Ok(unsafe { F::from_address(address) })
    }

    /// The form that travels.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; FunctionRef::LEN] {
        self.reference.to_bytes()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// As [`FunctionRef::from_bytes`].
    ///
    /// # Safety
    ///
    /// * the bytes were written by `to_bytes` of a `Function<F>` with the same `F`, in this process
    ///   or in another one, and by nobody else since.
    pub unsafe fn from_bytes(bytes: &[u8; FunctionRef::LEN]) -> Result<Self, FunctionError> {
        Ok(Self { reference: FunctionRef::from_bytes(bytes)?, pointer: PhantomData })
    }
}

impl<F> Clone for Function<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Function<F> {}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.reference).finish()
    }
}

/// The `fn` pointer types, with up to four parameters.
///
/// # Safety
///
/// Implemented for `fn` pointers alone, and sealed.
pub unsafe trait FnPointer: Copy + sealed::Sealed {
    #[doc(hidden)]
    fn address(self) -> *const ();

    /// # Safety
    ///
    /// * `address` is that of a function with this type.
    #[doc(hidden)]
    unsafe fn from_address(address: *const ()) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! fn_pointers {
    ($(($($parameter:ident),*))+) => {$(
        impl<Output, $($parameter),*> sealed::Sealed for fn($($parameter),*) -> Output {}

        // SAFETY: this is a `fn` pointer.
        unsafe impl<Output, $($parameter),*> FnPointer for fn($($parameter),*) -> Output {
            fn address(self) -> *const () {
                self as *const ()
            }

            unsafe fn from_address(address: *const ()) -> Self {
                // SAFETY: the caller promises a function of this type; both are one address.
                unsafe { mem::transmute::<*const (), Self>(address) }
            }
        }
    )+};
}

fn_pointers! { () (A) (A, B) (A, B, C) (A, B, C, D) }

static_assertions::assert_impl_all!(Function<fn()>: Send, Sync);
