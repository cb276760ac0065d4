//! Prints what is in a region of shared memory, without knowing its types: see [`ipc_shm::describe`].

#[cfg(not(loom))]
mod tool {
    #![expect(unsafe_code, reason = "a descriptor that was inherited under a number")]

    use std::ffi::{OsStr, OsString};
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    use ipc_shm::describe::DescribeError;
    use rustix::fs::OFlags;

    const HELP: &str = "\
ipc-inspect: what is in a region of shared memory

usage: ipc-inspect REGION
       ipc-inspect --all PID
       ipc-inspect --help

REGION is one of
  NUMBER          a descriptor that this program has inherited
  NAME            the file /dev/shm/NAME
  PATH            any path with a slash, for example /proc/PID/fd/NUMBER

--all prints every region that process PID has a descriptor of.

Nothing is written, mapped or claimed. The program ends with
  0   the region can be attached (with --all: every one)
  1   it cannot, and the line `attaching` says why
  2   it is no region, or cannot be read, or the arguments are wrong
";

    /// The last word on one region or on several: the worst.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Verdict {
        Attachable = 0,
        Refused = 1,
        NoRegion = 2,
    }

    pub(super) fn main() -> ExitCode {
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let mut out = io::stdout().lock();
        let verdict = match arguments.iter().map(OsString::as_os_str).collect::<Vec<_>>()[..] {
            [help] if help == "--help" || help == "-h" => {
                out.write_all(HELP.as_bytes()).map(|()| Verdict::Attachable)
            }
            [all, pid] if all == "--all" && is_number(pid) => every_region(&mut out, pid),
            [region] if !region.as_bytes().starts_with(b"-") && !region.is_empty() => {
                one_region(&mut out, region)
            }
            _ => {
                // Who has no standard error is told by the exit code.
                let _ = io::stderr().write_all(HELP.as_bytes());
                Ok(Verdict::NoRegion)
            }
        };
        match verdict.and_then(|verdict| out.flush().map(|()| verdict)) {
            Ok(verdict) => ExitCode::from(verdict as u8),
            // Nobody reads on, for example `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(2),
            Err(error) => {
                complain(&error);
                ExitCode::from(2)
            }
        }
    }

    fn one_region(out: &mut impl Write, name: &OsStr) -> io::Result<Verdict> {
        if is_number(name) {
            let number = name.to_str().and_then(|name| name.parse().ok());
            let is_open = Path::new("/proc/self/fd").join(name).symlink_metadata().is_ok();
            if let Some(number) = number.filter(|_| is_open) {
                // SAFETY: it is open, and nothing in this program closes it.
                return print(out, unsafe { BorrowedFd::borrow_raw(number) });
            }
            complain(&format_args!("descriptor {} is not open", Path::new(name).display()));
            return Ok(Verdict::NoRegion);
        }
        match open(&path(name)) {
            Ok(file) => print(out, &file),
            Err(error) => {
                complain(&format_args!("{}: {error}", path(name).display()));
                Ok(Verdict::NoRegion)
            }
        }
    }

    fn every_region(out: &mut impl Write, pid: &OsStr) -> io::Result<Verdict> {
        let folder = Path::new("/proc").join(pid).join("fd");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                complain(&format_args!("{}: {error}", folder.display()));
                return Ok(Verdict::NoRegion);
            }
        };
        // Descriptors come and go while they are listed.
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_by_key(|path| {
            path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok())
        });
        let mut verdict = Verdict::Attachable;
        let mut found = 0;
        for path in paths {
            let Ok(target) = fs::read_link(&path) else { continue };
            let named = target.starts_with("/dev/shm");
            if !named && !target.as_os_str().as_bytes().starts_with(b"/memfd:ipc-shm") {
                continue;
            }
            let Ok(file) = open(&path) else { continue };
            if named && matches!(ipc_shm::describe(&file), Err(DescribeError::NotARegion)) {
                continue;
            }
            let gap = if found == 0 { "" } else { "\n" };
            writeln!(out, "{gap}{} -> {}", path.display(), target.display())?;
            verdict = verdict.max(print(out, &file)?);
            found += 1;
        }
        if found == 0 {
            complain(&format_args!("process {} has no region", Path::new(pid).display()));
            verdict = Verdict::NoRegion;
        }
        Ok(verdict)
    }

    fn print(out: &mut impl Write, fd: impl AsFd) -> io::Result<Verdict> {
        match ipc_shm::describe(fd) {
            Ok(seen) => {
                write!(out, "{seen}")?;
                Ok(if seen.refused.is_none() { Verdict::Attachable } else { Verdict::Refused })
            }
            Err(error) => {
                complain(&error);
                Ok(Verdict::NoRegion)
            }
        }
    }

    /// The file, if it is an ordinary one: opening a device or a pipe can do something.
    fn open(path: &Path) -> io::Result<File> {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other(DescribeError::NotARegion.to_string()));
        }
        // By now it may have become a pipe, which must not keep us waiting for its other end, or a terminal.
        let still = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
        let open =
            |write| OpenOptions::new().read(true).write(write).custom_flags(still).open(path);
        // Nothing is written, but whether it could be is a part of the description.
        open(true).or_else(|_| open(false))
    }

    fn path(name: &OsStr) -> PathBuf {
        // As for `shm_open`, a name may begin with a slash.
        match name.as_bytes() {
            [b'/', rest @ ..] if !rest.contains(&b'/') && !rest.is_empty() => {
                Path::new("/dev/shm").join(OsStr::from_bytes(rest))
            }
            bytes if bytes.contains(&b'/') => name.into(),
            _ => Path::new("/dev/shm").join(name),
        }
    }

    fn is_number(argument: &OsStr) -> bool {
        !argument.is_empty() && argument.as_bytes().iter().all(u8::is_ascii_digit)
    }

    fn complain(what: &dyn core::fmt::Display) {
        // Who has no standard error is told by the exit code.
        let _ = writeln!(io::stderr(), "ipc-inspect: {what}");
    }
}

#[cfg(not(loom))]
fn main() -> std::process::ExitCode {
    tool::main()
}

/// The model maps no regions.
#[cfg(loom)]
fn main() {}
