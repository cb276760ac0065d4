//! Arguments and results that are large, wrong, or missing.

use ipc_pool::{Error, Pool, PoolError, TaskError};
use ipc_testkit::cases::doing;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that can be written and never read.
#[derive(Debug)]
struct WriteOnly;

impl Serialize for WriteOnly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for WriteOnly {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("never"))
    }
}

/// A value that cannot be written.
#[derive(Debug, Deserialize)]
struct ReadOnly;

impl Serialize for ReadOnly {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("never"))
    }
}

pub(crate) fn undecodable() {
    let pool = Pool::new(1).unwrap();
    let good = pool.submit(|x: u64| x, 1).unwrap();
    assert!(matches!(
        pool.submit(|_: WriteOnly| (), WriteOnly).unwrap().wait(),
        Err(TaskError::Decode(_))
    ));
    assert!(matches!(pool.submit(|()| WriteOnly, ()).unwrap().wait(), Err(TaskError::Decode(_))));
    assert!(matches!(pool.submit(|()| ReadOnly, ()).unwrap().wait(), Err(TaskError::Encode(_))));
    assert!(matches!(pool.submit(|_: ReadOnly| (), ReadOnly), Err(PoolError::Encode(_))));
    assert!(matches!(pool.map(|_: u64| WriteOnly, 0..3), Err(Error::Task(TaskError::Decode(_)))));
    assert_eq!(good.wait(), Ok(1));
    assert_eq!(pool.stats()[0].restarts, 0);
}

pub(crate) fn panics() {
    let pool = Pool::new(1).unwrap();
    let message = |result| match result {
        Err(TaskError::Panicked { message }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message(pool.submit(|()| panic!("plain"), ()).unwrap().wait()), "plain");
    let formatted = pool
        .submit(
            |x: u64| {
                if x > 0 {
                    panic!("with {x}")
                }
            },
            5,
        )
        .unwrap();
    assert_eq!(message(formatted.wait()), "with 5");
    let other = pool.submit(|()| std::panic::panic_any(5_u8), ()).unwrap();
    assert_eq!(message(other.wait()), "(a payload that is not text)");
    let mapped = pool.map(|x: u64| if x == 77 { panic!("item {x}") } else { x }, 0..100);
    assert!(matches!(mapped, Err(Error::Task(TaskError::Panicked { .. }))));
    // The same process as before, and it goes on.
    assert_eq!(pool.call(|x: u64| x, 3).unwrap(), 3);
    assert_eq!(pool.stats()[0].restarts, 0);
}

/// Arguments and results whose sizes lie around every bound: the area's, the window's, and several windows.
pub(crate) fn sizes() {
    let pool = Pool::builder().workers(2).payload(256).window(512).build().unwrap();
    let around = |bound: usize| bound.saturating_sub(140)..bound + 20;
    let sizes =
        around(0).chain(around(256)).chain(around(512)).chain(around(768)).chain(around(1536));
    for size in sizes.chain([100_000, 1 << 20]) {
        doing(&format!("{size} bytes"));
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
        let (back, length) = pool
            .call(
                |mut bytes: Vec<u8>| {
                    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                    let length = bytes.len();
                    (bytes, length)
                },
                bytes.clone(),
            )
            .unwrap();
        assert_eq!(length, size);
        assert!(back.iter().map(|byte| byte ^ 0x55).eq(bytes), "{size} bytes");
    }
    // Items and chunks of every size between.
    let strings = (0..300).map(|i| "x".repeat(i * 3));
    let lengths = pool.map(|text: String| (text.len(), text + "y"), strings).unwrap();
    assert!(lengths.iter().enumerate().all(|(i, (n, text))| *n == i * 3 && text.len() == n + 1));
}

pub(crate) fn too_large() {
    let pool = Pool::builder().workers(1).limit(10_000).build().unwrap();
    let argument = pool.submit(|bytes: Vec<u8>| bytes.len(), vec![0; 9_999]);
    let expected =
        |error: &PoolError| matches!(error, PoolError::TooLarge { size: 10_001, limit: 10_000 });
    assert!(expected(&argument.unwrap_err()));
    assert_eq!(pool.call(|bytes: Vec<u8>| bytes.len(), vec![0; 9_998]).unwrap(), 9_998);
    let result = pool.call(|n: usize| vec![0_u8; n], 10_000);
    assert!(
        matches!(result, Err(Error::Task(TaskError::TooLarge { size: 10_002, limit: 10_000 }))),
        "{result:?}"
    );
    assert_eq!(pool.call(|n: usize| vec![0_u8; n], 9_998).unwrap().len(), 9_998);
    let item = pool.map(|bytes: Vec<u8>| bytes.len(), [vec![0; 9_999]]);
    assert!(matches!(item, Err(Error::Pool(ref error)) if expected(error)));
    doing("chunks whose items are within the limit, and who are not themselves");
    let back = pool.map(|bytes: Vec<u8>| bytes, (0..200).map(|i| vec![i; 9_998])).unwrap();
    assert!(back.iter().enumerate().all(|(i, bytes)| *bytes == [i as u8; 9_998]));
    let results = pool.map(|n: usize| vec![0_u8; n], [9_998; 500]).unwrap();
    assert!(results.len() == 500 && results.iter().all(|result| result.len() == 9_998));
    let one =
        pool.map(|n: usize| vec![0_u8; n], (0..500).map(|i| if i == 321 { 9_999 } else { 0 }));
    let expected = TaskError::TooLarge { size: 10_001, limit: 10_000 };
    assert!(matches!(one, Err(Error::Task(error)) if error == expected));
}

pub(crate) fn bad_input() {
    assert!(matches!(Pool::new(0), Err(PoolError::NoWorkers)));
    assert!(matches!(
        Pool::new(5000),
        Err(PoolError::TooMany { what: "workers", asked: 5000, most: 4096 })
    ));
    let huge = Pool::builder().workers(1).queue(1 << 20).payload(1 << 26).build();
    assert!(matches!(huge, Err(PoolError::Memory(_))), "{huge:?}");
    let pool = Pool::new(1).unwrap();
    assert!(pool.kill_worker(1).is_err());
    let mut ticket = pool.submit(|x: u64| x, 1).unwrap();
    assert_eq!(ticket.wait_timeout(core::time::Duration::MAX), Ok(1));
    assert_eq!(ticket.try_get(), Some(Err(TaskError::Taken)));
    pool.close();
    assert!(matches!(pool.submit(|x: u64| x, 1), Err(PoolError::Closed)));
    assert_eq!(pool.map(|x: u64| x, core::iter::empty()).unwrap(), []);
}
