//! The inputs that the fuzzer found worth keeping (`tests/fuzz/corpus`), and changes of them. The
//! fuzzer itself knows which code an input reaches; it runs with `make fuzz`.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// What parsers look for.
const TOKENS: [&[u8]; 14] =
    [b"{", b"}", b"[", b"]", b":", b",", b"\"", b"\\u", b"\n", b"*", b"?", b"-", b"null", b"\xff"];

/// Calls `target` with each kept input, and with so many changes of them: always the same ones.
pub fn replay(name: &str, changes: usize, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(inputs.len() > 3, "{} has {} inputs", folder.display(), inputs.len());
    let run = |input: &[u8]| {
        let guard = Failing(input);
        target(input);
        std::mem::forget(guard);
    };
    for input in &inputs {
        run(input);
    }
    let mut random = StdRng::seed_from_u64(20_261_127);
    for _ in 0..changes {
        let mut input = inputs.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..5) {
            change(&mut input, &inputs, &mut random);
        }
        run(&input);
    }
}

/// Prints the input of a failure.
struct Failing<'a>(&'a [u8]);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        eprintln!("fails with {:?}", String::from_utf8_lossy(self.0));
    }
}

fn change(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let end = random.random_range(at..=input.len().min(at + 16));
    match random.random_range(0..6) {
        0 => drop(input.drain(at..end)),
        1 => input.insert(at, random.random()),
        2 => drop(input.splice(at..at, TOKENS.choose(random).unwrap().iter().copied())),
        3 => {
            let again = input[at..end].to_vec();
            input.splice(end..end, again);
        }
        4 => {
            let other = others.choose(random).unwrap();
            let from = random.random_range(0..=other.len());
            input.splice(at..end, other[from..other.len().min(from + 64)].iter().copied());
        }
        _ => input[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
    }
}
