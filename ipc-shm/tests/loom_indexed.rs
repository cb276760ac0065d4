//! The indexed ring in every interleaving, with either side killed before each of its steps: each way of pushing
//! beside each way of popping, K08 among them.
//!
//! Run by `ci/loom.sh`; `IPC_LOOM=deep` explores one preemption more. Who may have an end is `loom_spsc.rs`'s
//! subject: the roles are the same.

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
mod loom_rings;

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    let more = usize::from(std::env::var_os("IPC_LOOM").is_some_and(|how| how == "deep"));
    let mut suite = Suite::new();
    for (name, scenario) in PAIRS {
        suite = suite.case(name, 2 + more, &[0, 1], *scenario);
    }
    suite
        .case("old_ring", 2 + more, &[0, 1], old_ring)
        .case("payloads_are_handed_over", 2, &[], handed_over)
        .reveals(&[Fault::StoresOrderNothing])
        .case("slots_are_handed_back", 2, &[], handed_back)
        .reveals(&[Fault::StoresOrderNothing])
        .case("last_message_before_disconnected", 3, &[0], last_message_before_disconnected)
        .case("producers_in_turn", 1 + more, &[0, 1, 2], producers_in_turn)
        .case("consumers_in_turn", 1 + more, &[0, 1, 2], consumers_in_turn)
        .case("lending_producers_in_turn", 1 + more, &[0, 1, 2], lending_producers_in_turn)
        .case("peeking_consumers_in_turn", 1 + more, &[0, 1, 2], peeking_consumers_in_turn)
        .run()
}

#[cfg(loom)]
mod model {
    use ipc_shm::ring::indexed::{Consumer, Producer, Ring};
    use ipc_shm::ring::{PopError, PushError};

    use crate::loom_rings::{self, ModelRing as _, Pop, Push, pair};

    type R = Ring<'static, u64>;

    fn push(
        producer: &mut Producer<'static, u64>,
        messages: &[u64],
    ) -> Result<usize, PushError<()>> {
        match producer.push(messages[0]) {
            Ok(()) => Ok(1),
            Err(PushError::Full(_)) => Err(PushError::Full(())),
            Err(PushError::Disconnected(_)) => Err(PushError::Disconnected(())),
            Err(PushError::Corrupt(_)) => Err(PushError::Corrupt(())),
        }
    }

    fn lend(
        producer: &mut Producer<'static, u64>,
        messages: &[u64],
    ) -> Result<usize, PushError<()>> {
        let mut slots = producer.reserve(messages.len())?;
        let count = slots.len();
        (0..count).for_each(|index| slots.set(index, messages[index]));
        slots.commit(count);
        Ok(count)
    }

    fn pop(consumer: &mut Consumer<'static, u64>, _most: usize) -> Result<Vec<u64>, PopError> {
        consumer.pop().map(|message| vec![message])
    }

    fn peek(consumer: &mut Consumer<'static, u64>, most: usize) -> Result<Vec<u64>, PopError> {
        let messages = consumer.peek(most)?;
        let seen: Vec<_> = (0..messages.len()).filter_map(|index| messages.get(index)).collect();
        messages.release(seen.len());
        Ok(seen)
    }

    const PUSH_SLICE: Push<R> = R::push_slice;
    const POP_SLICE: Pop<R> = R::pop_slice;

    /// Each of three ways to push, with so many messages, beside each of three to pop, in rings of 1, 2 and 4.
    macro_rules! pairs {
        ($($name:literal: $capacity:literal, $count:literal $push:expr, $pop:expr;)*) => {
            pub(crate) const PAIRS: &[(&str, fn())] = &[$(
                ($name, || pair::<R>(($capacity, 0), [$count, 2], (2, $push), (2, $pop))),
            )*];
        };
    }

    pairs! {
        "push_pop_capacity_1": 1, 1 push, pop;
        "push_pop_capacity_2": 2, 1 push, pop;
        "push_pop_capacity_4": 4, 1 push, pop;
        "push_pop_slice_capacity_1": 1, 1 push, POP_SLICE;
        "push_pop_slice_capacity_2": 2, 1 push, POP_SLICE;
        "push_pop_slice_capacity_4": 4, 1 push, POP_SLICE;
        "push_peek_capacity_1": 1, 1 push, peek;
        "push_peek_capacity_2": 2, 1 push, peek;
        "push_peek_capacity_4": 4, 1 push, peek;
        "push_slice_pop_capacity_1": 1, 2 PUSH_SLICE, pop;
        "push_slice_pop_capacity_2": 2, 2 PUSH_SLICE, pop;
        "push_slice_pop_capacity_4": 4, 2 PUSH_SLICE, pop;
        "push_slice_pop_slice_capacity_1": 1, 2 PUSH_SLICE, POP_SLICE;
        "push_slice_pop_slice_capacity_2": 2, 2 PUSH_SLICE, POP_SLICE;
        "push_slice_pop_slice_capacity_4": 4, 2 PUSH_SLICE, POP_SLICE;
        "push_slice_peek_capacity_1": 1, 2 PUSH_SLICE, peek;
        "push_slice_peek_capacity_2": 2, 2 PUSH_SLICE, peek;
        "push_slice_peek_capacity_4": 4, 2 PUSH_SLICE, peek;
        "lend_pop_capacity_1": 1, 2 lend, pop;
        "lend_pop_capacity_2": 2, 2 lend, pop;
        "lend_pop_capacity_4": 4, 2 lend, pop;
        "lend_pop_slice_capacity_1": 1, 2 lend, POP_SLICE;
        "lend_pop_slice_capacity_2": 2, 2 lend, POP_SLICE;
        "lend_pop_slice_capacity_4": 4, 2 lend, POP_SLICE;
        "lend_peek_capacity_1": 1, 2 lend, peek;
        "lend_peek_capacity_2": 2, 2 lend, peek;
        "lend_peek_capacity_4": 4, 2 lend, peek;
    }

    /// The positions wrap around in the middle.
    pub(crate) fn old_ring() {
        pair::<R>((2, u64::MAX), [2, 2], (2, PUSH_SLICE), (2, POP_SLICE));
    }

    /// The consumer reads what the producer has written.
    pub(crate) fn handed_over() {
        pair::<R>((4, 0), [2, 2], (1, PUSH_SLICE), (1, POP_SLICE));
    }

    /// The producer writes where the consumer has read.
    pub(crate) fn handed_back() {
        pair::<R>((1, 0), [1, 1], (3, push), (1, pop));
    }

    pub(crate) fn last_message_before_disconnected() {
        loom_rings::last_message_before_disconnected::<R>();
    }

    pub(crate) fn producers_in_turn() {
        loom_rings::producers_in_turn::<R>([2, 2], PUSH_SLICE, POP_SLICE);
    }

    pub(crate) fn consumers_in_turn() {
        loom_rings::consumers_in_turn::<R>([2, 2], PUSH_SLICE, POP_SLICE);
    }

    pub(crate) fn lending_producers_in_turn() {
        loom_rings::producers_in_turn::<R>([2, 2], lend, pop);
    }

    pub(crate) fn peeking_consumers_in_turn() {
        loom_rings::consumers_in_turn::<R>([1, 2], push, peek);
    }
}
