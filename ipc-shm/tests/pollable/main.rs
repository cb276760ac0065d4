//! Rings in event loops: between processes, some of which are killed, stopped, or hostile.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`) and forks from there. The kills at every single
//! instruction are in `stepkill_pollable.rs`, every interleaving is in `loom_pollable.rs`.
#![expect(unsafe_code, reason = "a pid namespace for children")]

mod ends;
mod hostile;

use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::ring::pollable::{ArmError, Armed, Pollable, PollableError, Sockets};
use ipc_shm::ring::spsc::Ring;
use ipc_shm::ring::{PopError, PopWaitError, RoleError, bytes};
use ipc_shm::{Plan, Region, ring};
use ipc_testkit::cases::events::await_sleep_in_poll;
use ipc_testkit::cases::{self, doing, open_fds, seccomp};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::AsFd;
use rustix::io::{dup, write};
use rustix::process::Resource;

use self::ends::{Bytes, Indexed, Kind, Stamped, Told, sleep};

fn main() -> ExitCode {
    cases::run(&[
        ("both_sides_poll_stamped", both_sides_poll::<Stamped>),
        ("both_sides_poll_indexed", both_sides_poll::<Indexed>),
        ("both_sides_poll_bytes", both_sides_poll::<Bytes>),
        ("one_polls_and_one_sleeps", one_polls_and_one_sleeps),
        ("in_an_edge_triggered_epoll", in_an_edge_triggered_epoll),
        ("descriptor_says_what_is_there", descriptor_says_what_is_there),
        ("readable_for_nothing", readable_for_nothing),
        ("closed_peer_is_told", closed_peer_is_told),
        ("dead_peer_is_told_stamped", dead_peer_is_told::<Stamped>),
        ("dead_peer_is_told_indexed", dead_peer_is_told::<Indexed>),
        ("dead_peer_is_told_bytes", dead_peer_is_told::<Bytes>),
        ("newcomer_and_heir_are_told", newcomer_and_heir_are_told),
        ("streams_with_replacements", streams_with_replacements),
        ("ring_is_pollable_or_not", ring_is_pollable_or_not),
        ("room_for_a_record", room_for_a_record),
        ("places_and_heap", places_and_heap),
        ("without_membarrier", without_membarrier),
        ("without_descriptors", without_descriptors),
        ("another_pid_namespace", another_pid_namespace),
        ("damage_found_by_a_newcomer_is_told", damage_found_by_newcomer),
        ("copies_in_children_are_nobodys_business", copies_in_children),
        ("nothing_is_left", nothing_is_left),
        ("hostile_full_socket", hostile::full_socket),
        ("hostile_bytes_and_bits", hostile::bytes_and_bits),
        ("hostile_shutdown", hostile::shutdown),
        ("hostile_descriptors", hostile::descriptors),
    ])
}

/// How long a report of a death may take: the bound that is promised.
const REPORTED: Duration = Duration::from_millis(200);

fn ring(capacity: usize) -> Ring<'static, u64> {
    Ring::create(capacity).expect("a ring").with_sockets(Sockets::pair().expect("sockets"))
}

fn end(child: &mut Child) {
    assert!(child.wait().expect("a child").success());
}

fn is_readable(fd: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() == 1
}

/// A generator of numbers that are random enough.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Now and then keeps away for a while, so that the other side falls asleep.
    fn dawdle(&mut self) {
        match self.below(200) {
            0 => std::thread::sleep(Duration::from_micros(self.below(100))),
            1..=20 => (0..self.below(2_000)).for_each(|_| core::hint::spin_loop()),
            _ => {}
        }
    }
}

fn both_sides_poll<K: Kind>() {
    for capacity in [1, 8] {
        stream::<K>(capacity, 5_000, [|| {}; 2]);
    }
}

/// Sends `count` numbers, with both sides slow at random.
fn stream<K: Kind>(capacity: usize, count: u64, prepare: [fn(); 2]) {
    let (ring, began) = (K::ring(capacity), Instant::now());
    let mut child = fork_fn(|| {
        prepare[0]();
        let (mut producer, mut random) = (K::producer(&ring), Random(1));
        for number in 0..count {
            random.dawdle();
            assert_eq!(K::push(&mut producer, number), Told::Done(()));
        }
        0
    })
    .unwrap();
    prepare[1]();
    let (mut consumer, mut random) = (K::consumer(&ring), Random(2));
    doing("receiving");
    for number in 0..count {
        random.dawdle();
        assert_eq!(K::pop(&mut consumer), Told::Done(number));
    }
    assert_eq!(K::pop(&mut consumer), Told::Gone);
    end(&mut child);
    println!("{count} numbers through a ring of {capacity}: {:?}", began.elapsed());
}

