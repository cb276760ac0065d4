//! Regions, places, locks and rings in other processes: as arguments under every start method, and over
//! a connection to a process that runs already.

use core::sync::atomic::{AtomicU64, Ordering};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use ipc_core::baton;
use ipc_core::connection::pair;
use ipc_core::parcel::{Handle, Parcel, ParcelError};
use ipc_core::process::{Context, ExitStatus, Process, StartMethod, fork_fn};
use ipc_shm::ring::pollable::{Armed, Pollable, Sockets};
use ipc_shm::ring::spsc::{Ring, RingPlace};
use ipc_shm::ring::{bytes, indexed};
use ipc_shm::{Atomic, Place, PlaceError, Plan, RawValue, Region, Shared};
use ipc_sync::{Event, LockError, Mutex, Semaphore};
use ipc_testkit::cases::{self, doing};
use serde::{Deserialize, Serialize};

fn main() -> ExitCode {
    cases::run(&[
        ("arguments_under_every_method", arguments),
        ("to_a_process_that_runs", to_a_process_that_runs),
        ("lock_of_a_dead_process_elsewhere", lock_of_the_dead),
        ("what_is_no_region_is_refused", refused),
        ("shared_value_of_another_type_is_refused", another_type),
        ("shared_lock_is_known_to_the_kernel", shared_lock_is_known_to_the_kernel),
        ("shared_values_leave_nothing", shared_values_leave_nothing),
        ("sockets_travel_with_a_ring", sockets_travel_with_a_ring),
        ("places_of_another_plan_are_errors", other_places),
        ("places_of_two_rings_are_no_ring", places_of_two_rings),
        ("places_of_what_is_too_large_are_errors", places_of_what_is_too_large),
    ])
}

const METHODS: [StartMethod; 4] =
    [StartMethod::Auto, StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer];

#[derive(Serialize, Deserialize)]
struct Work {
    region: Region,
    counter: Place<Atomic<AtomicU64>>,
    lock: Place<Mutex<u64>>,
    line: RingPlace<u64>,
    total: Shared<Mutex<u64>>,
    ring: Ring<'static, [u32; 3]>,
    batch: indexed::RingPlace<u64>,
    batches: indexed::Ring<'static, u64>,
    records: bytes::Ring<'static>,
    answers: bytes::RingPlace,
}

impl Work {
    fn new() -> Self {
        let mut plan = Plan::new();
        let counter = plan.one().expect("a place");
        let lock = plan.one().expect("a place");
        let line = RingPlace::plan(&mut plan, 8).expect("a ring");
        let batch = indexed::RingPlace::plan(&mut plan, 8).expect("a ring");
        let answers = bytes::RingPlace::plan(&mut plan, 64).expect("a ring");
        let region = Region::planned(&plan).expect("a region");
        let total = Shared::in_region(0).expect("a region");
        let ring = Ring::create(4).expect("a ring");
        let batches = indexed::Ring::create(4).expect("a ring");
        let records = bytes::Ring::create(4096).expect("a ring");
        Self { region, counter, lock, line, total, ring, batch, batches, records, answers }
    }

    /// What the other process does.
    fn run(self) {
        self.region.get(self.counter).expect("here").fetch_add(1, Ordering::Relaxed);
        *self.region.get(self.lock).expect("here").lock().expect("nobody died") += 10;
        *self.total.lock().expect("nobody died") += 20;
        let line = Ring::in_region(&self.region, self.line).expect("here");
        line.producer().expect("a free end").push(7).expect("room");
        let batch = indexed::Ring::in_region(&self.region, self.batch).expect("here");
        assert_eq!(batch.producer().expect("a free end").push_slice(&[8, 9]), Ok(2));
        let mut producer = self.batches.producer().expect("a free end");
        assert_eq!(producer.push_slice(&[1, 2, 3]), Ok(3));
        let mut consumer = self.ring.consumer().expect("a free end");
        assert_eq!(consumer.pop(), Ok([1, 2, 3]));
        let record = self.records.consumer().expect("a free end").pop_vec();
        assert_eq!(record, Ok((7, b"how many?".to_vec())));
        let answers = bytes::Ring::in_region(&self.region, self.answers).expect("here");
        answers.producer().expect("a free end").push(8, b"three").expect("room");
    }

    /// What the other process asks for.
    fn ask(&self) {
        self.ring.producer().expect("a free end").push([1, 2, 3]).expect("room");
        self.records.producer().expect("a free end").push(7, b"how many?").expect("room");
    }

