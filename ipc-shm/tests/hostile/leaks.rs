//! H15: no byte of private memory gets into shared memory, but for what was pushed.

use core::hint::black_box;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use ipc_shm::bytemuck::Pod;
use ipc_shm::ring::spsc::Ring;
use ipc_shm::{Kind, Plan, RawValue, Region};
use ipc_testkit::stepmutate::Suite;
use rustix::fd::{AsFd as _, BorrowedFd};

/// What private memory is full of.
const CANARY: u8 = 0xc5;

pub(crate) fn run(suite: &mut Suite) {
    suite.check("h15: fresh regions are zero behind their header", || {
        // The heap has seen the canary, too.
        drop(black_box(vec![CANARY; 1 << 20]));
        dirty_the_stack();
        let mut plan = Plan::new();
        plan.array::<RawValue<[u8; 3]>>(1000).map_err(|e| e.to_string())?;
        let region = Region::planned(&plan).map_err(|e| e.to_string())?;
        assert_eq!(region.kind(), Kind::Planned);
        let bytes = contents(region.as_fd())?;
        // The header's own fields, and one entry of the directory.
        let used = |at: &usize| *at < 88 || (1024..1024 + 32).contains(at);
        match bytes.iter().enumerate().find(|(at, byte)| !used(at) && **byte != 0) {
            Some((at, byte)) => Err(format!("{byte:#x} at offset {at:#x}")),
            None => Ok(format!("{} bytes", bytes.len())),
        }
    });
    suite.check("h15: what is not of a message stays zero", || {
        let counts = [
            messages::<[u8; 3], 3>()?,
            messages::<[u8; 13], 13>()?,
            messages::<[u16; 5], 10>()?,
            messages::<[u8; 64], 64>()?,
        ];
        Ok(format!("{counts:?} bytes of slots"))
    });
}

/// Pushes and pops values of `N` bytes that are 1, by both kinds of ends; every other byte of the slots stays 0.
fn messages<T: Pod + Send, const N: usize>() -> Result<usize, String> {
    const CAPACITY: usize = 5;
    let ring = Ring::<T>::create(CAPACITY).map_err(|e| e.to_string())?;
    let mut value = T::zeroed();
    ipc_shm::bytemuck::bytes_of_mut(&mut value).fill(1);
    for untrusted in [false, true, false, true] {
        for _ in 0..CAPACITY {
            dirty_the_stack();
            let pushed = if untrusted {
                ring.untrusted_producer().map_err(|e| e.to_string())?.push(value)
            } else {
                ring.producer().map_err(|e| e.to_string())?.push(value)
            };
            pushed.map_err(|e| e.to_string())?;
            let mut consumer = ring.untrusted_consumer().map_err(|e| e.to_string())?;
            consumer.pop().map_err(|e| e.to_string())?;
        }
    }
    let bytes = contents(ring.as_fd().ok_or("no descriptor")?)?;
    let slot = 8 + N.next_multiple_of(8);
    let slots = &bytes[4096 + 128..][..CAPACITY * slot];
    for (at, byte) in slots.iter().enumerate() {
        let expected = match at % slot {
            inside if inside < N => 1,
            // Four laps of two steps each.
            inside if inside == slot - 8 => 8,
            _ => 0,
        };
        if *byte != expected {
            return Err(format!("{byte:#x} at byte {} of a slot for {N} bytes", at % slot));
        }
    }
    let rest = bytes[4096 + 128 + CAPACITY * slot..].iter();
    let roles = bytes[4096 + 40..4096 + 128].iter();
    match roles.chain(rest).find(|byte| **byte != 0) {
        Some(byte) => Err(format!("{byte:#x} beside the slots")),
        None => Ok(slots.len()),
    }
}

#[inline(never)]
fn dirty_the_stack() {
    black_box(&mut [CANARY; 16384]);
}

fn contents(fd: BorrowedFd<'_>) -> Result<Vec<u8>, String> {
    let file = File::from(fd.try_clone_to_owned().map_err(|e| e.to_string())?);
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|e| e.to_string())?;
    Ok(bytes)
}