fn one_polls_and_one_sleeps() {
    const COUNT: u64 = 5_000;
    for producer_polls in [true, false] {
        let ring = Stamped::ring(2);
        let mut child = fork_fn(|| {
            let mut random = Random(1);
            if producer_polls {
                let mut producer = Stamped::producer(&ring);
                for number in 0..COUNT {
                    random.dawdle();
                    assert_eq!(Stamped::push(&mut producer, number), Told::Done(()));
                }
            } else {
                let mut producer = ring.producer().unwrap();
                for number in 0..COUNT {
                    random.dawdle();
                    producer.push_wait(number).unwrap();
                }
            }
            0
        })
        .unwrap();
        let (mut consumer, mut random) = (Stamped::consumer(&ring), Random(2));
        for number in 0..COUNT {
            random.dawdle();
            // Polling or asleep, by turns, where the producer sleeps.
            if producer_polls || number % 3 == 0 {
                assert_eq!(consumer.pop_wait(), Ok(number));
            } else {
                assert_eq!(Stamped::pop(&mut consumer), Told::Done(number));
            }
        }
        assert_eq!(consumer.pop_wait(), Err(PopWaitError::Disconnected));
        end(&mut child);
    }
}

/// As an async runtime has it: one edge for each change, inside another `epoll`.
fn in_an_edge_triggered_epoll() {
    const COUNT: u64 = 5_000;
    let ring = Stamped::ring(2);
    let mut child = fork_fn(|| {
        let (mut producer, mut random) = (ring.producer().unwrap(), Random(1));
        for number in 0..COUNT {
            random.dawdle();
            producer.push_wait(number).unwrap();
        }
        0
    })
    .unwrap();
    let mut consumer = Stamped::consumer(&ring);
    let reactor = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&reactor, &consumer, epoll::EventData::new_u64(7), edges).unwrap();
    let (mut expected, mut sleeps) = (0, 0);
    loop {
        match Stamped::try_pop(&mut consumer) {
            Told::Done(number) => {
                assert_eq!(number, expected);
                expected += 1;
            }
            Told::Gone => break,
            Told::NotYet => match consumer.arm().unwrap() {
                Armed::Ready => {}
                Armed::Sleep => {
                    doing("waiting for an edge");
                    let mut events = Vec::with_capacity(1);
                    let all = rustix::buffer::spare_capacity(&mut events);
                    assert_eq!(epoll::wait(&reactor, all, None).unwrap(), 1);
                    sleeps += 1;
                }
                // The producer has not come yet: that would be told; this is something else.
                Armed::SleepBriefly => panic!("everything can be told here"),
            },
        }
    }
    assert_eq!(expected, COUNT);
    println!("{sleeps} sleeps");
    assert!(sleeps > 10);
    end(&mut child);
}

/// In one process: what `arm` says, and when the descriptor is readable.
fn descriptor_says_what_is_there() {
    let ring = ring(1);
    let mut consumer = Pollable::new(ring.consumer().unwrap()).unwrap();
    let mut producer = Pollable::new(ring.producer().unwrap()).unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    assert!(!is_readable(&consumer));
    producer.push(1).unwrap();
    assert!(is_readable(&consumer));
    assert_eq!(consumer.arm(), Ok(Armed::Ready));
    assert!(!is_readable(&consumer), "what was told is told once");

    assert_eq!(producer.arm(), Ok(Armed::Sleep));
    // Whoever did not look is not told again, and nobody who is not armed.
    assert!(!is_readable(&producer) && !is_readable(&consumer));
    assert_eq!(consumer.pop(), Ok(1));
    assert!(is_readable(&producer));
    assert_eq!(producer.arm(), Ok(Armed::Ready));
    for number in 0..10 {
        producer.push(number).unwrap();
        assert_eq!(consumer.pop(), Ok(number));
    }
    assert!(!is_readable(&producer) && !is_readable(&consumer));

    // Armed twice is armed; and told once.
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    producer.push(2).unwrap();
    assert_eq!(consumer.pop(), Ok(2));
    producer.push(3).unwrap();
    assert_eq!(consumer.pop(), Ok(3));
    assert!(is_readable(&consumer));
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    assert!(!is_readable(&consumer));

    // A batch tells as a single one does.
    assert_eq!(producer.push_slice(&[4]), Ok(1));
    assert!(is_readable(&consumer));
    assert_eq!(consumer.pop_slice(&mut [0]), Ok(1));
}

