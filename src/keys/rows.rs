//! The rows that key management reads and writes.

use std::ffi::CString;

use super::bind_user;
use crate::error::Error;
use crate::id::{KeyUid, ObjectName, UserId};
use crate::sqlite::code;
use crate::sqlite::connection::Connection;
use crate::sqlite::statement::Statement;
use crate::sqlite::value::Value;

/// What the two rows of a new key hold.
pub struct NewKey<'a> {
    /// `user_journal_master_keys.uid`.
    pub uid: KeyUid,
    /// `user_journal_master_keys.user_id`.
    pub user: UserId<'a>,
    /// `s3_files.uid`.
    pub file_uid: String,
    /// `s3_files.key`.
    pub object: ObjectName,
    /// `s3_files.file_size`.
    pub size: i64,
    /// Now, in unix seconds.
    pub created_at: f64,
}

/// `s3_files.content_type` of a key.
pub const CONTENT_TYPE: &str = "text/plain";

/// The key tables of one schema, for key management. Each statement is prepared for one use.
pub struct Rows {
    schema: CString,
    user: String,
    newest: String,
    elsewhere: String,
    naming: String,
    insert_file: String,
    insert_key: String,
}

impl Rows {
    /// The tables in `schema`.
    pub fn new(schema: &str) -> Self {
        let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
        let keys = format!("{quoted}.user_journal_master_keys");
        Self {
            // The configuration takes no name with a NUL.
            schema: CString::new(schema).unwrap_or_default(),
            // Each user is compared twice, as in `Keys::new`.
            user: format!("SELECT 1 FROM {quoted}.users WHERE id = ?1 AND +id = ?1 COLLATE BINARY"),
            newest: format!(
                "SELECT uid, created_at FROM {keys} \
                 WHERE user_id = ?1 AND +user_id = ?1 COLLATE BINARY ORDER BY created_at DESC, uid ASC LIMIT 1"
            ),
            elsewhere: format!(
                "SELECT 1 FROM {keys} AS k JOIN {quoted}.s3_files AS f ON f.id = k.s3_file_id \
                 WHERE f.key = ?1 AND k.uid <> ?2 LIMIT 1"
            ),
            naming: format!(
                "SELECT EXISTS (SELECT 1 FROM {keys} WHERE uid = ?2) \
                 OR EXISTS (SELECT 1 FROM {quoted}.s3_files WHERE key = ?1)"
            ),
            insert_file: format!(
                "INSERT INTO {quoted}.s3_files (uid, key, file_size, content_type, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5)"
            ),
            // A clock that once ran ahead must not keep an old key in front.
            insert_key: format!(
                "INSERT INTO {keys} (uid, user_id, s3_file_id, created_at) \
                 SELECT ?1, ?2, f.id, max(?4, coalesce((SELECT max(created_at) FROM {keys} \
                 WHERE user_id = ?2 AND +user_id = ?2 COLLATE BINARY) + 0.001, ?4)) FROM {quoted}.s3_files AS f WHERE f.uid = ?3"
            ),
        }
    }

    /// Whether rows cannot be written, since the schema is open for reading alone.
    pub fn are_read_only(&self, connection: &Connection) -> bool {
        connection.is_read_only(&self.schema)
    }

