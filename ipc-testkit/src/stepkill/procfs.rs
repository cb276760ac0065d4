//! What /proc says about a process: whether it sleeps, in which system call, and what stands where.

use std::fs;
use std::io;

use crate::sys::Pid;

/// Whether the process sleeps in the kernel until something happens (state S).
pub(crate) fn is_asleep(pid: Pid) -> io::Result<bool> {
    let stat = read(pid, "stat")?;
    // The name in parentheses may contain anything, so the state is found from the last parenthesis.
    let state = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 2));
    Ok(state == Some(&b'S'))
}

/// The parent of the process, or who adopted it.
pub(crate) fn parent(pid: Pid) -> io::Result<Option<Pid>> {
    let stat = String::from_utf8_lossy(&read(pid, "stat")?).into_owned();
    // Behind the name: the state, then the parent.
    Ok(stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)?.parse().ok()))
}

/// Whether the process sleeps in a futex wait.
pub(crate) fn is_parked(pid: Pid) -> io::Result<bool> {
    sleeps_in(pid, &[libc::SYS_futex, libc::SYS_futex_waitv])
}

/// Whether the process sleeps until a descriptor is ready.
pub(crate) fn polls(pid: Pid) -> io::Result<bool> {
    // `poll` and `epoll_wait` are not there on younger architectures.
    let mut calls = vec![libc::SYS_ppoll, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    #[cfg(target_arch = "x86_64")]
    calls.extend([libc::SYS_poll, libc::SYS_epoll_wait]);
    sleeps_in(pid, &calls)
}

/// Whether the process sleeps in one of these system calls.
pub(crate) fn sleeps_in(pid: Pid, calls: &[i64]) -> io::Result<bool> {
    if !is_asleep(pid)? {
        return Ok(false);
    }
    match read(pid, "syscall") {
        Ok(line) => {
            let line = String::from_utf8_lossy(&line);
            let number = line.split(' ').next().and_then(|n| n.parse().ok());
            Ok(number.is_some_and(|number: i64| calls.contains(&number)))
        }
        // A kernel without this file: the state must do.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Where the process will go on when its sleep in the kernel is over; 0 if that is not known.
pub(crate) fn sleeps_at(pid: Pid) -> io::Result<u64> {
    // number, six arguments, stack pointer, program counter
    let line = read(pid, "syscall")?;
    let line = String::from_utf8_lossy(&line);
    let pc = line.trim_end().rsplit(' ').next().and_then(|pc| pc.strip_prefix("0x"));
    Ok(pc.and_then(|pc| u64::from_str_radix(pc, 16).ok()).unwrap_or(0))
}

fn read(pid: Pid, file: &str) -> io::Result<Vec<u8>> {
    let path = format!("/proc/{pid}/{file}");
    fs::read(&path).map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))
}

/// How many threads this process has.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Names an address of this process (and of its forks) as `file+offset`, the form that `addr2line` and `objdump` take.
pub(crate) fn place(address: u64) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().find_map(|line| place_in(line, address)).unwrap_or_else(|| format!("{address:#x}"))
}

fn place_in(line: &str, address: u64) -> Option<String> {
    // 55d0c0a00000-55d0c0a5f000 r-xp 0001b000 fe:00 1234    /path/of/file
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
    if !(from..to).contains(&address) {
        return None;
    }
    let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
    let file = fields.nth(2).unwrap_or("anonymous").rsplit('/').next()?;
    Some(format!("{file}+{:#x}", address - from + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_an_address_by_file_and_offset() {
        let line = "55d0c0a00000-55d0c0a5f000 r-xp 0001b000 fe:00 1234    /usr/bin/thing";
        assert_eq!(place_in(line, 0x55d0_c0a0_0010).as_deref(), Some("thing+0x1b010"));
        assert_eq!(place_in(line, 0x55d0_c0a5_f000), None);
    }
}
