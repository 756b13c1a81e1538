//! Scalar functions behind a safe description.

use std::ffi::{CString, c_int, c_void};

use sqlite_loadable::ext::{sqlite3, sqlite3_context, sqlite3_value};

use super::guard::{Traces, guard, guard_call};
use super::output::{Output, give};
use super::value::Arguments;
use super::{code, sqlite_version, sqlite3};
use crate::error::Error;

/// A scalar function as SQLite is to know it.
pub struct Function {
    /// Its name, which begins the text of its errors.
    pub name: &'static str,
    /// How many arguments this form of it takes.
    pub arguments: i32,
    /// Whether its TEXT carries SQLite's JSON subtype.
    pub gives_json: bool,
    /// How far down the stack it has left secrets; asked after the call.
    pub traces: fn() -> Traces,
    /// What it does.
    pub body: Body,
}

/// What a scalar function does with its arguments.
pub type Body = Box<dyn Fn(&Arguments<'_>) -> Result<Output, Error>>;

/// Registers `function`.
///
/// # Errors
/// SQLite's result code.
///
/// # Safety
/// `db` must be live, and the routines table set.
pub(super) unsafe fn register(db: *mut sqlite3, function: Function) -> Result<(), c_int> {
    const UTF8: c_int = 1;
    const DIRECTONLY: c_int = 0x80000;
    /// Since SQLite 3.45 a function that gives a subtype says so; earlier ones do not know the flag.
    const RESULT_SUBTYPE: c_int = 0x100_0000;
    let subtype = match function.gives_json && sqlite_version() >= 3_045_000 {
        true => RESULT_SUBTYPE,
        false => 0,
    };
    let name = CString::new(function.name).map_err(|_| code::INTERNAL)?;
    let arguments = function.arguments;
    let function = Box::into_raw(Box::new(function));
    // SAFETY: the callbacks take the box as their user data, and SQLite calls the destructor once, also
    // when it refuses.
    let result = unsafe {
        sqlite3!(create_function_v2(
            db,
            name.as_ptr(),
            arguments,
            UTF8 | DIRECTONLY | subtype,
            function.cast(),
            Some(call),
            None,
            None,
            Some(destroy)
        ))
    };
    if result == code::OK {
        Ok(())
    } else {
        Err(result)
    }
}

/// Takes the function back, unless a statement runs.
///
/// # Safety
/// `db` must be live, and the routines table set.
pub(super) unsafe fn unregister(db: *mut sqlite3, name: &str, arguments: c_int) {
    const UTF8: c_int = 1;
    if let Ok(name) = CString::new(name) {
        // SAFETY: no callbacks in the place of some drop those.
        unsafe {
            sqlite3!(create_function_v2(
                db,
                name.as_ptr(),
                arguments,
                UTF8,
                std::ptr::null_mut(),
                None,
                None,
                None,
                None
            ))
        };
    }
}

unsafe extern "C" fn call(
    context: *mut sqlite3_context,
    count: c_int,
    values: *mut *mut sqlite3_value,
) {
    // SAFETY: SQLite passes the context, the values of this call, and the user data of `register`.
    unsafe {
        let function = &*sqlite3!(user_data(context)).cast::<Function>();
        let outcome = guard_call(function.traces, || {
            (function.body)(&Arguments::new(values, count))
        });
        give(context, function.name, outcome);
    }
}

unsafe extern "C" fn destroy(function: *mut c_void) {
    // SAFETY: made by `register`, passed back once.
    let function = unsafe { Box::from_raw(function.cast::<Function>()) };
    let _ = guard(|| {
        drop(function);
        Ok(())
    });
}
