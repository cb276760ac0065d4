//! [`Arena`]: shared memory under attack, with nothing accessible beside it.
//!
//! # Safety
//!
//! The arena's own mapping of the file lives as long as the arena, and is only accessed by atomics. Views are mappings of
//! the same file that others have made; here only their protection is changed, while nobody but a hooked operation runs.
#![expect(unsafe_code, reason = "mappings")]

use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

const PAGE: usize = 4096;

/// Shared memory that an operation uses and that a hostile peer changes meanwhile.
///
/// It is a file in memory that is mapped at least twice: where the operation sees it (its *views*), and here. On both
/// sides of each view is a page that nobody may access.
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u64>,
    bytes: usize,
    pristine: Vec<u64>,
    inode: u64,
    views: RefCell<Vec<View>>,
    /// The view that the operation has made itself, while it is surveyed: its first address, or 0.
    made: Cell<usize>,
}

/// A mapping of the file, or of a part of it.
#[derive(Clone, Debug)]
struct View {
    addresses: Range<usize>,
    /// Where in the file it begins.
    offset: usize,
}

impl Arena {
    /// The memory behind `fd`, as it is now, in all mappings that this process has of it.
    ///
    /// # Errors
    ///
    /// Of the system calls; and if something accessible lies right beside a view.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = fs::File::from(fd.try_clone_to_owned()?);
        let metadata = file.metadata()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        let bytes = metadata.len() as usize;
        let base = map(fd, bytes)?.cast();
        let (views, made) = (RefCell::default(), Cell::new(0));
        let mut arena = Self { base, bytes, pristine: Vec::new(), inode, views, made };
        arena.look_for_views()?;
        arena.save();
        Ok(arena)
    }

    /// Finds out where this process has mapped the file by now, and guards what is beside.
    pub(super) fn look_for_views(&self) -> io::Result<()> {
        let own = self.base.as_ptr().addr();
        let is_view = |m: &Line| m.inode == self.inode && m.range.start != own;
        let lines: Vec<_> = mappings()?.into_iter().filter(is_view).collect();
        if lines.is_empty() {
            return Err(io::Error::other("nobody has mapped it"));
        }
        for line in &lines {
            guard(line)?;
        }
        let view = |line: Line| View { addresses: line.range, offset: line.offset };
        self.views.replace(lines.into_iter().map(view).collect());
        Ok(())
    }

    /// Moves `value` into memory of its own.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn place<T: Sync>(value: T) -> io::Result<(Self, &'static T)> {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"arena".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let bytes = size_of::<T>().next_multiple_of(PAGE);
        fs::File::from(fd.try_clone()?).set_len(bytes as u64)?;
        let view = map(fd.as_fd(), bytes)?.cast::<T>();
        // SAFETY: large enough, aligned to a page, and nobody else knows it yet.
        unsafe { view.write(value) };
        // SAFETY: a valid `T`, in a mapping that is never unmapped.
        let value = unsafe { view.as_ref() };
        Ok((Self::of(fd.as_fd())?, value))
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Never: no file without bytes can be mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The word at `offset` bytes.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset + 8 <= self.bytes, "no word at {offset}");
        // SAFETY: inside of our own mapping.
        let word = unsafe { self.base.byte_add(offset) };
        // SAFETY: aligned, mapped while `self` lives, and accessed here by atomics only.
        unsafe { AtomicU64::from_ptr(word.as_ptr()) }
    }

    /// Takes what is there now for what each run begins with.
    pub fn save(&mut self) {
        let words = (0..self.bytes / 8).map(|i| self.word(i * 8).load(Ordering::Relaxed));
        self.pristine = words.collect();
    }

    /// Puts everything back as it was at the last [`save`](Self::save).
    pub fn restore(&self) {
        for (i, word) in self.pristine.iter().enumerate() {
            self.word(i * 8).store(*word, Ordering::Relaxed);
        }
    }

    /// The first word that is not as it was at the last [`save`](Self::save), of those that are not `allowed` to be so.
    pub(super) fn changed(&self, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let is = |i: usize| self.word(i * 8).load(Ordering::Relaxed);
        let mut changed = self.pristine.iter().enumerate().filter(|(i, word)| is(*i) != **word);
        changed.find(|(i, _)| !allowed(i * 8)).map(|(i, _)| i * 8)
    }

    /// Punches a hole where the page with `offset` was.
    pub(super) fn punch(&self, offset: usize) {
        let word = self.word(offset / PAGE * PAGE).as_ptr();
        // SAFETY: a page of our own mapping, whose bytes may change at any time.
        unsafe { libc::madvise(word.cast(), PAGE, libc::MADV_REMOVE) };
    }

    /// Where in the file `address` is, if it is in a view.
    pub(super) fn offset_of(&self, address: usize) -> Option<usize> {
        let made = self.made.get();
        if made != 0 && (made..made + self.bytes).contains(&address) {
            return Some(address - made);
        }
        let views = self.views.borrow();
        let view = views.iter().find(|view| view.addresses.contains(&address))?;
        Some(view.offset + address - view.addresses.start)
    }

    /// The operation has made system call `number` with this second and fifth argument, and this result.
    ///
    /// If it has mapped a file of our size, that is another view, until it is unmapped.
    pub(super) fn note_call(&self, number: u64, second: u64, fifth: i32, result: u64) {
        let is_ours = second == self.bytes as u64 && fifth >= 0;
        if number == libc::SYS_mmap as u64 && is_ours && (result as i64) > 0 {
            self.made.set(result as usize);
        } else if number == libc::SYS_munmap as u64 && second == self.bytes as u64 {
            self.made.set(0);
        }
    }

    /// Lets nobody, or everybody, access the views.
    pub(super) fn lock(&self, locked: bool) {
        let access = if locked { libc::PROT_NONE } else { libc::PROT_READ | libc::PROT_WRITE };
        let made = Some(self.made.get()).filter(|start| *start != 0);
        let made = made.map(|start| start..start + self.bytes);
        let views = self.views.borrow();
        for view in views.iter().map(|view| view.addresses.clone()).chain(made) {
            let start = ptr::with_exposed_provenance_mut(view.start);
            // SAFETY: a whole mapping; whoever accesses it meanwhile is stepped, and asks the hook.
            unsafe { libc::mprotect(start, view.len(), access) };
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and references into it borrow from `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Maps all of the file, with a guard on both sides.
fn map(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<NonNull<u8>> {
    let whole = bytes.next_multiple_of(PAGE) + 2 * PAGE;
    let none = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let hole = unsafe { libc::mmap(ptr::null_mut(), whole, libc::PROT_NONE, none, -1, 0) };
    if hole == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the hole is longer than a page.
    let inside = unsafe { hole.byte_add(PAGE) };
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: over the hole, which is ours, and not over its first and its last page.
    let start = unsafe { libc::mmap(inside, bytes, access, flags, fd.as_raw_fd(), 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))
}

/// A line of `/proc/self/maps`.
struct Line {
    range: Range<usize>,
    accessible: bool,
    offset: usize,
    inode: u64,
}

fn mappings() -> io::Result<Vec<Line>> {
    let parse = |line: &str| -> Option<Line> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |hex| usize::from_str_radix(hex, 16).ok();
        let accessible = !fields.next()?.starts_with("---");
        let offset = number(fields.next()?)?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Line { range: number(start)?..number(end)?, accessible, offset, inode })
    };
    let text = fs::read_to_string("/proc/self/maps")?;
    let lines: Option<Vec<_>> = text.lines().map(parse).collect();
    lines.ok_or_else(|| io::Error::other("what is in /proc/self/maps?"))
}

/// Sees to it that the pages on both sides of `view` are not accessible, now and later, if they are not of the same file.
fn guard(view: &Line) -> io::Result<()> {
    for page in [view.range.start - PAGE, view.range.end] {
        let at = ptr::without_provenance_mut(page);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: where there is a mapping already, it stays.
        let guard = unsafe { libc::mmap(at, PAGE, libc::PROT_NONE, flags, -1, 0) };
        if guard != libc::MAP_FAILED {
            continue;
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EEXIST) {
            return Err(error);
        }
        let is_other = |m: &Line| m.accessible && m.inode != view.inode && m.range.contains(&page);
        if mappings()?.iter().any(is_other) {
            return Err(io::Error::other("something accessible lies beside the shared memory"));
        }
    }
    Ok(())
}

/// Reserves addresses, so that what is mapped next lies below them and between guards.
///
/// # Errors
///
/// Of `mmap`.
pub fn make_room() -> io::Result<()> {
    let none = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // Large, so that it fits into no gap between others.
    // SAFETY: a new mapping at an address of the kernel's choice.
    let room = unsafe { libc::mmap(ptr::null_mut(), 1 << 30, libc::PROT_NONE, none, -1, 0) };
    if room == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}
