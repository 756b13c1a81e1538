//! A database file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::failure::{Failure, Result};
use crate::journal::{Journal, Statement};

/// How long to wait for another process's lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to it, without the extension: rows are read and written, and everything else is done beside it.
pub(crate) struct File {
    connection: Connection,
    turn: Arc<Mutex<()>>,
}

impl File {
    pub(crate) fn open(path: &Path, keys: Option<&Path>, turn: &Arc<Mutex<()>>) -> Result<Self> {
        Self::with(
            path,
            keys,
            OpenFlags::SQLITE_OPEN_READ_WRITE,
            Arc::clone(turn),
        )
    }

    /// A file that nobody writes.
    pub(crate) fn open_backup(path: &Path, keys: Option<&Path>) -> Result<Self> {
        Self::with(path, keys, OpenFlags::SQLITE_OPEN_READ_ONLY, Arc::default())
    }

    fn with(
        path: &Path,
        keys: Option<&Path>,
        access: OpenFlags,
        turn: Arc<Mutex<()>>,
    ) -> Result<Self> {
        let connect = || -> rusqlite::Result<Connection> {
            let connection =
                Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(PATIENCE)?;
            connection.set_prepared_statement_cache_capacity(64);
            connection.execute_batch(
                "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16000",
            )?;
            // Whether it is a database at all.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        };
        let connection = connect().map_err(|error| Failure::from(error).of(path.display()))?;
        if let Some(keys) = keys {
            attach(&connection, keys, "key_tables")?;
        }
        Ok(Self { connection, turn })
    }
}

/// Attaches the file with the key tables. No others may be in the way of what our statements name without a schema.
pub(crate) fn attach(connection: &Connection, keys: &Path, schema: &str) -> Result<()> {
    let failed = |error| Failure::from(error).of(keys.display());
    connection
        .execute("ATTACH ? AS ?", (keys.to_string_lossy(), schema))
        .map_err(failed)?;
    let own = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name IN ('s3_files', 'user_journal_master_keys'))";
    if connection.query_row(own, [], |row| row.get(0))? {
        return Err(Failure::Usage(
            "the database has key tables of its own: leave --keys out".to_owned(),
        ));
    }
    Ok(())
}

impl Journal for File {
    fn each_row(
        &self,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(&[Value]) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = Vec::with_capacity(columns);
        while let Some(next) = rows.next()? {
            found.clear();
            for column in 0..columns {
                found.push(next.get(column)?);
            }
            row(&found)?;
        }
        Ok(())
    }

    fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<usize>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let run = || {
            let changed = statements.iter().map(|Statement { sql, values }| {
                self.connection
                    .prepare_cached(sql)?
                    .execute(params_from_iter(values))
            });
            changed.collect::<rusqlite::Result<Vec<_>>>()
        };
        match run().and_then(|changed| self.connection.execute_batch("COMMIT").map(|()| changed)) {
            Ok(changed) => Ok(changed),
            Err(error) => {
                // It may have been rolled back already.
                let _ = self.connection.execute_batch("ROLLBACK");
                Err(error.into())
            }
        }
    }
}
