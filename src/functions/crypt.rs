//! Encrypt, decrypt and rewrap: look the key row up, get the key, apply the cipher.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::context::context;
use super::memo::Key;
use super::{Session, function, keyless};
use crate::cipher::{self, Context, Path};
use crate::error::Error;
use crate::id::{KeyUid, UserId};
use crate::secret::SecretBytes;
use crate::sqlite::function::Function;
use crate::sqlite::guard::Traces;
use crate::sqlite::output::Output;
use crate::sqlite::table::{Rows, Table};
use crate::sqlite::value::{Arguments, Value};

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    // A subkey is derived by the crates.
    let unbound = |name, arguments, body: Body| Function {
        traces: || match Path::of_this_process() {
            Path::Instructions => Traces::Shallow,
            Path::Crates | Path::CratesForFaulty => Traces::Deep,
        },
        ..function(session, name, arguments, body)
    };
    vec![
        unbound("journal_encrypt", 2, encrypt),
        unbound("journal_encrypt", 3, encrypt),
        function(session, "journal_encrypt", 4, encrypt),
        unbound("journal_decrypt", 3, decrypt),
        function(session, "journal_decrypt", 4, decrypt),
        unbound("journal_decrypt_blob", 3, decrypt_blob),
        function(session, "journal_decrypt_blob", 4, decrypt_blob),
        unbound("journal_try_decrypt", 3, try_decrypt),
        function(session, "journal_try_decrypt", 4, try_decrypt),
        unbound("journal_check", 3, check),
        function(session, "journal_check", 4, check),
        keyless(function(session, "journal_key_uid", 1, key_uid)),
        unbound("journal_rewrap", 3, rewrap),
        function(session, "journal_rewrap", 4, rewrap),
        function(session, "journal_bind", 4, bind),
        function(session, "journal_token_time", 1, token_time),
    ]
}

