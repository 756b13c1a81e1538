//! Eponymous tables and table functions behind a safe description.
//!
//! A table of ours is small: [`Table::rows`] computes all its rows when a scan starts. Its arguments
//! are hidden columns that every query must give, in parentheses; they read as NULL. Their names begin
//! with the table's, so that they make no column of a joined table ambiguous.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::rc::Rc;
use std::{ptr, slice};

use sqlite_loadable::ext::{
    sqlite3, sqlite3_context, sqlite3_index_info, sqlite3_module, sqlite3_value, sqlite3_vtab,
    sqlite3_vtab_cursor,
};

use super::connection::Connection;
use super::guard::{guard, guard_call};
use super::value::{Arguments, Output, give, give_copy};
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
struct RawTable {
    base: sqlite3_vtab,
    module: *const Module,
}

#[repr(C)]
struct RawCursor {
    base: sqlite3_vtab_cursor,
    rows: Rows,
    position: usize,
}

/// Registers `table`; where `owns` is given, its disconnection ends that connection's statements.
///
/// # Errors
/// SQLite's result code.
///
/// # Safety
/// `db` must be live, and the routines table set.
pub(crate) unsafe fn register(
    db: *mut sqlite3,
    table: Table,
    owns: Option<Rc<Connection>>,
) -> Result<(), c_int> {
    let name = CString::new(table.name).map_err(|_| code::INTERNAL)?;
    let module = Box::into_raw(Box::new(Module { table, owns }));
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
    let module = unsafe { Box::from_raw(module.cast::<Module>()) };
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
            let hidden = table
                .arguments
                .iter()
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
                    module,
                }))
                .cast();
                code::OK
            }
            Err(error) => fail(message, (*module).table.name, &error),
        }
    }
}

unsafe extern "C" fn disconnect(table: *mut sqlite3_vtab) -> c_int {
    // SAFETY: made by `connect`, passed back once; the module outlives its tables.
    unsafe {
        let table = Box::from_raw(table.cast::<RawTable>());
        if let Some(connection) = &(*table.module).owns {
            let _ = guard(|| {
                connection.disconnected();
                Ok(())
            });
        }
    }
    code::OK
}

unsafe extern "C" fn best_index(table: *mut sqlite3_vtab, info: *mut sqlite3_index_info) -> c_int {
    const EQ: u8 = 2;
    // SAFETY: SQLite passes a table of ours and an info whose arrays have nConstraint elements.
    unsafe {
        let definition = &(*(*table.cast::<RawTable>()).module).table;
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
        for argument in 0..definition.arguments.len() {
            let column = definition.columns.len() + argument;
            let mut named = constraints
                .iter()
                .enumerate()
                .filter(|(_, c)| usize::try_from(c.iColumn) == Ok(column) && c.op == EQ)
                .peekable();
            if named.peek().is_none() {
                let error = Error::BadArgument(format!(
                    "it takes ({}), each given",
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

unsafe extern "C" fn open(_: *mut sqlite3_vtab, made: *mut *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: SQLite passes a place for the cursor.
    unsafe {
        *made = Box::into_raw(Box::new(RawCursor {
            base: std::mem::zeroed(),
            rows: Rows::new(),
            position: 0,
        }))
        .cast();
    }
    code::OK
}

unsafe extern "C" fn close(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: made by `open`, passed back once.
    drop(unsafe { Box::from_raw(cursor.cast::<RawCursor>()) });
    code::OK
}

unsafe extern "C" fn filter(
    cursor: *mut sqlite3_vtab_cursor,
    _plan: c_int,
    _name: *const c_char,
    count: c_int,
    values: *mut *mut sqlite3_value,
) -> c_int {
    // SAFETY: SQLite passes a cursor of ours, whose base names a table of ours, and the values that
    // `best_index` asked for, valid during this call.
    unsafe {
        let cursor = cursor.cast::<RawCursor>();
        let table = (*cursor).base.pVtab;
        let definition = &(*(*table.cast::<RawTable>()).module).table;
        (*cursor).rows.clear();
        (*cursor).position = 0;
        let arguments = Arguments::new(values, count);
        match guard_call(|| (definition.rows)(&arguments)) {
            Ok(rows) => {
                (*cursor).rows = rows;
                code::OK
            }
            Err(error) => fail(&raw mut (*table).zErrMsg, definition.name, &error),
        }
    }
}

unsafe extern "C" fn next(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: a cursor of ours.
    unsafe { (*cursor.cast::<RawCursor>()).position += 1 };
    code::OK
}

unsafe extern "C" fn eof(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: a cursor of ours.
    let cursor = unsafe { &*cursor.cast::<RawCursor>() };
    c_int::from(cursor.position >= cursor.rows.len())
}

unsafe extern "C" fn column(
    cursor: *mut sqlite3_vtab_cursor,
    context: *mut sqlite3_context,
    column: c_int,
) -> c_int {
    // SAFETY: a cursor of ours and the context of this call.
    unsafe {
        let cursor = &*cursor.cast::<RawCursor>();
        let row = cursor.rows.get(cursor.position);
        match usize::try_from(column).ok().and_then(|c| row?.get(c)) {
            Some(output) => give_copy(context, output),
            None => give(context, "", Ok(Output::Null)),
        }
    }
    code::OK
}

unsafe extern "C" fn rowid(cursor: *mut sqlite3_vtab_cursor, rowid: *mut i64) -> c_int {
    // SAFETY: a cursor of ours and a place for its rowid.
    unsafe {
        let position = (*cursor.cast::<RawCursor>()).position;
        *rowid = i64::try_from(position).unwrap_or(i64::MAX);
    }
    code::OK
}

/// Stores the error's text where SQLite looks for it and gives its code.
///
/// # Safety
/// `message` must be a place for an SQLite string.
unsafe fn fail(message: *mut *mut c_char, name: &str, error: &Error) -> c_int {
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
