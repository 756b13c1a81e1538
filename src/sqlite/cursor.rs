//! One scan of a table of ours: all its rows, and where it stands.

use std::ffi::{c_char, c_int};

use sqlite_loadable::ext::{sqlite3_context, sqlite3_value, sqlite3_vtab, sqlite3_vtab_cursor};

use super::code;
use super::guard::{Traces, guard_call};
use super::output::{Output, give, give_copy};
use super::table::{Rows, definition, fail};
use super::value::Arguments;

#[repr(C)]
struct RawCursor {
    base: sqlite3_vtab_cursor,
    rows: Rows,
    position: usize,
}

pub(super) unsafe extern "C" fn open(
    _: *mut sqlite3_vtab,
    made: *mut *mut sqlite3_vtab_cursor,
) -> c_int {
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

pub(super) unsafe extern "C" fn close(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: made by `open`, passed back once.
    drop(unsafe { Box::from_raw(cursor.cast::<RawCursor>()) });
    code::OK
}

pub(super) unsafe extern "C" fn filter(
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
        let definition = definition(table);
        (*cursor).rows.clear();
        (*cursor).position = 0;
        let arguments = Arguments::new(values, count);
        match guard_call(|| Traces::Deep, || (definition.rows)(&arguments)) {
            Ok(rows) => {
                (*cursor).rows = rows;
                code::OK
            }
            Err(error) => fail(&raw mut (*table).zErrMsg, definition.name, &error),
        }
    }
}

pub(super) unsafe extern "C" fn next(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: a cursor of ours.
    unsafe { (*cursor.cast::<RawCursor>()).position += 1 };
    code::OK
}

pub(super) unsafe extern "C" fn eof(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: a cursor of ours.
    let cursor = unsafe { &*cursor.cast::<RawCursor>() };
    c_int::from(cursor.position >= cursor.rows.len())
}

pub(super) unsafe extern "C" fn column(
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

pub(super) unsafe extern "C" fn rowid(cursor: *mut sqlite3_vtab_cursor, rowid: *mut i64) -> c_int {
    // SAFETY: a cursor of ours and a place for its rowid.
    unsafe {
        let position = (*cursor.cast::<RawCursor>()).position;
        *rowid = i64::try_from(position).unwrap_or(i64::MAX);
    }
    code::OK
}
