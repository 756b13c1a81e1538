//! A statement that finalizes itself; a step that tells row, done and error apart.

use std::ffi::{CStr, c_int};
use std::slice;

use sqlite_loadable::ext::{sqlite3, sqlite3_stmt};

use super::output::transient;
use super::value::Value;
use super::{code, sqlite3};
use crate::error::Error;

/// A prepared statement; finalized when dropped.
pub struct Statement {
    raw: *mut sqlite3_stmt,
    db: *mut sqlite3,
    /// Which parameters hold a text or a BLOB, a bit for each; ours have few.
    bytes_at: u32,
}

impl Statement {
    /// # Safety
    /// `raw` must be a statement of `db` that nobody else finalizes, and `db` must outlive it.
    pub(super) unsafe fn new(raw: *mut sqlite3_stmt, db: *mut sqlite3) -> Self {
        Self {
            raw,
            db,
            bytes_at: 0,
        }
    }

    pub(super) fn raw(&self) -> *mut sqlite3_stmt {
        self.raw
    }

    /// Binds an INTEGER to the parameter `index` (from 1).
    ///
    /// # Errors
    /// SQLite's own.
    pub fn bind_integer(&mut self, index: c_int, number: i64) -> Result<(), Error> {
        // SAFETY: the statement is live.
        let result = unsafe { sqlite3!(bind_int64(self.raw, index, number)) };
        self.checked(result)
    }

    /// Binds a REAL to the parameter `index` (from 1).
    ///
    /// # Errors
    /// SQLite's own.
    pub fn bind_real(&mut self, index: c_int, number: f64) -> Result<(), Error> {
        // SAFETY: the statement is live.
        let result = unsafe { sqlite3!(bind_double(self.raw, index, number)) };
        self.checked(result)
    }

    /// Binds a copy of `text` as TEXT to the parameter `index` (from 1).
    ///
    /// # Errors
    /// SQLite's own, such as a text over its length limit.
    pub fn bind_text(&mut self, index: c_int, text: &str) -> Result<(), Error> {
        const UTF8: u8 = 1;
        self.bytes_at |= 1 << index;
        // SAFETY: the statement is live and SQLite copies the text (SQLITE_TRANSIENT, -1).
        let result = unsafe {
            sqlite3!(bind_text64(
                self.raw,
                index,
                text.as_ptr().cast(),
                text.len() as u64,
                transient(),
                UTF8
            ))
        };
        self.checked(result)
    }

    /// Binds a copy of `bytes` as a BLOB to the parameter `index` (from 1).
    ///
    /// # Errors
    /// SQLite's own, such as a BLOB over its length limit.
    pub fn bind_blob(&mut self, index: c_int, bytes: &[u8]) -> Result<(), Error> {
        self.bytes_at |= 1 << index;
        // SAFETY: the statement is live and SQLite copies the bytes (SQLITE_TRANSIENT).
        let result = unsafe {
            sqlite3!(bind_blob64(
                self.raw,
                index,
                bytes.as_ptr().cast(),
                bytes.len() as u64,
                transient()
            ))
        };
        self.checked(result)
    }

    /// Steps: `true` for a row, `false` when done.
    ///
    /// # Errors
    /// SQLite's own; the statement is then to be reset.
    pub fn step(&mut self) -> Result<bool, Error> {
        // SAFETY: the statement is live.
        match unsafe { sqlite3!(step(self.raw)) } {
            code::ROW => Ok(true),
            code::DONE => Ok(false),
            // SAFETY: the connection outlives its statements.
            result => Err(unsafe { last_error(self.db, result) }),
        }
    }

    /// The value in `column` (from 0) of the row that the last step gave.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where SQLite could not convert the text to UTF-8, or expand the BLOB.
    pub fn column(&self, column: c_int) -> Result<Value<'_>, Error> {
        // SAFETY: the statement is live; the bytes stay until the next step or reset, which need the
        // statement mutably. Text before bytes, as for arguments.
        unsafe {
            Ok(match sqlite3!(column_type(self.raw, column)) {
                code::INTEGER => Value::Integer(sqlite3!(column_int64(self.raw, column))),
                code::FLOAT => Value::Real(sqlite3!(column_double(self.raw, column))),
                kind @ (code::TEXT | code::BLOB) => {
                    let start = if kind == code::TEXT {
                        sqlite3!(column_text(self.raw, column))
                    } else {
                        sqlite3!(column_blob(self.raw, column)).cast()
                    };
                    let length =
                        usize::try_from(sqlite3!(column_bytes(self.raw, column))).unwrap_or(0);
                    // Only an empty BLOB is null without a fault.
                    let bytes = match start.is_null() {
                        true if kind == code::TEXT || length > 0 => {
                            return Err(Error::OutOfMemory);
                        }
                        true => &[],
                        false => slice::from_raw_parts(start, length),
                    };
                    if kind == code::TEXT {
                        Value::Text(bytes)
                    } else {
                        Value::Blob(bytes)
                    }
                }
                _ => Value::Null,
            })
        }
    }

    /// Ends its execution, wherever it stands, and lets go of the bytes that were bound. Numbers stay until they are
    /// bound anew.
    pub fn reset(&mut self) {
        // SAFETY: the statement is live. Both results only repeat what was said before.
        unsafe {
            sqlite3!(reset(self.raw));
            while self.bytes_at != 0 {
                sqlite3!(bind_null(self.raw, self.bytes_at.trailing_zeros() as c_int));
                self.bytes_at &= self.bytes_at - 1;
            }
        }
    }

    fn checked(&self, result: c_int) -> Result<(), Error> {
        if result == code::OK {
            return Ok(());
        }
        // SAFETY: the connection outlives its statements.
        Err(unsafe { last_error(self.db, result) })
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: finalized once; a null statement (an empty text) is allowed.
        unsafe {
            sqlite3!(finalize(self.raw));
        }
    }
}

/// # Safety
/// `db` must be live.
pub(super) unsafe fn last_error(db: *mut sqlite3, result: c_int) -> Error {
    /// A view's own text can be a part of SQLite's message, and of any length.
    const LONGEST: usize = 500;
    // SAFETY: sqlite3_errmsg answers a NUL-terminated string that stays until the next call.
    unsafe {
        let extended = sqlite3!(extended_errcode(db));
        let message = sqlite3!(errmsg(db));
        Error::Sqlite {
            // The connection remembers the code of its last failed call; a misuse leaves it alone.
            code: if extended & 0xff == result & 0xff {
                extended
            } else {
                result
            },
            message: if message.is_null() {
                "out of memory".to_owned()
            } else {
                let message = CStr::from_ptr(message).to_bytes();
                String::from_utf8_lossy(&message[..message.len().min(LONGEST)]).into_owned()
            },
        }
    }
}
