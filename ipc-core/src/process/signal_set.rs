//! Sets of signals, and the calling thread's mask.
//!
//! # Safety
//!
//! One system call, which reads one set and writes another.
#![expect(unsafe_code, reason = "rt_sigprocmask")]

use core::fmt;
use core::ptr;

use super::Signal;
use super::raw::syscall;

/// A set of signals.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{Signal, SignalSet};
///
/// let set = SignalSet::from_iter([Signal::INT, Signal::TERM]);
/// assert!(set.contains(Signal::INT) && !set.contains(Signal::HUP));
/// assert_eq!(format!("{set:?}"), "{2, 15}");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// Every signal, the real-time ones and those that libc uses itself among them.
    pub const ALL: Self = Self(u64::MAX);

    /// Every signal but those by which libc cancels threads and changes the user of all of them: a
    /// thread that blocked these for good would make others wait for ever.
    pub(super) const ALL_BUT_LIBCS: Self =
        Self(if cfg!(target_env = "musl") { !(0b111 << 31) } else { !(0b11 << 31) });

    /// The set that the kernel writes as `bits`: signal `n` is bit `n - 1`, as in the hexadecimal
    /// lines of `/proc/PID/status`. This is the way to a real-time signal.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{Signal, SignalSet};
    /// assert_eq!(SignalSet::from_bits(0b10), SignalSet::EMPTY.with(Signal::INT));
    /// ```
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What [`from_bits`](Self::from_bits) takes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::SignalSet;
    /// assert_eq!(SignalSet::ALL.bits(), u64::MAX);
    /// ```
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set and `signal`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{Signal, SignalSet};
    /// const STOPS: SignalSet = SignalSet::EMPTY.with(Signal::INT).with(Signal::TERM);
    /// assert!(STOPS.contains(Signal::TERM));
    /// ```
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | bit(signal))
    }

    /// The set without `signal`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{Signal, SignalSet};
    /// assert!(!SignalSet::ALL.without(Signal::INT).contains(Signal::INT));
    /// ```
    #[must_use]
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !bit(signal))
    }

    /// Whether `signal` is in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{Signal, SignalSet};
    /// assert!(!SignalSet::EMPTY.contains(Signal::HUP));
    /// ```
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }

    /// What is in both sets.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The numbers of the signals, from the lowest.
    pub(super) fn numbers(self) -> impl Iterator<Item = usize> {
        (1..=64).filter(move |number| self.0 >> (number - 1) & 1 != 0)
    }
}

const fn bit(signal: Signal) -> u64 {
    // A signal's number is 1 to 64.
    1 << (signal.as_raw() - 1)
}

/// Makes the set the calling thread's mask, and returns what that was.
///
/// Unlike libc's `pthread_sigmask` this takes libc's own signals, too, when they are in the set.
pub(super) fn set_mask(mask: SignalSet) -> SignalSet {
    let mut old = SignalSet::EMPTY;
    let (new, out) = (ptr::from_ref(&mask), ptr::from_mut(&mut old));
    let how = libc::SIG_SETMASK as usize;
    let size = size_of::<SignalSet>();
    let arguments = [how, new.expose_provenance(), out.expose_provenance(), size];
    // SAFETY: both sets live until the call returns. With these arguments it cannot fail.
    let done = unsafe { syscall(libc::SYS_rt_sigprocmask, arguments) };
    debug_assert!(done.is_ok());
    old
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<Signal> for SignalSet {
    fn from(signal: Signal) -> Self {
        Self::EMPTY.with(signal)
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.numbers()).finish()
    }
}

static_assertions::assert_impl_all!(SignalSet: Send, Sync);
