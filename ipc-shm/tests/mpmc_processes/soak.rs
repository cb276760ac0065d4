//! Much and long: a billion messages, and half an hour in which one of eight processes is killed every few milliseconds.
//!
//! The books of the soak are exact. A message has a number that no other has. Who has pushed it says so afterwards, and who has
//! popped it sets its bit. So whoever is killed between the ring's call and the entry leaves one number in doubt, and no more:
//!
//! | | pops | leases |
//! |---|---|---|
//! | pushed for certain, and no bit set | one for each consumer that was killed | none |
//! | a bit that was set already | none | one for each consumer that was killed |
//! | after a later one of the same producer | one for each consumer that was killed | likewise |

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use core::time::Duration;
use std::time::Instant;

use ipc_core::process::{Child, ExitStatus, fork_fn};
use ipc_shm::ring::mpmc::{Consumer, Ring};
use ipc_shm::ring::{PopWaitError, PushWaitError};
use ipc_shm::{Atomic, Place, Plan, Region};
use ipc_testkit::cases::doing;

use super::{Message, is_deep, message, number};

/// Producers, and as many consumers.
const EACH: usize = 4;

/// The bits from here on say whose a message is.
const PRODUCER: u32 = 40;

pub(crate) fn messages_through_eight_processes() {
    let each: u64 = if is_deep() { 250_000_000 } else { 500_000 };
    let ring = Ring::<Message>::create(1024).unwrap();
    let mut plan = Plan::new();
    let totals = plan.array::<Atomic<AtomicU64>>(2).unwrap();
    let region = Region::planned(&plan).unwrap();
    let totals = region.slice(totals).unwrap();
    let produce = |producer: usize| {
        let mut end = ring.producer().unwrap();
        for count in 1..=each {
            end.push_wait(message((producer as u64) << PRODUCER | count)).unwrap();
        }
        0
    };
    let consume = || {
        let (mut last, mut count, mut sum) = ([0; EACH], 0, 0_u64);
        for found in ring.consumer().unwrap().messages() {
            let found = number(found.unwrap());
            let last = &mut last[(found >> PRODUCER) as usize];
            let found = found & ((1 << PRODUCER) - 1);
            assert!(*last < found, "{found} after {last}");
            (*last, count, sum) = (found, count + 1, sum.wrapping_add(found));
        }
        totals[0].fetch_add(count, SeqCst);
        totals[1].fetch_add(sum, SeqCst);
        0
    };
    let began = Instant::now();
    doing("sending messages through eight processes");
    let producers = (0..EACH).map(|producer| fork_fn(|| produce(producer)).unwrap());
    let mut children: Vec<Child> = producers.collect();
    children.extend((0..EACH).map(|_| fork_fn(consume).unwrap()));
    children.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    let took = began.elapsed();
    let count = EACH as u64 * each;
    assert_eq!(totals[0].load(SeqCst), count, "how many came out");
    assert_eq!(totals[1].load(SeqCst), EACH as u64 * (each * (each + 1) / 2), "which ones");
    let rate = count as f64 / took.as_secs_f64() / 1e6;
    println!("soak: {count} messages through {} processes in {took:.1?}: {rate:.1} M/s", 2 * EACH);
}

/// How consumers take messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    Pops,
    Leases,
}

pub(crate) fn pops_while_everybody_is_killed() {
    soak(Taking::Pops);
}

pub(crate) fn leases_while_everybody_is_killed() {
    soak(Taking::Leases);
}

/// A place for the numbers of so many chunks in a round; a producer has a chunk to itself.
const CHUNKS: usize = 1 << 15;
const CHUNK: u64 = 1 << 11;

/// The books of a round.
struct Books {
    region: Region,
    /// See the constants.
    counts: Place<Atomic<AtomicU64>>,
    /// How many messages of each chunk have been pushed for certain.
    pushed: Place<Atomic<AtomicU64>>,
    /// A bit for each message that has come out.
    bits: Place<Atomic<AtomicU64>>,
}