fn readable_for_nothing() {
    let ring = ring(1);
    let mut consumer = Stamped::consumer(&ring);
    let _producer = ring.producer().unwrap();
    for _ in 0..100 {
        assert_eq!(consumer.arm(), Ok(Armed::Sleep));
        assert_eq!(write(ring.sockets().producer.as_ref().unwrap(), b"!"), Ok(1));
        assert!(is_readable(&consumer));
        assert_eq!(consumer.pop(), Err(PopError::Empty));
    }
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    assert!(!is_readable(&consumer));
}

fn closed_peer_is_told() {
    for side in 0..2 {
        let ring = ring(1);
        let (told, tell) = rustix::pipe::pipe().unwrap();
        let mut sleeper = fork_fn(|| {
            let mut byte = [0];
            rustix::io::read(&told, &mut byte).unwrap();
            let told = match side {
                0 => Stamped::pop(&mut Stamped::consumer(&ring)) == Told::Gone,
                _ => {
                    let mut producer = Stamped::producer(&ring);
                    Stamped::push(&mut producer, 1);
                    Stamped::push(&mut producer, 2) == Told::Gone
                }
            };
            i32::from(!told)
        })
        .unwrap();
        let ends = (
            (side == 0).then(|| ring.producer().unwrap()),
            (side == 1).then(|| ring.consumer().unwrap()),
        );
        rustix::io::write(&tell, b"!").unwrap();
        await_sleep_in_poll(sleeper.id());
        drop(ends);
        end(&mut sleeper);
    }
}

fn dead_peer_is_told<K: Kind>() {
    for side in 0..2 {
        for asleep in [0, 2, 100] {
            let ring = K::ring(1);
            let (told, tell) = rustix::pipe::pipe().unwrap();
            let mut owner = fork_fn(|| {
                let _end = (
                    (side == 0).then(|| K::producer(&ring)),
                    (side == 1).then(|| K::consumer(&ring)),
                );
                rustix::io::write(&tell, b"!").unwrap();
                loop {
                    std::thread::park();
                }
            })
            .unwrap();
            rustix::io::read(&told, &mut [0]).unwrap();
            let mut sleeper = fork_fn(|| {
                let gone = match side {
                    0 => K::pop(&mut K::consumer(&ring)) == Told::Gone,
                    _ => {
                        let mut producer = K::producer(&ring);
                        let first = (0..).find_map(|number| match K::push(&mut producer, number) {
                            Told::Done(()) => None,
                            told => Some(told),
                        });
                        first == Some(Told::Gone)
                    }
                };
                i32::from(!gone)
            })
            .unwrap();
            await_sleep_in_poll(sleeper.id());
            std::thread::sleep(Duration::from_millis(asleep));
            owner.kill().unwrap();
            assert!(!owner.wait().unwrap().success());
            let died = Instant::now();
            end(&mut sleeper);
            let took = died.elapsed();
            println!("side {side}, asleep for {asleep} ms: told after {took:?}");
            assert!(took < REPORTED, "{took:?}");
        }
    }
}

/// Nobody has attached yet; and who has died is replaced.
fn newcomer_and_heir_are_told() {
    let ring = ring(1);
    let mut consumer = Stamped::consumer(&ring);
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    let mut first = fork_fn(|| {
        core::mem::forget(ring.producer());
        0
    })
    .unwrap();
    doing("waiting for somebody to come");
    sleep(Armed::Sleep, &consumer);
    end(&mut first);
    // Dead, as is found when it is looked at, or as the descriptor says.
    while consumer.arm().unwrap() != Armed::Ready {
        sleep(Armed::Sleep, &consumer);
    }
    assert_eq!(consumer.pop(), Err(PopError::Disconnected));
    let mut heir = fork_fn(|| {
        let mut producer = ring.producer().unwrap();
        producer.push(7).unwrap();
        core::mem::forget(producer);
        0
    })
    .unwrap();
    end(&mut heir);
    assert_eq!(Stamped::pop(&mut consumer), Told::Done(7));
    assert_eq!(Stamped::pop(&mut consumer), Told::Gone);
    // An end that lives, and whose owner is then another process: the first one's death is no news any more.
    let mut closes = fork_fn(|| {
        drop(ring.producer().unwrap());
        0
    })
    .unwrap();
    end(&mut closes);
    assert_eq!(Stamped::pop(&mut consumer), Told::Gone);
    let _ours = ring.producer().unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    assert!(!is_readable(&consumer));
}