/// What a function of these does.
type Body = fn(&Session, &Arguments<'_>) -> Result<Output, Error>;

/// `journal_seal(user_id, plaintext[, context])`: one row, the token and the key it is under, from one look-up.
pub(super) fn seal(session: &Rc<Session>) -> Table {
    let session = Rc::clone(session);
    Table {
        name: "journal_seal",
        columns: SEALED,
        arguments: &["user_id", "plaintext"],
        optional: &["context"],
        rows: Box::new(move |arguments| {
            session.guard()?;
            sealed(&session, arguments, arguments.bytes(1)?)
        }),
    }
}

/// The columns of [`sealed`].
pub(super) const SEALED: &[&str] = &["key_id INTEGER", "key_uid TEXT", "token TEXT"];

/// The one row of a sealing table, whose arguments are `(user_id, …[, context])`; a NULL plaintext gives one of NULLs.
pub(super) fn sealed(
    session: &Session,
    arguments: &Arguments<'_>,
    plaintext: Option<&[u8]>,
) -> Result<Rows, Error> {
    let Some(plaintext) = plaintext else {
        return Ok(vec![vec![Output::Null, Output::Null, Output::Null]]);
    };
    let user = session.user(arguments.get(0)?)?;
    let context = context(arguments, 2)?;
    session.with_key(user, None, |key| {
        Ok(vec![vec![
            Output::Integer(key.id),
            Output::Text(key.uid.as_str().to_owned()),
            Output::SecretText(under(session, key, context, plaintext)?),
        ]])
    })
}

/// `journal_encrypt(user_id, plaintext[, key_uid[, context]])`: with a context the key need not be named.
fn encrypt(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    session.guard()?;
    let Some(plaintext) = arguments.bytes(1)? else {
        return Ok(Output::Null);
    };
    let user = session.user(arguments.get(0)?)?;
    let context = context(arguments, 3)?;
    let uid = match (arguments.len(), arguments.get(2)?) {
        (2, _) | (4, Value::Null) => None,
        (_, uid) => Some(KeyUid::text(uid)?),
    };
    session
        .with_key(user, uid, |key| under(session, key, context, plaintext))
        .map(Output::SecretText)
}

/// `journal_decrypt(user_id, key_uid, token[, context])`
fn decrypt(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    match read(session, arguments)? {
        None => Ok(Output::Null),
        Some(plaintext) if simdutf8::basic::from_utf8(&plaintext).is_ok() => {
            Ok(Output::SecretText(plaintext))
        }
        Some(_) => Err(Error::NotUtf8),
    }
}

/// `journal_decrypt_blob(user_id, key_uid, token[, context])`
fn decrypt_blob(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    Ok(match read(session, arguments)? {
        None => Output::Null,
        Some(plaintext) => Output::SecretBlob(plaintext),
    })
}

/// `journal_try_decrypt(user_id, key_uid, token[, context])`
fn try_decrypt(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    match decrypt(session, arguments) {
        Err(error) if error.is_final() => Ok(Output::Null),
        outcome => outcome,
    }
}

/// `journal_check(user_id, key_uid, token[, context])`
fn check(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let word = match read(session, arguments) {
        Ok(None) => return Ok(Output::Null),
        Ok(Some(_)) => "ok",
        Err(
            error @ (Error::BadArgument(_)
            | Error::OutOfScope(_)
            | Error::Replicated
            | Error::NotConfigured),
        ) => {
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
    let user = session.user(arguments.get(0)?)?;
    match session.current_uid(user)? {
        Some(uid) => Ok(Output::Text(uid)),
        None => {
            session.keys.fits(&session.connection, user)?;
            Ok(Output::Null)
        }
    }
}

/// `journal_rewrap(user_id, key_uid, token[, context])`
fn rewrap(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    session.guard()?;
    let Some(token) = token(arguments.get(2)?)? else {
        return Ok(Output::Null);
    };
    let context = context(arguments, 3)?;
    moved(session, arguments, token, [context, context])
}

/// `journal_bind(user_id, key_uid, token, context)`
fn bind(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    session.guard()?;
    let Some(token) = token(arguments.get(2)?)? else {
        return Ok(Output::Null);
    };
    moved(session, arguments, token, [None, context(arguments, 3)?])
}

/// Puts a token that is under the first context under the user's current key and the second one, its time kept. It is the
/// same token where it is there already.
fn moved(
    session: &Session,
    arguments: &Arguments<'_>,
    token: &[u8],
    [from, to]: [Option<Context<'_>>; 2],
) -> Result<Output, Error> {
    let user = session.user(arguments.get(0)?)?;
    let (id, plaintext) = opened(session, user, arguments.get(1)?, token, from)?;
    let is_bound = from.is_none() && to.is_some();
    session
        .with_key(user, None, |current| match cipher::token_time(token)? {
            Some(time) if is_bound || id != current.id => {
                let iv = session.iv()?;
                current.with_cipher(to, |cipher| cipher.encrypt(&plaintext, time, &iv))
            }
            _ => Ok(SecretBytes::copy_of(token)?),
        })
        .map(Output::SecretText)
}

/// `journal_token_time(token)`
fn token_time(_: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let Some(token) = token(arguments.get(0)?)? else {
        return Ok(Output::Null);
    };
    let time = cipher::token_time(token)?.ok_or_else(|| Error::TokenInvalid {
        under: "any key".to_owned(),
    })?;
    match i64::try_from(time) {
        Ok(time) => Ok(Output::Integer(time)),
        Err(_) => Err(Error::BadArgument(
            "the time in this token does not fit into an INTEGER".to_owned(),
        )),
    }
}

/// The token of `plaintext` under `key` and `context`, with the time it is now.
pub(super) fn under(
    session: &Session,
    key: &Key<'_>,
    context: Option<Context<'_>>,
    plaintext: &[u8],
) -> Result<SecretBytes, Error> {
    let iv = session.iv()?;
    key.with_cipher(context, |cipher| {
        cipher.encrypt(plaintext, cipher::now(), &iv)
    })
}

/// What a call's `(user_id, key_uid, token[, context])` holds; `None` for a NULL token.
#[inline(always)]
pub(super) fn read(
    session: &Session,
    arguments: &Arguments<'_>,
) -> Result<Option<SecretBytes>, Error> {
    session.guard()?;
    let Some(token) = token(arguments.get(2)?)? else {
        return Ok(None);
    };
    let context = context(arguments, 3)?;
    let user = session.user(arguments.get(0)?)?;
    let (_, plaintext) = opened(session, user, arguments.get(1)?, token, context)?;
    Ok(Some(plaintext))
}

/// What `token` holds under `context` and the user's key `uid`, or any key where that is NULL; and the key's id.
#[inline(always)]
fn opened(
    session: &Session,
    user: UserId<'_>,
    uid: Value<'_>,
    token: &[u8],
    context: Option<Context<'_>>,
) -> Result<(i64, SecretBytes), Error> {
    match uid {
        Value::Null => of_any_key(session, user, token, context),
        uid => {
            let uid = KeyUid::text(uid)?;
            session.with_key(user, Some(uid), |key| of_key(key, token, context))
        }
    }
}

/// A token argument: TEXT, or a BLOB of the same bytes; `None` for NULL.
#[inline(always)]
fn token(value: Value<'_>) -> Result<Option<&[u8]>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::Text(token) | Value::Blob(token) => Ok(Some(token)),
        other => Err(Error::BadArgument(format!(
            "token must be TEXT, this is {other}"
        ))),
    }
}

#[inline(always)]
fn of_key(
    key: &Key<'_>,
    token: &[u8],
    context: Option<Context<'_>>,
) -> Result<(i64, SecretBytes), Error> {
    match key.with_cipher(context, |cipher| cipher.decrypt(token))? {
        Ok(plaintext) => Ok((key.id, plaintext)),
        Err(_) => Err(Error::TokenInvalid {
            under: format!("key {}", key.uid),
        }),
    }
}

/// Tries the user's keys, the current one first, past those that are lost or broken. If none fits, the
/// gravest of what was met is the error: an outage must not look like a token of nobody's.
///
/// However many keys there are, the call ends after some fetches' time, and when it is interrupted.
fn of_any_key(
    session: &Session,
    user: UserId<'_>,
    token: &[u8],
    context: Option<Context<'_>>,
) -> Result<(i64, SecretBytes), Error> {
    /// The most time, in fetches that fail only at their timeout.
    const FETCHES: u32 = 10;
    let state = session.connection.state_of_main();
    // Nearly always it is the current one, which a scan has looked up already.
    if let Some(Ok(opened)) = session.with_known(state, user, |key| of_key(key, token, context)) {
        return Ok(opened);
    }
    let deadline = Instant::now() + session.config.fetch_timeout.saturating_mul(FETCHES);
    let rows = session.keys.of_user(&session.connection, user)?;
    if rows.is_empty() {
        return Err(session.no_key(user));
    }
    let mut gravest = Error::NoKey { user: user.label() };
    for (tried, row) in rows.into_iter().enumerate() {
        if tried > 0 && Instant::now() > deadline {
            let late = Error::StoreUnavailable {
                key: format!("({} of user {})", tried + 1, user),
                reason: "the keys that were tried before it took too long; name the key".to_owned(),
            };
            return Err(match gravest.gravity() < late.gravity() {
                true => late,
                false => gravest,
            });
        }
        if tried % 16 == 15 {
            session.connection.check_interrupt()?;
        }
        let outcome = row.and_then(|row| {
            let entry = session.key(&row)?;
            let opened = of_key(&Key::of(&row, &entry), token, context);
            if tried == 0
                && let Some(state) = state
            {
                session.remember(state, user, None, row, Arc::downgrade(&entry));
            }
            opened
        });
        match outcome {
            Ok(opened) => return Ok(opened),
            Err(Error::TokenInvalid { .. }) if gravest.gravity() == 0 => {
                gravest = Error::TokenInvalid {
                    under: format!("any key of user {user}"),
                };
            }
            Err(error) if error.gravity() == 0 => return Err(error),
            Err(error) if error.gravity() > gravest.gravity() => gravest = error,
            Err(_) => {}
        }
    }
    Err(gravest)
}
