//! The boundary with SQLite.
//!
//! Above this module nothing follows a pointer. Every callback that SQLite makes goes through
//! `guard`, so that a panic becomes an SQL error instead of unwinding into C.
#![allow(unsafe_code)]

pub mod connection;
mod cursor;
pub mod function;
pub(crate) mod guard;
pub mod kept;
pub mod output;
pub(crate) mod registration;
pub mod state;
pub mod statement;
pub mod table;
pub mod value;

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use sqlite_loadable::ext::sqlite3_api_routines;

use crate::error::Error;

/// Result codes and flags that we use, from <https://sqlite.org/rescode.html> and
/// <https://sqlite.org/c3ref/constlist.html>.
pub(crate) mod code {
    use std::ffi::c_int;

    pub(crate) const OK: c_int = 0;
    pub(crate) const ERROR: c_int = 1;
    pub(crate) const INTERNAL: c_int = 2;
    pub(crate) const NOMEM: c_int = 7;
    pub(crate) const READONLY: c_int = 8;
    pub(crate) const INTERRUPT: c_int = 9;
    pub(crate) const IOERR: c_int = 10;
    pub(crate) const CONSTRAINT: c_int = 19;
    pub(crate) const ROW: c_int = 100;
    pub(crate) const DONE: c_int = 101;
    pub(crate) const OK_LOAD_PERMANENTLY: c_int = 256;

    pub(crate) const INTEGER: c_int = 1;
    pub(crate) const FLOAT: c_int = 2;
    pub(crate) const TEXT: c_int = 3;
    pub(crate) const BLOB: c_int = 4;
}

/// The routines table of the one SQLite library that this process loaded us through.
pub(crate) static ROUTINES: AtomicPtr<sqlite3_api_routines> = AtomicPtr::new(ptr::null_mut());

/// Calls an SQLite routine through the table that SQLite gave us when it loaded us.
///
/// Only the named field is read, never the whole struct: an older SQLite has a shorter one. Every
/// field used here is as old as the least version that the entry point accepts.
macro_rules! sqlite3 {
    ($routine:ident($($argument:expr),* $(,)?)) => {{
        let routines = $crate::sqlite::ROUTINES.load(::std::sync::atomic::Ordering::Relaxed);
        let routine = (*routines).$routine;
        match routine {
            Some(routine) => routine($($argument),*),
            None => ::std::process::abort(),
        }
    }};
}
pub(crate) use sqlite3;

/// A copy of `text` in SQLite's own memory, NUL-terminated, for SQLite to free.
/// Null where there is no memory; SQLite takes that for "no message".
///
/// # Safety
/// `routines` must be the table of a live SQLite library.
pub(crate) unsafe fn sqlite_string(
    routines: *const sqlite3_api_routines,
    text: &str,
) -> *mut c_char {
    // SAFETY: the caller vouches for the table, and sqlite3_malloc is in every version of it.
    let Some(malloc) = (unsafe { (*routines).malloc }) else {
        return ptr::null_mut();
    };
    let bytes = text.as_bytes();
    let length = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let Ok(size) = c_int::try_from(length + 1) else {
        return ptr::null_mut();
    };
    // SAFETY: malloc takes any size and answers null or that many bytes, all written below.
    unsafe {
        let copy = malloc(size).cast::<u8>();
        if !copy.is_null() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), copy, length);
            *copy.add(length) = 0;
        }
        copy.cast()
    }
}

/// SQLite's result code for one of our errors.
pub(crate) fn result_code(error: &Error) -> c_int {
    match error {
        Error::Sqlite { code, .. } => *code,
        Error::OutOfMemory => code::NOMEM,
        Error::Panicked => code::INTERNAL,
        _ => code::ERROR,
    }
}

/// The version of the SQLite library that loaded us, such as 3045001; 0 before one has.
pub fn sqlite_version() -> c_int {
    if ROUTINES.load(Ordering::Relaxed).is_null() {
        return 0;
    }
    // SAFETY: the table is set; the routine takes nothing.
    unsafe { sqlite3!(libversion_number()) }
}

/// Writes `message` into SQLite's error log (`SQLITE_CONFIG_LOG`), if the host has configured one.
///
/// To be called on a thread that is inside an SQLite call, never on one of our own: a host's log
/// callback may need a lock of its interpreter that only the host's threads know how to take.
pub fn log(message: &str) {
    const NOTICE: c_int = 27;
    if ROUTINES.load(Ordering::Relaxed).is_null() {
        return;
    }
    let Ok(message) = std::ffi::CString::new(message) else {
        return;
    };
    // SAFETY: the table is set; the format takes one NUL-terminated string, which outlives the call.
    unsafe { sqlite3!(log(NOTICE, c"%s".as_ptr(), message.as_ptr())) }
}
