//! Where the rows are: a database file or a cluster of rqlite, with the same two requests to either.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rusqlite::types::Value;

use crate::cluster::Cluster;
use crate::failure::{Failure, Result};
use crate::file::File;

pub(crate) type Row = Vec<Value>;

/// A statement and its parameters.
pub(crate) struct Statement<'a> {
    pub(crate) sql: Cow<'a, str>,
    pub(crate) values: Vec<Value>,
}

/// Rows and transactions; no cryptography is asked of it.
pub(crate) trait Journal: Send {
    /// Hands on each row of a SELECT.
    fn each_row(
        &self,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(&[Value]) -> Result<()>,
    ) -> Result<()>;

    /// The rows of a SELECT.
    fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        self.each_row(sql, values, &mut |row| {
            found.push(row.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs the statements as one transaction; how many rows each changed. It may be sent again where an answer is
    /// lost, so each statement must be one that changes nothing the second time.
    fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<usize>>;
}

/// What `--db` or `--rqlite` named.
#[derive(Clone)]
pub(crate) enum Place {
    /// A file, the one with its key tables if that is another, and whose turn it is to write, so that our own threads do
    /// not wait for SQLite's lock in its steps.
    File(PathBuf, Option<PathBuf>, Arc<Mutex<()>>),
    /// A copy of a database that nobody writes, and the one with its key tables.
    Backup(PathBuf, Option<PathBuf>),
    /// Nodes.
    Cluster(Arc<Cluster>),
}

impl Place {
    /// A connection of the calling thread.
    pub(crate) fn open(&self) -> Result<Box<dyn Journal>> {
        Ok(match self {
            Self::File(path, keys, turn) => Box::new(File::open(path, keys.as_deref(), turn)?),
            Self::Backup(path, keys) => Box::new(File::open_backup(path, keys.as_deref())?),
            Self::Cluster(cluster) => Box::new(Arc::clone(cluster)),
        })
    }

    /// The nodes, where it is a cluster.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// The file, for a command that works on files alone.
    pub(crate) fn file(&self, otherwise: &str) -> Result<&PathBuf> {
        match self {
            Self::File(path, ..) | Self::Backup(path, _) => Ok(path),
            Self::Cluster(_) => Err(Failure::Refused(otherwise.to_owned())),
        }
    }

    /// The file with the key tables, where they are in another.
    pub(crate) fn keys(&self) -> Option<&PathBuf> {
        match self {
            Self::File(_, keys, _) | Self::Backup(_, keys) => keys.as_ref(),
            Self::Cluster(_) => None,
        }
    }
}

/// The integer of a column that holds one.
pub(crate) fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Integer(number) => Ok(*number),
        Value::Real(number) if number.fract() == 0.0 => Ok(*number as i64),
        _ => Err(Failure::Refused(
            "something in the database should be a number and is not".to_owned(),
        )),
    }
}

/// The number of a column that holds a time.
pub(crate) fn seconds(value: &Value) -> f64 {
    match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        _ => 0.0,
    }
}

/// The text of a column, if it holds one.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// A user's id as a person writes it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Real(number) => number.to_string(),
        Value::Null => "(none)".to_owned(),
        Value::Blob(_) => "(blob)".to_owned(),
    }
}

/// A user's id as it was typed: an integer if it reads as one and is written so.
pub(crate) fn user(typed: &str) -> Value {
    match typed.parse::<i64>() {
        Ok(number) if number.to_string() == typed => Value::Integer(number),
        _ => Value::Text(typed.to_owned()),
    }
}

/// A JSON array of values, for `json_each`.
pub(crate) fn array<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<Value> {
    let each: Result<Vec<_>> = values.into_iter().map(json).collect();
    Ok(Value::Text(serde_json::Value::Array(each?).to_string()))
}

/// A value as JSON.
pub(crate) fn json(value: &Value) -> Result<serde_json::Value> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::Blob(_) => {
            return Err(Failure::Refused(
                "a user's id is a BLOB, which is not supported".to_owned(),
            ));
        }
    })
}
