//! A call as bytes: which function, and its arguments; and how a worker makes it.
//!
//! ```text
//! | trampoline | function | argument, in postcard's form |
//! ```
//!
//! The *trampoline* is [`one`] or [`many`] for the types of the call. It knows how to read the
//! arguments, what type the function has, and how to write the result.
//!
//! # Safety
//!
//! An address is turned into a function pointer in two places. Both addresses were taken from a
//! pointer of the very same type by [`of_one`] or [`of_many`], in this program: for the function, its type is that of the
//! trampoline which the compiler made for it; for the trampoline, there is one type only.
#![expect(unsafe_code, reason = "functions travel as addresses")]

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use ipc_core::function::FunctionError;
use ipc_core::parcel::{ParcelError, take_from_bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::function::{self, NAME};

/// Reads arguments, calls the function at the address, appends the result, which may have so many bytes.
type Trampoline = fn(*const (), &[u8], &mut Vec<u8>, usize) -> Result<(), TaskError>;

/// Bytes before the argument.
pub(crate) const HEADER: usize = 2 * NAME;

/// The start of a call of `f` with one argument, which is to be appended.
pub(crate) fn of_one<A: DeserializeOwned, R: Serialize>(
    f: fn(A) -> R,
) -> Result<Vec<u8>, FunctionError> {
    header(one::<A, R>, f as *const ())
}

/// The start of a call of `f` with several arguments one after the other: [`append`] them.
pub(crate) fn of_many<A: DeserializeOwned, R: Serialize>(
    f: fn(A) -> R,
) -> Result<Vec<u8>, FunctionError> {
    header(many::<A, R>, f as *const ())
}

fn header(trampoline: Trampoline, function: *const ()) -> Result<Vec<u8>, FunctionError> {
    let mut call = Vec::with_capacity(256);
    call.extend_from_slice(&function::name(trampoline as *const ())?);
    call.extend_from_slice(&function::name(function)?);
    Ok(call)
}

/// Appends a value to a call or a result.
pub(crate) fn append<T: Serialize>(value: &T, to: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let length = to.len();
    match postcard::to_io(value, &mut *to) {
        Ok(_) => Ok(()),
        Err(error) => {
            to.truncate(length);
            Err(error)
        }
    }
}

/// Makes the call that `bytes` are, and appends its result to `output`, or its results, of which each may have
/// `limit` bytes.
pub(crate) fn make(bytes: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), TaskError> {
    let (trampoline, rest) = split_address(bytes)?;
    let (function, argument) = split_address(rest)?;
    // SAFETY: `header` put a `Trampoline` there, in this program.
    let trampoline = unsafe { core::mem::transmute::<*const (), Trampoline>(trampoline) };
    // What a panic left half done is seen by nobody but the function's own statics.
    let call = || trampoline(function, argument, output, limit);
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|payload| Err(TaskError::Panicked { message: message_of(payload) }))
}

fn split_address(bytes: &[u8]) -> Result<(*const (), &[u8]), TaskError> {
    let (name, rest) =
        bytes.split_first_chunk().ok_or_else(|| TaskError::Decode("not a call".into()))?;
    let address = function::address(name).map_err(|e| TaskError::Decode(e.to_string()))?;
    Ok((address, rest))
}

fn one<A: DeserializeOwned, R: Serialize>(
    function: *const (),
    argument: &[u8],
    output: &mut Vec<u8>,
    limit: usize,
) -> Result<(), TaskError> {
    let (argument, _) = take_from_bytes(argument).map_err(decode)?;
    call_one::<A, R>(function, argument, output, limit)
}

fn many<A: DeserializeOwned, R: Serialize>(
    function: *const (),
    mut arguments: &[u8],
    output: &mut Vec<u8>,
    limit: usize,
) -> Result<(), TaskError> {
    let count: u32;
    (count, arguments) = take_from_bytes(arguments).map_err(decode)?;
    for _ in 0..count {
        let argument;
        (argument, arguments) = take_from_bytes(arguments).map_err(decode)?;
        call_one::<A, R>(function, argument, output, limit)?;
    }
    Ok(())
}

fn call_one<A, R: Serialize>(
    function: *const (),
    argument: A,
    output: &mut Vec<u8>,
    limit: usize,
) -> Result<(), TaskError> {
    // SAFETY: `of_one` and `of_many` pair this trampoline with a `fn(A) -> R` for the same A and R.
    let function = unsafe { core::mem::transmute::<*const (), fn(A) -> R>(function) };
    let before = output.len();
    append(&function(argument), output).map_err(|error| TaskError::Encode(error.to_string()))?;
    let size = output.len() - before;
    if size > limit { Err(TaskError::TooLarge { size, limit }) } else { Ok(()) }
}

fn decode(error: ParcelError) -> TaskError {
    TaskError::Decode(error.to_string())
}

fn message_of(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    let message = text.unwrap_or("(a payload that is not text)").to_owned();
    // Dropping a payload of another type runs code of the task that may panic again.
    core::mem::forget(payload);
    message
}

