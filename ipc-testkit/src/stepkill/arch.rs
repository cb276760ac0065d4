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