/// Both sides poll, one of them is killed now and then, and another process goes on in its place.
fn streams_with_replacements() {
    use core::sync::atomic::Ordering::SeqCst;
    let ring = ring(4);
    let count = &cases::shared().words[0];
    let produce = || {
        let (mut producer, mut random) = (Stamped::producer(&ring), Random(1));
        loop {
            random.dawdle();
            // A consumer that is dead is replaced.
            if Stamped::push(&mut producer, 0) == Told::Gone {
                std::thread::yield_now();
            }
        }
    };
    let consume = || {
        let (mut consumer, mut random) = (Stamped::consumer(&ring), Random(2));
        loop {
            random.dawdle();
            match Stamped::pop(&mut consumer) {
                Told::Done(_) => _ = count.fetch_add(1, SeqCst),
                _ => std::thread::yield_now(),
            }
        }
    };
    let mut sides = [fork_fn(produce).unwrap(), fork_fn(consume).unwrap()];
    for kills in 0..40 {
        let target = count.load(SeqCst) + 1 + kills * 7 % 50;
        doing("waiting for numbers to flow");
        while count.load(SeqCst) < target {
            std::thread::yield_now();
        }
        doing("replacing one side");
        let side = &mut sides[kills as usize % 2];
        side.kill().unwrap();
        side.wait().unwrap();
        *side = if kills % 2 == 0 { fork_fn(produce) } else { fork_fn(consume) }.unwrap();
    }
    for side in &mut sides {
        side.kill().unwrap();
        side.wait().unwrap();
    }
}

fn ring_is_pollable_or_not() {
    let plain = Ring::<u64>::create(1).unwrap();
    let fd = || plain.as_fd().unwrap().try_clone_to_owned().unwrap();
    let with = Ring::<u64>::from_fd(fd()).unwrap().with_sockets(Sockets::pair().unwrap());
    drop(plain.producer().unwrap());
    for _ in 0..2 {
        assert_eq!(with.consumer().unwrap_err(), RoleError::NotPollable);
        assert_eq!(with.producer().unwrap_err(), RoleError::NotPollable);
    }
    let error = Pollable::new(plain.consumer().unwrap()).unwrap_err();
    assert_eq!(error, PollableError::NoSocket);
    drop(plain.consumer().expect("the end that got no descriptor is closed"));

    let whole = ring(1);
    let fd = || whole.as_fd().unwrap().try_clone_to_owned().unwrap();
    drop(whole.producer().unwrap());
    let without = Ring::<u64>::from_fd(fd()).unwrap();
    assert_eq!(without.producer().unwrap_err(), RoleError::NoSocket);
    assert_eq!(without.untrusted_consumer().unwrap_err(), RoleError::NoSocket);
    let ours = Sockets {
        producer: Some(dup(whole.sockets().producer.as_ref().unwrap()).unwrap()),
        consumer: None,
    };
    let half = without.with_sockets(ours);
    assert_eq!(half.consumer().unwrap_err(), RoleError::NoSocket);
    assert!(Pollable::new(half.producer().unwrap()).is_ok());
}

fn room_for_a_record() {
    let ring = bytes::Ring::create(64).unwrap().with_sockets(Sockets::pair().unwrap());
    let mut producer = Bytes::producer(&ring);
    let mut consumer = ring.consumer().unwrap();
    producer.push(1, &[1; 8]).unwrap();
    producer.push(2, &[2; 16]).unwrap();
    // 24 bytes are left, 8 of which are a header's.
    assert_eq!(producer.arm_for(16), Ok(Armed::Ready));
    assert_eq!(producer.arm_for(17), Ok(Armed::Sleep));
    assert_eq!(producer.arm(), Ok(Armed::Ready), "there is some room");
    assert_eq!(producer.arm_for(56), Ok(Armed::Sleep));
    // Told of each release, it looks whether that is enough.
    assert_eq!(consumer.pop_vec().unwrap().0, 1);
    assert!(is_readable(&producer));
    assert_eq!(producer.arm_for(56), Ok(Armed::Sleep));
    assert!(!is_readable(&producer));
    assert_eq!(consumer.pop_vec().unwrap().0, 2);
    assert!(is_readable(&producer));
    assert_eq!(producer.arm_for(56), Ok(Armed::Ready));
    assert_eq!(producer.arm_for(57), Ok(Armed::Ready), "which the push will say never fits");
}

