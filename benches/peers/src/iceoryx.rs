//! iceoryx2: publish and subscribe with one publisher and one subscriber, which polls. No message is
//! dropped. Samples are loaned, written and read in place.
//!
//! # Safety
//! Ports must stay on the thread that made them. A side makes its own in its first slice, and runs on one
//! thread in a process of its own.
#![expect(unsafe_code, reason = "a port is kept in a closure that the runner wants to be `Send`")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::{fs, process};

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use ipc_benches::payload::{Message, Reader, Writer};
use ipc_benches::streams::{round_trip as both_ways, slots, spin_until, stream};
use ipc_benches::subject::Subject;
use ipc_benches::sys;
use ipc_benches::turns::Handover;

const NAME: &str = "iceoryx2";

/// A stream.
pub(crate) fn publish_subscribe<const N: usize>() -> Subject {
    Subject::processes(NAME, || {
        let topic = Topic::new();
        let other = topic.clone();
        stream(
            move || {
                let port = topic.publisher::<N>();
                move |count, writer: &mut Writer| {
                    for _ in 0..count {
                        port.send(|place| writer.write(place));
                    }
                }
            },
            move || {
                let port = other.subscriber::<N>();
                move |count, reader: &mut Reader| {
                    for _ in 0..count {
                        port.receive(|message| reader.read(message));
                    }
                }
            },
        )
    })
}

/// A request on one topic and its answer on another.
pub(crate) fn round_trip<const N: usize>() -> Subject {
    Subject::processes(NAME, || {
        let (there, back) = (Topic::new(), Topic::new());
        both_ways(
            Handover::AtOnce,
            sending::<N>(there.clone()),
            receiving::<N>(back.clone()),
            receiving::<N>(there),
            sending::<N>(back),
        )
    })
}

fn sending<const N: usize>(topic: Topic) -> impl FnMut(Message<N>) + Send + 'static {
    let mut port = None;
    move |message| {
        let port = port.get_or_insert_with(|| topic.publisher::<N>());
        port.send(|place| place.copy_from_slice(&message));
    }
}

fn receiving<const N: usize>(topic: Topic) -> impl FnMut() -> Message<N> + Send + 'static {
    let mut port = None;
    move || {
        let port = port.get_or_insert_with(|| topic.subscriber::<N>());
        let mut message = [0; N];
        port.receive(|sample| message.copy_from_slice(sample));
        message
    }
}

/// A service with files of its own, which are removed when the process that named it drops it: the sides
/// are killed, and leave everything behind.
#[derive(Clone)]
struct Topic {
    files: Arc<Files>,
    /// 1 once there is a subscriber, 2 once there is a publisher, too.
    ports: &'static AtomicU32,
}

struct Files {
    owner: u32,
    prefix: String,
    folder: PathBuf,
}

/// A port that stays where it was made.
struct Held<T>(T);

// SAFETY: see the module's documentation.
unsafe impl<T> Send for Held<T> {}

impl Topic {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let owner = process::id();
        let prefix = format!("ipc-benches-{owner}-{}-", COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(prefix.trim_end_matches('-'));
        let files = Arc::new(Files { owner, prefix, folder });
        Self { files, ports: sys::place(AtomicU32::new(0)) }
    }

    fn service<const N: usize>(&self) -> (Node<ipc::Service>, Service<N>) {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        let folder = self.files.folder.to_str().expect("a readable name");
        config.global.prefix = FileName::new(self.files.prefix.as_bytes()).expect("a file name");
        config.global.set_root_path(&Path::new(folder.as_bytes()).expect("a path"));
        let node = NodeBuilder::new()
            .config(&config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
            .expect("a node");
        let service = node
            .service_builder(&"stream".try_into().expect("a name"))
            .publish_subscribe::<Message<N>>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(slots::<N>())
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .expect("a service");
        (node, service)
    }

    fn subscriber<const N: usize>(&self) -> ReceivingPort<N> {
        let (node, service) = self.service::<N>();
        let port = service.subscriber_builder().buffer_size(slots::<N>()).create();
        let port = port.expect("a subscriber");
        // SYNC: subscriber there (Release here, Acquire in `publisher`).
        self.ports.store(1, Release);
        // It does not look for publishers while one is being made.
        // SYNC: publisher there (Acquire here, Release in `publisher`).
        spin_until(|| (self.ports.load(Acquire) == 2).then_some(()));
        ReceivingPort(Held((port, service, node)))
    }

    /// Waits for the subscriber: what is published before goes nowhere.
    fn publisher<const N: usize>(&self) -> SendingPort<N> {
        // SYNC: subscriber there (Acquire here, Release in `subscriber`).
        spin_until(|| (self.ports.load(Acquire) == 1).then_some(()));
        let (node, service) = self.service::<N>();
        let port = service
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("a publisher");
        // SYNC: publisher there (Release here, Acquire in `subscriber`).
        self.ports.store(2, Release);
        SendingPort(Held((port, service, node)))
    }
}

type Service<const N: usize> =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, Message<N>, ()>;

/// A port, and what it needs as long as it lives.
type Port<P, const N: usize> = Held<(P, Service<N>, Node<ipc::Service>)>;

struct SendingPort<const N: usize>(Port<Publisher<ipc::Service, Message<N>, ()>, N>);

impl<const N: usize> SendingPort<N> {
    #[inline]
    fn send(&self, write: impl FnOnce(&mut Message<N>)) {
        let mut sample = self.0.0.0.loan_uninit().expect("a sample");
        // SAFETY: mapped memory, whose bytes are zeros or old messages; any bytes are words.
        write(unsafe { sample.payload_mut().assume_init_mut() });
        // SAFETY: `write` has filled it.
        let sample = unsafe { sample.assume_init() };
        assert_eq!(sample.send().expect("a subscriber"), 1, "one subscriber gets it");
    }
}

struct ReceivingPort<const N: usize>(Port<Subscriber<ipc::Service, Message<N>, ()>, N>);

impl<const N: usize> ReceivingPort<N> {
    #[inline]
    fn receive(&self, read: impl FnOnce(&Message<N>)) {
        let sample = spin_until(|| self.0.0.0.receive().expect("a publisher"));
        read(sample.payload());
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A side's copy: its files are still in use.
        if process::id() != self.owner {
            return;
        }
        // What is not there needs no removal, and what cannot be removed harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
        for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if file.file_name().to_string_lossy().starts_with(&self.prefix) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}
