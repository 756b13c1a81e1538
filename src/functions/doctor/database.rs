//! What the doctor sees of the database and of this connection.

use super::{Finding, failed, ok, warning};
use crate::error::Error;
use crate::functions::Session;
use crate::sqlite::value::Value;

pub(super) fn tables(session: &Session) -> Result<Finding, Error> {
    const NAME: &str = "key_tables";
    let schema = quoted(&session.config.schema);
    for (table, columns) in [
        (
            "user_journal_master_keys",
            "id, uid, user_id, s3_file_id, created_at",
        ),
        ("s3_files", "id, key"),
    ] {
        for column in columns.split(", ") {
            let found = format!(
                "SELECT count(*) FROM pragma_table_info({}, {schema}) WHERE name = {}",
                quoted(table),
                quoted(column)
            );
            if ask(session, &found)?.as_deref() != Some("1") {
                return Ok(failed(
                    NAME,
                    format!(
                        "schema {schema} has no {table}.{column}: create the tables of sql/schema.sql there, or \
                         those of sql/key_tables.sql beside your own, or set JOURNAL_SCHEMA"
                    ),
                ));
            }
        }
    }
    // As after half of sql/schema.sql beside another application's users.
    let mismatched = format!(
        "SELECT f.\"table\" || '.' || f.\"to\" FROM pragma_foreign_key_list('user_journal_master_keys', {schema}) AS f \
         WHERE f.\"to\" IS NOT NULL AND NOT EXISTS (\
           SELECT 1 FROM pragma_table_info(f.\"table\", {schema}) AS c WHERE c.name = f.\"to\" COLLATE NOCASE)"
    );
    Ok(match ask(session, &mismatched)? {
        Some(column) => failed(
            NAME,
            format!(
                "user_journal_master_keys refers to {column}, which schema {schema} does not have, and so no row can be \
                 inserted: see docs/tables.md"
            ),
        ),
        None => ok(NAME, format!("in schema {schema}")),
    })
}

pub(super) fn indexes(session: &Session) -> Result<Finding, Error> {
    let schema = session.config.schema.replace('"', "\"\"");
    let mut missing = Vec::new();
    for (table, column) in [
        ("user_journal_master_keys", "uid"),
        ("user_journal_master_keys", "user_id"),
        ("user_journal_master_keys", "s3_file_id"),
        ("s3_files", "key"),
    ] {
        if reads_all(session, &format!("\"{schema}\".{table}"), column)? {
            missing.push(format!("{table}.{column}"));
        }
    }
    Ok(match missing.is_empty() {
        true => ok("indexes", "each look-up has one"),
        false => warning(
            "indexes",
            format!(
                "none begins with {}: every call reads the whole table; see sql/schema.sql",
                missing.join(", ")
            ),
        ),
    })
}

/// Whether SQLite reads all of `table` to find a value of `column`. Its planner knows what a view is made of.
fn reads_all(session: &Session, table: &str, column: &str) -> Result<bool, Error> {
    const DETAIL: i32 = 3;
    let plan = format!("EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {column} = ?1");
    let mut steps = session.connection.prepare(&plan)?;
    while steps.step()? {
        // https://sqlite.org/eqp.html: a SEARCH reads what an index finds.
        if matches!(steps.column(DETAIL)?, Value::Text(detail) if detail.starts_with(b"SCAN")) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn foreign_keys(session: &Session) -> Result<Finding, Error> {
    Ok(match ask(session, "PRAGMA foreign_keys")?.as_deref() {
        Some("1") => ok("foreign_keys", "on"),
        _ => warning(
            "foreign_keys",
            "off: deleting a user leaves the user's key rows; PRAGMA foreign_keys = ON on every \
             connection that writes",
        ),
    })
}

pub(super) fn temp_store(session: &Session) -> Result<Finding, Error> {
    Ok(match ask(session, "PRAGMA temp_store")?.as_deref() {
        Some("2") => ok("temp_store", "MEMORY"),
        _ => warning(
            "temp_store",
            "a sort or an index over decrypted text may write plaintext to disk: \
             PRAGMA temp_store = MEMORY",
        ),
    })
}

pub(super) fn replicated(session: &Session) -> Finding {
    let read_only = session.connection.is_read_only(c"main");
    match (session.config.replicated, read_only) {
        (false, _) => ok("replicated", "no"),
        (true, true) => ok(
            "replicated",
            "yes, and this connection only reads: keys can be used",
        ),
        (true, false) => warning(
            "replicated",
            "yes, and this connection can write: functions that use a key refuse here",
        ),
    }
}

/// The first column of the first row of `sql`, as text; numbers and NULL too.
fn ask(session: &Session, sql: &str) -> Result<Option<String>, Error> {
    let mut statement = session.connection.prepare(sql)?;
    Ok(match statement.step()? {
        true => match statement.column(0)? {
            Value::Integer(number) => Some(number.to_string()),
            Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        },
        false => None,
    })
}

/// `text` as an SQL string.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
