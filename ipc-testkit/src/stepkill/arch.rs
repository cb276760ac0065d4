//! What the harness knows about the processor: a marker instruction, and how to recognise what comes next.
//!
//! # Safety
//!
//! One instruction of inline assembly, which stops a traced process and changes no register or memory.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the marker is an instruction"))]

/// Whether this file knows the processor.
pub(crate) const SUPPORTED: bool = cfg!(target_arch = "x86_64");

/// Length of the marker instruction, and the byte that it consists of.
pub(crate) const MARKER_LEN: u64 = 1;
const MARKER: u8 = 0xcc;

/// Offsets into the kernel's `struct user`, for PTRACE_PEEKUSER.
pub(crate) const PC: usize = 16 * 8;
pub(crate) const RESULT: usize = 10 * 8;
/// The number of a system call before it is made, and its second and fourth arguments.
pub(crate) const CALL: usize = 10 * 8;
pub(crate) const SECOND: usize = 13 * 8;
pub(crate) const FOURTH: usize = 7 * 8;
/// The number of the call that is being made, where a process is stopped at its entry.
pub(crate) const ENTERED: usize = 15 * 8;

/// Offset of the first debug register in the kernel's `struct user`; the others follow, a word each.
const DEBUG: usize = 848;
/// The status register: the low four bits say which watchpoints were hit.
pub(crate) const WATCH_STATUS: usize = DEBUG + 6 * 8;
/// How many watchpoints there are.
pub(crate) const WATCHPOINTS: usize = 4;

/// Registers and values that watch all reads and writes of up to [`WATCHPOINTS`] aligned places of `len` (4 or 8) bytes.
pub(crate) fn watch(places: &[u64], len: u64) -> Vec<(usize, u64)> {
    // Per watchpoint: an enable bit, and four bits of kind (3: reads and writes) and length (3: four bytes, 2: eight).
    let kind = 0b11 | if len == 8 { 0b10 } else { 0b11 } << 2;
    let control =
        (0..places.len()).fold(0, |control, i| control | 1 << (2 * i) | kind << (16 + 4 * i));
    let addresses = places.iter().enumerate().map(|(i, place)| (DEBUG + 8 * i, *place));
    // The addresses come first: the kernel checks them when the control register enables them.
    addresses.chain([(DEBUG + 7 * 8, control)]).collect()
}

/// What the two bytes at the program counter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Our own [`marker`].
    Marker,
    /// Enters the kernel, and may sleep there.
    SystemCall,
    /// Anything else: always ends by itself.
    Other,
}

/// Stops a traced process just behind this point.
///
/// A breakpoint, not a system call: it needs no register set up, so not one instruction beside the operation is counted.
#[inline(always)]
pub(crate) fn marker() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `int3` changes nothing; the default memory clobber keeps the operation's accesses on its side.
    unsafe {
        core::arch::asm!("int3", options(nostack))
    };
}

/// Reads the instruction that begins with the lowest byte of `text`.
pub(crate) fn decode(text: u64) -> Instruction {
    match text.to_le_bytes() {
        [MARKER, ..] => Instruction::Marker,
        [0x0f, 0x05, ..] => Instruction::SystemCall,
        _ => Instruction::Other,
    }
}

/// `text` with the marker in place of its first byte.
pub(crate) fn with_marker(text: u64) -> u64 {
    text & !0xff | u64::from(MARKER)
}
