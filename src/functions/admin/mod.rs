//! Key management: what makes keys under `JOURNAL_ADMIN=create`, and what is done to their objects under `1`.
//!
//! The object comes before its rows and goes before them, so that a row never names an object that was
//! not written, and nothing that ends a call half-way leaves a key that no row leads to but a new one that
//! nobody used.

mod creation;
mod listing;
mod object;

pub(super) use creation::creating;
pub(super) use listing::listing;
pub(super) use object::destroying;

use super::Session;
use crate::error::Error;
use crate::id::KeyUid;
use crate::store::StoreError;

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

fn undone(uid: &KeyUid, what: &'static str, error: StoreError) -> Error {
    Error::Undone {
        key: uid.to_string(),
        what,
        denied: error.is_refusal(),
        reason: error.to_string(),
    }
}
