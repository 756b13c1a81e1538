//! Key management: create, rotate and discard keys under `JOURNAL_ADMIN=create`; disable, enable, wrap and shred them under `1`.
//!
//! The object comes before its rows and goes before them, so that a row never names an object that was
//! not written, and nothing that ends a call half-way leaves a key that no row leads to but a new one that
//! nobody used.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Session, function, json_function};
use crate::cipher;
use crate::error::Error;
use crate::id::{KeyName, KeyUid, ObjectName, UserId};
use crate::keys::rows::{CONTENT_TYPE, NewKey, Rows, Savepoint};
use crate::sqlite::code;
use crate::sqlite::function::Function;
use crate::sqlite::output::Output;
use crate::sqlite::value::{Arguments, Value};
use crate::store::{KeyStore, StoreError, guarded};

/// What makes keys, and takes back one that nobody used.
pub(super) fn creating(session: &Rc<Session>) -> Vec<Function> {
    vec![
        json_function(session, "journal_create_key", 1, create_key),
        function(session, "journal_rotate_key", 1, rotate_key),
        function(session, "journal_rotate_key", 2, rotate_key),
        function(session, "journal_discard_key", 1, discard_key),
    ]
}

/// What hides keys, brings them back, rewrites and destroys them.
pub(super) fn destroying(session: &Rc<Session>) -> Vec<Function> {
    vec![
        json_function(session, "journal_disable_key", 2, disable_key),
        json_function(session, "journal_enable_key", 2, enable_key),
        json_function(session, "journal_wrap_key", 2, wrap_key),
        json_function(session, "journal_shred_key", 2, shred_key),
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

/// `journal_disable_key(user_id, key_uid)`: hides the object in a way that `journal_enable_key` undoes.
fn disable_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let (user, name) = named(session, arguments)?;
    unshared(session, &name)?;
    let (changed, evicted) = changed(session, &name, "disabled", |store, object, timeout| {
        store.disable(object, timeout)
    })?;
    Ok(Output::Json(
        json!({
            "user_id": user.json(),
            "key_uid": name.uid.as_str(),
            "object": name.object.as_str(),
            "disabled": true,
            "changed": changed,
            "at": timestamp()?,
            "evicted": evicted,
            "not_looked_at": ["replicas and backups of the key store", OTHER_CACHES],
        })
        .to_string(),
    ))
}

/// `journal_enable_key(user_id, key_uid)`
fn enable_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let (user, name) = named(session, arguments)?;
    let (changed, _) = changed(session, &name, "enabled", |store, object, timeout| {
        store.enable(object, timeout)
    })?;
    Ok(Output::Json(
        json!({
            "user_id": user.json(),
            "key_uid": name.uid.as_str(),
            "object": name.object.as_str(),
            "disabled": false,
            "changed": changed,
            "at": timestamp()?,
        })
        .to_string(),
    ))
}

/// `journal_wrap_key(user_id, key_uid)`: its object is rewritten under the first wrapping key.
fn wrap_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let (user, name) = named(session, arguments)?;
    unshared(session, &name)?;
    let cache = session.cache()?;
    if cache.wrapping().0 == 0 {
        return Err(Error::BadArgument(
            "there is no key to wrap with: JOURNAL_WRAPPING_KEY_FILE is not set".to_owned(),
        ));
    }
    let iv = session.iv()?;
    let (replaced, _) = changed(session, &name, "wrapped", move |store, object, timeout| {
        cache.wrap(store, object, &iv, timeout)
    })?;
    Ok(Output::Json(
        json!({
            "user_id": user.json(),
            "key_uid": name.uid.as_str(),
            "object": name.object.as_str(),
            "wrapped": true,
            "at": timestamp()?,
            "versions_deleted": replaced.deleted,
            "versions_kept": replaced.kept,
            "not_looked_at": replaced.not_looked_at,
        })
        .to_string(),
    ))
}