    /// Whether there is a user of this id.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn has_user(&self, connection: &Connection, user: UserId<'_>) -> Result<bool, Error> {
        let mut statement = connection.prepare(&self.user)?;
        bind_user(&mut statement, 1, user)?;
        statement.step()
    }

    /// The user's current key and when it was made; no time where the row holds none.
    ///
    /// # Errors
    /// SQLite's own; [`Error::BadArgument`] where the row's uid is not TEXT.
    pub fn newest(
        &self,
        connection: &Connection,
        user: UserId<'_>,
    ) -> Result<Option<(KeyUid, Option<f64>)>, Error> {
        let mut statement = connection.prepare(&self.newest)?;
        bind_user(&mut statement, 1, user)?;
        if !statement.step()? {
            return Ok(None);
        }
        let created_at = match statement.column(1)? {
            Value::Integer(seconds) => Some(seconds as f64),
            Value::Real(seconds) => Some(seconds),
            _ => None,
        };
        Ok(Some((KeyUid::parse(statement.column(0)?)?, created_at)))
    }

    /// Whether there is a row of the key `uid`, or one that names `object`.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn are_naming(
        &self,
        connection: &Connection,
        object: &ObjectName,
        uid: &KeyUid,
    ) -> Result<bool, Error> {
        let mut statement = connection.prepare(&self.naming)?;
        statement.bind_text(1, object.as_str())?;
        statement.bind_text(2, uid.as_str())?;
        statement.step()?;
        Ok(matches!(statement.column(0)?, Value::Integer(1)))
    }

    /// Whether the row of another key names `object`.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn is_named_by_another(
        &self,
        connection: &Connection,
        object: &ObjectName,
        uid: &KeyUid,
    ) -> Result<bool, Error> {
        let mut statement = connection.prepare(&self.elsewhere)?;
        statement.bind_text(1, object.as_str())?;
        statement.bind_text(2, uid.as_str())?;
        statement.step()
    }

    /// Writes the `s3_files` row, which takes the write lock: what is read after it is how things are.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn insert_file(&self, connection: &Connection, key: &NewKey<'_>) -> Result<(), Error> {
        let mut statement = connection.prepare(&self.insert_file)?;
        statement.bind_text(1, &key.file_uid)?;
        statement.bind_text(2, key.object.as_str())?;
        statement.bind_integer(3, key.size)?;
        statement.bind_text(4, CONTENT_TYPE)?;
        statement.bind_real(5, key.created_at)?;
        statement.step().map(drop)
    }

    /// Writes the `user_journal_master_keys` row, as the newest of the user's.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn insert_key(&self, connection: &Connection, key: &NewKey<'_>) -> Result<(), Error> {
        let mut statement = connection.prepare(&self.insert_key)?;
        statement.bind_text(1, key.uid.as_str())?;
        bind_user(&mut statement, 2, key.user)?;
        statement.bind_text(3, &key.file_uid)?;
        statement.bind_real(4, key.created_at)?;
        statement.step().map(drop)
    }
}

/// A savepoint, undone when dropped unless it was released. Without an open transaction it is one.
///
/// All that undoes it is prepared before it is opened: once SQLite has found no memory, or was interrupted, it prepares
/// and runs nothing more until the statement ends that called us. A savepoint that stayed open then would swallow all that
/// the connection writes afterwards. What still works is what SQLite does itself when a statement ends in one of these
/// two: it rolls the whole transaction back (<https://sqlite.org/lang_transaction.html>).
pub struct Savepoint<'a> {
    connection: &'a Connection,
    /// There was no transaction before: this is one, and can be ended whole.
    outermost: bool,
    release: Statement,
    undo: Statement,
    rollback: Statement,
    /// A statement that writes: interrupted at its first step, it ends the transaction.
    writing: Statement,
    /// A statement that is reading, and not the key tables, whose lock is taken by the first INSERT: ended while there is
    /// no memory, it ends the transaction.
    reading: Statement,
    open: bool,
}

impl<'a> Savepoint<'a> {
    /// Opens one.
    ///
    /// # Errors
    /// [`Error::BadArgument`] inside a statement that writes, where SQLite allows none.
    pub fn open(connection: &'a Connection) -> Result<Self, Error> {
        const BUSY: i32 = 5;
        let mut open = connection.prepare("SAVEPOINT journal_crypt")?;
        let mut savepoint = Self {
            connection,
            outermost: connection.is_autocommit(),
            release: connection.prepare("RELEASE journal_crypt")?,
            undo: connection.prepare("ROLLBACK TO journal_crypt")?,
            rollback: connection.prepare("ROLLBACK")?,
            writing: connection.prepare("BEGIN IMMEDIATE")?,
            reading: connection.prepare("SELECT 1 UNION ALL SELECT 1 FROM temp.sqlite_master")?,
            open: false,
        };
        savepoint.reading.step()?;
        let opened = open.step();
        // A progress handler of the host's may interrupt a statement that has done its work.
        savepoint.open = opened.is_ok() || savepoint.outermost != connection.is_autocommit();
        match opened {
            Ok(_) => Ok(savepoint),
            Err(Error::Sqlite { code: BUSY, .. }) => Err(Error::BadArgument(
                "it writes rows itself: call it in a SELECT of its own, not in a statement that writes"
                    .to_owned(),
            )),
            Err(error) => Err(error),
        }
    }

    /// Keeps what was written; without an outer transaction that is the commit.
    ///
    /// # Errors
    /// SQLite's own, such as SQLITE_BUSY while somebody reads; all is undone then.
    pub fn release(mut self) -> Result<(), Error> {
        self.release.step()?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Savepoint<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // Where there is no savepoint any more, SQLite has rolled the whole transaction back already.
        self.release.reset();
        let undone = if self.outermost {
            // A commit may have been refused since somebody reads. A second one would be, too; this needs no lock.
            self.rollback.step()
        } else {
            let _ = self.undo.step();
            self.release.step()
        };
        if !self.connection.is_autocommit()
            && let Err(Error::Sqlite {
                code: code::INTERRUPT,
                ..
            }) = undone
        {
            let _ = self.writing.step();
        }
    }
}
