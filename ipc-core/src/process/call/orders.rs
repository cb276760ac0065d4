//! What a child is told, and its first steps.
//!
//! # Safety
//!
//! The function's type is part of the entry's: `enter::<A, R>` is named by the same process that
//! writes a `fn(A) -> R` into its orders.
#![expect(unsafe_code, reason = "a function by name is called as what it was named as")]

use alloc::string::String;
use alloc::vec::Vec;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::thread::set_name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Report, complain};
use crate::Result;
use crate::fdpass::MAX_FDS;
use crate::function::Function;
use crate::os::check_file_size;
use crate::parcel::{Parcel, take_from_bytes};
use crate::process::Start;
use crate::process::call::StartError;
use crate::process::zygote::MAX_BYTES;

/// How a child ends that could not understand its orders.
pub(super) const NOT_UNDERSTOOD: i32 = 124;

/// Room for everything but the argument, in the bytes that a zygote passes on.
const ROOM: usize = 512;

/// What is told beside the argument.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The function, by name.
    pub(super) function: Vec<u8>,
    pub(super) name: Option<String>,
    pub(super) daemon: bool,
    /// The argument's bytes, unless they are in a file of their own, the last descriptor.
    pub(super) argument: Option<Vec<u8>>,
}

impl Orders {
    /// The orders and descriptors of a call.
    pub(super) fn pack(mut self, argument: Parcel) -> Result<(Vec<u8>, Vec<OwnedFd>), StartError> {
        let Parcel { bytes, mut fds } = argument;
        let is_long = bytes.len() > MAX_BYTES - ROOM;
        let most = MAX_FDS - usize::from(is_long);
        if fds.len() > most {
            return Err(StartError::TooManyHandles { count: fds.len(), most });
        }
        if is_long {
            fds.push(file_of(&bytes)?);
        } else {
            self.argument = Some(bytes);
        }
        let orders = postcard::to_allocvec(&self);
        Ok((orders.expect("numbers and text can be written to a vector"), fds))
    }
}

/// An unnamed file with these bytes.
fn file_of(bytes: &[u8]) -> Result<OwnedFd> {
    check_file_size(bytes.len() as u64)?;
    let mut file = File::from(memfd_create(c"argument", MemfdFlags::CLOEXEC)?);
    let written = file.write_all(bytes).and_then(|()| file.rewind());
    let errno =
        |error: std::io::Error| crate::Errno::from_io_error(&error).unwrap_or(crate::Errno::IO);
    written.map_err(errno)?;
    Ok(file.into())
}

/// The first code of ours in a child that was not forked from this process.
pub(super) fn enter<A: DeserializeOwned, R: Report>(start: Start) -> i32 {
    let understood: Result<_, alloc::boxed::Box<dyn core::error::Error>> = (|| {
        let (orders, _): (Orders, _) = take_from_bytes(&start.bytes)?;
        let name = orders.function.as_slice().try_into()?;
        // SAFETY: see the head of this file.
        let function = unsafe { Function::<fn(A) -> R>::from_bytes(name) }?.resolve()?;
        let mut fds: Vec<OwnedFd> = start.fds.collect();
        let bytes = match orders.argument {
            Some(bytes) => bytes,
            None => {
                let mut bytes = Vec::new();
                File::from(fds.pop().ok_or("a descriptor is missing")?).read_to_end(&mut bytes)?;
                bytes
            }
        };
        settle(orders.name.as_deref());
        if orders.daemon {
            start.parent.exit_with_parent()?;
        }
        Ok((function, Parcel { bytes, fds }.unpack::<A>()?))
    })();
    match understood {
        Ok((function, argument)) => function(argument).report(),
        Err(error) => {
            complain(format_args!("a process cannot begin: {error}"));
            NOT_UNDERSTOOD
        }
    }
}

/// Gives this process its name.
pub(super) fn settle(name: Option<&str>) {
    if let Some(name) = name.and_then(|name| alloc::ffi::CString::new(name).ok()) {
        // It is for the reader of a list.
        let _ = set_name(&name);
    }
}
