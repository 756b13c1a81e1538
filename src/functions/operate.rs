//! What operators call: the version, the cache.

use std::rc::Rc;

use super::{Function, Session, VERSION, function};
use crate::error::Error;
use crate::ffi::value::{Arguments, Output};
use crate::id::KeyUid;

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    vec![
        function(session, "journal_evict", 0, evict),
        function(session, "journal_evict", 1, evict),
        function(session, "journal_version", 0, version),
    ]
}

/// `journal_evict([key_uid])`
fn evict(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let cache = session.cache()?;
    let dropped = match arguments.is_empty() {
        true => cache.evict_all(),
        false => cache.evict(&KeyUid::parse(arguments.get(0)?)?),
    };
    Ok(Output::Integer(i64::try_from(dropped).unwrap_or(i64::MAX)))
}

/// `journal_version()`
fn version(_: &Session, _: &Arguments<'_>) -> Result<Output, Error> {
    Ok(Output::Text(VERSION.to_owned()))
}
