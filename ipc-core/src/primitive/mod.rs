//! What concurrent algorithms are made of: the real thing, or loom's model of it.
//!
//! Not a public interface. The algorithms of `ipc-sync` and `ipc-shm` import their atomics, cells,
//! spin hints, futex, identity and baton from here and from nowhere else. In an ordinary build
//! these are the types of `core` and the modules of this crate. Under `--cfg loom` the same names
//! are a model in which loom runs every interleaving, and in which any process can be killed
//! before any step: see `sim`.
//!
//! loom's atomics have another size and cannot be made in a `const`. So mapped bytes are never
//! turned into structures under loom, layout checks are `#[cfg(not(loom))]`, and constructors are
//! written inside [`const_unless_loom!`](crate::const_unless_loom).

#[cfg(not(loom))]
mod real;
#[cfg(not(loom))]
pub use real::*;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub use model::*;

/// Makes a constructor `const`, except under loom.
#[doc(hidden)]
#[macro_export]
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
        #[cfg(not(loom))] $(#[$meta])* $vis const fn $($rest)*
        #[cfg(loom)] $(#[$meta])* $vis fn $($rest)*
    };
    ($(#[$meta:meta])* $vis:vis unsafe fn $($rest:tt)*) => {
        #[cfg(not(loom))] $(#[$meta])* $vis const unsafe fn $($rest)*
        #[cfg(loom)] $(#[$meta])* $vis unsafe fn $($rest)*
    };
}
