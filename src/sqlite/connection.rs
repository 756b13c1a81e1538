//! The calling connection, borrowed, and the statements that it keeps.
//!
//! Statements are prepared once per connection and kept. A kept statement would make
//! `sqlite3_close` fail, so it belongs to an eponymous table of ours: SQLite disconnects such tables
//! before it counts open statements, and `Connection::disconnected` then finalizes what is kept.
//! If the close is refused for another reason, statement and table come back with the next call.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::ptr;

use sqlite_loadable::ext::sqlite3;

use super::kept::{Borrowed, KEPT, Kept, KeptStatement};
use super::statement::{Statement, last_error};
use super::{code, sqlite3};
use crate::error::Error;

/// Connects the table that owns the kept statements.
const CONNECT_OWNER: &str = "SELECT 1 FROM sqlite_journal_crypt";

/// The table that owns the kept statements. SQLite keeps names that begin so from the tables of users.
pub(super) const OWNER: &str = "sqlite_journal_crypt";

/// The connection that loaded us. SQLite calls us only while it holds the connection's mutex (or the
/// host promises one thread at a time), so plain cells are enough.
pub struct Connection {
    db: *mut sqlite3,
    /// How many times the table that owns the kept statements is connected: a scan that outlasts a refused
    /// close holds one, and the next call makes another.
    owners: Cell<usize>,
    kept: RefCell<[Option<KeptStatement>; KEPT]>,
    /// How many probes were prepared.
    probes: Cell<u64>,
    probe_refused: Cell<bool>,
    /// Whether its pages may be others' too, once that was asked; it stays so while the connection is open.
    pub(super) may_share_pages: Cell<Option<bool>>,
}

impl Connection {
    /// # Safety
    /// `db` must be a live connection that outlives the value.
    pub(crate) unsafe fn new(db: *mut sqlite3) -> Self {
        Self {
            db,
            owners: Cell::new(0),
            kept: RefCell::default(),
            probes: Cell::new(0),
            probe_refused: Cell::new(false),
            may_share_pages: Cell::new(None),
        }
    }

    /// The statement of `sql`, prepared once and kept. A call within the statement's own execution
    /// finds it taken and prepares another.
    ///
    /// # Errors
    /// SQLite's own, such as a missing table.
    #[inline(always)]
    pub fn statement(&self, which: Kept, sql: &str) -> Result<Borrowed<'_>, Error> {
        let kept = self.kept.borrow_mut()[which as usize].take();
        let kept = match kept {
            Some(kept) if !kept.is_finalized() => kept,
            _ => {
                self.connect_owner();
                if which == Kept::Probe {
                    self.probes.set(self.probes.get() + 1);
                }
                KeptStatement::prepare(self, sql)?
            }
        };
        Ok(Borrowed {
            connection: self,
            which,
            kept: Some(kept),
        })
    }

    /// Without its owner a kept statement would block sqlite3_close.
    #[inline(always)]
    pub(super) fn put_back(&self, which: Kept, kept: KeptStatement) {
        if self.owners.get() > 0 {
            let replaced = self.kept.borrow_mut()[which as usize].replace(kept);
            drop(replaced);
        }
    }

    pub(super) fn keeps_statements(&self) -> bool {
        self.connect_owner();
        self.owners.get() > 0
    }

    pub(super) fn probes(&self) -> u64 {
        self.probes.get()
    }

    pub(super) fn probe_refused(&self) -> bool {
        self.probe_refused.get()
    }

    pub(super) fn refuse_probe(&self) {
        self.probe_refused.set(true);
    }

    pub(super) fn db(&self) -> *mut sqlite3 {
        self.db
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

    /// Where that fails nothing is kept: the host's authorizer may refuse it, and the host drop our modules.
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
