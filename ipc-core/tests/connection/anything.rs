//! What fuzzing has found, and what lies near to it, against the model in `ipc-core/tests/model`.

use ipc_testkit::cases::doing;

use crate::bounds::peak;
use crate::model::{self, Bug};

/// Far more than any of the inputs should take.
const MEMORY: usize = 32 << 20;

/// The committed inputs, by name.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/parcel");
    let paths = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()));
    let mut inputs: Vec<_> = named.collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "the corpus is committed");
    inputs
}

pub(crate) fn corpus() {
    let mut seen = [0; model::TYPES.len()];
    for (name, input) in inputs() {
        doing(&name);
        let before = peak();
        let found = model::run(&input, Bug::Nothing);
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        found.into_iter().for_each(|place| seen[place] += 1);
        assert!(peak() - before < MEMORY, "{name} takes memory");
    }
    println!("values of each type: {seen:?}");
    assert!(seen.iter().all(|count| *count > 0), "no value of a type was ever unpacked");
}

/// Inputs with a few bytes changed, put in, taken out or repeated.
pub(crate) fn fixed_seeds() {
    let inputs = inputs();
    let before = peak();
    for seed in 1..=500_u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as usize % below.max(1)
        };
        let mut input = inputs[random(inputs.len())].1.clone();
        for _ in 0..=random(4) {
            let at = random(input.len());
            // Mostly what is a length, a choice or a place.
            let byte = if random(4) == 0 { random(256) } else { random(5) } as u8;
            match random(4) {
                0 => input.insert(at, byte),
                1 if input.len() > 1 => drop(input.remove(at)),
                2 => input.extend_from_within(at..),
                _ if at < input.len() => input[at] = byte,
                _ => {}
            }
        }
        doing(&format!("seed {seed}"));
        if let Err(error) = model::run(&input, Bug::Nothing) {
            panic!("seed {seed}, {input:?}: {error}");
        }
    }
    assert!(peak() - before < MEMORY, "they take memory");
}

/// In a child, which may keep what is lost.
pub(crate) fn planted_bug() {
    let child = ipc_core::process::fork_fn(|| {
        let is_found = |input: &[u8]| model::run(input, Bug::ForgetsAHandle).is_err();
        i32::from(!inputs().iter().any(|(_, input)| is_found(input)))
    });
    crate::tools::expect_ok(child.expect("fork"));
}
