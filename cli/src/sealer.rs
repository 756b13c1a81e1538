//! The cryptography, in this process: the extension on a private database in memory, over key rows that are given.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params};

use crate::extension;
use crate::failure::{Failure, Result};
use crate::keys::Key;

const TABLES: &str = "
    CREATE TABLE {schema}.s3_files (id INTEGER PRIMARY KEY, key TEXT);
    CREATE TABLE {schema}.user_journal_master_keys (
      id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL, s3_file_id INTEGER, created_at REAL
    );
    CREATE INDEX {schema}.by_user ON user_journal_master_keys (user_id, created_at);
    CREATE INDEX {schema}.by_file ON user_journal_master_keys (s3_file_id);
    CREATE INDEX {schema}.by_key ON s3_files (key);
";

/// What seals and opens; of one thread.
pub(crate) struct Sealer {
    connection: Connection,
    file: String,
    key: String,
    /// Begins a transaction that reads: while one stands, the extension looks no key up twice.
    read: String,
    /// Takes all keys away again.
    clear: String,
}

impl Sealer {
    pub(crate) fn open(extension: &Path) -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON")?;
        connection.set_prepared_statement_cache_capacity(64);
        extension::load(&connection, extension)?;
        let schema: String = connection.query_row(
            "SELECT json_extract(journal_config(), '$.schema')",
            [],
            |row| row.get(0),
        )?;
        let required = "SELECT coalesce(json_extract(journal_config(), '$.require_scope'), 0)";
        if connection.query_row(required, [], |row| row.get(0))? {
            return Err(Failure::Usage(
                "JOURNAL_REQUIRE_SCOPE is for connections that serve one user; this serves all: run it without"
                    .to_owned(),
            ));
        }
        let schema = crate::layout::quoted(&schema);
        if !schema.eq_ignore_ascii_case("\"main\"") {
            connection.execute_batch(&format!("ATTACH ':memory:' AS {schema}"))?;
        }
        connection.execute_batch(&TABLES.replace("{schema}", &schema))?;
        Ok(Self {
            connection,
            file: format!("INSERT INTO {schema}.s3_files (id, key) VALUES (?, ?)"),
            key: format!(
                "INSERT INTO {schema}.user_journal_master_keys (id, uid, user_id, s3_file_id, created_at)
                 VALUES (?, ?, ?, ?, ?)"
            ),
            read: format!("BEGIN; SELECT count(*) FROM {schema}.s3_files"),
            clear: format!(
                "DELETE FROM {schema}.user_journal_master_keys; DELETE FROM {schema}.s3_files"
            ),
        })
    }

    /// Calls with these keys, and no others: they are there for the length of the calls. Each is of the user whose
    /// number stands beside it, which is ours: ids of the database may be of any type.
    pub(crate) fn given<'k, T>(
        &self,
        keys: impl IntoIterator<Item = (i64, &'k Key)>,
        calls: impl FnOnce(&Calls<'_>) -> Result<T>,
    ) -> Result<T> {
        let run = || {
            self.connection.execute_batch("BEGIN")?;
            let mut file = self.connection.prepare_cached(&self.file)?;
            let mut row = self.connection.prepare_cached(&self.key)?;
            for (number, (user, key)) in keys.into_iter().enumerate() {
                let number = number as i64 + 1;
                if let Some(object) = &key.object {
                    file.execute(params![number, object])?;
                }
                row.execute(params![number, key.uid, user, number, key.created_at])?;
            }
            self.connection.execute_batch("COMMIT")?;
            self.connection.execute_batch(&self.read)?;
            calls(&Calls {
                connection: &self.connection,
            })
        };
        let outcome = run();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.connection.execute_batch(&self.clear)?;
        outcome
    }

    /// What the extension's doctor says here.
    pub(crate) fn doctor(&self) -> Result<Vec<(String, String, String)>> {
        crate::command::doctor::told(&self.connection)
    }

    /// The names of all objects of the key store, disabled ones too; `None` without the permission to list them.
    pub(crate) fn objects(&self) -> Result<Option<Vec<String>>> {
        let permitted =
            "SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'journal_objects')";
        if !self.connection.query_row(permitted, [], |row| row.get(0))? {
            return Ok(None);
        }
        let mut statement = self
            .connection
            .prepare("SELECT name FROM journal_objects")?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(Some(names.collect::<rusqlite::Result<_>>()?))
    }

    /// Refuses unless the function is there.
    pub(crate) fn require(&self, function: &str, permission: &str) -> Result<()> {
        match extension::has(&self.connection, function)? {
            true => Ok(()),
            false => Err(Failure::Refused(format!(
                "the extension has no {function} here: {permission}"
            ))),
        }
    }
}

/// The extension's functions, with the keys that were given.
pub(crate) struct Calls<'c> {
    connection: &'c Connection,
}

impl Calls<'_> {
    /// The one value of a call, as `journal_check(?, ?, ?)`.
    pub(crate) fn value<T: rusqlite::types::FromSql>(
        &self,
        call: &str,
        arguments: &[&dyn ToSql],
    ) -> Result<T> {
        let mut statement = self.connection.prepare_cached(call)?;
        Ok(statement.query_row(arguments, |row| row.get(0))?)
    }

    /// `ok`, or the error word of what a token of the user meets.
    pub(crate) fn check(&self, user: i64, uid: &str, token: &Value) -> Result<String> {
        self.value("SELECT journal_check(?, ?, ?)", &[&user, &uid, token])
    }

    /// Fetches all keys that were given, side by side.
    pub(crate) fn prefetch(&self, users: usize) -> Result<()> {
        let users: Vec<i64> = (0..users as i64).collect();
        self.value::<String>(
            "SELECT journal_prefetch(?)",
            &[&serde_json::Value::from(users).to_string()],
        )?;
        Ok(())
    }
}
