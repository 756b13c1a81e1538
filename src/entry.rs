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
///
/// # Errors
/// Where the host's authorizer hides the answer, or the question was interrupted: what is registered anew would begin
/// without the connection's scope.
fn has_functions(connection: &Connection) -> Result<bool, Error> {
    if is_listed(connection)? == Some(false) {
        return Ok(false);
    }
    let mut statement = match connection.prepare("SELECT journal_version()") {
        Err(Error::Sqlite { message, .. }) if message.starts_with("no such function") => {
            return Ok(false);
        }
        prepared => prepared?,
    };
    let version = match statement.step()? {
        true => statement.column(0)?,
        false => Value::Null,
    };
    match version {
        Value::Text(version) => Ok(version == functions::VERSION.as_bytes()),
        _ => Err(refusal(
            "whether it is loaded already is hidden by this connection's authorizer".into(),
        )),
    }
}

/// Whether `journal_version` is in SQLite's list of functions; nothing where that list is not to be seen, or not built in.
/// Asking for an unknown function outright would put an error into the host's log at every load.
fn is_listed(connection: &Connection) -> Result<Option<bool>, Error> {
    // `count` is in every list. Nothing here is a function, which an authorizer may make NULL.
    const LISTED: &str = "SELECT name = 'journal_version' FROM pragma_function_list \
        WHERE name IN ('count', 'journal_version')";
    let listed = || -> Result<Option<bool>, Error> {
        let mut statement = connection.prepare(LISTED)?;
        let mut found = None;
        while statement.step()? {
            let is_ours = matches!(statement.column(0)?, Value::Integer(1));
            found = Some(is_ours || found == Some(true));
        }
        Ok(found)
    };
    match listed() {
        Err(error) if result_code(&error) & 0xff == code::ERROR => Ok(None),
        answer => answer,
    }
}
