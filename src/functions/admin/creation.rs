//! Keys made, given to a user, and taken back while nobody used them.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{refuse, undone};
use crate::cipher;
use crate::error::Error;
use crate::functions::{Session, function, json_function};
use crate::id::{KeyName, KeyUid, ObjectName, UserId};
use crate::keys::rows::{CONTENT_TYPE, NewKey, Rows, Savepoint};
use crate::sqlite::code;
use crate::sqlite::function::Function;
use crate::sqlite::output::Output;
use crate::sqlite::value::{Arguments, Value};
use crate::store::guarded;

/// What makes keys, and takes back one that nobody used.
pub(in crate::functions) fn creating(session: &Rc<Session>) -> Vec<Function> {
    vec![
        json_function(session, "journal_create_key", 1, create_key),
        function(session, "journal_rotate_key", 1, rotate_key),
        function(session, "journal_rotate_key", 2, rotate_key),
        function(session, "journal_discard_key", 1, discard_key),
    ]
}

/// `journal_create_key(user_id)`: the object alone; what its two rows are to hold.
fn create_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    refuse(session)?;
    let key = new_key(session, session.user(arguments.get(0)?)?)?;
    upload(session, &key)?;
    let name = KeyName {
        uid: key.uid.clone(),
        object: key.object.clone(),
    };
    session.cache()?.was_created(name, key.user.into());
    Ok(Output::Json(
        json!({
            "user_journal_master_keys": {
                "uid": key.uid.as_str(),
                "user_id": key.user.json(),
                "created_at": key.created_at,
            },
            "s3_files": {
                "uid": key.file_uid,
                "key": key.object.as_str(),
                "file_size": key.size,
                "content_type": CONTENT_TYPE,
                "created_at": key.created_at,
            },
        })
        .to_string(),
    ))
}

/// `journal_discard_key(key_uid)`: the object of a key that this process made a moment ago, that no row names and that
/// this process has not used.
///
/// All three, since whoever may make keys must not be able to destroy one that is in use.
fn discard_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    refuse(session)?;
    let uid = KeyUid::parse(arguments.get(0)?)?;
    let cache = session.cache()?;
    let refused = |reason| Error::BadArgument(format!("key {uid} is not discarded: {reason}"));
    let Some((name, user)) = cache.created(&uid) else {
        return Err(refused(
            "this process did not make it by journal_create_key within ten minutes, or has used it",
        ));
    };
    session.allows(user.get())?;
    let rows = Rows::new(&session.config.schema);
    if rows.are_naming(&session.connection, &name.object, &uid)? {
        return Err(refused("there is a row for it"));
    }
    let object = name.object.clone();
    cache
        .at_store(
            move |store, timeout| guarded(|| store.shred(&object, timeout)),
            &mut session.waiting(),
        )?
        .map_err(|error| undone(&uid, "deleted", error))?;
    cache.forget_created(&name);
    Ok(Output::Integer(1))
}

/// `journal_rotate_key(user_id[, min_age_seconds])`: object and rows.
fn rotate_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    refuse(session)?;
    let connection = &session.connection;
    let user = session.user(arguments.get(0)?)?;
    let least_age = match arguments.len() {
        1 => None,
        _ => Some(seconds(arguments.get(1)?)?),
    };
    let rows = Rows::new(&session.config.schema);
    if rows.are_read_only(connection) {
        return Err(Error::Sqlite {
            code: code::READONLY,
            message: "attempt to write a readonly database".to_owned(),
        });
    }
    // Whether rows could be written at all, before there is an object.
    Savepoint::open(connection)?.release()?;
    if !rows.has_user(connection, user)? {
        return Err(no_such_user(user));
    }
    if let Some(uid) = young(session, &rows, user, least_age)? {
        return Ok(Output::Text(uid.as_str().to_owned()));
    }
    let key = new_key(session, user)?;
    upload(session, &key)?;
    let current = insert(session, &rows, &key, least_age);
    if !matches!(&current, Ok(uid) if *uid == key.uid) {
        take_back(session, &key);
    }
    current.map(|uid| Output::Text(uid.as_str().to_owned()))
}

