//! The finished library in a Rust host: rusqlite with an SQLite of its own loads the extension as every
//! host does. Each test runs in a process of its own (`process.rs`), since the extension reads its
//! configuration once per process and its cache is the process's.
//!
//! Never `use journal_crypt` here: it would link a second SQLite, the one of the bindings.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test's way to fail

mod endpoint;
mod entry;
mod journal;
mod places;
mod process;
mod raw;
mod values;

mod arguments;
mod bucket;
mod closing;
mod context;
mod databases;
mod flight;
mod functions;
mod keys;
mod loading;
mod plaintexts;
mod random;
mod reuse;
mod rows;
mod schema;
mod scope;
mod secrets;
mod sqlite_errors;
mod users;
mod words;
