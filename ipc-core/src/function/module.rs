//! The modules of this process: the program and its shared libraries, by name.
//!
//! # Safety
//!
//! `dl_iterate_phdr` shows each loaded module's program headers while it keeps the loader from
//! unloading any. All pointers are used inside its callback. Notes are read only where a readable
//! segment of the module covers them whole.
#![expect(unsafe_code, reason = "the loader describes modules by pointers")]

use core::ffi::{c_int, c_void};
use core::slice;

use super::FunctionError;

/// The longest build id that counts as a name. Linkers write 8 to 20 bytes.
const MAX_ID: usize = 32;

/// `NT_GNU_BUILD_ID` of `elf.h`.
const NT_GNU_BUILD_ID: u32 = 3;

/// The name of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ModuleId {
    /// A GNU build id: its length, and its bytes followed by zeros.
    Build(u8, [u8; MAX_ID]),
    /// The program, which has no build id, by the device and inode of its file.
    Program { device: u64, inode: u64 },
}

impl ModuleId {
    /// One byte of kind, one of length, and the id.
    pub(super) const LEN: usize = 2 + MAX_ID;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        match self {
            Self::Build(len, id) => {
                bytes[0] = 1;
                bytes[1] = len;
                bytes[2..].copy_from_slice(&id);
            }
            Self::Program { device, inode } => {
                bytes[0] = 2;
                bytes[2..10].copy_from_slice(&device.to_le_bytes());
                bytes[10..18].copy_from_slice(&inode.to_le_bytes());
            }
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let id = match bytes[0] {
            1 => Self::build(bytes[2..].get(..bytes[1].into())?)?,
            2 => Self::Program { device: word(2)?, inode: word(10)? },
            _ => return None,
        };
        // One name has one form: what lies behind it must be zero.
        (id.to_bytes() == *bytes).then_some(id)
    }

    fn build(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        let len = u8::try_from(id.len()).ok().filter(|len| *len > 0)?;
        Some(Self::Build(len, bytes))
    }

    /// The program by its file.
    fn program() -> Result<Self, FunctionError> {
        if !program_was_executed() {
            return Err(FunctionError::Unnamed);
        }
        let file = rustix::fs::stat("/proc/self/exe").map_err(FunctionError::Os)?;
        Ok(Self::Program { device: file.st_dev, inode: file.st_ino })
    }
}

/// The name of the module that has code at `address`, and the distance from its base.
pub(super) fn name(address: u64) -> Result<(ModuleId, u64), FunctionError> {
    let mut found = None;
    for_each_module(&mut |module| {
        if found.is_none() && module.has_code_at(address) {
            found = Some((module.id(), module.is_program, address.wrapping_sub(module.base)));
        }
    });
    let (id, is_program, offset) = found.ok_or(FunctionError::NotInAModule)?;
    let id = match id {
        Some(id) => id,
        None if is_program => ModuleId::program()?,
        None => return Err(FunctionError::Unnamed),
    };
    // A name that two modules share is refused at this end already.
    find(&id, offset)?;
    Ok((id, offset))
}

/// The address of the code at `offset` in the module of this name.
pub(super) fn find(id: &ModuleId, offset: u64) -> Result<u64, FunctionError> {
    let by_file = matches!(id, ModuleId::Program { .. });
    if by_file && ModuleId::program()? != *id {
        return Err(FunctionError::UnknownModule);
    }
    let mut found = Err(FunctionError::UnknownModule);
    for_each_module(&mut |module| {
        let matches = match module.id() {
            Some(other) => other == *id,
            None => by_file && module.is_program,
        };
        if matches {
            let address = module.base.wrapping_add(offset);
            found = match found {
                Err(FunctionError::UnknownModule) if module.has_code_at(address) => Ok(address),
                Err(FunctionError::UnknownModule) => Err(FunctionError::NotExecutable),
                _ => Err(FunctionError::Ambiguous),
            };
        }
    });
    found
}

