//! The names of functions, remembered: finding one asks the loader, which costs more than a small task.

use core::cell::RefCell;

use ipc_core::function::{FunctionError, FunctionRef};

/// Bytes of a name.
pub(crate) const NAME: usize = FunctionRef::LEN;

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
    KNOWN.with_borrow_mut(|all| {
        if all.len() == MOST {
            all.remove(0);
        }
        all.push(found);
    });
    Ok(found)
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
    }
}
