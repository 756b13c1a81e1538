//! Eponymous tables and table functions behind a safe description.
//!
//! A table of ours is small: [`Table::rows`] computes all its rows when a scan starts. Its arguments
//! are hidden columns that a query gives in parentheses, the optional ones or not; they read as NULL. Their names begin
//! with the table's, so that they make no column of a joined table ambiguous.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::rc::Rc;
use std::{ptr, slice};

use sqlite_loadable::ext::{sqlite3, sqlite3_index_info, sqlite3_module, sqlite3_vtab};

use super::connection::Connection;
use super::cursor::{close, column, eof, filter, next, open, rowid};
use super::guard::guard;
use super::output::Output;
use super::value::Arguments;
use super::{ROUTINES, code, result_code, sqlite_string, sqlite3};
use crate::error::Error;

/// The rows of one scan, each with a value for every column.
pub type Rows = Vec<Vec<Output>>;

/// Computes a table's rows from its arguments.
pub type Body = Box<dyn Fn(&Arguments<'_>) -> Result<Rows, Error>>;

/// A table: its name, its columns, its arguments, and how its rows come to be.
pub struct Table {
    /// The name, also the one of the module.
    pub name: &'static str,
    /// The visible columns, as in CREATE TABLE.
    pub columns: &'static [&'static str],
    /// The names of the arguments, in order.
    pub arguments: &'static [&'static str],
    /// The names of those that may follow, each only where the ones before it are given.
    pub optional: &'static [&'static str],
    /// The rows.
    pub rows: Body,
}

/// What SQLite keeps for the module until the connection closes.
struct Module {
    table: Table,
    /// Set for the table that owns the connection's kept statements.
    owns: Option<Rc<Connection>>,
}

#[repr(C)]
pub(super) struct RawTable {
    base: sqlite3_vtab,
    /// SQLite may let go of the module before its tables: 3.40 and earlier call xDisconnect after the module's
    /// destructor, wherever modules are dropped or registered anew.
    module: Rc<Module>,
}

/// What `table` was described as.
///
/// # Safety
/// `table` must be one that `connect` made, and not be disconnected while the answer is used.
pub(super) unsafe fn definition<'a>(table: *mut sqlite3_vtab) -> &'a Table {
    // SAFETY: the caller vouches for the table, which holds its module.
    // Of the table alone this field is borrowed: SQLite writes the others.
    let module: &'a Rc<Module> = unsafe { &(*table.cast::<RawTable>()).module };
    &module.table
}

/// Registers `table`; where `owns` is given, its disconnection ends that connection's statements.
///
/// # Errors
/// SQLite's result code.
///
/// # Safety
/// `db` must be live, and the routines table set.
pub(super) unsafe fn register(
    db: *mut sqlite3,
    table: Table,
    owns: Option<Rc<Connection>>,
) -> Result<(), c_int> {
    let name = CString::new(table.name).map_err(|_| code::INTERNAL)?;
    let module = Rc::into_raw(Rc::new(Module { table, owns })).cast_mut();
    // SAFETY: the module table is static; SQLite calls the destructor once, also when it refuses.
    let result = unsafe {
        sqlite3!(create_module_v2(
            db,
            name.as_ptr(),
            &raw const MODULE.0,
            module.cast(),
            Some(destroy)
        ))
    };
    if result == code::OK {
        Ok(())
    } else {
        Err(result)
    }
}

/// Takes the table back, so far as SQLite can.
///
/// # Safety
/// `db` must be live, and the routines table set.
pub(super) unsafe fn unregister(db: *mut sqlite3, name: &str) {
    if let Ok(name) = CString::new(name) {
        // SAFETY: no module in the place of one drops that one.
        unsafe {
            sqlite3!(create_module_v2(
                db,
                name.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                None
            ))
        };
    }
}

struct Shared(sqlite3_module);
// SAFETY: the table holds function pointers and null alone, and is never written.
unsafe impl Sync for Shared {}

/// Version 1, without xCreate: a table that exists by its name alone
/// (<https://sqlite.org/vtab.html#eponymous_only_virtual_tables>).
static MODULE: Shared = Shared(sqlite3_module {
    iVersion: 1,
    xCreate: None,
    xConnect: Some(connect),
    xBestIndex: Some(best_index),
    xDisconnect: Some(disconnect),
    xDestroy: None,
    xOpen: Some(open),
    xClose: Some(close),
    xFilter: Some(filter),
    xNext: Some(next),
    xEof: Some(eof),
    xColumn: Some(column),
    xRowid: Some(rowid),
    xUpdate: None,
    xBegin: None,
    xSync: None,
    xCommit: None,
    xRollback: None,
    xFindFunction: None,
    xRename: None,
    xSavepoint: None,
    xRelease: None,
    xRollbackTo: None,
    xShadowName: None,
});

unsafe extern "C" fn destroy(module: *mut c_void) {
    // SAFETY: made by `register`, passed back once.
    let module = unsafe { Rc::from_raw(module.cast::<Module>()) };
    let _ = guard(|| {
        drop(module);
        Ok(())
    });
}

