//! SQLite's C interface where rusqlite's types rule out what a test is about.
#![allow(unsafe_code)]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::{CStr, CString, OsStr, c_int};
use std::path::{Path, PathBuf};
use std::ptr;

use rusqlite::Connection;
use rusqlite::ffi;

unsafe extern "C" {
    /// In the bundled SQLite; its bindings leave it out.
    fn sqlite3_close_v2(db: *mut ffi::sqlite3) -> c_int;
}

/// The library under test. Cargo builds it for the tests into the directory they lie in themselves;
/// the one a directory above is only as new as the last `cargo build`.
pub(crate) fn library() -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let library = binary.with_file_name(format!("{DLL_PREFIX}journal_crypt{DLL_SUFFIX}"));
    assert!(library.exists(), "not built: {}", library.display());
    library
}

/// Loads the extension, with no entry point named, as `.load ./journal_crypt` does.
pub(crate) fn load(connection: &Connection) -> rusqlite::Result<()> {
    load_file(connection, &library())
}

/// Loads the extension from a copy of it.
pub(crate) fn load_file(connection: &Connection, library: &Path) -> rusqlite::Result<()> {
    // SAFETY: the library is ours, and nothing else is loaded while loading is enabled.
    unsafe {
        connection.load_extension_enable()?;
        let loaded = connection.load_extension(library, None::<&str>);
        connection.load_extension_disable()?;
        loaded
    }
}

/// Lets SQL call `load_extension()` from here on.
pub(crate) fn allow_loading_from_sql(connection: &Connection) {
    // SAFETY: the test's own SQL loads the library under test alone.
    unsafe { connection.load_extension_enable().unwrap() }
}

/// A connection that tells what `sqlite3_close` answers.
pub(crate) struct Raw(*mut ffi::sqlite3);

/// A statement that lives until it is finalized by hand.
pub(crate) struct RawStatement(*mut ffi::sqlite3_stmt);

impl Raw {
    pub(crate) fn open(path: &str) -> Self {
        let path = CString::new(path).unwrap();
        let mut db = ptr::null_mut();
        // SAFETY: the path is NUL-terminated, and the handle is written before it is read.
        let result = unsafe { ffi::sqlite3_open(path.as_ptr(), &mut db) };
        assert_eq!(result, ffi::SQLITE_OK);
        Self(db)
    }

    pub(crate) fn handle(&self) -> *mut ffi::sqlite3 {
        self.0
    }

    /// The same connection for rusqlite, which leaves closing it to us.
    pub(crate) fn borrowed(&self) -> Connection {
        // SAFETY: the connection is open; tests drop the borrowed one before they close this one.
        unsafe { Connection::from_handle(self.0).unwrap() }
    }

    pub(crate) fn prepare(&self, sql: &str) -> RawStatement {
        let sql = CString::new(sql).unwrap();
        let mut statement = ptr::null_mut();
        // SAFETY: the connection is open and the text NUL-terminated.
        let result = unsafe {
            ffi::sqlite3_prepare_v2(self.0, sql.as_ptr(), -1, &mut statement, ptr::null_mut())
        };
        assert_eq!(result, ffi::SQLITE_OK, "{}", self.message());
        RawStatement(statement)
    }

    /// The SQL of the statements that are open on the connection.
    pub(crate) fn open_statements(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut statement = ptr::null_mut();
        loop {
            // SAFETY: the connection is open; each statement was just listed by it.
            unsafe {
                statement = ffi::sqlite3_next_stmt(self.0, statement);
                if statement.is_null() {
                    return found;
                }
                let sql = CStr::from_ptr(ffi::sqlite3_sql(statement));
                found.push(sql.to_string_lossy().into_owned());
            }
        }
    }

    /// Finalizes all statements that SQLite lists, as some hosts do before they close.
    pub(crate) fn finalize_all(&self) {
        loop {
            // SAFETY: the connection is open, and no statement of the test's is.
            unsafe {
                let statement = ffi::sqlite3_next_stmt(self.0, ptr::null_mut());
                if statement.is_null() {
                    return;
                }
                ffi::sqlite3_finalize(statement);
            }
        }
    }

