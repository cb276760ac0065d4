//! Values with handles inside.

use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::catch_unwind;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::connection::{Connection, Receiver, RecvError, Sender, pair, simplex, wait_any};
use ipc_core::fdpass::send_with_fds;
use ipc_core::parcel::{Handle, Parcel, ParcelError};
use ipc_core::process::fork_fn;
use ipc_testkit::cases::open_fds;
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize, Serializer};

use crate::hostile::packets;
use crate::tools::{child_without, expect_ok, kill, pattern};

fn file() -> OwnedFd {
    memfd_create(c"sent", MemfdFlags::CLOEXEC).expect("memfd")
}

#[derive(Serialize, Deserialize)]
struct Order {
    name: String,
    reply: Sender,
    input: Receiver,
    both: Vec<Connection>,
    file: Option<Handle>,
    /// The pidfd of a process.
    other: Handle,
}

/// To a process that is already running, each kind of handle.
pub(crate) fn handles_travel() {
    // Before there is anything that it would keep open.
    let other = fork_fn(|| {
        loop {
            std::thread::park();
        }
    });
    let other = other.expect("fork");
    let pidfd = Handle::from(other.as_fd().try_clone_to_owned().expect("dup"));
    let (mut ours, mut theirs) = pair().expect("pair");
    let child = child_without(&ours, || {
        let mut order: Order = theirs.recv_value().expect("recv");
        let line = order.input.recv().expect("recv");
        order.reply.send(&[order.name.as_bytes(), &line].concat()).expect("send");
        drop(order.reply);
        for (number, connection) in order.both.iter_mut().enumerate() {
            connection.send(&[number as u8]).expect("send");
            assert_eq!(connection.recv(), Ok(vec![100]));
        }
        let inode = fstat(order.file.expect("a file")).expect("fstat").st_ino;
        assert_eq!(wait_any(&[&order.other], Deadline::now()), Ok(Vec::new()), "it runs");
        theirs.send_value(&inode).expect("send");
        assert_eq!(wait_any(&[order.other], Deadline::FAR), Ok(vec![0]), "it ends");
    });
    drop(theirs);
    let (mut answers, reply) = simplex().expect("simplex");
    let (input, mut lines) = simplex().expect("simplex");
    let (mut near, far): (Vec<_>, Vec<_>) = (0..10).map(|_| pair().expect("pair")).unzip();
    let file = file();
    let inode = fstat(&file).expect("fstat").st_ino;
    let file = Some(Handle::from(file));
    let order = Order { name: "bob".into(), reply, input, both: far, file, other: pidfd };
    ours.send_value(&order).expect("send");
    // They were copied: the other process has its own.
    drop(order);
    lines.send(b" there").expect("send");
    assert_eq!(answers.recv().as_deref(), Ok(&b"bob there"[..]));
    assert_eq!(answers.recv(), Err(RecvError::Closed));
    for (number, connection) in near.iter_mut().enumerate() {
        assert_eq!(connection.recv(), Ok(vec![number as u8]));
        connection.send(&[100]).expect("send");
    }
    assert_eq!(ours.recv_value::<u64>(), Ok(inode));
    kill(other);
    expect_ok(child);
}

/// An end that travels over the connection whose end it is; also when nobody takes it out.
pub(crate) fn f12_connection_over_itself() {
    let (mut ours, theirs) = pair().expect("pair");
    ours.send_value(&theirs).expect("send");
    let mut theirs = theirs;
    let mut copy: Connection = theirs.recv_value().expect("recv");
    drop(theirs);
    ours.send(b"hello").expect("send");
    assert_eq!(copy.recv().as_deref(), Ok(&b"hello"[..]));
    // Each would hold the other for ever, if the kernel did not look for such circles. What it did not
    // collect would count against the limit of descriptors on their way, which is that of open files.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limit }).expect("setrlimit");
    for _ in 0..10_000 {
        let (mut ours, mut theirs) = pair().expect("pair");
        ours.send_value(&theirs).expect("send");
        theirs.send_value(&ours).expect("send");
    }
}

pub(crate) fn a_place_is_taken_once() {
    let before = open_fds();
    let parcel = || Parcel::pack(&(Handle::from(file()), 7_u8)).expect("pack");
    // Two handles that name the same place; one that names none; a value that is not all of it.
    let twice = Parcel { bytes: vec![0, 0], ..parcel() };
    let refused = twice.unpack::<(Handle, Handle)>().expect_err("one descriptor");
    assert_eq!(refused, ParcelError::Missing);
    let none = Parcel { bytes: vec![1, 7], ..parcel() };
    assert!(matches!(none.unpack::<(Handle, u8)>(), Err(ParcelError::Missing)));
    assert!(matches!(parcel().unpack::<Handle>(), Err(ParcelError::Unpack(_))));
    assert!(matches!(parcel().unpack::<(Handle, String)>(), Err(ParcelError::Unpack(_))));
    // A descriptor that is something else.
    assert!(matches!(parcel().unpack::<(Sender, u8)>(), Err(ParcelError::Refused(_))));
    assert!(parcel().unpack::<(Handle, u8)>().is_ok());
    assert_eq!(open_fds(), before);
}

