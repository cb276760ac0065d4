//! Functions by name: a `fn` pointer that another process of the same program can call.
//!
//! A function pointer is an address, and an address means something in one process only: each `exec`
//! of a position-independent program loads it somewhere else. What stays the same is the distance of
//! the function from the start of its *module*, the program or a shared library. A [`FunctionRef`]
//! is that distance with the name of the module, and is plain bytes that can travel.
//!
//! The name of a module is its GNU build id, which linkers write into what they link and which
//! changes with the content. The program itself may go without one: it is then named by its file
//! (device and inode of `/proc/self/exe`). A shared library without a build id has no name that could
//! be trusted, and a reference to its functions is refused.
//!
//! `fn` items and closures that capture nothing coerce to `fn` pointers; a closure that captures is
//! refused by the compiler. [`Function`] keeps the pointer's type at both ends.

mod module;
mod typed;

use core::fmt;

use self::module::ModuleId;
use crate::Errno;

pub use typed::{FnPointer, Function};

#[cfg(feature = "std")]
pub(crate) use module::{is_in_program, program_was_executed};

/// A function as (module, offset): valid in every process that has the module loaded.
///
/// # Examples
///
/// ```
/// use ipc_core::function::FunctionRef;
///
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// let address = double as fn(u32) -> u32 as *const ();
/// let bytes = FunctionRef::of(address)?.to_bytes();
/// // .. the bytes travel to another process of this program ..
/// let there = FunctionRef::from_bytes(&bytes)?.resolve()?;
/// assert_eq!(there, address);
/// # Ok::<(), ipc_core::function::FunctionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    module: ModuleId,
    /// The distance from where the module says that it is loaded.
    offset: u64,
}

impl FunctionRef {
    /// The length of [`to_bytes`](Self::to_bytes).
    pub const LEN: usize = ModuleId::LEN + 8;

    /// Names the function at `address`.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NotInAModule`] if no loaded module has code there,
    /// [`FunctionError::Unnamed`] if the module is a library without a build id, or such a program
    /// under an explicit loader,
    /// [`FunctionError::Ambiguous`] if it is loaded twice, [`FunctionError::Os`] if the program has
    /// no build id and `/proc/self/exe` cannot be looked at.
    pub fn of(address: *const ()) -> Result<Self, FunctionError> {
        let (module, offset) = module::name(address.addr() as u64)?;
        Ok(Self { module, offset })
    }

    /// The function's address in this process. It lies in executable memory of the module.
    ///
    /// # Errors
    ///
    /// [`FunctionError::UnknownModule`] if the module is not loaded here,
    /// [`FunctionError::NotExecutable`] if it has no code at the offset,
    /// [`FunctionError::Ambiguous`] if it is loaded twice, [`FunctionError::Os`] as [`of`](Self::of).
    pub fn resolve(&self) -> Result<*const (), FunctionError> {
        let address = module::find(&self.module, self.offset)?;
        // The loader's mapping of code was never a Rust allocation, so it counts as exposed.
        Ok(core::ptr::with_exposed_provenance(address as usize))
    }

    /// The form that travels.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (module, offset) = bytes.split_at_mut(ModuleId::LEN);
        module.copy_from_slice(&self.module.to_bytes());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`FunctionError::Malformed`] if these bytes were not written by it.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, FunctionError> {
        let (module, offset) = bytes.split_at(ModuleId::LEN);
        let module = ModuleId::from_bytes(module).ok_or(FunctionError::Malformed)?;
        let offset = offset.try_into().map_err(|_| FunctionError::Malformed)?;
        Ok(Self { module, offset: u64::from_le_bytes(offset) })
    }
}

/// Why a function has no name, or a name no function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FunctionError {
    /// The address is not code of a loaded module: generated code, or no code at all.
    NotInAModule,
    /// The module has no GNU build id, and is a library, or a program that was run through an
    /// explicit loader (`ld.so ./program`), so that `/proc/self/exe` is not its file.
    Unnamed,
    /// The module is not loaded in this process: a plugin, perhaps, that only the other side opened.
    UnknownModule,
    /// Two loaded modules have this build id, so the name does not say which is meant.
    Ambiguous,
    /// The module is loaded and has no code at this offset.
    NotExecutable,
    /// The bytes are no reference to a function.
    Malformed,
    /// The program has no build id, and its file could not be looked at either.
    Os(Errno),
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInAModule => f.write_str("the address is not code of a loaded module"),
            Self::Unnamed => f.write_str("the function's module has no build id"),
            Self::UnknownModule => f.write_str("the function's module is not loaded here"),
            Self::Ambiguous => f.write_str("the function's module is loaded more than once"),
            Self::NotExecutable => f.write_str("the module has no code at this offset"),
            Self::Malformed => f.write_str("these bytes are no reference to a function"),
            Self::Os(errno) => write!(f, "cannot identify the program's file: {errno}"),
        }
    }
}

impl core::error::Error for FunctionError {}

static_assertions::assert_impl_all!(FunctionRef: Send, Sync);
static_assertions::assert_impl_all!(FunctionError: Send, Sync);
