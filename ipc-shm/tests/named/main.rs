//! Regions with names: who gets one, who is refused, and what is left in `/dev/shm`.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`), and leaves the directory as it was. The kills at
//! every single instruction are in `stepkill_named.rs`, and what each failing system call leads to in `faults.rs`.
//!
//! # Safety
//!
//! Some cases make namespaces of their own.
#![expect(unsafe_code, reason = "namespaces, before there is a second thread")]

mod creating;
mod limits;
mod racing;
mod refusing;
mod replacing;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use ipc_core::process::Child;
use ipc_shm::{Plan, RawValue, Region, RegionName};
use ipc_testkit::cases;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

fn main() -> ExitCode {
    cases::run(&[
        ("appears_whole_and_private", creating::appears_whole_and_private),
        ("found_by_another_process", creating::found_by_another_process),
        ("h15_nothing_of_private_memory", creating::nothing_of_private_memory),
        ("failed_plan_takes_nothing_away", creating::failed_plan_takes_nothing_away),
        ("c07_removed_under_its_users", creating::removed_under_its_users),
        ("t01_cut_short", creating::cut_short),
        ("t07_cut_short_under_a_sleeper", creating::cut_short_under_a_sleeper),
        ("v01_versions", creating::versions),
        ("name_travels_and_region_does_not", creating::name_travels_and_region_does_not),
        ("k01_ring_is_found_by_name", creating::ring_is_found_by_name),
        ("l01_cycles_leave_nothing", creating::cycles_leave_nothing),
        ("only_the_dead_are_replaced", replacing::only_the_dead),
        ("zombie_is_replaced_and_stopped_is_not", replacing::zombie_and_stopped),
        ("v07_another_domain_is_never_replaced", replacing::another_domain),
        ("v07_another_pid_namespace_is_never_replaced", replacing::another_pid_namespace),
        ("who_cannot_be_asked_after_is_never_replaced", replacing::not_to_be_asked_after),
        ("lock_ends_with_its_holder", replacing::lock_ends_with_its_holder),
        ("lock_given_up_is_seen", replacing::lock_given_up_is_seen),
        ("stopped_holder_of_the_lock_is_not_waited_for", replacing::stopped_holder_of_lock),
        ("another_region_meanwhile_is_not_replaced", replacing::another_region_meanwhile),
        ("c02_what_is_no_file_of_ours", refusing::what_is_no_file_of_ours),
        ("c02_what_is_no_region", refusing::what_is_no_region),
        ("c05_another_user", refusing::another_user),
        ("c08_nobody_owns_nothing", refusing::nobody_owns_nothing),
        ("another_file_system_is_refused", refusing::another_file_system),
        ("x01_full_tmpfs", limits::full_tmpfs),
        ("x01_x03_failed_creation_leaves_nothing", limits::failed_creation_leaves_nothing),
        ("x01_x03_failed_opening_leaves_nothing", limits::failed_opening_leaves_nothing),
        ("without_proc", limits::without_proc),
        ("k12_racing_to_create", racing::to_create),
        ("k12_racing_to_replace", racing::to_replace),
        ("k12_killed_all_the_time", racing::killed_all_the_time),
    ])
}

/// A name of this case's own, and the path of its file.
pub(crate) fn name() -> (RegionName, PathBuf) {
    let name = prefix();
    let path = PathBuf::from("/dev/shm").join(&name);
    (Region::named(name).expect("a name"), path)
}

/// What every file of this case begins with; its children have its process group.
fn prefix() -> String {
    format!("ipc-test-{}", rustix::process::getpgrp())
}

/// A plan, and the number that [`fill`] puts into each of its places.
pub(crate) fn plan() -> (Plan, ipc_shm::Place<RawValue<u64>>) {
    let mut plan = Plan::new();
    let place = plan.array(700).expect("places");
    (plan, place)
}

/// Every place says who made the region.
pub(crate) fn create_filled(name: &RegionName, number: u64) -> Result<Region, ipc_shm::NamedError> {
    let (plan, place) = plan();
    name.create_new_with(&plan, |fill| fill.values(place, |_| RawValue::new(number)))
}

/// The number in all places of a region that was filled.
pub(crate) fn number_in(region: &Region) -> u64 {
    let (_, place) = plan();
    let all = region.slice(place).expect("its plan");
    let first = all[0].get();
    assert!(all.iter().all(|value| value.get() == first), "of one piece");
    first
}

/// What is in `/dev/shm` of this case.
pub(crate) fn entries() -> HashSet<OsString> {
    let entries = std::fs::read_dir("/dev/shm").expect("/dev/shm");
    let names = entries.map(|entry| entry.expect("/dev/shm").file_name());
    names.filter(|name| name.as_encoded_bytes().starts_with(prefix().as_bytes())).collect()
}

pub(crate) fn end(mut child: Child) {
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

/// Puts a tmpfs with these options in the place of `/dev/shm`, for this case only.
pub(crate) fn private_shm(options: &core::ffi::CStr) {
    private_mounts();
    mount(c"tmpfs", c"/dev/shm", c"tmpfs", MountFlags::empty(), options).expect("mount");
}

/// Whatever is mounted from now on, only this case sees.
pub(crate) fn private_mounts() {
    // SAFETY: descriptors and memory stay as they are.
    match unsafe { unshare_unsafe(UnshareFlags::NEWNS) } {
        Ok(()) => {}
        Err(Errno::PERM) => cases::skip("unshare(CLONE_NEWNS) is not permitted"),
        Err(errno) => panic!("unshare: {errno}"),
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private).expect("mount");
}

/// Runs `inside` in a child with a pid namespace of its own; that is, in the child's child.
pub(crate) fn in_another_pid_namespace(inside: impl FnOnce() -> i32) {
    use ipc_core::process::fork_fn;
    let child = fork_fn(|| {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { unshare_unsafe(UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        fork_fn(inside).expect("fork").wait().expect("wait").code().unwrap_or(1)
    });
    match child.expect("fork").wait().expect("wait").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
}

/// The file behind a region, as its own attacker sees it.
pub(crate) fn file(region: &impl std::os::fd::AsFd) -> File {
    File::from(region.as_fd().try_clone_to_owned().expect("a descriptor"))
}
