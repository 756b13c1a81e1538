//! libFuzzer around the target that `FUZZ_TARGET` names.
#![no_main]

// First of all crates: the linker then meets rusqlite's SQLite before the older one of the bindings.
extern crate journal_crypt;

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{Target, named};

static TARGET: LazyLock<Target> =
    LazyLock::new(|| named(&std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target")));

fuzz_target!(|data: &[u8]| TARGET(data));