    /// What it left.
    fn check(&self) {
        assert_eq!(self.region.get(self.counter).expect("here").load(Ordering::Relaxed), 1);
        assert_eq!(*self.region.get(self.lock).expect("here").lock().expect("nobody died"), 10);
        assert_eq!(*self.total.lock().expect("nobody died"), 20);
        let line = Ring::in_region(&self.region, self.line).expect("here");
        assert_eq!(line.consumer().expect("a free end").pop(), Ok(7));
        let batch = indexed::Ring::in_region(&self.region, self.batch).expect("here");
        assert_eq!(batch.consumer().expect("a free end").pop(), Ok(8));
        let mut messages = [0; 4];
        let mut consumer = self.batches.consumer().expect("a free end");
        assert_eq!(consumer.pop_slice(&mut messages), Ok(3));
        assert_eq!(messages, [1, 2, 3, 0]);
        let answers = bytes::Ring::in_region(&self.region, self.answers).expect("here");
        let answer = answers.consumer().expect("a free end").pop_vec();
        assert_eq!(answer, Ok((8, b"three".to_vec())));
    }

    /// A second handle to the same memory, as if it had come from elsewhere.
    fn copy(&self) -> Self {
        Parcel::pack(self).and_then(Parcel::unpack).expect("it travels")
    }
}

fn is_good(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Exited(0) | ExitStatus::Unknown)
}

fn arguments() {
    for method in METHODS {
        doing("passing a region");
        let work = Work::new();
        work.ask();
        let context = Context::new(method);
        let mut child = Process::new(Work::run, work.copy()).start_in(&context).expect("start");
        assert!(is_good(child.wait().expect("wait")));
        work.check();
    }
}

fn to_a_process_that_runs() {
    let (mut ours, mut theirs) = pair().expect("pair");
    let child = fork_fn(|| {
        let work: Work = theirs.recv_value().expect("recv");
        work.run();
        0
    });
    let work = Work::new();
    work.ask();
    ours.send_value(&work).expect("send");
    assert!(is_good(child.expect("fork").wait().expect("wait")));
    work.check();
}

/// Each process has the lock at another address; its death is noticed all the same.
fn lock_of_the_dead() {
    fn hold((region, lock): (Region, Place<Mutex<u64>>)) {
        let mut guard = region.get(lock).expect("here").lock().expect("nobody died");
        *guard = 1;
        std::process::abort();
    }
    let mut plan = Plan::new();
    let lock = plan.one::<Mutex<u64>>().expect("a place");
    for method in METHODS {
        let region = Region::planned(&plan).expect("a region");
        let copy: Region = Parcel::pack(&region).and_then(Parcel::unpack).expect("it travels");
        let context = Context::new(method);
        let mut child = Process::new(hold, (copy, lock)).start_in(&context).expect("start");
        let mutex = region.get(lock).expect("here");
        child.wait().expect("wait");
        let found = mutex.lock();
        let Err(LockError::Recovered(guard)) = found else { panic!("{found:?}") };
        assert_eq!(*guard.mark_consistent(), 1);
    }
}

fn refused() {
    let file = OwnedFd::from(std::fs::File::open("/dev/null").expect("open"));
    let parcel = Parcel::pack(&Handle::from(file)).expect("it travels");
    let refused = parcel.unpack::<Region>().map(drop).expect_err("no region");
    assert!(matches!(refused, ParcelError::Refused(_)), "{refused}");
    // A ring of another type.
    let parcel = Parcel::pack(&Ring::<u64>::create(1).expect("a ring")).expect("it travels");
    let refused = parcel.unpack::<Ring<'_, [u64; 2]>>().map(drop).expect_err("another type");
    assert!(matches!(refused, ParcelError::Refused(_)), "{refused}");
    // A ring in the middle of something.
    let ring = Ring::<u64>::boxed(1).expect("a ring");
    assert!(matches!(Parcel::pack(&ring), Err(ParcelError::Pack(_))));
}

/// Whatever numbers come as a place, no reference goes beyond the region.
/// Head of one ring and slots of another are no ring, although both are in the region.
fn places_of_two_rings() {
    let mut plan = Plan::new();
    let rings = [(); 2].map(|()| indexed::RingPlace::<u64>::plan(&mut plan, 4).expect("a ring"));
    let region = Region::planned(&plan).expect("a region");
    type Numbers = ([u64; 3], [u64; 3]);
    let numbers = rings
        .map(|ring| Parcel::pack(&ring).expect("packed").unpack::<Numbers>().expect("two places"));
    for (head, slots) in [(0, 0), (1, 1), (0, 1), (1, 0)] {
        let place = Parcel::pack(&(numbers[head].0, numbers[slots].1)).expect("packed");
        let place = place.unpack::<indexed::RingPlace<u64>>().expect("any numbers");
        let found = indexed::Ring::in_region(&region, place).map(drop);
        let expected = if head == slots { Ok(()) } else { Err(PlaceError::NotHere) };
        assert_eq!(found, expected, "{head} {slots}");
    }
}

