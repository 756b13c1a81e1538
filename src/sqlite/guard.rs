//! What stands around every callback that SQLite makes: a panic becomes an error, nesting has an end, and the stack
//! is wiped.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::code;
use crate::error::Error;
use crate::secret::wipe_stack;

/// Runs `body` and turns a panic into an error; nothing of ours unwinds into C.
pub(crate) fn guard<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping the payload could panic again; it is a short message, so it is let go.
        std::mem::forget(payload);
        Err(Error::Panicked)
    })
}

/// How far down the stack a call leaves secrets, which are then overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traces {
    /// 2 KiB: what the processor's cipher path and the check of UTF-8 leave. tests/promises/test_secrets.py finds nothing
    /// from 1,536 bytes on.
    Shallow,
    /// 4 KiB: what software leaves of AES and SHA-256, such as the schedule for decryption, or a parser of JSON.
    Deep,
}

/// As [`guard`], for a call that runs SQL of the database: key tables can be views that reach us again
/// through a function of the host's, without end, on one stack.
///
/// # Errors
/// Calls nested deeper than any honest schema has them.
pub(super) fn guard_call<T>(
    traces: impl FnOnce() -> Traces,
    body: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    const DEEPEST: u32 = 8;
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }
    let depth = DEPTH.get();
    if depth == DEEPEST {
        return Err(Error::Sqlite {
            code: code::ERROR,
            message: "the key tables are views that call this function again and again".to_owned(),
        });
    }
    DEPTH.set(depth + 1);
    let outcome = guard(body);
    DEPTH.set(depth);
    wipe_registers();
    // SQLite's own calls go far deeper; they are handed no secret before the outcome.
    match traces() {
        Traces::Shallow => wipe_stack::<2048>(),
        Traces::Deep => wipe_stack::<4096>(),
    }
    outcome
}

/// Clears the vector registers, where ciphers leave round keys and texts: who saves all registers next, such as the linker
/// when it looks up a function, would write them to memory.
fn wipe_registers() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") {
        #[target_feature(enable = "avx")]
        fn wipe() {
            std::arch::x86_64::_mm256_zeroall();
        }
        // SAFETY: the processor has AVX.
        unsafe { wipe() }
    }
}
