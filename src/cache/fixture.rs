//! What the tests of the cache and its schedules have in common: one key, its names, and how it is asked for.

use super::*;
use crate::id::{KeyName, ObjectName};
use crate::secret::SecretBytes;
use crate::sqlite::value::Value;
use crate::store::Fetched;

const KEY: &[u8] = b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
/// Of the caches, in milliseconds.
pub(super) const TTL: u64 = 300_000;

/// What a store answers that has the key.
pub(super) fn object() -> Result<Fetched, StoreError> {
    Ok(Fetched::Object {
        content: SecretBytes::copy_of(KEY).unwrap(),
        tag: Some("\"v1\"".to_owned()),
    })
}

pub(super) fn name(uid: &str) -> KeyName {
    KeyName {
        uid: KeyUid::parse(Value::Text(format!("oseh_ujmk_{uid}").as_bytes())).unwrap(),
        object: ObjectName::parse(uid, "").unwrap(),
    }
}

pub(super) fn ask(cache: &'static Cache, uid: &str) -> Result<(), &'static str> {
    cache
        .key(&name(uid), &mut || Ok(()))
        .map(drop)
        .map_err(|error| error.word().unwrap())
}