/// The user's current key if it is younger than `least_age`.
fn young(
    session: &Session,
    rows: &Rows,
    user: UserId<'_>,
    least_age: Option<f64>,
) -> Result<Option<KeyUid>, Error> {
    let Some(least_age) = least_age else {
        return Ok(None);
    };
    let newest = rows.newest(&session.connection, user)?;
    Ok(newest
        // A key from the future is young only by as much as clocks differ, or one that once ran ahead
        // would pin it.
        .filter(|(_, created_at)| created_at.is_some_and(|at| (now() - at).abs() < least_age))
        .map(|(uid, _)| uid))
}

/// Writes both rows, or none where another process rotated meanwhile; the uid of the current key.
fn insert(
    session: &Session,
    rows: &Rows,
    key: &NewKey<'_>,
    least_age: Option<f64>,
) -> Result<KeyUid, Error> {
    let connection = &session.connection;
    let savepoint = Savepoint::open(connection)?;
    rows.insert_file(connection, key)?;
    if let Some(uid) = young(session, rows, key.user, least_age)? {
        return Ok(uid);
    }
    if !rows.has_user(connection, key.user)? {
        return Err(no_such_user(key.user));
    }
    rows.insert_key(connection, key)?;
    match rows.newest(connection, key.user)? {
        Some((uid, _)) if uid == key.uid => {
            savepoint.release()?;
            Ok(uid)
        }
        Some(_) => Err(Error::BadArgument(format!(
            "a key of user {} has a created_at so late that no newer key can be made",
            key.user
        ))),
        // Undone: it would be another user's key.
        None => Err(Error::BadArgument(format!(
            "the column user_id of user_journal_master_keys changes the type of user {}; declare it as users.id is",
            key.user
        ))),
    }
}

/// Deletes the object of a key whose rows were not written. Where that fails as well, or it cannot be
/// known that there is no row, the object stays, and the audit recipe finds it.
fn take_back(session: &Session, key: &NewKey<'_>) {
    let row = session
        .keys
        .named(&session.connection, key.user, key.uid.as_str());
    if !matches!(row, Ok(None)) {
        return;
    }
    let object = key.object.clone();
    if let Ok(cache) = session.cache() {
        let _ = cache.at_store(
            move |store, timeout| store.shred(&object, timeout),
            &mut session.waiting(),
        );
    }
}

fn new_key<'a>(session: &Session, user: UserId<'a>) -> Result<NewKey<'a>, Error> {
    let uid = format!("oseh_ujmk_{}", cipher::random_name()?);
    let prefix = &session.config.key_prefix;
    let directory = match DIRECTORY.starts_with(prefix.as_str()) {
        true => DIRECTORY,
        false => prefix,
    };
    let object = ObjectName::parse(&format!("{directory}{uid}"), prefix)
        .map_err(|reason| Error::BadArgument(format!("no key can be made: {reason}")))?;
    Ok(NewKey {
        uid: KeyUid::parse(Value::Text(uid.as_bytes()))?,
        user,
        file_uid: format!("oseh_s3f_{}", cipher::random_name()?),
        object,
        size: i64::try_from(session.cache()?.object_length()).unwrap_or(i64::MAX),
        created_at: now(),
    })
}

/// Writes a key that nobody has seen to the object of `key`.
fn upload(session: &Session, key: &NewKey<'_>) -> Result<(), Error> {
    let (object, raw, iv) = (key.object.clone(), cipher::new_key_object(), session.iv()?);
    let cache = session.cache()?;
    cache
        .at_store(
            move |store, timeout| {
                cache.create(store, &object, raw.expose().as_bytes(), &iv, timeout)
            },
            &mut session.waiting(),
        )?
        .map_err(|error| undone(&key.uid, "written", error))
}

fn no_such_user(user: UserId<'_>) -> Error {
    Error::BadArgument(format!("there is no user {user}"))
}

fn seconds(value: Value<'_>) -> Result<f64, Error> {
    match value {
        Value::Integer(seconds) if seconds >= 0 => Ok(seconds as f64),
        Value::Real(seconds) if seconds >= 0.0 => Ok(seconds),
        other => Err(Error::BadArgument(format!(
            "min_age_seconds must be a number that is not negative, this is {other}"
        ))),
    }
}

/// Unix seconds, to the millisecond.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}

/// Where the objects of keys lie, unless `JOURNAL_KEY_PREFIX` has them elsewhere.
const DIRECTORY: &str = "s3_files/journals/keys/master/";
