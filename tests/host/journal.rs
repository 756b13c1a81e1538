//! A database with the key tables, the extension loaded, and keys in the directory store.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use fernet::Fernet;
use rusqlite::types::Value;
use rusqlite::{Connection, Error, Params};

use crate::{process, raw};

/// The tables that the extension reads, as an app has them.
pub(crate) const KEY_TABLES: &str = "
    CREATE TABLE s3_files(
      id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, key TEXT UNIQUE NOT NULL,
      file_size INTEGER, content_type TEXT, created_at REAL);
    CREATE TABLE user_journal_master_keys(
      id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL,
      s3_file_id INTEGER NOT NULL, created_at REAL NOT NULL);
    CREATE INDEX user_journal_master_keys_user_id_created_at_index
      ON user_journal_master_keys (user_id, created_at);
    CREATE INDEX user_journal_master_keys_s3_file_id_index
      ON user_journal_master_keys (s3_file_id);";

/// Where key objects lie, as `JOURNAL_KEY_PREFIX` has it by default.
pub(crate) const PREFIX: &str = "s3_files/journals/keys/master/";

/// SQLite's extended result code and the error's text.
pub(crate) type Failure = (i32, String);

/// A connection to a database of users, keys and entries.
pub(crate) struct Journal {
    connection: Connection,
}

impl Journal {
    /// A database in memory.
    pub(crate) fn in_memory() -> Self {
        Self::of(Connection::open_in_memory().unwrap())
    }

    /// A new database in a file of this test's directory.
    pub(crate) fn in_file(name: &str) -> Self {
        Self::of(Connection::open(path(name)).unwrap())
    }

    /// The key tables and the extension on `connection`.
    pub(crate) fn of(connection: Connection) -> Self {
        raw::load(&connection).unwrap();
        connection.execute_batch(KEY_TABLES).unwrap();
        Self { connection }
    }

    /// The connection itself.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Gives `user` a new key: its rows and its object.
    pub(crate) fn key(&self, user: i64, uid: &str, created_at: f64) -> Fernet {
        let object = format!("{PREFIX}{uid}");
        self.rows(user, uid, created_at, &object);
        new_object(&object)
    }

    /// The rows of a key, whatever is in the store.
    pub(crate) fn rows(&self, user: i64, uid: &str, created_at: f64, object: &str) {
        self.connection
            .execute(
                "INSERT INTO s3_files(uid, key) VALUES ('oseh_s3f_' || ?1, ?2)",
                (uid, object),
            )
            .unwrap();
        self.connection
            .execute(
                "INSERT INTO user_journal_master_keys(uid, user_id, s3_file_id, created_at)
                 VALUES (?, ?, ?, ?)",
                (uid, user, self.connection.last_insert_rowid(), created_at),
            )
            .unwrap();
    }

    /// The one value that `sql` gives.
    pub(crate) fn ask(&self, sql: &str, params: impl Params) -> Result<Value, Failure> {
        ask(&self.connection, sql, params)
    }

    /// The one text that `sql` gives.
    pub(crate) fn text(&self, sql: &str, params: impl Params) -> String {
        match self.ask(sql, params) {
            Ok(Value::Text(text)) => text,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The text of the error that `sql` ends with, which is SQLITE_ERROR.
    pub(crate) fn error(&self, sql: &str, params: impl Params) -> String {
        match self.ask(sql, params) {
            Err((rusqlite::ffi::SQLITE_ERROR, text)) => text,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Runs statements that give nothing.
    pub(crate) fn run(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }
}

impl Deref for Journal {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// The one value that `sql` gives on `connection`.
pub(crate) fn ask(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Value, Failure> {
    connection
        .query_row(sql, params, |row| row.get(0))
        .map_err(failure)
}

/// What SQLite said.
pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::SqliteFailure(error, text) => (error.extended_code, text.unwrap_or_default()),
        Error::SqlInputError { error, msg, .. } => (error.extended_code, msg),
        other => panic!("not SQLite's error: {other}"),
    }
}

/// A file in this test's directory.
pub(crate) fn path(name: &str) -> PathBuf {
    process::directory().join(name)
}

/// A new key in the directory store, under this name.
pub(crate) fn new_object(object: &str) -> Fernet {
    let key = Fernet::generate_key();
    write_object(object, &key);
    Fernet::new(&key).unwrap()
}

/// An object in the directory store.
pub(crate) fn write_object(object: &str, content: &str) {
    let file = object_file(object);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

/// Where an object of the directory store lies.
pub(crate) fn object_file(object: &str) -> PathBuf {
    Path::new(&path("keys")).join(object)
}

/// TEXT out of a call, for comparing.
pub(crate) fn text(text: impl Into<String>) -> Result<Value, Failure> {
    Ok(Value::Text(text.into()))
}

/// An error of ours out of a call, for comparing.
pub(crate) fn error(text: impl Into<String>) -> Result<Value, Failure> {
    Err((rusqlite::ffi::SQLITE_ERROR, text.into()))
}
