//! Descriptors travel whole or not at all, and none is left open on the way.
//!
//! Each case runs in a process of its own (see `cases`), which checks at its end that the number of
//! open descriptors is what it was. The numbers in the comments are those of the catalogue of faults.
//!
//! # Safety
//!
//! The unsafe acts belong to a sender that breaks the rules, which needs libc.
#![expect(unsafe_code, reason = "a raw sender, as a hostile peer would use")]

use core::mem;
use core::ptr;
use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use ipc_core::Errno;
use ipc_core::fdpass::{Fds, Link, MAX_FDS, RecvError, SendError, recv_with_fds, send_with_fds};
use ipc_core::process::{ExitStatus, fork_fn};
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::signals::{interrupt_every, on_signal};
use ipc_testkit::cases::{self, doing, open_fds};

const KINDS: [SocketType; 3] = [SocketType::SEQPACKET, SocketType::DGRAM, SocketType::STREAM];

fn main() -> ExitCode {
    cases::run(&[
        ("f10_every_allowed_number_arrives_in_order", f10_every_allowed_number),
        ("f10_one_too_many_is_refused_by_the_sender", f10_seventeen_at_the_sender),
        ("f10_too_many_from_a_raw_sender", f10_too_many_from_a_raw_sender),
        ("f10_two_control_messages", f10_two_control_messages),
        ("f10_foreign_control_message", f10_foreign_control_message),
        ("f10_descriptor_that_nobody_sent", f10_descriptor_that_nobody_sent),
        ("f11_receiver_short_of_descriptors", f11_short_of_descriptors),
        ("f13_received_descriptors_are_close_on_exec", f13_close_on_exec),
        ("truncated_packet_closes_its_descriptors", truncated_packet),
        ("poisoned_link_refuses_what_still_lies_there", poisoned_link),
        ("end_is_not_an_empty_message", end_is_not_an_empty_message),
        ("s09_closed_peer_is_an_error_not_a_signal", s09_closed_peer),
        ("empty_messages_and_buffers_are_refused", empty_is_refused),
        ("stream_sends_the_descriptors_once", stream_sends_once),
        ("stream_broken_in_the_middle_poisons", stream_broken_in_the_middle),
        ("stream_keeps_descriptors_with_their_frame", stream_frames),
        ("non_blocking_sockets_say_again", non_blocking),
        ("fds_give_themselves_back", fds_give_themselves_back),
        ("ten_thousand_round_trips_leave_nothing", ten_thousand),
    ])
}

fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("socketpair")
}

/// A file that can be told from all others.
fn file() -> OwnedFd {
    memfd_create(c"sent", MemfdFlags::CLOEXEC).expect("memfd")
}

fn inode(fd: impl AsFd) -> u64 {
    fstat(fd).expect("fstat").st_ino
}

fn borrowed<'a>(fd: &'a OwnedFd, count: usize) -> Vec<BorrowedFd<'a>> {
    vec![fd.as_fd(); count]
}

fn f10_every_allowed_number() {
    let files: Vec<_> = (0..MAX_FDS).map(|_| file()).collect();
    for kind in KINDS {
        let (ours, theirs) = pair(kind);
        for count in 0..=MAX_FDS {
            let sent: Vec<_> = files[..count].iter().map(AsFd::as_fd).collect();
            assert_eq!(send_with_fds(&ours, b"message", &sent), Ok(7));
            let mut buf = [0; 32];
            let received = recv_with_fds(&theirs, &mut buf).expect("recv");
            assert_eq!(&buf[..received.len], b"message");
            let inodes: Vec<_> = received.fds.map(inode).collect();
            assert_eq!(inodes, files[..count].iter().map(inode).collect::<Vec<_>>());
        }
    }
}

fn f10_seventeen_at_the_sender() {
    let file = file();
    for kind in KINDS {
        let (ours, theirs) = pair(kind);
        for count in [MAX_FDS + 1, 253, 300] {
            let sent = send_with_fds(&ours, b"x", &borrowed(&file, count));
            assert_eq!(sent, Err(SendError::TooManyFds));
        }
        // Nothing went.
        send_with_fds(&ours, b"y", &[]).expect("send");
        assert_eq!(recv_with_fds(&theirs, &mut [0; 8]).expect("recv").len, 1);
    }
}

