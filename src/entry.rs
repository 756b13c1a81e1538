//! The entry point: is this process and this SQLite fit for us, and what is registered on the connection.
#![allow(unsafe_code)] // what SQLite hands over, and what it is told to call

use std::ffi::{c_char, c_int};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use sqlite_loadable::ext::{sqlite3, sqlite3_api_routines};

use crate::config::Config;
use crate::error::Error;
use crate::functions;
use crate::sqlite::connection::Connection;
use crate::sqlite::guard::guard;
use crate::sqlite::registration::register;
use crate::sqlite::value::Value;
use crate::sqlite::{ROUTINES, code, result_code, sqlite_string};
use crate::system::process;

/// The least SQLite version: `sqlite3_txn_state` came with 3.34.
const LEAST_VERSION: c_int = 3_034_000;

/// What `sqlite3_load_extension` calls: <https://sqlite.org/c3ref/load_extension.html>.
///
/// Answers SQLITE_OK_LOAD_PERMANENTLY, since the cache is the process's; a refusal gives its reason in
/// `message`. On a connection that has the functions it registers nothing.
///
/// # Safety
/// To be called by SQLite, with a live connection, a place for a message, and its routines table.
#[unsafe(no_mangle)]
#[allow(unreachable_pub)] // reached by its exported name
pub unsafe extern "C" fn sqlite3_journalcrypt_init(
    db: *mut sqlite3,
    message: *mut *mut c_char,
    routines: *mut sqlite3_api_routines,
) -> c_int {
    // SAFETY: the caller is SQLite, see above.
    match guard(|| unsafe { load(db, routines) }) {
        Ok(()) => code::OK_LOAD_PERMANENTLY,
        Err(error) => {
            if !message.is_null() {
                // SAFETY: the table is the caller's; SQLite frees the text.
                unsafe { *message = sqlite_string(routines, &format!("journal_crypt: {error}")) };
            }
            result_code(&error)
        }
    }
}

fn refusal(reason: String) -> Error {
    Error::Sqlite {
        code: code::ERROR,
        message: reason,
    }
}

/// # Safety
/// As for the entry point.
unsafe fn load(db: *mut sqlite3, routines: *mut sqlite3_api_routines) -> Result<(), Error> {
    // SAFETY: sqlite3_libversion_number stands in every version of the table.
    let version = unsafe { (*routines).libversion_number.map_or(0, |f| f()) };
    if version < LEAST_VERSION {
        return Err(refusal(format!(
            "SQLite 3.34 or later is needed, this is {}.{}",
            version / 1_000_000,
            version / 1_000 % 1_000
        )));
    }
    if process::has_raised_privileges() {
        return Err(refusal(
            "refused in a process with raised privileges, whose environment is its caller's".into(),
        ));
    }
    let config = Config::load().map_err(|error| refusal(error.to_string()))?;
    let first = ROUTINES.compare_exchange(
        ptr::null_mut(),
        routines,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    match first {
        Ok(_) => process::keep_mapped(routines.cast()),
        Err(earlier) if earlier == routines => {}
        Err(_) => {
            return Err(refusal(
                "another SQLite library in this process has loaded this file already; \
                 load a copy of the file, or use one SQLite library"
                    .into(),
            ));
        }
    }
    process::watch_forks();
    // SAFETY: SQLite frees what is registered below, and with it the connection, before it frees `db`.
    let connection = Rc::new(unsafe { Connection::new(db) });
    if has_functions(&connection)? {
        return Ok(());
    }
    let (registered, tables) =
        functions::all(&connection, config).map_err(|error| refusal(error.to_string()))?;
    // SAFETY: the routines table is set.
    unsafe { register(&connection, registered, tables, "journal_version") }.map_err(|error| {
        match error {
            Error::Sqlite { code, message } => Error::Sqlite {
                code,
                message: format!("functions not registered: {message}"),
            },
            error => error,
        }
    })
}

/// Whether this very version is registered on the connection already. Registering anew would fail
/// with SQLITE_BUSY while a statement runs, as `SELECT load_extension(…)` does.
fn has_functions(connection: &Connection) -> Result<bool, Error> {
    // Asking for an unknown function outright would put an error into the host's log at every load.
    const LISTED: &str = "SELECT 1 FROM pragma_function_list WHERE name = 'journal_version'";
    let same_version = || -> Result<bool, Error> {
        if !connection.prepare(LISTED)?.step()? {
            return Ok(false);
        }
        let mut version = connection.prepare("SELECT journal_version()")?;
        Ok(version.step()?
            && matches!(version.column(0)?, Value::Text(v) if v == functions::VERSION.as_bytes()))
    };
    match same_version() {
        // An SQLite that was built without its list of functions.
        Err(error) if result_code(&error) & 0xff == code::ERROR => Ok(false),
        // Refused or interrupted, nothing is known: what is registered anew would begin without the connection's scope.
        answer => answer,
    }
}
