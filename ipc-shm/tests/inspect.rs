//! The program `ipc-inspect`: how it finds regions, what it prints, and how it ends.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use ipc_core::process::fork_fn;
use ipc_shm::ring::spsc::Ring;
use ipc_shm::{Plan, RawValue, Region, describe};
use ipc_testkit::cases::{self, doing};

fn main() -> ExitCode {
    cases::run(&[
        ("by_number_path_and_name", by_number_path_and_name),
        ("every_region_of_a_process", every_region_of_a_process),
        ("what_cannot_be_attached", what_cannot_be_attached),
        ("what_is_no_region", what_is_no_region),
        ("becomes_a_pipe_meanwhile", becomes_a_pipe_meanwhile),
        ("wrong_arguments", wrong_arguments),
        ("nobody_reads_on", nobody_reads_on),
    ])
}

/// Exit code, output and errors of the program.
type Ended = (Option<i32>, String, String);

fn inspect_with(input: Option<OwnedFd>, arguments: &[&str]) -> Ended {
    doing(&format!("waiting for ipc-inspect {arguments:?}"));
    let output = Command::new(env!("CARGO_BIN_EXE_ipc-inspect"))
        .args(arguments)
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .output()
        .expect("it was built");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn inspect(arguments: &[&str]) -> Ended {
    inspect_with(None, arguments)
}

fn again(region: &impl AsFd) -> OwnedFd {
    region.as_fd().try_clone_to_owned().expect("a descriptor")
}

/// Where another process finds a descriptor of this one.
fn path(region: &impl AsFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), region.as_fd().as_raw_fd())
}

fn plan() -> Plan {
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(8).unwrap();
    plan
}

fn planned() -> Region {
    Region::planned(&plan()).unwrap()
}

/// A file in /dev/shm, until it is dropped.
struct Named(PathBuf);

impl Named {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = PathBuf::from(format!("/dev/shm/{name}"));
        std::fs::write(&path, bytes).expect("/dev/shm");
        Self(path)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("it is still there");
    }
}

