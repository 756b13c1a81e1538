//! A key's object hidden, brought back, rewritten under a wrapping key, and destroyed.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{refuse, undone};
use crate::error::Error;
use crate::functions::{Session, json_function};
use crate::id::{KeyName, KeyUid, ObjectName, UserId};
use crate::keys::rows::Rows;
use crate::sqlite::function::Function;
use crate::sqlite::output::Output;
use crate::sqlite::value::Arguments;
use crate::store::{KeyStore, StoreError, beside, guarded};

/// What hides keys, brings them back, rewrites and destroys them.
pub(in crate::functions) fn destroying(session: &Rc<Session>) -> Vec<Function> {
    vec![
        json_function(session, "journal_disable_key", 2, disable_key),
        json_function(session, "journal_enable_key", 2, enable_key),
        json_function(session, "journal_wrap_key", 2, wrap_key),
        json_function(session, "journal_shred_key", 2, shred_key),
    ]
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
    unshared_beside(session, &name)?;
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
    unshared_beside(session, &name)?;
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
    refuse_shared(session, name, &name.object, "the object of")
}

/// Refuses where the row of another key names the object that is beside this key's while it is wrapped: wrapping writes that,
/// and shredding deletes it.
fn unshared_beside(session: &Session, name: &KeyName) -> Result<(), Error> {
    match beside(&name.object) {
        Ok(beside) => refuse_shared(
            session,
            name,
            &beside,
            "what is written beside the object of",
        ),
        Err(_) => Ok(()),
    }
}

fn refuse_shared(
    session: &Session,
    name: &KeyName,
    object: &ObjectName,
    what: &str,
) -> Result<(), Error> {
    let rows = Rows::new(&session.config.schema);
    match rows.is_named_by_another(&session.connection, object, &name.uid)? {
        true => Err(Error::BadArgument(format!(
            "the row of another key names {what} key {}",
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

/// Now, as RFC 3339 has it, in UTC and to the second.
fn timestamp() -> Result<String, Error> {
    OffsetDateTime::now_utc()
        .truncate_to_second()
        .format(&Rfc3339)
        .map_err(|_| Error::Panicked)
}

const OTHER_CACHES: &str = "caches of other processes, which serve the key for JOURNAL_CACHE_TTL seconds, and for \
     JOURNAL_CACHE_STALE more where they do not reach the store";