/// Whether this is code of the program itself rather than of a shared library.
#[cfg(any(feature = "std", test))]
pub(crate) fn is_in_program(address: *const ()) -> bool {
    let mut inside = false;
    for_each_module(&mut |module| {
        inside |= module.is_program && module.has_code_at(address.addr() as u64);
    });
    inside
}

/// Whether the kernel executed the program itself, so that `/proc/self/exe` is its file, and not an
/// explicit loader (`ld.so ./program`) that loaded it.
///
/// A program that names an interpreter was executed itself if and only if the kernel loaded the
/// interpreter for it and says where (`AT_BASE`). Comparing the mapped file with `/proc/self/exe`
/// instead would go by device numbers, which `/proc/self/maps` and `stat` give differently on btrfs
/// and overlayfs.
pub(crate) fn program_was_executed() -> bool {
    let mut names_interpreter = false;
    for_each_module(&mut |module| {
        names_interpreter |= module.is_program
            && module.segments.iter().any(|segment| segment.p_type == libc::PT_INTERP);
    });
    // SAFETY: reads a number that the kernel gave to the process.
    !names_interpreter || unsafe { libc::getauxval(libc::AT_BASE) } != 0
}

/// A module as the loader shows it, inside the callback.
struct Module<'a> {
    /// The loader lists the program first.
    is_program: bool,
    base: u64,
    segments: &'a [ProgramHeader],
}

#[cfg(target_pointer_width = "64")]
type ProgramHeader = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type ProgramHeader = libc::Elf32_Phdr;

impl Module<'_> {
    fn has_code_at(&self, address: u64) -> bool {
        self.is_covered(address, 1, libc::PF_X)
    }

    /// Whether one loaded segment with this permission covers all `len` bytes from `address`.
    #[allow(clippy::useless_conversion, reason = "the fields have 32 bits on some targets")]
    fn is_covered(&self, address: u64, len: u64, permission: u32) -> bool {
        self.segments.iter().any(|segment| {
            let offset = address.wrapping_sub(self.base.wrapping_add(segment.p_vaddr.into()));
            let size: u64 = segment.p_memsz.into();
            segment.p_type == libc::PT_LOAD
                && segment.p_flags & permission != 0
                && offset < size
                && len <= size - offset
        })
    }

    #[allow(clippy::useless_conversion, reason = "the fields have 32 bits on some targets")]
    fn id(&self) -> Option<ModuleId> {
        let notes = self.segments.iter().filter(|segment| segment.p_type == libc::PT_NOTE);
        notes.into_iter().find_map(|segment| {
            let address = self.base.wrapping_add(segment.p_vaddr.into());
            let len: u64 = segment.p_memsz.into();
            if !self.is_covered(address, len, libc::PF_R) {
                return None;
            }
            let start = core::ptr::with_exposed_provenance::<u8>(address as usize);
            // SAFETY: a readable segment covers these bytes, the loader keeps it mapped during the
            // callback, and nobody writes to notes.
            let notes = unsafe { slice::from_raw_parts(start, len as usize) };
            ModuleId::build(build_id(notes, if segment.p_align == 8 { 8 } else { 4 })?)
        })
    }
}

/// The build id among the notes of a `PT_NOTE` segment: each has three words (length of the name,
/// length of the content, type), the name and the content, both padded to `align`.
fn build_id(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    loop {
        let word = |at: usize| Some(u32::from_ne_bytes(notes.get(at..at + 4)?.try_into().ok()?));
        let (name_len, len, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let content_at = 12_usize.checked_add(name_len)?.checked_next_multiple_of(align)?;
        let end = content_at.checked_add(len)?;
        let content = notes.get(content_at..end)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name_len) == Some(b"GNU\0") {
            return Some(content);
        }
        notes = notes.get(end.checked_next_multiple_of(align)?..)?;
    }
}

