//! All rings in one process: the list of tests that every ring passes (`rings/list.rs`), also with numbers that wrap
//! around at 32, 63 and 64 bits; and for each ring what only its own layout can show.

extern crate alloc;

#[path = "rings/list.rs"]
mod list;
#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod model;
#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod rings;

list::all_rings! {
    stamped: crate::rings::Stamped,
    untrusted_stamped: crate::rings::UntrustedStamped,
    indexed: crate::rings::Indexed,
    untrusted_indexed: crate::rings::UntrustedIndexed,
}

list::all_but_ends! {
    many: crate::rings::Many,
    untrusted_many: crate::rings::UntrustedMany,
}

list::all_but_types! {
    bytes: crate::rings::Bytes,
    untrusted_bytes: crate::rings::UntrustedBytes,
}

/// The two kinds of ends are of one ring, whoever takes which.
macro_rules! ends_of_either_trust {
    ($($module:ident)*) => {$(
        mod $module {
            use super::rings::{Message, message};
            use ipc_shm::ring::{RoleError, $module::{FixedRing, Ring}};

            fn there_and_back<T: Message>() {
                let ring = Ring::<T>::create(4).unwrap();
                for _ in 0..4 {
                    let mut consumer = ring.untrusted_consumer().unwrap();
                    ring.producer().unwrap().push(message(1)).unwrap();
                    ring.untrusted_producer().unwrap().push_slice(&[message(2); 2]).unwrap();
                    assert_eq!((consumer.pop(), consumer.pop()), (Ok(message(1)), Ok(message(2))));
                    drop(consumer);
                    assert_eq!(ring.consumer().unwrap().pop(), Ok(message(2)));
                }
            }

            #[test]
            fn ends_of_either_trust() {
                there_and_back::<u8>();
                there_and_back::<[u8; 3]>();
                there_and_back::<[u8; 31]>();
                there_and_back::<[u8; 256]>();
                there_and_back::<[u8; 1024]>();
            }

            #[test]
            fn memory_that_could_be_taken_away() {
                static FIXED: FixedRing<u64, 2> = FixedRing::new();
                assert_eq!(FIXED.ring().untrusted_producer().unwrap_err(), RoleError::NotSealed);
                assert_eq!(FIXED.ring().untrusted_consumer().unwrap_err(), RoleError::NotSealed);
            }
        }
    )*};
}

mod trust {
    use super::rings;

    ends_of_either_trust! { spsc indexed }
}

/// L06: a panic gives back the ends that it drops, with what went through before it.
macro_rules! ends_dropped_by_a_panic {
    ($($module:ident)*) => {$(
        #[test]
        fn $module() {
            use ipc_shm::ring::{PopError, $module::Ring};
            let ring = Ring::<u64>::create(4).unwrap();
            let mut other = ring.consumer().unwrap();
            let panicked = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
                let mut producer = ring.producer().unwrap();
                producer.push(1).unwrap();
                panic!("on purpose");
            }));
            assert!(panicked.is_err());
            assert_eq!((other.pop(), other.pop()), (Ok(1), Err(PopError::Disconnected)));
            ring.producer().unwrap().push(2).unwrap();
            let panicked = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
                let mut consumer = other;
                assert_eq!(consumer.pop(), Ok(3), "on purpose");
            }));
            assert!(panicked.is_err());
            assert_eq!(ring.consumer().unwrap().pop(), Err(PopError::Disconnected));
        }
    )*};
}

mod l06_ends_dropped_by_a_panic {
    ends_dropped_by_a_panic! { spsc indexed }
}

/// What a plan has no room for leaves the plan as it was.
#[test]
fn a_ring_that_cannot_be_planned_leaves_the_plan() {
    use ipc_shm::ring::{RingError, bytes, indexed, spsc};
    use ipc_shm::{Plan, PlanError, RawValue};

    let check =
        |places: usize, what: &str, expected, planned: &dyn Fn(&mut Plan) -> Option<RingError>| {
            let mut plan = Plan::new();
            for _ in 0..places {
                plan.one::<RawValue<u8>>().unwrap();
            }
            let before = format!("{plan:?}");
            assert_eq!(planned(&mut plan), Some(RingError::Plan(expected)), "{what}");
            assert!(format!("{plan:?}") == before, "{what}: another plan than before");
        };
    // The ring's head would have one more place, or none.
    for places in [Plan::MAX_PLACES - 1, Plan::MAX_PLACES] {
        let many = PlanError::TooMany;
        check(places, "stamped", many, &|plan| spsc::RingPlace::<u64>::plan(plan, 1).err());
        check(places, "indexed", many, &|plan| indexed::RingPlace::<u64>::plan(plan, 1).err());
        check(places, "bytes", many, &|plan| bytes::RingPlace::plan(plan, 8).err());
    }
    let (all, large) = (1 << (usize::BITS - 1), PlanError::TooLarge);
    check(3, "stamped", large, &|plan| spsc::RingPlace::<u64>::plan(plan, all).err());
    check(3, "indexed", large, &|plan| indexed::RingPlace::<u64>::plan(plan, all).err());
}

