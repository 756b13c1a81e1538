//! What is fuzzed: each target is a function of arbitrary bytes that panics where a promise is broken.
//!
//! `make fuzz` steers the bytes by coverage. `tests/fuzz.rs`, a part of `make check`, runs the same functions over what
//! is in `corpus` and `findings`, and over changes of it.

mod admin;
mod config;
mod functions;
mod host;
mod item;
mod store;
mod token;

/// One input is run.
pub(crate) type Target = fn(&[u8]);

/// The target of this name, which its directories in `corpus` and `findings` have too.
pub(crate) fn named(name: &str) -> Target {
    match name {
        "functions" => functions::run,
        "admin" => admin::run,
        "token" => token::run,
        "item" => item::run,
        "store" => store::run,
        "config" => config::run,
        other => panic!("there is no target {other}"),
    }
}
