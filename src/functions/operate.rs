//! What operators call: keys fetched ahead, the cache, the configuration, the version.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::{Session, VERSION, function, keyless};
use crate::config::{Admin, Config};
use crate::error::Error;
use crate::id::{KeyUid, UserId};
use crate::sqlite::function::Function;
use crate::sqlite::output::Output;
use crate::sqlite::table::{Rows, Table};
use crate::sqlite::value::{Arguments, Value};

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    vec![
        function(session, "journal_prefetch", 1, prefetch),
        function(session, "journal_evict", 0, evict),
        function(session, "journal_evict", 1, evict),
        function(session, "journal_config", 0, config),
        keyless(function(session, "journal_version", 0, version)),
    ]
}

pub(super) fn tables(session: &Rc<Session>) -> Vec<Table> {
    let session = Rc::clone(session);
    vec![Table {
        name: "journal_cache",
        columns: &["key_uid TEXT", "object TEXT", "age REAL", "stale INTEGER"],
        arguments: &[],
        optional: &[],
        rows: Box::new(move |_| cache(&session)),
    }]
}

/// `journal_prefetch(user_ids)`: all keys of one user, or of a JSON array of users. A TEXT that begins as an array is one.
fn prefetch(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    session.guard()?;
    let argument = arguments.get(0)?;
    let array = match argument {
        Value::Text(text) if text.trim_ascii_start().starts_with(b"[") => Some(array(text)?),
        _ => None,
    };
    let users = match &array {
        Some(array) => array.iter().map(user).collect(),
        None => vec![UserId::parse(argument).ok()],
    };
    if session.config.store.is_none() {
        return Err(Error::NotConfigured);
    }
    let (mut seen, mut names) = (HashSet::new(), Vec::new());
    let mut failed = BTreeMap::<&str, u64>::new();
    let mut fail = |error: Error| match error.word() {
        Some(word) if !matches!(error, Error::BadArgument(_)) => {
            *failed.entry(word).or_default() += 1;
            Ok(())
        }
        _ => Err(error),
    };
    let reading = match users.len() {
        0 | 1 => None,
        _ => Some(session.keys.reading(&session.connection)?),
    };
    for user in users {
        let user = user.ok_or_else(|| not_users(argument))?;
        session.allows(user)?;
        seen.try_reserve(1)?;
        if !seen.insert(user) {
            continue;
        }
        let rows = session.keys.of_user(&session.connection, user)?;
        names.try_reserve(rows.len())?;
        if rows.is_empty() {
            fail(session.no_key(user))?;
        }
        for row in rows {
            match row.and_then(|row| row.name()) {
                Ok(name) => names.push(name),
                Err(error) => fail(error)?,
            }
        }
    }
    // Nobody who writes waits for a fetch.
    drop(reading);
    let mut ready = 0;
    for outcome in session.cache()?.prefetch(&names, &mut session.waiting())? {
        match outcome {
            Ok(_) => ready += 1,
            Err(error) => fail(error)?,
        }
    }
    let failed = json!(failed);
    Ok(Output::Text(format!(
        r#"{{"ready":{ready},"failed":{failed}}}"#
    )))
}

fn not_users(argument: Value<'_>) -> Error {
    Error::BadArgument(format!(
        "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is {argument}"
    ))
}

/// The values of a JSON array.
fn array(text: &[u8]) -> Result<Vec<Json>, Error> {
    /// Some 100,000 users, so that what is made of them always finds its memory.
    const LONGEST: usize = 1 << 20;
    if text.len() > LONGEST {
        return Err(Error::BadArgument(format!(
            "user_ids must have at most {LONGEST} bytes, this is {}",
            Value::Text(text)
        )));
    }
    serde_json::from_slice(text).map_err(|_| not_users(Value::Text(text)))
}

/// The user that a value of a JSON array is, if it is one.
fn user(value: &Json) -> Option<UserId<'_>> {
    match value {
        Json::String(text) => UserId::parse(Value::Text(text.as_bytes())).ok(),
        Json::Number(id) => match (id.as_i64(), id.as_f64()) {
            (Some(id), _) => Some(UserId::Number(id)),
            (None, Some(id)) => UserId::parse(Value::Real(id)).ok(),
            (None, None) => None,
        },
        _ => None,
    }
}

/// `journal_evict([key_uid])`
fn evict(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let uid = match arguments.is_empty() {
        true => None,
        false => Some(KeyUid::parse(arguments.get(0)?)?),
    };
    session.allows_key(uid.as_ref())?;
    let cache = session.cache()?;
    let dropped = match uid {
        None => cache.evict_all(),
        Some(uid) => cache.evict(&uid),
    };
    Ok(Output::Integer(i64::try_from(dropped).unwrap_or(i64::MAX)))
}

/// `journal_config()`
fn config(session: &Session, _: &Arguments<'_>) -> Result<Output, Error> {
    Ok(Output::Text(report(session.config).to_string()))
}

/// The effective configuration, without credentials and proxy.
pub(super) fn report(config: &Config) -> Json {
    let aws = &config.aws;
    json!({
        "key_store": config.store.as_ref().map(ToString::to_string),
        "region": aws.region(),
        "endpoint": aws.endpoint.as_ref().map(url::Url::as_str),
        "ca_bundle": aws.ca_bundle.as_ref().map(|path| path.display().to_string()),
        "https_proxy": aws.proxy.is_some(),
        "allow_http": config.allow_http,
        "bucket_owner": aws.bucket_owner,
        "cache_keys": config.cache_keys,
        "key_prefix": config.key_prefix,
        "cache_ttl": config.cache_ttl.as_secs_f64(),
        "cache_stale": config.cache_stale.as_secs_f64(),
        "fetch_timeout": config.fetch_timeout.as_secs_f64(),
        "fetch_threads": config.fetch_threads,
        "schema": config.schema,
        "item_max": config.item_max,
        "replicated": config.replicated,
        "require_scope": config.require_scope,
        "wrapping_key_file": config.wrapping_key_file.as_ref().map(|path| path.display().to_string()),
        "require_wrapped": config.require_wrapped,
        "admin": match config.admin {
            Admin::None => json!(false),
            Admin::Create => json!("create"),
            Admin::All => json!(true),
        },
    })
}

/// `journal_version()`
fn version(_: &Session, _: &Arguments<'_>) -> Result<Output, Error> {
    Ok(Output::Text(VERSION.to_owned()))
}

/// `journal_cache`: under a scope the keys of its user.
fn cache(session: &Session) -> Result<Rows, Error> {
    let mut keys = session.cache()?.list();
    if let Some(user) = session.scoped()? {
        let rows = session.keys.of_user(&session.connection, user.get())?;
        let names: HashSet<_> = rows
            .into_iter()
            .filter_map(|row| row.ok()?.name().ok())
            .collect();
        keys.retain(|(name, ..)| names.contains(name));
    }
    let row = |(name, age, stale): (crate::id::KeyName, f64, bool)| {
        vec![
            Output::Text(name.uid.as_str().to_owned()),
            Output::Text(name.object.as_str().to_owned()),
            Output::Real(age),
            Output::Integer(i64::from(stale)),
        ]
    };
    Ok(keys.into_iter().map(row).collect())
}
