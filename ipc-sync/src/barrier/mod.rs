//! [`Barrier`]: a point that all members pass together, or none.
//!
//! The protocol, with a table of what a death leaves at each step, is in `raw/barrier`.
//!
//! # Safety
//!
//! The one unsafe act is the promise that the words may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

mod error;
mod member;

use core::fmt;

use ipc_core::Shareable;
use ipc_core::primitive::AtomicU64;

#[cfg(loom)]
use crate::raw::barrier::Seat;
use crate::raw::barrier::{Cause, Head, Phase, RawBarrier};

pub use error::{BarrierError, Breach};
pub use member::{BarrierMember, BarrierWaitResult};

/// A point in a program at which a fixed number of parties wait for each other: when the last has arrived all get
/// through, and the next turn begins.
///
/// A party [joins](Self::join), which gives it one of `N` places, and [waits](BarrierMember::wait) as that
/// [member](BarrierMember). It opens when *as many members as it has parties* have arrived: one that is to join
/// is waited for like one that is late. A process may have several members, one a thread, say.
///
/// It takes 24 bytes and 8 for each place, lies in memory that the processes map, and works in a `static` between threads.
/// Zeroed memory is a barrier of `N` parties. While nobody sleeps an arrival is one compare-exchange, and so is the last one,
/// which opens it; to wake those who sleep takes one system call for all of them.
///
/// # All or none
///
/// Whatever keeps a member from coming *breaks* the barrier. All who wait there get
/// [`BarrierError::Broken`] with the one reason, and so does everybody who comes, also to join,
/// until somebody calls [`reset`](Self::reset). The reasons are in [`Breach`]: a member's death, its leaving, a time-out, a
/// panic in an action, [`abort`](Self::abort), `reset`. A turn that has opened has opened for all: nobody is told of a
/// breach that came after it before its next call.
///
/// # When a process dies
///
/// If it had arrived, the turn opens nevertheless: its part was done. As long as it is missing, whoever waits learns that
/// it is dead, and who it was ([`Breach::Died`]): at most 200 ms after the kernel reports the death, mostly within 64 ms, and
/// at once if it was killed inside a wait. A process that ends without dropping its member is dead as well; one that is
/// stopped lives. The place of the dead is free again after a reset, so that another process can join in its stead.
/// Those who live stay members: after the reset they wait again, and repeat the turn that did not open. They agree among
/// themselves who resets (whoever starts the new process, say), and tell each other by an [`Event`](crate::Event) or so that
/// it is done: until then each call says at once that the barrier is broken.
///
/// Processes in different pid namespaces wait for each other as usual, but cannot judge each other's life: once two
/// namespaces have met at a barrier, a dead member is waited for until the barrier is [aborted](Self::abort)
/// or a time-out breaks it.
///
/// # Misuse
///
/// No parties at all, or more than places, is a panic in [`new`](Self::new), and for a `static` so an error of the compiler;
/// no places, or more than 32, always is:
///
/// ```compile_fail
/// static NOBODY: ipc_sync::Barrier<4> = ipc_sync::Barrier::new(0);
/// ```
/// ```compile_fail
/// static TOO_MANY: ipc_sync::Barrier<4> = ipc_sync::Barrier::new(5);
/// ```
/// ```compile_fail
/// let _: ipc_sync::Barrier<33> = ipc_sync::Barrier::new(33);
/// ```
///
/// One member more than parties is [`BarrierError::Full`]. Two waits by one member at a time do not compile.
/// Whoever maps it is trusted: one who overwrites its words can let others through, or wait for ever.
///
/// # Examples
///
/// Three processes that do a piece of work in steps. For the memory see [the front page](crate#a-lock-between-processes).
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::{Barrier, BarrierError};
///
/// let mut plan = Plan::new();
/// let step = plan.one::<Barrier<3>>()?;
/// let region = Region::planned(&plan)?;
/// let step = region.get(step)?;
///
/// let work = || -> Result<(), BarrierError> {
///     let mut member = step.join()?;
///     for _ in 0..10 {
///         // .. a third of the work of this step; then:
///         member.wait()?;
///     }
///     Ok(())
/// };
/// let mut children = Vec::new();
/// for _ in 0..2 {
///     children.push(fork_fn(|| i32::from(work().is_err()))?);
/// }
/// work()?;
/// for mut child in children {
///     assert!(child.wait()?.success());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
pub struct Barrier<const N: usize> {
    head: Head,
    /// Who has each place; 0 = free.
    places: [AtomicU64; N],
}

// SAFETY: words of which every pattern is a state, without padding. Zeroed memory is a barrier of N parties.
unsafe impl<const N: usize> Shareable for Barrier<N> {}

static_assertions::assert_impl_all!(Barrier<4>: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Barrier<1>>() == 32 && size_of::<Barrier<32>>() == 280);

