//! Encrypt and decrypt: look the key row up, get the key, apply the cipher.

use std::rc::Rc;

use super::{Function, Session, function};
use crate::cipher;
use crate::error::Error;
use crate::ffi::table::Table;
use crate::ffi::value::{Arguments, Output, Value};
use crate::id::{KeyUid, UserId};
use crate::keys::KeyRow;
use crate::secret::SecretBytes;

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    vec![
        function(session, "journal_encrypt", 2, encrypt),
        function(session, "journal_encrypt", 3, encrypt),
        function(session, "journal_decrypt", 3, decrypt),
        function(session, "journal_decrypt_blob", 3, decrypt_blob),
        function(session, "journal_try_decrypt", 3, try_decrypt),
        function(session, "journal_check", 3, check),
        function(session, "journal_key_uid", 1, key_uid),
    ]
}

/// `journal_seal(user_id, plaintext)`: one row, the token and the key it is under, from one look-up.
pub(super) fn seal(session: &Rc<Session>) -> Table {
    let session = Rc::clone(session);
    Table {
        name: super::OWNER,
        columns: &["key_id INTEGER", "key_uid TEXT", "token TEXT"],
        arguments: &["user_id", "plaintext"],
        rows: Box::new(move |arguments| {
            session.guard()?;
            let Some(plaintext) = arguments.bytes(1)? else {
                return Ok(vec![vec![Output::Null, Output::Null, Output::Null]]);
            };
            let row = session.current_key(UserId::parse(arguments.get(0)?)?)?;
            let token = under(&session, &row, plaintext)?;
            Ok(vec![vec![
                Output::Integer(row.id),
                Output::Text(row.uid.as_str().to_owned()),
                Output::SecretText(token),
            ]])
        }),
    }
}

/// `journal_encrypt(user_id, plaintext[, key_uid])`
fn encrypt(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    session.guard()?;
    let Some(plaintext) = arguments.bytes(1)? else {
        return Ok(Output::Null);
    };
    let user = UserId::parse(arguments.get(0)?)?;
    let row = match arguments.len() {
        2 => session.current_key(user)?,
        _ => {
            let uid = KeyUid::parse(arguments.get(2)?)?;
            session.keys.named(&session.connection, user, &uid)?
        }
    };
    under(session, &row, plaintext).map(Output::SecretText)
}

/// `journal_decrypt(user_id, key_uid, token)`
fn decrypt(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    match plaintext(session, arguments)? {
        None => Ok(Output::Null),
        Some(plaintext) if std::str::from_utf8(&plaintext).is_ok() => {
            Ok(Output::SecretText(plaintext))
        }
        Some(_) => Err(Error::NotUtf8),
    }
}

/// `journal_decrypt_blob(user_id, key_uid, token)`
fn decrypt_blob(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    Ok(plaintext(session, arguments)?.map_or(Output::Null, Output::SecretBlob))
}

/// `journal_try_decrypt(user_id, key_uid, token)`
fn try_decrypt(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    match decrypt(session, arguments) {
        Err(error) if error.is_final() => Ok(Output::Null),
        outcome => outcome,
    }
}

/// `journal_check(user_id, key_uid, token)`
fn check(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let word = match plaintext(session, arguments) {
        Ok(None) => return Ok(Output::Null),
        Ok(Some(_)) => "ok",
        Err(error @ (Error::BadArgument(_) | Error::Replicated | Error::NotConfigured)) => {
            return Err(error);
        }
        Err(error) => match error.word() {
            Some(word) => word,
            None => return Err(error),
        },
    };
    Ok(Output::Text(word.to_owned()))
}

/// `journal_key_uid(user_id)`
fn key_uid(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let user = UserId::parse(arguments.get(0)?)?;
    let row = session.keys.current(&session.connection, user)?;
    Ok(row.map_or(Output::Null, |row| {
        Output::Text(row.uid.as_str().to_owned())
    }))
}

/// The token of `plaintext` under the key of `row`, with the time it is now.
fn under(session: &Session, row: &KeyRow, plaintext: &[u8]) -> Result<SecretBytes, Error> {
    let key = session.key(row)?;
    key.cipher.encrypt(plaintext, cipher::now(), &session.iv()?)
}

/// The plaintext of a call's `(user_id, key_uid, token)`; `None` for a NULL token.
fn plaintext(session: &Session, arguments: &Arguments<'_>) -> Result<Option<SecretBytes>, Error> {
    session.guard()?;
    let token = match arguments.get(2)? {
        Value::Null => return Ok(None),
        Value::Text(token) | Value::Blob(token) => token,
        other => {
            return Err(Error::BadArgument(format!(
                "token must be TEXT, this is {other}"
            )));
        }
    };
    let user = UserId::parse(arguments.get(0)?)?;
    match arguments.get(1)? {
        Value::Null => of_any_key(session, user, token),
        uid => {
            let uid = KeyUid::parse(uid)?;
            let row = session.keys.named(&session.connection, user, &uid)?;
            of_key(session, &row, token)
        }
    }
    .map(Some)
}

fn of_key(session: &Session, row: &KeyRow, token: &[u8]) -> Result<SecretBytes, Error> {
    let key = session.key(row)?;
    key.cipher.decrypt(token)?.map_err(|_| Error::TokenInvalid {
        under: format!("key {}", row.uid),
    })
}

/// Tries the user's keys, the current one first, past those that are lost or broken. If none fits, the
/// gravest of what was met is the error: an outage must not look like a token of nobody's.
fn of_any_key(session: &Session, user: UserId, token: &[u8]) -> Result<SecretBytes, Error> {
    let rows = session.keys.of_user(&session.connection, user)?;
    let mut gravest = Error::NoKey { user: user.0 };
    for row in rows {
        match row.and_then(|row| of_key(session, &row, token)) {
            Ok(plaintext) => return Ok(plaintext),
            Err(Error::TokenInvalid { .. }) if gravest.gravity() == 0 => {
                gravest = Error::TokenInvalid {
                    under: format!("any key of user {}", user.0),
                };
            }
            Err(error) if error.gravity() == 0 => return Err(error),
            Err(error) if error.gravity() > gravest.gravity() => gravest = error,
            Err(_) => {}
        }
    }
    Err(gravest)
}