/// Rings that have no region of their own.
fn places_and_heap() {
    let mut plan = Plan::new();
    let place = ring::indexed::RingPlace::<u64>::plan(&mut plan, 2).unwrap();
    let region = Region::planned(&plan).unwrap();
    let here = || ring::indexed::Ring::in_region(&region, place).unwrap();
    let ring = here().with_sockets(Sockets::pair().unwrap());
    let mut consumer = Pollable::new(ring.consumer().unwrap()).unwrap();
    let mut producer = ring.producer().unwrap();
    assert_eq!(here().consumer().unwrap_err(), RoleError::NoSocket);
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    // A slice, and slots that are written in place, tell once.
    assert_eq!(producer.push_slice(&[1, 2]), Ok(2));
    assert!(is_readable(&consumer));
    assert_eq!(consumer.pop(), Ok(1));
    assert_eq!(consumer.pop(), Ok(2));
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    let slots = producer.reserve(1).unwrap();
    slots.commit(1);
    assert!(is_readable(&consumer));

    let heap = Ring::<u64>::boxed(1).unwrap().with_sockets(Sockets::pair().unwrap());
    let (mut producer, mut consumer) = (Stamped::producer(&heap), Stamped::consumer(&heap));
    let thread = std::thread::spawn(move || {
        (0..1000)
            .for_each(|number| assert_eq!(Stamped::push(&mut producer, number), Told::Done(())));
    });
    (0..1000).for_each(|number| assert_eq!(Stamped::pop(&mut consumer), Told::Done(number)));
    assert_eq!(Stamped::pop(&mut consumer), Told::Gone);
    thread.join().unwrap();
}

/// Whoever cannot call the barrier cannot rely on being told of each message, and says so.
fn without_membarrier() {
    // A filter cannot be taken back.
    let mut child = fork_fn(|| {
        seccomp::refuse_membarrier();
        let ring = ring(1);
        let mut consumer = Stamped::consumer(&ring);
        let _producer = ring.producer().unwrap();
        assert_eq!(consumer.arm(), Ok(Armed::SleepBriefly));
        0
    })
    .unwrap();
    end(&mut child);
    let refuse = seccomp::refuse_membarrier as fn();
    for prepare in [[refuse, || {}], [|| {}, refuse], [refuse; 2]] {
        let mut child = fork_fn(|| {
            stream::<Stamped>(2, 1_000, prepare);
            0
        })
        .unwrap();
        end(&mut child);
    }
}

/// No pidfd for whoever has the other end.
fn without_descriptors() {
    let ring = ring(1);
    let mut owner = fork_fn(|| {
        let _producer = ring.producer().unwrap();
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    let mut consumer = Stamped::consumer(&ring);
    doing("waiting for the producer to come");
    while consumer.peer() == ring::Peer::Absent {
        std::thread::yield_now();
    }
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let mut none = limit;
    none.current = Some(0);
    rustix::process::setrlimit(Resource::Nofile, none).unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::SleepBriefly));
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    owner.kill().unwrap();
    assert_eq!(Stamped::pop(&mut consumer), Told::Gone);
    owner.wait().unwrap();
}

