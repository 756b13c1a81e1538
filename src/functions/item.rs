//! Entry items: JSON, gzip-compressed, one token each, as the app itself writes them.

use std::rc::Rc;

use super::context::context;
use super::crypt::{SEALED, read, sealed, under};
use super::{Session, function, json_function};
use crate::error::Error;
use crate::item::gzip::{self, Refusal};
use crate::item::json::is_json;
use crate::secret::SecretBytes;
use crate::sqlite;
use crate::sqlite::connection::Connection;
use crate::sqlite::function::Function;
use crate::sqlite::kept::Kept;
use crate::sqlite::output::Output;
use crate::sqlite::table::Table;
use crate::sqlite::value::{Arguments, Value};

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    vec![
        function(session, "journal_encrypt_item", 2, encrypt_item),
        function(session, "journal_encrypt_item", 3, encrypt_item),
        json_function(session, "journal_decrypt_item", 3, decrypt_item),
        json_function(session, "journal_decrypt_item", 4, decrypt_item),
        json_function(session, "journal_try_decrypt_item", 3, try_decrypt_item),
        json_function(session, "journal_try_decrypt_item", 4, try_decrypt_item),
    ]
}

/// `journal_seal_item(user_id, json[, context])`: one row, the token and the key it is under, from one look-up.
pub(super) fn seal_item(session: &Rc<Session>) -> Table {
    let session = Rc::clone(session);
    Table {
        name: "journal_seal_item",
        columns: SEALED,
        arguments: &["user_id", "json"],
        optional: &["context"],
        rows: Box::new(move |arguments| {
            session.guard()?;
            let item = packed(&session, arguments)?;
            sealed(&session, arguments, item.as_deref())
        }),
    }
}

/// `journal_encrypt_item(user_id, json[, context])`
fn encrypt_item(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    session.guard()?;
    let Some(item) = packed(session, arguments)? else {
        return Ok(Output::Null);
    };
    let user = session.user(arguments.get(0)?)?;
    let context = context(arguments, 2)?;
    session
        .with_key(user, None, |key| under(session, key, context, &item))
        .map(Output::SecretText)
}

/// `journal_decrypt_item(user_id, key_uid, token[, context])`
fn decrypt_item(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let Some(item) = read(session, arguments)? else {
        return Ok(Output::Null);
    };
    let not_item = |reason| Err(Error::NotItem { reason });
    match gzip::decompress(&item, session.config.item_max)? {
        Ok(json) if is_json(&json) => Ok(Output::SecretJson(json)),
        Ok(_) => not_item("is gzip-compressed, but not JSON"),
        Err(Refusal::NotGzip) => not_item("is not gzip-compressed"),
        Err(Refusal::TooLong) => not_item("unpacks to more than JOURNAL_ITEM_MAX bytes"),
    }
}

/// `journal_try_decrypt_item(user_id, key_uid, token[, context])`
fn try_decrypt_item(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    match decrypt_item(session, arguments) {
        Err(error) if error.is_final() => Ok(Output::Null),
        outcome => outcome,
    }
}

/// A call's `json`, compressed; `None` for NULL.
fn packed(session: &Session, arguments: &Arguments<'_>) -> Result<Option<SecretBytes>, Error> {
    let Some(bytes) = arguments.bytes(1)? else {
        return Ok(None);
    };
    let of_jsonb = match arguments.get(1)? {
        Value::Blob(blob) => text_of_jsonb(&session.connection, blob)?,
        _ => None,
    };
    let json = of_jsonb.as_deref().unwrap_or(bytes);
    if json.len() > session.config.item_max {
        return Err(Error::BadArgument(format!(
            "the item has {} bytes, more than JOURNAL_ITEM_MAX",
            json.len()
        )));
    }
    if !is_json(json) {
        return Err(Error::BadArgument(format!(
            "an item must be JSON, this is {} that is not",
            arguments.get(1)?
        )));
    }
    gzip::compress(json).map(Some)
}

/// The JSON text of a BLOB that SQLite knows for JSONB, as SQLite writes it. Where a BLOB is both JSONB
/// and JSON text, which short numbers can be, it is JSONB, as for SQLite's own functions.
fn text_of_jsonb(connection: &Connection, blob: &[u8]) -> Result<Option<SecretBytes>, Error> {
    /// The first version that knows JSONB.
    const KNOWS_JSONB: i32 = 3_045_000;
    /// 8: strictly JSONB (<https://sqlite.org/json1.html#jvalid>).
    const TEXT_OF_JSONB: &str = "SELECT json(?1) WHERE json_valid(?1, 8)";
    if sqlite::sqlite_version() < KNOWS_JSONB {
        return Ok(None);
    }
    let mut statement = connection.statement(Kept::JsonText, TEXT_OF_JSONB)?;
    statement.bind_blob(1, blob)?;
    match statement.step()? {
        true => match statement.column(0)? {
            Value::Text(text) => Ok(Some(SecretBytes::copy_of(text)?)),
            _ => Ok(None),
        },
        false => Ok(None),
    }
}