    /// Drops every module that was registered on the connection.
    pub(crate) fn drop_modules(&self) {
        // SAFETY: the connection is open; no list means all.
        let result = unsafe { ffi::sqlite3_drop_modules(self.0, ptr::null_mut()) };
        assert_eq!(result, ffi::SQLITE_OK);
    }

    /// Whether `sqlite3_close` answers SQLITE_OK; if not, the connection stays.
    pub(crate) fn close(&mut self) -> c_int {
        // SAFETY: the connection is open; a null one may be closed too.
        let result = unsafe { ffi::sqlite3_close(self.0) };
        if result == ffi::SQLITE_OK {
            self.0 = ptr::null_mut();
        }
        result
    }

    /// `sqlite3_close_v2`: the connection lives on without a name until its last statement goes.
    pub(crate) fn close_later(mut self) -> c_int {
        let db = std::mem::replace(&mut self.0, ptr::null_mut());
        // SAFETY: the connection is open and not used by us from here on.
        unsafe { sqlite3_close_v2(db) }
    }

    fn message(&self) -> String {
        // SAFETY: the message is copied before the next call.
        unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.0)) }
            .to_string_lossy()
            .into_owned()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        assert_eq!(self.close(), ffi::SQLITE_OK, "{:?}", self.open_statements());
    }
}

impl RawStatement {
    pub(crate) fn step(&self) -> c_int {
        // SAFETY: the statement is open.
        unsafe { ffi::sqlite3_step(self.0) }
    }

    pub(crate) fn text(&self, column: c_int) -> String {
        // SAFETY: the statement is open and on a row; the text is copied at once.
        unsafe { CStr::from_ptr(ffi::sqlite3_column_text(self.0, column).cast()) }
            .to_string_lossy()
            .into_owned()
    }

    pub(crate) fn finalize(self) {
        // SAFETY: the statement is open and not used again.
        unsafe { ffi::sqlite3_finalize(self.0) };
    }
}

/// Puts the database of `bytes` in the place of `main`.
pub(crate) fn deserialize(connection: &Connection, bytes: &[u8]) {
    let size = bytes.len();
    // SAFETY: the copy is SQLite's own memory, which it frees; the connection is open.
    unsafe {
        let copy = ffi::sqlite3_malloc64(size as u64).cast::<u8>();
        assert!(!copy.is_null());
        ptr::copy_nonoverlapping(bytes.as_ptr(), copy, size);
        let result = ffi::sqlite3_deserialize(
            connection.handle(),
            c"main".as_ptr(),
            copy,
            size as i64,
            size as i64,
            ffi::SQLITE_DESERIALIZE_FREEONCLOSE as _,
        );
        assert_eq!(result, ffi::SQLITE_OK);
    }
}

/// The SQL of the statements that are open on the connection, with what is bound to them.
pub(crate) fn bound_statements(connection: &Connection) -> Vec<String> {
    let mut found = Vec::new();
    let mut statement = ptr::null_mut();
    loop {
        // SAFETY: the connection is open; each statement was just listed by it, and the text is ours to free.
        unsafe {
            statement = ffi::sqlite3_next_stmt(connection.handle(), statement);
            if statement.is_null() {
                return found;
            }
            let sql = ffi::sqlite3_expanded_sql(statement);
            found.push(CStr::from_ptr(sql).to_string_lossy().into_owned());
            ffi::sqlite3_free(sql.cast());
        }
    }
}

/// Sets a variable of this process's environment, or takes it away.
pub(crate) fn set_variable(name: &str, value: Option<&OsStr>) {
    // SAFETY: no other thread of the test's process reads or writes its environment.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// Bytes that SQLite has allocated in this process.
pub(crate) fn memory_used() -> i64 {
    // SAFETY: takes nothing.
    unsafe { ffi::sqlite3_memory_used() }
}

/// Limits what SQLite may allocate in this process; 0 lifts the limit.
pub(crate) fn limit_memory(bytes: i64) {
    // SAFETY: takes a number.
    unsafe { ffi::sqlite3_hard_heap_limit64(bytes) };
}