unsafe extern "C" fn connect(
    db: *mut sqlite3,
    module: *mut c_void,
    _argc: c_int,
    _argv: *const *const c_char,
    made: *mut *mut sqlite3_vtab,
    message: *mut *mut c_char,
) -> c_int {
    /// SQLITE_VTAB_DIRECTONLY: not to be used from within triggers and views.
    const DIRECTONLY: c_int = 3;
    // SAFETY: SQLite passes the module pointer of `register` and places for table and message.
    unsafe {
        let module = module.cast::<Module>().cast_const();
        let outcome = guard(|| {
            let table = &(*module).table;
            let hidden = (table.arguments.iter().chain(table.optional))
                .map(|argument| format!("{}_{argument} HIDDEN", table.name));
            let columns: Vec<String> = table
                .columns
                .iter()
                .map(|&column| column.to_owned())
                .chain(hidden)
                .collect();
            let schema = CString::new(format!("CREATE TABLE t({})", columns.join(", ")))
                .map_err(|_| Error::Panicked)?;
            for result in [
                sqlite3!(declare_vtab(db, schema.as_ptr())),
                sqlite3!(vtab_config(db, DIRECTONLY)),
            ] {
                if result != code::OK {
                    return Err(Error::Sqlite {
                        code: result,
                        message: CStr::from_ptr(sqlite3!(errmsg(db)))
                            .to_string_lossy()
                            .into_owned(),
                    });
                }
            }
            Ok(())
        });
        match outcome {
            Ok(()) => {
                if let Some(connection) = &(*module).owns {
                    connection.connected();
                }
                *made = Box::into_raw(Box::new(RawTable {
                    base: std::mem::zeroed(),
                    module: held(module),
                }))
                .cast();
                code::OK
            }
            Err(error) => fail(message, (*module).table.name, &error),
        }
    }
}

/// A reference of a table's own to its module.
///
/// # Safety
/// `module` must be one that `register` made, and not be destroyed yet.
unsafe fn held(module: *const Module) -> Rc<Module> {
    // SAFETY: the caller vouches for it; the count is raised before it is shared.
    unsafe {
        Rc::increment_strong_count(module);
        Rc::from_raw(module)
    }
}

unsafe extern "C" fn disconnect(table: *mut sqlite3_vtab) -> c_int {
    // SAFETY: made by `connect`, passed back once.
    let table = unsafe { Box::from_raw(table.cast::<RawTable>()) };
    let _ = guard(|| {
        if let Some(connection) = &table.module.owns {
            connection.disconnected();
        }
        drop(table);
        Ok(())
    });
    code::OK
}

unsafe extern "C" fn best_index(table: *mut sqlite3_vtab, info: *mut sqlite3_index_info) -> c_int {
    const EQ: u8 = 2;
    // SAFETY: SQLite passes a table of ours and an info whose arrays have nConstraint elements.
    unsafe {
        let definition = definition(table);
        let info = &mut *info;
        let count = usize::try_from(info.nConstraint).unwrap_or(0);
        let (constraints, usages) = if count == 0 {
            (&[][..], &mut [][..])
        } else {
            (
                slice::from_raw_parts(info.aConstraint, count),
                slice::from_raw_parts_mut(info.aConstraintUsage, count),
            )
        };
        let mut given = 0;
        let required = definition.arguments.len();
        for argument in 0..required + definition.optional.len() {
            let column = definition.columns.len() + argument;
            let mut named = constraints
                .iter()
                .enumerate()
                .filter(|(_, c)| usize::try_from(c.iColumn) == Ok(column) && c.op == EQ)
                .peekable();
            if named.peek().is_none() {
                if argument >= required {
                    break;
                }
                let optional: String = (definition.optional.iter())
                    .map(|name| format!("[, {name}]"))
                    .collect();
                let error = Error::BadArgument(format!(
                    "its arguments are ({}{optional}), and each must be given",
                    definition.arguments.join(", ")
                ));
                return fail(&raw mut (*table).zErrMsg, definition.name, &error);
            }
            // The value comes from a table that this plan reads later: SQLite is to try another.
            let Some((index, _)) = named.find(|(_, c)| c.usable != 0) else {
                return code::CONSTRAINT;
            };
            given += 1;
            usages[index].argvIndex = given;
            usages[index].omit = 1;
        }
        info.estimatedCost = 1.0;
        info.estimatedRows = 1;
    }
    code::OK
}

/// Stores the error's text where SQLite looks for it and gives its code.
///
/// # Safety
/// `message` must be a place for an SQLite string.
pub(super) unsafe fn fail(message: *mut *mut c_char, name: &str, error: &Error) -> c_int {
    let routines = ROUTINES.load(std::sync::atomic::Ordering::Relaxed);
    // SAFETY: an earlier text was SQLite's to free, and is freed before it is replaced.
    unsafe {
        if !(*message).is_null() {
            sqlite3!(free((*message).cast()));
            *message = ptr::null_mut();
        }
        *message = sqlite_string(routines, &format!("{name}: {error}"));
    }
    result_code(error)
}