/// Each slot's sequence, in the ring's region.
mod damage_of_stamps {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use bytemuck::Pod;
    use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
    use ipc_shm::ring::{PopError, PushError, RoleError};

    /// The sequence of the first slot, in a ring of one word each.
    const SLOTS: u64 = 4096 + 128 + 8;

    fn write<T: Pod + Send>(ring: &Ring<'_, T>, offset: u64, word: u64) {
        let file = File::from(ring.as_fd().unwrap().try_clone_to_owned().unwrap());
        file.write_all_at(&word.to_ne_bytes(), offset).unwrap();
    }

    /// A ring of two slots in which one message has gone through each, and its ends.
    fn ring() -> (Ring<'static, u64>, Producer<'static, u64>, Consumer<'static, u64>) {
        let ring = Ring::create(2).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for i in 0..2 {
            producer.push(i).unwrap();
            consumer.pop().unwrap();
        }
        (ring, producer, consumer)
    }

    /// Moved back or forth by laps, half laps, or to anywhere.
    const WRONG: [u64; 6] = [0, 4, 6, 100, 1 << 63, u64::MAX];

    #[test]
    fn h04_h07_a_sequence_that_nobody_wrote() {
        for word in WRONG.into_iter().chain([1, 5]) {
            let (ring, mut producer, mut consumer) = ring();
            write(&ring, SLOTS, word);
            assert_eq!(consumer.pop(), Err(PopError::Corrupt), "{word}");
            if word != 1 {
                assert_eq!(producer.push(5), Err(PushError::Corrupt(5)), "{word}");
            }
            // Sticky, even if the slot becomes right.
            write(&ring, SLOTS, 3);
            assert_eq!(consumer.pop(), Err(PopError::Corrupt));
            write(&ring, SLOTS, 2);
            if word != 1 {
                assert_eq!(producer.push(5), Err(PushError::Corrupt(5)));
            }
        }
    }

    #[test]
    fn h04_damage_is_not_forgotten_whatever_the_peer_writes_then() {
        let ring = Ring::<u64>::create(2).unwrap();
        let mut producer = ring.untrusted_producer().unwrap();
        let mut consumer = ring.untrusted_consumer().unwrap();
        write(&ring, SLOTS, 77);
        assert_eq!(producer.push(5), Err(PushError::Corrupt(5)));
        assert_eq!(consumer.pop(), Err(PopError::Corrupt));
        // Also what a poisoned end looks for, which the peer knows as well as anybody.
        for word in (0..8).flat_map(|word| [word, word ^ 1 << 63]) {
            write(&ring, SLOTS, word);
            assert_eq!(producer.push(5), Err(PushError::Corrupt(5)), "{word:#x}");
            assert_eq!(consumer.pop(), Err(PopError::Corrupt), "{word:#x}");
        }
    }

    #[test]
    fn h05_an_end_that_attaches_to_impossible_sequences_is_refused() {
        for word in WRONG {
            let (ring, producer, consumer) = ring();
            drop((producer, consumer));
            // Two laps apart, or the first slot behind the second.
            write(&ring, SLOTS, word);
            if word == 4 {
                // A whole lap by this slot alone, and none by the other: it could be.
                assert!(ring.producer().is_ok() && ring.consumer().is_ok());
                continue;
            }
            assert_eq!(ring.producer().unwrap_err(), RoleError::Corrupt, "{word}");
            assert_eq!(ring.consumer().unwrap_err(), RoleError::Corrupt, "{word}");
            write(&ring, SLOTS, 2);
            assert!(ring.producer().is_ok() && ring.consumer().is_ok(), "the roles are free again");
        }
    }

    #[test]
    fn h09_a_punched_hole_is_never_a_message() {
        let (ring, mut producer, mut consumer) = ring();
        producer.push(3).unwrap();
        write(&ring, SLOTS, 0);
        assert_eq!(consumer.pop(), Err(PopError::Corrupt));
        let ring = Ring::<u64>::create(2).unwrap();
        ring.producer().unwrap().push(1).unwrap();
        write(&ring, SLOTS, 0);
        let first_lap = ring.consumer().unwrap().pop();
        assert_eq!(first_lap, Err(PopError::Disconnected), "there it is an empty slot");
    }
}