/// A type that no plan has a place for is at no index, be there an entry or not.
fn places_of_what_is_too_large() {
    type FourGiB = RawValue<[[[u8; 4096]; 4096]; 256]>;
    let region = Region::planned(&Plan::new()).or_else(|_| Region::anonymous(100));
    let region = region.expect("a region");
    for index in [0, 1, 95, 96, 1000] {
        let bytes = postcard::to_allocvec(&[index, 0_u64, 1]).expect("numbers");
        let place: Place<FourGiB> = Parcel { bytes, fds: Vec::new() }.unpack().expect("numbers");
        assert_eq!(region.slice(place).map(drop), Err(PlaceError::NotHere), "{index}");
    }
}

fn other_places() {
    let mut plan = Plan::new();
    let right = plan.array::<Atomic<AtomicU64>>(10).expect("a place");
    let region = Region::planned(&plan).expect("a region");
    assert_eq!(region.slice(right).expect("here").len(), 10);
    let edges = [0, 1, 9, 10, 11, 4096, u64::MAX / 8, u64::MAX - 7, u64::MAX];
    let mut good = 0;
    for index in edges {
        for offset in edges {
            for count in edges {
                let bytes = postcard::to_allocvec(&[index, offset, count]).expect("numbers");
                let place = Parcel { bytes, fds: Vec::new() }.unpack().expect("any numbers");
                match region.slice::<Atomic<AtomicU64>>(place) {
                    Ok(all) => {
                        assert_eq!(all.len(), 10);
                        good += 1;
                    }
                    Err(error) => assert_eq!(error, PlaceError::NotHere),
                }
            }
        }
    }
    assert_eq!(good, 1);
}

fn another_type() {
    let parcel = Parcel::pack(&Shared::new(Event::new()).expect("a region")).expect("it travels");
    let found = parcel.unpack::<Shared<Semaphore>>();
    assert!(matches!(found, Err(ParcelError::Refused(_))), "{found:?}");
}

/// The kernel knows the gate of a lock that was made for a region, and wakes a waiter; of others it knows nothing.
fn shared_lock_is_known_to_the_kernel() {
    let resident = Shared::<Mutex<u64>>::in_region(0).expect("a region");
    let elsewhere = Shared::new(Mutex::new(0_u64)).expect("a region");
    let known = |lock: &Shared<Mutex<u64>>| {
        let _guard = lock.lock().expect("it is new");
        let start = core::ptr::from_ref(&**lock).addr();
        baton::known_to_kernel()
            .map(|gate| (start..start + size_of::<Mutex<u64>>()).contains(&gate))
    };
    assert_eq!((known(&resident), known(&elsewhere)), (Some(true), None));
    assert_eq!(baton::known_to_kernel(), None);
}

fn shared_values_leave_nothing() {
    let maps = || std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count();
    let one = || {
        let lock = Shared::<Mutex<u64>>::in_region(1).expect("a region");
        let clone = lock.try_clone().expect("a clone");
        drop(lock);
        assert_eq!(*clone.lock().expect("it is free"), 1);
    };
    (0..20).for_each(|_| one());
    let before = (cases::open_fds(), maps());
    (0..10_000).for_each(|_| one());
    assert_eq!((cases::open_fds(), maps()), before);
}

/// Of a ring and by themselves, both or one of them.
fn sockets_travel_with_a_ring() {
    let ring = bytes::Ring::create(64).unwrap().with_sockets(Sockets::pair().unwrap());
    let Sockets { producer, .. } = ring.sockets().try_clone().unwrap();
    let one = Sockets { producer, consumer: None };
    let (theirs, one): (bytes::Ring<'static>, Sockets) =
        Parcel::pack(&(&ring, &one)).unwrap().unpack().unwrap();
    assert!(one.producer.is_some() && one.consumer.is_none());
    let mut consumer = Pollable::new(theirs.consumer().unwrap()).unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::Sleep));
    drop(theirs);
    ring.producer().unwrap().push(1, b"one").unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::Ready));
    let plain = Parcel::pack(&Ring::<u64>::create(1).unwrap()).unwrap();
    let plain: Ring<'static, u64> = plain.unpack().unwrap();
    assert!(plain.sockets().producer.is_none());
}