fn for_each_module(mut visit: &mut dyn FnMut(&Module<'_>)) {
    struct Walk<'a, 'b> {
        visit: &'a mut &'b mut dyn FnMut(&Module<'_>),
        is_first: bool,
    }

    unsafe extern "C" fn visit_one(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `data` is the `Walk` below, which nobody else uses during the call.
        let walk = unsafe { &mut *data.cast::<Walk<'_, '_>>() };
        // SAFETY: the loader passes a valid structure.
        let info = unsafe { &*info };
        let is_program = core::mem::take(&mut walk.is_first);
        if !info.dlpi_phdr.is_null() {
            // SAFETY: the loader says that so many headers are there.
            let segments = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
            #[allow(clippy::useless_conversion, reason = "32 bits on some targets")]
            let base = info.dlpi_addr.into();
            (walk.visit)(&Module { is_program, base, segments });
        }
        0
    }

    let mut walk = Walk { visit: &mut visit, is_first: true };
    // SAFETY: the callback gets `walk`, which lives until the call returns, and does not unwind:
    // the visitors of this file compare numbers.
    unsafe { libc::dl_iterate_phdr(Some(visit_one), (&raw mut walk).cast()) };
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::vec::Vec;

    use super::*;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, content.len() as u32, kind] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for part in [name, content] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let mut notes = note(b"GNU\0", 1, &[9; 16]);
        notes.extend(note(b"stapsdt\0", NT_GNU_BUILD_ID, &[8; 5]));
        assert_eq!(build_id(&notes, 4), None);
        notes.extend(note(b"GNU\0", NT_GNU_BUILD_ID, &[7; 20]));
        assert_eq!(build_id(&notes, 4), Some(&[7; 20][..]));
    }

    #[test]
    fn torn_notes_have_no_build_id() {
        let whole = note(b"GNU\0", NT_GNU_BUILD_ID, &[7; 20]);
        for len in 0..whole.len() {
            assert_eq!(build_id(&whole[..len], 4), None, "{len}");
        }
        assert_eq!(build_id(&[0xff; 64], 4), None);
    }

    #[test]
    fn the_program_can_be_named_by_its_file() {
        let address = (the_program_can_be_named_by_its_file as fn() as *const ()).addr() as u64;
        let (_, offset) = name(address).expect("named");
        let program = ModuleId::program().expect("/proc");
        let bytes = program.to_bytes();
        assert_eq!(ModuleId::from_bytes(&bytes), Some(program));
        // A program that has a build id goes by that alone.
        let mut has_build_id = false;
        for_each_module(&mut |module| has_build_id |= module.is_program && module.id().is_some());
        let by_file = find(&program, offset);
        let expected = if has_build_id { Err(FunctionError::UnknownModule) } else { Ok(address) };
        assert_eq!(by_file, expected);
    }

    #[test]
    fn code_of_a_library_is_not_the_programs() {
        assert!(is_in_program(code_of_a_library_is_not_the_programs as fn() as *const ()));
        assert!(!is_in_program(core::ptr::null()));
        let library = libc::getpid as unsafe extern "C" fn() -> i32 as *const ();
        // A static program has no libraries.
        let mut modules = 0;
        for_each_module(&mut |_| modules += 1);
        assert!(modules == 1 || !is_in_program(library));
    }

    #[test]
    fn only_one_form_of_a_name_is_accepted() {
        let bytes = ModuleId::build(&[5; 20]).expect("short enough").to_bytes();
        assert!(ModuleId::from_bytes(&bytes).is_some());
        for (at, value) in [(0, 0), (0, 3), (1, 0), (1, 19), (1, 33), (1, 255), (30, 1)] {
            let mut wrong = bytes;
            wrong[at] = value;
            assert_eq!(ModuleId::from_bytes(&wrong), None, "{at} {value}");
        }
        assert_eq!(ModuleId::build(&[]), None);
        assert_eq!(ModuleId::build(&[1; MAX_ID + 1]), None);
    }
}
