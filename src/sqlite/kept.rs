//! The statements that a connection keeps, each on loan while a call uses it.
//!
//! A host may finalize every statement that `sqlite3_next_stmt` lists, which ours are among. Finalizing frees what is
//! bound, and so tells us: each kept statement has a parameter that nothing reads, bound to a pointer with a
//! destructor (<https://sqlite.org/c3ref/bind_blob.html>). Preparing anew keeps bindings, so only the end calls it.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::connection::Connection;
use super::statement::Statement;
use super::{code, guard::guard, sqlite3};
use crate::error::Error;

/// The statements that a connection keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The user's newest keys.
    NewestKeys,
    /// The user's current key, where the newest ones are of the same time.
    CurrentKey,
    /// One key of a user, by uid.
    KeyByUid,
    /// All keys of a user.
    KeysOfUser,
    /// Of which types the users of the key rows are.
    UserTypes,
    /// The text of a JSONB value.
    JsonText,
    /// Whether the key tables are tables.
    Tables,
    /// `SELECT 1`, which answers SQLITE_INTERRUPT once the connection is interrupted.
    Interrupt,
    /// What is prepared anew whenever a plan may not be what it was; see [`Connection::state_of_main`].
    Probe,
}

/// How many there are.
pub(super) const KEPT: usize = Kept::Probe as usize + 1;

/// Stands before the text of each: a parameter past those that ours bind, in a part that SQLite parses and leaves out.
const WATCHED: &str = "WITH watched AS (SELECT ?3) ";
const WATCHED_INDEX: i32 = 3;

/// A statement of ours, or what is left when the host has finalized it.
pub(super) struct KeptStatement {
    statement: ManuallyDrop<Statement>,
    finalized: Rc<Cell<bool>>,
}

impl KeptStatement {
    /// Prepares `sql`, a SELECT.
    pub(super) fn prepare(connection: &Connection, sql: &str) -> Result<Self, Error> {
        let statement = connection.prepare(&format!("{WATCHED}{sql}"))?;
        let finalized = Rc::new(Cell::new(false));
        let told = Rc::into_raw(Rc::clone(&finalized)).cast_mut().cast();
        // SAFETY: the statement is live, the type's name static; the destructor is called once, also on failure.
        let result = unsafe {
            sqlite3!(bind_pointer(
                statement.raw(),
                WATCHED_INDEX,
                told,
                c"journal_crypt".as_ptr(),
                Some(on_finalize)
            ))
        };
        match result {
            code::OK => Ok(Self {
                statement: ManuallyDrop::new(statement),
                finalized,
            }),
            result => Err(connection.last_error(result)),
        }
    }

    pub(super) fn is_finalized(&self) -> bool {
        self.finalized.get()
    }
}

impl Drop for KeptStatement {
    fn drop(&mut self) {
        if !self.is_finalized() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.statement) };
        }
    }
}

unsafe extern "C" fn on_finalize(told: *mut c_void) {
    // SAFETY: made by `prepare`, passed back once, by the thread that holds the connection.
    let finalized = unsafe { Rc::from_raw(told.cast::<Cell<bool>>()) };
    let _ = guard(|| {
        finalized.set(true);
        drop(finalized);
        Ok(())
    });
}

/// A kept statement on loan; reset, unbound and put back when dropped.
pub struct Borrowed<'a> {
    pub(super) connection: &'a Connection,
    pub(super) which: Kept,
    pub(super) kept: Option<KeptStatement>,
}

impl Deref for Borrowed<'_> {
    type Target = Statement;
    fn deref(&self) -> &Statement {
        match &self.kept {
            Some(kept) => &kept.statement,
            None => unreachable!("taken only by drop"),
        }
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Statement {
        match &mut self.kept {
            Some(kept) => &mut kept.statement,
            None => unreachable!("taken only by drop"),
        }
    }
}

impl Drop for Borrowed<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(mut kept) = self.kept.take() else {
            return;
        };
        if !kept.is_finalized() {
            kept.statement.reset();
            self.connection.put_back(self.which, kept);
        }
    }
}
