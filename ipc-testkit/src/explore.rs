//! All interleavings of a protocol with all deaths, by exhaustion: an explicit-state model checker.
//!
//! [`loom`](https://docs.rs/loom) runs the real code in a weak memory model, three threads of it at most. This runs a description of it, one access to
//! shared memory after the other in some order (sequential consistency), but more of it: four processes, two of which are killed
//! anywhere, and what others make of that. Two things are checked of each state that can be reached:
//!
//! - what the protocol itself says that must never happen ([`Protocol::steps`]),
//! - that it is no trap: without any more kills, a state can be reached from it in which all is
//!   [settled](Protocol::is_settled).
//!
//! What comes out is the number of states, or the shortest way to a wrong one.
//!
//! # Examples
//!
//! Two processes that take a lock by a load and a store, one of which may be killed:
//!
//! ```
//! use ipc_testkit::explore::{Flaw, Protocol, Steps, explore};
//!
//! struct Lock;
//!
//! /// Who has the lock, if anybody; where each process is: 0 before the load, 1 before the store, 2 inside, 3 done.
//! type State = (Option<usize>, [u8; 2]);
//!
//! impl Protocol for Lock {
//!     type State = State;
//!
//!     fn start(&self) -> State {
//!         (None, [0, 0])
//!     }
//!
//!     fn steps(&self, (owner, at): &State, steps: &mut Steps<State>) -> Result<(), String> {
//!         if *at == [2, 2] {
//!             return Err("both are inside".into());
//!         }
//!         for who in 0..2 {
//!             let (mut owner, mut at) = (*owner, *at);
//!             match at[who] {
//!                 0 if owner.is_none() => at[who] = 1,
//!                 1 => (owner, at[who]) = (Some(who), 2),
//!                 2 => (owner, at[who]) = (None, 3),
//!                 _ => continue,
//!             }
//!             steps.add(format_args!("{who} goes on to {}", at[who]), (owner, at));
//!         }
//!         Ok(())
//!     }
//!
//!     fn is_settled(&self, (_, at): &State) -> bool {
//!         *at == [3, 3]
//!     }
//! }
//!
//! let Flaw { what, way } = explore(&Lock, 1000).unwrap_err();
//! assert_eq!((what.as_str(), way.len()), ("both are inside", 4));
//! ```

use core::fmt;
use core::hash::Hash;
use std::collections::HashMap;

/// Processes, and what they do to shared memory.
pub trait Protocol {
    /// Of the memory and of all processes together.
    type State: Clone + Eq + Hash;

    /// Where all begins.
    fn start(&self) -> Self::State;

    /// Everything that can happen next in `state`.
    ///
    /// # Errors
    ///
    /// What is wrong with `state`, or with one of the steps.
    fn steps(&self, state: &Self::State, steps: &mut Steps<Self::State>) -> Result<(), String>;

    /// Whether nothing is left to do, or nobody to do it.
    fn is_settled(&self, state: &Self::State) -> bool;
}

/// What can happen next.
#[derive(Debug)]
pub struct Steps<S> {
    list: Vec<(String, S, bool)>,
    names: bool,
}

impl<S> Steps<S> {
    /// A step of a process, which leads to `state`.
    pub fn add(&mut self, name: fmt::Arguments<'_>, state: S) {
        self.push(name, state, false);
    }

    /// A death, or anything else that nobody can rely on to happen.
    pub fn add_accident(&mut self, name: fmt::Arguments<'_>, state: S) {
        self.push(name, state, true);
    }

    fn push(&mut self, name: fmt::Arguments<'_>, state: S, is_accident: bool) {
        let name = if self.names { name.to_string() } else { String::new() };
        self.list.push((name, state, is_accident));
    }
}

/// What an exploration without a flaw has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// How many states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// How many of them were accidents.
    pub accidents: usize,
    /// In how many states all is settled.
    pub settled: usize,
}

/// What is wrong, and how it comes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What the protocol has said of it, or that it is a trap.
    pub what: String,
    /// The names of the steps.
    pub way: Vec<String>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} steps", self.what, self.way.len())?;
        self.way.iter().try_for_each(|step| write!(f, "\n    {step}"))
    }
}

/// What a trap is called.
pub const TRAP: &str = "from here nothing leads to where all is settled";

/// Goes through all states that can be reached.
///
/// # Errors
///
/// [`Flaw`], with the shortest way to it.
///
/// # Panics
///
/// If there are more than `most` states: then nothing was shown.
pub fn explore<P: Protocol>(protocol: &P, most: usize) -> Result<Explored, Flaw> {
    let start = protocol.start();
    let mut known = HashMap::from([(start.clone(), 0_u32)]);
    let mut states = vec![start];
    let mut came_from = vec![0_u32];
    // Of steps that are no accidents: from where, to where.
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut settled = Vec::new();
    let mut seen = Explored { states: 0, steps: 0, accidents: 0, settled: 0 };
    let mut next = Steps { list: Vec::new(), names: false };
    let mut at = 0;
    while at < states.len() {
        let state = states[at].clone();
        if let Err(what) = protocol.steps(&state, &mut next) {
            return Err(Flaw { what, way: way(protocol, &states, &came_from, at) });
        }
        if protocol.is_settled(&state) {
            settled.push(at as u32);
        }
        for (_, state, is_accident) in next.list.drain(..) {
            let to = *known.entry(state).or_insert_with_key(|state| {
                states.push(state.clone());
                came_from.push(at as u32);
                (states.len() - 1) as u32
            });
            seen.steps += 1;
            seen.accidents += usize::from(is_accident);
            if !is_accident {
                edges.push((to, at as u32));
            }
        }
        assert!(states.len() <= most, "more than {most} states");
        at += 1;
    }
    (seen.states, seen.settled) = (states.len(), settled.len());
    match first_trap(states.len(), edges, settled) {
        Some(trap) => {
            Err(Flaw { what: TRAP.into(), way: way(protocol, &states, &came_from, trap) })
        }
        None => Ok(seen),
    }
}

/// The first state from which none of `settled` can be reached, by `edges` that lead back.
fn first_trap(states: usize, mut edges: Vec<(u32, u32)>, settled: Vec<u32>) -> Option<usize> {
    edges.sort_unstable();
    edges.dedup();
    let mut is_safe = vec![false; states];
    let mut open = settled;
    while let Some(state) = open.pop() {
        if core::mem::replace(&mut is_safe[state as usize], true) {
            continue;
        }
        let first = edges.partition_point(|(to, _)| *to < state);
        open.extend(
            edges[first..].iter().take_while(|(to, _)| *to == state).map(|(_, from)| *from),
        );
    }
    is_safe.iter().position(|is_safe| !is_safe)
}

/// The names of the steps that lead to state number `at`.
fn way<P: Protocol>(protocol: &P, states: &[P::State], from: &[u32], mut at: usize) -> Vec<String> {
    let mut names = Vec::new();
    while at != 0 {
        let before = from[at] as usize;
        let mut steps = Steps { list: Vec::new(), names: true };
        // It was all right when the state was found.
        let found = protocol.steps(&states[before], &mut steps).ok().and_then(|()| {
            steps
                .list
                .into_iter()
                .find_map(|(name, state, _)| (state == states[at]).then_some(name))
        });
        names.push(found.unwrap_or_else(|| "a step that cannot be repeated".into()));
        at = before;
    }
    names.reverse();
    names
}