/// `journal_shred_key(user_id, key_uid)`: the object, never the rows.
fn shred_key(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let (user, name) = named(session, arguments)?;
    unshared(session, &name)?;
    let uid = &name.uid;
    let (shredded, evicted) = changed(session, &name, "deleted", |store, object, timeout| {
        store.shred(object, timeout)
    })?;
    let mut not_looked_at = shredded.not_looked_at;
    not_looked_at.push(OTHER_CACHES);
    if shredded.replication.is_some() {
        not_looked_at.insert(
            0,
            "the replica that the replication status tells of: it keeps the key",
        );
    }
    Ok(Output::Json(
        json!({
            "user_id": user.json(),
            "key_uid": uid.as_str(),
            "object": name.object.as_str(),
            "gone": true,
            "shredded_at": timestamp()?,
            "versions_deleted": shredded.versions,
            "delete_markers_deleted": shredded.delete_markers,
            "replication_status": shredded.replication,
            "evicted": evicted,
            "unreadable": "all that is under this key, in the database and in every backup of it",
            "not_looked_at": not_looked_at,
        })
        .to_string(),
    ))
}

/// The user and the key that a call names.
fn named<'a>(session: &Session, arguments: &Arguments<'a>) -> Result<(UserId<'a>, KeyName), Error> {
    refuse(session)?;
    let user = session.user(arguments.get(0)?)?;
    let uid = KeyUid::parse(arguments.get(1)?)?;
    Ok((user, session.named_key(user, uid.as_str())?.name()?))
}

/// Refuses where the row of another key names the object too: what is done to it is done to both.
fn unshared(session: &Session, name: &KeyName) -> Result<(), Error> {
    let rows = Rows::new(&session.config.schema);
    match rows.is_named_by_another(&session.connection, &name.object, &name.uid)? {
        true => Err(Error::BadArgument(format!(
            "the row of another key names the object of key {}",
            name.uid
        ))),
        false => Ok(()),
    }
}

/// Changes the object of a key at the store; what came of it, and how many keys left the cache.
fn changed<T: Clone + Send + 'static>(
    session: &Session,
    name: &KeyName,
    what: &'static str,
    operation: impl FnOnce(&dyn KeyStore, &ObjectName, Duration) -> Result<T, StoreError>
    + Send
    + 'static,
) -> Result<(T, usize), Error> {
    let cache = session.cache()?;
    let key = name.clone();
    let outcome = cache.at_store(
        move |store, timeout| {
            let outcome = guarded(|| operation(store, &key.object, timeout));
            // Whatever came of it, and whoever still waits for it: what is gone must not be served on, what is there
            // is soon fetched again.
            let evicted = cache.evict(&key.uid);
            outcome.map(|outcome| (outcome, evicted))
        },
        &mut session.waiting(),
    )?;
    outcome.map_err(|error| match error {
        StoreError::Absent => Error::KeyLost {
            key: name.uid.to_string(),
            reason: "its object is not in the key store",
        },
        error => undone(&name.uid, what, error),
    })
}

/// A statement in a replicated log runs again on every node and at every replay: never there.
fn refuse(session: &Session) -> Result<(), Error> {
    if session.config.replicated {
        return Err(Error::ReplicatedKeys);
    }
    match session.config.store {
        Some(_) => Ok(()),
        None => Err(Error::NotConfigured),
    }
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
            "a key of user {} has a created_at that no time comes after",
            key.user
        ))),
        // Undone: it would be another user's key.
        None => Err(Error::BadArgument(format!(
            "the column user_id of user_journal_master_keys makes another type of user {}; declare it as users.id is",
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

fn undone(uid: &KeyUid, what: &'static str, error: StoreError) -> Error {
    Error::Undone {
        key: uid.to_string(),
        what,
        denied: error.is_refusal(),
        reason: error.to_string(),
    }
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

/// Now, as RFC 3339 has it, in UTC and to the second.
fn timestamp() -> Result<String, Error> {
    OffsetDateTime::now_utc()
        .truncate_to_second()
        .format(&Rfc3339)
        .map_err(|_| Error::Panicked)
}

const OTHER_CACHES: &str = "caches of other processes, which serve the key for JOURNAL_CACHE_TTL seconds, and for \
     JOURNAL_CACHE_STALE more where they do not reach the store";

/// Where the objects of keys lie, unless `JOURNAL_KEY_PREFIX` has them elsewhere.
const DIRECTORY: &str = "s3_files/journals/keys/master/";
