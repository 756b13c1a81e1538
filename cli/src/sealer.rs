//! The cryptography, in this process: the extension on a private database in memory, over key rows that are given.

use std::path::Path;

use rusqlite::{Connection, ToSql, params};

use crate::extension;
use crate::failure::{Failure, Result};
use crate::keys::Key;
use crate::rows::{BAD_ARGUMENT, Token, word};

const TABLES: &str = "
    CREATE TABLE {schema}.s3_files (id INTEGER PRIMARY KEY, key TEXT);
    CREATE TABLE {schema}.user_journal_master_keys (
      id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL, s3_file_id INTEGER, created_at REAL
    );
    CREATE INDEX {schema}.by_user ON user_journal_master_keys (user_id, created_at);
    CREATE INDEX {schema}.by_file ON user_journal_master_keys (s3_file_id);
    CREATE INDEX {schema}.by_key ON s3_files (key);
";

/// A call of the extension, for a token that is bound to nothing and for one that is bound to a context.
pub(crate) struct Call {
    unbound: &'static str,
    bound: &'static str,
}

pub(crate) const ENCRYPT: Call = Call {
    unbound: "SELECT journal_encrypt(?, ?)",
    bound: "SELECT journal_encrypt(?, ?, NULL, ?)",
};
pub(crate) const ENCRYPT_ITEM: Call = Call {
    unbound: "SELECT journal_encrypt_item(?, ?)",
    bound: "SELECT journal_encrypt_item(?, ?, ?)",
};
pub(crate) const DECRYPT: Call = Call {
    unbound: "SELECT journal_decrypt(?, ?, ?)",
    bound: "SELECT journal_decrypt(?, ?, ?, ?)",
};
pub(crate) const DECRYPT_ITEM: Call = Call {
    unbound: "SELECT journal_decrypt_item(?, ?, ?)",
    bound: "SELECT journal_decrypt_item(?, ?, ?, ?)",
};
pub(crate) const REWRAP: Call = Call {
    unbound: "SELECT journal_rewrap(?, ?, ?)",
    bound: "SELECT journal_rewrap(?, ?, ?, ?)",
};
const CHECK: Call = Call {
    unbound: "SELECT journal_check(?, ?, ?)",
    bound: "SELECT journal_check(?, ?, ?, ?)",
};

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
    /// The one value of a call, as `SELECT journal_shred_key(1, ?)`.
    pub(crate) fn value<T: rusqlite::types::FromSql>(
        &self,
        call: &str,
        arguments: &[&dyn ToSql],
    ) -> Result<T> {
        let mut statement = self.connection.prepare_cached(call)?;
        Ok(statement.query_row(arguments, |row| row.get(0))?)
    }

    /// The one value of a call about a token, whose last arguments are that and its context, if it is bound to one.
    pub(crate) fn of_token<T: rusqlite::types::FromSql>(
        &self,
        call: &Call,
        before: &[&dyn ToSql],
        token: &Token,
    ) -> Result<T> {
        let mut arguments = before.to_vec();
        arguments.push(&token.value);
        let Some(context) = &token.context else {
            return self.value(call.unbound, &arguments);
        };
        arguments.push(context);
        self.value(call.bound, &arguments)
    }

    /// `ok`, or the error word of what a token of the user meets; without a uid, with all keys of the user.
    pub(crate) fn check(&self, user: i64, uid: Option<&str>, token: &Token) -> Result<String> {
        match self.of_token(&CHECK, &[&user, &uid], token) {
            Err(failure) if word(&failure) == Some(BAD_ARGUMENT) => Ok(BAD_ARGUMENT.to_owned()),
            outcome => outcome,
        }
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