/// `sendmsg` with any number of descriptors in each of any number of control messages.
fn raw_send(socket: &OwnedFd, bytes: &[u8], parts: &[&[i32]]) {
    let mut control = vec![0_u64; 512];
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control.as_slice());
    // SAFETY: the control buffer is there, aligned, and longer than any list used here.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    let mut used = 0;
    for fds in parts {
        let size = u32::try_from(size_of_val(*fds)).expect("small");
        // SAFETY: pure arithmetic.
        let len = unsafe { libc::CMSG_LEN(size) };
        let filled = libc::cmsghdr {
            cmsg_len: len as usize,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        // SAFETY: `header` points into the buffer.
        unsafe { header.write(filled) };
        // SAFETY: the data follows the header, inside the buffer.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: the buffer has room, and the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(fds.as_ptr().cast(), data, size as usize) };
        // SAFETY: pure arithmetic.
        used += unsafe { libc::CMSG_SPACE(size) } as usize;
        // SAFETY: `header` has its length.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    message.msg_controllen = used;
    // SAFETY: the message describes live buffers.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, 0) };
    assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
}

/// 17 fit into the control buffer and are too many; 253, the kernel's limit, do not even fit.
fn f10_too_many_from_a_raw_sender() {
    let file = file();
    for kind in KINDS {
        for count in [MAX_FDS + 1, MAX_FDS + 2, 100, 253] {
            let (ours, theirs) = pair(kind);
            let before = open_fds();
            raw_send(&ours, b"x", &[&vec![file.as_raw_fd(); count]]);
            let received = recv_with_fds(&theirs, &mut [0; 8]);
            assert_eq!(received.map(drop), Err(RecvError::TooManyFds), "{count}");
            assert_eq!(open_fds(), before, "{count}");
        }
    }
}

/// The kernel merges them into one list.
fn f10_two_control_messages() {
    let files = [file(), file()];
    let [first, second] = [files[0].as_raw_fd(), files[1].as_raw_fd()];
    let (ours, theirs) = pair(SocketType::SEQPACKET);
    raw_send(&ours, b"x", &[&[first], &[second, first]]);
    let received = recv_with_fds(&theirs, &mut [0; 8]).expect("recv");
    let inodes: Vec<_> = received.fds.map(inode).collect();
    assert_eq!(inodes, [inode(&files[0]), inode(&files[1]), inode(&files[0])]);

    raw_send(&ours, b"x", &[&[first; 9], &[second; 8]]);
    assert_eq!(recv_with_fds(&theirs, &mut [0; 8]).map(drop), Err(RecvError::TooManyFds));
}

/// Credentials come only if the receiver's socket asks for them, and then they are no descriptors.
fn f10_foreign_control_message() {
    let file = file();
    for kind in KINDS {
        let (ours, theirs) = pair(kind);
        rustix::net::sockopt::set_socket_passcred(&theirs, true).expect("setsockopt");
        for count in [0, 1, MAX_FDS] {
            let before = open_fds();
            send_with_fds(&ours, b"x", &borrowed(&file, count)).expect("send");
            let received = recv_with_fds(&theirs, &mut [0; 8]).map(drop);
            // The credentials take room of the descriptors', so many of these may be cut off first.
            let expected = [RecvError::UnexpectedControl, RecvError::FdsTruncated];
            assert!(received.is_err_and(|error| expected.contains(&error)), "{count}");
            assert_eq!(open_fds(), before, "{count}");
        }
    }
}

/// A peer that had our end before can make the kernel add a descriptor to each message.
fn f10_descriptor_that_nobody_sent() {
    // `SO_PASSPIDFD`, from Linux 6.5 on.
    const OPTION: i32 = 76;
    let file = file();
    for kind in KINDS {
        let (ours, theirs) = pair(kind);
        let on = 1_i32;
        let (number, value) = (theirs.as_raw_fd(), ptr::from_ref(&on).cast());
        // SAFETY: reads a number of this size.
        if unsafe { libc::setsockopt(number, libc::SOL_SOCKET, OPTION, value, 4) } != 0 {
            cases::skip("this kernel adds no pidfds");
        }
        for count in [0, 1, MAX_FDS] {
            let before = open_fds();
            send_with_fds(&ours, b"x", &borrowed(&file, count)).expect("send");
            let received = recv_with_fds(&theirs, &mut [0; 8]).map(drop);
            let expected = [RecvError::UnexpectedControl, RecvError::FdsTruncated];
            assert!(received.is_err_and(|error| expected.contains(&error)), "{count}");
            assert_eq!(open_fds(), before, "{count}");
        }
    }
}

/// F11: the kernel installs as many as fit and drops the rest, without an error of its own.
fn f11_short_of_descriptors() {
    let file = file();
    let limit = getrlimit(Resource::Nofile);
    for kind in KINDS {
        for free in 0..6_usize {
            let (ours, theirs) = pair(kind);
            let mut theirs = Link::new(theirs);
            send_with_fds(&ours, b"x", &borrowed(&file, 4)).expect("send");
            send_with_fds(&ours, b"y", &[]).expect("send");
            let before = open_fds();
            let lowest_free = rustix::io::dup(&file).expect("dup").as_raw_fd() as usize;
            let current = Some((lowest_free + free) as u64);
            setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("setrlimit");
            let received = theirs.recv_with_fds(&mut [0; 8]);
            setrlimit(Resource::Nofile, limit).expect("setrlimit");
            if free >= 4 {
                assert_eq!(received.expect("recv").fds.len(), 4);
                assert!(!theirs.is_poisoned());
            } else {
                assert_eq!(received.map(drop), Err(RecvError::FdsTruncated), "{free} free");
                let next = theirs.recv_with_fds(&mut [0; 8]).map(drop);
                assert_eq!(next, Err(RecvError::Poisoned));
            }
            assert_eq!(open_fds(), before, "{free} free");
        }
    }
}

/// F13: from the moment they exist. The calls that could set the flag afterwards would kill this
/// process, and `/proc` shows the flag without them.
fn f13_close_on_exec() {
    let (ours, theirs) = pair(SocketType::SEQPACKET);
    let file = file();
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    answer(libc::SYS_fcntl, &When::Equal(1, libc::F_SETFD as u32), kill);
    answer(libc::SYS_ioctl, &When::Equal(1, libc::FIOCLEX as u32), kill);
    for count in [1, MAX_FDS] {
        send_with_fds(&ours, b"x", &borrowed(&file, count)).expect("send");
        let received = recv_with_fds(&theirs, &mut [0; 8]).expect("recv");
        assert_eq!(received.fds.len(), count);
        for fd in received.fds {
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
            let info = info.expect("/proc");
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
            let flags = i32::from_str_radix(flags.trim(), 8).expect("octal");
            assert_ne!(flags & libc::O_CLOEXEC, 0);
        }
    }
}

fn truncated_packet() {
    let file = file();
    for kind in [SocketType::SEQPACKET, SocketType::DGRAM] {
        for count in [0, 1, MAX_FDS] {
            let (ours, theirs) = pair(kind);
            let before = open_fds();
            send_with_fds(&ours, b"nine byte", &borrowed(&file, count)).expect("send");
            let received = recv_with_fds(&theirs, &mut [0; 8]).map(drop);
            assert_eq!(received, Err(RecvError::Truncated));
            assert_eq!(open_fds(), before);
        }
    }
    // A stream has no packets: the rest is still there, the descriptors came with the first part.
    let (ours, theirs) = pair(SocketType::STREAM);
    send_with_fds(&ours, b"nine byte", &borrowed(&file, 2)).expect("send");
    let first = recv_with_fds(&theirs, &mut [0; 8]).expect("recv");
    assert_eq!((first.len, first.fds.len()), (8, 2));
    let second = recv_with_fds(&theirs, &mut [0; 8]).expect("recv");
    assert_eq!((second.len, second.fds.len()), (1, 0));
}

fn poisoned_link() {
    for kind in [SocketType::SEQPACKET, SocketType::DGRAM] {
        let (ours, theirs) = pair(kind);
        let (mut ours, mut theirs) = (Link::new(ours), Link::new(theirs));
        ours.send_with_fds(b"much too long", &[]).expect("send");
        ours.send_with_fds(b"short", &[]).expect("send");
        assert_eq!(theirs.recv_with_fds(&mut [0; 8]).map(drop), Err(RecvError::Truncated));
        assert!(theirs.is_poisoned());
        assert_eq!(theirs.recv_with_fds(&mut [0; 8]).map(drop), Err(RecvError::Poisoned));
        assert_eq!(theirs.send_with_fds(b"x", &[]), Err(SendError::Poisoned));
        // The peer learns it when it next uses the socket.
        assert_eq!(ours.send_with_fds(b"x", &[]), Err(SendError::Os(Errno::PIPE)));
        if kind == SocketType::SEQPACKET {
            doing("receiving from a peer that broke the link");
            assert_eq!(ours.recv_with_fds(&mut [0; 8]).map(drop), Err(RecvError::Closed));
        }
    }
}

fn end_is_not_an_empty_message() {
    for kind in [SocketType::SEQPACKET, SocketType::DGRAM] {
        let (ours, theirs) = pair(kind);
        // Our own sender refuses this; another may do it.
        rustix::net::send(&ours, &[], SendFlags::NOSIGNAL).expect("send");
        let received = recv_with_fds(&theirs, &mut [0; 8]).expect("an empty message");
        assert_eq!((received.len, received.fds.len()), (0, 0));
        // One with descriptors is a message even if the peer has closed since.
        let file = file();
        raw_send(&ours, b"", &[&[file.as_raw_fd()]]);
        drop(ours);
        let received = recv_with_fds(&theirs, &mut [0; 8]).expect("an empty message");
        assert_eq!((received.len, received.fds.len()), (0, 1));
    }
    for kind in [SocketType::SEQPACKET, SocketType::STREAM] {
        let (ours, theirs) = pair(kind);
        send_with_fds(&ours, b"last", &[]).expect("send");
        drop(ours);
        assert_eq!(recv_with_fds(&theirs, &mut [0; 8]).expect("recv").len, 4);
        for _ in 0..2 {
            assert_eq!(recv_with_fds(&theirs, &mut [0; 8]).map(drop), Err(RecvError::Closed));
        }
    }
}

/// S09: SIGPIPE would end this process.
fn s09_closed_peer() {
    // Rust ignores SIGPIPE at start; a library cannot count on that.
    // SAFETY: the default disposition runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let file = file();
    for kind in [SocketType::SEQPACKET, SocketType::STREAM] {
        let (ours, theirs) = pair(kind);
        drop(theirs);
        for fds in [borrowed(&file, 0), borrowed(&file, 1)] {
            assert_eq!(send_with_fds(&ours, b"x", &fds), Err(SendError::Os(Errno::PIPE)));
            let sent = Link::new(rustix::io::dup(&ours).expect("dup")).send_with_fds(b"x", &fds);
            assert_eq!(sent, Err(SendError::Os(Errno::PIPE)));
        }
    }
}

fn empty_is_refused() {
    let file = file();
    for kind in KINDS {
        let (ours, theirs) = pair(kind);
        for fds in [borrowed(&file, 0), borrowed(&file, 1)] {
            assert_eq!(send_with_fds(&ours, b"", &fds), Err(SendError::Empty));
            assert_eq!(
                Link::new(rustix::io::dup(&ours).expect("dup")).send_with_fds(b"", &fds),
                Err(SendError::Empty)
            );
        }
        let received = recv_with_fds(&theirs, &mut []).map(drop);
        assert_eq!(received, Err(RecvError::Os(Errno::INVAL)));
    }
}

/// A message far beyond the socket's buffer goes in many parts, its descriptors with the first.
fn stream_sends_once() {
    const LEN: usize = 3 << 20;
    for non_blocking in [false, true] {
        let (ours, theirs) = pair(SocketType::STREAM);
        rustix::io::ioctl_fionbio(&ours, non_blocking).expect("ioctl");
        let message: Vec<u8> = (0..LEN).map(|at| (at * 31 % 251) as u8).collect();
        let mut sender = fork_fn(|| {
            // A blocking send is cut short by a signal only, so let there be some.
            extern "C" fn nothing(_: i32) {}
            on_signal(libc::SIGALRM, nothing as extern "C" fn(i32) as libc::sighandler_t, 0);
            interrupt_every(200);
            let file = file();
            let mut link = Link::new(rustix::io::dup(&ours).expect("dup"));
            i32::from(link.send_with_fds(&message, &borrowed(&file, 3)).is_err())
        })
        .expect("fork");
        drop(ours);
        let (mut got, mut fds, mut reads) = (Vec::new(), 0, 0);
        let mut buf = vec![0; 100_000];
        doing("receiving a long message");
        loop {
            match recv_with_fds(&theirs, &mut buf) {
                Ok(received) => {
                    got.extend_from_slice(&buf[..received.len]);
                    fds += received.fds.len();
                    reads += 1;
                }
                Err(RecvError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(sender.wait(), Ok(ExitStatus::Exited(0)));
        assert!(got == message, "{} of {LEN} bytes, or others", got.len());
        assert_eq!(fds, 3, "descriptors over {reads} reads");
    }
}

fn stream_broken_in_the_middle() {
    let (ours, theirs) = pair(SocketType::STREAM);
    let mut reader = fork_fn(|| {
        let received = recv_with_fds(&theirs, &mut [0; 1000]);
        i32::from(received.is_err())
    })
    .expect("fork");
    drop(theirs);
    let mut ours = Link::new(ours);
    rustix::io::ioctl_fionbio(&ours, true).expect("ioctl");
    doing("sending a long message to a peer that goes away");
    assert_eq!(ours.send_with_fds(&vec![0; 3 << 20], &[]), Err(SendError::Os(Errno::PIPE)));
    assert!(ours.is_poisoned());
    assert_eq!(ours.send_with_fds(b"x", &[]), Err(SendError::Poisoned));
    assert_eq!(reader.wait(), Ok(ExitStatus::Exited(0)));
}

/// Who reads no further than the frame gets its descriptors; who reads on gets them no later.
fn stream_frames() {
    let files = [file(), file()];
    let (ours, theirs) = pair(SocketType::STREAM);
    let send_three = || {
        send_with_fds(&ours, b"none", &[]).expect("send");
        send_with_fds(&ours, b"one.", &[files[0].as_fd()]).expect("send");
        send_with_fds(&ours, b"two.", &[files[1].as_fd(), files[0].as_fd()]).expect("send");
    };
    send_three();
    for expected in [0, 1, 2] {
        let received = recv_with_fds(&theirs, &mut [0; 4]).expect("recv");
        assert_eq!((received.len, received.fds.len()), (4, expected));
    }
    send_three();
    let mut reads = Vec::new();
    while reads.iter().map(|(len, _)| len).sum::<usize>() < 12 {
        let received = recv_with_fds(&theirs, &mut [0; 64]).expect("recv");
        reads.push((received.len, received.fds.len()));
    }
    assert_eq!(reads, [(8, 1), (4, 2)], "a read ends with the bytes that carried descriptors");
}

fn non_blocking() {
    for kind in KINDS {
        let (ours, theirs) = pair(kind);
        rustix::io::ioctl_fionbio(&ours, true).expect("ioctl");
        rustix::io::ioctl_fionbio(&theirs, true).expect("ioctl");
        let mut theirs = Link::new(theirs);
        let nothing = theirs.recv_with_fds(&mut [0; 8]).map(drop);
        assert_eq!(nothing, Err(RecvError::Os(Errno::AGAIN)));
        let mut ours = Link::new(ours);
        let full = loop {
            if let Err(error) = ours.send_with_fds(b"x", &[]) {
                break error;
            }
        };
        assert_eq!(full, SendError::Os(Errno::AGAIN));
        // Neither is a lost message.
        assert!(!ours.is_poisoned() && !theirs.is_poisoned());
        assert!(theirs.recv_with_fds(&mut [0; 8]).is_ok());
    }
}

fn fds_give_themselves_back() {
    let file = file();
    let (ours, theirs) = pair(SocketType::SEQPACKET);
    let receive = |count| {
        send_with_fds(&ours, b"x", &borrowed(&file, count)).expect("send");
        recv_with_fds(&theirs, &mut [0; 8]).expect("recv").fds
    };
    let before = open_fds();
    let fds = <[OwnedFd; 3]>::try_from(receive(2)).expect_err("two");
    let fds = <[OwnedFd; 1]>::try_from(fds).expect_err("two");
    let [first, second] = <[OwnedFd; 2]>::try_from(fds).expect("two");
    assert_eq!((inode(first), inode(second)), (inode(&file), inode(&file)));
    assert_eq!(open_fds(), before);

    let mut half: Fds = receive(MAX_FDS);
    assert_eq!(half.by_ref().take(MAX_FDS / 2).count(), MAX_FDS / 2);
    assert_eq!((half.len(), half.is_empty()), (MAX_FDS / 2, false));
    drop(half);
    assert_eq!(open_fds(), before);
    assert!(receive(0).is_empty());
}

fn ten_thousand() {
    let file = file();
    let (ours, theirs) = pair(SocketType::SEQPACKET);
    let (mut ours, mut theirs) = (Link::new(ours), Link::new(theirs));
    let before = open_fds();
    let began = std::time::Instant::now();
    for round in 0..10_000 {
        let count = round % (MAX_FDS + 1);
        ours.send_with_fds(b"there", &borrowed(&file, count)).expect("send");
        let received = theirs.recv_with_fds(&mut [0; 8]).expect("recv");
        let fds: Vec<_> = received.fds.collect();
        let back: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        theirs.send_with_fds(b"back", &back).expect("send");
        assert_eq!(ours.recv_with_fds(&mut [0; 8]).expect("recv").fds.len(), count);
    }
    println!("{:?} for a round trip", began.elapsed() / 10_000);
    assert_eq!(open_fds(), before);
    assert!(began.elapsed() < Duration::from_secs(10));
}