/// A failure as bytes, for the way back.
pub(crate) fn put_failure(failure: &TaskError, to: &mut Vec<u8>) {
    let parts: (u8, &str, u64, u64) = match failure {
        TaskError::Panicked { message } => (0, message, 0, 0),
        TaskError::Decode(why) => (1, why, 0, 0),
        TaskError::Encode(why) => (2, why, 0, 0),
        TaskError::TooLarge { size, limit } => (3, "", *size as u64, *limit as u64),
        // What happens to a worker is not for the worker to say.
        other => (1, &format!("no failure of a task: {other}"), 0, 0),
    };
    to.clear();
    // Writing integers and text to a vector cannot fail.
    let _ = append(&parts, to);
}

/// The failure that `bytes` are.
pub(crate) fn failure(bytes: &[u8]) -> TaskError {
    let parts = take_from_bytes::<(u8, String, u64, u64)>(bytes);
    match parts.map(|(parts, _)| parts) {
        Ok((0, message, ..)) => TaskError::Panicked { message },
        Ok((1, why, ..)) => TaskError::Decode(why),
        Ok((2, why, ..)) => TaskError::Encode(why),
        Ok((3, _, size, limit)) => {
            TaskError::TooLarge { size: size as usize, limit: limit as usize }
        }
        Ok((kind, ..)) => TaskError::Decode(format!("a failure of unknown kind {kind}")),
        Err(error) => decode(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<A: Serialize>(mut call: Vec<u8>, argument: &A) -> (Result<(), TaskError>, Vec<u8>) {
        append(argument, &mut call).unwrap();
        let mut output = Vec::new();
        (make(&call, &mut output, 100), output)
    }

    #[test]
    fn a_call_is_made_with_its_argument() {
        let (result, output) =
            run(of_one(|(a, b): (u64, String)| format!("{b}{a}")).unwrap(), &(7_u64, "x"));
        assert_eq!(result, Ok(()));
        assert_eq!(postcard::from_bytes(&output), Ok("x7".to_owned()));
    }

    #[test]
    fn several_calls_append_their_results() {
        let (result, output) = run(of_many(|a: u64| a * a).unwrap(), &[2_u64, 3, 300].as_slice());
        assert_eq!(result, Ok(()));
        assert_eq!(output, [4, 9, 0x90, 0xbf, 5]);
    }

    #[test]
    fn each_result_has_the_limit_to_itself() {
        let bytes = |n: usize| vec![7_u8; n];
        let (result, output) = run(of_many(bytes).unwrap(), &[99_usize; 3].as_slice());
        assert_eq!((result, output.len()), (Ok(()), 300));
        let (result, _) = run(of_many(bytes).unwrap(), &[99_usize, 100].as_slice());
        assert_eq!(result, Err(TaskError::TooLarge { size: 101, limit: 100 }));
        assert_eq!(run(of_one(bytes).unwrap(), &100_usize).0, result);
    }

    #[test]
    fn an_argument_of_another_type_is_an_error() {
        let (result, _) = run(of_one(|text: String| text).unwrap(), &u64::MAX);
        assert!(matches!(result, Err(TaskError::Decode(_))), "{result:?}");
        assert!(matches!(make(&[1, 2], &mut Vec::new(), 100), Err(TaskError::Decode(_))));
    }

    #[test]
    fn a_value_that_lies_too_deep_is_an_error() {
        #[derive(serde::Deserialize)]
        struct Nested(Vec<Nested>);
        fn depth(value: &Nested) -> usize {
            1 + value.0.first().map_or(0, depth)
        }
        let calls =
            || [of_one(|value: Nested| depth(&value)), of_many(|value: Nested| depth(&value))];
        for (call, count) in calls().into_iter().zip([&[][..], &[1]]) {
            let mut call = call.unwrap();
            call.extend_from_slice(count);
            call.resize(call.len() + 1_000_000, 1);
            call.push(0);
            let error = make(&call, &mut Vec::new(), 100).unwrap_err();
            assert_eq!(error, TaskError::Decode(ParcelError::TooDeep.to_string()));
        }
    }

    #[test]
    fn failures_come_back_as_they_were() {
        let all = [
            TaskError::Panicked { message: "a".into() },
            TaskError::Decode("b".into()),
            TaskError::Encode("c".into()),
            TaskError::TooLarge { size: 5, limit: 4 },
        ];
        for one in all {
            let mut bytes = vec![1, 2, 3];
            put_failure(&one, &mut bytes);
            assert_eq!(failure(&bytes), one);
        }
        assert!(matches!(failure(&[]), TaskError::Decode(_)));
        assert!(matches!(failure(&[9, 0, 0, 0]), TaskError::Decode(_)));
    }

    #[test]
    fn panics_of_every_kind_are_told() {
        type Panic = (fn(()), &'static str);
        let calls: [Panic; 3] = [
            (|()| panic!("plain"), "plain"),
            (|()| panic!("{}", 5), "5"),
            (|()| std::panic::panic_any(5_u8), "(a payload that is not text)"),
        ];
        for (f, expected) in calls {
            let (result, _) = run(of_one(f).unwrap(), &());
            assert_eq!(result, Err(TaskError::Panicked { message: expected.into() }));
        }
    }
}
