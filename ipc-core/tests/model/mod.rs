//! What must hold whenever a parcel is unpacked, whatever it holds.
//!
//! The input is a number of handles and the bytes. They are unpacked as each of a set of types, of
//! which some hold themselves, some take no bytes, and some have handles of every kind. Each time
//! there is a value or an error, the same again for what the value packs to, and no descriptor is
//! left. Used by the case `parcels_of_anything`, with fixed seeds and with a corpus, and by the fuzz
//! target `parcel`.

use alloc::collections::BTreeMap;
use core::marker::PhantomData;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use ipc_core::Errno;
use ipc_core::connection::{Connection, Receiver, Sender, pair, simplex};
use ipc_core::parcel::{Handle, Parcel, ParcelError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A mistake that unpacking is made to have, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None.
    Nothing,
    /// A tree with two branches that both have a handle loses one of these.
    ForgetsAHandle,
}

/// Unpacks what `input` stands for as each type, and says which of these it was, by their places.
/// `Err` says what did not hold.
pub(crate) fn run(input: &[u8], bug: Bug) -> Result<Vec<usize>, String> {
    let Some((&first, bytes)) = input.split_first() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let before = open_fds()?;
    for (place, (name, unpack)) in TYPES.iter().enumerate() {
        // To the others one is what nobody takes.
        let most = if place < WITHOUT_HANDLES { 1 } else { 16 };
        let handles = usize::from(first % 17).min(most);
        let is_one = unpack(bytes, handles, bug);
        if is_one.map_err(|what| format!("{name}, {handles} handles: {what}"))? {
            found.push(place);
        }
    }
    if open_fds()? == before { Ok(found) } else { Err("a descriptor is left".into()) }
}

/// Whether the bytes were such a value.
type Unpack = fn(&[u8], usize, Bug) -> Result<bool, String>;

/// So many of the types, the first, have no handles.
const WITHOUT_HANDLES: usize = 7;

pub(crate) const TYPES: [(&str, Unpack); 9] = [
    ("scalars", unpack::<Scalars>),
    ("texts", unpack::<Texts>),
    ("lists", unpack::<Lists>),
    ("empty elements", unpack::<Empty>),
    ("a linked list", unpack::<Linked>),
    ("a document", unpack::<Document>),
    ("nested keys", unpack::<Keys>),
    ("handles", unpack::<Handles>),
    ("a tree with handles", |bytes, handles, bug| {
        let forget = |tree: &mut Tree| {
            let has_handle = |tree: &Tree| tree.handle.is_some();
            let branches = tree.branches.iter().filter(|branch| has_handle(branch)).count();
            if bug == Bug::ForgetsAHandle && branches > 1 {
                core::mem::forget(tree.branches.pop());
            }
        };
        unpack_with(bytes, handles, forget)
    }),
];

#[derive(Serialize, Deserialize)]
struct Scalars {
    bool: bool,
    char: char,
    small: (u8, i8, u16, i16),
    large: [(u32, i32, u64, i64); 2],
    huge: Option<(u128, i128)>,
    floats: Result<f32, f64>,
    unit: (),
    nothing: PhantomData<String>,
}

#[derive(Serialize, Deserialize)]
struct Texts(String, Option<Box<str>>, Vec<String>, HashMap<String, char>);

#[derive(Serialize, Deserialize)]
struct Lists {
    bytes: Vec<u8>,
    large: Vec<[u64; 32]>,
    lists: Vec<Vec<Option<u16>>>,
    map: BTreeMap<u8, Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Unit;

#[derive(Serialize, Deserialize)]
struct Empty(Vec<()>, Vec<Vec<Unit>>, BTreeMap<(), [(); 3]>);

#[derive(Serialize, Deserialize)]
struct Linked {
    number: u16,
    next: Option<Box<Linked>>,
}

#[derive(Serialize, Deserialize)]
enum Document {
    Null,
    Number(f64),
    Text(String),
    Pair(Box<Document>, Box<Document>),
    List(Vec<Document>),
    Object { tag: String, fields: BTreeMap<String, Document> },
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Keys(BTreeMap<Keys, ()>);

#[derive(Serialize, Deserialize)]
struct Handles {
    file: Handle,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    both: Vec<Connection>,
    more: BTreeMap<u8, Handle>,
}

#[derive(Serialize, Deserialize)]
struct Tree {
    handle: Option<Handle>,
    branches: Vec<Tree>,
}

fn unpack<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    handles: usize,
    _: Bug,
) -> Result<bool, String> {
    unpack_with::<T>(bytes, handles, |_| {})
}

fn unpack_with<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    handles: usize,
    change: impl FnOnce(&mut T),
) -> Result<bool, String> {
    let fds = (0..handles).map(descriptor).collect::<Result<_, _>>()?;
    let parcel = Parcel { bytes: bytes.to_vec(), fds };
    let Ok(mut value) = parcel.unpack::<T>() else { return Ok(false) };
    let again =
        Parcel::pack(&value).map_err(|error| format!("what came is not packed: {error}"))?;
    match again.unpack::<T>().map(drop) {
        // Numbers may come in longer forms than they are packed in, whose bytes were spare.
        Ok(()) | Err(ParcelError::TooMany) => {}
        Err(error) => return Err(format!("what was packed is not unpacked: {error}")),
    }
    change(&mut value);
    Ok(true)
}

/// One that is a file, a connection, or a half of one, as its place says.
fn descriptor(place: usize) -> Result<OwnedFd, String> {
    let said = |errno: Errno| errno.to_string();
    match place % 4 {
        0 => File::open("/dev/null").map(OwnedFd::from).map_err(|error| error.to_string()),
        1 => simplex().map_err(said)?.0.try_into().map_err(|_| "not whole".into()),
        2 => simplex().map_err(said)?.1.try_into().map_err(|_| "not whole".into()),
        _ => pair().map_err(said)?.0.try_into().map_err(|_| "not whole".into()),
    }
}

/// How many descriptors this process has.
fn open_fds() -> Result<usize, String> {
    let entries = std::fs::read_dir("/proc/self/fd").map_err(|error| error.to_string())?;
    Ok(entries.count())
}
