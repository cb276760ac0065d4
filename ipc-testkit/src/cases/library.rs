//! A shared library that has a copy of the crate under test, built while the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Its constructor, which runs before the program's, turns aside if it may. It has a function for
/// programs that open it.
const SOURCE: &str = r#"
    extern "C" fn constructor() { ipc_core::process::init() }
    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = constructor;

    #[unsafe(no_mangle)]
    fn plug_add((a, b): (i32, i32)) -> i32 { a + b }
"#;

/// What the path of each such library has in it.
pub const NAME: &str = "ipc-test-plug";

/// Whether the linker gives the library a build id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildId {
    /// As most linkers do.
    Some,
    /// The library has no name then that other processes could trust.
    None,
}

/// A shared library in a folder of its own, which is removed at the end of the scope.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// Builds it for the running program. `None` if there is no compiler here, or not the one that
    /// has built the program.
    pub fn build(build_id: BuildId) -> Option<Self> {
        let program = std::env::current_exe().expect("/proc");
        let beside = program.parent().expect("a folder");
        let rlib = newest_rlib(beside)?;
        let folder = std::env::temp_dir().join(format!("{NAME}-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("create");
        let library = Self { folder };
        let source = library.folder.join("plug.rs");
        std::fs::write(&source, SOURCE).expect("write");
        let mut compiler = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        compiler.args(["--edition=2024", "--crate-type=cdylib", "-Awarnings", "-L"]).arg(beside);
        compiler.arg("--extern").arg(format!("ipc_core={}", rlib.display()));
        let id = if build_id == BuildId::Some { "sha1" } else { "none" };
        compiler.arg(format!("-Clink-arg=-Wl,--build-id={id}"));
        compiler.arg(&source).arg("-o").arg(library.path());
        let is_built = compiler.output().is_ok_and(|output| output.status.success());
        is_built.then_some(library)
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join("plug.so")
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("remove what the case wrote");
    }
}

/// The crate under test as it was built for the running program.
fn newest_rlib(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libipc_core-") && name.ends_with(".rlib")
    };
    files.filter(is_ours).max_by_key(|path| path.metadata().and_then(|file| file.modified()).ok())
}
