//! The calling connection, borrowed, and the statements that it keeps.
//!
//! Statements are prepared once per connection and kept. A kept statement would make
//! `sqlite3_close` fail, so it belongs to an eponymous table of ours: SQLite disconnects such tables
//! before it counts open statements, and `Connection::disconnected` then finalizes what is kept.
//! If the close is refused for another reason, statement and table come back with the next call.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::atomic::Ordering;

use sqlite_loadable::ext::sqlite3;

use super::statement::{Statement, last_error};
use super::{code, sqlite3};
use crate::error::Error;

/// Connects the table that owns the kept statements.
const CONNECT_OWNER: &str = "SELECT 1 FROM journal_seal(NULL, NULL)";

/// The statements that a connection keeps.
#[derive(Clone, Copy)]
pub enum Kept {
    /// The user's current key.
    CurrentKey,
    /// One key of a user, by uid.
    KeyByUid,
    /// All keys of a user.
    KeysOfUser,
    /// The text of a JSONB value.
    JsonText,
    /// Whether the key tables are tables.
    Tables,
    /// `SELECT 1`, which answers SQLITE_INTERRUPT once the connection is interrupted.
    Interrupt,
}

/// See [`Connection::state_of_main`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u32);

const KEPT: usize = Kept::Interrupt as usize + 1;

/// The connection that loaded us. SQLite calls us only while it holds the connection's mutex (or the
/// host promises one thread at a time), so plain cells are enough.
pub struct Connection {
    db: *mut sqlite3,
    /// How many times the table that owns the kept statements is connected: a scan that outlasts a refused
    /// close holds one, and the next call makes another.
    owners: Cell<usize>,
    kept: RefCell<[Option<Statement>; KEPT]>,
}

impl Connection {
    /// # Safety
    /// `db` must be a live connection that outlives the value.
    pub(crate) unsafe fn new(db: *mut sqlite3) -> Self {
        Self {
            db,
            owners: Cell::new(0),
            kept: RefCell::default(),
        }
    }

