//! What happens around one operation: who is there, what they do, and what must hold afterwards.

use core::fmt;
use core::time::Duration;

use super::actor::Actor;
use super::control::{MAX_CREW, Role};
use super::verdict::Verdict;
use crate::shared::{Extent, Shared};

/// One operation of a victim in its surroundings, over a `T` in memory that all processes share.
///
/// A scenario is a list of parts. Every part is a function of the shared state and of the [`Actor`] that runs it, in a
/// process of its own; there are no other means of communication than the shared state and what [`Actor`] offers. One round, for one kill point, goes:
///
/// 1. The state is made anew, and [`setup`](Self::setup) runs in the harness's own process.
/// 2. The [`holder`](Self::holder) begins; it says [`hold`](Actor::hold) when it is in place.
/// 3. The [`victim`](Self::victim) is forked and runs up to its [`operation`](Actor::operation), where it stops.
/// 4. The [`waiters`](Self::waiters) begin one after the other; each must be asleep in a futex, or in a poll, before the next one.
/// 5. The victim executes *k* instructions. If it goes to sleep, that is a kill point too; in rounds with a later kill
///    point the holder is released (and [`unblock`](Self::unblock) called), so that the victim comes back.
/// 6. The [`witness`](Self::witness) looks at the state; SIGKILL; the kernel reports the death.
/// 7. Holder and `unblock`, if they have not had their turn yet. From now on time counts: all waiters and the holder
///    must end.
/// 8. The [`survivors`](Self::survivors) run, all at the same time.
/// 9. The first survivor runs the [`audit`](Self::audit).
///
/// Parts run in forked processes, which are used again for the next round: what a part keeps in private memory is
/// still there. `setup`, `unblock` and `witness` run in the harness and must not block.
pub struct Scenario<T: Sync> {
    pub(crate) name: String,
    pub(crate) world: World<T>,
    pub(crate) setup: Option<Hook<T>>,
    pub(crate) unblock: Option<Hook<T>>,
    pub(crate) witness: Option<Witness<T>>,
    pub(crate) victim: Option<Part<T>>,
    pub(crate) second: Option<Part<T>>,
    pub(crate) holder: Option<Part<T>>,
    pub(crate) newcomer: Option<Part<T>>,
    pub(crate) waiter: Option<Part<T>>,
    pub(crate) waiters: usize,
    pub(crate) survivor: Option<Part<T>>,
    pub(crate) survivors: usize,
    pub(crate) beside_frozen: Option<Part<T>>,
    pub(crate) audit: Option<Part<T>>,
    pub(crate) at_least: usize,
    pub(crate) patience: Duration,
    pub(crate) longest: usize,
    pub(crate) repeats: usize,
    pub(crate) leave_zombie: bool,
    pub(crate) one_processor: bool,
    pub(crate) surface: Option<Extent>,
    pub(crate) capacity: u64,
}