impl<const N: usize> Barrier<N> {
    const PLACES: () = assert!(N >= 1 && N <= Phase::MOST_PLACES, "a barrier has 1 to 32 places");

    ipc_core::const_unless_loom! {
        /// A barrier for `parties`, of which none has joined.
        ///
        /// # Panics
        ///
        /// If `parties` is 0, or more than `N`.
        ///
        /// # Examples
        ///
        /// ```
        /// static BARRIER: ipc_sync::Barrier<8> = ipc_sync::Barrier::new(3);
        /// assert_eq!(BARRIER.parties(), 3);
        /// ```
        #[must_use]
        pub fn new(parties: u32) -> Self {
            let () = Self::PLACES;
            assert!(parties >= 1 && parties as usize <= N, "a barrier has 1 to N parties");
            Self { head: Head::new(parties), places: free() }
        }
    }

    /// Becomes one of its parties.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Full`] if there are as many members as parties; [`Broken`](BarrierError::Broken), also if
    /// one of these is found to be dead; [`NoIdentity`](BarrierError::NoIdentity).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Barrier, BarrierError};
    ///
    /// let barrier: Barrier<4> = Barrier::new(1);
    /// let member = barrier.join()?;
    /// assert_eq!(barrier.join().unwrap_err(), BarrierError::Full);
    /// # drop(member);
    /// # Ok::<(), BarrierError>(())
    /// ```
    pub fn join(&self) -> Result<BarrierMember<'_>, BarrierError> {
        let raw = self.raw();
        raw.join().map(|seat| BarrierMember::new(raw, seat))
    }

    /// Breaks it, unless it is broken already: all who wait, and all who come until it is reset, get
    /// [`Breach::Aborted`]. Anybody may, a member or not.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier: ipc_sync::Barrier<2> = ipc_sync::Barrier::new(2);
    /// barrier.abort();
    /// assert!(barrier.is_broken() && barrier.join().is_err());
    /// ```
    pub fn abort(&self) {
        self.raw().break_for(Cause::Aborted);
    }

    /// Makes it whole again: whoever waits gets [`Breach::Reset`], the places of members that are dead become free, and
    /// those who live are members as before. Anybody may, a member or not.
    ///
    /// A process that is killed in a reset leaves the barrier broken ([`Breach::Reset`]), for the next reset.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier: ipc_sync::Barrier<1> = ipc_sync::Barrier::new(1);
    /// let mut member = barrier.join()?;
    /// barrier.abort();
    /// assert!(member.wait().is_err());
    /// barrier.reset();
    /// member.wait()?;
    /// # Ok::<(), ipc_sync::BarrierError>(())
    /// ```
    pub fn reset(&self) {
        self.raw().reset();
    }

    /// Whether it is broken at this moment. One that all members have left is, until the next one joins.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier: ipc_sync::Barrier<2> = ipc_sync::Barrier::new(2);
    /// assert!(!barrier.is_broken());
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.raw().is_broken()
    }

    /// How many members wait for the others at this moment: Python's `n_waiting`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::Barrier::<2>::new(2).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.raw().waiting()
    }

    /// How many places are taken at this moment, by the living or by the dead.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier: ipc_sync::Barrier<2> = ipc_sync::Barrier::new(2);
    /// let member = barrier.join()?;
    /// assert_eq!(barrier.members(), 1);
    /// # drop(member);
    /// # Ok::<(), ipc_sync::BarrierError>(())
    /// ```
    #[must_use]
    pub fn members(&self) -> u32 {
        self.raw().members()
    }

    /// How many must arrive for it to open.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::Barrier::<8>::new(3).parties(), 3);
    /// ```
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.raw().parties() as u32
    }

    /// For models: the member at a place that the calling process has, by a join that is not part of the model.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn member(&self, place: u32) -> BarrierMember<'_> {
        let owner = ipc_core::primitive::identity::current().expect("a process of the model").id;
        BarrierMember::new(self.raw(), Seat { place, owner })
    }

    /// For models, which have no clock: the slices of all who sleep end.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn end_slices(&self) {
        self.raw().end_slices();
    }

    fn raw(&self) -> RawBarrier<'_> {
        let () = Self::PLACES;
        RawBarrier::new(&self.head, &self.places)
    }
}

#[cfg(not(loom))]
const fn free<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

#[cfg(loom)]
fn free<const N: usize>() -> [AtomicU64; N] {
    core::array::from_fn(|_| AtomicU64::new(0))
}

impl<const N: usize> fmt::Debug for Barrier<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Barrier");
        fields.field("parties", &self.parties()).field("waiting", &self.waiting());
        fields.field("broken", &self.is_broken()).finish_non_exhaustive()
    }
}
