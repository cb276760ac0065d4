//! What stands in the place of a name and is not ours: refused by its name, and left as it is.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use ipc_core::process::fork_fn;
use ipc_shm::{AttachError, NamedError, RegionName};
use ipc_testkit::cases::{doing, skip};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::mount_bind;
use rustix::process::geteuid;
use rustix::thread::set_thread_res_uid;

use crate::{create_filled, end, entries, name, number_in, plan, private_mounts, private_shm};

/// Every way to use the name is refused for this reason, and changes nothing.
fn refused(name: &RegionName, what: &str, expected: NamedError) {
    doing(what);
    let (plan, _) = plan();
    let before = entries();
    assert_eq!(name.open().unwrap_err(), expected, "opening {what}");
    assert_eq!(name.open_for(&plan).unwrap_err(), expected, "opening {what}");
    assert_eq!(name.create_or_replace(&plan).unwrap_err(), expected, "replacing {what}");
    assert_eq!(name.remove().unwrap_err(), expected, "removing {what}");
    let taken = name.create_new(&plan).unwrap_err();
    assert!(matches!(taken, NamedError::Taken { .. }), "creating at {what}: {taken}");
    assert_eq!(entries(), before, "{what} is still there");
}

pub(crate) fn what_is_no_file_of_ours() {
    let (name, path) = name();
    let other = path.with_extension("other");
    let remove = |path: &Path| fs::remove_file(path).unwrap();

    create_filled(&name, 1).unwrap();
    fs::rename(&path, &other).unwrap();
    symlink(&other, &path).unwrap();
    refused(&name, "a link to a region", NamedError::NotAFile);
    remove(&path);
    symlink("/dev/shm/nothing-of-that-name", &path).unwrap();
    refused(&name, "a link to nothing", NamedError::NotAFile);
    remove(&path);
    fs::hard_link(&other, &path).unwrap();
    refused(&name, "a region of two names", NamedError::Linked);
    remove(&other);
    assert_eq!(number_in(&name.open().unwrap()), 1);
    for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&name, "a file for others", NamedError::Permissions { found: 0o100_000 | mode });
    }
    remove(&path);

    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    refused(&name, "a FIFO", NamedError::NotAFile);
    remove(&path);
    let socket = UnixListener::bind(&path).unwrap();
    refused(&name, "a socket", NamedError::NotAFile);
    drop(socket);
    remove(&path);
    fs::create_dir(&path).unwrap();
    refused(&name, "a directory", NamedError::NotAFile);
    fs::remove_dir(&path).unwrap();
    let zero = rustix::fs::makedev(1, 5);
    if mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, zero).is_ok() {
        refused(&name, "a device", NamedError::NotAFile);
        remove(&path);
    }
}

pub(crate) fn what_is_no_region() {
    let (name, path) = name();
    let put = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    put(&[7; 9000]);
    refused(&name, "other contents", NamedError::Attach(AttachError::NotARegion));
    for length in [0_usize, 1, 4096] {
        put(&vec![0; length]);
        let small = AttachError::TooSmall { found: length as u64, expected: 4097 };
        assert_eq!(name.open().unwrap_err(), NamedError::Attach(small));
        assert_eq!(name.create_or_replace(&plan().0).unwrap_err(), NamedError::Attach(small));
        assert_eq!(name.remove().unwrap_err(), NamedError::Attach(AttachError::NotARegion));
    }
    // Zeros, as a region has them whose pages were punched out.
    put(&[0; 9000]);
    refused(&name, "nothing but zeros", NamedError::Attach(AttachError::NotARegion));
    fs::remove_file(&path).unwrap();
}

/// Becomes another user, in a child.
fn as_user(uid: u32, inside: impl FnOnce()) {
    let child = fork_fn(|| {
        let uid = rustix::process::Uid::from_raw(uid);
        set_thread_res_uid(uid, uid, uid).expect("setuid");
        inside();
        0
    });
    end(child.expect("fork"));
}

fn only_as_root() {
    if !geteuid().is_root() {
        skip("only root can become somebody else");
    }
}

pub(crate) fn another_user() {
    only_as_root();
    let (name, path) = name();
    let region = create_filled(&name, 1).unwrap();
    as_user(1000, || {
        let foreign = NamedError::ForeignOwner { found: 0, expected: 1000 };
        refused(&name, "root's region", foreign);
        let error = name.create_new(&plan().0).unwrap_err();
        assert_eq!(error, NamedError::Taken { creator: None });
    });
    assert_eq!(number_in(&region), 1);
    name.remove().unwrap();
    // Somebody else was here first.
    as_user(1000, || drop(create_filled(&name, 2).unwrap()));
    refused(&name, "a user's region", NamedError::ForeignOwner { found: 1000, expected: 0 });
    // He opens it to all.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let foreign = NamedError::ForeignOwner { found: 1000, expected: 1001 };
    as_user(1001, || refused(&name, "a region for everybody", foreign));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    as_user(1000, || name.remove().unwrap());
    assert!(!path.exists());
}

/// 65534 is what the kernel shows for everybody whom it cannot name in this user namespace.
pub(crate) fn nobody_owns_nothing() {
    only_as_root();
    let (name, path) = name();
    drop(create_filled(&name, 1).unwrap());
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    as_user(65534, || {
        let (plan, _) = plan();
        assert_eq!(name.open().unwrap_err(), NamedError::NoOwner);
        assert_eq!(name.create_new(&plan).unwrap_err(), NamedError::NoOwner);
        assert_eq!(name.create_or_replace(&plan).unwrap_err(), NamedError::NoOwner);
        assert_eq!(name.remove().unwrap_err(), NamedError::NoOwner);
    });
    let foreign = NamedError::ForeignOwner { found: 65534, expected: 0 };
    refused(&name, "nobody's region", foreign);
    fs::remove_file(&path).unwrap();
}

/// Only a tmpfs forgets at a boot.
pub(crate) fn another_file_system() {
    private_shm(c"size=1m");
    let (name, path) = name();
    let folder = std::env::temp_dir().join(format!("ipc-test-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let elsewhere = folder.join("region");
    if rustix::fs::statfs(&folder).unwrap().f_type == rustix::fs::statfs("/dev/shm").unwrap().f_type
    {
        skip("the folder for temporary files is a tmpfs");
    }
    // The bytes of a good region, as they might have come through a boot.
    drop(create_filled(&name, 1).unwrap());
    fs::write(&elsewhere, fs::read(&path).unwrap()).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    mount_bind(&elsewhere, &path).unwrap();
    refused(&name, "a file from elsewhere", NamedError::NotTmpfs);
    private_mounts();
    mount_bind(&folder, "/dev/shm").unwrap();
    fs::rename(&elsewhere, folder.join(path.file_name().unwrap())).unwrap();
    let (plan, _) = plan();
    assert_eq!(name.open().unwrap_err(), NamedError::NotTmpfs);
    assert_eq!(name.create_new(&plan).unwrap_err(), NamedError::NotTmpfs);
    assert_eq!(name.create_or_replace(&plan).unwrap_err(), NamedError::NotTmpfs);
    assert_eq!(name.remove().unwrap_err(), NamedError::NotTmpfs);
    drop(File::open("/dev/shm").unwrap());
    fs::remove_dir_all(&folder).unwrap();
}