pub(crate) type Part<T> = Box<dyn Fn(&T, &Actor<'_>) -> Verdict>;
type Hook<T> = Box<dyn Fn(&T)>;
type Witness<T> = Box<dyn Fn(&T, u32) -> u64>;

/// Where the shared state is and how it is made anew.
pub(crate) enum World<T: Sync> {
    /// In memory of the harness.
    Placed { state: Shared<T>, make: Box<dyn Fn() -> T> },
    /// In the caller's memory; `state` is a private handle to it.
    Lent { state: T, extent: Extent, pristine: Vec<u64> },
}

impl<T: Sync> Scenario<T> {
    /// A scenario over a `T` that `make` makes anew for each kill point.
    ///
    /// `T` is moved into shared memory and never dropped. It must not own anything that is private to a process.
    ///
    /// # Panics
    ///
    /// If the memory cannot be mapped.
    pub fn new(name: impl Into<String>, make: impl Fn() -> T + 'static) -> Self {
        let state = Shared::new(make()).expect("map the state of a scenario");
        Self::over(name, World::Placed { state, make: Box::new(make) })
    }

    /// A scenario over memory of the caller's own, such as a mapped region; `handle` is how this process and its forks
    /// reach it.
    ///
    /// The bytes are saved now and restored for each kill point, before [`setup`](Self::setup).
    ///
    /// # Safety
    ///
    /// - What [`Extent::new`] asks for holds until the scenario is dropped.
    /// - The saved bytes are a valid state for every copy of `handle`, also for those in processes that worked on an
    ///   earlier round's state.
    #[expect(unsafe_code, reason = "the caller vouches for memory that the harness overwrites")]
    pub unsafe fn with_memory(name: impl Into<String>, handle: T, extent: Extent) -> Self {
        Self::over(name, World::Lent { state: handle, pristine: extent.save(), extent })
    }

    fn over(name: impl Into<String>, world: World<T>) -> Self {
        Self {
            name: name.into(),
            world,
            setup: None,
            unblock: None,
            witness: None,
            victim: None,
            second: None,
            holder: None,
            newcomer: None,
            waiter: None,
            waiters: 0,
            survivor: None,
            survivors: 0,
            beside_frozen: None,
            audit: None,
            at_least: 1,
            patience: Duration::from_millis(1500),
            longest: 20_000,
            repeats: usize::MAX,
            leave_zombie: false,
            one_processor: false,
            surface: None,
            capacity: 8,
        }
    }

    /// Brings the fresh state to where the scenario begins. Runs in the harness and must not block.
    #[must_use]
    pub fn setup(mut self, setup: impl Fn(&T) + 'static) -> Self {
        self.setup = Some(Box::new(setup));
        self
    }

    /// The process to be killed; its part calls [`Actor::operation`] exactly once.
    #[must_use]
    pub fn victim(mut self, part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static) -> Self {
        self.victim = Some(Box::new(part));
        self
    }

    /// The second process to be killed ([`Suite::pairs`](super::Suite::pairs)) or the one to be frozen alive
    /// ([`Suite::beside_frozen`](super::Suite::beside_frozen)); without this it is another one like the first.
    #[must_use]
    pub fn second(mut self, part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static) -> Self {
        self.second = Some(Box::new(part));
        self
    }

    /// A process that is there before the victim: takes what the victim wants, calls [`Actor::hold`], and gives it back.
    #[must_use]
    pub fn holder(mut self, part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static) -> Self {
        self.holder = Some(Box::new(part));
        self
    }

    /// A process that comes between a wake-up and the woken one ([`Suite::woken`](super::Suite::woken)): takes what was
    /// released, calls [`Actor::hold`], and gives it back after the victim's death.
    #[must_use]
    pub fn newcomer(mut self, part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static) -> Self {
        self.newcomer = Some(Box::new(part));
        self
    }

    /// `count` processes that sleep inside the structure before the victim begins, and must come back after its death.
    ///
    /// # Panics
    ///
    /// If there are more than eight.
    #[must_use]
    pub fn waiters(
        mut self,
        count: usize,
        part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static,
    ) -> Self {
        assert!(count <= MAX_CREW, "there is room for {MAX_CREW} waiters");
        self.waiters = count;
        self.waiter = Some(Box::new(part));
        self
    }

    /// `count` processes that use the structure after the death, all at the same time.
    ///
    /// # Panics
    ///
    /// If there are fewer than two, for many a wedge needs two to show, or more than eight.
    #[must_use]
    pub fn survivors(
        mut self,
        count: usize,
        part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static,
    ) -> Self {
        assert!((2..=MAX_CREW).contains(&count), "two to {MAX_CREW} survivors");
        self.survivors = count;
        self.survivor = Some(Box::new(part));
        self
    }

    /// What the survivors do while another process is frozen alive: it must end by itself, so it may only use
    /// operations that do not wait, and must not find the frozen one dead.
    #[must_use]
    pub fn while_frozen(mut self, part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static) -> Self {
        self.beside_frozen = Some(Box::new(part));
        self
    }

    /// The last look at the state, when everybody else is idle.
    #[must_use]
    pub fn audit(mut self, part: impl Fn(&T, &Actor<'_>) -> Verdict + 'static) -> Self {
        self.audit = Some(Box::new(part));
        self
    }

    /// Gives the victim what it sleeps for, beside releasing the holder. Runs exactly once a round, in the harness,
    /// and must not block.
    #[must_use]
    pub fn unblock(mut self, unblock: impl Fn(&T) + 'static) -> Self {
        self.unblock = Some(Box::new(unblock));
        self
    }

    /// Looks at the state just before the victim (whose pid it is given) dies, such as at whether it owns the lock; the
    /// others learn what it said from [`Actor::witnessed`]. Runs in the harness and must not block.
    ///
    /// In the round in which nobody is killed it runs after the victim's own end.
    #[must_use]
    pub fn witness(mut self, witness: impl Fn(&T, u32) -> u64 + 'static) -> Self {
        self.witness = Some(Box::new(witness));
        self
    }

    /// The scenario fails if it has fewer kill points: a count of 1 usually means that the operation was not reached.
    #[must_use]
    pub fn at_least(mut self, kill_points: usize) -> Self {
        self.at_least = kill_points;
        self
    }

    /// How long anybody may take before it counts as a wedge; 1.5 s unless said otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many instructions the operation may have; 20,000 unless said otherwise.
    #[must_use]
    pub fn longest(mut self, instructions: usize) -> Self {
        self.longest = instructions;
        self
    }

    /// Kills at most `visits` times at the same instruction with the same shared bytes, as a spin loop has them.
    ///
    /// What differs between such kill points is private to the victim and dies with it. Without this every
    /// instruction is a kill point, however often it comes round.
    #[must_use]
    pub fn prune_loops(mut self, visits: usize) -> Self {
        self.repeats = visits;
        self
    }

    /// Leaves the dead victim unreaped until the round is over, as a parent that is slow to wait does.
    #[must_use]
    pub fn leave_zombie(mut self) -> Self {
        self.leave_zombie = true;
        self
    }

    /// Gives victims one processor, as a machine with no more has it: an operation that spins only where another
    /// processor may bring what it waits for, goes to sleep at once and has thousands of instructions less.
    #[must_use]
    pub fn one_processor(mut self) -> Self {
        self.one_processor = true;
        self
    }

    /// What a hostile peer may write to ([`Suite::hostile`](super::Suite::hostile)): a part of the state, and the capacity
    /// around which interesting values lie. Without this it is all of the state, and 8.
    #[must_use]
    pub fn surface<U>(mut self, part: impl Fn(&T) -> &U, capacity: u64) -> Self {
        self.surface = Some(self.extent().narrow(part(self.state())));
        self.capacity = capacity;
        self
    }

    /// The same under another name.
    #[must_use]
    pub fn rename(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The name that reports carry.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn state(&self) -> &T {
        match &self.world {
            World::Placed { state, .. } => state,
            World::Lent { state, .. } => state,
        }
    }

    pub(crate) fn extent(&self) -> Extent {
        match &self.world {
            World::Placed { state, .. } => state.extent(),
            World::Lent { extent, .. } => *extent,
        }
    }

    /// Makes the state anew. The crew is idle.
    #[expect(unsafe_code, reason = "overwrites the shared state")]
    pub(crate) fn reset(&self) {
        match &self.world {
            // SAFETY: a round begins, so every process of the scenario is idle or dead.
            World::Placed { state, make } => unsafe { state.replace(make()) },
            World::Lent { extent, pristine, .. } => extent.restore(pristine),
        }
        if let Some(setup) = &self.setup {
            setup(self.state());
        }
    }

    /// The processes that serve all rounds.
    pub(crate) fn crew(&self) -> impl Iterator<Item = Role> + use<T> {
        let holder = self.holder.is_some().then_some(Role::Holder);
        let newcomer = self.newcomer.is_some().then_some(Role::Newcomer);
        let (waiters, survivors) = (self.waiters, self.survivors);
        holder
            .into_iter()
            .chain(newcomer)
            .chain((0..waiters).map(Role::Waiter))
            .chain((0..survivors).map(Role::Survivor))
    }

    pub(crate) fn part(&self, role: Role) -> Option<&Part<T>> {
        match role {
            Role::Victim => self.victim.as_ref(),
            Role::Second => self.second.as_ref().or(self.victim.as_ref()),
            Role::Holder => self.holder.as_ref(),
            Role::Newcomer => self.newcomer.as_ref(),
            Role::Waiter(_) => self.waiter.as_ref(),
            Role::Survivor(_) => self.survivor.as_ref(),
        }
    }
}

impl<T: Sync> fmt::Debug for Scenario<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("waiters", &self.waiters)
            .field("survivors", &self.survivors)
            .finish_non_exhaustive()
    }
}
