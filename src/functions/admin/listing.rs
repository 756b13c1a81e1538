//! The objects that there are, whether a row names them or not.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::refuse;
use crate::error::Error;
use crate::functions::Session;
use crate::sqlite::output::Output;
use crate::sqlite::table::{Rows, Table};

/// What lists them.
pub(in crate::functions) fn listing(session: &Rc<Session>) -> Table {
    let session = Rc::clone(session);
    Table {
        name: "journal_objects",
        columns: &[
            "name TEXT",
            "bytes INTEGER",
            "modified_at REAL",
            "disabled INTEGER",
        ],
        arguments: &[],
        optional: &[],
        rows: Box::new(move |_| objects(&session)),
    }
}

/// `journal_objects`: all below the prefix. No name tells whose an object is, so that there is none under a scope.
fn objects(session: &Session) -> Result<Rows, Error> {
    refuse(session)?;
    if session.scoped()?.is_some() {
        return Err(Error::OutOfScope(
            "a connection with a scope lists no objects, since they belong to all users",
        ));
    }
    let prefix = &session.config.key_prefix;
    let outcome = session.cache()?.at_store(
        move |store, timeout| store.list(prefix, timeout),
        &mut session.waiting(),
    )?;
    let objects = outcome.map_err(|error| Error::Unlisted {
        denied: error.is_refusal(),
        reason: error.to_string(),
    })?;
    let seconds = |at: SystemTime| Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64());
    Ok(objects
        .into_iter()
        .map(|object| {
            vec![
                Output::Text(object.name),
                Output::Integer(i64::try_from(object.bytes).unwrap_or(i64::MAX)),
                object
                    .modified_at
                    .and_then(seconds)
                    .map_or(Output::Null, Output::Real),
                Output::Integer(i64::from(object.disabled)),
            ]
        })
        .collect())
}