pub(crate) fn outside() {
    let handle = Handle::from(file());
    assert!(postcard::to_allocvec(&handle).is_err());
    assert!(postcard::from_bytes::<Handle>(&[0]).is_err());
    // Neither may one be packed while another is unpacked.
    #[derive(Debug)]
    struct Wrong;
    impl<'de> Deserialize<'de> for Wrong {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let byte = u8::deserialize(deserializer)?;
            assert!(postcard::to_allocvec(&Handle::from(file())).is_err(), "{byte}");
            Ok(Self)
        }
    }
    assert!(Parcel { bytes: vec![0], fds: Vec::new() }.unpack::<Wrong>().is_ok());
}

pub(crate) fn f11_short_of_descriptors() {
    let (_receiver, sender) = simplex().expect("simplex");
    let limit = getrlimit(Resource::Nofile);
    let before = open_fds();
    let few = Rlimit { current: Some(before as u64 + 2), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).expect("setrlimit");
    let packed = Parcel::pack(&[&sender; 5]);
    setrlimit(Resource::Nofile, limit).expect("setrlimit");
    assert_eq!(packed.expect_err("no room"), ParcelError::Copy(Errno::MFILE));
    assert_eq!(open_fds(), before);
    assert_eq!(Parcel::pack(&[&sender; 5]).expect("pack").fds.len(), 5);
}

/// A value whose `Serialize` packs another parcel does not mix the two.
struct Inner(Handle);

impl Serialize for Inner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parcel = Parcel::pack(&(&self.0, &self.0)).expect("pack");
        assert_eq!(parcel.fds.len(), 2);
        (parcel.bytes, Handle::from(file())).serialize(serializer)
    }
}

pub(crate) fn nested() {
    let value = (Handle::from(file()), Inner(Handle::from(file())), Handle::from(file()));
    let parcel = Parcel::pack(&value).expect("pack");
    assert_eq!(parcel.fds.len(), 3);
    type Value = (Handle, (Vec<u8>, Handle), Handle);
    let (first, (_, second), third): Value = parcel.unpack().expect("unpack");
    let inode = |handle: &Handle| fstat(handle.as_fd()).expect("fstat").st_ino;
    assert_eq!((inode(&first), inode(&third)), (inode(&value.0), inode(&value.2)));
    assert_ne!(inode(&second), inode(&value.1.0));
}

pub(crate) fn panicking() {
    struct Panic(Handle);
    impl Serialize for Panic {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)?;
            panic!("as it must");
        }
    }
    // In a child: the message of the panic belongs to nobody's report.
    let child = fork_fn(|| {
        std::panic::set_hook(Box::new(|_| {}));
        let before = open_fds();
        assert!(catch_unwind(|| Parcel::pack(&Panic(Handle::from(file())))).is_err());
        assert_eq!(open_fds(), before, "a copy is left open");
        let outside = postcard::to_allocvec(&Handle::from(file())).is_err();
        i32::from(!outside)
    });
    expect_ok(child.expect("fork"));
}

/// Safe code can exchange the halves that a connection lends. Such a one has no descriptor.
pub(crate) fn swapped_halves() {
    let ((mut a, _a), (mut b, _b)) = (pair().expect("pair"), pair().expect("pair"));
    core::mem::swap(a.receiver(), b.receiver());
    assert!(matches!(Parcel::pack(&a), Err(ParcelError::Pack(_))));
    let mut a = OwnedFd::try_from(a).expect_err("of two connections");
    core::mem::swap(a.receiver(), b.receiver());
    assert!(Parcel::pack(&a).is_ok());
    OwnedFd::try_from(a).expect("it is one again");
}

/// The copy of an end would miss what the original has of a message.
pub(crate) fn received_in_part() {
    let packets = packets(&pattern(1, 5000));
    let (mut ours, theirs) = pair().expect("pair");
    send_with_fds(&theirs, &packets[0], &[]).expect("send");
    assert_eq!(ours.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut));
    assert!(matches!(Parcel::pack(&ours), Err(ParcelError::Pack(_))));
    let (mut receiver, sender) = ours.split();
    assert!(matches!(Parcel::pack(&receiver), Err(ParcelError::Pack(_))));
    assert!(Parcel::pack(&sender).is_ok());
    send_with_fds(&theirs, &packets[1], &[]).expect("send");
    assert_eq!(receiver.recv(), Ok(pattern(1, 5000)));
    assert!(Parcel::pack(&receiver).is_ok());
}
