//! The names of functions, remembered: finding one asks the loader, which costs more than a small task.
//!
//! Remembered are those of the module that this code is in, which is the program itself unless the pool is part of a
//! plugin. Another module may be unloaded, and the next one loaded at its addresses, while this code runs.

use core::cell::RefCell;
use std::sync::OnceLock;

use ipc_core::function::{FunctionError, FunctionRef};

/// Bytes of a name.
pub(crate) const NAME: usize = FunctionRef::LEN;

/// Bytes of the module's name, which come first; the function's distance from its start follows.
const MODULE: usize = NAME - size_of::<u64>();

/// How many names a thread remembers. A program calls few different functions; one that calls more pays for
/// looking them up.
const MOST: usize = 64;

/// Newest last.
type Known = Vec<(*const (), [u8; NAME])>;

std::thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Vec::new()) };
}

/// The name of the function at `address`.
pub(crate) fn name(address: *const ()) -> Result<[u8; NAME], FunctionError> {
    recall(|known| known.0 == address, || Ok((address, FunctionRef::of(address)?.to_bytes())))
        .map(|known| known.1)
}

/// The address of the function with this name.
pub(crate) fn address(name: &[u8; NAME]) -> Result<*const (), FunctionError> {
    recall(|known| known.1 == *name, || Ok((FunctionRef::from_bytes(name)?.resolve()?, *name)))
        .map(|known| known.0)
}

fn recall(
    is_it: impl Fn(&(*const (), [u8; NAME])) -> bool,
    find: impl FnOnce() -> Result<(*const (), [u8; NAME]), FunctionError>,
) -> Result<(*const (), [u8; NAME]), FunctionError> {
    if let Some(known) = KNOWN.with_borrow(|all| all.iter().rev().find(|k| is_it(k)).copied()) {
        return Ok(known);
    }
    let found = find()?;
    if is_of_this_module(&found.1) {
        KNOWN.with_borrow_mut(|all| {
            if all.len() == MOST {
                all.remove(0);
            }
            all.push(found);
        });
    }
    Ok(found)
}

fn is_of_this_module(name: &[u8; NAME]) -> bool {
    // Without a name of its own, a module has none to remember.
    static OWN: OnceLock<Option<[u8; NAME]>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let here = is_of_this_module as fn(&[u8; NAME]) -> bool as *const ();
        FunctionRef::of(here).ok().map(|own| own.to_bytes())
    });
    own.is_some_and(|own| own[..MODULE] == name[..MODULE])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_both_ways() {
        let address_of_this = names_are_remembered_both_ways as fn() as *const ();
        for _ in 0..2 {
            let name = name(address_of_this).unwrap();
            assert_eq!(address(&name), Ok(address_of_this));
        }
        assert!(address(&[0xff; NAME]).is_err());
        assert!(is_remembered(address_of_this));
    }

    fn is_remembered(address: *const ()) -> bool {
        KNOWN.with_borrow(|all| all.iter().any(|known| known.0 == address))
    }

    /// Addresses of code in the shared libraries of this process.
    fn in_libraries() -> Vec<*const ()> {
        let program = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let code = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(".so"));
        let libraries = code.filter(|line| !line.ends_with(program.to_str().unwrap()));
        let middle = |line: &str| {
            let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [from, to] = [from, to].map(|hex| usize::from_str_radix(hex, 16).unwrap());
            core::ptr::with_exposed_provenance(from.midpoint(to))
        };
        libraries.map(middle).collect()
    }

    #[test]
    fn a_library_may_be_unloaded_so_its_names_are_not_remembered() {
        let named = in_libraries().into_iter().filter_map(|place| Some((place, name(place).ok()?)));
        let named: Vec<_> = named.collect();
        assert!(!named.is_empty() || cfg!(target_feature = "crt-static"), "no library has a name");
        for (place, name) in named {
            assert_eq!(address(&name), Ok(place));
            assert!(!is_remembered(place));
        }
    }
}