/// In `counts`: whether producers are to stop; the next chunk; how many messages have come out, how many of them not for the first
/// time, and how many after a later one.
const STOP: usize = 0;
const NEXT: usize = 1;
const POPPED: usize = 2;
const DOUBLED: usize = 3;
const OVERTAKEN: usize = 4;

impl Books {
    fn new() -> Self {
        let mut plan = Plan::new();
        let counts = plan.array(5).unwrap();
        let pushed = plan.array(CHUNKS).unwrap();
        let bits = plan.array(CHUNKS * CHUNK as usize / 64).unwrap();
        Self { region: Region::planned(&plan).unwrap(), counts, pushed, bits }
    }

    fn count(&self, which: usize) -> &AtomicU64 {
        &self.region.slice(self.counts).unwrap()[which]
    }

    fn pushed(&self) -> &[Atomic<AtomicU64>] {
        self.region.slice(self.pushed).unwrap()
    }

    fn bits(&self) -> &[Atomic<AtomicU64>] {
        self.region.slice(self.bits).unwrap()
    }

    fn produce(&self, ring: &Ring<'_, Message>) -> i32 {
        let mut producer = ring.producer().unwrap();
        let pushed = self.pushed();
        loop {
            let chunk = self.count(NEXT).fetch_add(1, SeqCst);
            let Some(pushed) = pushed.get(chunk as usize) else { return 0 };
            for count in 0..CHUNK {
                if self.count(STOP).load(SeqCst) != 0 {
                    return 0;
                }
                match producer.push_wait(message(chunk * CHUNK + count)) {
                    Ok(()) => pushed.store(count + 1, SeqCst),
                    // Nobody is there to make room, for a moment.
                    Err(PushWaitError::Disconnected(_)) => return 0,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn consume(&self, ring: &Ring<'_, Message>, taking: Taking) -> i32 {
        let mut consumer = ring.consumer().unwrap();
        let mut last = vec![0; CHUNKS];
        loop {
            let taken = match taking {
                Taking::Pops => self.pop(&mut consumer, &mut last),
                Taking::Leases => self.lease(&mut consumer, &mut last),
            };
            // There may be other producers in a moment, unless it is over.
            if !taken && self.count(STOP).load(SeqCst) != 0 {
                return 0;
            }
        }
    }

    /// Whether there was a message, or is one to come.
    fn pop(&self, consumer: &mut Consumer<'_, Message>, last: &mut [u64]) -> bool {
        match consumer.pop_wait() {
            Ok(found) => self.enter(number(found), last),
            Err(PopWaitError::Disconnected) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    fn lease(&self, consumer: &mut Consumer<'_, Message>, last: &mut [u64]) -> bool {
        match consumer.lease_wait() {
            Ok(lease) => {
                self.enter(number(*lease), last);
                lease.release();
            }
            Err(PopWaitError::Disconnected) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    fn enter(&self, number: u64, last: &mut [u64]) {
        let (chunk, count) = ((number / CHUNK) as usize, number % CHUNK + 1);
        if count <= last[chunk] {
            self.count(OVERTAKEN).fetch_add(1, SeqCst);
        }
        last[chunk] = count;
        let bit = 1 << (number % 64);
        if self.bits()[number as usize / 64].fetch_or(bit, SeqCst) & bit != 0 {
            self.count(DOUBLED).fetch_add(1, SeqCst);
        }
        self.count(POPPED).fetch_add(1, SeqCst);
    }

    /// Of all that was pushed for certain, how much has never come out; and how much has that was not.
    fn lost_and_uncertain(&self) -> (u64, u64) {
        let (mut lost, mut uncertain) = (0, 0);
        for (chunk, pushed) in self.pushed().iter().enumerate() {
            let pushed = pushed.load(SeqCst);
            let first = chunk * CHUNK as usize / 64;
            for (word, bits) in self.bits()[first..][..CHUNK as usize / 64].iter().enumerate() {
                let certain = pushed.saturating_sub(word as u64 * 64).min(64);
                let expected = if certain == 64 { u64::MAX } else { (1 << certain) - 1 };
                let bits = bits.load(SeqCst);
                lost += u64::from((expected & !bits).count_ones());
                uncertain += u64::from((bits & !expected).count_ones());
            }
        }
        (lost, uncertain)
    }
}

/// What has happened in all rounds.
#[derive(Debug, Default)]
struct Totals {
    messages: u64,
    /// Producers and consumers.
    killed: [u64; 2],
    lost: u64,
    doubled: u64,
    overtaken: u64,
    uncertain: u64,
    longest_stall: Duration,
}

fn soak(taking: Taking) {
    let (whole, round) = match is_deep() {
        true => (Duration::from_secs(15 * 60), Duration::from_secs(5)),
        false => (Duration::from_secs(3), Duration::from_millis(1500)),
    };
    let ring = Ring::<Message>::create(64).unwrap();
    let (began, mut random, mut totals) = (Instant::now(), Random(1), Totals::default());
    while began.elapsed() < whole {
        one_round(&ring, taking, round, &mut random, &mut totals);
    }
    let Totals { messages, killed: [producers, consumers], longest_stall, .. } = totals;
    let rate = messages as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!(
        "soak: {taking:?}: {messages} messages, {rate:.2} M/s, {producers} producers and {consumers} consumers killed; lost {}, \
         doubled {}, overtaken {}, pushed by the dead {}; the longest stall {longest_stall:.1?}",
        totals.lost, totals.doubled, totals.overtaken, totals.uncertain,
    );
    assert!(producers >= 20 && consumers >= 20, "too few to show anything");
    assert!(messages > 10_000, "too few to show anything");
}

fn one_round(
    ring: &Ring<'_, Message>,
    taking: Taking,
    length: Duration,
    random: &mut Random,
    totals: &mut Totals,
) {
    let books = Books::new();
    let start = |which: usize| {
        let run = || match which {
            ..EACH => books.produce(ring),
            _ => books.consume(ring, taking),
        };
        fork_fn(run).unwrap()
    };
    let mut children: Vec<Child> = (0..2 * EACH).map(start).collect();
    let (began, mut killed) = (Instant::now(), [0; 2]);
    let (mut seen, mut since) = (0, began);
    doing("killing one after the other");
    while began.elapsed() < length {
        // The pace of the kills; nobody waits for this.
        std::thread::sleep(Duration::from_micros(random.among(5_000..50_000)));
        let popped = books.count(POPPED).load(SeqCst);
        if popped == seen {
            totals.longest_stall = totals.longest_stall.max(since.elapsed());
            assert!(since.elapsed() < Duration::from_secs(2), "nothing flows");
        } else {
            (seen, since) = (popped, Instant::now());
        }
        let which = random.among(0..2 * EACH as u64) as usize;
        children[which].kill().unwrap();
        // It is replaced while it is a zombie.
        let mut dead = core::mem::replace(&mut children[which], start(which));
        match dead.wait().unwrap() {
            ExitStatus::Signaled { .. } => killed[which / EACH] += 1,
            status => assert!(status.success(), "{status}"),
        }
    }
    books.count(STOP).store(1, SeqCst);
    doing("waiting for all to end by themselves");
    children.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));

    let (lost, uncertain) = books.lost_and_uncertain();
    let [doubled, overtaken, popped] =
        [DOUBLED, OVERTAKEN, POPPED].map(|which| books.count(which).load(SeqCst));
    let [producers, consumers] = killed;
    let allowed = match taking {
        Taking::Pops => [consumers, 0],
        Taking::Leases => [0, consumers],
    };
    assert!(lost <= allowed[0], "{lost} lost with {consumers} consumers");
    assert!(doubled <= allowed[1], "{doubled} doubled with {consumers} consumers");
    assert!(overtaken <= consumers, "{overtaken} overtaken with {consumers} dead consumers");
    assert!(uncertain <= producers, "{uncertain} that nobody says to have pushed");
    totals.messages += popped;
    totals.lost += lost;
    totals.doubled += doubled;
    totals.overtaken += overtaken;
    totals.uncertain += uncertain;
    totals.killed[0] += producers;
    totals.killed[1] += consumers;
}

/// Numbers that are the same in each run (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn among(&mut self, range: Range<u64>) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        range.start + self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % (range.end - range.start)
    }
}