fn bytes(region: &impl AsFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = File::from(again(region));
    bytes.resize(file.metadata().unwrap().len() as usize, 0);
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn by_number_path_and_name() {
    let region = planned();
    let expected = describe(&region).unwrap().to_string();
    assert!(expected.contains("RawValue<u64>"), "{expected}");
    let told = |ended: Ended| {
        assert_eq!(ended.0, Some(0), "{}", ended.2);
        ended.1
    };
    assert_eq!(told(inspect_with(Some(again(&region)), &["0"])), expected);
    assert_eq!(told(inspect(&[&path(&region)])), expected);
    // A descriptor that does not allow writing.
    let reader = File::open(path(&region)).unwrap();
    let (code, text, _) = inspect_with(Some(reader.into()), &["0"]);
    assert_eq!((code, text.contains("read only")), (Some(1), true), "{text}");

    let name = format!("ipc-inspect-{}", std::process::id());
    let own = Region::named(&name).unwrap();
    let region = own.create_new(&plan()).unwrap();
    let expected = describe(&region).unwrap().to_string();
    for argument in [&name, &format!("/{name}"), &format!("/dev/shm/{name}")] {
        assert_eq!(told(inspect(&[argument])), expected);
    }
    // The kernel shows the file under the name that it was made with, which is none.
    let (code, text, _) = inspect(&["--all", &std::process::id().to_string()]);
    let is_there =
        text.contains("-> /dev/shm/") && text.contains("attaching  possible by its name");
    assert!(code == Some(0) && is_there, "{text}");
    own.remove().unwrap();
    assert_eq!(inspect(&[&name]).0, Some(2));
}

fn every_region_of_a_process() {
    let (region, ring) = (planned(), Ring::<u64>::create(8).unwrap());
    let mut producer = ring.producer().unwrap();
    producer.push(1).unwrap();
    let pid = std::process::id().to_string();
    let (code, text, errors) = inspect(&["--all", &pid]);
    assert_eq!((code, &*errors), (Some(0), ""));
    for (region, fact) in
        [(path(&region), "RawValue<u64>"), (path(&ring.as_fd().unwrap()), "8 messages of 8")]
    {
        let from = text.find(&format!("{region} -> /memfd:ipc-shm")).expect("each is listed");
        assert!(text[from..].contains(fact), "{text}");
    }
    assert_eq!(text.matches("attaching  possible").count(), 2, "{text}");
    assert!(text.contains("filled   1\n"), "{text}");
    drop((producer, region, ring));
    let (code, text, errors) = inspect(&["--all", &pid]);
    assert_eq!((code, &*text), (Some(2), ""));
    assert!(errors.contains("has no region"), "{errors}");
    // The largest number that no process has.
    let (code, _, errors) = inspect(&["--all", "4194304"]);
    assert!(code == Some(2) && errors.contains("/proc/4194304/fd"), "{errors}");
}

fn what_cannot_be_attached() {
    let region = planned();
    let mut damaged = bytes(&region);
    damaged[16] = 9;
    let name = format!("ipc-inspect-damaged-{}", std::process::id());
    let _named = Named::new(&name, &damaged);
    let (code, text, _) = inspect(&[&name]);
    assert_eq!(code, Some(1));
    assert!(text.contains("layout     version 9.0\n"), "{text}");
}

fn what_is_no_region() {
    let fifo = std::env::temp_dir().join(format!("ipc-inspect-fifo-{}", std::process::id()));
    {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    let this = std::env::current_exe().unwrap();
    let paths = ["/dev/zero", "/proc/self", "/nowhere/at/all"];
    for path in paths.into_iter().chain([fifo.to_str().unwrap(), this.to_str().unwrap()]) {
        let (code, text, errors) = inspect(&[path]);
        assert_eq!((code, &*text), (Some(2), ""), "{path}");
        assert!(errors.starts_with("ipc-inspect: "), "{errors}");
    }
    std::fs::remove_file(&fifo).unwrap();
    for number in ["99", "4294967296", "99999999999999999999"] {
        let (code, _, errors) = inspect(&[number]);
        assert!(code == Some(2) && errors.contains("is not open"), "{errors}");
    }
}

/// A file that somebody replaces by a pipe after it was looked at and before it is opened.
fn becomes_a_pipe_meanwhile() {
    use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
    use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
    // Who may write to a pipe is both ends of it, and never waits for the other one.
    if rustix::process::geteuid().is_root()
        && remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE).is_err()
    {
        cases::skip("only who may drop a capability can do without it");
    }
    let folder = std::env::temp_dir().join(format!("ipc-inspect-race-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (path, pipe) = (folder.join("path"), folder.join("pipe"));
    std::fs::write(&path, bytes(&planned())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let mut racer = fork_fn(|| {
        // Each for a time that differs, so that it does not keep step with whoever looks.
        for turn in 0_u32.. {
            renameat_with(CWD, &path, CWD, &pipe, RenameFlags::EXCHANGE).expect("both are there");
            (0..turn.wrapping_mul(37) % 1009).for_each(|_| core::hint::spin_loop());
        }
        0
    })
    .unwrap();
    let (mut regions, mut others) = (0, 0);
    for run in 0..2000 {
        if run >= 100 && regions > 0 && others > 0 {
            break;
        }
        match inspect(&[path.to_str().unwrap()]) {
            // On a disk nothing can be attached.
            (Some(0 | 1), text, _) if text.contains("RawValue<u64>") => regions += 1,
            (Some(2), _, errors) if errors.contains("not a region") => others += 1,
            ended => panic!("{ended:?}"),
        }
    }
    println!("{regions} times a region, {others} times a pipe");
    racer.kill().unwrap();
    racer.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(regions > 0 && others > 0, "{regions} and {others}");
}

fn wrong_arguments() {
    let (code, help, errors) = inspect(&["--help"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    assert!(help.contains("--all PID") && help.contains("/proc/PID/fd/NUMBER"));
    let wrong: [&[&str]; 7] =
        [&[], &[""], &["--al", "1"], &["--all"], &["--all", "x"], &["a", "b"], &["-x"]];
    for arguments in wrong {
        assert_eq!(inspect(arguments), (Some(2), String::new(), help.clone()), "{arguments:?}");
    }
}

/// As with `head`: no panic, and no more than an exit code.
fn nobody_reads_on() {
    let region = planned();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ipc-inspect"))
        .arg(path(&region))
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    doing("waiting for ipc-inspect, to which nobody listens");
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*errors), (Some(2), ""));
}