/// The death of a stranger cannot be told, unless nobody else has its socket.
fn another_pid_namespace() {
    let Sockets { producer, consumer } = Sockets::pair().unwrap();
    let memory = Ring::<u64>::create(1).unwrap();
    let memory = || memory.as_fd().unwrap().try_clone_to_owned().unwrap();
    let ours = Sockets { producer: None, consumer };
    let ring = Ring::<u64>::from_fd(memory()).unwrap().with_sockets(ours);
    let (told, tell) = rustix::pipe::pipe().unwrap();
    let mut outer = fork_fn(|| {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let theirs =
            Sockets { producer: Some(dup(producer.as_ref().unwrap()).unwrap()), consumer: None };
        let stranger = || {
            let ring = Ring::<u64>::from_fd(memory()).unwrap().with_sockets(theirs);
            let mut producer = ring.producer().unwrap();
            write(&tell, b"!").unwrap();
            producer.push_wait(1).unwrap();
            producer.push_wait(2).unwrap();
            core::mem::forget(producer);
            0
        };
        fork_fn(stranger).expect("fork").wait().expect("wait").code().unwrap_or(1)
    })
    .unwrap();
    drop((producer, tell));
    let mut byte = [0];
    if rustix::io::read(&told, &mut byte).unwrap() == 0 {
        assert_eq!(outer.wait().unwrap().code(), Some(77));
        cases::skip("unshare(CLONE_NEWPID) is not permitted");
    }
    let mut consumer = Stamped::consumer(&ring);
    assert_eq!(Stamped::pop(&mut consumer), Told::Done(1));
    assert_eq!(Stamped::pop(&mut consumer), Told::Done(2));
    let mut briefly = 0;
    doing("waiting for the end of a stranger");
    let error = loop {
        match consumer.arm() {
            Ok(Armed::Ready) => panic!("nothing can be known"),
            Ok(armed) => {
                assert_eq!(armed, Armed::SleepBriefly);
                briefly += 1;
                sleep(Armed::Sleep, &consumer);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error, ArmError::HungUp);
    assert_eq!(consumer.arm(), Err(ArmError::HungUp), "and for ever");
    println!("armed {briefly} times in vain");
    end(&mut outer);
}

/// Who takes an end, finds the ring damaged and gives it up again tells of that, as whoever closes an end.
fn damage_found_by_newcomer() {
    const FIRST_STAMP: u64 = 4096 + 128 + 8;
    let ring = ring(4);
    let mut consumer = Pollable::new(ring.consumer().unwrap()).unwrap();
    while consumer.arm().unwrap() == Armed::Ready {}
    assert!(!is_readable(&consumer));
    rustix::io::pwrite(ring.as_fd().unwrap(), &(1_u64 << 40).to_ne_bytes(), FIRST_STAMP).unwrap();
    assert_eq!(ring.producer().unwrap_err(), RoleError::Corrupt);
    assert!(is_readable(&consumer), "nobody was told");
    assert_eq!(consumer.pop(), Err(PopError::Corrupt));
}

/// A child drops its copy of an end whose owner sleeps.
fn copies_in_children() {
    let ring = ring(4);
    let mut producer = Pollable::new(ring.producer().unwrap()).unwrap();
    let mut consumer = Some(Pollable::new(ring.consumer().unwrap()).unwrap());
    for number in 0..3 {
        let armed = consumer.as_mut().unwrap();
        while armed.arm().unwrap() == Armed::Ready {}
        // What it was told before.
        assert_eq!(producer.arm(), Ok(Armed::Ready));
        let child = fork_fn(|| {
            drop(consumer.take());
            0
        });
        end(&mut child.unwrap());
        let consumer = consumer.as_mut().unwrap();
        assert!(!is_readable(&*consumer) && !is_readable(&producer), "the child has told of it");
        producer.push(number).unwrap();
        assert!(is_readable(&*consumer), "nobody was told of number {number}");
        assert_eq!(consumer.pop(), Ok(number));
    }
}

fn nothing_is_left() {
    let fds = open_fds();
    for _ in 0..200 {
        let ring = ring(1);
        let mut consumer = Stamped::consumer(&ring);
        let mut producer = Stamped::producer(&ring);
        assert_eq!(consumer.arm(), Ok(Armed::Sleep));
        producer.push(1).unwrap();
        assert_eq!(producer.arm(), Ok(Armed::Sleep));
    }
    assert_eq!(open_fds(), fds);
    // The watched process changes, and its descriptor with it.
    let ring = ring(1);
    let mut consumer = Stamped::consumer(&ring);
    let fds = open_fds();
    for _ in 0..20 {
        let mut owner = fork_fn(|| {
            core::mem::forget(ring.producer());
            loop {
                std::thread::park();
            }
        })
        .unwrap();
        doing("waiting for the next owner");
        while !matches!(consumer.peer(), ring::Peer::Alive(_)) {
            std::thread::yield_now();
        }
        assert_eq!(consumer.arm(), Ok(Armed::Sleep));
        owner.kill().unwrap();
        assert_eq!(Stamped::pop(&mut consumer), Told::Gone);
        owner.wait().unwrap();
    }
    assert!(open_fds() <= fds + 1, "{} descriptors became {}", fds, open_fds());
}
