//! The fuzz targets without a fuzzer: every input in `fuzz/corpus` and `fuzz/findings`, then changes of them from a
//! generator. `make fuzz` looks further, steered by coverage.
//!
//! The generator starts from `FUZZ_SEED`, by default the same number each time, so that a red run says something about
//! the change that it ran on.
#![cfg(unix)]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)] // a host's calls; a test's way to fail

// First of all crates: the linker then meets rusqlite's SQLite before the older one of the bindings.
extern crate journal_crypt;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::path::Path;
use std::thread;

use fastrand::Rng;

const SEED: u64 = 20_261_124;
/// No input is longer.
const LONGEST: usize = 4096;

#[test]
fn tokens_are_read_as_the_fernet_crate_reads_them() {
    run("token", 40_000);
}

#[test]
fn items_are_unpacked_as_zlib_unpacks_them() {
    run("item", 20_000);
}

#[test]
fn any_answer_of_a_store_is_an_object_or_an_error() {
    run("store", 100_000);
}

#[test]
fn any_configuration_is_read_or_refused_by_name() {
    run("config", 50_000);
}

/// One test: both targets need the one key store of this process.
#[test]
fn any_arguments_of_any_function_are_answered() {
    run("functions", 40_000);
    run("admin", 3_000);
}

/// Runs the target `name` over all its inputs and `count` changes of them.
fn run(name: &str, count: u64) {
    let seed = std::env::var("FUZZ_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let target = targets::named(name);
    let inputs = inputs(name);
    for input in &inputs {
        let _shown = Shown { name, seed, input };
        target(input);
    }
    let mut rng = Rng::with_seed(seed);
    for _ in 0..count {
        let input = changed(&inputs, &mut rng);
        let _shown = Shown {
            name,
            seed,
            input: &input,
        };
        target(&input);
    }
    println!(
        "fuzz: {name}: {} inputs, {count} changes of them, FUZZ_SEED={seed}",
        inputs.len()
    );
}

/// The inputs that are kept for the target `name`.
fn inputs(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = ["corpus", "findings"]
        .iter()
        .map(|kind| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("fuzz")
                .join(kind)
                .join(name)
        })
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    // Directories come in any order.
    files.sort();
    assert!(files.len() > 1, "the corpus of {name} is missing");
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// One of `inputs` with one to eight changes.
fn changed(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = inputs[rng.usize(..inputs.len())].clone();
    for _ in 0..rng.usize(1..=8) {
        let at = rng.usize(..=input.len());
        let end = rng.usize(at..=input.len().min(at + 64));
        match rng.u8(..7) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            1 if at < input.len() => {
                input[at] = *rng.choice(b"\x00\x01\x7f\x80\xff\n\"=&<[{").unwrap()
            }
            2 => input.insert(at, rng.u8(..)),
            3 => drop(input.drain(at..end)),
            4 => {
                let repeated = input[at..end].to_vec();
                input.splice(at..at, repeated);
            }
            5 => {
                let other = &inputs[rng.usize(..inputs.len())];
                let from = rng.usize(..=other.len());
                input.splice(at..end, other[from..].iter().copied());
            }
            _ => input.extend((0..rng.usize(..16)).map(|_| rng.u8(..))),
        }
    }
    input.truncate(LONGEST);
    input
}

/// Shows the input where the target panics: it belongs into `fuzz/findings`.
struct Shown<'a> {
    name: &'a str,
    seed: u64,
    input: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { name, seed, input } = self;
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("fuzz: {name}: FUZZ_SEED={seed}, this input (hex) failed: {hex}");
        }
    }
}
