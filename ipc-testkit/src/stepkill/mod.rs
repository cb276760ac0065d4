//! Kills a process at every machine instruction of an operation, and asks the others how they are.
//!
//! For each kill point a victim is forked and stopped at the first instruction of its operation. It executes *k*
//! instructions of the release build, is killed with a real SIGKILL, and when the kernel has reported the death, waiters
//! that slept in the structure must come back and survivors must be able to use it. Then an audit looks at what is left. And so for
//! *k* = 0, 1, 2, … until the operation is over; also inside every system call in which the victim sleeps.
//!
//! # Why that is complete
//!
//! A death becomes visible through the kernel (its exit work, a pidfd, a futex), and by then all that the victim has
//! stored is visible too: what it leaves is a program-order prefix of the stores of its machine code, and stepping
//! enumerates all prefixes. What other processes see *while* the victim lives is a matter of memory ordering and
//! belongs to a model checker. The compiler chose the order of the stores, so the build under test must be the build that is
//! used: a debug build is refused.
//!
//! # A test
//!
//! A test binary of its own (`harness = false`), because it forks and therefore must have one thread:
//!
//! ```no_run
//! use core::sync::atomic::{AtomicU64, Ordering};
//! use ipc_testkit::ensure;
//! use ipc_testkit::stepkill::{self, Scenario};
//! use std::process::ExitCode;
//!
//! /// Lives in shared memory; made anew for each kill point.
//! struct Account {
//!     from: AtomicU64,
//!     to: AtomicU64,
//! }
//!
//! fn main() -> ExitCode {
//!     stepkill::main(|suite| {
//!         let transfer = Scenario::new("transfer", || Account { from: 100.into(), to: 0.into() })
//!             .victim(|account, me| {
//!                 // Here the victim prepares, unharmed.
//!                 me.operation(|| {
//!                     account.from.fetch_sub(1, Ordering::Relaxed);
//!                     account.to.fetch_add(1, Ordering::Relaxed);
//!                 });
//!                 // Here, and in the round in which nobody is killed, it goes on.
//!                 Ok(())
//!             })
//!             .survivors(2, |account, me| {
//!                 account.to.fetch_add(0, Ordering::Relaxed);
//!                 me.succeeded(); // recovery is measured up to here
//!                 Ok(())
//!             })
//!             .audit(|account, _| {
//!                 let sum = account.from.load(Ordering::Relaxed) + account.to.load(Ordering::Relaxed);
//!                 ensure!(sum == 100, "the sum is {sum}"); // fails between the two instructions, as it should
//!                 Ok(())
//!             })
//!             .at_least(3);
//!         suite.everywhere(&transfer);
//!         suite.pairs(&transfer);
//!     })
//! }
//! ```
//!
//! Its arguments choose scenarios by parts of their names: `cargo test --release --test stepkill -- transfer`.
//!
//! A lock or a ring does not need scenarios of its own: see [`battery`](crate::battery).
//!
//! # Parts
//!
//! [`Scenario`] says who is there (victim, holder, waiters, newcomer, survivors) and in which order a round is played.
//! Every part is a closure `Fn(&T, &Actor) -> Verdict`; [`ensure!`](crate::ensure) and `?` turn what is wrong into a
//! [`Flaw`]. An operation that blocks needs a [`holder`](Scenario::holder) or an [`unblock`](Scenario::unblock) hook:
//!
//! ```no_run
//! # use core::sync::atomic::{AtomicU32, Ordering};
//! # use ipc_testkit::stepkill::{Scenario, Suite};
//! # struct Lock(AtomicU32);
//! # impl Lock { const fn new() -> Self { Self(AtomicU32::new(0)) } fn lock(&self) {} fn unlock(&self) {} }
//! # fn scenarios(suite: &mut Suite) {
//! let lock = Scenario::new("lock, held, two waiters", Lock::new)
//!     .holder(|lock, me| {
//!         lock.lock();
//!         me.hold(); // "in place"; comes back when the victim sleeps, or has died
//!         lock.unlock();
//!         Ok(())
//!     })
//!     .victim(|lock, me| {
//!         me.operation(|| lock.lock());
//!         lock.unlock();
//!         Ok(())
//!     })
//!     .waiters(2, |lock, _| {
//!         lock.lock(); // must be asleep in a futex here before the victim begins
//!         lock.unlock();
//!         Ok(())
//!     })
//!     .survivors(2, |lock, me| {
//!         lock.lock();
//!         me.succeeded();
//!         lock.unlock();
//!         Ok(())
//!     })
//!     .at_least(20);
//! suite.everywhere(&lock);
//! # }
//! ```
//!
//! # Passes
//!
//! | method of [`Suite`] | kills |
//! |---------------------|-------|
//! | [`everywhere`](Suite::everywhere) | at every instruction, and inside every sleep |
//! | [`images`](Suite::images) | in each distinct image of the shared bytes, and around each system call: for long operations |
//! | [`pairs`](Suite::pairs) | a first victim in each image, then a second one in each image of what it does then |
//! | [`beside_frozen`](Suite::beside_frozen) | at every instruction, while another process is stopped, alive, in each image |
//! | [`woken`](Suite::woken) | a waiter, at every instruction from its wake-up on, after a newcomer was faster |
//! | [`hostile`](Suite::hostile) | nobody: special values are planted in each shared word just before it is accessed |
//! | [`must_fail`](Suite::must_fail) | a control, and succeeds if enough is found wrong with it |
//!
//! With `IPC_STEPKILL=deep` in the environment, `pairs` and `beside_frozen` take every instruction for an image (in `pairs`
//! of long operations, for one of the two victims at a time).
//!
//! Somebody who does not come back within the scenario's patience is a wedge: it is reported with the victim's instruction
//! (`file+offset`, for `addr2line` or `objdump -d`), all processes are replaced, and the pass goes on.
//!
//! # Limits
//!
//! - Recovery is measured on the clock of the wall. A kill point after which it takes 200 ms or more is struck again, at most
//!   twice, and the fastest round counts; more than one such round in 1,000, and two besides, fail.
//! - x86-64 only; elsewhere a suite prints `SKIPPED`. (On AArch64 single-stepping clears the exclusive monitor, so a build
//!   without LSE atomics would never get through a compare-exchange.)
//! - Where the way to a kill point is long, the victim runs to a breakpoint near it, at the first visit of an instruction,
//!   and is stepped from there: the point is the same, and kill points cost the same wherever they are.
//! - An operation should do the same each time. Stepping is ten thousand times slower than running, so the deadlines of
//!   futex waits are moved by the time that it took; deadlines that the operation itself compares with a clock are not. A
//!   kill point that a victim at full speed does not come by is stepped to, and counted as a detour.
//! - An operation that spins has a kill point per instruction and turn. [`Scenario::prune_loops`] leaves out those that only
//!   the victim's private memory tells apart, and [`Scenario::one_processor`] makes adaptive spinning end at once.
//! - A `rep movs` is one kill point per repetition.

mod actor;
pub(crate) mod arch;
pub(crate) mod control;
mod course;
mod crew;
mod passes;
pub(crate) mod procfs;
mod report;
mod scenario;
mod stage;
pub(crate) mod suite;
pub(crate) mod trace;
mod verdict;
pub(crate) mod watchdog;

pub use actor::Actor;
pub use control::Role;
pub use report::{Finding, Point, Report};
pub use scenario::Scenario;
pub use suite::{Pass, Refusal, Suite, main};
pub use verdict::{Flaw, Verdict};