    /// The statement of `sql`, prepared once and kept. A call within the statement's own execution
    /// finds it taken and prepares another.
    ///
    /// # Errors
    /// SQLite's own, such as a missing table.
    pub fn statement(&self, which: Kept, sql: &str) -> Result<Borrowed<'_>, Error> {
        let kept = self.kept.borrow_mut()[which as usize].take();
        let statement = match kept {
            Some(statement) => statement,
            None => {
                self.connect_owner();
                self.prepare(sql)?
            }
        };
        Ok(Borrowed {
            connection: self,
            which,
            statement: Some(statement),
        })
    }

    /// Prepares one statement, for a use of its own.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        const PERSISTENT: u32 = 1;
        let length = c_int::try_from(sql.len()).map_err(|_| Error::OutOfMemory)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the text is passed with its length, the connection is live, and the statement
        // pointer is written before it is read.
        let result = unsafe {
            sqlite3!(prepare_v3(
                self.db,
                sql.as_ptr().cast(),
                length,
                PERSISTENT,
                &mut raw,
                ptr::null_mut()
            ))
        };
        if result != code::OK {
            return Err(self.last_error(result));
        }
        // SAFETY: just prepared on this connection, and nobody else has it.
        Ok(unsafe { Statement::new(raw, self.db) })
    }

    /// The version of the SQLite library that runs this connection.
    pub fn sqlite_version(&self) -> String {
        // SAFETY: a static NUL-terminated string.
        unsafe { CStr::from_ptr(sqlite3!(libversion())) }
            .to_string_lossy()
            .into_owned()
    }

    /// Whether the schema is open for reading alone; unknown schemas count as writable.
    pub fn is_read_only(&self, schema: &CStr) -> bool {
        // SAFETY: the connection is live and the name NUL-terminated.
        unsafe { sqlite3!(db_readonly(self.db, schema.as_ptr())) == 1 }
    }

    /// Whether no transaction is open.
    pub fn is_autocommit(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { sqlite3!(get_autocommit(self.db)) != 0 }
    }

    /// Which state of `main` this connection reads now: as long as the answer is the same, the statement
    /// `kept` gives the same rows out of tables. `None` where that cannot be told.
    ///
    /// SQLite counts a version up whenever it finds or commits a change. In a write transaction the
    /// version says nothing, since a ROLLBACK changes rows and leaves it alone. `sqlite3_deserialize`
    /// replaces `main` by a database whose versions begin anew, but that one has no file name, and
    /// nothing brings the file back: a `main` with a name is the one that was opened. A new authorizer,
    /// which may forbid the look-up, makes the statement expire.
    pub fn state_of_main(&self, kept: Kept) -> Option<State> {
        const READ: c_int = 1;
        const DATA_VERSION: c_int = 35;
        let main = c"main".as_ptr();
        let statement = self.kept.borrow()[kept as usize].as_ref()?.raw();
        let mut version = 0_u32;
        // SAFETY: the connection and its kept statement are live, and the answer is one u32; the file
        // name, if there is one, is NUL-terminated. An SQLite without deprecated routines has no
        // sqlite3_expired.
        unsafe {
            if sqlite3!(txn_state(self.db, main)) != READ {
                return None;
            }
            let name = sqlite3!(db_filename(self.db, main));
            if name.is_null() || *name == 0 {
                return None;
            }
            let expired = (*super::ROUTINES.load(Ordering::Relaxed)).expired?;
            if expired(statement) != 0 {
                return None;
            }
            let answer = (&raw mut version).cast();
            // No name means `main`, which need not be looked for then.
            if sqlite3!(file_control(self.db, ptr::null(), DATA_VERSION, answer)) != code::OK {
                return None;
            }
        }
        Some(State(version))
    }

    /// Asks whether `sqlite3_interrupt` was called.
    ///
    /// # Errors
    /// SQLITE_INTERRUPT if it was.
    pub fn check_interrupt(&self) -> Result<(), Error> {
        let mut statement = self.statement(Kept::Interrupt, "SELECT 1")?;
        statement.step().map(drop)
    }

    pub(super) fn connected(&self) {
        self.owners.set(self.owners.get() + 1);
    }

    /// The table that owns the kept statements is going: finalize them.
    pub(super) fn disconnected(&self) {
        self.owners.set(self.owners.get().saturating_sub(1));
        if self.owners.get() == 0 {
            let kept = std::mem::take(&mut *self.kept.borrow_mut());
            drop(kept);
        }
    }

    /// Where that fails nothing is kept: the schema may have a table of the owner's name, and the host's
    /// authorizer may refuse it.
    fn connect_owner(&self) {
        if self.owners.get() == 0 {
            drop(self.prepare(CONNECT_OWNER));
        }
    }

    /// The error that a routine of this connection just answered with `result`.
    pub(crate) fn last_error(&self, result: c_int) -> Error {
        // SAFETY: the connection is live; the message is copied before anything else is called.
        unsafe { last_error(self.db, result) }
    }
}

/// A kept statement on loan; reset, unbound and put back when dropped.
pub struct Borrowed<'a> {
    connection: &'a Connection,
    which: Kept,
    statement: Option<Statement>,
}

impl std::ops::Deref for Borrowed<'_> {
    type Target = Statement;
    fn deref(&self) -> &Statement {
        match &self.statement {
            Some(statement) => statement,
            None => unreachable!("taken only by drop"),
        }
    }
}

impl std::ops::DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Statement {
        match &mut self.statement {
            Some(statement) => statement,
            None => unreachable!("taken only by drop"),
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let Some(mut statement) = self.statement.take() else {
            return;
        };
        statement.reset();
        // Without its owner a kept statement would block sqlite3_close.
        if self.connection.owners.get() > 0 {
            let replaced =
                self.connection.kept.borrow_mut()[self.which as usize].replace(statement);
            drop(replaced);
        }
    }
}
